"""Shapes: those kernels that build views from strides, and flips."""

from __future__ import annotations

import numpy as np

from flambeau.engines.xla.array import XArray

__all__ = ["clone", "contiguous", "contiguous_copy", "expand", "flip", "reshape", "strided"]


def reshape(a: XArray, shape: tuple[int, ...]) -> XArray:
    """`a` in another shape: a view where the strides allow it."""
    return a.reshape(shape)


def expand(a: XArray, shape: tuple[int, ...]) -> XArray:
    """`a` broadcast to `shape`, without a copy."""
    return np.broadcast_to(a, shape)


def flip(a: XArray, dims: tuple[int, ...]) -> XArray:
    """`a` reversed along `dims`."""
    return np.flip(a, dims)


def contiguous(a: XArray) -> XArray:
    """`a` with C strides, copied only where it has not."""
    return a if a.flags.c_contiguous else a.copy()


def clone(a: XArray) -> XArray:
    """A copy that keeps the order of strides of a dense array."""
    return a.copy(order="K" if a.flags.writeable or 0 not in a.strides else "C")


def contiguous_copy(a: XArray) -> XArray:
    """A copy with C strides."""
    return a.copy()


def strided(a: XArray, shape: tuple[int, ...], strides: tuple[int, ...]) -> XArray:
    """The memory from `a`'s first element on in any shape with any steps in bytes."""
    store = a.store
    end = a.offset_bytes + sum((n - 1) * s for n, s in zip(shape, strides) if n) + a.itemsize
    if 0 not in shape and end > store.shadow.nbytes:
        raise ValueError("strides is incompatible with shape of requested array and size of buffer")
    view = np.ndarray(shape, store.dtype, store.shadow, a.offset_bytes, strides)
    if 0 in strides:
        view.flags.writeable = False
    return a.seen_as(view)
