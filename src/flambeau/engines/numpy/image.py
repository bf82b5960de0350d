"""Kernels for padding, resizing and windows of images. Paddings are (before, after) per dimension, as in `pad_zero`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

Pairs = tuple[tuple[int, int], ...]


def constant_pad(a: np.ndarray, pairs: Pairs, value: float = 0) -> np.ndarray:
    """`a` with a border of `value`; a negative width cuts off."""
    if any(b < 0 or e < 0 for b, e in pairs):
        a = a[tuple(slice(max(0, -b), n - max(0, -e)) for n, (b, e) in zip(a.shape, pairs))]
    shape = tuple(n + max(0, b) + max(0, e) for n, (b, e) in zip(a.shape, pairs))
    core = tuple(slice(max(0, b), max(0, b) + n) for n, (b, _) in zip(a.shape, pairs))
    out = np.zeros(shape, a.dtype) if value == 0 else np.full(shape, value, a.dtype)
    out[core] = a
    return out


@lru_cache(256)
def edge_index(n: int, before: int, after: int, mode: str) -> np.ndarray:
    """Where each place of a padded dimension of length `n` takes its element from."""
    at = np.arange(-before, n + after)
    if mode == "replicate":
        return at.clip(0, n - 1)
    if mode == "circular":
        return at % n
    return np.abs(np.where(at >= n, 2 * (n - 1) - at, at))


def _margins(before: int, n: int, after: int) -> list[slice]:
    return [s for s in (slice(0, before), slice(before + n, before + n + after)) if s.stop > s.start]


def _split_signs(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """The negative widths alone, and the positive ones."""
    return tuple((min(b, 0), min(e, 0)) for b, e in pairs), tuple((max(b, 0), max(e, 0)) for b, e in pairs)


def edge_pad(a: np.ndarray, pairs: Pairs, mode: str) -> np.ndarray:
    """`a` continued over its borders: 'reflect', 'replicate' or 'circular'; a negative width cuts off."""
    if any(b < 0 or e < 0 for b, e in pairs):
        if mode == "circular":  # what is cut off does not come back on the other side
            cut, pairs = _split_signs(pairs)
            return edge_pad(constant_pad(a, cut), pairs, mode)
        for d, (b, e) in enumerate(pairs):
            if b or e:
                a = a.take(edge_index(a.shape[d], b, e, mode), d)
        return a
    out = np.empty(tuple(n + b + e for n, (b, e) in zip(a.shape, pairs)), a.dtype)
    at = [slice(b, b + n) for n, (b, _) in zip(a.shape, pairs)]
    out[tuple(at)] = a
    # Margins are filled dimension by dimension, so that later ones find the corners of earlier ones done.
    for d, (b, e) in enumerate(pairs):
        if b or e:
            index = edge_index(a.shape[d], b, e, mode) + b
            for margin in _margins(b, a.shape[d], e):
                source: list[Any] = list(at)
                source[d] = index[margin]
                at_margin = [*at[:d], margin, *at[d + 1 :]]
                out[tuple(at_margin)] = out[tuple(source)]
            at[d] = slice(None)
    return out


def edge_fold(g: np.ndarray, pairs: Pairs, mode: str) -> np.ndarray:
    """The transpose of `edge_pad`: every margin is added to where it came from."""
    if mode == "circular" and any(b < 0 or e < 0 for b, e in pairs):
        cut, pairs = _split_signs(pairs)
        return constant_pad(edge_fold(g, pairs, mode), tuple((-b, -e) for b, e in cut))
    for d in reversed(range(g.ndim)):
        b, e = pairs[d]
        if not (b or e):
            continue
        n = g.shape[d] - b - e
        index = edge_index(n, b, e, mode)
        moved = g.swapaxes(0, d)
        if b < 0 or e < 0:
            folded = np.zeros((n, *moved.shape[1:]), g.dtype)
            np.add.at(folded, index, moved)
        else:
            folded = moved[b : b + n].copy()
            for margin in _margins(b, n, e):
                for place in range(margin.start, margin.stop):
                    folded[index[place]] += moved[place]
        g = folded.swapaxes(0, d)
    return g


class Taps:
    """A linear map along one dimension: element i of the result is the sum over k of weight[k, i] * a[index[k, i]]."""

    def __init__(self, index: np.ndarray, weight: np.ndarray | None, size: int) -> None:
        self.index = index
        self.weight = weight
        self.size = size  # of the input
        self._weights: dict[Any, np.ndarray] = {}
        self._back: Taps | None = None

    def weights(self, dtype: np.dtype) -> np.ndarray | None:
        """The weights in a dtype."""
        if self.weight is None:
            return None
        if dtype not in self._weights:
            self._weights[dtype] = self.weight.astype(dtype)
        return self._weights[dtype]

    @property
    def back(self) -> Taps:
        """The transposed map."""
        if self._back is None:
            source = self.index.ravel()
            target = np.tile(np.arange(self.index.shape[1]), self.index.shape[0])
            weight = np.ones(source.size) if self.weight is None else self.weight.ravel()
            keep = weight != 0
            order = np.argsort(source[keep], kind="stable")
            source, target, weight = source[keep][order], target[keep][order], weight[keep][order]
            counts = np.bincount(source, minlength=self.size)
            # rank of each tap among those with the same source
            rank = np.arange(source.size) - np.repeat(np.cumsum(counts) - counts, counts)
            taps = max(1, int(counts.max(initial=0)))
            index = np.zeros((taps, self.size), np.intp)
            weights = np.zeros((taps, self.size))
            index[rank, source] = target
            weights[rank, source] = weight
            plain = bool((weights == 1).all())
            self._back = Taps(index, None if plain else weights, self.index.shape[1])
            self._back._back = self
        return self._back


def resample_dims(a: np.ndarray, maps: tuple[Taps | None, ...]) -> np.ndarray:
    """`a` mapped along its last dimensions by one map each; None leaves a dimension as it is."""
    for d, taps in enumerate(maps, a.ndim - len(maps)):
        if taps is not None:
            a = _resample(a, d, taps)
    return a


def resample_bytes(a: np.ndarray, maps: tuple[Taps | None, ...]) -> np.ndarray:
    """`resample_dims` of uint8, the last dimension first, in fixed-point numbers, rounded after each dimension."""
    for d, taps in reversed(list(enumerate(maps, a.ndim - len(maps)))):
        if taps is None or taps.weight is None:
            continue
        weight, bits = _gathered(taps), 0
        while bits < 22 and 0.5 + float(weight.max()) * (1 << (bits + 1)) < (1 << 15):
            bits += 1
        scaled = weight * (1 << bits)
        whole = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int64)
        column = (slice(None),) + (None,) * (a.ndim - 1 - d)
        total = sum(a.take(index, d).astype(np.int64) * w[column] for index, w in zip(taps.index, whole, strict=True))
        a = np.clip((total + (1 << (bits - 1))) >> bits, 0, 255).astype(np.uint8)
    return a


def _gathered(taps: Taps) -> np.ndarray:
    """Weights in double precision; what taps beyond the edge repeat counts for the last of them."""
    weight = np.array(taps.weight, np.float64)
    for i in range(len(weight) - 1):
        again = taps.index[i] == taps.index[i + 1]
        weight[i + 1] += np.where(again, weight[i], 0)
        weight[i][again] = 0
    return weight


def _resample(a: np.ndarray, dim: int, taps: Taps) -> np.ndarray:
    weights = taps.weights(a.dtype)
    if weights is None and len(taps.index) == 1:
        return a.take(taps.index[0], dim)
    column = (slice(None),) + (None,) * (a.ndim - 1 - dim)
    total = None
    for k, index in enumerate(taps.index):
        part = a.take(index, dim)
        if weights is not None:
            part *= weights[k][column]
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


def _window_slices(size: tuple[int, int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple:
    counts = tuple(
        (n + 2 * p - d * (w - 1) - 1) // s + 1 for n, w, d, p, s in zip(size, kernel, dilation, padding, stride)
    )
    return counts


def im2col(a: np.ndarray, kernel: Any, dilation: Any, padding: Any, stride: Any) -> np.ndarray:
    """(N, C, H, W) to (N, C * kh * kw, windows): every window as a column; without N likewise."""
    if a.ndim == 3:
        return im2col(a[None], kernel, dilation, padding, stride)[0]
    n, c, h, w = a.shape
    oh, ow = _window_slices((h, w), kernel, dilation, padding, stride)
    ph, pw = padding
    if ph or pw:
        a = constant_pad(a, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    out = np.empty((n, c, kernel[0], kernel[1], oh, ow), a.dtype)
    for i in range(kernel[0]):
        y = i * dilation[0]
        for j in range(kernel[1]):
            x = j * dilation[1]
            out[:, :, i, j] = a[:, :, y : y + stride[0] * oh : stride[0], x : x + stride[1] * ow : stride[1]]
    return out.reshape(n, c * kernel[0] * kernel[1], oh * ow)


def col2im(g: np.ndarray, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> np.ndarray:
    """The transpose of `im2col`: columns are added up where their windows lie in images of `size`."""
    if g.ndim == 2:
        return col2im(g[None], size, kernel, dilation, padding, stride)[0]
    h, w = size
    oh, ow = _window_slices((h, w), kernel, dilation, padding, stride)
    n = g.shape[0]
    c = g.shape[1] // (kernel[0] * kernel[1])
    g = g.reshape(n, c, kernel[0], kernel[1], oh, ow)
    ph, pw = padding
    # Room for whole strides behind the last window, so that every slice has its full length.
    out = np.zeros((n, c, h + 2 * ph + stride[0], w + 2 * pw + stride[1]), g.dtype)
    for i in range(kernel[0]):
        y = i * dilation[0]
        for j in range(kernel[1]):
            x = j * dilation[1]
            out[:, :, y : y + stride[0] * oh : stride[0], x : x + stride[1] * ow : stride[1]] += g[:, :, i, j]
    return np.ascontiguousarray(out[:, :, ph : ph + h, pw : pw + w])
