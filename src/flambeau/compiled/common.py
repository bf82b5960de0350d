"""Calls that would compute what another has computed are left out: those behind them read the first one's result.

Two calls are the same if they are of one function on the same values: of the same arrays, which nothing has written in
between. Neither result may be written later, or leave the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .capture import Entry
from .dead import is_pure
from .memory import Block, Memory, Place

__all__ = ["without_repeats"]

_MOST = 4 << 20  # bytes of a result that is worth keeping until it is asked for again


def without_repeats(entries: Sequence[Entry], memory: Memory, live: set[Block]) -> list[Entry]:
    """The entries without those that repeat one; `live`: the blocks that are read after the last."""
    writers: dict[Block, list[int]] = {}
    for at, entry in enumerate(entries):
        for block in _written(entry):
            writers.setdefault(block, []).append(at)
    first: dict[Any, Place] = {}
    instead: dict[Block, Block] = {}
    kept: list[Entry] = []
    for at, entry in enumerate(entries):
        if instead:
            entry = _renamed(entry, instead, memory)
        place = _result(entry, writers, live)
        key = None if place is None else _key(entry, at, writers)
        if place is not None and key is not None:
            before = first.setdefault(key, place)
            if before is not place:
                instead[place.block] = before.block
                continue
        kept.append(entry)
    return kept


def _written(entry: Entry) -> set[Block]:
    """The blocks that an entry writes, or may write."""
    if entry.kind in ("call", "ufunc", "check"):
        return {p.block for p in (*entry.made, *entry.wrote) if p.size}
    return {block.root for block in (entry.written if entry.kind == "native" else entry.touched)}


def _result(entry: Entry, writers: dict[Block, list[int]], live: set[Block]) -> Place | None:
    """What a call gives, if another's could stand for it: memory of its own that this call alone writes."""
    if entry.kind not in ("call", "ufunc") or not is_pure(entry.kind, entry.function):
        return None
    if len(entry.made) != 1 or entry.wrote or not entry.made[0].size:
        return None
    place = entry.made[0]
    block = place.block
    whole = block.made and place.contiguous and block.size == place.size * place.itemsize <= _MOST
    return place if whole and block not in live and len(writers[block]) == 1 else None


def _key(entry: Entry, at: int, writers: dict[Block, list[int]]) -> Any:
    """What a call computes, hashable; None for one with operands that can't be compared."""

    def form(x: Any) -> Any:
        cls = x.__class__
        if cls is Place:
            if not x.size:
                return Place, x.shape, x.dtype
            version = sum(w < at for w in writers.get(x.block, ()))
            return Place, x.address, x.shape, x.strides, x.dtype, version
        if cls is tuple or cls is list:
            return cls, tuple(map(form, x))
        if cls is dict:
            return cls, tuple((name, form(v)) for name, v in x.items())
        if cls is slice:
            return cls, x.start, x.stop, x.step
        hash(x)
        return cls, repr(x) if isinstance(x, (float, complex, np.generic)) else x  # zeros have signs

    (place,) = entry.made
    try:
        return entry.function, form(entry.args), form(entry.kwargs), place.shape, place.strides, place.dtype
    except TypeError:
        return None


def _renamed(entry: Entry, instead: dict[Block, Block], memory: Memory) -> Entry:
    """The entry with results that stand for others in their place."""
    if not any(block.root in instead for block in entry.touched):
        return entry
    lower = memory.renamed

    def place(x: Any) -> Any:
        cls = x.__class__
        if cls is Place:
            return x.moved(instead[x.block]) if x.size and x.block in instead else x
        if cls is bytes:
            return lower(x, instead)
        if cls is tuple or cls is list:
            return cls([place(v) for v in x])
        return {name: place(v) for name, v in x.items()} if cls is dict else x

    made = Entry(entry.kind, entry.function, place(entry.args), place(entry.kwargs), entry.made, entry.wrote)
    made.touched = {instead.get(block.root, block.root) for block in entry.touched}
    made.written = {block.root for block in entry.written}  # what stands for another is written by its own call alone
    made.foreign, made.fused, made.code = entry.foreign, entry.fused, entry.code
    return made
