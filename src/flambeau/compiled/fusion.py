"""Neighbouring elementwise calls become one native kernel: one pass over memory, intermediate results in registers.

A group has one shape, seen as rows of elements. Its operands are whole arrays of that shape, one row for all rows, one
number per row, or one number. What nobody reads after the group is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.engines.native.calls import WIDE, address, function_of, pack_of, weight_of
from flambeau.engines.native.rows import RowKernel
from flambeau.engines.native.symbols import UFUNCS, Symbol, Unsupported
from flambeau.engines.native.values import Value

from .capture import Entry
from .memory import Memory
from .sums import column_sums

__all__ = ["fuse"]

_LIMIT = 6000  # values of a kernel
_ROW = 2048  # elements of a row where the shape asks for none
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_NUMERIC = set(UFUNCS) - {
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not",
    "invert",
}  # fmt: skip

_made: dict[Any, tuple[int, Callable]] = {}


class _Group:
    """Elementwise calls in the making of one kernel."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.dtype = dtype
        self.size = int(np.prod(shape, dtype=np.int64))
        self.bytes = self.size * dtype.itemsize
        self.split: tuple[int, int] | None = None
        self.k = RowKernel("fused", dtype.itemsize == 8)
        self.written: dict[int, tuple[np.ndarray, Value]] = {}  # by address
        self.blocks: dict[int, set[int]] = {}
        self.operands: dict[str, tuple[int, str]] = {}
        self.entries: list[int] = []

    # --- taking calls in --------------------------------------------------------------------------------------

    def take(self, at: int, entry: Entry, memory: Memory) -> bool:
        """Takes a call in; False, and nothing done, where it does not fit."""
        if len(self.k.order) > _LIMIT:
            return False
        split = self.split
        inputs = self._inputs(entry, memory)
        if inputs is None:
            self.split = split
            return False
        try:
            if entry.kind == "chain":
                written = self._chain(entry, inputs)
            else:
                out = entry.made[0] if entry.made else entry.wrote[0]
                rule = UFUNCS[entry.function.__name__]
                written = [(out, rule(self.k, *(self._value(x, kind) for x, kind in inputs)))]
        except Unsupported:
            self.split = split
            return False
        for a, value in written:
            self.written[address(a)] = a, value
            self.blocks.setdefault(memory.of(a), set()).add(address(a))
        self.entries.append(at)
        return True

    def _inputs(self, entry: Entry, memory: Memory) -> list[tuple[Any, str]] | None:
        """The operands and how each lies in the group's shape, if the call is elementwise on it."""
        if entry.kind == "chain":
            if all(self._whole(a) and self._sound(a, memory) for a in entry.args):
                return [(a, "whole") for a in entry.args]
            return None
        if entry.function.__name__ not in _NUMERIC or set(entry.kwargs) - {"out"}:
            return None
        out = entry.made[0] if entry.made else entry.wrote[0]
        if not self._whole(out) or not self._sound(out, memory):
            return None
        inputs: list[tuple[Any, str]] = []
        for x in entry.args[: entry.function.nin]:
            if not isinstance(x, np.ndarray):
                if not isinstance(x, (int, float)) or isinstance(x, bool):
                    return None
                inputs.append((x, "constant"))
                continue
            found = self._kind(x, out.shape) if x.dtype == self.dtype and self._sound(x, memory) else None
            if found is None or (found[1] is not None and self.split not in (None, found[1])):
                return None
            self.split = found[1] or self.split
            inputs.append((x, found[0]))
        return inputs

    def _whole(self, a: np.ndarray) -> bool:
        return a.size == self.size and a.dtype == self.dtype and a.flags.c_contiguous

    def _sound(self, a: np.ndarray, memory: Memory) -> bool:
        """Whether an array shows exactly what one call of the group has written, or nothing that one has."""
        for place in self.blocks.get(memory.of(a), ()):
            if place == address(a) and self._whole(a):
                continue
            low, high = np.lib.array_utils.byte_bounds(a)
            if place < high and low < place + self.bytes:
                return False
        return True

    def _kind(self, a: np.ndarray, shape: tuple[int, ...]) -> tuple[str, tuple[int, int] | None] | None:
        """How an operand lies in the result's shape, and into which rows it splits it."""
        if a.size == self.size:
            return ("whole", None) if a.flags.c_contiguous else None
        if a.size == 1:
            return "number", None
        ndim = len(shape)
        full = (1,) * (ndim - a.ndim) + a.shape
        lead, tail = 0, ndim
        while full[lead] == 1:
            lead += 1
        while full[tail - 1] == 1:
            tail -= 1
        if full[lead:] == shape[lead:] and a.flags.c_contiguous:
            return "row", (self.size // a.size, a.size)
        if full[:tail] == shape[:tail] and a.flags.c_contiguous:
            return "column", (a.size, self.size // a.size)
        return None

    def _value(self, x: Any, kind: str) -> Value:
        if kind == "constant":
            return self.k.const(float(x))
        if kind == "whole" and address(x) in self.written:
            return self.written[address(x)][1]
        name = f"{kind}{address(x)}"
        self.operands[name] = address(x), kind
        return self.k.load(name) if kind in ("whole", "row") else self.k.load_row(name)

    def _chain(self, entry: Entry, inputs: list[tuple[Any, str]]) -> list[tuple[np.ndarray, Value]]:
        symbols = [Symbol(self.k, self._value(a, kind)) for a, kind in inputs]
        entry.function(*symbols, *(Symbol(self.k) for _ in range(entry.kwargs["temps"])))
        return [(a, s.value) for a, s in zip(entry.args, symbols, strict=True) if s.written]  # type: ignore[misc]

    # --- the kernel -------------------------------------------------------------------------------------------

    def calls(self, live: set[int], memory: Memory) -> list[tuple[int, bytes, int, int]]:
        """The native calls: function, table, rows, rows that a thread takes together."""
        k = self.k
        for place, (a, value) in self.written.items():
            if memory.of(a) in live:
                self.operands[f"whole{place}"] = place, "whole"
                k.store(f"whole{place}", value)
        if not k.sinks:
            return []
        place, call, names, weight = _compiled(k)
        rows, n = self.split or _rows(self.size)
        pack = pack_of(k)
        item = self.dtype.itemsize
        tables = []
        cuts = [(0, rows, n)]
        rest = self.size - rows * n
        if rest:
            cuts.append((rows * n, 1, rest))
        for first, count, length in cuts:
            words: list[int] = []
            for name in names:
                at, kind = self.operands[name]
                if kind == "whole":
                    words += (at + first * item, length * item, 0)
                elif kind == "column":
                    words += (at, item, 0)
                else:
                    words += (at, 0, 0)
            work = count * length * weight
            piece = count if work < 12_000 else max(1, min(-(-count // 4), int(count * 200_000 / work) or 1))
            tables.append((place, pack(length, count, *words), count, piece))
        return tables


def _rows(size: int) -> tuple[int, int]:
    return (1, size) if size <= 2 * _ROW else (size // _ROW, _ROW)


def _compiled(k: RowKernel) -> tuple[int, Callable, list[str], float]:
    """The kernel's code; that of another kernel of the same form, if there is one."""
    names = {name: f"o{i}" for i, name in enumerate(k.operands)}
    steps = tuple((v.op, tuple(a.index for a in v.args), names.get(v.imm, v.imm)) for v in k.order)
    form = k.double, steps, tuple(s.index for s in k.sinks)
    found = _made.get(form)
    if found is None:
        if len(_made) > 512:
            _made.clear()
        found = _made[form] = function_of(k.compile(WIDE))
    return *found, list(k.operands), weight_of(k)


def fuse(entries: Sequence[Entry], memory: Memory, live: set[int]) -> list[Entry]:
    """The entries with elementwise ones joined; `live`: the blocks that are read after the last entry."""
    last: dict[int, int] = {}
    for i, touched in enumerate(memory.touched):
        for block in touched:
            last[block] = i
    result: list[Entry] = []
    group: _Group | None = None

    def flush() -> None:
        nonlocal group
        if group is None:
            return
        end = group.entries[-1]
        after = {b for b, i in last.items() if i > end} | live
        for call in group.calls(after, memory):
            joined = Entry("native", None, ("run", *call), {}, [], [])
            joined.fused = len(group.entries)
            result.append(joined)
        group = None

    for i, entry in enumerate(entries):
        shaped = _shape_of(entry)
        if shaped is None:
            flush()
            result += column_sums(entry) or [entry]
            continue
        if group is not None and (group.size, group.dtype) == (int(np.prod(shaped[0], dtype=np.int64)), shaped[1]):
            if group.take(i, entry, memory):
                continue
        flush()
        group = _Group(*shaped)
        if not group.take(i, entry, memory):
            group = None
            result.append(entry)
    flush()
    return result


def _shape_of(entry: Entry) -> tuple[tuple[int, ...], np.dtype] | None:
    """The shape and type that an elementwise call works on."""
    if entry.kind == "chain":
        a = entry.args[0]
    elif entry.kind == "ufunc" and len(entry.made) + len(entry.wrote) == 1:
        a = entry.made[0] if entry.made else entry.wrote[0]
    else:
        return None
    return (a.shape, a.dtype) if a.dtype in _FLOATS and a.size else None
