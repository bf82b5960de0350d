"""Copies from one order of strides to another, and rows picked by number: machine code that several threads share.

A copy is cut into rows. Either the elements of a row lie side by side on both sides, and the row is a run of bytes; or
other dimensions are the contiguous ones of source and result, and the row is a piece of a matrix to be transposed.
Rows are counted through four dimensions, the first of them the quickest.

The generated functions are `f(table, first row, last row)`; `CopyWord` names the table's words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from .assembler import (
    EQUAL,
    LESS,
    NOT_BELOW,
    NOT_EQUAL,
    NOT_LESS,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    Assembler,
    Mem,
)  # fmt: skip
from .lanes import transpose_tile

__all__ = ["DIMS", "CopyWord", "pick_code", "run_code", "run_kind", "strip_of", "transpose_code"]

#: Dimensions of rows.
DIMS = 4

_SAVED = (RBP, RBX, R12, R13, R14, R15)


class CopyWord:
    """The table's words: addresses; then of each dimension of rows its size, its step in the source, in the result.

    `LENGTH` is the bytes of a run. Rows that are picked: `SOURCE` and `FROM` are those of the numbers, which say how
    many `STEP`s from `TABLE` a row lies; one not below `COUNT` is left out, and `BAD` is where that is noted. Strips
    of a matrix: the source has `DOWN` runs of `ACROSS` numbers, `DOWN_STEP` bytes apart, and the result `ACROSS`
    runs of `DOWN` numbers, `ACROSS_STEP` apart; a row is a strip of `strip_of` numbers across.
    """

    SOURCE, RESULT, TABLE, BAD = range(4)
    ADDRESSES = 4
    SIZE, FROM, TO = range(ADDRESSES, ADDRESSES + 3 * DIMS, DIMS)
    LENGTH, STEP, COUNT = range(ADDRESSES + 3 * DIMS, ADDRESSES + 3 * DIMS + 3)
    DOWN, DOWN_STEP, ACROSS, ACROSS_STEP = range(ADDRESSES + 3 * DIMS, ADDRESSES + 3 * DIMS + 4)
    WORDS = ADDRESSES + 3 * DIMS + 4


def _word(index: int) -> Mem:
    return Mem(RDI, 8 * index)


class _Slots:
    """Whole numbers on the stack."""

    ROW, STOP, LEFT = (Mem(RSP, 8 * i) for i in range(3))
    BYTES = 24


def _rows(asm: Assembler, at_line: Callable[[], None], at_row: Callable[[], None]) -> bytes:
    """The function whose rows `at_row` copies: from r10 to r11, which it keeps, and r12.

    Rows go line by line, along the first dimension; `at_line` finds in rbx which one of its line is next.
    """
    for reg in _SAVED:
        asm.push(reg)
    asm.add_imm(RSP, -_Slots.BYTES)
    asm.store(_Slots.ROW, RSI)
    asm.store(_Slots.STOP, RDX)
    line, row, out, whole = (asm.name(n) for n in ("line", "row", "out", "whole"))
    asm.label(line)
    asm.mov(RAX, _Slots.ROW)
    asm.cmp(RAX, _Slots.STOP)
    asm.jump(out, NOT_LESS)
    asm.mov(R10, _word(CopyWord.SOURCE))
    asm.mov(R11, _word(CopyWord.RESULT))
    for dim in range(DIMS):
        asm.divide(_word(CopyWord.SIZE + dim))
        if dim == 0:
            asm.mov(RBX, RDX)
        asm.mov(RCX, RDX)
        asm.imul(RCX, _word(CopyWord.FROM + dim))
        asm.add(R10, RCX)
        asm.imul(RDX, _word(CopyWord.TO + dim))
        asm.add(R11, RDX)
    asm.mov(R12, _word(CopyWord.SIZE))
    asm.sub(R12, RBX)
    asm.mov(RAX, _Slots.STOP)
    asm.sub(RAX, _Slots.ROW)
    asm.cmp(RAX, R12)
    asm.jump(whole, NOT_LESS)
    asm.mov(R12, RAX)
    asm.label(whole)
    asm.mov(RAX, R12)
    asm.add(RAX, _Slots.ROW)
    asm.store(_Slots.ROW, RAX)
    at_line()
    asm.label(row)
    at_row()
    asm.add(R10, _word(CopyWord.FROM))
    asm.add(R11, _word(CopyWord.TO))
    asm.add_imm(R12, -1)
    asm.jump(row, NOT_EQUAL)
    asm.jump(line)
    asm.label(out)
    asm.add_imm(RSP, _Slots.BYTES)
    for reg in reversed(_SAVED):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


# --- runs -----------------------------------------------------------------------------------------------------------


def run_kind(length: int, wide: bool) -> int:
    """The bytes that are moved at a time in runs of so many: the first ones and the last ones may overlap."""
    return next((size for size in ((64,) if wide else ()) + (32, 16, 8, 4) if length >= size), 0)


@functools.cache
def run_code(wide: bool, size: int) -> bytes:
    """The machine code for rows that are runs of bytes, moved `size` at a time."""
    asm = Assembler(wide)
    return _rows(asm, lambda: _last(asm, size), lambda: _run(asm, size, R10))


@functools.cache
def pick_code(wide: bool, size: int) -> bytes:
    """The machine code for runs of bytes that are picked by number from a table."""
    asm = Assembler(wide)

    def row() -> None:
        bad, done = asm.name("bad"), asm.name("done")
        asm.mov(R15, Mem(R10))
        asm.cmp(R15, _word(CopyWord.COUNT))
        asm.jump(bad, NOT_BELOW)
        asm.imul(R15, _word(CopyWord.STEP))
        asm.add(R15, _word(CopyWord.TABLE))
        _run(asm, size, R15)
        asm.jump(done)
        asm.label(bad)
        asm.mov(RCX, _word(CopyWord.BAD))
        asm.mov_imm(RAX, 1)
        asm.store(Mem(RCX), RAX)
        asm.label(done)

    return _rows(asm, lambda: _last(asm, size), row)


def _last(asm: Assembler, size: int) -> None:
    """Where the last bytes of a run begin: r14."""
    asm.mov(R14, _word(CopyWord.LENGTH))
    asm.add_imm(R14, -size)


def _run(asm: Assembler, size: int, source: int) -> None:
    """Copies a run to r11."""
    loop, last = asm.name("loop"), asm.name("last")
    asm.mov_imm(RCX, 0)
    asm.label(loop)
    asm.cmp(RCX, R14)
    asm.jump(last, NOT_LESS)
    _move(asm, Mem(R11, 0, RCX), Mem(source, 0, RCX), size)
    asm.add_imm(RCX, size)
    asm.jump(loop)
    asm.label(last)
    _move(asm, Mem(R11, 0, R14), Mem(source, 0, R14), size)


def _move(asm: Assembler, to: Mem, source: Mem, size: int) -> None:
    if size <= 8:
        asm.mov_lane(RAX, source, size == 8)
        asm.store_lane(to, RAX, size == 8)
    elif size == 64:
        asm.load(0, source)
        asm.save(to, 0)
    else:
        asm.vex(None, "0f", 0x10, 0, 0, source, bits=8 * size)
        asm.vex(None, "0f", 0x11, 0, 0, to, bits=8 * size)


# --- matrices -------------------------------------------------------------------------------------------------------


def strip_of(item: int) -> int:
    """How many numbers across, of so many bytes, a row of a transposed matrix takes: a line of the cache."""
    return 64 // item


@functools.cache
def transpose_code(wide: bool, double: bool) -> bytes:
    """The machine code for rows that are strips of a matrix to be transposed, of numbers of 32 bits or 64."""
    asm = Assembler(wide, double)
    strip = strip_of(asm.lane_bytes)

    def line() -> None:
        """What is left across: beyond the strips before."""
        asm.mov_imm(RAX, strip)
        asm.imul(RBX, RAX)
        asm.mov(RAX, _word(CopyWord.ACROSS))
        asm.sub(RAX, RBX)
        asm.store(_Slots.LEFT, RAX)

    def row() -> None:
        few = asm.name("few")
        asm.mov(R14, _Slots.LEFT)
        asm.cmp_imm(R14, strip)
        asm.jump(few, LESS)
        asm.mov_imm(R14, strip)
        asm.label(few)
        asm.add_imm(_Slots.LEFT, -strip)
        _strip(asm)

    return _rows(asm, line, row)


def _strip(asm: Assembler) -> None:
    """A strip of r14 numbers across, all the way down: tiles, and what is left number by number."""
    tile, size = 32 // asm.lane_bytes, asm.lane_bytes
    # r8, r15: where the tiles' first runs begin; r9: the source's step; rbx: runs left; rbp: numbers left across
    asm.mov(R8, R10)
    asm.mov(R15, R11)
    asm.mov(R9, _word(CopyWord.DOWN_STEP))
    asm.mov(RBX, _word(CopyWord.DOWN))
    down, across, rest, single, out = (asm.name(n) for n in ("down", "across", "rest", "single", "out"))
    asm.label(down)
    asm.cmp_imm(RBX, tile)
    asm.jump(single, LESS)
    asm.mov(RAX, R8)
    asm.mov(RDX, R15)
    asm.mov(RBP, R14)
    asm.label(across)
    asm.cmp_imm(RBP, tile)
    asm.jump(rest, LESS)
    _tile(asm)
    asm.add_imm(RAX, 32)
    asm.add_imm(RBP, -tile)
    asm.jump(across)
    asm.label(rest)
    _by_number(asm, tile)
    asm.lea(R8, Mem(R8, 0, R9, tile))
    asm.add_imm(R15, 32)
    asm.add_imm(RBX, -tile)
    asm.jump(down)
    asm.label(single)
    asm.cmp_imm(RBX, 0)
    asm.jump(out, EQUAL)
    asm.mov(RAX, R8)
    asm.mov(RDX, R15)
    asm.mov(RBP, R14)
    _by_number(asm, 1)
    asm.add(R8, R9)
    asm.add_imm(R15, size)
    asm.add_imm(RBX, -1)
    asm.jump(single)
    asm.label(out)


def _tile(asm: Assembler) -> None:
    """A square of 32 bytes at rax to rdx, which it steps on."""
    asm.lea(RCX, Mem(RAX, 0, R9, 2))
    asm.add(RCX, R9)
    places = [(RAX, None), (RAX, 1), (RAX, 2), (RCX, None), (RCX, 1), (RCX, 2), (RSI, None), (RSI, 1)]
    if not asm.double:
        asm.lea(RSI, Mem(RCX, 0, R9, 2))
        asm.add(RSI, R9)

    def at(run: int, disp: int) -> Mem:
        base, scale = places[run]
        return Mem(base, disp) if scale is None else Mem(base, disp, R9, scale)

    def put(_: int, reg: int) -> None:
        asm.vex(None, "0f", 0x11, reg, 0, Mem(RDX))
        asm.add(RDX, _word(CopyWord.ACROSS_STEP))

    transpose_tile(asm, at, put)


def _by_number(asm: Assembler, runs: int) -> None:
    """What is left across (rbp) of some runs at rax, to rdx."""
    top, end = asm.name("number"), asm.name("end")
    asm.label(top)
    asm.cmp_imm(RBP, 0)
    asm.jump(end, EQUAL)
    asm.mov(RCX, RAX)
    for run in range(runs):
        asm.mov_lane(RSI, Mem(RCX), asm.double)
        asm.store_lane(Mem(RDX, run * asm.lane_bytes), RSI, asm.double)
        if run < runs - 1:
            asm.add(RCX, R9)
    asm.add_imm(RAX, asm.lane_bytes)
    asm.add(RDX, _word(CopyWord.ACROSS_STEP))
    asm.add_imm(RBP, -1)
    asm.jump(top)
    asm.label(end)
