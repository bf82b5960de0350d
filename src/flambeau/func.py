"""`torch.func`: calling modules as functions of their parameters."""

from flambeau.nn.utils.stateless import functional_call

__all__ = ["functional_call"]
