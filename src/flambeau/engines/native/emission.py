"""Values become instructions: which register holds what, and what goes to memory when registers run out.

Within one pass over a row's elements the code is a straight line, so the value whose next use is farthest away is the
one to give up its register (Belady). Values that come from outside (results of reductions, numbers from the caller)
lie in the frame and are operands in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from .assembler import RSP, Assembler, Mem, Operand, Pool
from .values import Value

__all__ = ["MASKS", "Emitter", "Frame", "combine"]

_BINARY = {"add": 0x58, "mul": 0x59, "sub": 0x5C, "min": 0x5D, "div": 0x5E, "max": 0x5F,
           "and": 0x54, "andn": 0x55, "or": 0x56, "xor": 0x57}  # fmt: skip
_SWAPS = {"add", "mul", "and", "or", "xor"}
#: fma by which operand is overwritten: the product's first (213), or the sum (231)
_FUSED = {"fma": (0xA8, 0xB8), "fnma": (0xAC, 0xBC)}
#: What makes a mask of lanes rather than numbers.
MASKS = frozenset({"cmp", "mand", "mor", "mnot"})
_MASK_LOGIC = {"mand": 0x41, "mor": 0x45}


def combine(asm: Assembler, op: str, to: int, left: int, right: Operand, mask: int = 0) -> None:
    """`to = left op right` for one of the two-operand instructions."""
    asm.real(_BINARY[op], to, left, right, mask)


class Emitter:
    """Writes one straight line of code for some values."""

    def __init__(
        self, asm: Assembler, frame: Frame, order: list[Value], registers: list[int],
        where: Callable[[Value], Mem | None], load: Callable[[Value, int], None], sink: Callable[[Value, int], None],
    ) -> None:  # fmt: skip
        self.asm = asm
        self.frame = frame
        self.where = where
        self.load = load
        self.sink = sink
        self.free = list(registers)
        self.free_masks = [7, 6, 5, 4, 3, 2]
        self.home: dict[Value, int] = {}
        self.masks: dict[Value, int] = {}
        self.spilled: dict[Value, Mem] = {}
        self.uses: dict[Value, list[int]] = {}
        self.locked: set[Value] = set()
        self.order = order
        self.time = 0
        for at, value in enumerate(order):
            for arg in value.args:
                self.uses.setdefault(arg, []).append(at)
        for times in self.uses.values():
            times.reverse()

    # --- where values are -------------------------------------------------------------------------------------

    def _take(self) -> int:
        """A free register, emptied if need be."""
        if not self.free:
            victim = max((v for v in self.home if v not in self.locked), key=self._next_use)
            if victim.op != "const" and victim not in self.spilled and self.where(victim) is None:
                slot = self.spilled[victim] = self.frame.slot()
                self.asm.save(slot, self.home[victim])
            self.free.append(self.home.pop(victim))
        return self.free.pop()

    def _next_use(self, value: Value) -> int:
        times = self.uses.get(value)
        return times[-1] if times else 1 << 60

    def constant(self, value: Value) -> Pool:
        if self.asm.wide:
            return Pool(value.imm, True)
        return Pool(value.imm * (32 // len(value.imm)))

    def operand(self, value: Value) -> Operand:
        """The value wherever it is: in a register, the pool or the frame."""
        if value in self.home:
            return self.home[value]
        if value.op == "const":
            return self.constant(value)
        if value in self.spilled:
            return self.spilled[value]
        outside = self.where(value)
        if outside is None:
            raise AssertionError(f"{value.op} is needed before it is made")
        return outside

    def register(self, value: Value) -> int:
        """The value in a register."""
        if value in self.home:
            return self.home[value]
        source = self.operand(value)
        reg = self._take()
        if isinstance(source, Pool) and source.spread:
            self.asm.spread(reg, Pool(source.key))
        else:
            self.asm.load(reg, source)
        self.home[value] = reg
        self.locked.add(value)
        return reg

    def _done(self, value: Value) -> None:
        """One use of the value is over."""
        times = self.uses.get(value)
        if times and times[-1] <= self.time:
            while times and times[-1] <= self.time:
                times.pop()
        if not times:
            if value in self.home:
                self.free.append(self.home.pop(value))
            if value in self.masks:
                if self.asm.wide:
                    self.free_masks.append(self.masks.pop(value))
            slot = self.spilled.pop(value, None)
            if slot is not None:
                self.frame.give(slot)

    def _dies(self, value: Value) -> bool:
        times = self.uses.get(value)
        return bool(times) and times[0] == self.time and value in self.home  # type: ignore[index]

    # --- code -------------------------------------------------------------------------------------------------

    def run(self, at: int) -> None:
        """Writes the code for the value at this place of the order."""
        self.time = at
        value = self.order[at]
        op, args = value.op, value.args
        self.locked = {a for a in args if a in self.home}
        if op == "const":
            return
        if op in ("load", "second"):
            reg = self._take()
            self.load(value, reg)
            self.home[value] = reg
        elif op in ("store", "reduce"):
            self.sink(value, self.register(args[0]))
        elif op in MASKS and self.asm.wide:
            self._mask(value)
        elif op == "select" and self.asm.wide:
            self._select(value)
        else:
            self._plain(value)
        self.locked = set()
        for arg in dict.fromkeys(args):
            self._done(arg)
        if not self.uses.get(value):
            self._done(value)

    def _target(self, *candidates: Value) -> int:
        """The register of the result: that of an operand whose last use this is, or another."""
        for value in candidates:
            if self._dies(value):
                self.locked.discard(value)
                return self.home.pop(value)
        return self._take()

    def _plain(self, value: Value) -> None:
        asm, op, args = self.asm, value.op, value.args
        if op in _FUSED:
            self._fused(value)
            return
        if op in _BINARY:
            a, b = args
            if op in _SWAPS and not isinstance(self.operand(a), int) and isinstance(self.operand(b), int):
                a, b = b, a
            left = self.register(a)
            right = self.operand(b)
            to = self._target(a, b)
            combine(asm, op, to, left, right)
        elif op == "sqrt":
            right = self.operand(args[0])
            to = self._target(args[0])
            asm.real(0x51, to, 0, right)
        elif op == "round":
            right = self.operand(args[0])
            to = self._target(args[0])
            w = int(asm.double and asm.wide)
            asm.vector("66", "3a", 0x09 if asm.double else 0x08, to, 0, right, bytes([value.imm]), w=w)
        elif op in ("shl", "shr"):
            source = self.register(args[0])
            to = self._target(args[0])
            w = int(asm.double and asm.wide)
            way = 6 if op == "shl" else 2
            asm.vector("66", "0f", 0x73 if asm.double else 0x72, way, to, source, bytes([value.imm]), w=w)
        elif op == "cmp":
            left, right = self.register(args[0]), self.operand(args[1])
            to = self._target(args[0], args[1])
            asm.vector("66" if asm.double else None, "0f", 0xC2, to, left, right, bytes([value.imm]))
        elif op == "mnot":
            left = self.register(args[0])
            to = self._target(args[0])
            combine(asm, "xor", to, left, Pool(b"\xff" * 32))
        elif op in _MASK_LOGIC:
            left, right = self.register(args[0]), self.operand(args[1])
            to = self._target(args[0], args[1])
            combine(asm, "and" if op == "mand" else "or", to, left, right)
        elif op == "select":
            mask, other = self.register(args[0]), self.register(args[2])
            chosen = self.operand(args[1])
            to = self._target(args[2])
            asm.vector("66", "3a", 0x4B if asm.double else 0x4A, to, other, chosen, bytes([mask << 4]))
        else:
            raise AssertionError(f"no instruction for {op}")
        self.home[value] = to

    def _fused(self, value: Value) -> None:
        a, b, c = value.args
        product, total = _FUSED[value.op]
        if self._dies(c) and c not in (a, b):
            left = self.register(a) if isinstance(self.operand(b), Mem | Pool) else self.register(b)
            right = self.operand(b) if isinstance(self.operand(b), Mem | Pool) else self.operand(a)
            self.locked.discard(c)
            to = self.home.pop(c)
            self.asm.fused(total, to, left, right)
        else:
            if self._dies(b) and not self._dies(a) or not isinstance(self.operand(a), int):
                a, b = b, a
            left = self.register(a)
            second = self.register(b)
            addend = self.operand(c)
            if self._dies(a) and a not in (b, c):
                to = self._target(a)
            else:
                to = self._take()
                self.asm.copy(to, left)
            self.asm.fused(product, to, second, addend)
        self.home[value] = to

    def _mask(self, value: Value) -> None:
        asm, args = self.asm, value.args
        if not self.free_masks:
            raise AssertionError("out of mask registers")
        if value.op == "cmp":
            left, right = self.register(args[0]), self.operand(args[1])
            k = self.free_masks.pop()
            asm.evex("66" if asm.double else None, "0f", 0xC2, k, left, right, bytes([value.imm]), w=int(asm.double))
        elif value.op == "mnot":
            source = self.masks[args[0]]
            k = self.free_masks.pop()
            asm.vex(None, "0f", 0x44, k, 0, source, bits=128)
        else:
            left, right = self.masks[args[0]], self.masks[args[1]]
            k = self.free_masks.pop()
            asm.vex(None, "0f", _MASK_LOGIC[value.op], k, left, right)
        self.masks[value] = k

    def _select(self, value: Value) -> None:
        mask, a, b = value.args
        k = self.masks[mask]
        other = self.register(b)
        chosen = self.operand(a)
        to = self._target(b)
        self.asm.evex("66", "38", 0x65, to, other, chosen, w=int(self.asm.double), mask=k)
        self.home[value] = to


class Frame:
    """Slots of a vector's size on the stack."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.given: list[Mem] = []

    def slot(self) -> Mem:
        if self.given:
            return self.given.pop()
        self.count += 1
        return Mem(RSP, (self.count - 1) * self.size)

    def give(self, slot: Mem) -> None:
        self.given.append(slot)
