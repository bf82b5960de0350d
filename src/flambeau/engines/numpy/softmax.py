"""Softmax, its logarithm, log-sum-exp and their gradients on raw arrays.

Rows (the last dimension) are worked in blocks that fit the cache. There the exponentials are first taken as they are:
as long as every row's sum stays far from overflow and underflow that is exact, and it saves finding each row's maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native.softmaxes import log_softmax_rows, log_softmax_rows_backward, softmax_rows, softmax_rows_backward
from .chain import row_blocks
from .parallel import BLOCK, parallel_for, scratch

__all__ = ["log_softmax", "log_softmax_backward", "logsumexp", "row_max", "row_sum", "softmax", "softmax_backward"]

Array = Any

_SMALL = 4096  # up to here the exact way is also the quicker one
_LOW, _HIGH = 1e-20, 1e30
_ones: dict[tuple[int, np.dtype], Array] = {}


def _ones_of(n: int, dtype: np.dtype) -> Array:
    found = _ones.get((n, dtype))
    if found is None:
        if len(_ones) > 256:
            _ones.clear()
        found = np.ones(n, dtype)
        found.flags.writeable = False
        if n <= BLOCK:
            _ones[n, dtype] = found
    return found


def row_sum(a: Array) -> Array:
    """Sum of each row of a matrix, as a dot product with ones: several times faster than a reduction of short rows."""
    return np.vecdot(a, _ones_of(a.shape[-1], a.dtype))


def row_max(a: Array) -> Array:
    """Largest element of each row of a matrix, NaN if there is one; `argmax` is the quickest way there."""
    index = a.argmax(-1)
    return a[np.arange(len(a)), index]


def _finite_or_zero(m: Array) -> Array:
    """Row maxima to subtract: an infinite one would turn infinity minus infinity into NaN where PyTorch has a limit."""
    return np.where(np.isinf(m), np.zeros((), m.dtype), m)


def _softmax_rows(a: Array, out: Array, exact: bool) -> None:
    if not exact:
        np.exp(a, out=out)
        total = row_sum(out)
        if np.minimum.reduce(total) > _LOW and np.maximum.reduce(total) < _HIGH:
            np.divide(out, total[:, None], out=out)
            return
    np.subtract(a, row_max(a)[:, None], out=out)
    np.exp(out, out=out)
    np.divide(out, row_sum(out)[:, None], out=out)


def _log_softmax_rows(a: Array, out: Array) -> None:
    np.subtract(a, row_max(a)[:, None], out=out)
    e = np.exp(out, out=scratch("log_softmax", a.shape, a.dtype))
    total = row_sum(e)
    np.log(total, out=total)
    np.subtract(out, total[:, None], out=out)


def _softmax_backward_rows(g: Array, out: Array, res: Array) -> None:
    np.subtract(g, np.vecdot(g, out)[:, None], out=res)
    np.multiply(res, out, out=res)


def _log_softmax_backward_rows(g: Array, out: Array, res: Array) -> None:
    np.exp(out, out=res)
    np.multiply(res, row_sum(g)[:, None], out=res)
    np.subtract(g, res, out=res)


def _split(a: Array, dim: int) -> tuple[int, int, int]:
    """How many elements lie before, along and after `dim`."""
    if a.ndim == 0:
        return 1, 1, 1
    dim %= a.ndim
    before = after = 1
    for s in a.shape[:dim]:
        before *= s
    for s in a.shape[dim + 1 :]:
        after *= s
    return before, a.shape[dim], after


def _over_rows(rows: int, width: int, work: Any) -> None:
    parallel_for(rows, work, grain=max(1, 4 * BLOCK // max(width, 1)), block=row_blocks(rows, width))


def softmax(a: Array, dim: int) -> Array:
    """`exp(a)` over its sum along `dim`."""
    before, n, after = _split(a, dim)
    out = np.empty(a.shape, a.dtype)
    if out.size == 0:
        return out
    if after == 1:
        rows, target = a.reshape(before, n), out.reshape(before, n)
        done = softmax_rows(rows)
        if done is not None:
            return done.reshape(a.shape)
        if a.size <= _SMALL:
            _softmax_rows(rows, target, True)
        else:
            _over_rows(before, n, lambda i, j: _softmax_rows(rows[i:j], target[i:j], False))
        return out
    cube, res = a.reshape(before, n, after), out.reshape(before, n, after)
    np.subtract(cube, np.maximum.reduce(cube, 1, keepdims=True), out=res)
    np.exp(res, out=res)
    np.divide(res, np.add.reduce(res, 1, keepdims=True), out=res)
    return out


def softmax_backward(g: Array, out: Array, dim: int) -> Array:
    """`out * (g - sum(g * out))` along `dim`."""

    def across(res: Array) -> None:
        np.multiply(g, out, out=res)
        np.subtract(g, np.add.reduce(res, dim, keepdims=True), out=res)
        np.multiply(res, out, out=res)

    return _backward(g, out, dim, softmax_rows_backward, _softmax_backward_rows, across)


def _backward(g: Array, out: Array, dim: int, native: Callable, by_rows: Callable, across: Callable) -> Array:
    """A gradient along `dim`: along the last one by native code or in blocks of rows, else by `across`."""
    before, n, after = _split(out, dim)
    res = np.empty(out.shape, out.dtype)
    if res.size == 0:
        return res
    if after != 1:
        across(res)
        return res
    grads, rows, target = g.reshape(before, n), out.reshape(before, n), res.reshape(before, n)
    done = native(grads, rows)
    if done is not None:
        return done.reshape(out.shape)
    _over_rows(before, n, lambda i, j: by_rows(grads[i:j], rows[i:j], target[i:j]))
    return res


def log_softmax(a: Array, dim: int) -> Array:
    """`a` minus the logarithm of the sum of its exponentials along `dim`."""
    before, n, after = _split(a, dim)
    out = np.empty(a.shape, a.dtype)
    if out.size == 0:
        return out
    if after == 1:
        rows, target = a.reshape(before, n), out.reshape(before, n)
        done = log_softmax_rows(rows)
        if done is not None:
            return done.reshape(a.shape)
        _over_rows(before, n, lambda i, j: _log_softmax_rows(rows[i:j], target[i:j]))
        return out
    cube, res = a.reshape(before, n, after), out.reshape(before, n, after)
    np.subtract(cube, np.maximum.reduce(cube, 1, keepdims=True), out=res)
    total = np.add.reduce(np.exp(res), 1, keepdims=True)
    np.subtract(res, np.log(total), out=res)
    return out


def log_softmax_backward(g: Array, out: Array, dim: int) -> Array:
    """`g - exp(out) * sum(g)` along `dim`."""

    def across(res: Array) -> None:
        np.exp(out, out=res)
        np.multiply(res, np.add.reduce(g, dim, keepdims=True), out=res)
        np.subtract(g, res, out=res)

    return _backward(g, out, dim, log_softmax_rows_backward, _log_softmax_backward_rows, across)


def logsumexp(a: Array, dim: Any, keepdim: bool = False) -> Array:
    """Logarithm of the sum of exponentials over `dim` (an int or a tuple), without overflow."""
    if a.size == 0:
        return np.log(np.sum(np.exp(a), dim, keepdims=keepdim))
    m = _finite_or_zero(np.maximum.reduce(a.real if a.dtype.kind == "c" else a, dim, keepdims=True))
    total = np.log(np.add.reduce(np.exp(a - m), dim, keepdims=True))
    total = total + m
    if keepdim or a.ndim == 0:
        return total
    return np.squeeze(total, dim)
