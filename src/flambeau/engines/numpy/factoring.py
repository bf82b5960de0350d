"""P L U and L D L^T as LAPACK packs them: `getrf`, `sytrf` and `hetrf` of the OpenBLAS that NumPy brings, or the same
factors by NumPy's own operations where it brings another.
"""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any

import numpy as np

from ..native.hooks import needs_sight
from .blas import WORD, routine_of

__all__ = ["symmetric", "triangular"]

_LOWER = ctypes.c_char(b"L")
_PANEL = 32  # columns that are eliminated one by one; what is wider is halved, for the products' sake
_GROWTH = (1 + 17**0.5) / 8  # of Bunch and Kaufman 1977: what a pivot must reach of the largest beside it


def triangular(a: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each matrix the triangular factors of P L U packed into one, and the rows exchanged, from 1."""
    needs_sight()
    a = np.asarray(a)
    *batch, m, n = a.shape
    run = routine_of("getrf", a.dtype, 6)
    work = _flat(a, transposed=run is not None)
    pivots = np.zeros((len(work), min(m, n)), np.int32)
    if not a.size:
        return np.array(a), pivots.reshape(*batch, min(m, n))
    if run is None:
        _eliminate(work, pivots)
        return work.reshape(a.shape), (pivots + 1).reshape(*batch, min(m, n))
    rows, columns, info = WORD(m), WORD(n), WORD()
    swaps = np.zeros(min(m, n), WORD)
    for matrix, line in zip(work, pivots, strict=True):
        run(byref(rows), byref(columns), matrix.ctypes.data, byref(rows), swaps.ctypes.data, byref(info))
        _accepted("getrf", info)
        line[:] = swaps
    return _upright(work, a.shape), pivots.reshape(*batch, min(m, n))


def symmetric(a: Any, hermitian: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each matrix L and D packed into its lower triangle, the exchanges (from 1, negative where D has a block of
    two) and the place, from 1, of the first zero block of D, or 0. Only lower triangles are read.
    """
    needs_sight()
    a = np.asarray(a)
    batch, n = a.shape[:-2], a.shape[-1]
    run = routine_of("hetrf" if hermitian else "sytrf", a.dtype, 8)
    work = _flat(a, transposed=run is not None)
    pivots, infos = np.zeros((len(work), n), np.int32), np.zeros(len(work), np.int32)
    if not a.size:
        return np.array(a), pivots.reshape(a.shape[:-1]), infos.reshape(batch)
    if run is None:
        for i, matrix in enumerate(work):
            infos[i] = _bunch_kaufman(matrix, pivots[i], hermitian)
        return work.reshape(a.shape), pivots.reshape(a.shape[:-1]), infos.reshape(batch)
    side, info, swaps = WORD(n), WORD(), np.zeros(n, WORD)

    def call(matrix: np.ndarray, space: np.ndarray, size: int) -> None:
        tail = (swaps.ctypes.data, space.ctypes.data, byref(WORD(size)), byref(info))
        run(byref(_LOWER), byref(side), matrix.ctypes.data, byref(side), *tail, ctypes.c_size_t(1))
        _accepted("sytrf", info)

    space = np.zeros(1, a.dtype)
    call(work[0], space, -1)  # asks how much space it would like
    space = np.zeros(max(1, int(space[0].real)), a.dtype)
    for i, matrix in enumerate(work):
        call(matrix, space, space.size)
        pivots[i], infos[i] = swaps, info.value
    return _upright(work, a.shape), pivots.reshape(a.shape[:-1]), infos.reshape(batch)


def _flat(a: np.ndarray, transposed: bool) -> np.ndarray:
    """A copy with one batch dimension, each matrix laid out by columns if `transposed`."""
    count = 1
    for size in a.shape[:-2]:
        count *= size
    copy = np.array(a.swapaxes(-1, -2) if transposed else a, order="C")
    return copy.reshape(count, *copy.shape[-2:])


def _upright(work: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(work.swapaxes(-1, -2)).reshape(shape)


def _accepted(name: str, info: Any) -> None:
    if info.value < 0:
        raise RuntimeError(f"LAPACK's {name} refuses its argument {-info.value}: please report this as a bug")


# --- without LAPACK -----------------------------------------------------------------------------------------------


def _size(a: np.ndarray) -> np.ndarray:
    """What pivots are compared by: the absolute value, of complex numbers the sum of their parts'."""
    return np.abs(a.real) + np.abs(a.imag) if a.dtype.kind == "c" else np.abs(a)


def _eliminate(a: np.ndarray, pivots: np.ndarray) -> None:
    """Factors a batch of matrices in place; `pivots` gets the rows exchanged, from 0.

    By halves, left before right (Toledo 1997), so that nearly all work is in products.
    """
    m, n = a.shape[-2:]
    k = min(m, n)
    if k <= _PANEL:
        _eliminate_panel(a, pivots)
        return
    half = k // 2
    left, right = a[:, :, :half], a[:, :, half:]
    _eliminate(left, pivots[:, :half])
    _exchange(right, pivots[:, :half])
    unit = np.tril(left[:, :half], -1) + np.eye(half, dtype=a.dtype)
    right[:, :half] = np.linalg.solve(unit, right[:, :half])
    right[:, half:] -= left[:, half:] @ right[:, :half]
    _eliminate(right[:, half:], pivots[:, half:])
    _exchange(left[:, half:], pivots[:, half:])
    pivots[:, half:] += half


def _eliminate_panel(a: np.ndarray, pivots: np.ndarray) -> None:
    every = np.arange(len(a))
    for j in range(pivots.shape[1]):
        chosen = j + _size(a[:, j:, j]).argmax(1)
        pivots[:, j] = chosen
        a[every, j], a[every, chosen] = a[every, chosen], a[every, j]
        head, below = a[:, j, j, None], a[:, j + 1 :, j]
        below /= np.where(head == 0, 1, head)
        a[:, j + 1 :, j + 1 :] -= below[:, :, None] * a[:, j, None, j + 1 :]


def _exchange(a: np.ndarray, pivots: np.ndarray) -> None:
    every = np.arange(len(a))
    for j, chosen in enumerate(pivots.T):
        a[every, j], a[every, chosen] = a[every, chosen], a[every, j]


def _bunch_kaufman(a: np.ndarray, pivots: np.ndarray, hermitian: bool) -> int:
    """Factors one matrix in place, reading and writing its lower triangle; returns `info`."""
    n, info, k = len(a), 0, 0
    conj = np.conj if hermitian else np.asarray
    if hermitian:
        np.fill_diagonal(a, a.diagonal().real)
    while k < n:
        other, step = _pivot(a, k)
        if step == 0:  # the column is zero, or starts with NaN
            info, step = info or k + 1, 1
        else:
            _swap_symmetric(a, k, k + step - 1, other, conj)
            end = k + step
            block, below = a[k:end, k:end], a[end:, k:end]
            if step == 2:
                block[0, 1] = conj(block[1, 0])
            scaled = below / block if step == 1 else np.linalg.solve(block.T, below.T).T
            a[end:, end:] -= scaled @ conj(below).T
            if hermitian:
                np.fill_diagonal(a[end:, end:], a[end:, end:].diagonal().real)
            below[:] = scaled
        pivots[k : k + step] = other + 1 if step == 1 else -(other + 1)
        k += step
    return info


def _pivot(a: np.ndarray, k: int) -> tuple[int, int]:
    """The row to exchange and the size of the block of D; 0 if nothing but zeros is left in column `k`."""
    head, below = _size(a[k, k]), _size(a[k + 1 :, k])
    largest = below.max(initial=0)
    if np.isnan(head) or max(head, largest) == 0:
        return k, 0
    if head >= _GROWTH * largest:
        return k, 1
    i = k + 1 + int(below.argmax())
    beside = max(_size(a[i, k:i]).max(initial=0), _size(a[i + 1 :, i]).max(initial=0))
    if head >= _GROWTH * largest * (largest / beside):
        return k, 1
    return i, 1 if _size(a[i, i]) >= _GROWTH * beside else 2


def _swap_symmetric(a: np.ndarray, k: int, i: int, j: int, conj: Any) -> None:
    """Exchanges rows and columns `i` and `j` > `i` of the lower triangle from column `k` on."""
    if i == j:
        return
    a[[i, j], k:i] = a[[j, i], k:i]
    a[i, i], a[j, j] = a[j, j], a[i, i]
    a[j + 1 :, [i, j]] = a[j + 1 :, [j, i]]
    a[i + 1 : j, i], a[j, i + 1 : j] = conj(a[j, i + 1 : j]).copy(), conj(a[i + 1 : j, i]).copy()
    a[j, i] = conj(a[j, i])
