"""Copies that put the dimensions of an array into another order, number by number: for weights, which NumPy's copies
of small strided pieces are slow at.

The generated function is `f(table, first row, last row)`; `RearrangeWord` names the table's words.
"""

from __future__ import annotations

import functools

from .assembler import (
    NOT_EQUAL,
    NOT_LESS,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    RAX,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    Assembler,
    Mem,
)  # fmt: skip

__all__ = ["RearrangeWord", "rearrange_code"]


class RearrangeWord:
    """The table's words: addresses; bytes from row to row and from column to column in the source; columns of a row;
    how many numbers a column has, and where in the source each lies. The result is contiguous.
    """

    SOURCE, RESULT, ROW, COLUMN, COLUMNS, NUMBERS, PLACES = range(7)
    COUNT = 7


@functools.cache
def rearrange_code(wide: bool, double: bool) -> bytes:
    """The machine code."""
    asm = Assembler(wide, double)

    def word(index: int) -> Mem:
        return Mem(RDI, 8 * index)

    saved = (RBX, R12, R13)
    for reg in saved:
        asm.push(reg)
    asm.mov(R13, RDX)
    row, column, number, out = (asm.name(n) for n in ("row", "column", "number", "out"))
    asm.mov(R8, RSI)
    asm.imul(R8, word(RearrangeWord.ROW))
    asm.add(R8, word(RearrangeWord.SOURCE))
    asm.mov(R9, RSI)
    asm.imul(R9, word(RearrangeWord.COLUMNS))
    asm.imul(R9, word(RearrangeWord.NUMBERS))
    asm.shift_left(R9, 3 if double else 2)
    asm.add(R9, word(RearrangeWord.RESULT))
    asm.mov(R11, word(RearrangeWord.COLUMN))
    asm.label(row)
    asm.cmp(RSI, R13)
    asm.jump(out, NOT_LESS)
    asm.mov(R10, R8)
    asm.mov(RBX, word(RearrangeWord.COLUMNS))
    asm.label(column)
    asm.mov(R12, word(RearrangeWord.PLACES))
    asm.mov(RCX, word(RearrangeWord.NUMBERS))
    asm.label(number)
    asm.mov(RDX, Mem(R12))
    asm.mov_lane(RAX, Mem(R10, 0, RDX), double)
    asm.store_lane(Mem(R9), RAX, double)
    asm.add_imm(R12, 8)
    asm.add_imm(R9, asm.lane_bytes)
    asm.add_imm(RCX, -1)
    asm.jump(number, NOT_EQUAL)
    asm.add(R10, R11)
    asm.add_imm(RBX, -1)
    asm.jump(column, NOT_EQUAL)
    asm.add(R8, word(RearrangeWord.ROW))
    asm.add_imm(RSI, 1)
    asm.jump(row)
    asm.label(out)
    for reg in reversed(saved):
        asm.pop(reg)
    asm.ret()
    return asm.finish()
