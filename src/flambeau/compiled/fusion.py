"""Neighbouring elementwise calls become one native kernel: one pass over memory, intermediate results in registers.

A group has one shape, seen as rows of elements. Its operands are whole arrays of that shape, one row for all rows, one
number per row, or one number. What nobody reads after the group is never written.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.engines.native.calls import WIDE, pack_of, weight_of
from flambeau.engines.native.machine import Code
from flambeau.engines.native.rows import RowKernel
from flambeau.engines.native.symbols import UFUNCS, Symbol, Unsupported
from flambeau.engines.native.values import Value

from .capture import Entry
from .copies import native_copy
from .dead import living
from .memory import Block, Memory, Place, tables_of
from .sums import all_ones, column_sums, sum_by_ones

__all__ = ["fuse"]

_LIMIT = 6000  # values of a kernel
_ROW = 2048  # elements of a row where the shape asks for none
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_NUMERIC = set(UFUNCS) - {
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not",
    "invert",
}  # fmt: skip

#: The code of kernels that some plan holds, by their form.
_made: weakref.WeakValueDictionary[Any, Code] = weakref.WeakValueDictionary()


class _Group:
    """Elementwise calls in the making of one kernel."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.dtype = dtype
        self.size = int(np.prod(shape, dtype=np.int64))
        self.bytes = self.size * dtype.itemsize
        self.split: tuple[int, int] | None = None
        self.k = RowKernel("fused", dtype.itemsize == 8)
        self.written: dict[int, tuple[Place, Value]] = {}  # by address
        self.blocks: dict[Block, set[int]] = {}
        self.operands: dict[str, tuple[int, str]] = {}
        self.entries: list[int] = []
        self.code: Code | None = None

    # --- taking calls in --------------------------------------------------------------------------------------

    def take(self, at: int, entry: Entry) -> bool:
        """Takes a call in; False, and nothing done, where it does not fit."""
        if len(self.k.order) > _LIMIT:
            return False
        split = self.split
        inputs = self._inputs(entry)
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
            self.written[a.address] = a, value
            self.blocks.setdefault(a.block, set()).add(a.address)
        self.entries.append(at)
        return True

    def _inputs(self, entry: Entry) -> list[tuple[Any, str]] | None:
        """The operands and how each lies in the group's shape, if the call is elementwise on it."""
        if entry.kind == "chain":
            if all(self._whole(a) and self._sound(a) for a in entry.args):
                return [(a, "whole") for a in entry.args]
            return None
        if entry.function.__name__ not in _NUMERIC or set(entry.kwargs) - {"out"}:
            return None
        out = entry.made[0] if entry.made else entry.wrote[0]
        if not self._whole(out) or not self._sound(out):
            return None
        inputs: list[tuple[Any, str]] = []
        for x in entry.args[: entry.function.nin]:
            if not isinstance(x, Place):
                if not isinstance(x, (int, float)) or isinstance(x, bool):
                    return None
                inputs.append((x, "constant"))
                continue
            found = self._kind(x, out.shape) if x.dtype == self.dtype and self._sound(x) else None
            if found is None or (found[1] is not None and self.split not in (None, found[1])):
                return None
            self.split = found[1] or self.split
            inputs.append((x, found[0]))
        return inputs

    def _whole(self, a: Place) -> bool:
        return a.size == self.size and a.dtype == self.dtype and a.contiguous

    def _sound(self, a: Place) -> bool:
        """Whether an array shows exactly what one call of the group has written, or nothing that one has."""
        for place in self.blocks.get(a.block, ()):
            if place == a.address and self._whole(a):
                continue
            low, high = a.bounds
            if place < high and low < place + self.bytes:
                return False
        return True

    def _kind(self, a: Place, shape: tuple[int, ...]) -> tuple[str, tuple[int, int] | None] | None:
        """How an operand lies in the result's shape, and into which rows it splits it."""
        if a.size == self.size:
            return ("whole", None) if a.contiguous else None
        if a.size == 1:
            return "number", None
        ndim = len(shape)
        full = (1,) * (ndim - a.ndim) + a.shape
        lead, tail = 0, ndim
        while full[lead] == 1:
            lead += 1
        while full[tail - 1] == 1:
            tail -= 1
        if full[lead:] == shape[lead:] and a.contiguous:
            return "row", (self.size // a.size, a.size)
        if full[:tail] == shape[:tail] and a.contiguous:
            return "column", (a.size, self.size // a.size)
        return None

    def _value(self, x: Any, kind: str) -> Value:
        if kind == "constant":
            return self.k.const(float(x))
        if kind == "whole" and x.address in self.written:
            return self.written[x.address][1]
        name = f"{kind}{x.address}"
        self.operands[name] = x.address, kind
        return self.k.load(name) if kind in ("whole", "row") else self.k.load_row(name)

    def _chain(self, entry: Entry, inputs: list[tuple[Any, str]]) -> list[tuple[Place, Value]]:
        symbols = [Symbol(self.k, self._value(a, kind)) for a, kind in inputs]
        entry.function(*symbols, *(Symbol(self.k) for _ in range(entry.kwargs["temps"])))
        return [(a, s.value) for a, s in zip(entry.args, symbols, strict=True) if s.written]  # type: ignore[misc]

    # --- the kernel -------------------------------------------------------------------------------------------

    def calls(self, read: Callable[[Block], bool]) -> list[tuple[int, bytes, int, int]]:
        """The native calls: function, table, rows, rows that a thread takes together; `read`: blocks that are later."""
        k = self.k
        for place, (a, value) in self.written.items():
            if read(a.block):
                self.operands[f"whole{place}"] = place, "whole"
                k.store(f"whole{place}", value)
        if not k.sinks:
            return []
        self.code = code = _compiled(k)
        names, weight = list(k.operands), weight_of(k)
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
            tables.append((code.address, pack(length, count, *words), count, piece))
        return tables


def _rows(size: int) -> tuple[int, int]:
    return (1, size) if size <= 2 * _ROW else (size // _ROW, _ROW)


def _compiled(k: RowKernel) -> Code:
    """The kernel's code; that of another kernel of the same form, if there is one."""
    names = {name: f"o{i}" for i, name in enumerate(k.operands)}
    steps = tuple((v.op, tuple(a.index for a in v.args), names.get(v.imm, v.imm)) for v in k.order)
    form = k.double, steps, tuple(s.index for s in k.sinks)
    found = _made.get(form)
    if found is None:
        found = _made[form] = Code(k.compile(WIDE))
    return found


def native(args: tuple[Any, ...], memory: Memory) -> Entry:
    """The entry of native calls whose tables have addresses of blocks."""
    entry = Entry("native", None, args, {})
    entry.touched = set().union(*map(memory.blocks_of, tables_of(args)))
    return entry


def fuse(entries: Sequence[Entry], memory: Memory, live: set[Block]) -> list[Entry]:
    """The entries with elementwise ones joined; `live`: the blocks that are read after the last entry."""
    last: dict[Block, int] = {}
    for i, entry in enumerate(entries):
        for block in entry.touched:
            last[block] = i
    result: list[Entry] = []
    group: _Group | None = None
    ones = all_ones(entries)

    def flush() -> None:
        nonlocal group
        if group is None:
            return
        end = group.entries[-1]
        for call in group.calls(lambda block: last[block] > end or block in live):
            joined = native(("run", *call), memory)
            joined.fused, joined.code = len(group.entries), group.code
            result.append(joined)
        group = None

    for i, entry in enumerate(entries):
        shaped = _shape_of(entry)
        if shaped is None:
            flush()
            calls = [("run", *call) for call in column_sums(entry) or native_copy(entry)] or sum_by_ones(entry, ones)
            result += [native(call, memory) for call in calls] or [entry]
            continue
        if group is not None and (group.size, group.dtype) == (int(np.prod(shaped[0], dtype=np.int64)), shaped[1]):
            if group.take(i, entry):
                continue
        flush()
        group = _Group(*shaped)
        if not group.take(i, entry):
            group = None
            result.append(entry)
    flush()
    return living(result, live)


def _shape_of(entry: Entry) -> tuple[tuple[int, ...], np.dtype] | None:
    """The shape and type that an elementwise call works on."""
    if entry.kind == "chain":
        a = entry.args[0]
    elif entry.kind == "ufunc" and len(entry.made) + len(entry.wrote) == 1:
        a = entry.made[0] if entry.made else entry.wrote[0]
    else:
        return None
    return (a.shape, a.dtype) if a.dtype in _FLOATS and a.size else None
