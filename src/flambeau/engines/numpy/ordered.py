"""Sums of small arrays in the order in which PyTorch adds on the CPU, so that the last digit is the same too.

PyTorch adds along contiguous memory in vectors of 32 bytes, four vectors side by side, and down columns either several
columns at once, one row after another, or in four interleaved runs of rows. Long runs are cascaded: 16 terms are added,
then 16 such sums, and so on. NumPy's own order (pairwise) is as exact but differs in the last bit, which shows as
soon as a program prints a loss in full.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: PyTorch cuts larger sums into pieces for its threads; from there on the order is not reproduced.
LIMIT = 32768

_add: Any = np.add.reduce
_run = np.add.accumulate


def _cascade(rows: Any) -> Any:
    """Sum over axis 0, as a new array: each run of 16 by itself, then runs of 16 of those."""
    count = rows.shape[0]
    if count <= 16:
        return _add(rows, 0)
    total = None
    while count:
        whole = count // 16
        rest = rows[whole * 16 :]
        if rest.shape[0]:
            part = _add(rest, 0)
            total = part if total is None else total + part
        rows = _add(rows[: whole * 16].reshape((whole, 16) + rows.shape[1:]), 1)
        count = whole
    return total


def _interleaved(rows: Any, out: Any = None) -> Any:
    """Sum over axis 0 in four interleaved runs; rows that are left over join the first."""
    groups = rows.shape[0] // 4
    if not groups:
        return _add(rows, 0, None, out)
    runs = _cascade(rows[: groups * 4].reshape((groups, 4) + rows.shape[1:]))
    first = runs[0]
    for row in rows[groups * 4 :]:
        np.add(first, row, first)
    return _add(runs, 0, None, out)


def flat(a: Any) -> Any:
    """The sum of a contiguous one-dimensional float array of at most `LIMIT` elements."""
    width = 32 // a.itemsize
    vectors = a.size // width
    if not vectors:
        return _add(a) if a.size < 4 else _interleaved(a.reshape(-1, 1))[0]
    lanes = _interleaved(a[: vectors * width].reshape(vectors, width))
    tail = a[vectors * width :]
    if tail.size:
        lanes = np.concatenate((_run(tail)[-1:], lanes))
    return _run(lanes)[-1]


def last(a: Any) -> Any:
    """Sums over the last axis of a contiguous float array of two dimensions."""
    width = 32 // a.itemsize
    vectors = a.shape[1] // width
    if not vectors:
        return _interleaved(a.T)
    lanes = _interleaved(a[:, : vectors * width].reshape(-1, vectors, width).swapaxes(0, 1)).reshape(-1, width)
    if vectors * width < a.shape[1]:
        lanes = np.concatenate((_run(a[:, vectors * width :], 1)[:, -1:], lanes), 1)
    return _run(lanes, 1)[:, -1]


def first(a: Any) -> Any:
    """Sums over the first axis of a contiguous float array of two dimensions."""
    rows, columns = a.shape
    if columns == 1:
        return flat(a.reshape(-1)).reshape(1)
    width = 32 // a.itemsize
    block = 4 * width if columns >= width else 4
    whole = columns - columns % block
    if rows < 4 or whole == columns:
        return _cascade(a)
    if not whole:
        return _interleaved(a)
    out = np.empty(columns, a.dtype)
    if rows <= 16:
        _add(a[:, :whole], 0, None, out[:whole])
    else:
        out[:whole] = _cascade(a[:, :whole])
    _interleaved(a[:, whole:], out[whole:])
    return out


def ordered(a: Any, dim: int | tuple[int, ...] | None) -> Any:
    """The sum of a contiguous float array over `dim` in PyTorch's order, without the summed dimensions.

    `None` where the order is not reproduced: larger arrays, and dimensions that are neither all leading nor all
    trailing.
    """
    if a.size > LIMIT or not a.size or a.dtype.kind != "f" or not a.flags.c_contiguous or a.itemsize < 4:
        return None
    if dim is None:
        return flat(a.reshape(-1))
    if dim == (0,) and a.ndim == 2:
        return first(a)
    axes = dim if isinstance(dim, tuple) else (dim,)
    count, ndim = len(axes), a.ndim
    spots = sorted(d + ndim if d < 0 else d for d in axes)
    if spots == list(range(count)):
        rest = a.shape[count:]
        return first(a.reshape(-1, a.size // _length(a.shape[:count]))).reshape(rest) if rest else flat(a.reshape(-1))
    if spots == list(range(ndim - count, ndim)) and a.size <= LIMIT // 8:
        return last(a.reshape(-1, _length(a.shape[ndim - count :]))).reshape(a.shape[: ndim - count])
    return None


def _length(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
