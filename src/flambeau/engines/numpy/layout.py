"""Shapes: views where PyTorch has views, copies where it copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native import copies
from ..native.calls import address

_SMALL = 1024  # elements that are copied as quickly as looked at


def reshape(a: Any, shape: tuple[int, ...]) -> Any:
    """`a` in another shape: a view where the strides allow it."""
    made = copies.reshaped(a, shape) if isinstance(a, np.ndarray) else None
    return np.asarray(a).reshape(shape) if made is None else made


def permute(a: Any, dims: tuple[int, ...]) -> Any:
    """`a` with its dimensions reordered."""
    return a.transpose(dims)


def transpose(a: Any, dim0: int, dim1: int) -> Any:
    """`a` with two dimensions swapped."""
    return a.swapaxes(dim0, dim1)


def expand(a: Any, shape: tuple[int, ...]) -> Any:
    """`a` broadcast to `shape`, without a copy."""
    a = np.asarray(a)
    if a.flags.c_contiguous:
        extra = len(shape) - a.ndim
        steps = [0 if n == 1 and m != 1 else step for n, m, step in zip(a.shape, shape[extra:], a.strides, strict=True)]
        view = np.ndarray(shape, a.dtype, a, 0, (0,) * extra + tuple(steps))
        if view.size != a.size:  # elements that share their memory must not be written
            view.flags.writeable = False
        return view
    if a.ndim == 0:
        view = np.ndarray(shape, a.dtype, a, 0, (0,) * len(shape))
        view.flags.writeable = False
        return view
    return np.broadcast_to(a, shape)


def unsqueeze(a: Any, dim: int) -> Any:
    """`a` with a new dimension of length 1 at `dim`."""
    if a.flags.c_contiguous:  # reshape leaves strides as PyTorch has them
        at = dim if dim >= 0 else dim + a.ndim + 1
        return a.reshape((*a.shape[:at], 1, *a.shape[at:]))
    return np.expand_dims(a, dim)


def squeeze(a: Any, dim: Any) -> Any:
    """`a` without the dimensions `dim`, which have length 1."""
    return a.squeeze(dim)


def flip(a: Any, dims: tuple[int, ...]) -> Any:
    """`a` reversed along `dims`: a copy, since PyTorch has no negative strides."""
    return np.flip(a, dims).copy()


def slice(a: Any, dim: int, start: int, stop: int, step: int = 1) -> Any:
    """The part `start:stop:step` of `a` along `dim`."""
    index: list[Any] = [_ALL] * (dim % a.ndim) + [_slice(start, stop, step)]
    return a[tuple(index)]


_slice = __builtins__["slice"] if isinstance(__builtins__, dict) else __builtins__.slice
_ALL = _slice(None)


def cat(arrays: list[Any], dim: int) -> Any:
    """The arrays joined along `dim`."""
    return np.concatenate(arrays, dim)


def stack(arrays: list[Any], dim: int) -> Any:
    """The arrays joined along a new dimension `dim`."""
    return np.stack(arrays, dim)


def pad_zero(a: Any, widths: list[tuple[int, int]]) -> Any:
    """`a` with zeros added before and after each dimension; negative widths cut."""
    cut = tuple(_slice(max(0, -b), n - max(0, -e)) for (b, e), n in zip(widths, a.shape, strict=True))
    inner = a[cut]
    shape = [n + b + e for (b, e), n in zip(widths, a.shape, strict=True)]
    result = np.zeros(shape, a.dtype)
    place = tuple(_slice(max(0, b), n - max(0, e)) for (b, e), n in zip(widths, shape, strict=True))
    result[place] = inner
    return result


def diagonal(a: Any, offset: int, dim1: int, dim2: int) -> Any:
    """The diagonals of `a` in two dimensions, as its last dimension."""
    view = a.diagonal(offset, dim1, dim2)
    if a.flags.writeable and not view.flags.writeable:
        view.flags.writeable = True
    return view


def contiguous(a: Any) -> Any:
    """`a` with C strides, copied only where it has not."""
    made = copies.contiguous(a)
    return made if made is not None else np.ascontiguousarray(a) if a.ndim else a


def clone(a: Any) -> Any:
    """A copy that keeps the order of strides of a dense array."""
    return np.array(a, order="K" if a.flags.writeable or 0 not in a.strides else "C")


def region_take(a: Any, region: Any) -> Any:
    """The elements of a strided region."""
    return region.take(a)


def region_put(a: Any, region: Any) -> Any:
    """Zeros with `a` added into a strided region."""
    return region.put(a)


def contiguous_copy(a: Any) -> Any:
    """A copy with C strides."""
    made = copies.contiguous(a)
    return np.array(a, order="C") if made is None else made


def select(a: Any, dim: int, index: int) -> Any:
    """The slice of `a` at `index` of one dimension."""
    return a[(_ALL,) * dim + (index, ...)]


def slice_put(g: Any, shape: tuple[int, ...], dim: int, start: int, stop: int, step: int = 1) -> Any:
    """Zeros of `shape` with `g` in a part of one dimension."""
    result = np.zeros(shape, g.dtype)
    result[(_ALL,) * dim + (_slice(start, stop, step),)] = g
    return result


def diagonal_put(g: Any, shape: tuple[int, ...], offset: int, dim1: int, dim2: int) -> Any:
    """Zeros of `shape` with `g` on diagonals."""
    result = np.zeros(shape, g.dtype)
    diagonal(result, offset, dim1, dim2)[...] = g
    return result


def roll(a: Any, shifts: Any, dims: Any = None) -> Any:
    """`a` shifted around."""
    return np.roll(a, shifts, dims)


def tile(a: Any, repeats: tuple[int, ...]) -> Any:
    """Copies of `a` side by side."""
    return np.tile(a, repeats)


def windows(a: Any, dim: int, size: int, step: int) -> Any:
    """All windows of a length along `dim`, as a new last dimension of a view."""
    if a.ndim == 0:
        return a.reshape(1)[:size]
    n = (a.shape[dim] - size) // step + 1
    shape = (*a.shape[:dim], n, *a.shape[dim + 1 :], size)
    strides = list(a.strides) + [a.strides[dim]]
    strides[dim] *= step
    return strided(a, shape, tuple(strides))


def _owner(a: Any) -> Any:
    """The array that owns the memory: views of views of a subclass have bases of their own."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


def strided(a: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Memory from `a`'s first element on in any shape with any steps in bytes, as a view whose base is `a`'s own."""
    owner = _owner(a)
    if not owner.flags.c_contiguous:
        owner = owner.transpose(np.argsort([-step for step in owner.strides], kind="stable"))
        if not owner.flags.c_contiguous or not owner.flags.writeable:
            return np.lib.stride_tricks.as_strided(a, shape, strides)
    start = a.__array_interface__["data"][0] - owner.__array_interface__["data"][0] if a.size else 0
    view = np.ndarray(shape, a.dtype, owner, start, strides)
    if 0 in strides:
        view.flags.writeable = False  # as NumPy does for all that comes from broadcasting
    return view


def windows_put(g: Any, shape: tuple[int, ...], dim: int, size: int, step: int) -> Any:
    """Zeros of `shape` with windows added in."""
    if not shape:
        return g.reshape(())
    result = np.zeros(shape, g.dtype)
    places = windows(result, dim, size, step)
    for i in range(size):
        places[..., i] += g[..., i]
    return result


def side_by_side(parts: Any, dim: int) -> Any:
    """The array of which these are consecutive parts along `dim`, where their memory shows that; else None."""
    first = parts[0]
    if first.base is None or len(parts) < 2 or first.size < _SMALL or not isinstance(first, np.ndarray):
        return None
    owner = _owner(first)
    step, end, rest = first.strides[dim], address(first), (*first.shape[:dim], *first.shape[dim + 1 :])
    for part in parts:
        if (
            _owner(part) is not owner
            or part.strides != first.strides
            or (*part.shape[:dim], *part.shape[dim + 1 :]) != rest
            or part.dtype != first.dtype
            or address(part) != end
        ):
            return None
        end += part.shape[dim] * step
    length = sum(part.shape[dim] for part in parts)
    shape = (*first.shape[:dim], length, *first.shape[dim + 1 :])
    return np.lib.stride_tricks.as_strided(first, shape, first.strides, subok=True)
