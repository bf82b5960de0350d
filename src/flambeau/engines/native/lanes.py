"""Some of a vector's lanes: masks made of counts, and loads and stores under them.

A mask is a register of its own: k1 to k7 with 512-bit vectors, one of the vector registers with 256-bit ones.
"""

from __future__ import annotations

from .assembler import RAX, RCX, Assembler, Mem, Pool

__all__ = ["load_some", "mask_of_count", "save_some"]

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
