"""The memory that a capture meets, as blocks; arrays as places in them.

A block is what one array owns, from when it is met to when it is freed: the capture holds no arrays, so that memory is
freed and used again while it goes on, as in any step. What is told apart is therefore not the address but the block,
which gets addresses of its own that no other block ever has (`VIRTUAL` and above). Operands and the tables of native
calls are kept in those; a plan decides later where each block really lies.
"""

from __future__ import annotations

import bisect
import itertools
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.views import owner

__all__ = ["VIRTUAL", "Block", "Memory", "Place", "Ranges", "calls_of", "places_in", "tables_of"]

#: Where addresses of data lie; other words of a table are smaller, or bits of numbers.
_LOWEST, _HIGHEST = 1 << 40, 1 << 47

#: Where blocks lie as long as a step is looked at: as bits of numbers, not-a-numbers that no arithmetic makes.
VIRTUAL = 0x7FF4 << 48
_END = VIRTUAL + (1 << 48)


class Block:
    """A piece of memory.

    `made`: by the step itself; `known`: made by it, or a tensor's; `blank`: not yet written; `given`: as a gradient;
    `array` keeps the memory alive, where it was there before the step and the step uses it.
    """

    __slots__ = ("array", "blank", "end", "given", "known", "made", "offset", "ref", "start", "virtual", "whole")

    def __init__(self, array: np.ndarray, start: int, end: int, virtual: int) -> None:
        self.start, self.end, self.virtual = start, end, virtual
        self.ref: Any = None
        self.array: np.ndarray | None = None if array.flags.owndata else array
        self.made = self.known = self.blank = self.given = False
        self.whole: Block | None = None  # a larger one of which this turned out to be a part
        self.offset = -1  # in a plan's arena; -1: the block stays where it is

    @property
    def root(self) -> Block:
        """The block itself, or the larger one of which it is a part."""
        block = self
        while block.whole is not None:
            block = block.whole
        return block

    @property
    def size(self) -> int:
        return self.end - self.start

    def stay(self) -> None:
        """Keeps memory that the step did not make for as long as the block is known."""
        if self.array is None and not self.made:
            self.array = self.ref()


class Place:
    """An array, as a shape, strides and a type at a place in a block; None for one without elements."""

    __slots__ = ("_block", "_start", "dtype", "ndim", "shape", "size", "strides")

    def __init__(self, a: np.ndarray, block: Block | None) -> None:
        self._block, self._start = block, a.__array_interface__["data"][0]
        self.shape, self.strides, self.dtype, self.size, self.ndim = a.shape, a.strides, a.dtype, a.size, a.ndim

    @property
    def block(self) -> Block:
        assert self._block is not None
        return self._block.root

    @property
    def address(self) -> int:
        """Where the first element lies, in addresses of blocks."""
        block = self.block
        return block.virtual + self._start - block.start

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements follow each other in memory, the last dimension the quickest."""
        step = self.dtype.itemsize
        for n, s in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and s != step:
                return self.size == 0
            step *= n
        return True

    def moved(self, block: Block) -> Place:
        """The place that lies in another block as this one does in its own."""
        place: Place = Place.__new__(Place)
        place._block, place._start = block, self._start - self.block.start + block.start
        place.shape, place.strides, place.dtype = self.shape, self.strides, self.dtype
        place.size, place.ndim = self.size, self.ndim
        return place

    @property
    def bounds(self) -> tuple[int, int]:
        """The first byte, and the one after the last."""
        low = high = self.address
        for n, s in zip(self.shape, self.strides, strict=True):
            low, high = low + min(0, s * (n - 1)), high + max(0, s * (n - 1))
        return low, high + self.dtype.itemsize


def places_in(x: Any) -> Iterator[Place]:
    """The places in any nesting of tuples, lists and dicts."""
    if x.__class__ is Place:
        yield x
    elif x.__class__ is tuple or x.__class__ is list:
        for v in x:
            yield from places_in(v)
    elif x.__class__ is dict:
        for v in x.values():
            yield from places_in(v)


class Memory:
    """The blocks that are alive, by address, and all that there have been."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.alive: dict[int, Block] = {}
        self.blocks: list[Block] = []
        self.virtual: list[int] = []
        self.trouble = ""

    def at(self, address: int) -> Block | None:
        """The living block at a real address."""
        i = bisect.bisect_right(self.starts, address) - 1
        if i < 0:
            return None
        block = self.alive[self.starts[i]]
        return block if address < block.end else None

    def _numbered(self, address: int) -> Block:
        """The block, alive or not, at an address of its own."""
        return self.blocks[bisect.bisect_right(self.virtual, address) - 1]

    def meet(self, a: np.ndarray) -> Block | None:
        """The block in which an array lies; None for one without elements."""
        if not a.size:
            return None
        low, high = np.lib.array_utils.byte_bounds(a)
        found = self.at(low)
        return self._new(_owner(a)) if found is None or high > found.end else found

    def make(self, a: np.ndarray, blank: bool = False) -> None:
        """Notes an array that the step has made; memory that was met before is not the step's."""
        if a.size and self.at(np.lib.array_utils.byte_bounds(a)[0]) is None:
            block = self._new(_owner(a))
            block.made, block.known, block.blank = True, True, blank

    def place(self, x: Any) -> Any:
        """The same with places for arrays, in any nesting of tuples, lists and dicts."""
        cls = x.__class__
        if cls is tuple:
            return tuple([self.place(v) for v in x])
        if cls is list:
            return [self.place(v) for v in x]
        if cls is dict:
            return {k: self.place(v) for k, v in x.items()}
        if not isinstance(x, np.ndarray) or x.dtype.hasobject:
            return x
        block = self.meet(x)
        if block is not None:
            block.stay()
        return Place(x, block)

    def _new(self, array: np.ndarray) -> Block:
        low, high = np.lib.array_utils.byte_bounds(array)
        parts = []
        while (i := bisect.bisect_left(self.starts, high) - 1) >= 0 and self.alive[self.starts[i]].end > low:
            parts.append(self.alive.pop(self.starts.pop(i)))
            low, high = min(low, parts[-1].start), max(high, parts[-1].end)
        virtual = _above(self.blocks[-1]) if self.blocks else VIRTUAL
        block = Block(array, low, high, virtual)
        for part in parts:  # memory that several arrays show without a common owner
            part.whole, part.array, block.array = block, part.ref() if part.array is None else part.array, array
            block.known |= part.known
        block.ref = weakref.ref(array, lambda _, block=block: self._gone(block))
        bisect.insort(self.starts, low)
        self.alive[low] = block
        self.blocks.append(block)
        self.virtual.append(virtual)
        return block

    def _gone(self, block: Block) -> None:
        """The memory is freed: from now on its address is nobody's, or another block's."""
        if self.alive.get(block.start) is block:
            del self.alive[block.start]
            del self.starts[bisect.bisect_left(self.starts, block.start)]

    # --- tables of native calls -------------------------------------------------------------------------------

    def lift(self, table: bytes, growth: Sequence[int] = (), turns: int = 1) -> bytes:
        """A table with addresses of blocks for real ones; `growth`: of each word from one of `turns` to the next."""
        words = np.frombuffer(table, np.int64)
        lifted = None
        for i in np.flatnonzero((words > _LOWEST) & (words < _HIGHEST)).tolist():
            word = int(words[i])
            block = self.at(word)
            if block is None:
                self.trouble = self.trouble or "a native kernel worked on memory that the capture does not know"
                continue
            if len(growth) and not block.start <= word + (turns - 1) * int(growth[i]) < block.end:
                self.trouble = self.trouble or "a native kernel went from one array to the next"
            block.stay()
            if lifted is None:
                lifted = words.copy()
            lifted[i] = block.root.virtual + word - block.root.start
        return table if lifted is None else lifted.tobytes()

    def blocks_of(self, table: bytes) -> set[Block]:
        """The blocks that a lifted table has addresses of."""
        return {block for _, block, _ in self.words_of(table)}

    def words_of(self, table: bytes) -> list[tuple[int, Block, int]]:
        """The words of a lifted table that are addresses: which, in which block, how far from its start."""
        words = np.frombuffer(table, np.int64)
        found = []
        for i in _addresses(words):
            part = self._numbered(int(words[i]))
            block = part.root
            found.append((i, block, int(words[i]) - part.virtual + part.start - block.start))
        return found

    def renamed(self, table: bytes, instead: dict[Block, Block]) -> bytes:
        """A lifted table with the addresses of other blocks for those of some."""
        found = [(i, instead[block], beyond) for i, block, beyond in self.words_of(table) if block in instead]
        if not found:
            return table
        words = np.frombuffer(table, np.int64).copy()
        for i, block, beyond in found:
            words[i] = block.virtual + beyond
        return words.tobytes()

    def lower(self, table: bytes, arena: int) -> bytes:
        """A lifted table with the addresses at which blocks really lie: in an arena, or where they were."""
        words = np.frombuffer(table, np.int64)
        found = _addresses(words)
        if not found:
            return table
        words = words.copy()
        for i in found:
            words[i] = self.real(int(words[i]), arena)
        return words.tobytes()

    def real(self, address: int, arena: int) -> int:
        """Where a block's address really lies."""
        block = self._numbered(address)
        return address - block.virtual + (block.start if block.offset < 0 else arena + block.offset)

    def close(self) -> set[Block]:
        """Ends the watch; the blocks that are still somebody's. They are kept."""
        for block in self.blocks:
            if block.array is None:
                block.array = block.ref()
            block.ref = None
        self.alive.clear()
        return {block.root for block in self.blocks if block.array is not None}


class Ranges:
    """Stretches of memory: those of blocks that stay where they are, and one more."""

    def __init__(self, blocks: Iterable[Block], more: tuple[int, int]) -> None:
        ranges = sorted([more, *((b.start, b.end) for b in blocks)])
        self.starts = [start for start, _ in ranges]
        self.ends = list(itertools.accumulate((end for _, end in ranges), max))

    def meet(self, low: int, high: int) -> bool:
        """Whether any of them has a byte of this one."""
        i = bisect.bisect_left(self.starts, high) - 1
        return i >= 0 and self.ends[i] > low


def _addresses(words: np.ndarray) -> list[int]:
    """Which words of a lifted table are addresses."""
    return np.flatnonzero((words >= VIRTUAL) & (words < _END)).tolist()


def _above(block: Block) -> int:
    """The first address of blocks after this one, some way off."""
    return block.virtual + block.size + 4096 + -block.size % 64


def _owner(a: np.ndarray) -> np.ndarray:
    """The array that owns the memory; `as_strided` stands between an array and its base."""
    a = owner(a)
    while not a.flags.owndata and isinstance(below := getattr(a.base, "base", None), np.ndarray):
        a = owner(below)
    return a


def calls_of(args: Any) -> list[tuple[int, bytes]]:
    """The functions and tables of a native entry."""
    what, *rest = args
    if what == "run":
        return [(rest[0], rest[1])]
    calls = rest[0] if what == "records" else [step for loop in rest[1] for step in loop]
    return [(call[0], call[1]) for call in calls]


def tables_of(args: Any) -> list[bytes]:
    """The tables of a native entry."""
    return [table for _, table in calls_of(args)]
