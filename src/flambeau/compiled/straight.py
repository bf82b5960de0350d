"""Results that are only ever copied into another order are made in that order: the copy is left out.

A recurrent layer writes step by step what the next layer reads sequence by sequence; an embedding's rows are looked up
by sequence and read by step. Who makes such a result and can write in any order of strides (native passes over rows,
rows picked by number) writes straight to where the copy would have put it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.engines.native import hooks

from .capture import Entry
from .copies import copied
from .memory import Block, Memory, Place

__all__ = ["straight"]

_MOST = 1 << 18  # rows of all turns, which are gone through one by one


class _Move(NamedTuple):
    """A block's elements in another block: `axes` as length, step here and step there, large steps first."""

    block: Block
    to: Block
    start: int
    axes: list[tuple[int, int, int]]

    def place(self, offsets: np.ndarray) -> np.ndarray:
        """How far in the other block lies what is so far in this one."""
        moved = np.zeros_like(offsets)
        for _, here, there in self.axes:
            moved += offsets // here * there
            offsets = offsets % here
        return moved


def straight(entries: Sequence[Entry], memory: Memory, live: set[Block]) -> list[Entry]:
    """The entries without such copies; `live`: the blocks that are read after the last."""
    users: dict[Block, list[int]] = {}
    for at, entry in enumerate(entries):
        for block in entry.touched:
            users.setdefault(block, []).append(at)
    result: list[Entry | None] = list(entries)
    for at, entry in enumerate(entries):
        move = _move(entry, live)
        if move is None or users[move.block][-1] != at or users[move.to][0] != at:
            continue
        before = users[move.block][:-1]
        moved = {i: _moved(result[i], move, memory) for i in before}
        if not before or None in moved.values():
            continue
        for i, other in moved.items():
            result[i] = other
        result[at] = None
        users[move.to][:1] = before
    return [entry for entry in result if entry is not None]


def _move(entry: Entry, live: set[Block]) -> _Move | None:
    """What a copy does, if it takes all of a block that nobody needs after it, and fills one of its own."""
    found = copied(entry) if entry.made and not entry.wrote else None
    if found is None:
        return None
    shape, (place, steps), (source, of), item = found
    block, to = entry.args[0].block, entry.made[0].block
    size = entry.made[0].size * item
    if block in live or block is to or not (block.made and to.made) or not block.size == to.size == size:
        return None
    axes = sorted(((n, s, d) for n, s, d in zip(shape, of, steps, strict=True) if n != 1), key=lambda a: -a[1])
    dense = item
    for n, s, _ in reversed(axes):
        if s != dense:
            return None
        dense *= n
    if not axes or axes[-1][2] != item or source != block.virtual or place != to.virtual:
        return None
    return _Move(block, to, place, axes)


def _moved(entry: Entry | None, move: _Move, memory: Memory) -> Entry | None:
    """The entry, working on the other block; None where it can't."""
    if entry is None:
        return None
    args = entry.args
    made: Sequence[Place] | None = entry.made
    if entry.kind == "native":
        args = _native(args, move, memory)
    elif entry.kind == "call" and getattr(entry.function, "any_order", False) and not entry.wrote:
        reads = any(p.__class__ is Place and p.size and p.block is move.block for p in args)
        made = None if reads or len(entry.made) != 1 else _made(entry.made[0], move)
    else:
        return None
    if args is None or made is None:
        return None
    other = Entry(entry.kind, entry.function, args, entry.kwargs, made, entry.wrote)
    other.touched = {move.to if block is move.block else block for block in entry.touched}
    other.written = {move.to if block.root is move.block else block for block in entry.written}
    other.foreign, other.fused, other.code = entry.foreign, entry.fused, entry.code
    return other


def _made(place: Place, move: _Move) -> list[Place] | None:
    """Where a call's result lies in the other block."""
    there = {(n, here): there for n, here, there in move.axes}
    if place.address != move.block.virtual or place.size * place.itemsize != move.block.size:
        return None
    steps = [s if n == 1 else there.get((n, s), 0) for n, s in zip(place.shape, place.strides, strict=True)]
    if 0 in steps:
        return None
    moved = place.moved(move.to)
    moved.strides = tuple(steps)
    return [moved]


# --- native calls ---------------------------------------------------------------------------------------------------


def _native(args: Any, move: _Move, memory: Memory) -> Any:
    """The arguments of a native entry with tables for the other block."""
    what, *rest = args
    if what == "run":
        place, table, end, piece = rest
        call = _call((place, table, 0, end, ()), 1, move, memory)
        return None if call is None else (what, place, call[1], end, piece)
    if what == "records":
        records, shared = rest
        calls = [_call((*record, ()), 1, move, memory) for record in records]
        return None if None in calls else (what, [call[:4] for call in calls if call], shared)
    turns, loops, shared = rest
    made = [[_call(tuple(step), turns, move, memory) for step in loop] for loop in loops]
    return None if any(None in loop for loop in made) else (what, turns, made, shared)


def _call(call: tuple, turns: int, move: _Move, memory: Memory) -> tuple | None:
    """A call of a kernel over rows with another table: function, table, first row, end row, growth."""
    function, table, first, end, growth = call
    mine = [(word, beyond) for word, block, beyond in memory.words_of(table) if block is move.block]
    if not mine:
        return call
    item, operands = hooks.rows.get(function, (0, {}))
    words = np.frombuffer(table, np.int64).copy()
    grows = list(growth) or [0] * len(words)
    for word, beyond in mine:
        if word not in operands or any(grows[i] for i in (0, 1, word + 1, word + 2)):
            return None
        length = int(words[0]) if operands[word] else 1
        steps = int(words[word + 1]), int(words[word + 2]), grows[word]
        found = _steps(beyond, steps, (first, end, int(words[1]), turns), length * item, move)
        if found is None:
            return None
        words[word], words[word + 1], words[word + 2], grows[word] = move.start + found[0], *found[1:]
    return function, words.tobytes(), first, end, tuple(grows) if growth else growth


def _steps(
    base: int, steps: tuple[int, int, int], counts: tuple[int, int, int, int], length: int, move: _Move
) -> list[int] | None:
    """Where an operand's first row lies in the other block, and its steps from row to row, outer step to outer step,
    and turn to turn. None where its rows are not so far apart there, or are no runs of `length` bytes.
    """
    first, end, inner, turns = counts
    if end <= first or (end - first) * turns > _MOST:
        return None
    rows = np.arange(first, end)
    numbers = [a.ravel() for a in np.broadcast_arrays(rows % inner, rows // inner, np.arange(turns)[:, None])]
    here: Any = base + sum(n * step for n, step in zip(numbers, steps, strict=True))
    run = move.axes[-1][0] * move.axes[-1][1]
    if here.min() < 0 or (here % run).max() + length > run or here.max() + length > move.block.size:
        return None
    there = move.place(here)
    moved = []
    for n, step in zip(numbers, steps, strict=True):
        once = base + step if n.any() and 0 <= base + step < move.block.size else base
        moved.append(int(np.subtract(*move.place(np.array([once, base])))))
    start = int(move.place(np.array([base]))[0])
    wanted = start + sum(n * step for n, step in zip(numbers, moved, strict=True))
    return [start, *moved] if np.array_equal(there, wanted) else None
