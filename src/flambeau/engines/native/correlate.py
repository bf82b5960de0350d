"""Convolution as products whose panels are packed from images: the patches are never written out.

A panel's row k holds one kernel element of one channel for all output positions of the panel. Where that lies is the
sum of two offsets: `OFFSETS[k]`, of the kernel element, and the place of a position, which is known for runs of
positions that lie side by side in the image. A panel is a list of such runs, each at most a vector long: from where, to
where in the panel's row, how many elements, and their bits.

Kernel elements may lie anywhere, so the same code serves strides and dilations (in images copied by `spread.py`), and
the parts into which the gradient of a strided convolution falls.
"""

from __future__ import annotations

import functools

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
    R13,
    R15,
    RAX,
    RBX,
    RCX,
    RDX,
    RSI,
    RSP,
    Mem,
    Operand,
)  # fmt: skip
from .gemm import _ADD, _BIAS, ROWS, Word, _Gemm, _Slots
from .lanes import load_some, mask_of_count, save_some

__all__ = ["RUN", "ConvWord", "Packing", "correlate_code"]


class ConvWord(Word):
    """Word.A is the weight, B the image, C the result; a batch is images, and groups within them. Further words: the
    panels' tables.
    """

    OFFSETS, STARTS, RUNS = range(Word.COUNT, Word.COUNT + 3)
    COUNT = Word.COUNT + 3


#: Bytes of a run in the panels' table.
RUN = 32
_PANEL = Mem(RSP, 96)
_ROW_BIAS = Mem(RSP, 104)


@functools.cache
def correlate_code(wide: bool, double: bool, rows_left: int, last: int, partial: bool) -> bytes:
    """The machine code; `rows_left` output channels remain beyond whole blocks, the last panel has `last` vectors."""
    return _Correlate(wide, double, True, ROWS, rows_left, last, partial).write()


class Packing(_Gemm):
    """Products one side of which is packed from windows."""

    def _pack_windows(self, number: Mem, source: Mem, first: Mem, rows: Operand, to: int, step: int) -> None:
        """Packs the runs of panel `number`, for so many rows from row `first` on, to the stack at `to`; rows there are
        `step` bytes apart.
        """
        asm = self.asm
        run, out, masked, following = (asm.name(n) for n in ("run", "out", "masked", "next"))
        mask = 2 if asm.wide else 1
        asm.mov(RBX, self._word(ConvWord.STARTS))
        asm.mov(RAX, number)
        asm.mov(R12, Mem(RBX, 0, RAX, 8))
        asm.mov(R13, Mem(RBX, 8, RAX, 8))
        asm.add(R12, self._word(ConvWord.RUNS))
        asm.add(R13, self._word(ConvWord.RUNS))
        asm.label(run)
        asm.cmp(R12, R13)
        asm.jump(out, NOT_LESS)
        asm.mov(R8, source)
        asm.add(R8, Mem(R12))
        asm.lea(RDX, Mem(RSP, to))
        asm.add(RDX, Mem(R12, 8))
        asm.mov(RSI, first)
        asm.shift_left(RSI, 3)
        asm.add(RSI, self._word(ConvWord.OFFSETS))
        asm.mov(RCX, Mem(R12, 16))
        asm.cmp_imm(RCX, self.lanes)
        asm.jump(masked, NOT_EQUAL)
        self._copy_run(rows, step, 0)
        asm.jump(following)
        asm.label(masked)
        mask_of_count(asm, mask)
        self._copy_run(rows, step, mask)
        asm.label(following)
        asm.add_imm(R12, RUN)
        asm.jump(run)
        asm.label(out)

    def _copy_run(self, rows: Operand, step: int, mask: int) -> None:
        """A vector at r8 + the offset (rsi) of each row goes to rdx, row after row."""
        asm = self.asm
        four, one, end = asm.name("four"), asm.name("one"), asm.name("end")
        places = (RAX, R9, R10, R11)

        def copy(count: int) -> None:
            for i in range(count):
                asm.mov(places[i], Mem(RSI, 8 * i))
            for i in range(count):
                source = Mem(R8, 0, places[i], 1)
                if mask:
                    load_some(asm, 2 + i, source, mask)
                else:
                    asm.load(2 + i, source)
            for i in range(count):
                to = Mem(RDX, i * step)
                if mask:
                    save_some(asm, to, 2 + i, mask)
                else:
                    asm.save(to, 2 + i)
            asm.add_imm(RSI, 8 * count)
            asm.add_imm(RDX, count * step)
            asm.add_imm(RCX, -count)

        asm.mov(RCX, rows)
        asm.label(four)
        asm.cmp_imm(RCX, 4)
        asm.jump(one, LESS)
        copy(4)
        asm.jump(four)
        asm.label(one)
        asm.cmp_imm(RCX, 0)
        asm.jump(end, EQUAL)
        copy(1)
        asm.jump(one)
        asm.label(end)


class _Correlate(Packing):
    def _place(self) -> None:
        """From the task's number: image, group, panel and chunk."""
        asm, shift = self.asm, 3 if self.asm.double else 2
        asm.divide(self._word(Word.CHUNKS))
        asm.mov(R8, RDX)
        asm.imul(R8, self._word(Word.ROWS))  # first row
        asm.divide(self._word(Word.PANELS))
        asm.mov(R9, RDX)
        asm.store(_PANEL, R9)
        asm.divide(self._word(Word.INNER))
        asm.mov(R10, RAX)  # image
        asm.mov(R11, RDX)  # group
        asm.mov(RBX, self._word(Word.M))
        asm.sub(RBX, R8)
        few = asm.name("few")
        asm.cmp(RBX, self._word(Word.ROWS))
        asm.jump(few, LESS)
        asm.mov(RBX, self._word(Word.ROWS))
        asm.label(few)
        asm.store(_Slots.ROWS, RBX)
        known = asm.name("known")
        asm.mov(RAX, R9)
        asm.add_imm(RAX, 1)
        asm.mov_imm(RCX, 1)
        asm.cmp(RAX, self._word(Word.PANELS))
        asm.jump(known, EQUAL)
        asm.mov_imm(RCX, 0)
        asm.label(known)
        asm.store(_Slots.LAST, RCX)
        self._start(_Slots.A0, Word.A, Word.BATCH_A, R8, self._word(Word.STEP_A))
        asm.mov_imm(R13, 0)
        self._start(_Slots.B0, Word.B, Word.BATCH_B, R13, None)
        self._start(_Slots.C0, Word.C, Word.BATCH_C, R8, self._word(Word.STEP_C))
        asm.mov_imm(RAX, self.width)
        asm.imul(RAX, R9)
        asm.add(RAX, _Slots.C0)
        asm.store(_Slots.C0, RAX)
        asm.mov_imm(RAX, 0)
        asm.store(_Slots.DONE, RAX)
        plain = asm.name("plain")
        asm.mov_imm(RCX, 0)
        asm.cmp_imm(self._word(Word.BIAS), 0)
        asm.jump(plain, EQUAL)
        asm.mov(RAX, self._word(Word.M))
        asm.imul(RAX, R11)
        asm.add(RAX, R8)
        asm.shift_left(RAX, shift)
        asm.add(RAX, self._word(Word.BIAS))
        asm.store(_ROW_BIAS, RAX)
        asm.mov_imm(RCX, _BIAS)
        asm.label(plain)
        added = asm.name("added")
        asm.cmp_imm(self._word(Word.ADD), 0)
        asm.jump(added, EQUAL)
        asm.mov_imm(RCX, _ADD)
        asm.label(added)
        asm.store(_Slots.MODE, RCX)

    def _pack_rows(self, vectors: int, partial: bool) -> None:
        self._pack_windows(_PANEL, _Slots.B0, _Slots.DONE, R15, _Slots.BUFFER, self.width)

    def _begin_with_bias(self, rows: int, vectors: int, partial: bool) -> None:
        """A number for each row."""
        asm = self.asm
        asm.mov(RSI, _ROW_BIAS)
        for i in range(rows):
            asm.spread(i * vectors, Mem(RSI, i * self.size))
            for v in range(1, vectors):
                asm.copy(i * vectors + v, i * vectors)
        asm.add_imm(RSI, rows * self.size)
        asm.store(_ROW_BIAS, RSI)
