"""Calls that only copy or fill: as native copies, else as one write to where their result belongs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.native.calls import address
from flambeau.engines.native.copies import plan_copy

from .capture import Entry
from .memory import Place

__all__ = ["copied", "direct", "native_copy"]

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
    if function in _SAME_SHAPE and source.shape == place.shape:
        return functools.partial(np.copyto, place, source, casting="unsafe")
    if _by_rows(function, args, kwargs) and place.flags.c_contiguous and source.dtype == place.dtype:
        return functools.partial(np.copyto, place.reshape(source.shape), source)
    return None


def _by_rows(function: Any, args: tuple, kwargs: dict) -> bool:
    """Whether a call puts the elements of its first operand, row by row, into another shape."""
    rest = args[1:] if function in (np.ndarray.reshape, np.reshape) else ()
    order = {name: value for name, value in kwargs.items() if (name, value) != ("order", "C")}
    same = function in _SAME_ORDER and not order and len(args) == 1 + len(rest)
    return same and not any(isinstance(x, str) for x in rest)


def _hashable(function: Any) -> bool:
    try:
        hash(function)
    except TypeError:
        return False
    return True


# --- native copies --------------------------------------------------------------------------------------------------

Steps = tuple[int, ...]


def native_copy(entry: Entry) -> list[tuple[int, bytes, int, int]]:
    """The native call for an entry that only copies; empty for any other."""
    found = copied(entry)
    if found is None:
        return []
    shape, (to, steps), (source, of), item = found
    plan = plan_copy(shape, steps, of, item)
    return [] if plan is None else [(plan.place, plan.table(source, to), plan.rows, plan.piece)]


#: What is copied: the shape, where to and with which steps, where from and with which steps, the bytes of an element.
_Found = tuple[Steps, tuple[int, Steps], tuple[int, Steps], int]


def copied(entry: Entry) -> _Found | None:
    """What an entry copies, if that is all it does."""
    if entry.kind != "call" or not _hashable(entry.function):
        return None
    return _written(entry) if entry.wrote else _made(entry)


def _made(entry: Entry) -> _Found | None:
    """A call that makes a copy."""
    if len(entry.made) != 1 or not entry.args or entry.args[0].__class__ is not Place:
        return None
    source, place = entry.args[0], entry.made[0]
    if source.dtype != place.dtype or source.dtype.hasobject or not source.size or place.size != source.size:
        return None
    if entry.function in _SAME_SHAPE and source.shape == place.shape:
        steps = place.strides
    elif _by_rows(entry.function, entry.args, entry.kwargs) and place.contiguous:
        steps = _contiguous(source.shape, source.itemsize)
    else:
        return None
    return source.shape, (place.address, steps), (source.address, source.strides), source.itemsize


def _written(entry: Entry) -> _Found | None:
    """A call that writes an array into a part of another, or all of it."""
    args = entry.args
    if entry.function is np.ndarray.__setitem__ and not entry.kwargs:
        to, key, source = args
    elif entry.function is np.copyto and len(args) == 2 and not set(entry.kwargs) - {"casting"}:
        to, source, key = *args, ()
    else:
        return None
    if to.__class__ is not Place or source.__class__ is not Place or to.dtype != source.dtype or to.dtype.hasobject:
        return None
    part = _part(to, key if isinstance(key, tuple) else (key,))
    if part is None or not source.size or not part.size:
        return None
    try:
        read = np.broadcast_to(_like(source), part.shape)
    except ValueError:  # more dimensions than there are, of one element
        return None
    at = to.address + address(part) - address(_BASE)
    low, high = np.lib.array_utils.byte_bounds(part)
    start, end = source.bounds
    if low - address(part) + at < end and start < high - address(part) + at:
        return None
    return part.shape, (at, part.strides), (source.address, read.strides), to.itemsize


_BASE = np.empty(16, np.uint8)  # stands for any memory, to see where a part of it would lie


def _like(place: Place) -> np.ndarray:
    """An array with the shape and strides of a place, of which nobody may read or write an element."""
    return np.lib.stride_tricks.as_strided(_BASE[: place.itemsize].view(place.dtype), place.shape, place.strides)


def _part(place: Place, key: tuple) -> np.ndarray | None:
    """Such an array for a part of a place; None for a key that is no view."""
    if not all(k is None or k is Ellipsis or isinstance(k, (int, np.integer, slice)) for k in key):
        return None
    if any(isinstance(k, (bool, np.bool_)) for k in key) or place.itemsize > _BASE.size:
        return None
    return _like(place)[key if Ellipsis in key else (*key, ...)]


def _contiguous(shape: Steps, item: int) -> Steps:
    """The strides of a contiguous array."""
    steps = [item]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return tuple(reversed(steps[: len(shape)]))
