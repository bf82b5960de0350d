"""Indexing by arrays and masks: NumPy's rules, with its errors wherever the indices can be seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.calls import call
from flambeau.engines.xla.runtime import Tracer, jnp, tracing


def is_mask(item: Any) -> bool:
    """Whether an index is a mask, or a bool."""
    return isinstance(item, (bool, np.bool_)) or (isinstance(item, (XArray, np.ndarray)) and item.dtype == bool)


def by_places(index: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The index with masks, whose counts make shapes, as arrays of places; IndexError for a place outside."""
    items = index if index.__class__ is tuple else (index,)
    used = sum(np.ndim(i) if is_mask(i) else i is not None and i is not Ellipsis for i in items)
    result: list[Any] = []
    dim = 0
    for item in items:
        if item is None:
            result.append(item)
        elif item is Ellipsis:
            result.append(item)
            dim += len(shape) - used
        elif is_mask(item):
            mask = item if isinstance(item, np.ndarray) else np.asarray(item)
            if mask.shape != shape[dim : dim + mask.ndim]:
                raise IndexError(
                    f"boolean index did not match indexed array: the mask has the shape {mask.shape}, the "
                    f"dimensions {shape[dim : dim + mask.ndim]}"
                )
            if mask.ndim == 0:
                result += [None, np.zeros(int(mask), np.int64)]
            else:
                result += mask.nonzero()
            dim += mask.ndim
        else:
            check_bounds(item, shape[dim] if dim < len(shape) else 0, dim)
            result.append(item)
            dim += 1
    return tuple(result)


def check_bounds(index: Any, length: int, dim: int) -> None:
    """IndexError for a place outside of a dimension. On accelerators nobody looks, since that would mean to wait."""
    if index.__class__ is slice:
        return
    if index.__class__ is XArray:
        if isinstance(index.value, Tracer) or index.device.type != "xla":
            return
        index = index.host()
    array = np.asarray(index)
    if array.size and array.dtype.kind in "iu":
        low, high = array.min(), array.max()
        if low < -length or high >= length:
            bad = low if low < -length else high
            raise IndexError(f"index {bad} is out of bounds for axis {dim} with size {length}")


def _take(a: XArray, index: tuple) -> XArray:
    return XArray(a.value[tuple(i.value if i.__class__ is XArray else i for i in index)], a.device)


def pick(a: XArray, index: Any) -> XArray:
    """A copy of the elements at `index`."""
    return call("pick", _take, (a, by_places(index, a.shape)))


def place(a: XArray, index: Any, value: Any, how: str = "set") -> None:
    """Writes `value` at `index`, or combines with what is there: 'add', 'multiply', 'max', 'min'."""
    items = index if index.__class__ is tuple else (index,)
    if not isinstance(value, XArray):
        value = np.asarray(value)
    if len(items) == 1 and is_mask(items[0]) and np.shape(items[0]) == a.shape and value.ndim == 0 and how == "set":
        new = call("place_mask", _choose, (a, items[0], value))
    elif tracing.whole and len(items) == 1 and items[0].__class__ is XArray and items[0].dtype == bool:
        new = call("place_by_mask", _place_by_mask, (a, items[0], value, how))
    else:
        new = call("place", _put, (a, by_places(index, a.shape), value, how))
    a.put(new.value)


def _choose(a: XArray, mask: Any, value: Any) -> XArray:
    return XArray(jnp.where(mask.value, value.value.astype(a.value.dtype), a.value), a.device)


_COMBINED = {"add": jnp.add, "multiply": jnp.multiply, "max": jnp.maximum, "min": jnp.minimum}


def _place_by_mask(a: XArray, mask: XArray, value: Any, how: str) -> XArray:
    """`place` by a mask that nobody may look at: the n-th true element takes the n-th of the values."""
    old, m, new = a.value, mask.value, _as(value.value, a.value.dtype)
    rest = old.ndim - m.ndim
    if new.ndim == rest + 1:
        at = jnp.clip(jnp.cumsum(m.reshape(-1)) - 1, 0, max(new.shape[0] - 1, 0))
        new = new[at].reshape(*m.shape, *new.shape[1:]) if new.shape[0] else jnp.zeros_like(old)
    new = jnp.broadcast_to(new, old.shape)
    mixed = new if how == "set" else _COMBINED[how](old, new)
    return XArray(jnp.where(m.reshape(*m.shape, *[1] * rest), mixed, old), a.device)


def _put(a: XArray, index: tuple, value: Any, how: str) -> XArray:
    at = a.value.at[tuple(i.value if i.__class__ is XArray else i for i in index)]
    return XArray(getattr(at, how)(_as(value.value, a.value.dtype)), a.device)


def _as(value: Any, dtype: Any) -> Any:
    return (value.real if np.dtype(value.dtype).kind == "c" and np.dtype(dtype).kind != "c" else value).astype(dtype)
