"""What special functions are made of: blocks of doubles, formulas by region, polynomials.

A function is written for a flat block of float64 numbers, which it must not change, and returns a new block. So
narrower types are computed in double precision and rounded once, and what a formula makes stays in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..native.hooks import needs_sight
from .parallel import parallel_for

__all__ = ["chebyshev", "fill", "head", "kernel", "polynomial"]

_BLOCK = 16384
_GRAIN = 2 * _BLOCK  # elements from which another thread is of use

Block = np.ndarray


def kernel(formula: Callable[..., Block]) -> Callable[..., np.ndarray]:
    """The kernel that computes `formula`, in the dtype of its last operand; operands broadcast."""

    @functools.wraps(formula)
    def run(*operands: Any) -> np.ndarray:
        needs_sight()
        arrays = [np.asarray(a) for a in operands]
        if len(arrays) > 1:
            arrays = list(np.broadcast_arrays(*arrays))
        last = arrays[-1]
        order = None
        if not last.flags.c_contiguous:  # the result lies in memory as the operand does
            order = sorted(range(last.ndim), key=lambda d: -abs(last.strides[d]))
            arrays = [a.transpose(order) for a in arrays]
        flat = [a.reshape(-1) for a in arrays]
        out = np.empty(arrays[-1].shape, operands[-1].dtype)
        result = out.reshape(-1)

        def piece(start: int, stop: int) -> None:
            result[start:stop] = formula(*(a[start:stop].astype(np.float64, copy=False) for a in flat))

        parallel_for(out.size, piece, grain=_GRAIN, block=_BLOCK)
        return out if order is None else out.transpose(np.argsort(order))

    return run


def fill(out: Block, where: np.ndarray, formula: Callable[..., Block], *blocks: Block) -> None:
    """Writes `formula` of those elements of the blocks at which `where` holds to those of `out`."""
    places = np.flatnonzero(where)
    if places.size == out.size:
        out[:] = formula(*blocks)
    elif places.size:
        out[places] = formula(*(block.take(places) for block in blocks))


def polynomial(x: Block, coefficients: Sequence[float]) -> Block:
    """The polynomial with these coefficients, the highest power's first."""
    value = x * coefficients[0]
    value += coefficients[1]
    for c in coefficients[2:]:
        value *= x
        value += c
    return value


def chebyshev(x: Block, coefficients: Sequence[float]) -> Block:
    """A series of Chebyshev polynomials in x / 2, the highest degree's coefficient first, by Clenshaw's recurrence."""
    older, newer = np.zeros_like(x), np.full_like(x, coefficients[0])
    oldest = older
    for c in coefficients[1:]:
        following = x * newer
        following -= older
        following += c
        oldest, older, newer = older, newer, following
    return (newer - oldest) * 0.5


def head(x: Block) -> Block:
    """The upper half of each number's bits, whose square is exact."""
    return (x.view(np.int64) & ~0xFFFFFFFF).view(np.float64)
