"""Max and average pooling natively: a row of results is a chain over the rows that its windows touch.

Each kernel element is an operand: the rows where it lies. Every second column is loaded as such; other strides, and
padding, read copies whose columns are sorted (`spread.py`). The winner of a window is the number of its kernel element.
"""

from __future__ import annotations

import functools
from itertools import product
from typing import Any

import numpy as np

from .assembler import (
    EQUAL,
    LESS,
    NOT_EQUAL,
    NOT_LESS,
    R8,
    R9,
    R10,
    R11,
    R12,
    RAX,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    Assembler,
    Mem,
)  # fmt: skip
from .calls import ENABLED, Kernel, address
from .windows import Image, Sizes, copied, image_of, made, share

__all__ = ["average", "largest", "scatter"]

_MOST = 32  # kernel elements
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def _suits(x: np.ndarray, taps: int) -> bool:
    return ENABLED and x.dtype in _REAL and x.flags.c_contiguous and x.size > 0 and taps <= _MOST


def _element(k: Any, number: int, second: int) -> Any:
    """The values of one kernel element; those of stride 2 are told by a row and a column."""
    return k.load(f"tap{number}") if second < 0 else k.load_second(f"tap{number}", second)


@functools.cache
def _max(columns: tuple[int, ...], padded: bool) -> Kernel:
    def write(k: Any) -> None:
        best, which = None, k.load("first") if padded else k.bits(0)
        for number, second in enumerate(columns):
            value = _element(k, number, second)
            if best is None:
                best = value
                continue
            # a NaN is larger than all; the first of equal ones counts, of NaNs the last
            better = k.either(k.compare("gt", value, best), k.compare("ne", value, value))
            best, which = k.select(better, value, best), k.select(better, k.bits(number), which)
        k.store("out", best)
        k.store("taps", which)

    return Kernel(write, "max_pool")


@functools.cache
def _mean(columns: tuple[int, ...], differs: bool) -> Kernel:
    def write(k: Any) -> None:
        total = None
        for number, second in enumerate(columns):
            value = _element(k, number, second)
            total = value if total is None else total + value
        k.store("out", total / (k.load("divisor") if differs else k.number("divisor")))

    return Kernel(write, "avg_pool")


@functools.lru_cache(maxsize=512)
def _plan(size: Sizes, low: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes, item: int) -> Any:
    """How images lie, and each kernel element's place and column (negative where columns are side by side)."""
    length = tuple((o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(out, stride, kernel, dilation, strict=True))
    inside = low == (0, 0, 0) and all(n <= m for n, m in zip(length, size, strict=True))
    taps = [tuple(t * d for t, d in zip(tap, dilation, strict=True)) for tap in product(*(range(k) for k in kernel))]
    if inside and stride[2] == 2:
        row = size[2] * item
        image = Image(size[0] * size[1] * row, (stride[0] * size[1] * row, stride[1] * row, item), (size[1], row),
                      (0,), 0, 1, None)  # fmt: skip
        return image, [((t[0] * size[1] + t[1]) * row, t[2]) for t in taps]
    image = image_of(size, low, length, stride, tuple({t[2] for t in taps}), item)
    return image, [(image.at(t, item), -1) for t in taps]


def _run(
    kernel: Kernel, x: np.ndarray, plan: Any, out: Sizes, results: dict[str, Any], rows: dict[str, Any], numbers: Any
) -> None:
    """Runs over all rows of results; `rows` has what is the same for every plane."""
    image, taps = plan
    planes, size = x.shape[0], x.itemsize
    row, plane, whole = out[2] * size, out[1] * out[2] * size, out[0] * out[1] * out[2] * size
    for d in range(out[0]):
        operands = {}
        for number, (place, _) in enumerate(taps):
            start = address(x) + d * image.steps[0] + place
            operands[f"tap{number}"] = (start, image.steps[1], image.channel)
        for name, a in results.items():
            operands[name] = (address(a) + d * plane, row, whole)
        for name, a in rows.items():
            operands[name] = (address(a) + d * plane, row, 0)
        kernel.named(x.dtype, planes * out[1], out[2], operands, numbers, out[1])


def largest(
    x: np.ndarray, low: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes, first: Any
) -> tuple[np.ndarray, np.ndarray] | None:
    """The maxima of windows of planes `x` `[P, D, H, W]`, and the winners' numbers; `first` has those of each window's
    first element inside the plane, None where nothing is padded. None where it has to be NumPy's work.
    """
    if not _suits(x, kernel[0] * kernel[1] * kernel[2]):
        return None
    item = x.itemsize
    plan = _plan(x.shape[1:], low, out, kernel, stride, dilation, item)
    laid = copied(x[:, None], plan[0], -np.inf)
    result = np.empty((x.shape[0], *out), x.dtype)
    taps = np.empty(result.shape, np.int32 if item == 4 else np.int64)
    rows = {}
    if first is not None:
        rows["first"] = np.ascontiguousarray(np.broadcast_to(first, out).astype(taps.dtype))
    made_ = _max(tuple(second for _, second in plan[1]), first is not None)
    laid = laid.reshape(x.shape[0], -1)
    _run(made_, laid, plan, out, {"out": result, "taps": taps}, rows, {})
    return result, taps


def average(x: np.ndarray, low: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, divisors: Any) -> np.ndarray | None:
    """The sums of windows over `divisors`, a number or one for each window; None where it has to be NumPy's work."""
    if not _suits(x, kernel[0] * kernel[1] * kernel[2]):
        return None
    plan = _plan(x.shape[1:], low, out, kernel, stride, (1, 1, 1), x.itemsize)
    laid = copied(x[:, None], plan[0]).reshape(x.shape[0], -1)
    result = np.empty((x.shape[0], *out), x.dtype)
    rows, numbers = {}, {}
    if divisors.__class__ is float:
        numbers["divisor"] = divisors
    else:
        rows["divisor"] = np.ascontiguousarray(np.broadcast_to(divisors, out).astype(x.dtype))
    made_ = _mean(tuple(second for _, second in plan[1]), bool(rows))
    _run(made_, laid, plan, out, {"out": result}, rows, numbers)
    return result


# --- back to where the winners were -------------------------------------------------------------------------------


class ScatterWord:
    """The table's words: addresses of gradients, winners and result, where each window and each kernel element lies in
    a plane, windows of a plane, and a result plane's bytes.
    """

    GRADS, TAPS, RESULT, WINDOWS, ELEMENTS, COUNT, PLANE = range(7)
    WORDS = 7


@functools.cache
def scatter_code(wide: bool, double: bool) -> bytes:
    """`f(table, first, last)` over planes: zeros, and each window's gradient added where its maximum was."""
    asm = Assembler(False, double)
    size = asm.lane_bytes
    del wide
    asm.push(RBX)
    asm.push(R12)
    asm.mov(R12, RDX)

    def word(index: int) -> Mem:
        return Mem(RDI, 8 * index)

    plane, out, following = (asm.name(n) for n in ("plane", "out", "next"))
    asm.mov(R8, RSI)
    asm.imul(R8, word(ScatterWord.COUNT))
    asm.shift_left(R8, 3 if double else 2)
    asm.mov(R9, R8)
    asm.add(R8, word(ScatterWord.GRADS))
    asm.add(R9, word(ScatterWord.TAPS))
    asm.mov(R10, RSI)
    asm.imul(R10, word(ScatterWord.PLANE))
    asm.add(R10, word(ScatterWord.RESULT))
    asm.mov(R11, word(ScatterWord.ELEMENTS))
    asm.label(plane)
    asm.cmp(RSI, R12)
    asm.jump(out, NOT_LESS)
    _clear_plane(asm)
    asm.mov(RDX, word(ScatterWord.WINDOWS))
    asm.mov(RBX, word(ScatterWord.COUNT))
    asm.label(following)
    asm.mov_lane(RAX, Mem(R9), double)
    asm.mov(RCX, Mem(RDX))
    asm.add(RCX, Mem(R11, 0, RAX, 8))
    asm.vex("f2" if double else "f3", "0f", 0x10, 0, 0, Mem(R8), bits=128)
    asm.vex("f2" if double else "f3", "0f", 0x58, 0, 0, Mem(R10, 0, RCX), bits=128)
    asm.save_lowest(Mem(R10, 0, RCX), 0)
    for reg, step in ((R8, size), (R9, size), (RDX, 8), (RBX, -1)):
        asm.add_imm(reg, step)
    asm.jump(following, NOT_EQUAL)
    asm.add(R10, word(ScatterWord.PLANE))
    asm.add_imm(RSI, 1)
    asm.jump(plane)
    asm.label(out)
    asm.pop(R12)
    asm.pop(RBX)
    asm.ret()
    return asm.finish()


def _clear_plane(asm: Assembler) -> None:
    """Zeros at r10, a plane of them."""
    zeros, rest, end = (asm.name(n) for n in ("zeros", "rest", "end"))
    asm.real(0x57, 0, 0, 0)
    asm.mov(RCX, Mem(RDI, 8 * ScatterWord.PLANE))
    asm.mov(RDX, R10)
    asm.label(zeros)
    asm.cmp_imm(RCX, asm.vector_bytes)
    asm.jump(rest, LESS)
    asm.save(Mem(RDX), 0)
    asm.add_imm(RDX, asm.vector_bytes)
    asm.add_imm(RCX, -asm.vector_bytes)
    asm.jump(zeros)
    asm.label(rest)
    asm.cmp_imm(RCX, 0)
    asm.jump(end, EQUAL)
    asm.save_lowest(Mem(RDX), 0)
    asm.add_imm(RDX, asm.lane_bytes)
    asm.add_imm(RCX, -asm.lane_bytes)
    asm.jump(rest)
    asm.label(end)


def scatter(g: np.ndarray, taps: np.ndarray, offsets: np.ndarray, base: np.ndarray, out: np.ndarray) -> bool:
    """Fills planes `out` with gradients `g`, each added at its window's `base` plus its winner's `offsets`."""
    kind = np.int32 if g.itemsize == 4 else np.int64
    if not _suits(g, 1) or taps.dtype != kind or not taps.flags.c_contiguous or g.dtype != out.dtype:
        return False
    size = g.itemsize
    count = g[0].size
    windows = np.ascontiguousarray(np.broadcast_to(base, g.shape[1:]) * size, np.int64)
    elements = np.ascontiguousarray(offsets * size, np.int64)
    w = ScatterWord
    words = [0] * w.WORDS
    words[w.GRADS], words[w.TAPS], words[w.RESULT] = address(g), address(taps), address(out)
    words[w.WINDOWS], words[w.ELEMENTS] = address(windows), address(elements)
    words[w.COUNT], words[w.PLANE] = count, out[0].nbytes
    share(*made(scatter_code, size == 8), words, len(g), max(1, 8192 // count), g.size * 1.0 + out.size * 0.1)
    return True
