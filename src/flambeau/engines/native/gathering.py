"""Rows by number: the gradients of an embedding's rows, added to where they came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import threads
from .calls import Kernel, address, suits
from .records import Record, run_records

__all__ = ["add_rows"]

_ALONE = 60_000  # elements up to which one thread is quicker


def _add(k: Any) -> None:
    k.at_index("table")
    k.store("table", k.load("table") + k.load("rows"))


_ADD = Kernel(_add, "add_rows")


def add_rows(rows: np.ndarray, index: np.ndarray, count: int) -> np.ndarray | None:
    """A table of `count` rows, each the sum of those of `rows` that have its number in `index`.

    `rows` is a matrix, or several that lie wherever they do. None where it has to be NumPy's work. Rows are added in
    their order; threads share the columns, so that no two add to the same place.
    """
    lies = rows if rows.ndim == 2 else rows[:1, :1]  # of which only the rows have to be contiguous
    if index.dtype != np.int64 or not index.flags.c_contiguous or not suits(lies):
        return None
    size, n = rows.itemsize, rows.shape[-1]
    total, inner = index.size, rows.shape[-2]
    outer, step = rows.strides[:2] if rows.ndim == 3 else (0, rows.strides[0])
    table = np.zeros((count, n), rows.dtype)
    if not total or not n:
        return table
    made = _ADD.of(rows.dtype)
    parts = 1 if rows.size < _ALONE else min(threads.count(), max(1, n // 32))
    width = -(-n // parts)
    width = -(-width // 16) * 16
    records: list[Record] = []
    for start in range(0, n, width):
        at = {"table": (address(table) + start * size, n * size, address(index))}
        at["rows"] = (address(rows) + start * size, step, outer)
        words = [word for name in made.operands for word in at[name]]
        records.append((made.place, made.pack(min(width, n - start), inner, *words), 0, total))
    run_records(records, len(records) > 1)
    return table
