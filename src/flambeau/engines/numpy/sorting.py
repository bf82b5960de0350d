"""Kernels that order and search: sorting, selection, extrema with their places, counting.

NaN counts as larger than every number. Of equal elements the first is the one that extrema name; stable sorting keeps
their order, and what other selections name of them is told in `ties.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ties


def argmax(a: Any, dim: int) -> Any:
    """The place of the largest element along `dim`: the first of several, the first NaN before all."""
    return np.argmax(a, dim)


def argmin(a: Any, dim: int) -> Any:
    """The place of the smallest element along `dim`: the first of several, the first NaN before all."""
    return np.argmin(a, dim)


def take_place(a: Any, dim: int, place: Any) -> Any:
    """The element at one place of each line along `dim`."""
    return np.take_along_axis(a, np.expand_dims(place, dim), dim).squeeze(dim)


def put_places(g: Any, shape: tuple[int, ...], dim: int, index: Any) -> Any:
    """Zeros of `shape` with `g` at `index` along `dim`, where no place occurs twice in a line."""
    result = np.zeros(shape, g.dtype)
    if not shape:
        return np.asarray(g).reshape(())
    np.put_along_axis(result, index, g, dim)
    return result


def argsort(a: Any, dim: int, descending: bool = False) -> Any:
    """The order that sorts along `dim`, stable in both directions."""
    if not descending:
        return np.argsort(a, dim, kind="stable")
    order = np.argsort(np.flip(a, dim), dim, kind="stable")
    return (a.shape[dim] - 1) - np.flip(order, dim)


def sort(a: Any, dim: int, descending: bool = False, stable: bool = True) -> tuple[Any, Any]:
    """Sorted values along `dim` and the places they came from; equal elements in their order if `stable`."""
    order = argsort(a, dim, descending)
    ordered = np.take_along_axis(a, order, dim)
    if not stable and a.shape[dim] > ties.SHORT:
        order = ties.follow(a, dim, ties.SORTED, order, ties.sorted_places, descending, ordered=ordered)
    return ordered, np.ascontiguousarray(order)


def topk(a: Any, count: int, dim: int, largest: bool) -> tuple[Any, Any]:
    """The `count` largest (or smallest) elements along `dim`, best first, and their places."""
    n = a.shape[dim]
    if 0 < count and a.size <= ties.SELECTED:
        order = argsort(a, dim, largest)
        ordered, order = np.take_along_axis(a, order, dim), order.take(np.arange(count), dim)
        order = ties.follow(a, dim, ties.SELECTED, order, ties.top_places, count, largest, ordered=ordered)
        return np.take_along_axis(a, order, dim), order
    if count == 0 or n < 1024 or count > n // 8:
        order = argsort(a, dim, largest)
        order = order.take(np.arange(count), dim)
        return np.take_along_axis(a, order, dim), order
    edge = n - count if largest else count - 1
    part = np.argpartition(a, edge, dim)
    part = part.take(np.arange(edge, n) if largest else np.arange(count), dim)
    part.sort(dim)  # equal elements stay in their order
    picked = np.take_along_axis(a, part, dim)
    order = argsort(picked, dim, largest)
    return np.take_along_axis(picked, order, dim), np.take_along_axis(part, order, dim)


def kth(a: Any, rank: int, dim: int) -> tuple[Any, Any]:
    """The element of ascending rank `rank` (from 0) along `dim`, and its place."""
    place = np.argpartition(a, rank, dim).take(rank, dim)
    place = ties.follow(a, dim, ties.SELECTED, place, ties.kth_place, rank)
    return take_place(a, dim, place), place


def median(a: Any, dim: int, skip_nan: bool) -> tuple[Any, Any]:
    """The lower median along `dim` and its place in a stable order; NaN where there is one, or counted out."""
    n = a.shape[dim]
    nans = np.isnan(a) if a.dtype.kind == "f" else None
    if nans is None or not nans.any():
        return _ranked(a, (n - 1) // 2, dim)
    order = np.argsort(a, dim, kind="stable")
    count = np.add.reduce(nans, dim)
    rank = np.maximum((n - count - 1) // 2, 0)
    if not skip_nan:
        rank = np.where(count > 0, n - count, rank)  # the first NaN in the order
    place = take_place(order, dim, rank)
    if skip_nan and (count == n).any():
        place = np.where(count == n, ties.follow(a, dim, ties.SELECTED, place, ties.first_of_nan), place)
    return take_place(a, dim, place), place


def _ranked(a: Any, rank: int, dim: int) -> tuple[Any, Any]:
    """The element of a rank in a stable order, and its place."""
    place = np.argpartition(a, rank, dim).take(rank, dim)
    value = take_place(a, dim, place)
    same = a == np.expand_dims(value, dim)
    if same.sum() > value.size:
        before = np.add.reduce(a < np.expand_dims(value, dim), dim, keepdims=True)
        place = np.argmax(same & (np.cumsum(same, dim) == rank + 1 - before), dim)
    return value, place


def mode(a: Any, dim: int) -> tuple[Any, Any]:
    """The most frequent element along `dim`, the smallest of several, and its last place."""
    n = a.shape[dim]
    lines = np.moveaxis(a, dim, -1).reshape(-1, n)
    order = np.argsort(lines, -1, kind="stable")
    ordered = np.take_along_axis(lines, order, -1)
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.arange(n)
    start = np.maximum.accumulate(np.where(first, places, 0), -1)
    last = np.argmax(places - start, -1)  # the end of the longest run; of equal runs the first
    rows = np.arange(len(lines))
    shape = a.shape[:dim] + a.shape[dim + 1 :]
    place = order[rows, last]
    if n > ties.SHORT:
        place = ties.follow(lines, 1, ties.SORTED, place, ties.mode_place)
    return ordered[rows, last].reshape(shape), place.reshape(shape)


def cummax(a: Any, dim: int) -> tuple[Any, Any]:
    """The running maximum along `dim` and the latest place that reached it."""
    return _running(a, dim, np.maximum)


def cummin(a: Any, dim: int) -> tuple[Any, Any]:
    """The running minimum along `dim` and the latest place that reached it."""
    return _running(a, dim, np.minimum)


def _running(a: Any, dim: int, ufunc: Any) -> tuple[Any, Any]:
    if a.ndim == 0:
        return np.array(a), np.zeros((), np.int64)
    best = ufunc.accumulate(a, dim)
    reached = best == a
    if a.dtype.kind == "f":
        reached |= np.isnan(a)
    shape = [1] * a.ndim
    shape[dim] = a.shape[dim]
    places = np.where(reached, np.arange(a.shape[dim]).reshape(shape), 0)
    return best, np.maximum.accumulate(places, dim)


def unique(a: Any, dim: int | None) -> tuple[Any, Any, Any]:
    """The distinct elements (or slices along `dim`) in order, where each element went, and how many there are."""
    if dim is None:
        values, inverse, counts = np.unique(a, return_inverse=True, return_counts=True, equal_nan=False)
        return values, inverse.reshape(a.shape), counts
    values, inverse, counts = np.unique(a, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    return values, inverse.reshape(-1), counts


def unique_runs(a: Any, dim: int | None) -> tuple[Any, Any, Any]:
    """`unique` of neighbours only, in the order they come."""
    lines = a.reshape(-1) if dim is None else np.moveaxis(a, dim, 0)
    n = lines.shape[0]
    first = np.ones(n, bool)
    if n:
        differs = lines[1:] != lines[:-1]
        first[1:] = differs.any(tuple(range(1, differs.ndim)))
    starts = np.flatnonzero(first)
    inverse = np.cumsum(first) - 1
    counts = np.diff(np.append(starts, n))
    values = lines[starts]
    if dim is None:
        return values, inverse.reshape(a.shape), counts
    return np.ascontiguousarray(np.moveaxis(values, 0, dim)), inverse, counts


def nonzero(a: Any) -> Any:
    """The indices of elements that are not 0, a row each."""
    if a.ndim == 0:
        return np.zeros((int(a != 0), 0), np.int64)
    return np.stack(np.nonzero(a if a.dtype == bool else a != 0)).T


def searchsorted(a: Any, values: Any, right: bool) -> Any:
    """Where each value would be inserted into the ascending lines of `a`; NaN goes last."""
    side: Any = "right" if right else "left"
    if a.ndim == 1:
        return np.searchsorted(a, values, side=side)
    if values.size == 0:
        return np.zeros(values.shape, np.int64)
    lines = a.reshape(values.size // values.shape[-1], a.shape[-1])
    wanted = values.reshape(len(lines), -1)
    found = [np.searchsorted(line, w, side=side) for line, w in zip(lines, wanted, strict=True)]
    return np.stack(found).reshape(values.shape) if found else np.zeros(values.shape, np.int64)


def histogram(a: Any, bins: int, low: float, high: float) -> Any:
    """How many elements fall into each of `bins` equal parts of [low, high]; those outside are not counted."""
    flat = a.reshape(-1)
    kept = flat[(flat >= low) & (flat <= high)]
    place = ((kept - low) * (bins / (high - low))).astype(np.int64)
    return np.bincount(np.minimum(place, bins - 1), minlength=bins).astype(a.dtype)
