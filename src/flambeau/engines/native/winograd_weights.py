"""The gradient of 3x3 kernels of stride 1 by Winograd's method: transformed gradients times transformed inputs.

Images and gradients come with channels innermost, so a vector is many channels of one position. A task is some output
channels and some tiles; slice by slice it transforms the tiles of both sides into scratch memory, then adds the
products over the slice's tiles, one matrix per element of a tile. `kernels_code` turns the sums into kernels.
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
    R12,
    R15,
    RAX,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    Assembler,
    Mem,
)  # fmt: skip
from .emission import combine
from .gemm import _ADD, _ZERO, COLUMNS, Word, _Slots, tile
from .tiles import A, B, G, Matrix, apply, transposed
from .winograd import Scratch, TileWord

__all__ = ["KernelsWord", "SumsWord", "kernels_code", "row_bytes", "sums_code"]


class SumsWord(TileWord):
    """Word.A is the gradients, B the images, C the sums `[part, element, output channel, input channel]`; M output
    channels, K tiles, ROWS output channels of a task. Further: for each tile where it lies in images and gradients, how
    many tiles a part has, the bytes of a part's sums, and of one element's.
    """

    TILES, SHARE, PART_C, ELEMENT_C = range(TileWord.COUNT, TileWord.COUNT + 4)
    COUNT = TileWord.COUNT + 4


_TILE, _END, _X0, _G0 = (Mem(RSP, at) for at in (96, 104, 112, 120))
_ELEMENT, _COLUMN, _V, _U = (Mem(RSP, at) for at in (176, 184, 192, 200))  # 160, 168: the claimed memory
_SCRATCH, _FIRST, _BYTES = (Mem(RSP, at) for at in (168, 208, 216))
_M = 2
_EDGE, _COUNT = _M + 2, (_M + 2) ** 2


def row_bytes(channels: int, size: int) -> int:
    """From tile to tile in scratch memory: a cache line more than the channels take, so that rows do not collide."""
    return channels * size + 64


@functools.cache
def sums_code(wide: bool, double: bool, inputs: int, outputs: int, image_row: int, grad_row: int, length: int) -> bytes:
    """The machine code for so many channels, rows of so many bytes, and slices of `length` tiles."""
    return _Sums(wide, double, inputs, outputs, image_row, grad_row, length).write()


class _Sums(Scratch):
    def __init__(
        self, wide: bool, double: bool, inputs: int, outputs: int, image_row: int, grad_row: int, length: int
    ) -> None:
        vectors, size = tile(wide)[1], 8 if double else 4
        lanes = (64 if wide else 32) // size
        self.panels = -(-inputs // (vectors * lanes))
        last = (inputs - (self.panels - 1) * vectors * lanes) // lanes
        super().__init__(wide, double, False, COLUMNS, 0, last, False)
        self.panel = self.width
        self.width = row_bytes(inputs, self.size)
        self.inputs, self.outputs, self.length = inputs, outputs, length
        self.image_row, self.grad_row = image_row, grad_row
        self.between = 256

    def _frame(self) -> int:
        return self.between + _COUNT * self.asm.vector_bytes

    def _place(self) -> None:
        asm = self.asm
        asm.divide(self._word(Word.CHUNKS))
        asm.mov(R8, RDX)
        asm.imul(R8, self._word(Word.ROWS))  # first output channel
        asm.mov(R9, RAX)  # part
        few, inside = asm.name("few"), asm.name("inside")
        asm.mov(RBX, self._word(Word.M))
        asm.sub(RBX, R8)
        asm.cmp(RBX, self._word(Word.ROWS))
        asm.jump(few, LESS)
        asm.mov(RBX, self._word(Word.ROWS))
        asm.label(few)
        asm.store(_Slots.ROWS, RBX)
        asm.shift_left(RBX, 3 if asm.double else 2)
        asm.store(_BYTES, RBX)
        asm.imul(RAX, self._word(SumsWord.SHARE))
        asm.store(_TILE, RAX)
        asm.add(RAX, self._word(SumsWord.SHARE))
        asm.cmp(RAX, self._word(Word.K))
        asm.jump(inside, LESS)
        asm.mov(RAX, self._word(Word.K))
        asm.label(inside)
        asm.store(_END, RAX)
        asm.mov(RAX, self._word(Word.STEP_C))
        asm.imul(RAX, R8)
        asm.imul(R9, self._word(SumsWord.PART_C))
        asm.add(RAX, R9)
        asm.add(RAX, self._word(Word.C))
        asm.store(_FIRST, RAX)
        asm.mov(RAX, self._word(Word.B))
        asm.store(_X0, RAX)
        asm.shift_left(R8, 3 if asm.double else 2)
        asm.add(R8, self._word(Word.A))
        asm.store(_G0, R8)
        asm.mov(RAX, _SCRATCH)
        asm.store(_V, RAX)
        asm.mov_imm(RCX, _COUNT * self.length * self.width)
        asm.add(RAX, RCX)
        asm.store(_U, RAX)
        asm.mov_imm(RAX, _ZERO)
        asm.store(_Slots.MODE, RAX)

    def _task(self) -> None:
        asm = self.asm
        piece, few, out = asm.name("slice"), asm.name("few"), asm.name("out")
        asm.label(piece)
        asm.mov(R15, _END)
        asm.sub(R15, _TILE)
        asm.cmp_imm(R15, 1)
        asm.jump(out, LESS)
        asm.cmp_imm(R15, self.length)
        asm.jump(few, LESS)
        asm.mov_imm(R15, self.length)
        asm.label(few)
        size = self.size
        whole = Mem(RSP, 224)
        asm.mov_imm(RAX, self.inputs * size)
        asm.store(whole, RAX)
        self._tiles(0, _X0, _V, self.width, whole, B[_M], _EDGE, self.image_row, self.inputs * size)
        grads = row_bytes(self.outputs, size)
        self._tiles(8, _G0, _U, grads, _BYTES, transposed(A[_M]), _M, self.grad_row, self.outputs * size)
        self._products(grads)
        asm.mov_imm(RAX, _ADD)
        asm.store(_Slots.MODE, RAX)
        asm.mov(RAX, _TILE)
        asm.add(RAX, R15)
        asm.store(_TILE, RAX)
        asm.jump(piece)
        asm.label(out)

    def _tiles(
        self,
        which: int,
        source: Mem,
        to: Mem,
        step: int,
        channels: Mem,
        matrix: Matrix,
        edge: int,
        row: int,
        column: int,
    ) -> None:
        """Transforms a slice's tiles, `edge` wide, of so many bytes of channels: `[element, tile, channel]`."""
        asm = self.asm
        each, loop = asm.name("tile"), asm.name("channels")
        asm.mov(R12, self._word(SumsWord.TILES))
        asm.mov(RAX, _TILE)
        asm.shift_left(RAX, 4)
        asm.add(R12, RAX)
        asm.mov(R8, to)
        asm.mov(R9, R15)
        asm.mov_imm(RBX, self.length * step)
        asm.label(each)
        asm.mov(RSI, source)
        asm.add(RSI, Mem(R12, which))
        asm.mov_imm(RCX, 0)
        asm.label(loop)
        for j in range(edge):
            apply(
                asm, matrix, lambda i, j=j: Mem(RSI, i * row + j * column, RCX),
                lambda i, reg, j=j: asm.save(self._between(i * edge + j), reg),
            )  # fmt: skip
        asm.lea(RDX, Mem(R8, 0, RCX))

        def put(reg: int) -> None:
            asm.save(Mem(RDX), reg)
            asm.add(RDX, RBX)

        for i in range(len(matrix)):
            apply(asm, matrix, lambda j, i=i: self._between(i * edge + j), lambda _, reg: put(reg))
        asm.add_imm(RCX, asm.vector_bytes)
        asm.cmp(RCX, channels)
        asm.jump(loop, NOT_EQUAL)
        asm.add_imm(R8, step)
        asm.add_imm(R12, 16)
        asm.add_imm(R9, -1)
        asm.jump(each, NOT_EQUAL)

    def _between(self, number: int) -> Mem:
        return Mem(RSP, self.between + number * self.asm.vector_bytes)

    def _products(self, grads: int) -> None:
        """Adds, for each element of a tile, the product over the slice's tiles."""
        asm = self.asm
        element, panel, tail, done = (asm.name(n) for n in ("element", "panel", "tail", "done"))
        for slot, value in ((_Slots.A0, _U), (Mem(RSP, 232), _V), (Mem(RSP, 240), _FIRST)):
            asm.mov(RAX, value)
            asm.store(slot, RAX)
        asm.mov_imm(RAX, _COUNT)
        asm.store(_ELEMENT, RAX)
        asm.label(element)
        for slot, value in ((_Slots.PANEL, Mem(RSP, 232)), (_Slots.C0, Mem(RSP, 240))):
            asm.mov(RAX, value)
            asm.store(slot, RAX)
        asm.mov_imm(RAX, self.panels)
        asm.store(_COLUMN, RAX)
        asm.label(panel)
        asm.cmp_imm(_COLUMN, 1)
        asm.jump(tail, EQUAL)
        self._blocks(self.vectors, False)
        asm.add_imm(_Slots.PANEL, self.panel)
        asm.add_imm(_Slots.C0, self.panel)
        asm.add_imm(_COLUMN, -1)
        asm.jump(panel)
        asm.label(tail)
        self._blocks(self.last, False)
        asm.label(done)
        asm.mov_imm(RAX, self.length * grads)
        asm.add(RAX, _Slots.A0)
        asm.store(_Slots.A0, RAX)
        asm.mov_imm(RAX, self.length * self.width)
        asm.add(RAX, Mem(RSP, 232))
        asm.store(Mem(RSP, 232), RAX)
        asm.mov(RAX, self._word(SumsWord.ELEMENT_C))
        asm.add(RAX, Mem(RSP, 240))
        asm.store(Mem(RSP, 240), RAX)
        asm.add_imm(_ELEMENT, -1)
        asm.jump(element, NOT_EQUAL)


class KernelsWord:
    """The table's words: addresses, input channels, bytes of a part's and of an element's sums, and how many parts."""

    SUMS, KERNELS, CHANNELS, PART, ELEMENT, PARTS = range(6)
    COUNT = 6


@functools.cache
def kernels_code(wide: bool, double: bool) -> bytes:
    """`f(table, first, last)` over output channels: the sums, added up over parts, become kernels `[Co, C, 3, 3]`."""
    asm = Assembler(wide, double)
    size, lanes = asm.lane_bytes, asm.vector_bytes // asm.lane_bytes
    asm.enter((_COUNT + 3 * _EDGE + 9) * asm.vector_bytes, RBX, R12)
    asm.mov(R12, RDX)

    def word(index: int) -> Mem:
        return Mem(RDI, 8 * index)

    row, loop, end, part = (asm.name(n) for n in ("row", "channels", "end", "part"))
    asm.mov(R9, RSI)
    asm.imul(R9, word(KernelsWord.CHANNELS))
    asm.mov_imm(RAX, size)
    asm.mov(R8, R9)
    asm.imul(R8, RAX)
    asm.add(R8, word(KernelsWord.SUMS))  # rows of sums and of kernels follow one another
    asm.mov_imm(RAX, 9 * size)
    asm.imul(R9, RAX)
    asm.add(R9, word(KernelsWord.KERNELS))
    asm.label(row)
    asm.cmp(RSI, R12)
    asm.jump(end, NOT_LESS)
    asm.mov(RBX, word(KernelsWord.CHANNELS))
    asm.label(loop)
    _add_parts(asm)
    _kernels(asm)
    asm.add_imm(R8, asm.vector_bytes)
    asm.add_imm(R9, 9 * asm.vector_bytes)
    asm.add_imm(RBX, -lanes)
    asm.jump(loop, NOT_EQUAL)
    asm.add_imm(RSI, 1)
    asm.jump(row)
    asm.label(end)
    asm.leave(RBX, R12)
    asm.ret()
    return asm.finish()


def _add_parts(asm: Assembler) -> None:
    """The sums at r8 of all parts, added up, on the stack."""
    part = asm.name("part")
    asm.real(0x57, 0, 0, 0)
    for k in range(_COUNT):
        asm.save(Mem(RSP, k * asm.vector_bytes), 0)
    asm.mov(RCX, Mem(RDI, 8 * KernelsWord.PARTS))
    asm.mov(RDX, R8)
    asm.label(part)
    asm.mov(RAX, RDX)
    for k in range(_COUNT):
        place = Mem(RSP, k * asm.vector_bytes)
        asm.load(0, place)
        combine(asm, "add", 0, 0, Mem(RAX))
        asm.save(place, 0)
        asm.add(RAX, Mem(RDI, 8 * KernelsWord.ELEMENT))
    asm.add(RDX, Mem(RDI, 8 * KernelsWord.PART))
    asm.add_imm(RCX, -1)
    asm.jump(part, NOT_EQUAL)


def _kernels(asm: Assembler) -> None:
    """The sums on the stack become kernels at r9, as many as a vector has lanes."""

    def place(number: int) -> Mem:
        return Mem(RSP, number * asm.vector_bytes)

    matrix, between, kernels, size = transposed(G[_M]), _COUNT, _COUNT + 3 * _EDGE, asm.lane_bytes
    for j in range(_EDGE):
        apply(
            asm, matrix, lambda i, j=j: place(i * _EDGE + j),
            lambda i, reg, j=j: asm.save(place(between + i * _EDGE + j), reg),
        )  # fmt: skip
    for i in range(3):
        apply(
            asm, matrix, lambda j, i=i: place(between + i * _EDGE + j),
            lambda j, reg, i=i: asm.save(place(kernels + 3 * i + j), reg),
        )  # fmt: skip
    for lane in range(asm.vector_bytes // size):
        for tap in range(9):
            asm.mov_lane(RAX, Mem(RSP, (kernels + tap) * asm.vector_bytes + lane * size), asm.double)
            asm.store_lane(Mem(R9, (9 * lane + tap) * size), RAX, asm.double)
