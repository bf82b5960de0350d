"""Max and average pooling over 1 to 3 spatial axes, and their gradients.

Where there are native kernels they do the work (`engines/native/pooling.py`). Elsewhere, windows are never gathered:
each kernel element ("tap") is a strided view of the input, and a pool is a short chain of ufuncs over taps, worked
block by block of planes. Max pooling records the winning tap of each window in an array of small integers; from it come
the gradient, its adjoint and PyTorch's flat indices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..arrays import like
from ..native import pooling
from .parallel import parallel_for, scratch

__all__ = [
    "avg_pool",
    "avg_pool_input",
    "max_pool_indices",
    "max_pool_scatter",
    "max_pool_select",
    "max_pool_taps",
]

Sizes = tuple[int, ...]

_BLOCK = 131072  # outputs worked on at a time: with fewer, threads get into each other's way
_GRAIN = 1_000_000  # window elements below which one thread is enough


def _three(values: Sizes, fill: int) -> Sizes:
    return (fill,) * (3 - len(values)) + tuple(values)


def _planes(a: np.ndarray, nd: int) -> np.ndarray:
    """`a` as `[planes, depth, height, width]`, contiguous."""
    count = 1
    for n in a.shape[: a.ndim - nd]:
        count *= n
    return np.ascontiguousarray(a).reshape(count, *_three(a.shape[a.ndim - nd :], 1))


def _over_planes(planes: int, outputs: int, taps: int, fn: Callable[[int, int], Any]) -> None:
    """Run `fn(first, last)` over blocks of planes with `outputs` outputs each, on all threads if that pays."""
    if planes and outputs:
        block = max(1, _BLOCK // outputs)
        parallel_for(planes, fn, grain=max(1, _GRAIN // (outputs * taps)), block=block)


def _taps(kernel: Sizes) -> Iterator[tuple[int, Sizes]]:
    return enumerate(itertools.product(*(range(k) for k in kernel)))


class _Windows:
    """The geometry of a pool, as three axes."""

    def __init__(self, size: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> None:
        self.size, self.out, self.kernel = _three(size, 1), _three(out, 1), _three(kernel, 1)
        self.stride, self.pad, self.dilation = _three(stride, 1), _three(padding, 0), _three(dilation, 1)
        # the extent that windows cover, padding included
        self.extent = tuple(
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in zip(self.out, self.stride, self.kernel, self.dilation, strict=True)
        )
        self.padded = any(p > 0 or e > n for p, e, n in zip(self.pad, self.extent, self.size, strict=True))
        self.outputs = self.out[0] * self.out[1] * self.out[2]
        self.taps = self.kernel[0] * self.kernel[1] * self.kernel[2]

    def filled(self, block: np.ndarray, fill: Any) -> np.ndarray:
        """`block` with `fill` around it as far as windows reach; itself where they don't reach out."""
        if not self.padded:
            return block
        shape = tuple(max(e, p + n) for e, p, n in zip(self.extent, self.pad, self.size, strict=True))
        wide = scratch("pool_pad", (block.shape[0], *shape), block.dtype)
        wide[...] = fill
        inner = tuple(slice(p, p + n) for p, n in zip(self.pad, self.size, strict=True))
        wide[(slice(None), *inner)] = block
        return wide

    def view(self, tap: Sizes) -> tuple[slice, ...]:
        """Where `tap` reads the padded input, for all windows."""
        return (
            slice(None),
            *(
                slice(t * d, t * d + (o - 1) * s + 1, s)
                for t, d, o, s in zip(tap, self.dilation, self.out, self.stride, strict=True)
            ),
        )

    def reach_in(self) -> bool:
        """Whether every window has an element inside the input: native code believes that winners lie there."""
        for axis in range(3):
            start = np.arange(self.out[axis]) * self.stride[axis] - self.pad[axis]
            taps = start[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
            if not ((taps >= 0) & (taps < self.size[axis])).any(1).all():
                return False
        return True

    def first_taps(self) -> np.ndarray:
        """For each window its first tap inside the input."""
        tap: Any = 0
        for axis in range(3):
            before = self.pad[axis] - np.arange(self.out[axis]) * self.stride[axis]
            first = np.maximum(0, -(-before // self.dilation[axis]))
            tap = tap * self.kernel[axis] + first.reshape([-1 if i == axis else 1 for i in range(3)])
        return tap


def _lowest(dtype: np.dtype) -> Any:
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return dtype.type(-np.inf)


def _tap_type(count: int) -> np.dtype:
    return np.dtype(np.uint8 if count <= 256 else np.uint16 if count <= 65536 else np.uint32)


# --- max ----------------------------------------------------------------------------------------------------------


def max_pool_taps(
    x: np.ndarray, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, out_size: Sizes
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each window, and the number of the tap (in row-major order) that holds it.

    The first maximum counts; NaN is greater than all, and the last one counts.
    """
    nd = len(kernel)
    win = _Windows(x.shape[x.ndim - nd :], out_size, kernel, stride, padding, dilation)
    source = _planes(x, nd)
    shape = (*x.shape[: x.ndim - nd], *out_size)
    first: Any = win.first_taps() if win.padded else 0
    done = pooling.largest(
        source, win.pad, win.out, win.kernel, win.stride, win.dilation, first if win.padded else None
    )
    if done is not None:
        return done[0].reshape(shape), done[1].reshape(shape)
    out = np.empty((source.shape[0], *win.out), x.dtype)
    taps = np.empty(out.shape, _tap_type(win.taps))
    floating = x.dtype.kind not in "iub"

    def block(start: int, stop: int) -> None:
        src = win.filled(source[start:stop], _lowest(x.dtype))
        best, which = out[start:stop], taps[start:stop]
        _block_max(src, win, best, which, first, False)
        if floating and np.isnan(best).any():
            _block_max(src, win, best, which, first, True)

    _over_planes(out.shape[0], win.outputs, win.taps, block)
    return out.reshape(shape), taps.reshape(shape)


def _block_max(src: np.ndarray, win: _Windows, best: np.ndarray, which: np.ndarray, first: Any, nans: bool) -> None:
    value = scratch("pool_value", best.shape, best.dtype)
    better = scratch("pool_better", best.shape, np.bool_)
    number = scratch("pool_number", best.shape, which.dtype)
    bits = better.view(np.uint8)
    for n, tap in _taps(win.kernel):
        view = src[win.view(tap)]
        if n == 0:
            np.copyto(best, view)
            which[...] = first
            continue
        if win.stride[2] > 1:  # comparisons are several times faster on contiguous values
            np.copyto(value, view)
            view = value
        np.greater(view, best, out=better)
        if nans:
            np.logical_or(better, np.isnan(view), out=better)
        np.multiply(bits, which.dtype.type(n), out=number)
        np.maximum(which, number, out=which)
        np.maximum(best, view, out=best)


def _positions(win: _Windows) -> tuple[np.ndarray, np.ndarray]:
    """What turns taps into positions in the flattened input plane: an offset per tap, and a start per window."""
    offsets: Any = 0
    base: Any = 0
    for axis in range(3):
        shape = [-1 if i == axis else 1 for i in range(3)]
        offsets = offsets * win.size[axis] + (np.arange(win.kernel[axis]) * win.dilation[axis]).reshape(shape)
        start = np.arange(win.out[axis]) * win.stride[axis] - win.pad[axis]
        base = base * win.size[axis] + start.reshape(shape)
    return offsets.reshape(-1), base


def max_pool_indices(
    taps: np.ndarray, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> np.ndarray:
    """PyTorch's indices: the position of each maximum in its flattened input plane of spatial `size`."""
    nd = len(kernel)
    win = _Windows(size, taps.shape[taps.ndim - nd :], kernel, stride, padding, dilation)
    offsets, base = _positions(win)
    result = like(taps, offsets).take(_planes(taps, nd))
    np.add(result, base, out=result)
    return result.reshape(taps.shape)


def max_pool_scatter(
    g: np.ndarray, taps: np.ndarray, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> np.ndarray:
    """The gradient of max pooling for an input of spatial `size`: `g` added where each window found its maximum."""
    nd = len(kernel)
    win = _Windows(size, g.shape[g.ndim - nd :], kernel, stride, padding, dilation)
    grads, winners = _planes(g, nd), _planes(taps, nd)
    offsets, base = _positions(win)
    out = np.empty((grads.shape[0], *win.size), g.dtype)
    if win.reach_in() and pooling.scatter(grads, winners, offsets, base, out):
        return out.reshape(*g.shape[: g.ndim - nd], *size)
    out[...] = 0
    plane = win.size[0] * win.size[1] * win.size[2]

    def block(start: int, stop: int) -> None:
        at = like(g, offsets).take(winners[start:stop])
        np.add(at, base + (np.arange(stop - start) * plane).reshape(-1, 1, 1, 1), out=at)
        np.add.at(out[start:stop].reshape(-1), at.reshape(-1), grads[start:stop].reshape(-1))

    _over_planes(out.shape[0], win.outputs, 2, block)
    return out.reshape(*g.shape[: g.ndim - nd], *size)


def max_pool_select(
    x: np.ndarray, taps: np.ndarray, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> np.ndarray:
    """From each window of `x` the element at the tap given in `taps`: the adjoint of `max_pool_scatter`."""
    nd = len(kernel)
    size = x.shape[x.ndim - nd :]
    if not taps.size:
        return np.empty(taps.shape, x.dtype)
    at = max_pool_indices(taps, size, kernel, stride, padding, dilation)
    planes = _planes(x, nd).reshape(-1, max(1, int(np.prod(size))))
    rows = at.reshape(planes.shape[0], -1)
    return np.take_along_axis(planes, rows, axis=1).reshape(taps.shape)


# --- average ------------------------------------------------------------------------------------------------------


def _divisors(win: _Windows, include_pad: bool, divisor: int | None) -> Any:
    """What the sums are divided by: a number, or an array `[Do, Ho, Wo]` where windows differ."""
    if divisor is not None:
        return float(divisor)
    if not win.padded:
        return float(win.taps)
    result: Any = 1.0
    for axis in range(3):
        n, k, p = win.size[axis], win.kernel[axis], win.pad[axis]
        start = np.arange(win.out[axis]) * win.stride[axis] - p
        stop = np.minimum(start + k, n + p)
        if not include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        result = result * (stop - start).reshape([-1 if i == axis else 1 for i in range(3)])
    return result


def avg_pool(
    x: np.ndarray, kernel: Sizes, stride: Sizes, padding: Sizes, out_size: Sizes, include_pad: bool, divisor: int | None
) -> np.ndarray:
    """The mean of each window; what it is divided by is PyTorch's (`count_include_pad`, `divisor_override`)."""
    nd = len(kernel)
    win = _Windows(x.shape[x.ndim - nd :], out_size, kernel, stride, padding, (1,) * nd)
    source = _planes(x, nd)
    shape = (*x.shape[: x.ndim - nd], *out_size)
    divisors = _divisors(win, include_pad, divisor)
    if win.outputs == 1 and win.kernel == win.size and not win.padded and x.dtype.kind == "f":
        flat = source.reshape(source.shape[0], win.taps)
        return (flat.dot(np.ones(flat.shape[1], x.dtype)) / divisors).astype(x.dtype, copy=False).reshape(shape)
    if divisors.__class__ is not float:
        divisors = divisors.astype(x.dtype)
    done = pooling.average(source, win.pad, win.out, win.kernel, win.stride, divisors)
    if done is not None:
        return done.reshape(shape)
    out = np.empty((source.shape[0], *win.out), x.dtype)

    def block(start: int, stop: int) -> None:
        current = win.filled(source[start:stop], 0)
        for axis in range(3):
            current = _sum_axis(current, axis + 1, win.kernel[axis], win.stride[axis], win.out[axis])
        if out.dtype.kind in "iu":  # the quotient of ints is cut off towards zero
            out[start:stop] = np.trunc(current / divisors)
        else:
            np.divide(current, divisors, out=out[start:stop])

    _over_planes(out.shape[0], win.outputs, max(1, win.taps // 2), block)
    return out.reshape(shape)


def _sum_axis(a: np.ndarray, axis: int, k: int, s: int, count: int) -> np.ndarray:
    """Sums of `k` neighbours along `axis`, every `s`."""
    views = [a[(slice(None),) * axis + (slice(j, j + (count - 1) * s + 1, s),)] for j in range(k)]
    if k == 1:
        return views[0]
    result = scratch(f"pool_sum{axis}", views[0].shape, a.dtype)
    np.add(views[0], views[1], out=result)
    for view in views[2:]:
        np.add(result, view, out=result)
    return result


def avg_pool_input(
    g: np.ndarray, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include_pad: bool, divisor: int | None
) -> np.ndarray:
    """The gradient of `avg_pool` for an input of spatial `size`: each window's share for all of its elements."""
    nd = len(kernel)
    win = _Windows(size, g.shape[g.ndim - nd :], kernel, stride, padding, (1,) * nd)
    grads = _planes(g, nd)
    divisors = _divisors(win, include_pad, divisor)
    if divisors.__class__ is not float:
        divisors = divisors.astype(g.dtype)
    if win.outputs == 1 and win.kernel == win.size and not win.padded:
        out = np.empty((grads.shape[0], win.taps), g.dtype)
        out[...] = grads.reshape(-1, 1) / divisors
        return out.reshape(*g.shape[: g.ndim - nd], *size)
    out = np.empty((grads.shape[0], *win.size), g.dtype)
    inner = (slice(None), *(slice(p, p + n) for p, n in zip(win.pad, win.size, strict=True)))

    def block(start: int, stop: int) -> None:
        current = scratch("pool_share", (stop - start, *win.out), g.dtype)
        np.divide(grads[start:stop], divisors, out=current)
        for axis in (2, 1, 0):
            reach = max(win.extent[axis], win.pad[axis] + win.size[axis])
            current = _spread_axis(current, axis + 1, win.kernel[axis], win.stride[axis], reach)
        np.copyto(out[start:stop], current[inner])

    _over_planes(out.shape[0], win.outputs, max(1, win.taps // 2), block)
    return out.reshape(*g.shape[: g.ndim - nd], *size)


def _spread_axis(a: np.ndarray, axis: int, k: int, s: int, reach: int) -> np.ndarray:
    """Each element to its `k` neighbours along `axis`, every `s`, in a result `reach` long."""
    count = a.shape[axis]
    if k == 1 and s == 1 and reach == count:
        return a
    result = scratch(f"pool_sum{axis}", (*a.shape[:axis], reach, *a.shape[axis + 1 :]), a.dtype)
    if s != k or reach != count * s:
        result[...] = 0
    for j in range(k):
        view = result[(slice(None),) * axis + (slice(j, j + (count - 1) * s + 1, s),)]
        if s >= k:
            view[...] = a
        else:
            np.add(view, a, out=view)
    return result
