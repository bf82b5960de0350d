"""Machine code for x86-64: the few dozen instructions that kernels need, encoded as the processor manuals tell.

`Assembler` writes bytes: moves and arithmetic of general registers, jumps to labels, and vector instructions in the VEX
form (256 bits, AVX2 with FMA) or the EVEX form (512 bits, AVX-512). Constants go to a pool behind the code and are
read relative to the instruction pointer.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 = range(16)

#: Condition codes of jumps.
BELOW, NOT_BELOW, EQUAL, NOT_EQUAL, LESS, NOT_LESS, NOT_GREATER, GREATER = 2, 3, 4, 5, 12, 13, 14, 15


class Mem(NamedTuple):
    """An operand in memory, at `base + index * scale + disp`; `spread`: one number for all lanes (EVEX only)."""

    base: int
    disp: int = 0
    index: int | None = None  # type: ignore[assignment]
    scale: int = 1
    spread: bool = False


class Pool(NamedTuple):
    """An operand in the constant pool."""

    key: bytes
    spread: bool = False


Operand = int | Mem | Pool

_MAPS = {"0f": 1, "38": 2, "3a": 3}
_PREFIXES = {None: 0, "66": 1, "f3": 2, "f2": 3}


class Assembler:
    """Writes one function. `wide` chooses 512-bit vectors, `double` 64-bit lanes."""

    def __init__(self, wide: bool, double: bool = False) -> None:
        self.wide = wide
        self.double = double
        self.vector_bytes = 64 if wide else 32
        self.lane_bytes = 8 if double else 4
        self.code = bytearray()
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []
        self._pool: dict[bytes, int] = {}
        self._reads: list[tuple[int, int, bytes]] = []
        self._names = 0

    # --- labels and constants ---------------------------------------------------------------------------------

    def name(self, stem: str = "l") -> str:
        """A label nobody else has."""
        self._names += 1
        return f"{stem}{self._names}"

    def label(self, name: str) -> None:
        self._labels[name] = len(self.code)

    def finish(self) -> bytes:
        """The function's bytes, constants behind them."""
        code = self.code
        at: dict[bytes, int] = {}
        for key in sorted(self._pool, key=len, reverse=True):
            while len(code) % min(len(key), 64):
                code.append(0xCC)
            at[key] = len(code)
            code += key
        for place, after, key in self._reads:
            struct.pack_into("<i", code, place, at[key] - after)
        for place, name in self._jumps:
            struct.pack_into("<i", code, place, self._labels[name] - (place + 4))
        return bytes(code)

    # --- general registers ------------------------------------------------------------------------------------

    def _rex_op(self, opcode: bytes, reg: int, rm: Operand, imm: bytes = b"", quad: bool = True) -> None:
        base, index = (rm, 0) if isinstance(rm, int) else (rm.base, rm.index or 0) if isinstance(rm, Mem) else (0, 0)
        rex = 0x40 | (quad << 3) | ((reg >> 3) << 2) | ((index >> 3) << 1) | (base >> 3)
        self.code.append(rex)
        self.code += opcode
        self._modrm(reg, rm, len(imm))
        self.code += imm

    def _modrm(self, reg: int, rm: Operand, trailing: int) -> None:
        code, low = self.code, (reg & 7) << 3
        if isinstance(rm, int):
            code.append(0xC0 | low | (rm & 7))
        elif isinstance(rm, Pool):
            code.append(low | 5)
            self._pool.setdefault(rm.key, 0)
            self._reads.append((len(code), len(code) + 4 + trailing, rm.key))
            code += b"\0\0\0\0"
        else:
            if rm.index is not None or (rm.base & 7) == 4:
                index = 4 if rm.index is None else rm.index & 7
                code.append(0x80 | low | 4)
                code.append(({1: 0, 2: 1, 4: 2, 8: 3}[rm.scale] << 6) | (index << 3) | (rm.base & 7))
            else:
                code.append(0x80 | low | (rm.base & 7))
            code += struct.pack("<i", rm.disp)

    def mov(self, to: int, source: Operand) -> None:
        self._rex_op(b"\x8b", to, source)

    def store(self, to: Mem, source: int) -> None:
        self._rex_op(b"\x89", source, to)

    def mov_imm(self, to: int, value: int) -> None:
        self.code += bytes([0x48 | (to >> 3), 0xB8 | (to & 7)]) + struct.pack("<q", value)

    def lea(self, to: int, source: Mem) -> None:
        self._rex_op(b"\x8d", to, source)

    def lea_pool(self, to: int, source: Pool) -> None:
        """The address of a constant."""
        self._rex_op(b"\x8d", to, source)

    def mov_lane(self, to: int, source: Mem, double: bool) -> None:
        """One number as it lies in memory, of 32 bits or 64."""
        self._rex_op(b"\x8b", to, source, quad=double)

    def store_lane(self, to: Mem, source: int, double: bool) -> None:
        self._rex_op(b"\x89", source, to, quad=double)

    def add(self, to: int, source: Operand) -> None:
        self._rex_op(b"\x03", to, source)

    def sub(self, to: int, source: Operand) -> None:
        self._rex_op(b"\x2b", to, source)

    def imul(self, to: int, source: Operand) -> None:
        self._rex_op(b"\x0f\xaf", to, source)

    def cmp(self, left: int, right: Operand) -> None:
        self._rex_op(b"\x3b", left, right)

    def add_imm(self, to: Operand, value: int) -> None:
        self._rex_op(b"\x81", 0, to, struct.pack("<i", value))

    def and_imm(self, to: int, value: int) -> None:
        self._rex_op(b"\x81", 4, to, struct.pack("<i", value))

    def cmp_imm(self, left: Operand, value: int) -> None:
        self._rex_op(b"\x81", 7, left, struct.pack("<i", value))

    def shift_left(self, to: int, bits: int) -> None:
        self._rex_op(b"\xc1", 4, to, bytes([bits]))

    def shift_right(self, to: int, bits: int) -> None:
        self._rex_op(b"\xc1", 5, to, bytes([bits]))

    def divide(self, by: Operand) -> None:
        """rax, rdx = quotient, remainder of rax (not negative) by the operand."""
        self._rex_op(b"\x33", RDX, RDX)
        self._rex_op(b"\xf7", 6, by)

    def push(self, reg: int) -> None:
        self.code += bytes([0x41, 0x50 | (reg & 7)]) if reg > 7 else bytes([0x50 | reg])

    def pop(self, reg: int) -> None:
        self.code += bytes([0x41, 0x58 | (reg & 7)]) if reg > 7 else bytes([0x58 | reg])

    def jump(self, name: str, condition: int | None = None) -> None:
        self.code += b"\xe9" if condition is None else bytes([0x0F, 0x80 | condition])
        self._jumps.append((len(self.code), name))
        self.code += b"\0\0\0\0"

    def call(self, target: int) -> None:
        """Calls the address in a register."""
        self._rex_op(b"\xff", 2, target, quad=False)

    def call_memory(self, target: Mem) -> None:
        """Calls the address that lies in memory."""
        self._rex_op(b"\xff", 2, target, quad=False)

    def enter(self, frame: int, *saved: int) -> None:
        """The start of a function that keeps the registers `saved` and has `frame` bytes of aligned stack at RSP."""
        self.push(RBP)
        self.mov(RBP, RSP)
        for reg in saved:
            self.push(reg)
        self.and_imm(RSP, -64)
        self.add_imm(RSP, -frame)

    def leave(self, *saved: int) -> None:
        """Undoes `enter`; what follows is a return."""
        self.lea(RSP, Mem(RBP, -8 * len(saved)))
        for reg in reversed(saved):
            self.pop(reg)
        self.pop(RBP)

    def ret(self) -> None:
        self.code += b"\xc5\xf8\x77\xc3"  # vzeroupper, ret

    def raw(self, code: bytes) -> None:
        self.code += code

    # --- vectors ----------------------------------------------------------------------------------------------

    def vex(
        self, prefix: str | None, table: str, opcode: int, reg: int, left: int, rm: Operand,
        imm: bytes = b"", w: int = 0, bits: int = 256,
    ) -> None:  # fmt: skip
        """An instruction in the VEX form."""
        base, index = (rm, 0) if isinstance(rm, int) else (rm.base, rm.index or 0) if isinstance(rm, Mem) else (0, 0)
        code = self.code
        code.append(0xC4)
        code.append(((~reg >> 3) & 1) << 7 | ((~index >> 3) & 1) << 6 | ((~base >> 3) & 1) << 5 | _MAPS[table])
        code.append(w << 7 | (~left & 15) << 3 | (bits == 256) << 2 | _PREFIXES[prefix])
        code.append(opcode)
        self._modrm(reg, rm, len(imm))
        code += imm

    def evex(
        self, prefix: str | None, table: str, opcode: int, reg: int, left: int, rm: Operand,
        imm: bytes = b"", w: int = 0, bits: int = 512, mask: int = 0, zero: bool = False,
    ) -> None:  # fmt: skip
        """An instruction in the EVEX form, lanes outside `mask` kept or made zero."""
        spread = 0
        if isinstance(rm, int):
            low, x = (~rm >> 3) & 1, (~rm >> 4) & 1
        elif isinstance(rm, Mem):
            low, x, spread = (~rm.base >> 3) & 1, (~(rm.index or 0) >> 3) & 1, rm.spread
        else:
            low, x, spread = 1, 1, rm.spread
        code = self.code
        code.append(0x62)
        code.append(((~reg >> 3) & 1) << 7 | x << 6 | low << 5 | ((~reg >> 4) & 1) << 4 | _MAPS[table])
        code.append(w << 7 | (~left & 15) << 3 | 4 | _PREFIXES[prefix])
        code.append(zero << 7 | {128: 0, 256: 1, 512: 2}[bits] << 5 | spread << 4 | ((~left >> 4) & 1) << 3 | mask)
        code.append(opcode)
        self._modrm(reg, rm, len(imm))
        code += imm

    def vector(
        self, prefix: str | None, table: str, opcode: int, reg: int, left: int, rm: Operand,
        imm: bytes = b"", w: int = 0, mask: int = 0, zero: bool = False,
    ) -> None:  # fmt: skip
        """An instruction that exists in both forms, in the one of this function."""
        if self.wide:
            self.evex(prefix, table, opcode, reg, left, rm, imm, w, mask=mask, zero=zero)
        else:
            self.vex(prefix, table, opcode, reg, left, rm, imm, w)

    def real(self, opcode: int, reg: int, left: int, rm: Operand, mask: int = 0) -> None:
        """One of the instructions `v...ps` and `v...pd`, whose forms differ in the prefix alone."""
        w = 1 if self.double and self.wide else 0
        self.vector("66" if self.double else None, "0f", opcode, reg, left, rm, w=w, mask=mask)

    def fused(self, opcode: int, reg: int, left: int, rm: Operand, mask: int = 0) -> None:
        """A fused multiply-add, or another instruction of the second table that tells lanes by W."""
        self.vector("66", "38", opcode, reg, left, rm, w=int(self.double), mask=mask)

    def load(self, reg: int, source: Operand, mask: int = 0) -> None:
        w = 1 if self.double and self.wide else 0
        self.vector("66" if self.double else None, "0f", 0x10, reg, 0, source, w=w, mask=mask, zero=mask != 0)

    def save(self, to: Mem, reg: int, mask: int = 0) -> None:
        w = 1 if self.double and self.wide else 0
        self.vector("66" if self.double else None, "0f", 0x11, reg, 0, to, w=w, mask=mask)

    def copy(self, to: int, source: int) -> None:
        if to != source:
            self.load(to, source)

    def spread(self, reg: int, source: Operand) -> None:
        """The lowest number of `source` in every lane."""
        w = 1 if self.double and self.wide else 0
        self.vector("66", "38", 0x19 if self.double else 0x18, reg, 0, source, w=w)

    def save_lowest(self, to: Mem, reg: int) -> None:
        """The lowest lane, as one number."""
        prefix = "f2" if self.double else "f3"
        if self.wide:
            self.evex(prefix, "0f", 0x11, reg, 0, to, w=int(self.double), bits=128)
        else:
            self.vex(prefix, "0f", 0x11, reg, 0, to, bits=128)
