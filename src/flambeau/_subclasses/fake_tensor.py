"""Tensors without values. No tensor is one here."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.tensor.tensor import Tensor

__all__ = ["FakeTensor", "FakeTensorMode", "is_fake"]


class FakeTensor(Tensor):
    """A tensor without values: nothing makes one here, so `isinstance` is False."""


class FakeTensorMode:
    """RuntimeError when made: tensors always have values here."""

    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("FakeTensorMode: tensors always have values in flambeau; run the program on real ones")


def is_fake(x: Any) -> bool:
    """False."""
    return isinstance(x, FakeTensor)
