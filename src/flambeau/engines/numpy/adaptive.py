"""Pools whose windows differ in place or size: adaptive and fractional pooling, and flat indices put and taken.

The windows of one axis are an array of indices `[outputs, longest]`; shorter windows repeat their last element, which
changes no maximum and no first maximum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import like
from .pool import avg_pool, avg_pool_input, max_pool_indices, max_pool_taps

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_input",
    "adaptive_max_pool",
    "fractional_max_pool",
    "plane_put",
    "plane_scatter",
    "plane_select",
]

Sizes = tuple[int, ...]


def _bounds(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last element of each of `out` adaptive windows over `size` elements."""
    o = np.arange(out)
    return o * size // out, -(-(o + 1) * size // out)


def _mean_matrix(size: int, out: int, dtype: Any) -> np.ndarray:
    """The matrix `[out, size]` that averages over adaptive windows."""
    start, stop = _bounds(size, out)
    at = np.arange(size)
    inside = (at >= start[:, None]) & (at < stop[:, None])
    return (inside / (stop - start)[:, None]).astype(dtype)


def _even(size: Sizes, out: Sizes) -> Sizes:
    """The kernel of the plain pool that adaptive pooling is where lengths divide; else ()."""
    if any(o == 0 or n % o for n, o in zip(size, out, strict=True)):
        return ()
    return tuple(n // o for n, o in zip(size, out, strict=True))


def _along(a: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """`matrix` applied to `axis` of `a`."""
    if axis == a.ndim - 1:
        return np.matmul(a, matrix.T)
    return np.moveaxis(np.matmul(matrix, np.moveaxis(a, axis, -2)), -2, axis)


def adaptive_avg_pool(x: np.ndarray, out_size: Sizes) -> np.ndarray:
    """Means over windows that share the last `len(out_size)` axes out evenly."""
    first = x.ndim - len(out_size)
    kernel = _even(x.shape[first:], out_size)
    if kernel and x.size:
        return avg_pool(x, kernel, kernel, (0,) * len(kernel), out_size, True, None)
    for i, out in enumerate(out_size):
        if out != x.shape[first + i]:
            if isinstance(x, np.ndarray):
                x = _averages(x, first + i, out)
            else:  # one product is quicker than many small calls on a device
                x = _along(x, first + i, _mean_matrix(x.shape[first + i], out, x.dtype))
    return np.ascontiguousarray(x)


def _averages(x: np.ndarray, axis: int, out: int) -> np.ndarray:
    """Means over adaptive windows of `axis`, each of its own elements only: what is infinite stays in its windows."""
    windows = (x[(slice(None),) * axis + (slice(i, j),)] for i, j in zip(*_bounds(x.shape[axis], out), strict=True))
    return np.stack([window.mean(axis, dtype=x.dtype) for window in windows], axis)


def adaptive_avg_pool_input(g: np.ndarray, size: Sizes) -> np.ndarray:
    """The gradient of `adaptive_avg_pool` for an input of spatial `size`."""
    first = g.ndim - len(size)
    kernel = _even(size, g.shape[first:])
    if kernel and g.size:
        return avg_pool_input(g, size, kernel, kernel, (0,) * len(kernel), True, None)
    for i, n in enumerate(size):
        if n != g.shape[first + i]:
            g = _along(g, first + i, _mean_matrix(n, g.shape[first + i], g.dtype).T)
    return np.ascontiguousarray(g)


def _window_max(x: np.ndarray, windows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over windows of the last axes of `x` `[planes, ...]`, and their positions in the flattened plane.

    `windows[i]` is `[outputs, longest]`, or `[planes, outputs, longest]` where planes differ. The first maximum
    counts; NaN is greater than all, and the last one counts.
    """
    nd, planes = len(windows), x.shape[0]
    flat = x.reshape(planes, -1)
    rows = np.arange(planes).reshape(-1, *(1,) * nd)
    best: Any = None
    where: Any = None
    for tap in np.ndindex(*(w.shape[-1] for w in windows)):
        position: Any = 0
        for i, t in enumerate(tap):
            at = windows[i][..., t]
            shape = [1] * (nd + 1)
            shape[i + 1] = at.shape[-1]
            shape[0] = at.shape[0] if at.ndim == 2 else 1
            position = position * x.shape[i + 1] + at.reshape(shape)
        value = flat[rows, position]
        if best is None:
            best, where = value, like(value, np.broadcast_to(position, value.shape).copy())
            continue
        better = value > best
        if value.dtype.kind not in "iub":
            better |= np.isnan(value)
        np.copyto(best, value, where=better)
        where = np.where(better, position, where)
    return best, where


def adaptive_max_pool(x: np.ndarray, out_size: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over windows that share the last axes out evenly, and PyTorch's flat indices."""
    nd = len(out_size)
    size, lead = x.shape[x.ndim - nd :], x.shape[: x.ndim - nd]
    kernel = _even(size, out_size)
    if kernel and x.size:
        settings = kernel, kernel, (0,) * nd, (1,) * nd
        best, taps = max_pool_taps(x, *settings, out_size)
        return best, max_pool_indices(taps, size, *settings)
    windows = []
    for n, out in zip(size, out_size, strict=True):
        start, stop = _bounds(n, out)
        longest = int((stop - start).max()) if out else 1
        windows.append(np.minimum(start[:, None] + np.arange(longest), stop[:, None] - 1))
    if 0 in lead or 0 in out_size:
        return np.empty((*lead, *out_size), x.dtype), np.empty((*lead, *out_size), np.int64)
    best, where = _window_max(np.ascontiguousarray(x).reshape(-1, *size), windows)
    return best.reshape(*lead, *out_size), where.reshape(*lead, *out_size)


def fractional_max_pool(
    x: np.ndarray, kernel: Sizes, out_size: Sizes, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over `kernel` windows at pseudo-random places (Graham, 2014), and PyTorch's flat indices.

    `samples` holds a number in [0, 1) per plane and axis; for two axes the last one comes first.
    """
    nd = len(kernel)
    size = x.shape[x.ndim - nd :]
    u = samples.reshape(-1, nd)
    windows = []
    for i in range(nd):
        start = _fractions(u[:, 1 - i if nd == 2 else i], size[i], out_size[i], kernel[i])
        windows.append(start[:, :, None] + np.arange(kernel[i]))
    shape = (*x.shape[: x.ndim - nd], *out_size)
    if 0 in shape:
        return np.empty(shape, x.dtype), np.empty(shape, np.int64)
    best, where = _window_max(np.ascontiguousarray(x).reshape(-1, *size), windows)
    return best.reshape(shape), where.reshape(shape)


def _fractions(u: np.ndarray, size: int, out: int, kernel: int) -> np.ndarray:
    """Where the `out` windows of an axis start, for each sample: steps of a constant fraction, shifted and rounded."""
    start = np.empty((u.shape[0], out), np.int64)
    if out > 1:
        alpha = u.dtype.type((size - kernel) / (out - 1))
        steps = (np.arange(out - 1, dtype=u.dtype) + u[:, None]) * alpha
        start[:, :-1] = steps.astype(np.int64) - (u[:, None] * alpha).astype(np.int64)
    start[:, -1:] = size - kernel
    return start


def plane_scatter(g: np.ndarray, indices: np.ndarray, size: Sizes, nd: int) -> np.ndarray:
    """Zeros `[..., *size]` with `g` added at `indices`, positions in the flattened last `nd` axes."""
    lead = g.shape[: g.ndim - nd]
    total = 1
    for n in size:
        total *= n
    out = np.zeros((*lead, *size), g.dtype)
    if g.size:
        rows = np.arange(out.size // max(total, 1)).reshape(-1, 1) * total
        np.add.at(out.reshape(-1), (indices.reshape(rows.shape[0], -1) + rows).reshape(-1), g.reshape(-1))
    return out


def plane_select(x: np.ndarray, indices: np.ndarray, nd: int) -> np.ndarray:
    """The elements of `x` at `indices`, positions in the flattened last `nd` axes: the adjoint of `plane_scatter`."""
    if not indices.size:
        return np.empty(indices.shape, x.dtype)
    lead = indices.size // max(1, int(np.prod(indices.shape[indices.ndim - nd :])))
    planes = x.reshape(lead, -1)
    return np.take_along_axis(planes, indices.reshape(lead, -1), axis=1).reshape(indices.shape)


def plane_put(x: np.ndarray, indices: np.ndarray, size: Sizes, nd: int) -> np.ndarray:
    """Like `plane_scatter`, but elements at the same position overwrite each other; the last one stays."""
    lead = x.shape[: x.ndim - nd]
    out = np.zeros((*lead, *size), x.dtype)
    if x.size:
        rows = int(np.prod(lead)) if lead else 1
        flat = out.reshape(rows, -1)
        flat[np.arange(rows).reshape(-1, 1), indices.reshape(rows, -1)] = x.reshape(rows, -1)
    return out
