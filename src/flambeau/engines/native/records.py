"""Many native calls as one job: lists of records, each a function, its table, and the rows to do; and loops of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

from . import hooks, threads
from .assembler import EQUAL, NOT_EQUAL, NOT_LESS, R12, R13, R14, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Assembler, Mem
from .calls import function_of

__all__ = ["Record", "Step", "run_loops", "run_records"]

#: A record: the function's address, the table, the first row and the one after the last.
Record = tuple[int, bytes, int, int]

#: A call of a loop: the record, and by how much each word of its table grows from one turn to the next.
Step = tuple[int, bytes, int, int, Sequence[int]]

_made: list = []
_made_loop: list = []


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


def driver() -> tuple[int, Callable]:
    """The function that runs a list of records: its address, and as a call."""
    if not _made:
        _made.extend(function_of(_driver_code()))
    return _made[0], _made[1]


def _packed(records: Sequence[Record]) -> tuple[bytes, bytes]:
    """The words that the driver reads, and the tables that they point to."""
    tables = b"".join(r[1] for r in records)
    at = threads.address_of(tables)
    words: list[int] = []
    for function, table, start, stop in records:
        words += (function, at, start, stop)
        at += len(table)
    return struct.pack(f"<{len(words)}q", *words), tables


def run_records(records: Sequence[Record], shared: bool) -> None:
    """Runs all records, which must not depend on each other; over all threads if `shared`."""
    if hooks.capture is not None:
        hooks.capture.native("records", list(records), shared)
    place, call = driver()
    packed, tables = _packed(records)  # the tables are kept until the call is over
    if shared:
        threads.spread(place, call, packed, len(records), 1)
    else:
        call(packed, 0, len(records))


def _loop_code() -> bytes:
    """void f(loops, start, stop): each loop is an address of: turns, calls, then per call function, table, rows, grows.

    A call has six words: function, table, first row, end row, words of the table, growth (an address).
    """
    asm = Assembler(False)
    for reg in (RBP, RBX, R12, R13, R14):
        asm.push(reg)
    asm.add_imm(RSP, -32)
    loop, turn, call, grow, grown, done, end = (asm.name() for _ in range(7))
    asm.lea(RBX, Mem(RDI, 0, RSI, 8))
    asm.lea(RBP, Mem(RDI, 0, RDX, 8))
    asm.label(loop)
    asm.cmp(RBX, RBP)
    asm.jump(end, NOT_LESS)
    asm.mov(R12, Mem(RBX))
    asm.mov(R13, Mem(R12))  # turns left
    asm.label(turn)
    asm.cmp_imm(R13, 0)
    asm.jump(done, EQUAL)
    asm.mov(RAX, Mem(R12, 8))
    asm.store(Mem(RSP), RAX)  # calls left
    asm.lea(R14, Mem(R12, 16))
    asm.label(call)
    asm.mov(RDI, Mem(R14, 8))
    asm.mov(RSI, Mem(R14, 16))
    asm.mov(RDX, Mem(R14, 24))
    asm.call_memory(Mem(R14))
    asm.mov(RCX, Mem(R14, 32))
    asm.mov(RDI, Mem(R14, 8))
    asm.mov(RSI, Mem(R14, 40))
    asm.label(grow)
    asm.cmp_imm(RCX, 0)
    asm.jump(grown, EQUAL)
    asm.add_imm(RCX, -1)
    asm.mov(RAX, Mem(RSI, 0, RCX, 8))
    asm.add(RAX, Mem(RDI, 0, RCX, 8))
    asm.store(Mem(RDI, 0, RCX, 8), RAX)
    asm.jump(grow)
    asm.label(grown)
    asm.add_imm(R14, 48)
    asm.add_imm(Mem(RSP), -1)
    asm.jump(call, NOT_EQUAL)
    asm.add_imm(R13, -1)
    asm.jump(turn)
    asm.label(done)
    asm.add_imm(RBX, 8)
    asm.jump(loop)
    asm.label(end)
    asm.add_imm(RSP, 32)
    for reg in (R14, R13, R12, RBX, RBP):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


def run_loops(turns: int, loops: Sequence[Sequence[Step]], shared: bool) -> None:
    """Runs each loop's calls `turns` times, in order; different loops at the same time, if `shared`."""
    if hooks.capture is not None:
        hooks.capture.native("loops", turns, loops, shared)
    if not _made_loop:
        _made_loop.extend(function_of(_loop_code()))
    place, call = _made_loop
    kept: list[np.ndarray] = []
    places: list[int] = []
    for steps in loops:
        words = [turns, len(steps)]
        for function, table, start, stop, growth in steps:
            own = np.array([np.frombuffer(table, np.int64), growth])
            kept.append(own)
            at = own.ctypes.data
            words += (function, at, start, stop, own.shape[1], at + own.strides[0])
        kept.append(np.array(words, np.int64))
        places.append(kept[-1].ctypes.data)
    table = struct.pack(f"<{len(places)}q", *places)
    if shared:
        threads.spread(place, call, table, len(places), 1)
    else:
        call(table, 0, len(places))


def prepared(records: Sequence[Record]) -> Callable[[], None]:
    """`run_records` of these, on this thread, with everything prepared but the call."""
    _, call = driver()
    (packed, tables), count = _packed(records), len(records)

    def run(kept: bytes = tables) -> None:
        call(packed, 0, count)

    return run
