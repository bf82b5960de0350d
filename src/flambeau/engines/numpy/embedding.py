"""Kernels of embedding tables: picking rows, and adding gradients back to the rows they came from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..native import hooks
from ..native.copies import can_pick, pick_of
from ..native.gathering import add_rows

__all__ = ["embedding", "embedding_backward", "row_counts"]

_PRODUCT = 1 << 21  # up to so many entries a table of ones and zeros times the gradient beats sorting


def embedding(weight: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The rows of `weight` (count, features) at `indices`, any shape."""
    if can_pick(weight, indices):
        hooks.needs_sight()  # a compiled step prepares the call as a whole
        out = np.empty((*indices.shape, *weight.shape[1:]), weight.dtype)
        pick = pick_of(weight, indices, out)
        if pick is not None and pick.run():
            return out
    return weight.take(indices, axis=0)


def _prepare(args: tuple, made: list[np.ndarray], long_way: Callable[[], None]) -> Callable[[], None] | None:
    """A compiled step's call: `embedding(*args)` written to `made`."""
    weight, indices = args
    pick = pick_of(weight, indices, made[0])
    if pick is None:
        return None

    def step() -> None:
        if not pick.run():
            long_way()

    return step


embedding.prepare = _prepare  # type: ignore[attr-defined]
embedding.any_order = True  # type: ignore[attr-defined]  # of strides, that `made` may have


def row_counts(indices: np.ndarray, count: int) -> np.ndarray:
    """How often each row is picked."""
    return np.bincount(indices.reshape(-1), minlength=count)


def embedding_backward(g: np.ndarray, indices: np.ndarray, count: int) -> np.ndarray:
    """A table of `count` rows with each row of `g` added to row `indices[...]`."""
    rows = indices.reshape(-1)
    features = g.shape[indices.ndim :]
    if g.size == 0:
        return np.zeros((count, *features), g.dtype)
    apart = indices.ndim == 2 and g.ndim == 3 and g.strides[2] == g.itemsize
    table = add_rows(g if apart else g.reshape(rows.size, -1), rows, count)
    if table is not None:
        return table.reshape(count, *features)
    flat = g.reshape(rows.size, -1)
    if rows.size * count <= _PRODUCT and g.dtype.char in "fd":
        picks = np.zeros((rows.size, count), g.dtype)
        picks[np.arange(rows.size), rows] = 1
        table = np.matmul(picks.T, flat)
        if np.isfinite(table.sum()):  # otherwise 0 times an infinity may have spread a NaN to rows without one
            return table.reshape(count, *features)
    result = np.zeros((count, flat.shape[1]), g.dtype)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    result[ordered[starts]] = np.add.reduceat(flat[order], starts, axis=0)
    return result.reshape(count, *features)
