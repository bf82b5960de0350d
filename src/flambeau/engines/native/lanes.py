"""Some of a vector's lanes: masks made of counts, and loads and stores under them; and squares of lanes transposed.

A mask is a register of its own: k1 to k7 with 512-bit vectors, one of the vector registers with 256-bit ones.
"""

from __future__ import annotations

from collections.abc import Callable

from .assembler import RAX, RCX, Assembler, Mem, Pool

__all__ = ["load_some", "mask_of_count", "save_some", "transpose_tile"]

_WINDOW = b"\xff" * 32 + b"\0" * 32


def mask_of_count(asm: Assembler, to: int) -> None:
    """Mask `to` has the lowest lanes set, as many as rcx says (0 to all); takes rax and rcx."""
    if asm.wide:
        asm.mov_imm(RAX, 1)
        asm.raw(b"\x48\xd3\xe0")  # shl rax, cl
        asm.add_imm(RAX, -1)
        asm.raw(bytes([0xC5, 0xF8, 0x92, 0xC0 | to << 3]))  # kmovw k, eax
        return
    asm.shift_left(RCX, 3 if asm.double else 2)
    asm.lea_pool(RAX, Pool(_WINDOW))
    asm.sub(RAX, RCX)
    asm.load(to, Mem(RAX, 32))


def load_some(asm: Assembler, reg: int, source: Mem, mask: int) -> None:
    """Loads the lanes of the mask, zero elsewhere; memory outside is not touched."""
    if asm.wide:
        asm.load(reg, source, mask=mask)
    else:
        asm.vex("66", "38", 0x2D if asm.double else 0x2C, reg, mask, source)


def save_some(asm: Assembler, to: Mem, reg: int, mask: int) -> None:
    """Stores the lanes of the mask."""
    if asm.wide:
        asm.save(to, reg, mask=mask)
    else:
        asm.vex("66", "38", 0x2F if asm.double else 0x2E, reg, mask, to)


def transpose_tile(asm: Assembler, at: Callable[[int, int], Mem], put: Callable[[int, int], None]) -> None:
    """Transposes a square of 32 bytes: `at(i, disp)` is where run i lies, `put(j, register)` writes the result's run j.

    Takes registers 0 to 8; runs are written in order.
    """
    for half in (0, 1):
        pairs = 2 if asm.double else 4
        for i in range(pairs):
            asm.vex(None, "0f", 0x10, i, 0, at(i, 16 * half), bits=128)
            asm.vex("66", "3a", 0x18, i, i, at(i + pairs, 16 * half), b"\1")
        if asm.double:
            for j, opcode in enumerate((0x14, 0x15)):
                asm.vex("66", "0f", opcode, 8, 0, 1)
                put(2 * half + j, 8)
            continue
        asm.vex(None, "0f", 0x14, 4, 0, 1)
        asm.vex(None, "0f", 0x15, 5, 0, 1)
        asm.vex(None, "0f", 0x14, 6, 2, 3)
        asm.vex(None, "0f", 0x15, 7, 2, 3)
        for j, (low, high, imm) in enumerate(((4, 6, 0x44), (4, 6, 0xEE), (5, 7, 0x44), (5, 7, 0xEE))):
            asm.vex(None, "0f", 0xC6, 8, low, high, bytes([imm]))
            put(4 * half + j, 8)
