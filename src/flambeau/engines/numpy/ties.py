"""Which of equal elements a selection names: of small arrays the one that PyTorch does.

PyTorch leaves it open, and takes what the C++ standard library's algorithms (GNU's) and a quickselect of its own come
to. They go by comparisons alone, so a line's ranks are enough to follow them. Larger arrays are not followed: there
the first of equal elements is the one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native.hooks import needs_sight

__all__ = ["first_of_nan", "follow", "kth_place", "mode_place", "sorted_places", "top_places"]

#: Elements of an array up to which selections are followed, and up to which orders are.
SELECTED, SORTED = 4096, 256
SHORT = 16  # up to so many elements, sorting is by insertion

Items = list[tuple[int, int]]  # rank and place


def follow(
    a: Any, dim: int, most: int, places: Any, method: Callable[..., Any], *options: Any, ordered: Any = None
) -> Any:
    """`places`, found along `dim` of `a`, but for lines with equal elements: there what `method(ranks, ...)` names.

    `ordered` is `a` in order along `dim`, if the caller has it.
    """
    if a.size > most or not a.shape[dim]:
        return places
    needs_sight()
    if a.__class__ is not np.ndarray:  # another device's
        return places
    lines = np.moveaxis(a, dim, -1)
    ordered = np.sort(lines, -1) if ordered is None else np.moveaxis(ordered, dim, -1)
    same = (ordered[..., 1:] == ordered[..., :-1]) | (ordered[..., :-1] != ordered[..., :-1])  # NaN are alike
    if not same.any():
        return places
    which = np.argwhere(same.any(-1))
    several = places.ndim == a.ndim
    found = np.array(np.moveaxis(places, dim, -1) if several else places)
    for at in map(tuple, which):
        found[at] = method(_ranks(lines[at]), *options or (found[at],))
    return np.moveaxis(found, -1, dim) if several else found


def _ranks(line: np.ndarray) -> list[int]:
    """The rank of each element among the different ones; NaN is the largest."""
    return np.unique(line, return_inverse=True)[1].tolist()


def _items(ranks: list[int]) -> Items:
    return list(zip(ranks, range(len(ranks)), strict=True))


# --- GNU's algorithms ---------------------------------------------------------------------------------------------


def _partition(v: Items, first: int, last: int) -> int:
    """Moves a median of three to the front and parts the others by it; where the larger ones begin."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    x, y, z = v[a][0], v[b][0], v[c][0]
    if x < y:
        m = b if y < z else c if x < z else a
    else:
        m = a if x < z else c if y < z else b
    v[first], v[m] = v[m], v[first]
    pivot, low, high = v[first][0], first + 1, last
    while True:
        while v[low][0] < pivot:
            low += 1
        high -= 1
        while pivot < v[high][0]:
            high -= 1
        if low >= high:
            return low
        v[low], v[high] = v[high], v[low]
        low += 1


def _insert(v: Items, first: int, last: int) -> None:
    v[first:last] = sorted(v[first:last], key=_rank)


def _rank(item: tuple[int, int]) -> int:
    return item[0]


def _nth_element(v: Items, nth: int) -> None:
    first, last, depth = 0, len(v), 2 * (len(v).bit_length() - 1)
    while last - first > 3:
        if not depth:
            _heap_select(v, first, nth + 1, last)
            v[first], v[nth] = v[nth], v[first]
            return
        depth -= 1
        cut = _partition(v, first, last)
        if cut <= nth:
            first = cut
        else:
            last = cut
    _insert(v, first, last)


def _sort(v: Items, last: int) -> None:
    """Sorts the first `last` elements."""
    parts = [(0, last, 2 * (last.bit_length() - 1))]
    while parts:
        first, end, depth = parts.pop()
        while end - first > SHORT:
            if not depth:
                _heap_select(v, first, end, end)
                _sort_heap(v, first, end)
                break
            depth -= 1
            cut = _partition(v, first, end)
            parts.append((cut, end, depth))
            end = cut
    _insert(v, 0, last)


def _sift(v: Items, base: int, hole: int, size: int, item: tuple[int, int]) -> None:
    """Lets `item` into a heap from `base` on: the hole sinks to the bottom, then the item rises."""
    top, child = hole, hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if v[base + child][0] < v[base + child - 1][0]:
            child -= 1
        v[base + hole] = v[base + child]
        hole = child
    if not size & 1 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        v[base + hole] = v[base + child - 1]
        hole = child - 1
    while hole > top and v[base + (hole - 1) // 2][0] < item[0]:
        v[base + hole] = v[base + (hole - 1) // 2]
        hole = (hole - 1) // 2
    v[base + hole] = item


def _heap_select(v: Items, first: int, middle: int, last: int) -> None:
    """The smallest elements, as a heap, in front of `middle`."""
    size = middle - first
    for parent in reversed(range(size // 2)):
        _sift(v, first, parent, size, v[first + parent])
    for i in range(middle, last):
        if v[i][0] < v[first][0]:
            item, v[i] = v[i], v[first]
            _sift(v, first, 0, size, item)


def _sort_heap(v: Items, first: int, last: int) -> None:
    while last - first > 1:
        last -= 1
        item, v[last] = v[last], v[first]
        _sift(v, first, 0, last - first, item)


# --- selections ---------------------------------------------------------------------------------------------------


def first_of_nan(ranks: list[int], _: Any = None) -> int:
    """The place that a selection by comparisons finds the smallest of nothing but NaN at."""
    v = _items(ranks)
    _nth_element(v, 0)
    return v[0][1]


def top_places(ranks: list[int], count: int, largest: bool) -> list[int]:
    """The places of the `count` largest or smallest, best first."""
    v = _items([-r for r in ranks] if largest else ranks)
    if count * 64 <= len(v):
        _heap_select(v, 0, count, len(v))
        _sort_heap(v, 0, count)
    else:
        _nth_element(v, count - 1)
        _sort(v, count - 1)
    return [place for _, place in v[:count]]


def sorted_places(ranks: list[int], descending: bool) -> list[int]:
    """The order of all."""
    v = _items([-r for r in ranks] if descending else ranks)
    _sort(v, len(v))
    return [place for _, place in v]


def mode_place(ranks: list[int], mode: int) -> int:
    """The last place, in order, of the elements that are as the one at `mode`."""
    v, wanted = _items(ranks), ranks[mode]
    _sort(v, len(v))
    return [place for rank, place in v if rank == wanted][-1]


def kth_place(ranks: list[int], k: int) -> int:
    """The place of the element of ascending rank `k`, by PyTorch's quickselect."""
    v = _items(ranks)
    low, high = 0, len(v) - 1
    while high > low:
        if high == low + 1:
            if v[low][0] > v[high][0]:
                v[low], v[high] = v[high], v[low]
            break
        middle = low + (high - low) // 2
        v[middle], v[low + 1] = v[low + 1], v[middle]
        for i, j in ((low + 1, high), (low, high), (low + 1, low)):
            if v[i][0] > v[j][0]:
                v[i], v[j] = v[j], v[i]
        i, j, pivot = low + 1, high, v[low][0]
        while True:
            i += 1
            while pivot > v[i][0]:
                i += 1
            j -= 1
            while v[j][0] > pivot:
                j -= 1
            if j < i:
                break
            v[i], v[j] = v[j], v[i]
        v[low], v[j] = v[j], v[low]
        if j <= k:
            low = i
        if j >= k:
            high = j - 1
    return v[k][1]
