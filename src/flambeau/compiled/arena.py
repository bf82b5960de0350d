"""Where a plan's blocks lie: what the step makes and drops shares one stretch of memory, the rest stays where it is.

A block takes up room from the first call that touches it to the last. Large ones are placed first, each in the smallest
gap that is free all that time.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.engines.numpy.memory import release_freed_pages

from .capture import Entry
from .memory import Block, Memory, Place

__all__ = ["REPLAYING", "Arena", "place_blocks"]

#: Held by a replay: plans share memory, and one plan's is not for two threads at a time either.
REPLAYING = threading.RLock()

#: The memory of plans that leave nothing in it from one call to the next: any of them will do for another plan.
_lent: list[weakref.ref[np.ndarray]] = []

_LARGE = 16 << 20  # bytes
_LINE = 64  # bytes: blocks begin at lines of the cache


def _spans(entries: Sequence[Entry]) -> dict[Block, list[int]]:
    """The first and the last entry that touches each block."""
    spans: dict[Block, list[int]] = {}
    for i, entry in enumerate(entries):
        for block in entry.touched:
            spans.setdefault(block.root, [i, i])[1] = i
    return spans


def place_blocks(spans: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets for blocks given as first use, last use and size in bytes, and how much they take up together."""
    count = len(spans)
    offsets = [0] * count
    first, last, start, end = (np.empty(count, np.int64) for _ in range(4))
    total = 0
    order = sorted(range(count), key=lambda i: (-spans[i][2], spans[i][0]))
    for placed, i in enumerate(order):
        begin, stop, size = spans[i]
        size += -size % _LINE
        meets = (first[:placed] <= stop) & (last[:placed] >= begin)
        low, high = start[:placed][meets], end[:placed][meets]
        by_start = np.argsort(low, kind="stable")
        low = low[by_start]
        # where everything below has ended: gaps lie between there and the next start
        below = np.concatenate([[0], np.maximum.accumulate(high[by_start])])
        gaps = low - below[:-1]
        fits = np.flatnonzero(gaps >= size)
        at = int(below[fits[np.argmin(gaps[fits])]] if len(fits) else below[-1])
        offsets[i] = at
        first[placed], last[placed], start[placed], end[placed] = begin, stop, at, at + size
        total = max(total, at + size)
    return offsets, total


def _buffer(size: int, shared: bool) -> np.ndarray:
    """Memory of this size at least; `shared`: other plans may have it, too."""
    known = [buffer for ref in _lent if (buffer := ref()) is not None]
    fitting = [buffer for buffer in known if buffer.size >= size]
    if shared and fitting:
        return min(fitting, key=len)
    if size > _LARGE:
        release_freed_pages()  # the captures' memory, which the step does not need any more
    made = np.empty(size, np.uint8)
    if shared:
        _lent[:] = [weakref.ref(buffer) for buffer in (*known, made)]
    return made


class Arena:
    """The memory of a plan: `planned` blocks of `bytes` in all take up `size`; `outside` stay, of `resident` bytes.

    `memory` is there until the plan is made.
    """

    def __init__(self, memory: Memory, entries: Sequence[Entry], stay: set[Block], shared: bool) -> None:
        self.memory: Memory | None = memory
        spans = _spans(entries)
        moving = [(block, first, last) for block, (first, last) in spans.items() if block not in stay]
        offsets, self.size = place_blocks([(first, last, block.size) for block, first, last in moving])
        for (block, _, _), offset in zip(moving, offsets, strict=True):
            block.offset = offset
        self.planned, self.bytes = len(moving), sum(block.size for block, _, _ in moving)
        staying = [block for block in spans if block in stay]
        self.outside, self.resident = len(staying), sum(block.size for block in staying)
        self.kept = [block.array for block in staying]
        self.buffer = _buffer(self.size + _LINE, shared)
        at = self.buffer.ctypes.data
        self.start = at + -at % _LINE

    @property
    def bounds(self) -> tuple[int, int]:
        """Where the planned blocks lie."""
        return self.start, self.start + self.size

    def array(self, place: Place) -> np.ndarray:
        """The array at a place."""
        if not place.size:
            return np.empty(place.shape, place.dtype)
        low, high = place.bounds
        assert self.memory is not None
        at = self.memory.real(low, self.start)
        raw: Any = (ctypes.c_char * (high - low)).from_address(at)
        # whoever has the array has its memory, even if the plan is gone: what lies in freed memory misleads a capture
        raw.memory = self.buffer if place.block.offset >= 0 else place.block.array
        return np.ndarray(place.shape, place.dtype, raw, place.address - low, place.strides)

    def lower(self, x: Any) -> Any:
        """The same with arrays for places, in any nesting of tuples, lists and dicts."""
        cls = x.__class__
        if cls is Place:
            return self.array(x)
        if cls is tuple:
            return tuple([self.lower(v) for v in x])
        if cls is list:
            return [self.lower(v) for v in x]
        return {k: self.lower(v) for k, v in x.items()} if cls is dict else x

    def native(self, args: Any) -> Any:
        """The arguments of a native entry with the addresses at which memory really lies."""
        assert self.memory is not None
        what, *rest = args
        lower = self.memory.lower
        if what == "run":
            place, table, end, piece = rest
            return what, place, lower(table, self.start), end, piece
        if what == "records":
            records, shared = rest
            return what, [(place, lower(table, self.start), *rows) for place, table, *rows in records], shared
        turns, loops, shared = rest
        lowered = [[(place, lower(table, self.start), *more) for place, table, *more in loop] for loop in loops]
        return what, turns, lowered, shared
