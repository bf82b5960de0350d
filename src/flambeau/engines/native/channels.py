"""Images with their channels innermost, zeros around: what code wants that works on many channels at once.

The generated function is `f(table, first row, last row)` over the rows of the results; `ChannelsWord` names the table's
words.
"""

from __future__ import annotations

import functools

from .assembler import (
    LESS,
    NOT_EQUAL,
    NOT_LESS,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    RAX,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    Assembler,
    Mem,
)  # fmt: skip
from .lanes import load_some, mask_of_count

__all__ = ["ChannelsWord", "channels_code", "square"]


class ChannelsWord:
    """The table's words: an image has `ROWS` rows in the result; `FROM[row]` is where a row begins in a source plane,
    negative for zeros; `IMAGE` and `PLANE` are the bytes of a source image and of one of its channels.
    """

    SOURCE, RESULT, ROWS, FROM, IMAGE, PLANE, CHANNELS = range(7)
    COUNT = 7


def square(double: bool) -> int:
    """Edge of the blocks that are transposed in registers; the number of channels is a multiple of it."""
    return 4 if double else 8


@functools.cache
def channels_code(wide: bool, double: bool, left: int, columns: int, right: int) -> bytes:
    """The machine code for rows of so many columns, with zeros left and right of them."""
    del wide  # blocks of eight are turned in 256-bit registers
    asm = Assembler(False, double)
    edge, size = square(double), asm.lane_bytes
    saved = (RBX, R12, R13, R14)
    for reg in saved:
        asm.push(reg)
    asm.mov(R12, RDX)

    def word(index: int) -> Mem:
        return Mem(RDI, 8 * index)

    row, out, zeros, following = (asm.name(n) for n in ("row", "out", "zeros", "next"))
    asm.mov(R13, word(ChannelsWord.CHANNELS))
    asm.shift_left(R13, 3 if double else 2)  # bytes of a position
    asm.mov_imm(R9, left + columns + right)
    asm.imul(R9, R13)
    asm.imul(R9, RSI)
    asm.add(R9, word(ChannelsWord.RESULT))
    asm.mov(R14, word(ChannelsWord.PLANE))
    asm.label(row)
    asm.cmp(RSI, R12)
    asm.jump(out, NOT_LESS)
    asm.mov(RAX, RSI)
    asm.divide(word(ChannelsWord.ROWS))
    asm.mov(R8, word(ChannelsWord.FROM))
    asm.mov(R8, Mem(R8, 0, RDX, 8))
    asm.cmp_imm(R8, 0)
    asm.jump(zeros, LESS)
    asm.imul(RAX, word(ChannelsWord.IMAGE))
    asm.add(R8, RAX)
    asm.add(R8, word(ChannelsWord.SOURCE))
    _fill(asm, left)
    for first in range(0, columns, edge) if columns <= 4 * edge else ():
        _turn_channels(asm, first * size, min(edge, columns - first))
        _skip(asm, min(edge, columns - first))
    if columns > 4 * edge:
        blocks = asm.name("blocks")
        asm.mov_imm(RBX, columns // edge)
        asm.label(blocks)
        _turn_channels(asm, 0, edge)
        _skip(asm, edge)
        asm.add_imm(R8, edge * size)
        asm.add_imm(RBX, -1)
        asm.jump(blocks, NOT_EQUAL)
        if columns % edge:
            _turn_channels(asm, 0, columns % edge)
            _skip(asm, columns % edge)
    _fill(asm, right)
    asm.jump(following)
    asm.label(zeros)
    _fill(asm, left + columns + right)
    asm.label(following)
    asm.add_imm(RSI, 1)
    asm.jump(row)
    asm.label(out)
    for reg in reversed(saved):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


def _skip(asm: Assembler, positions: int) -> None:
    asm.mov_imm(RAX, positions)
    asm.imul(RAX, R13)
    asm.add(R9, RAX)


def _fill(asm: Assembler, positions: int) -> None:
    """Zeros at r9 for so many positions, and past them."""
    if not positions:
        return
    top = asm.name("fill")
    asm.real(0x57, 0, 0, 0)
    asm.mov_imm(RCX, positions)
    asm.imul(RCX, R13)
    asm.label(top)
    asm.save(Mem(R9), 0)
    asm.add_imm(R9, asm.vector_bytes)
    asm.add_imm(RCX, -asm.vector_bytes)
    asm.jump(top, NOT_EQUAL)


def _turn_channels(asm: Assembler, start: int, count: int) -> None:
    """A block of `count` positions, `start` bytes into the row at r8, of all channels, to r9."""
    edge = square(asm.double)
    top = asm.name("channels")
    asm.lea(R10, Mem(R8, start))
    asm.mov(R11, R9)
    asm.mov(RDX, R13)
    asm.label(top)
    if count < edge:
        asm.mov_imm(RCX, count)
        mask_of_count(asm, 15)
    for i in range(edge):
        if count < edge:
            load_some(asm, i, Mem(R10), 15)
        else:
            asm.load(i, Mem(R10))
        asm.add(R10, R14)
    found = _turn(asm)
    asm.mov(RCX, R11)
    for i in range(count):
        asm.save(Mem(RCX), found[i])
        asm.add(RCX, R13)
    asm.add_imm(R11, asm.vector_bytes)
    asm.add_imm(RDX, -asm.vector_bytes)
    asm.jump(top, NOT_EQUAL)


def _turn(asm: Assembler) -> list[int]:
    """Transposes the block in the first registers; says where its rows are then."""
    if asm.double:
        for i in (0, 2):
            asm.real(0x14, 4 + i, i, i + 1)
            asm.real(0x15, 5 + i, i, i + 1)
        for i in (0, 1):
            asm.vex("66", "3a", 0x06, i, 4 + i, 6 + i, b"\x20")
            asm.vex("66", "3a", 0x06, 2 + i, 4 + i, 6 + i, b"\x31")
        return [0, 1, 2, 3]
    for i in range(0, 8, 2):
        asm.real(0x14, 8 + i, i, i + 1)
        asm.real(0x15, 9 + i, i, i + 1)
    for half in (0, 4):
        for i, (low, imm) in enumerate(((8, b"\x44"), (8, b"\xee"), (9, b"\x44"), (9, b"\xee"))):
            asm.vex(None, "0f", 0xC6, half + i, low + half, low + half + 2, imm)  # vshufps
    for i in range(4):
        asm.vex("66", "3a", 0x06, 8 + i, i, 4 + i, b"\x20")
        asm.vex("66", "3a", 0x06, 12 + i, i, 4 + i, b"\x31")
    return list(range(8, 16))
