"""Softmax cross entropy over contiguous rows of scores: its exponentials, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .calls import address, kernel, suits

__all__ = ["exponentials", "gradient_rows"]


@kernel
def _exponentials(k: Any) -> None:
    k.at_index("picked")
    e = k.exp(k.load("input") - k.load_row("picked"))
    k.store("out", e)
    k.store_row("total", k.sum(e))


@kernel
def _gradient(k: Any) -> None:
    k.at_index("spot")
    k.at_index("score")
    factor = k.load_row("share") * k.load_row("grad")
    scale = factor / k.load_row("total")
    k.store("out", k.load("e") * scale)
    k.store_row("spot", k.load_row("score") * scale - factor, after=1)


def _are_places(places: np.ndarray) -> bool:
    return places.dtype == np.int64 and places.flags.c_contiguous


def exponentials(a: np.ndarray, places: np.ndarray, e: np.ndarray, total: np.ndarray) -> Callable[[], None] | None:
    """What writes `exp(a - a.flat[places])` and the sum of each row to memory that stays, whenever it is called.

    None where it has to be NumPy's work.
    """
    if not suits(a, e, total) or not _are_places(places):
        return None
    (rows, n), size = a.shape, a.itemsize
    at = {"input": (address(a), n * size, 0), "out": (address(e), n * size, 0)}
    at["picked"], at["total"] = (address(a), size, address(places)), (address(total), size, 0)
    return _exponentials.prepared(a.dtype, rows, n, at, {})


def gradient_rows(g: Any, e: np.ndarray, total: np.ndarray, places: np.ndarray, share: np.ndarray) -> np.ndarray | None:
    """`share * g * (e / total - onehot)`; None where it has to be NumPy's work. `g` is one number, or one per row."""
    if not isinstance(g, np.ndarray) or not suits(e, total, share, g) or not _are_places(places):
        return None
    (rows, n), size = e.shape, e.itemsize
    if g.size != 1 and g.size != rows:
        return None
    out = np.empty(e.shape, e.dtype)
    at = {name: (address(a), n * size, 0) for name, a in (("e", e), ("out", out))}
    at |= {name: (address(a), size, address(places)) for name, a in (("score", e), ("spot", out))}
    at |= {name: (address(a), size if a.size == rows else 0, 0) for name, a in (("share", share), ("total", total))}
    at["grad"] = address(g), size if g.size == rows else 0, 0
    _gradient.named(e.dtype, rows, n, at, {})
    return out
