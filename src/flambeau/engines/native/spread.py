"""Copies of images as convolution wants to read them: with zeros around, and columns sorted by stride.

With a stride of s, column i of the padded image lies in part i mod s of its row, so that what the windows of a row read
for one kernel element is always one run of memory. The same code puts an image together again from such parts.

The generated function is `f(table, first row, last row)`; `SpreadWord` names the table's words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from .assembler import (
    EQUAL,
    GREATER,
    LESS,
    NOT_LESS,
    R8,
    R9,
    R10,
    R11,
    RAX,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    Assembler,
    Mem,
)  # fmt: skip
from .lanes import load_some, mask_of_count, save_some
from .seconds import even, split_masks

__all__ = ["HALVES", "MAPPED", "WHOLE", "SpreadWord", "spread_code"]

WHOLE, HALVES, MAPPED = range(3)


class SpreadWord:
    """The table's words. Rows of the result count through planes of `ROWS` rows; `FROM[row]` is where in the source
    plane its row begins, negative for zeros; `PLANE` and `STEP` are the bytes of a source plane and a result's row.
    `COUNT` elements go to `LEFT` bytes after the row's beginning; or, with `MAP`, each from and to where it says; or,
    by halves, `MAP` lists `COUNT` parts that take every second element: from where, to where, how many. `FILL` has the
    bits of what stands in place of zeros.
    """

    SOURCE, RESULT, ROWS, PLANE, STEP, FROM, COUNT, LEFT, MAP, FILL = range(10)
    COUNT_OF = 10


@functools.cache
def spread_code(wide: bool, double: bool, how: int) -> bytes:
    """The machine code, for rows that are copied `WHOLE`, by `HALVES` or element by element (`MAPPED`)."""
    asm = Assembler(wide, double)
    shift = 3 if double else 2
    row_mask, copy_mask = (1, 2) if wide else (14, 15)
    asm.push(RBX)
    asm.mov(R8, RDX)  # where to stop

    def word(index: int) -> Mem:
        return Mem(RDI, 8 * index)

    def rest(to: int, size: Mem, bytes_already: bool) -> None:
        asm.mov(RCX, size)
        if bytes_already:
            asm.shift_right(RCX, shift)
        asm.and_imm(RCX, asm.vector_bytes // asm.lane_bytes - 1)
        mask_of_count(asm, to)

    rest(row_mask, word(SpreadWord.STEP), True)
    rest(copy_mask, word(SpreadWord.COUNT), False)
    top, out, following = asm.name("row"), asm.name("out"), asm.name("next")
    asm.label(top)
    asm.cmp(RSI, R8)
    asm.jump(out, NOT_LESS)
    asm.mov(R9, RSI)
    asm.imul(R9, word(SpreadWord.STEP))
    asm.add(R9, word(SpreadWord.RESULT))
    asm.spread(0, word(SpreadWord.FILL))
    asm.mov(R10, word(SpreadWord.STEP))
    _vectors(asm, R10, row_mask, lambda mask: _put(asm, Mem(R9, 0, RCX), mask))
    asm.mov(RAX, RSI)
    asm.divide(word(SpreadWord.ROWS))  # rax: plane, rdx: row
    asm.mov(R11, word(SpreadWord.FROM))
    asm.mov(R11, Mem(R11, 0, RDX, 8))
    asm.cmp_imm(R11, 0)
    asm.jump(following, LESS)
    asm.imul(RAX, word(SpreadWord.PLANE))
    asm.add(R11, RAX)
    asm.add(R11, word(SpreadWord.SOURCE))
    if how == MAPPED:
        _by_map(asm, word)
    elif how == HALVES:
        _by_halves(asm, word)
    else:
        _whole(asm, word, copy_mask)
    asm.label(following)
    asm.add_imm(RSI, 1)
    asm.jump(top)
    asm.label(out)
    asm.pop(RBX)
    asm.ret()
    return asm.finish()


def _whole(asm: Assembler, word: Callable[[int], Mem], copy_mask: int) -> None:
    """The source's row as it is."""
    asm.add(R9, word(SpreadWord.LEFT))
    asm.mov(R10, word(SpreadWord.COUNT))
    asm.shift_left(R10, 3 if asm.double else 2)

    def copy(mask: int) -> None:
        if mask:
            load_some(asm, 1, Mem(R11, 0, RCX), mask)
        else:
            asm.load(1, Mem(R11, 0, RCX))
        _put(asm, Mem(R9, 0, RCX), mask, 1)

    _vectors(asm, R10, copy_mask, copy)


def _put(asm: Assembler, to: Mem, mask: int, reg: int = 0) -> None:
    if mask:
        save_some(asm, to, reg, mask)
    else:
        asm.save(to, reg)


def _vectors(asm: Assembler, size: int, mask: int, body: Callable[[int], None]) -> None:
    """`body(0)` for whole vectors of `size` bytes (a register), rcx telling where, then `body(mask)` for the rest."""
    loop, rest, end = asm.name("vectors"), asm.name("rest"), asm.name("end")
    asm.mov_imm(RCX, 0)
    asm.label(loop)
    asm.lea(RAX, Mem(RCX, asm.vector_bytes))
    asm.cmp(RAX, size)
    asm.jump(rest, GREATER)
    body(0)
    asm.mov(RCX, RAX)
    asm.jump(loop)
    asm.label(rest)
    asm.cmp(RCX, size)
    asm.jump(end, EQUAL)
    body(mask)
    asm.label(end)


def _by_map(asm: Assembler, word: Callable[[int], Mem]) -> None:
    loop, end = asm.name("elements"), asm.name("end")
    asm.mov(R10, word(SpreadWord.MAP))
    asm.mov(RBX, word(SpreadWord.COUNT))
    asm.label(loop)
    asm.cmp_imm(RBX, 0)
    asm.jump(end, EQUAL)
    asm.mov(RDX, Mem(R10, 0))
    asm.mov(RCX, Mem(R10, 8))
    asm.mov_lane(RAX, Mem(R11, 0, RDX), asm.double)
    asm.store_lane(Mem(R9, 0, RCX), RAX, asm.double)
    asm.add_imm(R10, 16)
    asm.add_imm(RBX, -1)
    asm.jump(loop)
    asm.label(end)


def _by_halves(asm: Assembler, word: Callable[[int], Mem]) -> None:
    """Part by part: every second element of the source, as many as the part has."""
    size, vector, lanes = asm.lane_bytes, asm.vector_bytes, asm.vector_bytes // asm.lane_bytes
    low, high, store = (3, 4, 5) if asm.wide else (8, 9, 10)
    part, loop, rest, following, end = (asm.name(n) for n in ("part", "loop", "rest", "next", "end"))
    asm.push(RSI)
    asm.mov(R10, word(SpreadWord.MAP))
    asm.mov(RBX, word(SpreadWord.COUNT))
    asm.label(part)
    asm.cmp_imm(RBX, 0)
    asm.jump(end, EQUAL)
    asm.mov(RSI, R11)
    asm.add(RSI, Mem(R10))
    asm.mov(RDX, R9)
    asm.add(RDX, Mem(R10, 8))
    asm.mov(RCX, Mem(R10, 16))
    asm.label(loop)
    asm.cmp_imm(RCX, lanes)
    asm.jump(rest, LESS)
    asm.load(1, Mem(RSI))
    asm.load(2, Mem(RSI, vector - size))
    even(asm, 1, 2, 6)
    asm.save(Mem(RDX), 1)
    asm.add_imm(RSI, 2 * vector)
    asm.add_imm(RDX, vector)
    asm.add_imm(RCX, -lanes)
    asm.jump(loop)
    asm.label(rest)
    asm.cmp_imm(RCX, 0)
    asm.jump(following, EQUAL)
    asm.push(RCX)
    mask_of_count(asm, store)
    asm.pop(RCX)
    split_masks(asm, low, high)
    load_some(asm, 1, Mem(RSI), low)
    load_some(asm, 2, Mem(RSI, vector - size), high)
    even(asm, 1, 2, 6)
    save_some(asm, Mem(RDX), 1, store)
    asm.label(following)
    asm.add_imm(R10, 24)
    asm.add_imm(RBX, -1)
    asm.jump(part)
    asm.label(end)
    asm.pop(RSI)
