"""Reductions and scans along dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.numpy.ordered import ordered

from .elementwise import logaddexp

# NumPy's overloads know these with keywords only, which cost more
_sum: Any = np.add.reduce
_prod: Any = np.multiply.reduce
_max: Any = np.maximum.reduce
_min: Any = np.minimum.reduce
_any: Any = np.logical_or.reduce
_all: Any = np.logical_and.reduce


def sum(a: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Sum over `dim` (None: all)."""
    if dtype is None:
        total = ordered(a, dim)
        if total is not None:
            return total.reshape(_kept(a.shape, dim)) if keepdim else total
    return _sum(a, dim, dtype, None, keepdim)


def _kept(shape: tuple[int, ...], dim: Any) -> tuple[int, ...]:
    axes = range(len(shape)) if dim is None else dim if isinstance(dim, tuple) else (dim,)
    gone = {d % len(shape) for d in axes}
    return tuple(1 if i in gone else n for i, n in enumerate(shape))


def mean(a: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Mean over `dim` (None: all); of nothing it is NaN."""
    total = sum(a, dim, keepdim, dtype)
    n = a.size // total.size if total.size else 0
    if n:
        return np.true_divide(total, n)
    return np.full_like(total, np.nan) if a.size == 0 and total.size else total


def prod(a: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Product over `dim` (None: all)."""
    return _prod(a, dim, dtype, None, keepdim)


def amax(a: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Largest element over `dim` (None: all); NaN wins."""
    return _max(a, dim, None, None, keepdim)


def amin(a: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Smallest element over `dim` (None: all); NaN wins."""
    return _min(a, dim, None, None, keepdim)


def cumsum(a: Any, dim: int, dtype: Any = None) -> Any:
    """Running sum along `dim`."""
    return _running(np.add, a, dim, dtype)


def cumprod(a: Any, dim: int, dtype: Any = None) -> Any:
    """Running product along `dim`."""
    return _running(np.multiply, a, dim, dtype)


def _running(how: Any, a: Any, dim: int, dtype: Any) -> Any:
    """`how` accumulated along `dim`; single precision in double on the way, as PyTorch's is."""
    if not a.ndim:
        return np.array(a, dtype=dtype)
    kind = a.dtype if dtype is None else np.dtype(dtype)
    if kind == np.float32:
        return how.accumulate(a, dim, np.float64).astype(np.float32)
    return how.accumulate(a, dim, dtype)


def _cut(a: Any, dim: int, start: Any, stop: Any) -> Any:
    return a[(slice(None),) * dim + (slice(start, stop),)]


def prod_backward(g: Any, a: Any, out: Any, dim: Any) -> Any:
    """The gradient of a product over `dim` (None: all): `out` over each element, or where any element is 0 the product
    of the others, which of all elements with two zeros among them is 0."""
    if not a.size:
        return np.zeros_like(a)
    line, axis = (a.reshape(-1), 0) if dim is None else (a, dim)
    first = np.ones_like(_cut(line, axis, 0, 1))
    before = cumprod(np.concatenate([first, _cut(line, axis, 0, -1)], axis), axis)
    after = cumprod(np.concatenate([first, np.flip(_cut(line, axis, 1, None), axis)], axis), axis)
    others = (before * np.flip(after, axis)).reshape(a.shape)
    zeros = np.equal(a, 0).sum()
    slope = g * np.where(zeros == 0, np.true_divide(out, a), others)
    return np.where(zeros > 1, np.zeros_like(slope), slope) if dim is None else slope


def cumprod_backward(g: Any, a: Any, out: Any, dim: int) -> Any:
    """The gradient of a running product: before the first 0 the later products over each element, at it the running
    product of what follows up to the second one, and nothing after it."""
    zero = np.equal(a, 0)
    seen = np.cumsum(zero, dim)
    none, one = np.equal(seen, 0), np.equal(seen, 1)
    nothing, ones = np.zeros_like(a), np.ones_like(a)
    early = np.flip(cumsum(np.flip(np.where(none, out * g, nothing), dim), dim), dim) / a
    first = np.logical_and(zero, one)
    rest = cumprod(np.where(np.logical_and(one, np.logical_not(zero)), a, ones), dim)
    later = np.add.reduce(rest * np.where(one, g, nothing), dim, keepdims=True)
    before = np.concatenate([_cut(ones, dim, 0, 1), _cut(out, dim, 0, -1)], dim)
    return np.where(none, early, np.where(first, later * before, nothing))


def any(a: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether some element over `dim` is true."""
    return _any(a, dim, None, None, keepdim)


def all(a: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether every element over `dim` is true."""
    return _all(a, dim, None, None, keepdim)


def sum_to_shape(a: Any, shape: tuple[int, ...]) -> Any:
    """Sums away what broadcasting from `shape` had added."""
    extra = a.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and a.shape[i + extra] != 1)
    if axes:
        a = _sum_axes(a, axes)
    return a.reshape(shape)


def _sum_axes(a: Any, axes: tuple[int, ...]) -> Any:
    total = ordered(a, axes)
    if total is not None:
        return total
    # a bias' gradient: columns of a matrix, which a product with ones sums in one threaded call
    lead = len(axes)
    if lead < a.ndim and axes == tuple(range(lead)) and a.size >= 2048 and a.dtype.kind == "f" and a.flags.c_contiguous:
        rest = a.shape[lead:]
        columns = 1
        for n in rest:
            columns *= n
        if columns and a.itemsize >= 4:
            flat = a.reshape(-1, columns)
            return np.ones(flat.shape[0], flat.dtype).dot(flat).reshape(rest)
    return _sum(a, axes)


def var(a: Any, dim: Any, correction: Any, keepdim: bool) -> Any:
    """Squared deviations from the mean over the count less `correction`."""
    centred = np.subtract(a, mean(a, dim, True))
    squares = np.multiply(centred, centred) if a.dtype.kind == "f" else np.abs(centred) ** 2
    total = _sum(squares, dim, None, None, keepdim)
    n = a.size // total.size if total.size else 0
    left = n - correction
    if left > 0:
        return np.true_divide(total, left)
    return np.true_divide(total, 0.0 if n else np.nan)


def std(a: Any, dim: Any, correction: Any, keepdim: bool) -> Any:
    """The square root of `var`, of single precision in double: squares of tiny numbers would vanish."""
    wide = a.astype(np.float64) if a.dtype == np.float32 else a
    return np.sqrt(var(wide, dim, correction, keepdim)).astype(a.real.dtype)


def sum_squares(a: Any, dims: Any, keepdim: bool) -> Any:
    """The sum of squared sizes over `dims` (None: all)."""
    if a.dtype.kind == "c":
        return _sum(a.real * a.real + a.imag * a.imag, dims, None, None, keepdim)
    if dims is None and a.flags.c_contiguous:
        flat = a.reshape(-1)
        total = flat.dot(flat)
        return np.reshape(total, (1,) * a.ndim) if keepdim else total
    if dims == (a.ndim - 1,):
        total = np.vecdot(a, a)
        return total[..., None] if keepdim else total
    return _sum(a * a, dims, None, None, keepdim)


def logcumsumexp_kernel(a: Any, dim: int) -> Any:
    """The logarithm of the running sum of exponentials along `dim`."""
    if a.dtype.kind != "c" or not a.ndim:
        return np.logaddexp.accumulate(a, dim) if a.ndim else np.array(a)
    lines, result = np.moveaxis(a, dim, 0), np.array(np.moveaxis(a, dim, 0))
    for i in range(1, len(lines)):
        result[i] = logaddexp(result[i - 1], lines[i])
    return np.moveaxis(result, 0, dim)


def logcumsumexp_backward(g: Any, a: Any, out: Any, dim: int) -> Any:
    """The gradient of `logcumsumexp`, by logarithms of its positive and negative parts, so that nothing overflows."""
    if a.dtype.kind == "c":
        peak = np.real(a).max(dim, keepdims=True) if a.size else 0
        later = np.flip(np.cumsum(np.flip(g * np.exp(peak - out), dim), dim), dim)
        return np.exp(a - peak) * later
    total = np.zeros_like(g)
    for sign in (1, -1):
        part = np.where(sign * g > 0, np.log(np.abs(g)), np.array(-np.inf, g.dtype)) - out
        later = np.flip(np.logaddexp.accumulate(np.flip(part, dim), dim), dim)
        total += sign * np.exp(later + a)
    return total
