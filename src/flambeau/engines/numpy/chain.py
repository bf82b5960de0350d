"""Chains of ufuncs run block by block, so that what one call writes the next one still finds in the cache.

A chain is a function `chain(*arrays, *temps)` that reads some of its arrays and fills the others, elementwise and with
`out=` everywhere. `run_chain` calls it once on small arrays and on blocks of flat views, over all cores, on large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native import hooks
from ..native.symbols import Symbol, native_chain
from .parallel import BLOCK, parallel_for, scratch

__all__ = ["choose", "keep_where", "row_blocks", "run_chain", "select_bits"]

_FEW = 256  # elements up to which a chain is left to NumPy
_SPREAD = 4 * BLOCK  # elements from which waking another thread pays for a chain of several ufuncs
_TEMPS = tuple(("chain", i) for i in range(8))


def run_chain(chain: Callable[..., Any], arrays: tuple, temps: int = 0) -> None:
    """Call `chain(*arrays, *temps)` so that each piece of work fits in the cache.

    All arrays have one shape; those that the chain writes must be C-contiguous. Temporaries have the dtype of the first
    array.
    """
    first = arrays[0]
    n = first.size
    # a handful of ufuncs on a few numbers costs less than the call of a native kernel
    if (n > _FEW or hooks.capture is not None) and native_chain(chain, arrays, temps):
        return
    if n <= BLOCK:
        chain(*arrays, *[np.empty(first.shape, first.dtype) for _ in range(temps)])
        return
    flat = [a.reshape(-1) for a in arrays]
    dtype = first.dtype

    def piece(start: int, stop: int) -> None:
        spare = [scratch(_TEMPS[i], (stop - start,), dtype) for i in range(temps)]
        chain(*[a[start:stop] for a in flat], *spare)

    parallel_for(n, piece, grain=_SPREAD, block=BLOCK if n <= _SPREAD else 2 * BLOCK)


def row_blocks(rows: int, width: int) -> int:
    """How many rows of `width` elements make one block."""
    return max(1, min(rows, 2 * BLOCK // max(width, 1)))


# --- choosing without branches ------------------------------------------------------------------------------------
# np.where and masked copies branch on every element: on random masks they are ten times slower than a pass over the
# bits, which is exact, infinities and NaN included.

_BITS: dict[int, np.dtype] = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}


def keep_where(mask: np.ndarray, a: np.ndarray, out: np.ndarray) -> None:
    """Write `a` where `mask`, else zero, to `out`."""
    if out.__class__ is Symbol:
        out.set(out.k.select(mask.value, a.value, 0.0))
        return
    bits = _BITS[a.itemsize]
    np.multiply(a.view(bits), mask, out=out.view(bits))


def select_bits(mask: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write `a` where `mask`, else `b`, to `out`, which may be `a`, but not `b`. Either may be of one element."""
    if out.__class__ is Symbol:
        out.set(out.k.select(mask.value, a.value, b.value))
        return
    bits = _BITS[out.itemsize]
    res, low = out.view(bits), b.view(bits)
    np.subtract(a.view(bits), low, out=res)
    np.multiply(res, mask, out=res)
    np.add(res, low, out=res)


def choose(mask: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`np.where(mask, a, b)`, over the bits where that is quicker."""
    dtype = a.dtype
    if (
        mask.size < 512
        or dtype != b.dtype
        or dtype.kind != "f"
        or dtype.itemsize not in _BITS
        or mask.dtype != np.bool_
    ):
        return np.where(mask, a, b)
    shape = mask.shape
    if (
        (a.shape != shape and a.size != 1)
        or (b.shape != shape and b.size != 1)
        or a.ndim > len(shape)
        or b.ndim > len(shape)
    ):
        return np.where(mask, a, b)
    out = np.empty(shape, dtype)
    if mask.size <= BLOCK:
        select_bits(mask, np.asarray(a), np.asarray(b), out)
        return out
    flat = [v.reshape(-1) for v in (mask, np.asarray(a), np.asarray(b), out)]

    def piece(start: int, stop: int) -> None:
        select_bits(*(v if v.size == 1 else v[start:stop] for v in flat))

    parallel_for(mask.size, piece, grain=_SPREAD, block=BLOCK)
    return out
