"""How convolution reads its input: blocks of patches laid out so that accumulating products need few copies.

Every convolution is seen with three spatial axes (depth, height, width), missing ones of size 1. An `Operand` holds one
block of the input (some output rows of one image, or of a group of small images, which then are the innermost axis) in
one of two layouts:

* rows: the input once per kernel column, shifted and subsampled: `[I, C, kw, depth, phase, row, Wo, G]`. A kernel row
  is then a mere offset into it, so the block takes `kd * kh` accumulating products and `kw` copies of the input.
* full: a copy per kernel element, `[I, C, kd, kh, kw, depth, row, Wo, G]`, and one product; better for few channels,
  where products are so short that calls count, and where the rows layout needs a large weight rearranged.

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
    """Where the copies of a block go, for one geometry; without arrays, so that it is made once and kept.

    `copies` holds pairs of indices (into the buffer, into the input). `steps` lists `(offset in the output, columns,
    [(weight tap, offset in the operand), ...])` for one image; offsets count elements.
    """

    __slots__ = ("copies", "k", "ld", "padded", "shape", "steps")

    def __init__(self, geo: Geometry, block: Any, group: int, full: bool, flip: bool) -> None:
        self.copies: list[tuple[Any, Any]] = []
        self.steps: list[tuple[int, int, list[tuple[int, int]]]] = []
        self.padded = False
        self.shape: Sizes = ()
        (self._full if full else self._rows)(geo, block, group, flip)

    def _add(self, target: tuple[Any, ...], sizes: Sizes, *axes: tuple[slice, slice]) -> None:
        """Plan the copy of the valid part of `axes`, of these output `sizes`, to the buffer at `target`."""
        if any(put.stop - put.start < size for (put, _), size in zip(axes, sizes, strict=True)):
            self.padded = True
        everything = (slice(None), slice(None))
        self.copies.append((everything + target + tuple(a[0] for a in axes), everything + tuple(a[1] for a in axes)))

    def _full(self, geo: Geometry, block: Any, group: int, flip: bool) -> None:
        (kd, kh, kw), (sd, sh, sw), (pd, ph, pw) = geo.kernel, geo.stride, geo.pad
        (dd, dh, dw), (_, ho, wo) = geo.dilation, geo.out
        d0, d1, h0, h1 = block
        sizes = (d1 - d0, h1 - h0, wo)
        self.shape = (geo.c, kd, kh, kw, *sizes, group)
        self.k, self.ld = geo.c * geo.taps, (d1 - d0) * (h1 - h0) * wo * group
        for a in range(kd):
            depth = reads(d1 - d0, d0 * sd + a * dd - pd, sd, geo.size[0])
            for i in range(kh):
                height = reads(h1 - h0, h0 * sh + i * dh - ph, sh, geo.size[1])
                for j in range(kw):
                    width = reads(wo, j * dw - pw, sw, geo.size[2])
                    at = (kd - 1 - a, kh - 1 - i, kw - 1 - j) if flip else (a, i, j)
                    self._add(at, sizes, depth, height, width)
        self.steps.append(((d0 * ho + h0) * wo * group, self.ld, [(0, 0)]))

    def _rows(self, geo: Geometry, block: Any, group: int, flip: bool) -> None:
        (kd, kh, kw), (sd, sh, sw), (pd, ph, pw) = geo.kernel, geo.stride, geo.pad
        (dd, dh, dw), (_, ho, wo) = geo.dilation, geo.out
        d0, d1, h0, h1 = block
        low, high = max(0, d0 * sd - pd), min(geo.size[0], (d1 - 1) * sd + (kd - 1) * dd - pd + 1)
        high = max(low, high)
        phases = sorted({(i * dh) % sh for i in range(kh)})
        rows = h1 - h0 + (kh - 1) * dh // sh
        line = wo * group
        self.shape = (geo.c, kw, high - low, len(phases), rows, wo, group)
        self.k, self.ld = geo.c * kw, max(1, (high - low) * len(phases) * rows * line)
        for j in range(kw):
            width = reads(wo, j * dw - pw, sw, geo.size[2])
            for p, phase in enumerate(phases):
                height = reads(rows, h0 * sh + phase - ph, sh, geo.size[1])
                self._add((kw - 1 - j if flip else j, slice(None), p), (rows, wo), height, width)
                put, get = self.copies[-1]
                self.copies[-1] = put, (*get[:2], slice(low, high), *get[2:])
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
def _plan(key: Any, block: Any, group: int, full: bool, flip: bool) -> Plan:
    return Plan(Geometry(1, *key), block, group, full, flip)


class Operand:
    """One block of the input in product layout, in this thread's scratch memory; see the top of this file."""

    __slots__ = ("buffer", "copies", "images", "k", "ld", "steps")

    def __init__(
        self, geo: Geometry, block: Any, images: int, group: int, dtype: Any, full: bool, flip: bool
    ) -> None:
        plan = _plan(geo.key(), block, group, full, flip)
        self.images, self.k, self.ld, self.steps = images, plan.k, plan.ld, plan.steps
        self.buffer = buffer = scratch("conv", (images, *plan.shape), dtype)
        if plan.padded:
            buffer[...] = 0  # the copies write what does not lie in the padding
        self.copies = [(buffer[put], get) for put, get in plan.copies]

    def load(self, src: np.ndarray) -> np.ndarray:
        """Fill the block from `src` `[I, C, D, H, W, G]`."""
        for target, index in self.copies:
            target[...] = src[index]
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
