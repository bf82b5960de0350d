"""Which memory a captured call touches: arrays by their owner, native calls by the addresses in their tables."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flambeau.errors import CaptureError

from .capture import Entry, arrays_in, owner

__all__ = ["Memory"]

#: Where addresses of data lie; other words of a table are smaller, or bits of numbers.
_LOWEST, _HIGHEST = 1 << 40, 1 << 47


class Memory:
    """The blocks of memory that a capture knows, and what each entry touches of them, by number.

    A block is what one array owns; arrays that share memory in ways that NumPy does not tell share a block, too.
    """

    def __init__(self, entries: Sequence[Entry], others: Iterable[np.ndarray]) -> None:
        owners: dict[int, np.ndarray] = {}
        for entry in entries:
            for a in (*arrays_in(entry.args), *arrays_in(entry.kwargs), *entry.made, *entry.wrote, *entry.touched):
                block = owner(a)
                owners[id(block)] = block
        for a in others:
            block = owner(a)
            owners[id(block)] = block
        self.kept = list(owners.values())
        self.starts: list[int] = []
        self.ends: list[int] = []
        for low, high in sorted(np.lib.array_utils.byte_bounds(b) for b in self.kept if b.size):
            if self.ends and low < self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], high)
            else:
                self.starts.append(low)
                self.ends.append(high)
        self.touched = [self._touched(entry) for entry in entries]

    def check(self, entries: Sequence[Entry], blank: Iterable[np.ndarray]) -> None:
        """Refuses a capture in which memory that was made blank is read before a noted call has written it."""
        unwritten = {self.of(a) for a in blank} - {-1}
        for entry, touched in zip(entries, self.touched, strict=True):
            if entry.kind in ("native", "optimizer"):
                unwritten -= touched
                continue
            written = {self.of(a) for a in (*entry.made, *entry.wrote)}
            for a in (*arrays_in(entry.args), *arrays_in(entry.kwargs)):
                block = self.of(a)
                if block in unwritten and block not in written:
                    name = getattr(entry.function, "__name__", entry.kind)
                    raise CaptureError(f"{name} reads memory that something has written where the capture can't see it")
            unwritten -= written

    def of(self, a: np.ndarray) -> int:
        """The number of the block in which the array lies; -1 for one without elements."""
        block = self.number_of(a)
        return -1 if block is None else block

    def number_of(self, a: np.ndarray) -> int | None:
        """The same, or None for memory that the capture does not know."""
        return self.at(np.lib.array_utils.byte_bounds(a)[0]) if a.size else None

    def part(self, start: int, stop: int) -> Memory:
        """The same for some of the entries."""
        some = object.__new__(Memory)
        some.__dict__.update(self.__dict__)
        some.touched = self.touched[start:stop]
        return some

    def sizes(self) -> list[int]:
        """How large the blocks are that some entry touches, in bytes."""
        used = set().union(*self.touched) - {-1} if self.touched else set()
        return [self.ends[i] - self.starts[i] for i in used]

    def at(self, place: int) -> int | None:
        """The number of the block at this address, if there is one."""
        i = bisect.bisect_right(self.starts, place) - 1
        return i if i >= 0 and place < self.ends[i] else None

    def _touched(self, entry: Entry) -> set[int]:
        arrays = (*arrays_in(entry.args), *arrays_in(entry.kwargs), *entry.made, *entry.wrote, *entry.touched)
        found = {self.of(a) for a in arrays}
        for table in _tables(entry):
            for word in np.frombuffer(table, np.int64).tolist():
                if _LOWEST < word < _HIGHEST:
                    block = self.at(word)
                    if block is None:
                        raise CaptureError("a native kernel worked on memory that the capture does not know")
                    found.add(block)
        return found


def _tables(entry: Entry) -> list[bytes]:
    """The tables of a native entry."""
    if entry.kind != "native":
        return []
    what, *rest = entry.args
    if what == "run":
        return [rest[1]]
    if what == "records":
        return [record[1] for record in rest[0]]
    steps: list[Any] = [step for loop in rest[1] for step in loop]
    return [table for step in steps for table in (step[1], *_later(step[1], step[4], rest[0]))]


def _later(table: bytes, growth: Any, turns: int) -> list[bytes]:
    """The table as it is in the last turn of a loop: what lies between is in the same blocks."""
    return [(np.frombuffer(table, np.int64) + (turns - 1) * np.asarray(growth)).tobytes()]
