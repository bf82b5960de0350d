"""Convolution in one to three dimensions, float32 and float64, and its gradients, in native code.

Each function returns None where it does not suit: then NumPy does the work.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from .calls import ENABLED
from .filtering import filtered, filtered_weights, pays, weights_pay
from .windows import Sizes, copied, correlate, image_of, rearrange, spread, weight_sums

__all__ = ["forward", "input_gradient", "weight_gradient"]

_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def three(values: Sizes, fill: int) -> Sizes:
    """Values for three axes, with `fill` for those in front that are missing."""
    return (fill,) * (3 - len(values)) + tuple(values)


def _suits(a: np.ndarray, w: np.ndarray, *sizes: int) -> bool:
    return ENABLED and a.dtype in _REAL and a.dtype == w.dtype and 0 not in sizes and a.size > 0 and w.size > 0


def _filters(w: np.ndarray, stride: Sizes, dilation: Sizes, groups: int) -> bool:
    """Whether it is a convolution that Winograd's method can do."""
    return groups == 1 and w.shape[2:] == (3, 3) and tuple(stride) == (1, 1) and tuple(dilation) == (1, 1)


@lru_cache(maxsize=1024)
def _forward_plan(shape: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: int) -> Any:
    length = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation, strict=True):
        length.append((n + 2 * p - d * (k - 1) - 1) // s * s + d * (k - 1) + 1)
    taps = tuple(
        (a * dilation[0], i * dilation[1], j * dilation[2]) for a, i, j in product(*(range(k) for k in kernel))
    )
    image = image_of(shape, padding, tuple(length), stride, tuple({t[2] for t in taps}), size)
    return image, taps


def forward(
    x: np.ndarray,
    w: np.ndarray,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    out: np.ndarray,
) -> bool:
    """Fills `out` by the convolution of `x` `[N, C, ...]` with `w` `[Co, C / groups, ...]`, plus `bias`."""
    if not _suits(x, w, *out.shape) or (bias is not None and bias.dtype != x.dtype):
        return False
    x, w = np.ascontiguousarray(x), np.ascontiguousarray(w)
    bias = None if bias is None else np.ascontiguousarray(bias)
    if _filters(w, stride, dilation, groups) and pays(x.shape[0], x.shape[1], w.shape[0], out.shape[2:]):
        filtered(x, w, False, bias, padding, out)
        return True
    shape, kernel, size = three(x.shape[2:], 1), three(w.shape[2:], 1), x.itemsize
    image, taps = _forward_plan(shape, kernel, three(stride, 1), three(padding, 0), three(dilation, 1), size)
    m = w.shape[0] // groups
    target = out.reshape(x.shape[0], groups, m, -1)
    correlate(copied(x, image), image, w.reshape(groups, m, -1), taps, bias, target, three(out.shape[2:], 1))
    return True


# --- gradient of the input ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _backward_plan(
    shape: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: int
) -> Any:
    """The gradient's images, and for each part of the input (positions of one remainder by the strides) the kernel
    elements that reach it and where each finds its gradient.
    """
    axes = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation, strict=True):
        axes.append(
            [[(i, (r + p - i * d) // s) for i in range(k) if (r + p - i * d) % s == 0] for r in range(min(s, n))]
        )
    low, length = [], []
    places = tuple(-(-n // s) for n, s in zip(shape, stride, strict=True))
    for parts, q in zip(axes, places, strict=True):
        shifts = [shift for part in parts for _, shift in part] or [0]
        low.append(-min(shifts))
        length.append(q - 1 + max(shifts) - min(shifts) + 1)
    image = image_of(out, tuple(low), tuple(length), (1, 1, 1), (0,), size)
    found = []
    for number in product(*(range(len(parts)) for parts in axes)):
        reach = [axis[r] for axis, r in zip(axes, number, strict=True)]
        indices = tuple(np.array([i for i, _ in part], np.int64) for part in reach)
        taps = tuple(
            (a + low[0], i + low[1], j + low[2])
            for a, i, j in product(*([shift for _, shift in part] for part in reach))
        )
        found.append((number, indices, taps))
    return image, places, found


@lru_cache(maxsize=1024)
def _joining_plan(shape: Sizes, stride: Sizes, places: Sizes, parts: tuple[Sizes, ...], size: int) -> Any:
    """How the input's rows are put together from the parts: each row's beginning, and where its columns lie."""
    counts = tuple(min(s, n) for s, n in zip(stride, shape, strict=True))
    block = places[0] * places[1] * places[2]
    rows = np.full(shape[:2], -1, np.int64)
    for d, h in product(range(shape[0]), range(shape[1])):
        (z, a), (y, b) = divmod(d, stride[0]), divmod(h, stride[1])
        if any(part[:2] == (a, b) for part in parts):
            number = (a * counts[1] + b) * counts[2]
            rows[d, h] = (number * block + (z * places[1] + y) * places[2]) * size
    columns = {part[2] for part in parts}
    pairs = [
        (((i % stride[2]) * block + i // stride[2]) * size, i * size)
        for i in range(shape[2])
        if i % stride[2] in columns
    ]
    return rows, np.array(pairs, np.int64).reshape(-1, 2), counts[0] * counts[1] * counts[2], block


def _weight_part(w: np.ndarray, groups: int, indices: Any) -> np.ndarray:
    """The weight of some kernel elements, `[groups, C / groups, Co / groups * elements]`."""
    co, ci, size = w.shape[0] // groups, w.shape[1], w.itemsize
    kernel = three(w.shape[2:], 1)
    taps = kernel[0] * kernel[1] * kernel[2]
    d, h, x = np.ix_(*indices)
    places = ((d * kernel[1] + h) * kernel[2] + x).reshape(-1) * size
    result = np.empty((groups, ci, co, places.size), w.dtype)
    for group in range(groups):
        start = group * co * ci * taps * size
        rearrange(w, start, result[group], taps * size, ci * taps * size, places)
    return result.reshape(groups, ci, -1)


def input_gradient(
    g: np.ndarray, w: np.ndarray, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int,
    result: np.ndarray,
) -> bool:  # fmt: skip
    """Fills `result` by the gradient of `forward` for its input, plus `bias`, where `g` is that of its result."""
    if not _suits(g, w, *result.shape) or (bias is not None and bias.dtype != g.dtype):
        return False
    g, w = np.ascontiguousarray(g), np.ascontiguousarray(w)
    bias = None if bias is None else np.ascontiguousarray(bias)
    if _filters(w, stride, dilation, groups) and pays(g.shape[0], g.shape[1], w.shape[1], result.shape[2:]):
        filtered(g, w, True, bias, (2 - padding[0], 2 - padding[1]), result)
        return True
    shape, size, n, ci = three(result.shape[2:], 1), g.itemsize, g.shape[0], w.shape[1]
    stride = three(stride, 1)
    image, places, parts = _backward_plan(
        shape, three(g.shape[2:], 1), three(w.shape[2:], 1), stride, three(padding, 0), three(dilation, 1), size
    )
    laid = copied(g, image)
    if len(parts) == 1:
        _, indices, taps = parts[0]
        if not taps:
            return False
        target = result.reshape(n, groups, ci, -1)
        correlate(laid, image, _weight_part(w, groups, indices), taps, bias, target, shape)
        return True
    if bias is not None and not all(taps for _, _, taps in parts):
        return False
    reached = tuple(number for number, _, taps in parts if taps)
    rows, pairs, count, block = _joining_plan(shape, stride, places, reached, size)
    joined = np.empty((n, groups, ci, count, block), g.dtype)
    for i, (_, indices, taps) in enumerate(parts):
        if taps:
            correlate(laid, image, _weight_part(w, groups, indices), taps, bias, joined[:, :, :, i], places)
    spread(joined, result, n * groups * ci, count * block * size, shape[2] * size, rows, len(pairs), 0, pairs)
    return True


# --- gradient of the weight ---------------------------------------------------------------------------------------


def weight_gradient(
    g: np.ndarray, x: np.ndarray, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int, result: np.ndarray
) -> bool:
    """Fills `result` by the gradient of `forward` for its weight, where `g` is that of its result."""
    if not _suits(g, x, *result.shape) or (groups > 1 and result.shape[0] < 8 * groups):
        return False  # few columns beside many rows: NumPy's depthwise and grouped methods are quicker
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    if _filters(result, stride, dilation, groups) and weights_pay(x.shape[0], x.shape[1], g.shape[1], g.shape[2:]):
        filtered_weights(x, g, padding, result)
        return True
    shape, kernel = three(x.shape[2:], 1), three(result.shape[2:], 1)
    image, taps = _forward_plan(shape, kernel, three(stride, 1), three(padding, 0), three(dilation, 1), x.itemsize)
    sums = weight_sums(copied(x, image), image, g, groups, taps, three(g.shape[2:], 1))
    total = sums[0] if sums.shape[0] == 1 else np.add.reduce(sums, 0)
    result, (_, rows, columns), size = result.reshape(groups, -1, total.shape[1], 1), total.shape, total.itemsize
    for group in range(groups):
        start = group * rows * columns * size
        rearrange(total, start, result[group], size, columns * size, np.zeros(1, np.int64))
    return True
