"""How convolution reads its input: blocks of patches laid out so that accumulating products need few copies.

Every convolution is seen with three spatial axes (depth, height, width), missing ones of size 1. An `Operand` holds one
block of the input (some output rows of one image, or of a group of small images, which then are the innermost axis) in
one of two layouts:

* rows: the input once per kernel column, shifted and subsampled: `[I, C, kw, depth, phase, row, Wo, G]`. A kernel row
  is then a mere offset into it, so the block takes `kd * kh` accumulating products and `kw` copies of the input.
* full: a copy per kernel element, `[I, S, C, kd, kh, kw, depth, row, Wo, G]`, and one product for each of `S` runs of
  rows; better for few channels, where products are so short that calls count, and where the rows layout needs a large
  weight rearranged. OpenBLAS does small products without repacking: hence `S`.

`I` counts images side by side, `G` images as the innermost axis; one of the two is 1.

Forward, gradient of the input and gradient of the weight all use the same blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .parallel import scratch

__all__ = ["Geometry", "Operand", "blocks", "images_of", "reads"]

_BLOCK_BYTES = 1 << 20  # operands about this size stay in the second-level cache


Sizes = tuple[int, ...]


class Geometry:
    """Sizes of one ungrouped convolution, as three spatial axes: input, kernel, output, stride, padding, dilation."""

    __slots__ = ("c", "dilation", "kernel", "n", "out", "pad", "size", "stride")

    def __init__(
        self, n: int, c: int, size: Any, kernel: Any, stride: Any, pad: Any, dilation: Any, out: Any = None
    ) -> None:
        self.n, self.c = n, c
        self.size, self.kernel, self.stride, self.pad, self.dilation = size, kernel, stride, pad, dilation
        self.out = out or tuple(
            (s + 2 * p - d * (k - 1) - 1) // st + 1
            for s, k, st, p, d in zip(size, kernel, stride, pad, dilation, strict=True)
        )

    @property
    def taps(self) -> int:
        kd, kh, kw = self.kernel
        return kd * kh * kw

    @property
    def columns(self) -> int:
        d, h, w = self.out
        return d * h * w

    def key(self) -> tuple[Any, ...]:
        """All but the number of images."""
        return self.c, self.size, self.kernel, self.stride, self.pad, self.dilation, self.out

    def plain(self) -> bool:
        """Whether the input itself is the operand: a kernel of one element that visits every position."""
        return self.taps == 1 and self.stride == (1, 1, 1) and self.pad == (0, 0, 0)


def _valid(count: int, offset: int, stride: int, size: int) -> tuple[int, int]:
    """The `o` of `range(count)` for which `o * stride + offset` lies in `range(size)`, as a half-open range."""
    first = 0 if offset >= 0 else -(offset // stride)
    last = min(count, (size - 1 - offset) // stride + 1)
    return (first, last) if last > first else (0, 0)


def reads(count: int, offset: int, stride: int, size: int) -> tuple[slice, slice]:
    """Where valid positions lie in the output, and the input positions they read."""
    first, last = _valid(count, offset, stride, size)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    start = offset + first * stride
    return slice(first, last), slice(start, offset + (last - 1) * stride + 1, stride)


class Plan:
    """How a block is filled, for one geometry; without arrays, so that it is made once and kept.

    The input goes into a padded copy (`inner` says where, `region` which part of it), and from there with one strided
    copy of `shape` and `strides`, starting at `offset`, into the block. `steps` lists `(offset in the output, columns,
    [(weight tap, offset in the operand), ...])` for one image. Offsets and strides count elements.
    """

    __slots__ = ("inner", "k", "ld", "offset", "padded", "region", "run", "shape", "steps", "strides", "wide")

    def __init__(self, geo: Geometry, block: Any, group: int, full: bool, flip: bool, split: int) -> None:
        self.steps: list[tuple[int, int, list[tuple[int, int]]]] = []
        self.shape: Sizes = ()
        self.strides: Sizes = ()
        self.run = geo.stride[2] == 1
        if full:
            self._full(geo, block, group, flip, split)
        else:
            self._rows(geo, block, group, flip)

    def _place(self, geo: Geometry, group: int, starts: Sizes, lengths: Sizes) -> tuple[int, int, int, int]:
        """The padded copy, `lengths` long from padded positions `starts`; returns its strides by channel and axis."""
        inner, region = [], []
        for start, length, n, p in zip(starts, lengths, geo.size, geo.pad, strict=True):
            first, last = max(0, p - start), min(length, p - start + n)
            last = max(first, last)
            inner.append(slice(first, last))
            region.append(slice(start - p + first, start - p + last))
        self.inner, self.region = tuple(inner), tuple(region)
        self.padded = any(s.stop - s.start < length for s, length in zip(inner, lengths, strict=True))
        self.wide = (geo.c, *lengths, group)
        depth, height, width = lengths
        return depth * height * width * group, height * width * group, width * group, group

    def _full(self, geo: Geometry, block: Any, group: int, flip: bool, split: int) -> None:
        (kd, kh, kw), (sd, sh, sw), (dd, dh, dw) = geo.kernel, geo.stride, geo.dilation
        (d0, d1, h0, h1), (_, ho, wo) = block, geo.out
        lengths = (
            (d1 - d0 - 1) * sd + (kd - 1) * dd + 1,
            (h1 - h0 - 1) * sh + (kh - 1) * dh + 1,
            (wo - 1) * sw + (kw - 1) * dw + 1,
        )
        channel, plane, row, step = self._place(geo, group, (d0 * sd, h0 * sh, 0), lengths)
        rows = (h1 - h0) // split
        self.shape = (split, geo.c, kd, kh, kw, d1 - d0, rows, wo, group)
        taps = (dd * plane, dh * row, dw * step)
        self.offset = (kd - 1) * taps[0] + (kh - 1) * taps[1] + (kw - 1) * taps[2] if flip else 0
        taps = tuple(-t for t in taps) if flip else taps
        self.strides = (rows * sh * row, channel, *taps, sd * plane, sh * row, sw * step, 1)
        self.k, self.ld = geo.c * geo.taps, (d1 - d0) * rows * wo * group
        self.steps.append(((d0 * ho + h0) * wo * group, self.ld, [(0, 0)]))

    def _rows(self, geo: Geometry, block: Any, group: int, flip: bool) -> None:
        (kd, kh, kw), (sd, sh, sw), (dd, dh, dw) = geo.kernel, geo.stride, geo.dilation
        (d0, d1, h0, h1), (_, ho, wo), pd = block, geo.out, geo.pad[0]
        low, high = max(0, d0 * sd - pd), min(geo.size[0], (d1 - 1) * sd + (kd - 1) * dd - pd + 1)
        high = max(low, high)
        phases = sorted({(i * dh) % sh for i in range(kh)})
        if len(phases) > 2:
            phases = list(range(phases[-1] + 1))
        apart = phases[-1] - phases[0] if len(phases) == 2 else 1
        rows = h1 - h0 + (kh - 1) * dh // sh
        lengths = (high - low, (rows - 1) * sh + phases[-1] + 1, (wo - 1) * sw + (kw - 1) * dw + 1)
        channel, plane, row, step = self._place(geo, group, (low + pd, h0 * sh, 0), lengths)
        self.shape = (geo.c, kw, high - low, len(phases), rows, wo, group)
        self.offset = phases[0] * row + ((kw - 1) * dw * step if flip else 0)
        self.strides = (channel, -dw * step if flip else dw * step, plane, apart * row, sh * row, sw * step, 1)
        line = wo * group
        self.k, self.ld = geo.c * kw, max(1, (high - low) * len(phases) * rows * line)
        for d in range(d0, d1):
            taps = []
            for a in range(kd):
                z = d * sd + a * dd - pd
                for i in range(kh) if low <= z < high else ():
                    at = (kd - 1 - a) * kh + kh - 1 - i if flip else a * kh + i
                    offset = ((z - low) * len(phases) + phases.index(i * dh % sh)) * rows + i * dh // sh
                    taps.append((at, offset * line))
            self.steps.append(((d * ho + h0) * line, (h1 - h0) * line, taps))


@lru_cache(maxsize=512)
def _plan(key: Any, block: Any, group: int, full: bool, flip: bool, split: int) -> Plan:
    return Plan(Geometry(1, *key), block, group, full, flip, split)


class Operand:
    """One block of the input in product layout, in this thread's scratch memory; see the top of this file."""

    __slots__ = ("_copy", "_inner", "_region", "buffer", "images", "k", "ld", "steps")

    def __init__(
        self, geo: Geometry, block: Any, images: int, group: int, dtype: Any, full: bool, flip: bool, split: int = 1
    ) -> None:
        plan = _plan(geo.key(), block, group, full, flip, split)
        self.images, self.k, self.ld, self.steps = images, plan.k, plan.ld, plan.steps
        self.buffer = scratch("conv", (images, *plan.shape), dtype)
        wide = scratch("conv_wide", (images, *plan.wide), dtype)
        if plan.padded:
            wide[...] = 0
        self._inner, self._region = wide[(slice(None), slice(None), *plan.inner)], plan.region
        size = wide.itemsize
        shape, target, strides = self.buffer.shape, self.buffer, (wide.strides[0], *(s * size for s in plan.strides))
        if plan.run and target.size:  # each row as one opaque element: NumPy copies it at once
            dtype = np.dtype((np.void, shape[-2] * shape[-1] * size))
            shape, strides = shape[:-2], strides[:-2]
            target = target.reshape(*shape, -1).view(dtype)[..., 0]
        self._copy = target, np.ndarray(shape, dtype, wide, plan.offset * size, strides) if target.size else target

    def load(self, src: np.ndarray) -> np.ndarray:
        """Fill the block from `src` `[I, C, D, H, W, G]`."""
        self._inner[...] = src[(slice(None), slice(None), *self._region)]
        target, source = self._copy
        target[...] = source
        return self.buffer


def images_of(geo: Geometry, itemsize: int, full: bool) -> int:
    """How many whole images fill a block."""
    kd, kh, kw = geo.kernel
    return max(1, _BLOCK_BYTES // max(1, geo.c * kw * geo.columns * itemsize * (kd * kh if full else 1)))


def blocks(geo: Geometry, itemsize: int, full: bool) -> list[tuple[int, int, int, int]]:
    """Cut the output positions of an image into blocks `(d0, d1, h0, h1)` whose operands fit the cache."""
    (kd, kh, kw), (do, ho, wo) = geo.kernel, geo.out
    per_row = geo.c * kw * wo * itemsize * (kd * kh if full else geo.stride[1])
    rows = max(1, _BLOCK_BYTES // max(per_row, 1))
    if not full:
        extra = (kh - 1) * geo.dilation[1]  # rows shared by neighbouring blocks: keep them a small part
        rows = max(rows, 4 * extra)
    if rows < ho:
        count = -(-ho // rows)
        cuts = [ho * i // count for i in range(count + 1)]
        return [(d, d + 1, cuts[i], cuts[i + 1]) for d in range(do) for i in range(count)]
    planes = max(1, rows // ho)
    if not full:
        planes = max(planes, 2 * (kd - 1) * geo.dilation[0])
    return [(d, min(d + planes, do), 0, ho) for d in range(0, do, planes)]
