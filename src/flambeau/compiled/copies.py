"""Calls that only copy or fill, as one write to where their result belongs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["direct"]

_FILLED = {np.zeros: 0, np.zeros_like: 0, np.ones: 1, np.ones_like: 1}
_SAME_SHAPE = {
    np.ascontiguousarray, np.array, np.asarray, np.asanyarray, np.copy, np.ndarray.copy, np.ndarray.astype,
}  # fmt: skip
_SAME_ORDER = {np.ndarray.reshape, np.ndarray.ravel, np.ndarray.flatten, np.reshape, np.ravel}


def _nothing() -> None:
    """What is needed to make an array that nobody has filled."""


def direct(function: Any, args: tuple, kwargs: dict, made: list[np.ndarray]) -> Callable[[], Any] | None:
    """The call as a write to `made`; None for calls that do more than copy or fill."""
    if len(made) != 1 or not _hashable(function):
        return None
    (place,) = made
    if function in _FILLED:
        return functools.partial(place.fill, _FILLED[function])
    if function in (np.full, np.full_like) and len(args) > 1 and isinstance(args[1], (int, float)):
        return functools.partial(place.fill, args[1])
    if function is np.empty_like:
        return _nothing
    source = args[0] if args else None
    if not isinstance(source, np.ndarray) or not place.flags.writeable or 0 in place.strides:
        return None
    if function in _SAME_SHAPE and source.shape == place.shape and "order" not in kwargs:
        return functools.partial(np.copyto, place, source, casting="unsafe")
    rest = args[1:] if function in (np.ndarray.reshape, np.reshape) else ()
    by_rows = not kwargs and not any(isinstance(x, str) for x in rest) and len(args) == 1 + len(rest)
    if function in _SAME_ORDER and by_rows and place.flags.c_contiguous and source.dtype == place.dtype:
        return functools.partial(np.copyto, place.reshape(source.shape), source)
    return None


def _hashable(function: Any) -> bool:
    try:
        hash(function)
    except TypeError:
        return False
    return True
