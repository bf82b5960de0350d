"""Convolution by 3x3 kernels of stride 1 with Winograd's method: tiles in, products, tiles out, while in the cache.

A task is a panel of tiles (of any images) and a chunk of the output channels. It transforms the panel's tiles of every
input channel into scratch memory; then, for a few output channels at a time, makes one product per element of a tile
and transforms back into the images. Weights come transformed and in the order in which they are read (`weights_code`).
"""

from __future__ import annotations

import functools

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
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    Assembler,
    Mem,
)  # fmt: skip
from .correlate import RUN, ConvWord, Packing
from .gemm import _ZERO, ROWS, Word, _Slots, tile
from .lanes import load_some, mask_of_count, save_some
from .tiles import A, B, G, Matrix, apply, interleave

__all__ = ["TileWord", "WeightsWord", "channels_at_once", "tiles_code", "weights_code"]


class TileWord(ConvWord):
    """Word.A is the transformed weight, B the images, C the result; M output channels, K input channels, ROWS output
    channels of a task. Further: the runs of the result, and scratch memory of `SCRATCH_STEP` bytes for each of `SLOTS`
    threads, who claim a piece by setting its bit in `CLAIMS`.
    """

    OUT_STARTS, OUT_RUNS, SCRATCH, SCRATCH_STEP, CLAIMS, SLOTS = range(ConvWord.COUNT, ConvWord.COUNT + 6)
    COUNT = ConvWord.COUNT + 6


_PANEL, _FIRST, _IMAGES, _ROWS = (Mem(RSP, at) for at in (96, 104, 112, 120))
_CLAIM, _SCRATCH, _CHANNEL, _BYTES = (Mem(RSP, at) for at in (160, 168, 176, 184))
_ELEMENT, _SOURCE = (Mem(RSP, at) for at in (192, 200))


def channels_at_once(m: int) -> int:
    """How many channels' tiles are packed together."""
    return 4 if m == 2 else 2


@functools.cache
def tiles_code(wide: bool, double: bool, m: int, last: int) -> bytes:
    """The machine code for tiles of m x m results; the last panel has `last` vectors of tiles."""
    return _Tiles(wide, double, m, last).write()


class Scratch(Packing):
    """Code whose calls each claim a piece of scratch memory."""

    def _enter(self) -> None:
        asm = self.asm
        again, look, got = asm.name("again"), asm.name("look"), asm.name("got")
        asm.mov(RBX, self._word(TileWord.CLAIMS))
        asm.label(again)
        asm.mov_imm(RAX, 0)
        asm.label(look)
        asm.raw(b"\xf0\x48\x0f\xab\x03")  # lock bts [rbx], rax
        asm.jump(got, NOT_BELOW)
        asm.add_imm(RAX, 1)
        asm.cmp(RAX, self._word(TileWord.SLOTS))
        asm.jump(look, LESS)
        asm.jump(again)
        asm.label(got)
        asm.store(_CLAIM, RAX)
        asm.imul(RAX, self._word(TileWord.SCRATCH_STEP))
        asm.add(RAX, self._word(TileWord.SCRATCH))
        asm.store(_SCRATCH, RAX)

    def _leave(self) -> None:
        asm = self.asm
        asm.mov(RBX, self._word(TileWord.CLAIMS))
        asm.mov(RAX, _CLAIM)
        asm.raw(b"\xf0\x48\x0f\xb3\x03")  # lock btr [rbx], rax


class _Tiles(Scratch):
    def __init__(self, wide: bool, double: bool, m: int, last: int) -> None:
        super().__init__(wide, double, False, ROWS, 0, last, False)
        self.m, self.edge, self.count = m, m + 2, (m + 2) ** 2
        self.together = channels_at_once(m)
        self.packed_at = 256
        self.between = self.packed_at + self.together * self.count * self.width
        self.products = self.between + self.count * self.asm.vector_bytes
        self.results = self.products + self.count * self.rows * self.width

    def _frame(self) -> int:
        size = self.results + self.m * self.rows * self.m * self.width
        return size + -size % 64

    def _place(self) -> None:
        asm = self.asm
        asm.divide(self._word(Word.CHUNKS))
        asm.mov(R8, RDX)
        asm.imul(R8, self._word(Word.ROWS))  # first output channel
        asm.store(_PANEL, RAX)
        asm.mov(RBX, self._word(Word.M))
        asm.sub(RBX, R8)
        few, whole = asm.name("few"), asm.name("whole")
        asm.cmp(RBX, self._word(Word.ROWS))
        asm.jump(few, LESS)
        asm.mov(RBX, self._word(Word.ROWS))
        asm.label(few)
        asm.store(_Slots.ROWS, RBX)
        asm.mov_imm(RCX, self.width)
        asm.add_imm(RAX, 1)
        asm.cmp(RAX, self._word(Word.PANELS))
        asm.jump(whole, NOT_EQUAL)
        asm.mov_imm(RCX, self.last * self.asm.vector_bytes)
        asm.label(whole)
        asm.store(_BYTES, RCX)
        asm.mov(RAX, self._word(Word.B))
        asm.store(_IMAGES, RAX)
        asm.mov_imm(RAX, self.together * self.count)
        asm.store(_ROWS, RAX)
        asm.mov_imm(RAX, self.count * self.size)
        asm.imul(RAX, self._word(Word.K))
        asm.imul(RAX, R8)
        asm.add(RAX, self._word(Word.A))
        asm.store(_Slots.A0, RAX)
        asm.mov(RAX, self._word(Word.STEP_C))
        asm.imul(RAX, R8)
        asm.add(RAX, self._word(Word.C))
        asm.store(_Slots.C0, RAX)
        asm.shift_left(R8, 3 if asm.double else 2)
        asm.add(R8, self._word(Word.BIAS))
        asm.store(_Slots.BIAS, R8)
        asm.mov_imm(RAX, _ZERO)
        asm.store(_Slots.MODE, RAX)

    def _task(self) -> None:
        asm = self.asm
        self._inputs()
        block, out = asm.name("outputs"), asm.name("out")
        asm.label(block)
        asm.cmp_imm(_Slots.ROWS, 0)
        asm.jump(out, EQUAL)
        self._elements()
        self._back()
        self._write_out()
        asm.add_imm(_Slots.ROWS, -self.rows)
        asm.jump(block)
        asm.label(out)

    # --- tiles in ---------------------------------------------------------------------------------------------

    def _inputs(self) -> None:
        """The panel's tiles of all input channels, transformed: `[element, channel, tile]` in scratch memory."""
        asm = self.asm
        asm.mov_imm(RAX, 0)
        asm.store(_CHANNEL, RAX)
        asm.store(_FIRST, RAX)
        top, each = asm.name("channels"), asm.name("channel")
        asm.label(top)
        self._pack_windows(_PANEL, _IMAGES, _FIRST, _ROWS, self.packed_at, self.width)
        asm.lea(R8, Mem(RSP, self.packed_at))
        asm.mov_imm(R9, self.width)
        asm.imul(R9, _CHANNEL)
        asm.add(R9, _SCRATCH)
        asm.mov_imm(RBX, self.width)
        asm.imul(RBX, self._word(Word.K))  # from element to element
        asm.mov_imm(R10, self.together)
        asm.label(each)
        self._vectors(lambda: self._forth(B[self.m], self.edge))
        asm.add_imm(R8, self.count * self.width)
        asm.add_imm(R9, self.width)
        asm.add_imm(R10, -1)
        asm.jump(each, NOT_EQUAL)
        asm.add_imm(_FIRST, self.together * self.count)
        asm.add_imm(_CHANNEL, self.together)
        asm.mov(RAX, _CHANNEL)
        asm.cmp(RAX, self._word(Word.K))
        asm.jump(top, LESS)

    def _vectors(self, body: object) -> None:
        """`body()` for each vector of the panel, rcx telling where."""
        asm, loop = self.asm, self.asm.name("vector")
        asm.mov_imm(RCX, 0)
        asm.label(loop)
        body()  # type: ignore[operator]
        asm.add_imm(RCX, asm.vector_bytes)
        asm.cmp(RCX, _BYTES)
        asm.jump(loop, NOT_EQUAL)

    def _forth(self, matrix: Matrix, edge: int) -> None:
        """A vector of tiles at r8 + rcx, `edge` wide, goes to r9 + rcx, elements rbx apart."""
        asm = self.asm
        results = len(matrix)
        for j in range(edge):
            apply(
                asm, matrix, lambda i, j=j: Mem(R8, (i * edge + j) * self.width, RCX),
                lambda i, reg, j=j: asm.save(self._between(i * edge + j), reg),
            )  # fmt: skip
        asm.lea(RDX, Mem(R9, 0, RCX))

        def put(reg: int) -> None:
            asm.save(Mem(RDX), reg)
            asm.add(RDX, RBX)

        for i in range(results):
            apply(asm, matrix, lambda j, i=i: self._between(i * edge + j), lambda _, reg: put(reg))

    def _between(self, number: int) -> Mem:
        return Mem(RSP, self.between + number * self.asm.vector_bytes)

    # --- products ---------------------------------------------------------------------------------------------

    def _elements(self) -> None:
        """For a block of output channels a product for each element of a tile: `[element, channel, tile]`."""
        asm = self.asm
        asm.mov(RAX, _SCRATCH)
        asm.store(_Slots.PANEL, RAX)
        asm.mov_imm(RAX, self.count)
        asm.store(_ELEMENT, RAX)
        asm.lea(R12, Mem(RSP, self.products))
        asm.mov_imm(R13, self.width)
        asm.mov_imm(R11, self.rows * self.size)
        asm.mov(R15, self._word(Word.K))
        top, tail, done = asm.name("element"), asm.name("tail"), asm.name("done")
        asm.label(top)
        asm.mov(R14, _Slots.A0)
        asm.cmp_imm(_BYTES, self.width)
        asm.jump(tail, NOT_EQUAL)
        self._block(self.rows, self.vectors, False)
        asm.jump(done)
        asm.label(tail)
        self._block(self.rows, self.last, False)
        asm.label(done)
        for step, place in ((self.width, _Slots.PANEL), (self.rows * self.size, _Slots.A0)):
            asm.mov_imm(RAX, step)
            asm.imul(RAX, R15)
            asm.add(RAX, place)
            asm.store(place, RAX)
        asm.add_imm(_ELEMENT, -1)
        asm.jump(top, NOT_EQUAL)

    # --- tiles out --------------------------------------------------------------------------------------------

    def _back(self) -> None:
        """The block's tiles of results, plus the bias, as rows of images: `[row of a tile, channel, position]`."""
        asm, edge, m = self.asm, self.edge, self.m
        bias = 14
        asm.lea(R8, Mem(RSP, self.products))
        asm.lea(R9, Mem(RSP, self.results))
        asm.mov(R11, _Slots.BIAS)
        asm.mov_imm(R10, self.rows)
        top = asm.name("row")

        def vector() -> None:
            for j in range(edge):
                apply(
                    asm, A[m], lambda i, j=j: Mem(R8, (i * edge + j) * self.rows * self.width, RCX),
                    lambda i, reg, j=j: asm.save(self._between(i * edge + j), reg),
                )  # fmt: skip
            asm.mov(RAX, RCX)
            asm.shift_left(RAX, 1 if m == 2 else 2)
            for i in range(m):
                spare = edge + 1  # beyond inputs and result

                def add_bias(s: int, reg: int, spare: int = spare) -> None:
                    asm.real(0x58, spare + s, reg, bias)

                apply(asm, A[m], lambda j, i=i: self._between(i * edge + j), add_bias)
                for s in range(m):
                    asm.copy(s, spare + s)
                interleave(asm, m, 0)
                for s in range(m):
                    asm.save(Mem(R9, i * self.rows * m * self.width + s * asm.vector_bytes, RAX), s)

        asm.label(top)
        asm.spread(bias, Mem(R11))
        self._vectors(vector)
        asm.add_imm(R8, self.width)
        asm.add_imm(R9, m * self.width)
        asm.add_imm(R11, self.size)
        asm.add_imm(R10, -1)
        asm.jump(top, NOT_EQUAL)
        asm.store(_Slots.BIAS, R11)

    def _write_out(self) -> None:
        """Run by run to the images; steps on to the next channels."""
        asm = self.asm
        run, out, masked, following = (asm.name(n) for n in ("run", "out", "masked", "next"))
        mask = 2 if asm.wide else 1
        asm.mov(RBX, self._word(TileWord.OUT_STARTS))
        asm.mov(RAX, _PANEL)
        asm.mov(R12, Mem(RBX, 0, RAX, 8))
        asm.mov(R13, Mem(RBX, 8, RAX, 8))
        asm.add(R12, self._word(TileWord.OUT_RUNS))
        asm.add(R13, self._word(TileWord.OUT_RUNS))
        asm.mov(R11, self._word(Word.STEP_C))
        asm.label(run)
        asm.cmp(R12, R13)
        asm.jump(out, NOT_LESS)
        asm.lea(R8, Mem(RSP, self.results))
        asm.add(R8, Mem(R12))
        asm.mov(RDX, _Slots.C0)
        asm.add(RDX, Mem(R12, 8))
        asm.mov(RCX, Mem(R12, 16))
        asm.cmp_imm(RCX, self.lanes)
        asm.jump(masked, NOT_EQUAL)
        for r in range(self.rows):
            asm.load(2, Mem(R8, r * self.m * self.width))
            asm.save(Mem(RDX), 2)
            asm.add(RDX, R11)
        asm.jump(following)
        asm.label(masked)
        mask_of_count(asm, mask)
        for r in range(self.rows):
            load_some(asm, 2, Mem(R8, r * self.m * self.width), mask)
            save_some(asm, Mem(RDX), 2, mask)
            asm.add(RDX, R11)
        asm.label(following)
        asm.add_imm(R12, RUN)
        asm.jump(run)
        asm.label(out)
        asm.mov_imm(RAX, self.rows)
        asm.imul(RAX, R11)
        asm.add(RAX, _Slots.C0)
        asm.store(_Slots.C0, RAX)


# --- weights ----------------------------------------------------------------------------------------------------------


class WeightsWord:
    """The table's words: addresses, the bytes from output channel to output channel and from input channel to input
    channel of the kernels, and how many input channels.
    """

    KERNELS, RESULT, STEP_ROW, STEP_CHANNEL, CHANNELS = range(5)
    COUNT = 5


@functools.cache
def weights_code(wide: bool, double: bool, m: int, turned: bool) -> bytes:
    """`f(table, first, last)` over blocks of output channels: 3x3 kernels, or turned ones, become what a task reads:
    `[block, element, input channel, output channel of the block]`.
    """
    rows, size = tile(wide)[0], 8 if double else 4
    asm = Assembler(rows * size == 64, double)
    lanes = asm.vector_bytes // size
    channels = lanes // rows  # input channels side by side in a vector
    edge = m + 2
    asm.enter((9 + 3 * edge) * asm.vector_bytes, RBX, R12)
    asm.mov(R12, RDX)
    word = lambda index: Mem(RDI, 8 * index)  # noqa: E731
    block, loop, end = asm.name("block"), asm.name("channel"), asm.name("end")
    asm.label(block)
    asm.cmp(RSI, R12)
    asm.jump(end, NOT_LESS)
    asm.mov_imm(R8, rows)
    asm.imul(R8, RSI)
    asm.mov(R9, R8)
    asm.imul(R8, word(WeightsWord.STEP_ROW))
    asm.add(R8, word(WeightsWord.KERNELS))
    asm.mov(RBX, word(WeightsWord.CHANNELS))
    asm.imul(R9, RBX)
    asm.mov_imm(RAX, edge * edge * size)
    asm.imul(R9, RAX)
    asm.add(R9, word(WeightsWord.RESULT))
    asm.mov(R11, RBX)
    asm.mov_imm(RAX, rows * size)
    asm.imul(R11, RAX)  # from element to element
    asm.label(loop)
    for c in range(channels):
        _read_kernels(asm, rows, c, turned)
    _transform_kernels(asm, G[m])
    asm.add_imm(R9, channels * rows * size)
    asm.add_imm(RBX, -channels)
    asm.jump(loop, NOT_EQUAL)
    asm.add_imm(RSI, 1)
    asm.jump(block)
    asm.label(end)
    asm.leave(RBX, R12)
    asm.ret()
    return asm.finish()


def _read_kernels(asm: Assembler, rows: int, number: int, turned: bool) -> None:
    """The kernels at r8 of one input channel, for all output channels of a block, number by number to the stack; r8
    goes on to the next channel.
    """
    size = asm.lane_bytes
    asm.mov(R10, R8)
    for r in range(rows):
        for tap in range(9):
            asm.mov_lane(RAX, Mem(R10, (8 - tap if turned else tap) * size), asm.double)
            asm.store_lane(Mem(RSP, tap * asm.vector_bytes + (number * rows + r) * size), RAX, asm.double)
        asm.add(R10, Mem(RDI, 8 * WeightsWord.STEP_ROW))
    asm.add(R8, Mem(RDI, 8 * WeightsWord.STEP_CHANNEL))


def _transform_kernels(asm: Assembler, matrix: Matrix) -> None:
    """From the stack to r9, elements r11 apart."""

    def between(number: int) -> Mem:
        return Mem(RSP, (9 + number) * asm.vector_bytes)

    def put(reg: int) -> None:
        asm.save(Mem(RDX), reg)
        asm.add(RDX, R11)

    for j in range(3):
        apply(
            asm, matrix, lambda i, j=j: Mem(RSP, (3 * i + j) * asm.vector_bytes),
            lambda i, reg, j=j: asm.save(between(3 * i + j), reg),
        )  # fmt: skip
    asm.mov(RDX, R9)
    for i in range(len(matrix)):
        apply(asm, matrix, lambda j, i=i: between(3 * i + j), lambda _, reg: put(reg))
