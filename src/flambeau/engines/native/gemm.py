"""Matrix products: C = A B, or C + A B, or bias + A B, over a batch, on all cores.

The method is Goto and van de Geijn's ("Anatomy of high-performance matrix multiplication", 2008), with the sizes of
networks in mind. A task is a panel of B's columns and a chunk of A's rows: it packs its slice of the panel into its own
stack, some hundred kilobytes at a time, then goes down A's rows; each step keeps a block of C in registers.
A is read where it is, by rows or by columns, and so is B, of which either order may be the contiguous one.

The generated function is `f(table, first task, last task)`; `Word` names the table's words.
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
from .lanes import mask_of_count, transpose_tile

__all__ = ["COLUMNS", "DEPTH", "PACKED", "ROWS", "Word", "gemm_code", "tile"]

#: How much of the inner dimension a packed panel covers.
DEPTH = 384


class Word:
    """The table's words: addresses, sizes in elements, steps in bytes."""

    A, B, C, BIAS, M, N, K, STEP_A, STEP_B, STEP_C, CHUNKS, ROWS, PANELS, ADD = range(14)
    BATCH_A, BATCH_B, BATCH_C, INNER, INNER_A, INNER_B, INNER_C = range(14, 21)
    #: Whether tasks go panel by panel within a chunk, else chunk by chunk within a panel.
    BY_CHUNK = 21
    COUNT = 22


#: How B lies in memory: its rows contiguous, or its columns, or packed by `products.packed`.
ROWS, COLUMNS, PACKED = 1, 0, 2


def tile(wide: bool) -> tuple[int, int]:
    """Rows, and vectors of columns, of the block of C that registers hold."""
    return (8, 3) if wide else (4, 3)


class _Slots:
    """Whole numbers on the stack."""

    T, STOP, ROWS, A0, B0, C0, DONE, LAST, MODE, COLUMNS, BIAS, PANEL = (Mem(RSP, 8 * i) for i in range(12))
    MASK = Mem(RSP, 128)
    BUFFER = 192


_ZERO, _BIAS, _ADD = 0, 1, 2


@functools.cache
def gemm_code(
    wide: bool, double: bool, a_rows: bool, b_lies: int, rows_left: int, last: int, partial: bool, vectors: int = 0
) -> bytes:
    """The machine code for products in which A's rows (else its columns) are contiguous, and B lies as told.

    `rows_left` rows remain beyond whole blocks; the last panel has `last` vectors, the last of them `partial`; the
    others have as many as a tile, or `vectors`.
    """
    return _Gemm(wide, double, a_rows, b_lies, rows_left, last, partial, vectors).write()


class _Gemm:
    def __init__(
        self, wide: bool, double: bool, a_rows: bool, b_lies: int, rows_left: int, last: int, partial: bool,
        vectors: int = 0,
    ) -> None:  # fmt: skip
        self.asm = Assembler(wide, double)
        self.a_rows, self.b_rows, self.packed = a_rows, b_lies == ROWS, b_lies == PACKED
        self.rows_left, self.last, self.partial = rows_left, last, partial
        self.rows, self.vectors = tile(wide)
        self.vectors = vectors or self.vectors
        self.size = self.asm.lane_bytes
        self.lanes = self.asm.vector_bytes // self.size
        self.width = self.vectors * self.asm.vector_bytes  # of a packed row, in bytes

    def write(self) -> bytes:
        asm = self.asm
        saved = (RBX, R12, R13, R14, R15)
        asm.enter(self._frame(), *saved)
        asm.store(_Slots.T, RSI)
        asm.store(_Slots.STOP, RDX)
        self._enter()
        task, end = asm.name("task"), asm.name("end")
        asm.label(task)
        asm.mov(RAX, _Slots.T)
        asm.cmp(RAX, _Slots.STOP)
        asm.jump(end, NOT_LESS)
        self._place()
        self._task()
        asm.add_imm(_Slots.T, 1)
        asm.jump(task)
        asm.label(end)
        self._leave()
        asm.leave(*saved)
        asm.ret()
        return asm.finish()

    def _enter(self) -> None:
        """Once per call, before its tasks."""
        self._mask()

    def _leave(self) -> None:
        """Once per call, after its tasks."""

    def _frame(self) -> int:
        """Bytes of the stack: the slots and the packed panel."""
        return _Slots.BUFFER + (0 if self.packed else DEPTH * self.width)

    def _task(self) -> None:
        """The task that has been placed, by whether its panel is the last one."""
        asm = self.asm
        tail, done = asm.name("tail"), asm.name("done")
        asm.cmp_imm(_Slots.LAST, 1)
        asm.jump(tail, EQUAL)
        self._depth(self.vectors, False)
        asm.jump(done)
        asm.label(tail)
        self._depth(self.last, self.partial)
        asm.label(done)

    def _word(self, index: int) -> Mem:
        return Mem(RDI, 8 * index)

    def _mask(self) -> None:
        """The lanes of a partial last vector: k1, or a vector of masks."""
        asm = self.asm
        if not self.partial:
            return
        asm.mov(RCX, self._word(Word.N))
        asm.and_imm(RCX, self.lanes - 1)
        mask_of_count(asm, 1 if asm.wide else 0)
        if not asm.wide:
            asm.save(_Slots.MASK, 0)

    def _number(self) -> None:
        """The task's chunk (r8) and panel (r9), and the number of its batch (rax), from its own number (rax)."""
        asm = self.asm
        by_chunk, placed = asm.name("by_chunk"), asm.name("placed")
        asm.cmp_imm(self._word(Word.BY_CHUNK), 0)
        asm.jump(by_chunk, NOT_EQUAL)
        asm.divide(self._word(Word.CHUNKS))
        asm.mov(R8, RDX)  # chunk
        asm.divide(self._word(Word.PANELS))  # rax: batch, rdx: panel
        asm.mov(R9, RDX)
        asm.jump(placed)
        asm.label(by_chunk)
        asm.divide(self._word(Word.PANELS))
        asm.mov(R9, RDX)
        asm.divide(self._word(Word.CHUNKS))
        asm.mov(R8, RDX)
        asm.label(placed)

    def _place(self) -> None:
        """From the task's number: batch, panel and chunk, and where A, B and C begin."""
        asm, shift = self.asm, 3 if self.asm.double else 2
        self._number()
        asm.divide(self._word(Word.INNER))  # a batch of two dimensions: rax, rdx
        asm.mov(R10, RAX)
        asm.mov(R11, RDX)
        asm.imul(R8, self._word(Word.ROWS))  # first row
        asm.mov(RBX, self._word(Word.M))
        asm.sub(RBX, R8)
        few = asm.name("few")
        asm.cmp(RBX, self._word(Word.ROWS))
        asm.jump(few, LESS)
        asm.mov(RBX, self._word(Word.ROWS))
        asm.label(few)
        asm.store(_Slots.ROWS, RBX)
        known = asm.name("known")
        asm.mov(RAX, self._word(Word.PANELS))
        asm.add_imm(RAX, -1)
        asm.mov_imm(RCX, 1)
        asm.cmp(R9, RAX)
        asm.jump(known, EQUAL)
        asm.mov_imm(RCX, 0)
        asm.label(known)
        asm.store(_Slots.LAST, RCX)
        self._start(_Slots.A0, Word.A, Word.BATCH_A, R8, self._word(Word.STEP_A) if self.a_rows else None)
        asm.mov_imm(RAX, self.vectors * self.lanes)
        asm.imul(R9, RAX)  # first column
        if self.packed:
            asm.mov(RAX, R9)
            asm.mov_imm(RCX, self.vectors * self.lanes)
            asm.divide(RCX)  # STEP_B is from panel to panel
            asm.mov(RSI, RAX)
            self._start(_Slots.B0, Word.B, Word.BATCH_B, RSI, self._word(Word.STEP_B))
        else:
            self._start(_Slots.B0, Word.B, Word.BATCH_B, R9, None if self.b_rows else self._word(Word.STEP_B))
        self._start(_Slots.C0, Word.C, Word.BATCH_C, R8, self._word(Word.STEP_C))
        asm.shift_left(R9, shift)
        asm.store(_Slots.COLUMNS, R9)
        asm.mov(RAX, _Slots.C0)
        asm.add(RAX, R9)
        asm.store(_Slots.C0, RAX)
        asm.mov_imm(RAX, 0)
        asm.store(_Slots.DONE, RAX)
        bias, add, set_ = asm.name("bias"), asm.name("add"), asm.name("set")
        asm.cmp_imm(self._word(Word.ADD), 0)
        asm.jump(add, NOT_EQUAL)
        asm.cmp_imm(self._word(Word.BIAS), 0)
        asm.jump(bias, NOT_EQUAL)
        asm.jump(set_)
        asm.label(add)
        asm.mov_imm(RAX, _ADD)
        asm.jump(set_)
        asm.label(bias)
        asm.add(R9, self._word(Word.BIAS))
        asm.store(_Slots.BIAS, R9)
        asm.mov_imm(RAX, _BIAS)
        asm.label(set_)
        asm.store(_Slots.MODE, RAX)

    def _start(self, to: Mem, base: int, batch: int, count: int, step: Mem | None) -> None:
        """to = base + batch numbers (r10, r11) * batch steps + count * step (an element's size without one)."""
        asm = self.asm
        asm.mov(RAX, count)
        if step is None:
            asm.shift_left(RAX, 3 if asm.double else 2)
        else:
            asm.imul(RAX, step)
        asm.mov(RCX, R10)
        asm.imul(RCX, self._word(batch))
        asm.add(RAX, RCX)
        asm.mov(RCX, R11)
        asm.imul(RCX, self._word(batch - Word.BATCH_A + Word.INNER_A))
        asm.add(RAX, RCX)
        asm.add(RAX, self._word(base))
        asm.store(to, RAX)

    def _depth(self, vectors: int, partial: bool) -> None:
        """The task, slice by slice of the inner dimension."""
        asm, shift = self.asm, 3 if self.asm.double else 2
        top, small, out = asm.name("slice"), asm.name("small"), asm.name("out")
        asm.label(top)
        asm.mov(R15, self._word(Word.K))
        asm.sub(R15, _Slots.DONE)
        asm.cmp_imm(R15, DEPTH)
        asm.jump(small, LESS)
        asm.mov_imm(R15, DEPTH)
        asm.label(small)
        if self.packed:
            asm.mov(RAX, _Slots.B0)
        else:
            (self._pack_rows if self.b_rows else self._pack_columns)(vectors, partial)
            asm.lea(RAX, Mem(RSP, _Slots.BUFFER))
        asm.store(_Slots.PANEL, RAX)
        self._blocks(vectors, partial)
        # on to the next slice
        asm.mov(RAX, R15)
        asm.add(RAX, _Slots.DONE)
        asm.store(_Slots.DONE, RAX)
        asm.cmp(RAX, self._word(Word.K))
        asm.jump(out, NOT_LESS)
        a, b = (_Slots.A0, self.a_rows, Word.STEP_A), (_Slots.B0, not self.b_rows, Word.STEP_B)
        for slot, contiguous, step in (a, b):
            asm.mov(RAX, R15)
            if slot is _Slots.B0 and self.packed:
                asm.mov_imm(RCX, self.width)
                asm.imul(RAX, RCX)
            elif contiguous:
                asm.shift_left(RAX, shift)
            else:
                asm.imul(RAX, self._word(step))
            asm.add(RAX, slot)
            asm.store(slot, RAX)
        asm.mov_imm(RAX, _ADD)
        asm.store(_Slots.MODE, RAX)
        asm.jump(top)
        asm.label(out)

    def _blocks(self, vectors: int, partial: bool) -> None:
        """The packed panel against all of the chunk's rows."""
        asm = self.asm
        asm.mov(RBX, _Slots.ROWS)
        asm.mov(R14, _Slots.A0)
        asm.mov(R12, _Slots.C0)
        asm.mov(R13, self._word(Word.STEP_C))
        asm.mov(R11, self._word(Word.STEP_A))
        block, rest = asm.name("block"), asm.name("rest")
        asm.label(block)
        asm.cmp_imm(RBX, self.rows)
        asm.jump(rest, LESS)
        self._block(self.rows, vectors, partial)
        asm.add_imm(RBX, -self.rows)
        asm.jump(block)
        asm.label(rest)
        if self.rows_left:
            skip = asm.name("skip")
            asm.cmp_imm(RBX, 0)
            asm.jump(skip, EQUAL)
            self._block(self.rows_left, vectors, partial)
            asm.label(skip)

    # --- packing ----------------------------------------------------------------------------------------------

    def _pack_rows(self, vectors: int, partial: bool) -> None:
        """B's rows are contiguous: copies a piece of each."""
        asm = self.asm
        asm.mov(RSI, _Slots.B0)
        asm.lea(RDX, Mem(RSP, _Slots.BUFFER))
        asm.mov(RCX, R15)
        top = asm.name("pack")
        asm.label(top)
        for v in range(vectors):
            self._load(v, Mem(RSI, v * asm.vector_bytes), partial and v == vectors - 1)
        for v in range(vectors):
            asm.save(Mem(RDX, v * asm.vector_bytes), v)
        asm.add(RSI, self._word(Word.STEP_B))
        asm.add_imm(RDX, self.width)
        asm.add_imm(RCX, -1)
        asm.jump(top, NOT_EQUAL)

    def _load(self, reg: int, source: Mem, masked: bool) -> None:
        asm = self.asm
        if not masked:
            asm.load(reg, source)
        elif asm.wide:
            asm.load(reg, source, mask=1)
        else:
            asm.load(reg, _Slots.MASK)
            asm.vex("66", "38", 0x2D if asm.double else 0x2C, reg, reg, source)

    def _pack_columns(self, vectors: int, partial: bool) -> None:
        """B's columns are contiguous: transposes, eight by eight (float32), else number by number."""
        asm = self.asm
        # r8, r9, r10: columns 0, 3, 6 of eight; r11: the step from column to column; rbx: columns left; rdx: where to
        asm.mov(R8, _Slots.B0)
        asm.mov(R11, self._word(Word.STEP_B))
        asm.lea(RDX, Mem(RSP, _Slots.BUFFER))
        if partial:
            asm.mov(RBX, self._word(Word.N))
            asm.and_imm(RBX, self.lanes - 1)
            asm.add_imm(RBX, (vectors - 1) * self.lanes)
        else:
            asm.mov_imm(RBX, vectors * self.lanes)
        single, out = asm.name("single"), asm.name("packed")
        if not asm.double:
            eight = asm.name("eight")
            asm.label(eight)
            asm.cmp_imm(RBX, 8)
            asm.jump(single, LESS)
            self._transpose_eight()
            asm.lea(R8, Mem(R8, 0, R11, 8))
            asm.add_imm(RDX, 32)
            asm.add_imm(RBX, -8)
            asm.jump(eight)
        asm.label(single)
        asm.cmp_imm(RBX, 0)
        asm.jump(out, EQUAL)
        self._copy_column()
        asm.add(R8, R11)
        asm.add_imm(RDX, self.size)
        asm.add_imm(RBX, -1)
        asm.jump(single)
        asm.label(out)

    def _copy_column(self) -> None:
        asm = self.asm
        top, end = asm.name("column"), asm.name("end")
        asm.mov(RSI, R8)
        asm.mov(R9, RDX)
        asm.mov(RCX, R15)
        asm.label(top)
        asm.cmp_imm(RCX, 0)
        asm.jump(end, EQUAL)
        asm.mov_lane(RAX, Mem(RSI), asm.double)
        asm.store_lane(Mem(R9), RAX, asm.double)
        asm.add_imm(RSI, self.size)
        asm.add_imm(R9, self.width)
        asm.add_imm(RCX, -1)
        asm.jump(top)
        asm.label(end)

    def _transpose_eight(self) -> None:
        """Eight columns, eight numbers of each at a time; what is left of the depth number by number."""
        asm = self.asm
        top, rest, end = asm.name("t"), asm.name("rest"), asm.name("end")
        asm.lea(R9, Mem(R8, 0, R11, 2))
        asm.add(R9, R11)
        asm.lea(R10, Mem(R9, 0, R11, 2))
        asm.add(R10, R11)
        asm.mov(RSI, RDX)
        asm.mov(RCX, R15)
        asm.push(R8)
        asm.label(top)
        asm.cmp_imm(RCX, 8)
        asm.jump(rest, LESS)
        places = [(R8, None), (R8, 1), (R8, 2), (R9, None), (R9, 1), (R9, 2), (R10, None), (R10, 1)]

        def at(column: int, disp: int) -> Mem:
            base, scale = places[column]
            return Mem(base, disp) if scale is None else Mem(base, disp, R11, scale)

        transpose_tile(asm, at, lambda j, reg: asm.vex(None, "0f", 0x11, reg, 0, Mem(RSI, j * self.width)))
        for reg in (R8, R9, R10):
            asm.add_imm(reg, 32)
        asm.add_imm(RSI, 8 * self.width)
        asm.add_imm(RCX, -8)
        asm.jump(top)
        asm.label(rest)
        asm.cmp_imm(RCX, 0)
        asm.jump(end, EQUAL)
        for column in range(8):
            asm.mov_lane(RAX, at(column, 0), False)
            asm.store_lane(Mem(RSI, 4 * column), RAX, False)
        for reg in (R8, R9, R10):
            asm.add_imm(reg, 4)
        asm.add_imm(RSI, self.width)
        asm.add_imm(RCX, -1)
        asm.jump(rest)
        asm.label(end)
        asm.pop(R8)

    # --- the block in registers -------------------------------------------------------------------------------

    def _block(self, rows: int, vectors: int, partial: bool) -> None:
        """`rows` rows of C at r12, from A at r14 and the packed panel, over the slice's depth (r15); steps both on."""
        asm = self.asm
        self._begin(rows, vectors, partial)
        asm.mov(R8, R14)
        if self.a_rows and rows > 3:
            asm.lea(R9, Mem(R8, 0, R11, 2))
            asm.add(R9, R11)
            if rows > 6:
                asm.lea(R10, Mem(R9, 0, R11, 2))
                asm.add(R10, R11)
        asm.mov(RAX, _Slots.PANEL)
        asm.mov(RCX, R15)
        four, one, done = asm.name("four"), asm.name("one"), asm.name("done")
        unroll = 4
        asm.label(four)
        asm.cmp_imm(RCX, unroll)
        asm.jump(one, LESS)
        for step in range(unroll):
            self._step(rows, vectors, step)
        self._advance(rows, unroll)
        asm.jump(four)
        asm.label(one)
        asm.cmp_imm(RCX, 0)
        asm.jump(done, EQUAL)
        self._step(rows, vectors, 0)
        self._advance(rows, 1)
        asm.jump(one)
        asm.label(done)
        asm.mov(RSI, R12)
        for i in range(rows):
            for v in range(vectors):
                self._save(Mem(RSI, v * asm.vector_bytes), i * vectors + v, partial and v == vectors - 1)
            asm.add(RSI, R13)
        asm.mov(R12, RSI)
        if self.a_rows:
            for _ in range(rows):
                asm.add(R14, R11)
        else:
            asm.add_imm(R14, rows * self.size)

    def _begin(self, rows: int, vectors: int, partial: bool) -> None:
        """What the block starts from: zero, the bias, or what C holds."""
        asm = self.asm
        other, add, go = asm.name("other"), asm.name("add"), asm.name("go")
        asm.cmp_imm(_Slots.MODE, _ZERO)
        asm.jump(other, NOT_EQUAL)
        for r in range(rows * vectors):
            asm.real(0x57, r, r, r)  # xor
        asm.jump(go)
        asm.label(other)
        asm.cmp_imm(_Slots.MODE, _BIAS)
        asm.jump(add, NOT_EQUAL)
        self._begin_with_bias(rows, vectors, partial)
        asm.jump(go)
        asm.label(add)
        asm.mov(RSI, R12)
        for i in range(rows):
            for v in range(vectors):
                self._load(i * vectors + v, Mem(RSI, v * asm.vector_bytes), partial and v == vectors - 1)
            asm.add(RSI, R13)
        asm.label(go)

    def _begin_with_bias(self, rows: int, vectors: int, partial: bool) -> None:
        """A number for each column."""
        asm = self.asm
        asm.mov(RSI, _Slots.BIAS)
        for v in range(vectors):
            self._load(v, Mem(RSI, v * asm.vector_bytes), partial and v == vectors - 1)
            for i in range(1, rows):
                asm.copy(i * vectors + v, v)

    def _save(self, to: Mem, reg: int, masked: bool) -> None:
        asm = self.asm
        if not masked:
            asm.save(to, reg)
        elif asm.wide:
            asm.save(to, reg, mask=1)
        else:
            asm.load(15, _Slots.MASK)
            asm.vex("66", "38", 0x2F if asm.double else 0x2E, reg, 15, to)

    def _step(self, rows: int, vectors: int, step: int) -> None:
        """One step of the depth: `vectors` of the panel's row against `rows` numbers of A."""
        asm = self.asm
        first = rows * vectors
        number = first + vectors
        for v in range(vectors):
            asm.load(first + v, Mem(RAX, step * self.width + v * asm.vector_bytes))
        bases = [(R8, None), (R8, 1), (R8, 2), (R9, None), (R9, 1), (R9, 2), (R10, None), (R10, 1)]
        for i in range(rows):
            if self.a_rows:
                base, scale = bases[i]
                disp = step * self.size
                source = Mem(base, disp) if scale is None else Mem(base, disp, R11, scale)
            else:
                source = Mem(R8, i * self.size)
            asm.spread(number, source)
            for v in range(vectors):
                asm.fused(0xB8, i * vectors + v, number, first + v)
        if not self.a_rows:
            asm.add(R8, R11)

    def _advance(self, rows: int, steps: int) -> None:
        asm = self.asm
        if self.a_rows:
            asm.add_imm(R8, steps * self.size)
            if rows > 3:
                asm.add_imm(R9, steps * self.size)
            if rows > 6:
                asm.add_imm(R10, steps * self.size)
        asm.add_imm(RAX, steps * self.width)
        asm.add_imm(RCX, -steps)
