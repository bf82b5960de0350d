"""Matrix products of arrays by the generated code of `gemm`: `product` for matrices and batches of them.

What depends on shapes and strides alone (which code, how the work is cut) is worked out once and kept.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from . import hooks, threads
from .calls import ENABLED, WIDE, address, function_of
from .copies import assign
from .gemm import COLUMNS, PACKED, ROWS, Word, gemm_code, tile

__all__ = ["Plan", "packed", "packed_product_table", "plan_product", "product"]

_TAIL = struct.Struct(f"<{Word.COUNT - 4}q")
_HEAD = struct.Struct("<4q").pack
_ALONE = 400_000  # multiply-adds up to which one thread is quicker
_ROWS = 32  # rows for which it is worth packing a panel again
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)

_functions: dict[Any, Any] = {}
_plans: dict[Any, Any] = {}


class Plan:
    """How products of certain shapes and strides are done: the function, the table's words behind the addresses."""

    __slots__ = ("call", "place", "shared", "shape", "tail", "tasks")

    def __init__(self, place: int, call: Any, tail: bytes, tasks: int, shared: bool, shape: tuple[int, ...]) -> None:
        self.place, self.call, self.tail, self.tasks, self.shared, self.shape = place, call, tail, tasks, shared, shape

    def run(self, a: int, b: int, c: int, bias: int = 0) -> None:
        """The product of what lies at these addresses."""
        table = _HEAD(a, b, c, bias) + self.tail
        threads.run(self.place, self.call, table, self.tasks, 1 if self.shared else self.tasks)


def _steps(a: np.ndarray, rows: int, columns: int) -> tuple[bool, int] | None:
    """Whether a matrix's rows (else its columns) are contiguous, and the step from one to the next, in bytes."""
    size = a.itemsize
    down, along = a.strides[-2:]
    if (along == size or columns == 1) and (down >= 0):
        return True, down
    if (down == size or rows == 1) and along >= 0:
        return False, along
    return None


def _batch(a: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The steps of the batch's two dimensions (0 where it is the same for all)."""
    lead = a.ndim - 2
    if lead > 2:
        return None
    steps = [0, 0]
    for i in range(lead):
        n, step = a.shape[i], a.strides[i]
        at = 2 - lead + i
        if n != 1:
            if n != shape[at] or step < 0:
                return None
            steps[at] = step
    return steps[0], steps[1]


def _cut(m: int, k: int, n: int, lanes: int, shares: int) -> tuple[int, int, bool]:
    """How one product is cut for `shares` threads: vectors of a panel, chunks of rows, whether each goes on its own.

    Threads share out the largest of the matrices, each to have in its cache what it needs of it next time: the rows of
    A and C, chunk by chunk, or the columns of B.
    """
    height, vectors = tile(WIDE)
    panels = -(-n // (vectors * lanes))
    by_rows = max(m * k, m * n) >= n * k and m >= _ROWS * shares
    if by_rows:
        chunks = shares
    else:
        chunks = 1
        if n * k > max(m * k, m * n):
            if _most(n, vectors * lanes, shares) > _most(n, 2 * lanes, shares):
                vectors, panels = 2, -(-n // (2 * lanes))
            if panels % shares == 0:
                return vectors, 1, False
    return vectors, _more(chunks, panels, m, shares, height), by_rows


def _more(chunks: int, panels: int, m: int, shares: int, height: int) -> int:
    """So many chunks that every thread has a few tasks."""
    while panels * chunks < 3 * shares and m // (2 * chunks) >= 2 * height:
        chunks *= 2
    return chunks


def _most(n: int, width: int, shares: int) -> int:
    """Columns of the largest share of panels."""
    panels = -(-n // width)
    return -(-panels // shares) * width


def _function(*key: Any) -> tuple[int, Any]:
    found = _functions.get(key)
    if found is None:
        found = _functions[key] = function_of(gemm_code(WIDE, *key))
        hooks.writes[found[0]] = frozenset((Word.C,))
    return found


def packed(b: np.ndarray) -> np.ndarray:
    """A matrix in the order in which products read it: panels of columns, each row after row.

    The last panel is filled up with zeros as far as its last vector goes.
    """
    k, n = b.shape
    _, vectors = tile(WIDE)
    lanes = (64 if WIDE else 32) // b.itemsize
    width = vectors * lanes
    panels = -(-n // width)
    out = np.empty((panels, k, width), b.dtype)
    whole = n // width
    left = n - whole * width
    if left % lanes:
        out[whole, :, left : left + -left % lanes] = 0
    if b.strides[0] < b.strides[1]:  # its columns are contiguous
        assign(out[:whole], b.T[: whole * width].reshape(whole, width, k).transpose(0, 2, 1))
    else:
        assign(out[:whole], b[:, : whole * width].reshape(k, whole, width).transpose(1, 0, 2))
    if left:
        assign(out[whole, :, :left], b[:, whole * width :])
    return out


def packed_product_table(
    m: int, n: int, a: tuple[int, int], b: np.ndarray, c: tuple[int, int], add: bool
) -> tuple[int, bytes, int]:
    """The function, table and number of tasks for `c = a @ b`, or `c += a @ b`, with a packed `b`.

    `a` and `c` are given by their address and row step in bytes; their rows are contiguous.
    """
    height, vectors = tile(WIDE)
    panels, k, width = b.shape
    lanes = width // vectors
    left = n - (panels - 1) * width
    place, _ = _function(b.dtype is _F64, True, PACKED, m % height, -(-left // lanes), left % lanes != 0)
    rows = -(-m // height) * height
    step_b = k * width * b.itemsize
    tail = _TAIL.pack(m, n, k, a[1], step_b, c[1], 1, rows, panels, int(add), 0, 0, 0, 1, 0, 0, 0, 0)
    return place, _HEAD(a[0], address(b), c[0], 0) + tail, panels


def plan_product(a: np.ndarray, b: np.ndarray, c: np.ndarray, add: bool = False, whole: bool = False) -> Plan | None:
    """The plan for `c = a @ b` (or `c += a @ b`) with these shapes and strides, or None where it is not for us.

    Up to two leading dimensions are a batch, in which `a` and `b` may be broadcast. A `whole` one is for one thread.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    lead = c.shape[:-2]
    if len(lead) > 2 or not m or not n or not k:
        return None
    outer, inner = (1, *lead)[-2:] if lead else (1, 1)
    if len(lead) == 2:
        outer, inner = lead
    size = a.itemsize
    if c.strides[-1] != size and n > 1:
        return None
    of_a, of_b = _steps(a, m, k), _steps(b, k, n)
    batches = [_batch(x, (outer, inner)) for x in (a, b, c)]
    if of_a is None or of_b is None or None in batches:
        return None
    (a_rows, step_a), (b_rows, step_b) = of_a, of_b
    if k == 1 and a_rows and not step_a:
        step_a = size
    height, vectors = tile(WIDE)
    lanes = (64 if WIDE else 32) // size
    batch, chunks, by_rows = outer * inner, 1, False
    shares = 1 if whole or batch * m * n * k <= _ALONE else threads.count()
    if shares > 1 and batch == 1:
        vectors, chunks, by_rows = _cut(m, k, n, lanes, shares)
    width = vectors * lanes
    panels = -(-n // width)
    left = n - (panels - 1) * width
    if shares > 1 and batch > 1:
        chunks = _more(1, batch * panels, m, shares, height)
    rows = -(-m // chunks)
    rows = -(-rows // height) * height
    chunks = -(-m // rows)
    lies = ROWS if b_rows else COLUMNS
    found = _function(a.dtype is _F64, a_rows, lies, m % height, -(-left // lanes), left % lanes != 0, vectors)
    steps = [x[0] for x in batches], [x[1] for x in batches]  # type: ignore[index]
    tail = _TAIL.pack(
        m, n, k, step_a, step_b, c.strides[-2], chunks, rows, panels, int(add), *steps[0], inner, *steps[1],
        int(by_rows),
    )  # fmt: skip
    tasks = batch * panels * chunks
    return Plan(*found, tail, tasks, tasks > 1 and shares > 1 and not threads.alone(), c.shape)


def product(
    a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, bias: np.ndarray | None = None, add: bool = False
) -> np.ndarray | None:
    """`a @ b + bias`, or `out += a @ b`; None, and nothing done, where it has to be NumPy's work.

    Matrices or batches of them with up to two leading dimensions, float32 or float64, rows or columns contiguous.
    `bias` is a contiguous vector. `out`, if given, has contiguous rows and does not overlap the operands.
    """
    dtype = a.dtype
    if not ENABLED or (dtype is not _F32 and dtype is not _F64) or b.dtype is not dtype:
        return None
    if out is None:
        lead = a.shape[:-2] if a.ndim == b.ndim else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if a.ndim == b.ndim and lead != b.shape[:-2]:
            lead = np.broadcast_shapes(lead, b.shape[:-2])
        key: Any = (dtype, a.shape, b.shape, a.strides, b.strides)
        found = _plans.get(key, _plans)
        if found is _plans:
            found = _remember(key, a, b, np.empty((*lead, a.shape[-2], b.shape[-1]), dtype), add)
        if found is None:
            return None
        out = np.empty(found.shape, dtype)
    else:
        key = (dtype, a.shape, b.shape, a.strides, b.strides, out.strides, add)
        found = _plans.get(key, _plans)
        if found is _plans:
            found = _remember(key, a, b, out, add)
        if found is None:
            return None
    found.run(address(a), address(b), address(out), 0 if bias is None else address(bias))
    return out


def _remember(key: Any, a: np.ndarray, b: np.ndarray, c: np.ndarray, add: bool) -> Plan | None:
    if len(_plans) > 4096:
        _plans.clear()
    made = _plans[key] = plan_product(a, b, c, add) if a.shape[-1] == b.shape[-2] else None
    return made


threads.ON_CHANGE.append(_plans.clear)
