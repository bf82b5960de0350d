"""The grad modes under the name of the module that PyTorch has them in."""

from flambeau.autograd.runtime import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]
