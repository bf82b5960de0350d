"""What a tensor hands to the printer."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.tensor import printing


def tensor_repr(tensor: Any) -> str:
    """`repr` of a tensor, as PyTorch prints it."""
    return printing.tensor_repr(tensor, plain=type(tensor) in (NS["Tensor"], NS["Parameter"]), default_dtype=dtypes.get_default_dtype())
