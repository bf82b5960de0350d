"""Many native calls as one job: lists of records, each a function, its table, and the rows to do; and loops of them."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence

import numpy as np

from . import hooks, threads
from .assembler import EQUAL, NOT_EQUAL, NOT_LESS, R12, R13, R14, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Assembler, Mem
from .calls import function_of

__all__ = [
    "Call", "Loops", "Record", "Step", "driver", "prepared", "recorded", "run_loops", "run_records", "shared_out",
]  # fmt: skip

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


def shared_out(records: Sequence[Record]) -> list[int]:
    """An order of records in which every thread's share is about as much work, and of every table about as much.

    Numbers of records; -1 for none, where a share has fewer. What records of one table do is told by its first word,
    the length of a row. Each thread then has the same part of each array whenever that comes.
    """
    shares: list[list[int]] = [[] for _ in range(threads.count())]
    loads, count = [0] * len(shares), len(shares)
    ends = {id(r[1]): r[3] for r in records}
    for number, (_, table, start, stop) in enumerate(records):
        rows = ends[id(table)]
        at = (stop * count - 1) // rows if rows >= count else loads.index(min(loads))
        shares[at].append(number)
        loads[at] += (stop - start) * int.from_bytes(table[:8], "little")
    most = max(map(len, shares))
    return [number for own in shares for number in (*own, *[-1] * (most - len(own)))]


def pack_calls(calls: Sequence[tuple[int, ...]], order: Sequence[int] | None) -> tuple[bytes, int]:
    """The words that the driver reads, and how many calls they are: function, table, first row, end row of each."""
    words: list[int] = []
    for number in range(len(calls)) if order is None else order:
        words += calls[number] if number >= 0 else (*calls[0][:2], 0, 0)
    return struct.pack(f"<{len(words)}q", *words), len(words) // 4


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


class Loops:
    """Loops whose tables are put together once, and then run on whatever memory is given.

    `loops` as `run_loops` takes them, but an address in a table may be counted from the start of some array:
    `open_words` tells, for each step, which words those are and the array's number. `run` takes the arrays' addresses.
    """

    def __init__(
        self, turns: int, loops: Sequence[Sequence[Step]], open_words: Sequence[Sequence[dict[int, int]]] = ()
    ) -> None:
        self.turns, self.count = turns, len(loops)
        words: list[int] = []
        self.starts: list[int] = []
        fixed: list[tuple[int, int]] = []  # words that an address is added to, and which: -1 for that of all words
        for i, steps in enumerate(loops):
            self.starts.append(8 * len(words))
            tables = len(words) + 2 + 6 * len(steps)  # behind the calls
            words += (turns, len(steps))
            rest: list[int] = []
            for j, (function, table, start, stop, growth) in enumerate(steps):
                at, size = tables + len(rest), len(growth)
                fixed += ((len(words) + 1, -1), (len(words) + 5, -1))
                words += (function, 8 * at, start, stop, size, 8 * (at + size))
                rest += struct.unpack(f"<{size}q", table)
                rest += growth
                if open_words:
                    fixed += ((at + word, array) for word, array in open_words[i][j].items())
            words += rest
        self.words = np.array(words, np.int64)
        self.open_words = open_words
        self.steps = loops
        self.at = np.array([at for at, _ in fixed], np.intp)
        self.of = np.array([of for _, of in fixed], np.intp)
        self.begin = np.array(self.starts, np.int64)

    def run(self, places: Sequence[int] = (), shared: bool = False) -> None:
        """Runs all loops, different ones at the same time, if `shared`."""
        if hooks.capture is not None:
            hooks.capture.native("loops", self.turns, self.bound(places), shared)
        self.repeat(places, shared)

    def repeat(self, places: Sequence[int] = (), shared: bool = False) -> None:
        """`run` without a word to a capture."""
        if not _made_loop:
            _made_loop.extend(function_of(_loop_code()))
        place, call = _made_loop
        words = self.words.copy()  # the loops write their growth into it
        own = words.ctypes.data
        words[self.at] += np.array((*places, own), np.int64)[self.of]
        table = (self.begin + own).tobytes()
        if shared:
            threads.spread(place, call, table, self.count, 1)
        else:
            call(table, 0, self.count)

    def bound(self, places: Sequence[int]) -> list[list[Step]]:
        """The loops with their addresses filled in."""
        if not self.open_words:
            return [list(steps) for steps in self.steps]
        result: list[list[Step]] = []
        for steps, opened in zip(self.steps, self.open_words, strict=True):
            result.append([])
            for (function, table, start, stop, growth), holes in zip(steps, opened, strict=True):
                words = list(struct.unpack(f"<{len(growth)}q", table))
                for word, array in holes.items():
                    words[word] += places[array]
                filled = struct.pack(f"<{len(growth)}q", *words)
                result[-1].append((function, filled, start, stop, growth))
        return result


def run_loops(turns: int, loops: Sequence[Sequence[Step]], shared: bool) -> None:
    """Runs each loop's calls `turns` times, in order; different loops at the same time, if `shared`."""
    Loops(turns, loops).run((), shared)


#: A native call: function, table, end of its range, and how much of that one thread does at a time.
Call = tuple[int, bytes, int, int]


def recorded(records: Sequence[Record], shared: bool) -> tuple[Call, bytes]:
    """`run_records` of these as one call, and the tables that it points to, which are to be kept."""
    packed, tables = _packed(records)
    return (driver()[0], packed, len(records), 1 if shared else len(records)), tables


def prepared(calls: Sequence[Call]) -> tuple[Callable[[], None], np.ndarray]:
    """These calls, one after the other, with everything prepared; and the words of their tables."""
    tables = np.frombuffer(bytearray(b"".join(table for _, table, *_ in calls)), np.int64)
    at = tables.ctypes.data
    words: list[int] = []
    for function, table, end, size in calls:
        words += (function, at, -(-end // size) if size < end else 0, size, end)
        at += len(table)
    jobs = np.array(words, np.int64)
    start, length = jobs.ctypes.data, jobs.nbytes

    if not any(size < end for *_, end, size in calls):
        step = functools.partial(threads.alone_function(), 0, start, start + length)
    else:
        step = functools.partial(threads.run_jobs, start, length)
    step.kept = tables, jobs  # type: ignore[attr-defined]
    return step, tables
