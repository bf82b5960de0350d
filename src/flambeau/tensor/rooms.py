"""Arrays that factories begin with: of one value, at equal distances, in a memory format, or without values."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.devices import META, default
from flambeau.engines.arrays import VALUELESS, move
from flambeau.engines.numpy.boxmuller import fused64
from flambeau.ops import memory_formats


def is_meta(device: Any) -> bool:
    """Whether a factory's `device=` comes to the one without values."""
    return default() is META if device is None else getattr(device, "type", device) == "meta"


def filled(shape: tuple[int, ...], value: Any, kind: np.dtype, device: Any) -> np.ndarray:
    """An array of one value; for the device `meta` without memory of its own."""
    if (device is not None or VALUELESS) and is_meta(device):
        return np.broadcast_to(np.zeros((), kind), shape)
    return np.full(shape, value, kind) if value else np.zeros(shape, kind)


def without_values(array: Any, dtype: Any) -> Any:
    """The same shape and strides on `meta`."""
    return move(array, META) if dtype is None else move(array, META).astype(dtype)


def in_format(array: Any, memory_format: Any) -> Any:
    """An array like this one, whose values are not asked for, in a memory format."""
    order = memory_formats.order_of(memory_format, array.ndim, "empty_like")
    if memory_formats.elsewhere(array) or memory_format.name == "preserve_format":
        return array
    return memory_formats.room(array.shape, array.dtype, order)


def evenly(start: Any, end: Any, steps: int, d: np.dtype) -> np.ndarray:
    """Computed from both ends towards the middle, in the result's type and with products that are rounded once
    with their sums, as PyTorch does.
    """
    if steps < 2:
        return np.full(steps, start, d)
    if d.kind in "iu":
        start, end = int(start), int(end)
        step = (end - start) / (steps - 1)
        i = np.arange(steps)
        values = np.where(i < steps // 2, start + step * i, end - step * (steps - i - 1))
        return values.astype(d)
    work = d if d in (np.float32, np.float64, np.complex64, np.complex128) else np.dtype(np.float32)
    step = (
        work.type((end - start) / (steps - 1))
        if work.itemsize >= 8
        else (work.type(end) - work.type(start)) / work.type(steps - 1)
    )
    i = np.arange(steps).astype(work)
    back = work.type(steps - 1) - i
    low: Any
    if work == np.float32:  # products of two are exact in double precision
        low, high = float(np.float32(start)) + i * np.float64(step), float(np.float32(end)) - back * np.float64(step)
    elif work == np.float64:
        low, high = fused64(i, float(step), float(start)), fused64(back, -float(step), float(end))
    else:
        low, high = work.type(start) + step * i, work.type(end) - step * back
    return np.where(np.arange(steps) < steps // 2, low, high).astype(d)


NS["LINSPACE"] = evenly
