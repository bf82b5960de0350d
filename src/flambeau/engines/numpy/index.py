"""Picking and placing elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

_WHOLE = slice(None)


def _is_places(item: Any) -> bool:
    return item.__class__ is np.ndarray and item.dtype != bool


def alias(a: Any) -> Any:
    """The same memory under a new array."""
    return a[...]


def basic_index(a: Any, index: Any) -> Any:
    """A view by ints, slices, None and Ellipsis."""
    if index.__class__ is int:
        return a[index, ...]
    return a[(*index, ...)] if Ellipsis not in index else a[index]


def basic_index_put(g: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Zeros of `shape` with `g` at a basic index."""
    result = np.zeros(shape, g.dtype)
    result[index] = g
    return result


def index(a: Any, index: Any) -> Any:
    """A copy by arrays of indices and masks."""
    if len(index) == 1 and index[0].__class__ is np.ndarray and index[0].dtype != bool and a.ndim:
        return a.take(index[0], 0) if a.size else a[index]
    if len(index) == 2 and index[0].__class__ is slice and index[0] == _WHOLE and _is_places(index[1]) and a.size:
        return a.take(index[1], 1)
    return np.ascontiguousarray(a[index]) if a.ndim else a[index]


def _unique_places(index: Any) -> bool:
    """Whether no element can be picked twice: masks and slices only."""
    return all(not isinstance(i, np.ndarray) or i.dtype == bool for i in index)


def index_add_zeros(g: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Zeros of `shape` with `g` added at `index`."""
    result = np.zeros(shape, g.dtype)
    if _unique_places(index):
        result[index] = g
    elif len(index) == 1 and g.dtype.kind == "f" and g.size > 64:
        _add_rows(result, index[0], g)
    else:
        np.add.at(result, index, g)
    return result


def _add_rows(result: Any, rows: Any, g: Any) -> None:
    """Adds rows of `g` to rows of `result`, which is C-contiguous: by places in the flat array, NumPy's quickest
    way.
    """
    n = result.shape[0]
    flat = rows.reshape(-1)
    flat = np.where(flat < 0, flat + n, flat)
    width = result.size // n if n else 0
    places = np.add.outer(flat * width, np.arange(width))
    np.add.at(result.reshape(-1), places.reshape(-1), g.reshape(-1))


def index_put(a: Any, values: Any, index: Any, accumulate: bool) -> Any:
    """A copy of `a` with `values` written or added at `index`."""
    result = np.array(a)
    if accumulate:
        np.add.at(result, index, values)
    else:
        result[index] = values
    return result


def index_clear(a: Any, index: Any) -> Any:
    """A copy of `a` with zeros at `index`."""
    result = np.array(a)
    result[index] = 0
    return result


def gather(a: Any, dim: int, index: Any) -> Any:
    """Values picked along `dim`."""
    if index.size == 0:
        return np.empty(index.shape, a.dtype)
    if a.ndim == 0 or index.ndim == 0:
        return np.asarray(a).reshape(-1)[index]
    d = dim % a.ndim
    if all(i == d or n == m for i, (n, m) in enumerate(zip(index.shape, a.shape, strict=True))):
        return a.reshape(-1).take(flat_places(index, a.shape, d))
    return a[_open_index(index, d)]


def flat_places(index: Any, shape: tuple[int, ...], dim: int) -> Any:
    """Places along `dim`, everywhere else all of `shape`, as places in the flat array."""
    before, after = 1, 1
    for n in shape[:dim]:
        before *= n
    for n in shape[dim + 1 :]:
        after *= n
    places = index.reshape(before, -1, after)
    places = places * after if after > 1 else places
    if before > 1:
        places = places + np.arange(0, before * shape[dim] * after, shape[dim] * after).reshape(-1, 1, 1)
    if after > 1:
        places = places + np.arange(after)
    return places.reshape(index.shape)


def _open_index(index: Any, dim: int) -> tuple[Any, ...]:
    grid: list[Any] = list(np.ogrid[tuple(slice(0, n) for n in index.shape)])
    grid[dim] = index
    return tuple(grid)


def scatter_add_zeros(g: Any, shape: tuple[int, ...], dim: int, index: Any) -> Any:
    """Zeros of `shape` with `g` added at `index` along `dim`."""
    result = np.zeros(shape, g.dtype)
    if index.size == 0:
        return result
    if not shape or index.ndim == 0:
        np.add.at(result.reshape(-1), index.reshape(-1), g.reshape(-1))
        return result
    d = dim % len(shape)
    if index.shape[d] == 1:
        result[_open_index(index, d)] = g
        return result
    if all(i == d or n == m for i, (n, m) in enumerate(zip(index.shape, shape, strict=True))):
        np.add.at(result.reshape(-1), flat_places(index, shape, d).reshape(-1), g.reshape(-1))
    else:
        np.add.at(result, _open_index(index, d), g)
    return result


def scatter_add(a: Any, dim: int, index: Any, src: Any) -> Any:
    """`a` with `src` added at `index` along `dim`."""
    cut = src[tuple(slice(0, n) for n in index.shape)] if src.ndim else src
    return a + scatter_add_zeros(cut, a.shape, dim, index)
