"""Many native calls as one job: a list of records, each a function, its table, and the rows to do."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from . import threads
from .assembler import NOT_LESS, RBP, RBX, RDI, RDX, RSI, RSP, R12, R13, Assembler, Mem
from .calls import function_of

__all__ = ["Record", "run_records"]

#: A record: the function's address, the table, the first row and the one after the last.
Record = tuple[int, bytes, int, int]

_made: list = []


def _driver_code() -> bytes:
    """void f(records, start, stop): calls each record's function."""
    asm = Assembler(False)
    for reg in (RBP, RBX, R12, R13):
        asm.push(reg)
    asm.add_imm(RSP, -8)
    asm.mov(RBX, RDI)
    asm.mov(R12, RSI)
    asm.mov(R13, RDX)
    asm.shift_left(R12, 5)
    asm.add(RBX, R12)
    asm.mov(R12, RSI)
    top, end = asm.name("top"), asm.name("end")
    asm.label(top)
    asm.cmp(R12, R13)
    asm.jump(end, NOT_LESS)
    asm.mov(RDI, Mem(RBX, 8))
    asm.mov(RSI, Mem(RBX, 16))
    asm.mov(RDX, Mem(RBX, 24))
    asm.call_memory(Mem(RBX, 0))
    asm.add_imm(RBX, 32)
    asm.add_imm(R12, 1)
    asm.jump(top)
    asm.label(end)
    asm.add_imm(RSP, 8)
    for reg in (R13, R12, RBX, RBP):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


def run_records(records: Sequence[Record], shared: bool) -> None:
    """Runs all records, which must not depend on each other; over all threads if `shared`."""
    if not _made:
        _made.extend(function_of(_driver_code()))
    place, call = _made
    tables = b"".join(r[1] for r in records)  # kept until the call is over
    at = threads.address_of(tables)
    words: list[int] = []
    for function, table, start, stop in records:
        words += (function, at, start, stop)
        at += len(table)
    packed = struct.pack(f"<{len(words)}q", *words)
    if shared:
        threads.run(place, call, packed, len(records), 1)
    else:
        call(packed, 0, len(records))
