"""Copies of arrays into another order of strides, and rows picked by number, by the code of `copying`.

What depends on shapes and strides alone is worked out once and kept. NumPy's own copies go number by number where the
contiguous dimensions of both sides differ, and never take more than one thread.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import hooks, threads
from .calls import ENABLED, WIDE, address, function_of
from .copying import DIMS, CopyWord, pick_code, run_code, run_kind, strip_of, transpose_code

__all__ = ["Copy", "Pick", "assign", "can_pick", "contiguous", "pick_of", "plan_copy", "reshaped"]

_ALONE = 1 << 16  # bytes up to which one thread is quicker
_QUICK = 1 << 14  # bytes up to which a call of NumPy's is as quick as one of ours, with what it takes to get there
_QUICK_RUN = 64  # bytes of runs that NumPy copies as quickly as anyone: what has longer ones may be four times as large
_QUICK_PICK = 1 << 18  # bytes of rows that NumPy picks as quickly
_PIECE = 1 << 14  # bytes of a piece of what is one run
_REST = CopyWord.WORDS - CopyWord.ADDRESSES
_TAIL = struct.Struct(f"<{_REST}q").pack
_HEAD = struct.Struct(f"<{CopyWord.ADDRESSES}q").pack

Steps = tuple[int, ...]


class Copy(NamedTuple):
    """How arrays of certain shapes and strides are copied: the function, the table behind the addresses, the rows.

    `size`: the bytes; up to `quick` of them, a call of NumPy's is as good.
    """

    place: int
    call: Callable
    tail: bytes
    rows: int
    size: int
    quick: int

    def table(self, source: int, result: int, rows: int = 0, bad: int = 0) -> bytes:
        """The table for what lies at these addresses."""
        return _HEAD(source, result, rows, bad) + self.tail

    @property
    def piece(self) -> int:
        """How many rows a thread takes together."""
        if self.size <= _ALONE or threads.alone():
            return self.rows
        return -(-self.rows // (2 * threads.count()))


@functools.cache
def _function(code: Callable[..., bytes], key: Any) -> tuple[int, Callable]:
    place, call = function_of(code(WIDE, key))
    words = {CopyWord.RESULT, CopyWord.BAD} if code is pick_code else {CopyWord.RESULT}
    hooks.writes[place] = frozenset(words)
    return place, call


@functools.lru_cache(maxsize=4096)
def plan_copy(shape: Steps, to: Steps, source: Steps, item: int) -> Copy | None:
    """How elements of `item` bytes are copied from one order of strides to another; None where it is NumPy's work.

    The result has no element twice, and no memory in common with the source.
    """
    dims = _joined(shape, to, source)
    if not ENABLED or dims is None or not dims:
        return None
    size = item * math.prod(shape)
    inner = next((dim for dim in dims if dim[1] == item), None)
    if inner is None:
        return None
    dims.remove(inner)
    if inner[2] == item:
        length = inner[0] * item
        if not dims and length > _ALONE:
            dims, length = _pieces(length)
        kind = run_kind(length, WIDE)
        quick = _QUICK if length < _QUICK_RUN else 4 * _QUICK
        return _rows(run_code, kind, dims, (length,), size, quick) if kind else None
    across = next((dim for dim in dims if dim[2] == item), None)
    if across is None or item not in (4, 8):
        return None
    tile = 32 // item
    if across[0] < tile or (inner[0] < tile and across[0] < 4 * tile):  # hardly a square in it
        return None
    dims.remove(across)
    strip = strip_of(item)
    strips = -(-across[0] // strip), strip * across[1], strip * item
    more = inner[0], inner[2], across[0], across[1]
    return _rows(transpose_code, item == 8, [*dims, strips], more, size, _QUICK)


def _joined(shape: Steps, to: Steps, source: Steps) -> list[tuple[int, int, int]] | None:
    """The dimensions as size, step in the result, step in the source: large steps first, those joined that can be.

    None for no elements, or several in one place.
    """
    dims = [(n, d, s) for n, d, s in zip(shape, to, source, strict=True) if n != 1]
    if any(n == 0 or d == 0 for n, d, _ in dims):
        return None
    dims.sort(key=lambda dim: -abs(dim[1]))
    joined: list[tuple[int, int, int]] = []
    for n, d, s in dims:
        if joined and joined[-1][1:] == (n * d, n * s):
            joined[-1] = joined[-1][0] * n, d, s
        else:
            joined.append((n, d, s))
    return joined


def _pieces(length: int) -> tuple[list[tuple[int, int, int]], int]:
    """One run as rows of equal length: each may reach into the next, which copies the same bytes."""
    count = -(-length // _PIECE)
    step = length // count // 64 * 64
    return [(count, step, step)], length - (count - 1) * step


def _rows(
    code: Callable[..., bytes], key: Any, dims: list[tuple[int, int, int]], more: Steps, size: int, quick: int
) -> Copy | None:
    if len(dims) > DIMS:
        return None
    dims = [*reversed(dims), *[(1, 0, 0)] * (DIMS - len(dims))]
    sizes, to, source = zip(*dims, strict=True)
    words = [*sizes, *source, *to, *more]
    place, call = _function(code, key)
    return Copy(place, call, _TAIL(*words, *[0] * (_REST - len(words))), math.prod(sizes), size, quick)


def _planned(to: np.ndarray, source: np.ndarray) -> Copy | None:
    """The plan, where it is worth one: outside of a capture, which notes NumPy's copies and chooses for itself."""
    if source.nbytes <= _QUICK or hooks.capture is not None or source.__class__ is not np.ndarray:
        return None
    if to.dtype != source.dtype or source.dtype.hasobject:
        return None
    plan = plan_copy(to.shape, to.strides, source.strides, source.itemsize)
    return None if plan is None or plan.size <= plan.quick else plan


def assign(to: np.ndarray, source: np.ndarray) -> None:
    """`to[...] = source`, which has the same shape, and no memory in common with it."""
    plan = _planned(to, source)
    if plan is None:
        to[...] = source
    else:
        threads.run(plan.place, plan.call, plan.table(address(source), address(to)), plan.rows, plan.piece)


def contiguous(a: np.ndarray) -> np.ndarray | None:
    """A copy with C strides; None where it is NumPy's work."""
    if a.nbytes <= _QUICK or a.__class__ is not np.ndarray or hooks.capture is not None or a.flags.c_contiguous:
        return None
    out = np.empty(a.shape, a.dtype)
    assign(out, a)
    return out


def reshaped(a: np.ndarray, shape: Steps) -> np.ndarray | None:
    """A copy in another shape; None where it is NumPy's work, or a view will do."""
    if a.nbytes <= _QUICK or a.__class__ is not np.ndarray or a.flags.c_contiguous or _shows(a.shape, a.strides, shape):
        return None
    made = contiguous(a)
    return None if made is None else made.reshape(shape)


@functools.lru_cache(maxsize=1024)
def _shows(shape: Steps, steps: Steps, new: Steps) -> bool:
    """Whether a view can have the new shape, or nothing can."""
    size = math.prod(shape)
    new = tuple(size // max(1, -math.prod(new)) if n == -1 else n for n in new)
    if math.prod(new) != size or not size:
        return True
    old, lengths = [(n, s) for n, s in zip(shape, steps, strict=True) if n != 1], [n for n in new if n != 1]
    while old:
        n, s = old.pop()
        while n % (m := lengths.pop()):  # dimensions that go together have to lie in one run
            more, step = old.pop()
            if step != n * s:
                return False
            n, s = n * more, s
            lengths.append(m)
        if n != m:
            old.append((n // m, s * m))
    return True


# --- rows by number -------------------------------------------------------------------------------------------------


class Pick:
    """Rows of a table by number, written to memory that stays whenever `run` is called."""

    def __init__(self, plan: Copy, table: np.ndarray, numbers: np.ndarray, result: np.ndarray) -> None:
        self.bad = np.zeros(1, np.int64)
        self.plan, self.kept = plan, (table, numbers, result)
        self.words = plan.table(*(address(a) for a in (numbers, result, table, self.bad)))

    def run(self) -> bool:
        """Whether there was a row for each number; those of others are not written."""
        plan = self.plan
        threads.spread(plan.place, plan.call, self.words, plan.rows, plan.piece)
        if self.bad[0]:
            self.bad[0] = 0
            return False
        return True


def pick_of(table: np.ndarray, numbers: np.ndarray, result: np.ndarray) -> Pick | None:
    """What writes the rows of `table` at `numbers` to `result`; None where it is NumPy's work."""
    if not _fit(table, numbers):
        return None
    lead = result.strides[: numbers.ndim]
    if result.strides[numbers.ndim :] != table.strides[1:]:
        return None
    plan = _plan_pick(numbers.shape, lead, numbers.strides, table.strides[0], len(table))
    return None if plan is None else Pick(plan, table, numbers, result)


def can_pick(table: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether rows of the table can be picked here, and are worth it: once, or in each replay of a step."""
    quick = _QUICK_PICK if hooks.capture is None else _QUICK
    return table.strides[0] * numbers.size > quick and _fit(table, numbers)


def _fit(table: np.ndarray, numbers: np.ndarray) -> bool:
    ours = all(a.__class__ is np.ndarray or a.__class__ is hooks.traced for a in (table, numbers))
    if not (ENABLED and ours and numbers.dtype == np.int64 and table.flags.c_contiguous):
        return False
    # the only row of a table, and one without elements, are contiguous whatever the step to the next
    row = math.prod(table.shape[1:]) * table.itemsize
    return table.strides[0] == row > 0 and not table.dtype.hasobject


@functools.lru_cache(maxsize=1024)
def _plan_pick(shape: Steps, to: Steps, numbers: Steps, step: int, count: int) -> Copy | None:
    dims = _joined(shape, to, numbers)
    kind = run_kind(step, WIDE)
    if not dims or not kind:
        return None
    return _rows(pick_code, kind, dims, (step, step, count), step * math.prod(shape), _QUICK)
