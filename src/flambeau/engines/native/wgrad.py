"""The gradient of a convolution's weight: products of patches and gradients, summed over positions and images.

A task is some rows of the transposed weight (kernel elements of channels) and some images. Slice by slice of the
output positions it packs its rows of patches, then goes through the output channels, a panel of transposed gradients
at a time.
Tasks with the same images write different rows; those of other images have a sum of their own.
"""

from __future__ import annotations

import functools

from .assembler import (
    LESS,
    NOT_LESS,
    R8,
    R9,
    R10,
    R15,
    RAX,
    RBX,
    RDX,
    RSP,
    Mem,
)  # fmt: skip
from .correlate import ConvWord, Packing
from .gemm import _ADD, COLUMNS, Word, _Slots

__all__ = ["LONGEST", "MOST_ROWS", "WeightWord", "weight_code"]

#: Output positions in a slice, and rows in a task, at most.
LONGEST, MOST_ROWS = 256, 192


class WeightWord(ConvWord):
    """Word.A is the laid out images, B the gradients, C the sums; M rows, N output channels, K positions. Images in all
    and for each task; the bytes from one task's sums to the next one's.
    """

    IMAGES, SHARE, PART_C, SLICES = range(ConvWord.COUNT, ConvWord.COUNT + 4)
    COUNT = ConvWord.COUNT + 4


_SLICE, _COLUMN, _IMAGE, _IMAGE_END = (Mem(RSP, at) for at in (96, 104, 112, 120))
_FIRST, _X0, _G0 = (Mem(RSP, at) for at in (160, 168, 176))


@functools.cache
def weight_code(wide: bool, double: bool, rows_left: int, last: int, partial: bool, length: int) -> bytes:
    """The machine code for slices of `length` positions; the rest as in `gemm_code`."""
    return _Weight(wide, double, rows_left, last, partial, length).write()


class _Weight(Packing):
    def __init__(self, wide: bool, double: bool, rows_left: int, last: int, partial: bool, length: int) -> None:
        super().__init__(wide, double, True, COLUMNS, rows_left, last, partial)
        self.length = length
        self.row = -(-length // self.lanes) * self.asm.vector_bytes  # of packed patches, in bytes
        self.patches = _Slots.BUFFER + length * self.width

    def _frame(self) -> int:
        size = self.patches + MOST_ROWS * self.row
        return size + -size % 64

    def _place(self) -> None:
        """From the task's number: images, group and chunk."""
        asm = self.asm
        asm.divide(self._word(Word.CHUNKS))
        asm.mov(R8, RDX)
        asm.imul(R8, self._word(Word.ROWS))
        asm.store(_FIRST, R8)
        self._at_most(RBX, Word.M, R8, Word.ROWS)
        asm.store(_Slots.ROWS, RBX)
        asm.divide(self._word(Word.INNER))
        asm.mov(R9, RDX)  # group
        asm.mov(R10, RAX)  # share of the images
        asm.imul(RAX, self._word(WeightWord.SHARE))
        asm.store(_IMAGE, RAX)
        asm.mov(RBX, RAX)
        asm.add(RBX, self._word(WeightWord.SHARE))
        asm.store(_IMAGE_END, RBX)
        inside = asm.name("inside")
        asm.mov(RAX, self._word(WeightWord.IMAGES))
        asm.cmp(RBX, RAX)
        asm.jump(inside, LESS)
        asm.store(_IMAGE_END, RAX)
        asm.label(inside)
        for to, base, group, batch in (
            (_X0, Word.A, Word.INNER_A, Word.BATCH_A),
            (_G0, Word.B, Word.INNER_B, Word.BATCH_B),
        ):
            asm.mov(RAX, _IMAGE)
            asm.imul(RAX, self._word(batch))
            asm.mov(RBX, R9)
            asm.imul(RBX, self._word(group))
            asm.add(RAX, RBX)
            asm.add(RAX, self._word(base))
            asm.store(to, RAX)
        asm.imul(R8, self._word(Word.STEP_C))
        asm.imul(R9, self._word(Word.INNER_C))
        asm.imul(R10, self._word(WeightWord.PART_C))
        asm.add(R8, R9)
        asm.add(R8, R10)
        asm.add(R8, self._word(Word.C))
        asm.store(_Slots.BIAS, R8)  # where the task's sums begin
        asm.mov_imm(RAX, _ADD)
        asm.store(_Slots.MODE, RAX)

    def _at_most(self, to: int, total: int, done: int, limit: int) -> None:
        """to = the smaller one of what is left of `total` and `limit`."""
        asm = self.asm
        few = asm.name("few")
        asm.mov(to, self._word(total))
        asm.sub(to, done)
        asm.cmp(to, self._word(limit))
        asm.jump(few, LESS)
        asm.mov(to, self._word(limit))
        asm.label(few)

    def _task(self) -> None:
        asm = self.asm
        image, no_image, piece, no_piece = (asm.name(n) for n in ("image", "none", "slice", "none"))
        asm.label(image)
        asm.mov(RAX, _IMAGE)
        asm.cmp(RAX, _IMAGE_END)
        asm.jump(no_image, NOT_LESS)
        asm.mov_imm(RAX, 0)
        asm.store(_SLICE, RAX)
        asm.label(piece)
        asm.mov(RAX, _SLICE)
        asm.cmp(RAX, self._word(WeightWord.SLICES))
        asm.jump(no_piece, NOT_LESS)
        few = asm.name("few")
        asm.mov_imm(RDX, self.length)
        asm.imul(RAX, RDX)
        asm.mov(R15, self._word(Word.K))
        asm.sub(R15, RAX)
        asm.cmp_imm(R15, self.length)
        asm.jump(few, LESS)
        asm.mov_imm(R15, self.length)
        asm.label(few)
        self._pack_windows(_SLICE, _X0, _FIRST, _Slots.ROWS, self.patches, self.row)
        self._columns()
        asm.add_imm(_SLICE, 1)
        asm.jump(piece)
        asm.label(no_piece)
        for place, step in ((_X0, Word.BATCH_A), (_G0, Word.BATCH_B)):
            asm.mov(RAX, place)
            asm.add(RAX, self._word(step))
            asm.store(place, RAX)
        asm.add_imm(_IMAGE, 1)
        asm.jump(image)
        asm.label(no_image)

    def _columns(self) -> None:
        """The packed patches against all output channels."""
        asm = self.asm
        asm.lea(RAX, Mem(RSP, self.patches))
        asm.store(_Slots.A0, RAX)
        asm.lea(RAX, Mem(RSP, _Slots.BUFFER))
        asm.store(_Slots.PANEL, RAX)
        asm.mov(RAX, _Slots.BIAS)
        asm.store(_Slots.C0, RAX)
        asm.mov_imm(RAX, self.length * self.size)
        asm.imul(RAX, _SLICE)
        asm.add(RAX, _G0)
        asm.store(_Slots.B0, RAX)
        asm.mov_imm(RAX, 1)
        asm.store(_COLUMN, RAX)
        panel, tail, done = asm.name("panel"), asm.name("tail"), asm.name("done")
        asm.label(panel)
        asm.mov(RAX, _COLUMN)
        asm.cmp(RAX, self._word(Word.PANELS))
        asm.jump(tail, NOT_LESS)
        self._pack_columns(self.vectors, False)
        self._blocks(self.vectors, False)
        asm.add_imm(_COLUMN, 1)
        asm.add_imm(_Slots.C0, self.width)
        asm.mov_imm(RAX, self.vectors * self.lanes)
        asm.imul(RAX, self._word(Word.STEP_B))
        asm.add(RAX, _Slots.B0)
        asm.store(_Slots.B0, RAX)
        asm.jump(panel)
        asm.label(tail)
        self._pack_columns(self.last, self.partial)
        self._blocks(self.last, self.partial)
        asm.label(done)
