"""Convolution for every data type and any number of groups: patches and `np.matmul`; also patches added back.

Shapes are those of `conv_blocks.Geometry`: three spatial axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .conv_blocks import Geometry, reads
from .parallel import get_num_threads, run_tasks

__all__ = ["add_patches", "backward_input", "backward_weight", "forward"]

_PATCH_BYTES = 4 << 20


def take_patches(x: np.ndarray, geo: Geometry) -> np.ndarray:
    """The patches `[N, C, kd, kh, kw, Do, Ho, Wo]` of `x`, zero outside."""
    n, c = x.shape[:2]
    patches = np.empty((n, c, *geo.kernel, *geo.out), x.dtype)
    if any(geo.pad):
        patches[...] = 0
    (kd, kh, kw), (sd, sh, sw), (pd, ph, pw), (dd, dh, dw) = geo.kernel, geo.stride, geo.pad, geo.dilation
    for a in range(kd):
        z, src_z = reads(geo.out[0], a * dd - pd, sd, geo.size[0])
        for i in range(kh):
            y, src_y = reads(geo.out[1], i * dh - ph, sh, geo.size[1])
            for j in range(kw):
                u, src_u = reads(geo.out[2], j * dw - pw, sw, geo.size[2])
                patches[:, :, a, i, j, z, y, u] = x[:, :, src_z, src_y, src_u]
    return patches


def add_patches(target: np.ndarray, patches: np.ndarray, geo: Geometry, d0: int = 0, h0: int = 0) -> None:
    """Add `patches` `[C, kd, kh, kw, d, h, Wo, G]` (rows from `d0`, `h0`) to `target` `[C, D, H, W, G]`."""
    (kd, kh, kw), (sd, sh, sw), (pd, ph, pw), (dd, dh, dw) = geo.kernel, geo.stride, geo.pad, geo.dilation
    depth, height, width = patches.shape[4:7]
    for a in range(kd):
        z, to_z = reads(depth, d0 * sd + a * dd - pd, sd, geo.size[0])
        for i in range(kh):
            y, to_y = reads(height, h0 * sh + i * dh - ph, sh, geo.size[1])
            for j in range(kw):
                u, to_u = reads(width, j * dw - pw, sw, geo.size[2])
                part = target[:, to_z, to_y, to_u]
                np.add(part, patches[:, a, i, j, z, y, u], out=part)


def _chunks(geo: Geometry, channels: int, itemsize: int) -> list[tuple[int, int]]:
    """Images cut into ranges whose patches take a bounded amount of memory, at least one per thread if there are."""
    per_image = max(1, channels * geo.taps * geo.columns * itemsize)
    step = max(1, min(_PATCH_BYTES // per_image, -(-geo.n // get_num_threads())))
    return [(i, min(i + step, geo.n)) for i in range(0, geo.n, step)]


def _grouped(w: np.ndarray, groups: int) -> np.ndarray:
    """The weight as a stack of matrices `[groups, Co / groups, C / groups * taps]`."""
    rows = w.shape[0] // groups
    return w.reshape(groups, rows, -1) if w.size else np.zeros((groups, rows, 0), w.dtype)


def forward(x: np.ndarray, w: np.ndarray, bias: Any, geo: Geometry, groups: int, out: np.ndarray) -> None:
    """`out` is overwritten by the convolution of `x` with `w`."""
    if out.size == 0:
        return
    matrices = _grouped(w, groups)

    def task(first: int, last: int) -> None:
        patches = take_patches(x[first:last], geo).reshape(last - first, groups, -1, geo.columns)
        result = out[first:last].reshape(last - first, groups, -1, geo.columns)
        np.matmul(matrices, patches, out=result)
        if bias is not None:
            part = out[first:last]
            np.add(part, bias, out=part, casting="unsafe")

    run_tasks(task, _chunks(geo, x.shape[1], x.itemsize))


def backward_input(g: np.ndarray, w: np.ndarray, geo: Geometry, groups: int, out: np.ndarray) -> None:
    """`out` is overwritten by the gradient of the input."""
    out[...] = 0
    if g.size == 0 or out.size == 0:
        return
    matrices = _grouped(w, groups).swapaxes(1, 2)

    def task(first: int, last: int) -> None:
        grads = np.ascontiguousarray(g[first:last]).reshape(last - first, groups, -1, geo.columns)
        patches = np.matmul(matrices, grads).reshape(last - first, out.shape[1], *geo.kernel, *geo.out)
        for n in range(first, last):
            add_patches(out[n][..., None], patches[n - first][..., None], geo)

    run_tasks(task, _chunks(geo, out.shape[1], out.itemsize))


def backward_weight(g: np.ndarray, x: np.ndarray, geo: Geometry, groups: int, out: np.ndarray) -> None:
    """`out` is overwritten by the gradient of the weight."""
    out[...] = 0
    if g.size == 0 or out.size == 0:
        return
    total = out.reshape(groups, out.shape[0] // groups, -1)
    for first, last in _chunks(geo, x.shape[1], x.itemsize):
        patches = take_patches(x[first:last], geo).reshape(last - first, groups, -1, geo.columns)
        grads = np.ascontiguousarray(g[first:last]).reshape(last - first, groups, -1, geo.columns)
        for n in range(last - first):
            np.add(total, np.matmul(grads[n], patches[n].swapaxes(1, 2)), out=total)
