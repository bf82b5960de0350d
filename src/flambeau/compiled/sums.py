"""Sums down the columns of a matrix, or of each of several: NumPy's reductions of that form, as native calls.

The rows are added one after another, as NumPy adds them, so that the last digit is the same. Eager steps let BLAS sum
large matrices, as a product with ones: here threads share the columns instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.engines.native import threads
from flambeau.engines.native.calls import ENABLED, Kernel

from .capture import Entry
from .memory import Block

__all__ = ["all_ones", "column_sums", "sum_by_ones"]

_ALONE = 30_000  # elements up to which one thread is quicker
_COLUMNS = 128  # at least, that a thread sums

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _copy(k: Any) -> None:
    k.store("out", k.load("row"))


def _add(k: Any) -> None:
    k.store("out", k.load("out") + k.load("row"))


_COPY, _ADD = Kernel(_copy, "first_row"), Kernel(_add, "add_row")


def column_sums(entry: Entry) -> list[tuple[int, bytes, int, int]]:
    """Native calls for a sum over all axis but the last ones of contiguous arrays; empty for any other entry."""
    function = entry.function
    if (
        not ENABLED
        or entry.kind != "call"
        or getattr(function, "__self__", None) is not np.add
        or function.__name__ != "reduce"
    ):
        return []
    a, axis = (entry.args[0], entry.args[1] if len(entry.args) > 1 else entry.kwargs.get("axis", 0))
    out = entry.made[0] if entry.made else entry.wrote[0] if entry.wrote else None
    rest = [x for x in entry.args[2:] if x is not None and x is not out]
    more = {name for name, value in entry.kwargs.items() if value is not None} - {"axis", "out"}
    if rest or more or not isinstance(axis, int) or out is None:
        return []
    if a.dtype not in _FLOATS or out.dtype != a.dtype or a.ndim not in (2, 3) or not out.contiguous:
        return []
    if axis != a.ndim - 2 or not a.size or a.strides[-1] != a.itemsize:
        return []
    (rows, n), outer = a.shape[-2:], a.shape[0] if a.ndim == 3 else 1
    if n < 4:  # NumPy adds these in another order
        return []
    down, over = a.strides[-2], a.strides[0] if a.ndim == 3 else 0
    first = {"row": (a.address, over, 0), "out": (out.address, n * a.itemsize, 0)}
    calls = [_call(_COPY, a.dtype, outer, n, first, 0)]
    if rows > 1:
        at = {"row": (a.address + down, down, over), "out": (out.address, 0, n * a.itemsize)}
        calls.append(_call(_ADD, a.dtype, outer * (rows - 1), n, at, rows - 1))
    return calls


def all_ones(entries: Sequence[Entry]) -> set[Block]:
    """The blocks that are filled with ones and never written again."""
    ones: set[Block] = set()
    others: set[Block] = set()
    for entry in entries:
        written = {p.block for p in (*entry.made, *entry.wrote) if p.size}
        if entry.kind == "call" and entry.function is np.ones:
            others |= ones & written
            ones |= written
        else:
            others |= entry.touched if entry.kind == "native" else written
    return ones - others


def sum_by_ones(entry: Entry, ones: set[Block]) -> list[tuple[Any, ...]]:
    """The arguments of native entries for a product of a vector of ones with a matrix; empty for any other entry."""
    if (
        not ENABLED
        or entry.kind != "call"
        or entry.function is not np.ndarray.dot
        or entry.kwargs
        or len(entry.made) != 1
    ):
        return []
    (vector, a), (out,) = entry.args, entry.made
    if not vector.size or vector.block not in ones or a.ndim != 2 or vector.ndim != 1 or not a.size:
        return []
    if a.dtype not in _FLOATS or out.dtype != a.dtype or a.strides[1] != a.itemsize or not out.contiguous:
        return []
    (rows, n), size, down = a.shape, a.itemsize, a.strides[0]
    first = {"row": (a.address, 0, 0), "out": (out.address, 0, 0)}
    calls: list[tuple[Any, ...]] = [("run", *_call(_COPY, a.dtype, 1, n, first, 0))]
    if rows == 1:
        return calls
    width = n
    if a.size > _ALONE and not threads.alone():
        width = min(n, max(_COLUMNS, -(-n // (2 * threads.count() * 16)) * 16))
    records = []
    for start in range(0, n, width):
        at = {"row": (a.address + down + start * size, down, 0), "out": (out.address + start * size, 0, 0)}
        place, table, *_ = _call(_ADD, a.dtype, rows - 1, min(width, n - start), at, rows - 1)
        records.append((place, table, 0, rows - 1))
    calls.append(("records", records, len(records) > 1))
    return calls


def _call(
    kernel: Kernel, dtype: Any, rows: int, n: int, operands: dict[str, tuple[int, int, int]], inner: int
) -> tuple[int, bytes, int, int]:
    made = kernel.of(dtype)
    words = [word for name in made.operands for word in operands[name]]
    return made.place, made.pack(n, inner or rows, *words), rows, rows
