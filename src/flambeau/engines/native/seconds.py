"""Loads of every second element: two vectors and a permutation; the last, partial vector under masks of its own.

The second vector begins one element early, so that nothing beyond the last element wanted is touched.
"""

from __future__ import annotations

import struct

from .assembler import EQUAL, RAX, RCX, Assembler, Mem, Pool
from .emission import Emitter, Frame
from .lanes import load_some

__all__ = ["MASKS", "even", "load", "masks", "split_masks"]

#: Where what is left of the two vectors is told: mask registers that keep it, with 512-bit vectors.
MASKS = (2, 3)


def split_masks(asm: Assembler, low: int, high: int) -> None:
    """Masks of the two vectors of which every second element is wanted, rcx of them (1 to all but one); takes rax."""
    lanes, shift = asm.vector_bytes // asm.lane_bytes, 3 if asm.double else 2
    asm.shift_left(RCX, 1)
    asm.add_imm(RCX, -1)  # the elements between: one fewer than twice as many
    if asm.wide:
        asm.mov_imm(RAX, 1)
        asm.raw(b"\x48\xd3\xe0")  # shl rax, cl
        asm.add_imm(RAX, -1)
        asm.raw(bytes([0xC5, 0xF8, 0x92, 0xC0 | low << 3]))  # kmovw k, eax
        asm.shift_right(RAX, lanes - 1)
        asm.raw(bytes([0xC5, 0xF8, 0x92, 0xC0 | high << 3]))
        return
    asm.shift_left(RCX, shift)
    asm.lea_pool(RAX, Pool(b"\xff" * 64 + b"\0" * 64))
    asm.sub(RAX, RCX)
    asm.load(low, Mem(RAX, 64))
    asm.load(high, Mem(RAX, 96 - asm.lane_bytes))


def masks(asm: Assembler, frame: Frame, length: Mem) -> tuple[Mem, Mem]:
    """Makes the masks of the two vectors behind the last result of a row of `length` bytes; takes rax and rcx."""
    slots = frame.slot(), frame.slot()
    none = asm.name("none")
    asm.mov(RCX, length)
    asm.and_imm(RCX, asm.vector_bytes - 1)
    asm.jump(none, EQUAL)
    asm.shift_right(RCX, 3 if asm.double else 2)
    split_masks(asm, *MASKS)
    if not asm.wide:
        for slot, reg in zip(slots, MASKS, strict=True):
            asm.save(slot, reg)
    asm.label(none)
    return slots


def load(
    asm: Assembler, slots: tuple[Mem, Mem] | None, emitter: Emitter, base: Mem, reg: int, at: int, tail: bool
) -> None:
    """`reg` = every second element from twice rcx (and twice the displacement) on, and `at` elements further."""
    assert slots is not None
    other = emitter._take()
    for i, to in enumerate((reg, other)):
        apart = asm.vector_bytes - asm.lane_bytes
        source = Mem(base.base, 2 * base.disp + at * asm.lane_bytes + i * apart, RCX, 2)
        if not tail:
            asm.load(to, source)
        elif asm.wide:
            load_some(asm, to, source, MASKS[i])
        else:
            asm.load(to, slots[i])
            load_some(asm, to, source, to)
    spare = emitter._take()
    even(asm, reg, other, spare)
    emitter.free += [other, spare]


def even(asm: Assembler, a: int, b: int, spare: int) -> None:
    """a = the even lanes of a, then the odd ones of b."""
    if not asm.wide:
        if asm.double:
            asm.vex("66", "0f", 0xC6, a, a, b, b"\x0a")
        else:
            asm.vex(None, "0f", 0xC6, a, a, b, b"\xd8")
        asm.vex("66", "3a", 0x01, a, 0, a, b"\xd8", w=1)  # vpermpd
        return
    lanes, letter = asm.vector_bytes // asm.lane_bytes, "q" if asm.double else "i"
    order = struct.pack(f"<{lanes}{letter}", *range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2))
    asm.load(spare, Pool(order))
    asm.vector("66", "38", 0x7F, a, spare, b, w=int(asm.double))  # vpermt2
