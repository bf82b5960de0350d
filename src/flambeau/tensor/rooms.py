"""Arrays that factories begin with: of one value, in a memory format, or without values."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.devices import META, default
from flambeau.engines.arrays import VALUELESS, move
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
