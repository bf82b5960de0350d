"""Max pooling, without a look whether some value is NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.xla.shared import instance

__all__ = ["max_pool_indices", "max_pool_taps"]


def max_pool_taps(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, out_size: Any) -> tuple[Any, Any]:
    """The maximum of each window, and the number of the tap (in row-major order) that holds it.

    The first maximum counts; NaN is greater than all, and the last one counts.
    """
    pool = instance("pool")
    nd = len(kernel)
    win = pool._Windows(x.shape[x.ndim - nd :], out_size, kernel, stride, padding, dilation)
    source = win.filled(pool._planes(x, nd), pool._lowest(x.dtype))
    number = pool._tap_type(win.taps)
    best: Any = None
    which: Any = np.broadcast_to(np.asarray(win.first_taps() if win.padded else 0, number), (source.shape[0], *win.out))
    floating = x.dtype.kind not in "iub"
    for n, tap in pool._taps(win.kernel):
        view = source[win.view(tap)]
        if best is None:
            best = view.copy()
            continue
        better = np.greater(view, best)
        if floating:
            better = np.logical_or(better, np.isnan(view))
        which = np.where(better, np.asarray(n, number), which)
        best = np.maximum(best, view)
    shape = (*x.shape[: x.ndim - nd], *out_size)
    if not hasattr(which, "store"):
        which = best.moved_here(np.ascontiguousarray(which))
    return best.reshape(shape), which.reshape(shape)


def max_pool_indices(taps: Any, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The position of each maximum in its flattened input plane of spatial `size`."""
    pool = instance("pool")
    nd = len(kernel)
    win = pool._Windows(size, taps.shape[taps.ndim - nd :], kernel, stride, padding, dilation)
    offsets, base = pool._positions(win)
    found = taps.moved_here(np.ascontiguousarray(offsets))[pool._planes(taps, nd)]
    return np.add(found, base).reshape(taps.shape)
