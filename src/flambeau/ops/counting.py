"""Counting: how often values occur, histograms in one and several dimensions, and hashes."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.errors import describe, need_tensor
from flambeau.ops import results
from flambeau.ops.dims import reduce_dims
from flambeau.ops.dispatch import by_example, deliver, one_call

__all__ = ["bincount", "hash_tensor", "histc", "histogram", "histogramdd"]


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2, ... occurs in a vector of integers, or the sum of their weights."""
    need_tensor("bincount", input)
    a = input._a
    if a.dtype.kind == "f":
        raise NotImplementedError(f"bincount(): expected integers, got {describe(a)}; convert with .long()")
    if a.ndim != 1 or (a.size and (a.dtype.kind not in "iu" or a.min() < 0)):
        raise RuntimeError(f"bincount(): expected a vector of integers that are not negative, got {describe(a)}")
    if minlength < 0:
        raise RuntimeError(f"bincount(): minlength must not be negative, got {minlength}")
    if weights is None:
        return NS["WRAP"](np.bincount(a.astype(np.int64), minlength=minlength))
    w = weights._a
    if w.shape != a.shape:
        raise RuntimeError(f"bincount(): weights must be a vector of input's length {a.size}, got {list(w.shape)}")
    kind = np.float32 if w.dtype == np.float32 else np.float64
    return NS["WRAP"](np.bincount(a.astype(np.int64), w, minlength).astype(kind))


@by_example
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None) -> Any:
    """How many elements fall into each of `bins` equal parts of [min, max]; both 0: of the data's own range."""
    a = input._a
    if a.dtype.kind not in "fV":
        raise NotImplementedError(f"histc is not implemented for {a.dtype}; convert it to a floating-point type")
    if bins <= 0:
        raise RuntimeError(f"histc(): bins must be positive, got {bins}")
    return deliver("histc", out, NS["WRAP"](_histogram(a, bins, float(min), float(max))))


@one_call
def _histogram(a: Any, bins: int, low: float, high: float) -> Any:
    if low == high and a.size:
        low, high = float(a.min()), float(a.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"histc(): the range from {low} to {high} is not finite")
    if low > high:
        raise RuntimeError(f"histc(): max must not be below min, got min={low}, max={high}")
    return NS["KERNELS_OF"](a).histogram(a, bins, low, high)


def histogram(
    input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False, out: Any = None
) -> Any:
    """Counts (or sums of `weight`) per bin and the edges of the bins: an int, or a vector of edges."""
    a = input._a
    if a.dtype.kind != "f":
        raise RuntimeError(f"histogram is not implemented for {a.dtype}; convert it to a floating-point type")
    edges = bins._a if isinstance(bins, NS["Tensor"]) else bins
    w = None if weight is None else weight._a.reshape(-1)
    if range is None and isinstance(edges, int) and a.size and a.min() == a.max():
        range = (float(a.min()) - 0.5, float(a.min()) + 0.5)
    counts, found = np.histogram(a.reshape(-1), edges, range, density, w)
    both = (NS["WRAP"](counts.astype(a.dtype)), NS["WRAP"](found.astype(a.dtype)))
    return deliver("histogram", out, results.histogram(both))


def histogramdd(
    input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False
) -> tuple[Any, tuple[Any, ...]]:
    """Counts (or sums of `weight`) of points, rows of `input` (..., N), in N-dimensional bins: `hist`, `bin_edges`.

    `bins`: one number of bins for all dimensions, one for each, or a vector of edges for each; `range`: lowest and
    highest edge of each dimension, one after the other.
    """
    a = input._a
    if a.dtype.kind != "f":
        raise RuntimeError(f"histogramdd is not implemented for {a.dtype}; convert it to a floating-point type")
    if a.ndim < 2:
        raise RuntimeError(f"histogramdd(): points need at least 2 dimensions, got {describe(a)}")
    n = a.shape[-1]
    given = [bins] * n if isinstance(bins, int) else [b._a if isinstance(b, NS["Tensor"]) else b for b in bins]
    if len(given) != n:
        raise RuntimeError(f"histogramdd(): bins for each of {n} dimensions are needed, got {len(given)}")
    if range is not None and len(range) != 2 * n:
        raise RuntimeError(f"histogramdd(): two ends for each of {n} dimensions are needed, got {len(range)}")
    points = a.reshape(-1, n)
    limits = [None if range is None else (range[2 * d], range[2 * d + 1]) for d in np.arange(n)]
    edges = [_edges(points[:, d], b, limits[d]) for d, b in enumerate(given)]
    w = np.ones(len(points)) if weight is None else weight._a.reshape(-1).astype(np.float64)
    counts = np.zeros([len(e) - 1 for e in edges])
    inside, places = np.ones(len(points), bool), []
    for values, e in zip(points.T.astype(np.float64), edges, strict=True):
        inside &= (values >= e[0]) & (values <= e[-1])
        places.append(np.clip(np.searchsorted(e, values, "right") - 1, 0, len(e) - 2))
    np.add.at(counts, tuple(p[inside] for p in places), w[inside])
    if density:
        volume: Any = 1.0
        for d, e in enumerate(edges):
            volume = volume * np.diff(e).reshape([-1 if i == d else 1 for i in np.arange(n)])
        counts = counts / volume / counts.sum()
    wrap = NS["WRAP"]
    return results.histogramdd((wrap(counts.astype(a.dtype)), tuple(wrap(e.astype(a.dtype)) for e in edges)))


def _edges(values: Any, bins: Any, limits: Any) -> Any:
    """The edges along one dimension, in double precision."""
    if not isinstance(bins, int):
        return np.asarray(bins, np.float64)
    if limits is None:
        limits = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    low, high = limits
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def hash_tensor(input: Any, dim: Any = (), *, keepdim: bool = False, mode: int = 0, out: Any = None) -> Any:
    """The bits of all elements, or of those along `dim`, as 64-bit numbers, combined by exclusive or: uint64."""
    if mode != 0:
        raise RuntimeError(f"hash_tensor(): the only mode is 0, exclusive or, got {mode}")
    a = input._a
    wide = a.astype({"f": np.float64, "V": np.float64, "u": np.uint64}.get(a.dtype.kind, np.int64))
    bits = np.ascontiguousarray(wide).view(np.uint64).reshape(a.shape)
    dims = reduce_dims(None if dim in ((), []) else dim, a.ndim)
    axes: Any = tuple(range(a.ndim)) if dims is None else dims
    combine: Any = np.bitwise_xor.reduce
    found = combine(bits, axes, keepdims=bool(keepdim)) if a.ndim else bits
    return deliver("hash_tensor", out, NS["WRAP"](np.asarray(found)))
