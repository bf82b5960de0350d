"""Helpers around training: `data`."""

from flambeau.tensor.exchange import swap_tensors
from flambeau.utils import data

__all__ = ["data", "swap_tensors"]
