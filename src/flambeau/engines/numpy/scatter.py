"""Kernels that write to places along a dimension."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from flambeau.engines.numpy.index import _add_rows, _open_index


def _places(a: Any, dim: int, index: Any) -> tuple[Any, ...]:
    """NumPy's index for PyTorch's: `index` along `dim`, its own coordinates elsewhere."""
    return _open_index(index, dim % a.ndim)


def _written(a: Any, dim: int, index: Any, write: Any) -> Any:
    """A copy of `a` after `write(copy, places)`; a zero-dim array has one place."""
    result = np.array(a)
    if index.size:
        if a.ndim == 0:
            write(result.reshape(1), (index.reshape(-1),))
        else:
            write(result, _places(result, dim, index.reshape(-1) if index.ndim == 0 else index))
    return result


def _cut(src: Any, index: Any) -> Any:
    if src.ndim == 0 or index.ndim == 0:
        return src.reshape(-1)[: index.size]
    return src[tuple(slice(0, n) for n in index.shape)]


def scatter_put(a: Any, dim: int, index: Any, src: Any) -> Any:
    """A copy of `a` with `src` at `index` along `dim`."""

    def write(result: Any, places: Any) -> None:
        result[places] = _cut(src, index)

    return _written(a, dim, index, write)


def scatter_fill(a: Any, dim: int, index: Any, value: Any) -> Any:
    """A copy of `a` with a number at `index` along `dim`."""

    def write(result: Any, places: Any) -> None:
        result[places] = value

    return _written(a, dim, index, write)


def scatter_fill_into(a: Any, dim: int, index: Any, value: Any) -> None:
    """Writes a number at `index` along `dim` into `a` itself, which has dimensions."""
    if index.size:
        a[_places(a, dim, index)] = value


def scatter_extreme(a: Any, dim: int, index: Any, src: Any, how: str) -> Any:
    """A copy of `a` combined at `index` with `src`: the products, maxima or minima."""
    ufunc = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[how]
    return _written(a, dim, index, lambda result, places: ufunc.at(result, places, _cut(src, index)))


def select_rows(a: Any, dim: int, index: Any) -> Any:
    """The slices at `index` along `dim`."""
    if a.ndim == 0:
        return a.reshape(1).take(index.reshape(-1), 0).reshape(())
    return a.take(index.reshape(-1), dim)


def put_rows(g: Any, shape: tuple[int, ...], dim: int, index: Any) -> Any:
    """Zeros of `shape` with the slices of `g` added at `index` along `dim`."""
    result = np.zeros(shape, g.dtype)
    if g.size == 0:
        return result
    if not shape:
        return result + g.sum(dtype=g.dtype)
    d = dim % len(shape)
    lines = np.moveaxis(g, d, 0) if g.ndim else g.reshape(1)
    flat = np.zeros((shape[d], *shape[:d], *shape[d + 1 :]), g.dtype)
    if g.dtype.kind == "f" and g.size > 64:
        _add_rows(flat, index.reshape(-1), lines)
    else:
        np.add.at(flat, index.reshape(-1), lines)
    return np.ascontiguousarray(np.moveaxis(flat, 0, d))


def copy_rows(a: Any, dim: int, index: Any, source: Any) -> Any:
    """A copy of `a` with the slices at `index` replaced by those of `source`."""
    result = np.array(a)
    if a.ndim == 0:
        result[...] = source.reshape(-1)[-1] if source.size else result
        return result
    result[(slice(None),) * (dim % a.ndim) + (index.reshape(-1),)] = source
    return result


def fill_rows(a: Any, dim: int, index: Any, value: Any) -> Any:
    """A copy of `a` with a number in the slices at `index`."""
    result = np.array(a)
    if a.ndim == 0:
        result[...] = value
        return result
    result[(slice(None),) * (dim % a.ndim) + (index.reshape(-1),)] = value
    return result


@functools.lru_cache(maxsize=16)
def _lower(rows: int, columns: int, diagonal: int) -> Any:
    """Where a lower triangle is."""
    return np.tri(rows, columns, diagonal, dtype=bool)


def tril(a: Any, diagonal: int) -> Any:
    """Zeros above a diagonal."""
    if a.shape[-1] * a.shape[-2] > 1 << 22:
        return np.tril(a, diagonal)
    result = np.zeros(a.shape, a.dtype)
    np.copyto(result, a, where=_lower(*a.shape[-2:], diagonal))
    return result


def triu(a: Any, diagonal: int) -> Any:
    """Zeros below a diagonal."""
    if a.shape[-1] * a.shape[-2] > 1 << 22:
        return np.triu(a, diagonal)
    result = np.array(a, order="C")
    np.copyto(result, np.zeros((), a.dtype), where=_lower(*a.shape[-2:], diagonal - 1))
    return result
