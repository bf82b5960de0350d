"""Older ways to call a few functions, with numbers in front of the tensors they belong to. PyTorch still takes them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS

__all__ = ["factors_in_front", "nothing_times_nan", "number_in_front", "value_in_front"]

_told: set[str] = set()


def _tell(name: str, form: str) -> None:
    if name not in _told:
        _told.add(name)
        warnings.warn(f"{name}: numbers in front of tensors are an older form; call {form}", UserWarning, stacklevel=4)


def _number(value: Any) -> bool:
    return not isinstance(value, NS["Tensor"]) and isinstance(value, (int, float, complex))


def number_in_front(name: str, alpha: Any, older: tuple) -> Any:
    """The operand of `add(input, alpha, other)`. TypeError unless `alpha` is a number and `other` stands alone."""
    if len(older) != 1 or not _number(alpha):
        raise TypeError(f"{name}() takes 2 positional arguments but {2 + len(older)} were given; pass alpha=...")
    _tell(name, f"{name}(input, other, alpha=...)")
    return older[0]


def value_in_front(function: Callable) -> Callable:
    """`function(input, tensor1, tensor2, *, value)`, which then also takes `(input, value, tensor1, tensor2)`."""
    name = function.__name__

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 4 and _number(args[1]):
            _tell(name, f"{name}(input, tensor1, tensor2, value=...)")
            input, kwargs["value"], *rest = args
            args = (input, *rest)
        return function(*args, **kwargs)

    return wrapper


def factors_in_front(function: Callable) -> Callable:
    """`function(input, a, b, *, beta, alpha)`, which then also takes `(beta, input, alpha, a, b)`, without alpha, and
    as a method `(beta, alpha, a, b)`.
    """
    name = function.__name__

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if len(args) > 3 and (_number(args[0]) or _number(args[1])):
            _tell(name, f"{name}(input, a, b, beta=..., alpha=...)")
            numbers, args = [a for a in args if _number(a)], tuple(a for a in args if not _number(a))
            kwargs.update(zip(("beta", "alpha"), numbers, strict=False))
        return function(*args, **kwargs)

    return wrapper


def nothing_times_nan(function: Callable) -> Callable:
    """`function(input, other)`, a multiple of `input`. Where that is 0 so is its derivative when `other` is NaN and a
    Python number; PyTorch does not know this of a tensor.
    """

    @functools.wraps(function)
    def wrapper(input: Any, other: Any, *, out: Any = None) -> Any:
        if other.__class__ is not float or other == other or out is not None:
            return function(input, other, out=out)
        ops = NS["OPS"]
        value = function(input.detach(), other)
        slope = value.masked_fill(ops.eq(input, 0), 0)
        return ops.add(ops.mul(input, slope), value)

    return wrapper
