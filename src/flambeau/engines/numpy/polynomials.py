"""Orthogonal polynomials: recurrences that run over all elements at once, each keeping the value of its own degree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: Per family: the polynomial of degree 1, and the next one from the last two (q the younger) after degree k.
_RECURRENCES: dict[str, tuple[Callable, Callable]] = {
    "t": (lambda x: x, lambda k, x, p, q: 2 * x * q - p),
    "u": (lambda x: 2 * x, lambda k, x, p, q: 2 * x * q - p),
    "v": (lambda x: 2 * x - 1, lambda k, x, p, q: 2 * x * q - p),
    "w": (lambda x: 2 * x + 1, lambda k, x, p, q: 2 * x * q - p),
    "h": (lambda x: 2 * x, lambda k, x, p, q: 2 * x * q - 2 * k * p),
    "he": (lambda x: x, lambda k, x, p, q: x * q - k * p),
    "l": (lambda x: 1 - x, lambda k, x, p, q: ((2 * k + 1 - x) * q - k * p) / (k + 1)),
    "p": (lambda x: x, lambda k, x, p, q: ((2 * k + 1) * x * q - k * p) / (k + 1)),
}
#: Degrees above these use the closed form inside the interval.
_CLOSED = {"t": 6, "u": 8, "v": 8, "w": 8, "shifted t": 6, "shifted u": 6, "shifted v": 6, "shifted w": 4}
#: Hermite's polynomials of higher degrees are NaN.
_HERMITE_LIMIT = {np.dtype(np.float32): 128, np.dtype(np.float64): 512}


def orthogonal_polynomial(kind: str, x: Any, n: Any) -> Any:
    """The polynomials of family `kind` and degrees `n` at `x`."""
    x, n = np.broadcast_arrays(x, n)
    degree = np.trunc(np.nan_to_num(n)).astype(np.int64)
    family = kind.removeprefix("shifted ")
    y = 2 * x - 1 if kind != family else x
    closed = (np.abs(y) < 1) & (degree > _CLOSED[kind]) if kind in _CLOSED else np.zeros(x.shape, bool)
    ends = np.abs(y) == 1 if kind in _CLOSED else np.zeros(x.shape, bool)
    result = _by_recurrence(family, y, np.where(closed | ends, -1, degree))
    if closed.any():
        result = np.where(closed, _closed(family, y, degree), result)
    if ends.any():
        result = np.where(ends & (degree >= 0), _at_ends(family, y, degree), result)
    if family in ("h", "he"):
        result = np.where(degree > _HERMITE_LIMIT.get(x.dtype, 128), np.nan, result)
    return result.astype(x.dtype)


def _by_recurrence(family: str, x: Any, degree: Any) -> Any:
    first, following = _RECURRENCES[family]
    older, younger = np.ones_like(x), first(x)
    result = np.where(degree == 0, older, np.where(degree == 1, younger, np.zeros_like(x)))
    top = int(degree.max(initial=0))
    for k in range(1, top):
        newest = following(x.dtype.type(k), x, older, younger)
        older, younger = younger, np.where(np.isnan(younger), younger, newest)
        result = np.where(degree == k + 1, younger, result)
        if np.isnan(younger).all():
            return np.where(degree > k, younger, result)
    return result


def _closed(family: str, x: Any, n: Any) -> Any:
    """Chebyshev's polynomials as quotients of sines and cosines."""
    n = n.astype(x.dtype)
    angle = np.arccos(np.clip(x, -1, 1))
    half = angle / 2
    if family == "t":
        return np.cos(n * angle)
    if family == "u":
        return np.sin((n + 1) * angle) / np.sin(angle)
    if family == "v":
        return np.cos((n + x.dtype.type(0.5)) * angle) / np.cos(half)
    return np.sin((n + x.dtype.type(0.5)) * angle) / np.sin(half)


def _at_ends(family: str, x: Any, n: Any) -> Any:
    """Chebyshev's polynomials at 1 and -1."""
    right, sign = x > 0, np.where(n % 2 == 0, 1, -1)
    if family == "t":
        return np.where(right, 1, sign)
    if family == "u":
        return np.where(right, n + 1, sign * (n + 1))
    if family == "v":
        return np.where(right, 1, sign * (2 * n + 1))
    return np.where(right, 2 * n + 1, sign)
