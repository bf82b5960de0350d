"""Sizes that are numbers only: what programs ask of symbolic sizes, which nothing here makes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flambeau.tensor.tensor import Tensor

__all__ = ["SymBool", "SymFloat", "SymInt"]


class SymInt:
    """The class of sizes that are not known yet. No size is of it: sizes are Python's integers."""


class SymFloat:
    """The class of numbers made of such sizes."""


class SymBool:
    """The class of conditions on such sizes."""


def sym_int(a: Any) -> int:
    """A number as an integer, towards 0."""
    return math.floor(a) if a >= 0 else math.ceil(a)


def sym_float(a: Any) -> float:
    """A number as a float."""
    return float(a)


def sym_not(a: Any) -> bool:
    """The opposite of a condition."""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers; a float if one of them is."""
    larger = max(a, b)
    return float(larger) if isinstance(a, float) or isinstance(b, float) else larger


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float if one of them is."""
    smaller = min(a, b)
    return float(smaller) if isinstance(a, float) or isinstance(b, float) else smaller


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """`t` if `b` holds, else `f`."""
    return t if b else f


def sym_sum(args: Iterable[Any]) -> Any:
    """The sum of numbers."""
    return sum(args)


def sym_sqrt(a: Any) -> float:
    """The square root of a number."""
    return math.sqrt(a)


def _assert_async(input: Any, assert_msg: str = "") -> None:  # noqa: A002 - PyTorch's name
    """Raises RuntimeError unless the one value of a tensor is true."""
    if not isinstance(input, Tensor):
        raise TypeError(f"_assert_async(): expected a Tensor, got {type(input).__name__}")
    if not bool(input.item()):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")
