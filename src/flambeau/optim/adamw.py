"""`torch.optim.adamw`: where programs also look for `AdamW`."""

from flambeau.optim.adam import AdamW

__all__ = ["AdamW"]
