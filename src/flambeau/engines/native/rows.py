"""Kernels over rows: passes over the elements of a row, reductions between them, many operands.

    k = RowKernel("softmax")
    x = k.load("input")
    e = k.keep("out", k.exp(x - k.max(x)))      # written to `out` in this pass, read from there in later ones
    k.store("out", e / k.sum(e))

Every operand has a stride per row (and one for each outer step, so that three dimensions broadcast) and is contiguous
along the row, or one number per row (`k.load_row`, `k.store_row`). A reduction's result is known when its pass is over:
what depends on it comes in the next pass, and what that needs of earlier passes is computed again unless it was kept.

The generated function is `f(table, first row, last row)`; the table holds the row's length, the rows of an outer step,
then address, row step and outer step of each operand, then numbers. `docs/architecture.md` has the reasons.
"""

from __future__ import annotations

import math
from typing import Any

from . import seconds
from .assembler import (
    EQUAL,
    GREATER,
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
    Assembler,
    Mem,
    Pool,
)  # fmt: skip
from .emission import MASKS, Emitter, Frame, combine
from .lanes import mask_of_count
from .values import Value, Values

__all__ = ["HEADER", "RowKernel"]

#: Words of the table before the operands: the row's length, and how many rows an outer step has.
HEADER = 2
_POINTERS = (R8, R9, R10, R11, R12, R13, R14, R15, RBX)
_SAVED = (RBX, R12, R13, R14, R15)
_IDENTITY = {"add": 0.0, "max": -math.inf, "min": math.inf}


class RowKernel(Values):
    """A kernel in the making: a namespace of values, with loads, stores and reductions."""

    def __init__(self, name: str, double: bool = False, unroll: int = 0) -> None:
        super().__init__(double)
        self.name = name
        self.unroll = unroll
        self.operands: dict[str, bool] = {}
        self.indexed: set[str] = set()
        self.numbers: list[str] = []
        self.sinks: list[Value] = []
        self.reductions: list[Value] = []

    # --- operands ---------------------------------------------------------------------------------------------

    def _operand(self, name: str, whole: bool) -> str:
        if self.operands.setdefault(name, whole) is not whole:
            raise ValueError(f"{self.name}: operand '{name}' is both a row and a number per row")
        return name

    def load(self, name: str) -> Value:
        """The elements of an operand."""
        return self.make("load", imm=self._operand(name, True))

    def at_index(self, name: str) -> None:
        """Has each row find the operand's row by a number; its table words are address, step, the numbers' address."""
        self.indexed.add(name)

    def load_second(self, name: str, at: int = 0) -> Value:
        """Every second element of an operand, from its `at`th on."""
        return self.make("second", imm=(self._operand(name, True), at))

    def load_row(self, name: str) -> Value:
        """An operand's one number for this row."""
        return self.make("row", imm=self._operand(name, False))

    def number(self, name: str) -> Value:
        """A number that the caller gives."""
        if name not in self.numbers:
            self.numbers.append(name)
        return self.make("number", imm=name)

    def store(self, name: str, value: Any) -> None:
        """Writes the elements of `value` to an operand, in the first pass that knows them."""
        value = value if isinstance(value, Value) else self.const(value)
        self.sinks.append(self.make("store", value, imm=self._operand(name, True)))

    def keep(self, name: str, value: Value) -> Value:
        """Writes `value`, and gives what later passes read back instead of computing it again."""
        self.store(name, value)
        return self.make("kept", value, imm=name)

    def store_row(self, name: str, value: Value, after: int = 0) -> None:
        """Writes one number for this row: the lowest lane of a value that is the same in all of them.

        It is written once `after` passes are over, or more where the value takes more.
        """
        self.sinks.append(self.make("store_row", value, imm=self._operand(name, False), level=after))

    def _reduce(self, how: str, value: Any) -> Value:
        value = value if isinstance(value, Value) else self.const(value)
        made = self.make("reduce", value, imm=how, level=value.level + 1)
        if made not in self.reductions:
            self.reductions.append(made)
        return made

    def sum(self, value: Any) -> Value:
        return self._reduce("add", value)

    def max(self, value: Any) -> Value:
        return self._reduce("max", value)

    def min(self, value: Any) -> Value:
        return self._reduce("min", value)

    # --- compiling --------------------------------------------------------------------------------------------

    def compile(self, wide: bool) -> bytes:
        """The machine code of the kernel, for 512-bit vectors or 256-bit ones."""
        return _Writer(self, wide).write()

    def word(self, name: str) -> int:
        """Where in the table the operand's three words begin, or the number's word lies."""
        if name in self.operands:
            return HEADER + 3 * list(self.operands).index(name)
        return HEADER + 3 * len(self.operands) + self.numbers.index(name)

    @property
    def words(self) -> int:
        return HEADER + 3 * len(self.operands) + len(self.numbers)


class _Writer:
    """Writes the machine code of one row kernel."""

    def __init__(self, kernel: RowKernel, wide: bool) -> None:
        self.kernel = kernel
        self.asm = Assembler(wide, kernel.double)
        self.frame = Frame(self.asm.vector_bytes)
        self.row_values: dict[Value, Mem] = {}
        self.pointers: dict[str, int | Mem] = {}
        self.masks: tuple[Mem, Mem] | None = None
        self.uniform = self._find_uniform()

    def _find_uniform(self) -> set[Value]:
        """Values that are the same for all elements of a row."""
        found: set[Value] = set()
        for value in self.kernel.order:
            if value.op in ("row", "number", "reduce", "const") or (
                value.args and value.op not in ("store", "kept") and all(a in found for a in value.args)
            ):
                found.add(value)
        return found

    # --- the function -----------------------------------------------------------------------------------------

    def write(self) -> bytes:
        kernel = self.kernel
        self._body()  # how large the frame is, is known only now: this run finds out, the next one writes
        size = self.frame.count * self.frame.size
        self.__init__(kernel, self.asm.wide)  # type: ignore[misc]
        asm = self.asm
        done = asm.name("done")
        asm.cmp(RSI, RDX)
        asm.jump(done, NOT_LESS)
        asm.enter(size + 64 - size % 64, *_SAVED)
        self._body()
        asm.leave(*_SAVED)
        asm.label(done)
        asm.ret()
        return asm.finish()

    def _word(self, name: str, which: int = 0) -> Mem:
        return Mem(RDI, 8 * (self.kernel.word(name) + which))

    def _body(self) -> None:
        """From the first row to the last."""
        asm, kernel = self.asm, self.kernel
        self.length, self.stop, self.inner, self.tail = (self._integer() for _ in range(4))
        shift = 3 if kernel.double else 2
        asm.mov(RAX, Mem(RDI, 0))
        asm.shift_left(RAX, shift)
        asm.store(self.length, RAX)
        asm.store(self.stop, RDX)
        self._tail_mask()
        if any(value.op == "second" for value in kernel.order):
            self.masks = seconds.masks(asm, self.frame, self.length)
        for value in kernel.order:
            if value.op == "number":
                reg = 0
                asm.spread(reg, self._word(value.imm))
                self._keep_row_value(value, reg)
        self._start_pointers()
        rows = asm.name("row")
        asm.label(rows)
        for name in kernel.operands:
            if name in kernel.indexed:
                self._find_row(name)
        passes = max([0, *(s.level for s in kernel.sinks), *(r.level - 1 for r in kernel.reductions)]) + 1
        self._row_code(0)
        for level in range(passes):
            self._pass(level)
            self._row_code(level + 1)
        self._next_row(rows)

    def _integer(self) -> Mem:
        """A slot for a whole number."""
        return self.frame.slot()

    def _tail_mask(self) -> None:
        """Where the last, partial vector of a row ends: k1, or a vector of masks in the frame."""
        asm = self.asm
        asm.and_imm(RAX, asm.vector_bytes - 1)
        asm.shift_right(RAX, 3 if asm.double else 2)
        asm.mov(RCX, RAX)
        mask_of_count(asm, 1 if asm.wide else 0)
        if not asm.wide:
            asm.save(self.tail, 0)

    def _start_pointers(self) -> None:
        """Each operand's address at the first row."""
        asm = self.asm
        asm.mov(RAX, RSI)
        asm.divide(Mem(RDI, 8))
        asm.store(self.inner, RDX)
        asm.mov(RCX, RAX)  # outer steps; rdx: rows within the step
        free = list(_POINTERS)
        for name in self.kernel.operands:
            reg = free.pop(0) if free else RAX
            if name in self.kernel.indexed:
                self.pointers[name] = self._integer() if reg == RAX else reg
                continue
            asm.mov(reg, self._word(name, 1))
            asm.imul(reg, RDX)
            asm.add(reg, self._word(name))
            asm.push(RSI)
            asm.mov(RSI, RCX)
            asm.imul(RSI, self._word(name, 2))
            asm.add(reg, RSI)
            asm.pop(RSI)
            if reg == RAX:
                slot = self._integer()
                asm.store(slot, RAX)
                self.pointers[name] = slot
            else:
                self.pointers[name] = reg

    def _find_row(self, name: str) -> None:
        """An indexed operand's address at this row."""
        asm, place = self.asm, self.pointers[name]
        asm.mov(RAX, self._word(name, 2))
        asm.mov(RAX, Mem(RAX, 0, RSI, 8))
        asm.imul(RAX, self._word(name, 1))
        asm.add(RAX, self._word(name))
        if isinstance(place, int):
            asm.mov(place, RAX)
        else:
            asm.store(place, RAX)

    def _next_row(self, rows: str) -> None:
        """Steps every address; at the end of an outer step, by the outer step as well, back to its first row."""
        asm = self.asm
        end = asm.name("end")
        asm.add_imm(RSI, 1)
        asm.cmp(RSI, self.stop)
        asm.jump(end, NOT_LESS)
        stepped = [(name, place) for name, place in self.pointers.items() if name not in self.kernel.indexed]
        for name, place in stepped:
            self._step(place, self._word(name, 1))
        asm.mov(RAX, self.inner)
        asm.add_imm(RAX, 1)
        asm.store(self.inner, RAX)
        asm.cmp(RAX, Mem(RDI, 8))
        asm.jump(rows, NOT_EQUAL)
        asm.mov_imm(RAX, 0)
        asm.store(self.inner, RAX)
        for name, place in stepped:
            self._step(place, self._word(name, 2))
            asm.mov(RAX, self._word(name, 1))
            asm.imul(RAX, Mem(RDI, 8))
            if isinstance(place, int):
                asm.sub(place, RAX)
            else:
                asm.mov(RCX, place)
                asm.sub(RCX, RAX)
                asm.store(place, RCX)
        asm.jump(rows)
        asm.label(end)

    def _step(self, place: int | Mem, by: Mem) -> None:
        if isinstance(place, int):
            self.asm.add(place, by)
        else:
            self.asm.mov(RAX, place)
            self.asm.add(RAX, by)
            self.asm.store(place, RAX)

    def _pointer(self, name: str, scratch: int = RAX) -> int:
        place = self.pointers[name]
        if isinstance(place, int):
            return place
        self.asm.mov(scratch, place)
        return scratch

    # --- numbers of a row -------------------------------------------------------------------------------------

    def _keep_row_value(self, value: Value, reg: int) -> None:
        slot = self.row_values.get(value)
        if slot is None:
            slot = self.row_values[value] = self.frame.slot()
        self.asm.save(slot, reg)

    def _row_code(self, level: int) -> None:
        """Computes the row's own values that are known after `level` passes, and writes those asked for."""
        wanted = [
            v for v in self.kernel.order
            if v in self.uniform and v.level == level and v.op not in ("const", "number", "reduce")
        ]  # fmt: skip
        if not wanted:
            return
        asm = self.asm
        keep = [v for v in wanted if v.op not in ("store_row", "row", *MASKS) and self._used_later(v)]
        order = self._with_masks(wanted)
        emitter = self._emitter(order)
        for value in keep:
            emitter.uses.setdefault(value, []).insert(0, 1 << 40)
        for at, value in enumerate(order):
            if value.op == "row":
                reg = emitter._take()
                asm.spread(reg, Mem(self._pointer(value.imm)))
                self._keep_row_value(value, reg)
                emitter.free.append(reg)
            elif value.op == "store_row":
                emitter.time = at
                emitter.locked = set()
                reg = emitter.register(value.args[0])
                asm.save_lowest(Mem(self._pointer(value.imm)), reg)
                emitter._done(value.args[0])
            else:
                emitter.run(at)
                if value in keep:
                    self._keep_row_value(value, emitter.register(value))
                    emitter.uses[value].remove(1 << 40)
                    emitter._done(value)

    def _used_later(self, value: Value) -> bool:
        """Whether something beyond the row's own values of this level takes it; masks are made anew, so they do."""
        return any(
            value in v.args and (v not in self.uniform or v.level != value.level or v.op in MASKS)
            for v in self.kernel.order
        )

    def _with_masks(self, wanted: list[Value]) -> list[Value]:
        """The row's values, and before them the masks of earlier levels that they take: masks can't be kept."""
        needed, stack = set(wanted), list(wanted)
        while stack:
            for arg in stack.pop().args:
                if arg.op in MASKS and arg not in needed:
                    needed.add(arg)
                    stack.append(arg)
        return [v for v in self.kernel.order if v in needed]

    def _emitter(self, order: list[Value], taken: int = 0, tail: bool = False, shift: int = 0) -> Emitter:
        registers = list(range((32 if self.asm.wide else 16) - 1, taken - 1, -1))
        step = shift * self.asm.vector_bytes

        def load(value: Value, reg: int) -> None:
            if value.op == "second":
                name, at = value.imm
                seconds.load(self.asm, self.masks, emitter, Mem(self._pointer(name), step), reg, at, tail)
                return
            self._load(reg, Mem(self._pointer(value.imm), step, RCX), tail)

        def sink(value: Value, reg: int) -> None:
            if value.op == "store":
                self._store(Mem(self._pointer(value.imm), step, RCX), reg, tail, emitter)
            else:
                self._accumulate(value, reg, tail, emitter, shift)

        emitter = Emitter(self.asm, self.frame, order, registers, self.row_values.get, load, sink)
        if self.masks is not None:
            emitter.free_masks = [k for k in emitter.free_masks if k not in seconds.MASKS]
        return emitter

    # --- one pass ---------------------------------------------------------------------------------------------

    def _needed(self, level: int) -> list[Value]:
        """What this pass computes, in order: all that its stores and reductions depend on, element by element."""
        kernel = self.kernel
        ends = [s for s in kernel.sinks if s.level == level and s.op == "store"]
        ends += [r for r in kernel.reductions if r.level == level + 1]
        needed: set[Value] = set()
        stack = list(ends)
        while stack:
            value = stack.pop()
            if value in needed or (value in self.uniform and value.op != "reduce" and value.op not in MASKS):
                continue
            if value.op == "reduce" and value not in ends:
                continue
            needed.add(value)
            if value.op == "kept" and value.args[0].level < level:
                continue
            stack.extend(value.args)
        return [v for v in kernel.order if v in needed]

    def _resolve(self, order: list[Value], level: int) -> list[Value]:
        """Puts in place of each kept value what stands for it in this pass: a load, or the value itself."""
        replace: dict[Value, Value] = {}
        result: list[Value] = []
        for value in order:
            if value.op == "kept":
                if value.args[0].level < level:
                    replace[value] = self._plain("load", (), value.imm)
                    result.append(replace[value])
                else:
                    replace[value] = replace.get(value.args[0], value.args[0])
                continue
            args = tuple(replace.get(a, a) for a in value.args)
            if args != value.args:
                replace[value] = self._plain(value.op, args, value.imm, value)
                result.append(replace[value])
            else:
                result.append(value)
        return result

    def _plain(self, op: str, args: tuple[Value, ...], imm: Any, origin: Value | None = None) -> Value:
        made = Value(self.kernel, op, args, imm, 0, -1)
        if origin is not None and op == "reduce":
            self.origin[made] = origin
        return made

    def _pass(self, level: int) -> None:
        self.origin: dict[Value, Value] = {}
        order = self._resolve(self._needed(level), level)
        if not order:
            return
        asm = self.asm
        reductions = [v for v in order if v.op == "reduce"]
        work = len(order)
        unroll = self.kernel.unroll or (4 if reductions and work <= 8 else 2 if reductions and work <= 24 else 1)
        self.accumulators = {}
        taken = 0
        for value in reductions:
            for copy in range(unroll):
                self.accumulators[value, copy] = taken
                asm.load(taken, self._identity(value.imm))
                taken += 1
        asm.mov_imm(RCX, 0)
        step = asm.vector_bytes
        if unroll > 1:
            self._loop(order, taken, unroll)
        self._loop(order, taken, 1)
        end = asm.name("end")
        asm.cmp(RCX, self.length)
        asm.jump(end, EQUAL)
        emitter = self._emitter(order, taken, tail=True)
        for at in range(len(order)):
            emitter.run(at)
        asm.label(end)
        del step
        for value in reductions:
            self._fold(value, unroll, taken)

    def _loop(self, order: list[Value], taken: int, unroll: int) -> None:
        """Whole vectors, `unroll` at a time while so many are left."""
        asm = self.asm
        top, out = asm.name("top"), asm.name("out")
        step = unroll * asm.vector_bytes
        asm.label(top)
        asm.lea(RAX, Mem(RCX, step))
        asm.cmp(RAX, self.length)
        asm.jump(out, GREATER)
        for copy in range(unroll):
            emitter = self._emitter(order, taken, shift=copy)
            for at in range(len(order)):
                emitter.run(at)
        asm.add_imm(RCX, step)
        asm.jump(top)
        asm.label(out)

    def _identity(self, how: str) -> Pool:
        key = self.kernel.const(_IDENTITY[how]).imm
        return Pool(key * (self.asm.vector_bytes // len(key)))

    def _load(self, reg: int, source: Mem, tail: bool) -> None:
        asm = self.asm
        if not tail:
            asm.load(reg, source)
        elif asm.wide:
            asm.load(reg, source, mask=1)
        else:
            asm.load(reg, self.tail)
            asm.vex("66", "38", 0x2D if asm.double else 0x2C, reg, reg, source)

    def _store(self, to: Mem, reg: int, tail: bool, emitter: Emitter) -> None:
        asm = self.asm
        if not tail:
            asm.save(to, reg)
        elif asm.wide:
            asm.save(to, reg, mask=1)
        else:
            mask = emitter._take()
            asm.load(mask, self.tail)
            asm.vex("66", "38", 0x2F if asm.double else 0x2E, reg, mask, to)
            emitter.free.append(mask)

    def _accumulate(self, value: Value, reg: int, tail: bool, emitter: Emitter, copy: int) -> None:
        asm = self.asm
        to = self.accumulators[value, 0 if tail else copy]
        if not tail:
            combine(asm, value.imm, to, to, reg)
        elif asm.wide:
            combine(asm, value.imm, to, to, reg, mask=1)
        else:  # lanes beyond the end take the identity
            scratch = emitter._take()
            asm.load(scratch, self._identity(value.imm))
            mask = emitter._take()
            asm.load(mask, self.tail)
            asm.vex("66", "3a", 0x4B if asm.double else 0x4A, scratch, scratch, reg, bytes([mask << 4]))
            combine(asm, value.imm, to, to, scratch)
            emitter.free += [scratch, mask]

    def _fold(self, value: Value, unroll: int, scratch: int) -> None:
        """One number of all accumulators and all lanes, spread over a vector, kept in the frame."""
        asm, how = self.asm, value.imm
        to = self.accumulators[value, 0]
        for copy in range(1, unroll):
            combine(asm, how, to, to, self.accumulators[value, copy])
        opcode = {"add": 0x58, "max": 0x5F, "min": 0x5D}[how]
        prefix = "66" if asm.double else None
        if asm.wide:
            asm.evex("66", "3a", 0x1B, to, 0, scratch, b"\1", w=1)  # upper half
            asm.vex(prefix, "0f", opcode, to, to, scratch) if to < 16 and scratch < 16 else asm.evex(
                prefix, "0f", opcode, to, to, scratch, w=int(asm.double), bits=256
            )
        asm.vex("66", "3a", 0x19, to, 0, scratch, b"\1")
        asm.vex(prefix, "0f", opcode, to, to, scratch, bits=128)
        shuffles = (1,) if asm.double else (0x4E, 0xB1)
        for imm in shuffles:
            asm.vex("66", "3a", 0x05 if asm.double else 0x04, scratch, 0, to, bytes([imm]), bits=128)
            asm.vex(prefix, "0f", opcode, to, to, scratch, bits=128)
        asm.spread(to, to)
        self._keep_row_value(self.origin.get(value, value), to)
