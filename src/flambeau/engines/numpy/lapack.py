"""Factors as LAPACK packs them, matrix by matrix: QR's reflections, and the symmetric ones of Bunch and Kaufman."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native.hooks import needs_sight
from . import factoring


def geqrf(a: Any) -> tuple[Any, Any]:
    """R above the vectors of the reflections, and their factors."""
    needs_sight()
    if not a.size:
        return np.array(a), np.zeros((*a.shape[:-2], min(a.shape[-2:])), a.dtype)
    columns, tau = np.linalg.qr(a, "raw")
    return np.ascontiguousarray(columns.swapaxes(-1, -2)), tau


def ldl_factor(a: Any, hermitian: bool) -> tuple[Any, Any, Any]:
    """L and D packed into lower triangles, the exchanges (from 1, negative for blocks of two), and `info`."""
    packed, pivots, info = factoring.symmetric(a, hermitian and a.dtype.kind == "c")
    return np.tril(packed), pivots, info


def ldl_solve(packed: Any, pivots: Any, b: Any, hermitian: bool) -> Any:
    """The solution of `a x = b` by substitution, block by block."""
    needs_sight()
    batch = np.broadcast_shapes(packed.shape[:-2], b.shape[:-2])
    x = np.array(np.broadcast_to(b, (*batch, *b.shape[-2:])))
    packed = np.broadcast_to(packed, (*batch, *packed.shape[-2:]))
    pivots = np.broadcast_to(pivots, (*batch, pivots.shape[-1]))
    conj = np.conj if hermitian and packed.dtype.kind == "c" else np.asarray
    for place in np.ndindex(batch):
        _forward(packed[place], pivots[place], x[place], conj)
        _back(packed[place], pivots[place], x[place], conj)
    return x


def _swap(x: Any, i: int, j: int) -> None:
    if i != j:
        x[[i, j]] = x[[j, i]]


def _forward(a: Any, pivots: Any, x: Any, conj: Callable) -> None:
    """Divides by L and D."""
    i = 0
    while i < len(a):
        if pivots[i] > 0:
            _swap(x, i, pivots[i] - 1)
            x[i + 1 :] -= np.outer(a[i + 1 :, i], x[i])
            x[i] /= a[i, i] if conj is np.asarray else a[i, i].real
            i += 1
            continue
        _swap(x, i + 1, -pivots[i + 1] - 1)
        x[i + 2 :] -= a[i + 2 :, i : i + 2] @ x[i : i + 2]
        block = np.array([[a[i, i], conj(a[i + 1, i])], [a[i + 1, i], a[i + 1, i + 1]]])
        x[i : i + 2] = np.linalg.solve(block, x[i : i + 2])
        i += 2


def _back(a: Any, pivots: Any, x: Any, conj: Callable) -> None:
    """Divides by the transpose (or adjoint) of L."""
    i = len(a) - 1
    while i >= 0:
        size = 1 if pivots[i] > 0 else 2
        first = i - size + 1
        x[first : i + 1] -= conj(a[i + 1 :, first : i + 1]).T @ x[i + 1 :]
        _swap(x, i, abs(pivots[i]) - 1)
        i -= size
