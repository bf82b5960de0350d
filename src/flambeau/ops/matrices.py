"""Triangles, diagonals, products and grids built from smaller tensors."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import FOREIGN, host, visible
from flambeau.errors import need_tensor, outdated
from flambeau.ops import joining, reduce, shape
from flambeau.ops.arithmetic import div, mul, sub
from flambeau.ops.compare import clamp
from flambeau.ops.core import op
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import by_example, deliver
from flambeau.ops.elementwise import conj_physical, sqrt
from flambeau.ops.products import matmul

__all__ = [
    "adjoint",
    "block_diag",
    "cartesian_prod",
    "combinations",
    "corrcoef",
    "cov",
    "cross",
    "cumulative_trapezoid",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal_copy",
    "gradient",
    "kron",
    "ravel",
    "trace",
    "trapezoid",
    "trapz",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
    "unravel_index",
    "vander",
    "view_as_complex",
    "view_as_real",
]


def _matrices(name: str, a: Any) -> None:
    if a.ndim < 2:
        raise RuntimeError(f"{name}: at least 2 dimensions are needed, got shape {list(a.shape)}")


@op(any_dtype=True)
def tril(k, input: Tensor, diagonal=0):
    """The lower triangles of matrices: zero above the given diagonal (0: the main one, 1: the one above it)."""
    _matrices("tril", input)
    return k.tril(input, diagonal)


@tril.derivative("input")
def _(k, g, diagonal):
    return k.tril(g, diagonal)


@op(any_dtype=True)
def triu(k, input: Tensor, diagonal=0):
    """The upper triangles of matrices: zero below the given diagonal."""
    _matrices("triu", input)
    return k.triu(input, diagonal)


@triu.derivative("input")
def _(k, g, diagonal):
    return k.triu(g, diagonal)


def _triangle(row: int, col: int, offset: int, dtype: Any, lower: bool) -> Any:
    if row < 0 or col < 0:
        raise RuntimeError(f"row and col must not be negative, got {row} and {col}")
    places = (np.tril_indices if lower else np.triu_indices)(row, offset, col)
    return NS["WRAP"](np.stack(places).astype((dtype or dtypes.int64).numpy))


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None
) -> Any:
    """The indices of a lower triangle, as a tensor of two rows."""
    return _triangle(row, col, offset, dtype, True)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None
) -> Any:
    """The indices of an upper triangle, as a tensor of two rows."""
    return _triangle(row, col, offset, dtype, False)


def diagonal_copy(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1, *, out: Any = None) -> Any:
    """`diagonal` as a copy."""
    copied = show_as(shape.clone(shape.diagonal(input, offset, dim1, dim2)), "DiagonalBackward0_copy")
    return deliver("diagonal_copy", out, copied)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices with the last dimension of `input` on a diagonal, in dimensions `dim1` and `dim2`."""
    ndim = input._a.ndim + 1
    d1, d2 = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if d1 == d2:
        raise RuntimeError(f"diag_embed(): two different dimensions are needed, got {dim1} and {dim2}")
    n = input._a.shape[-1] + abs(offset)
    full = list(input._a.shape[:-1])
    for d in sorted((d1, d2)):
        full.insert(d, n)
    return show_as(NS["OPS"].diagonal_put(input, tuple(full), offset, d1, d2), "DiagEmbedBackward0")


def diag(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """A square matrix with a vector on its diagonal, or a copy of a matrix's diagonal."""
    n = input._a.ndim
    if n not in (1, 2):
        raise RuntimeError(f"diag(): a vector or a matrix is needed, got {n} dimensions")
    if n == 1:
        return deliver("diag", out, diag_embed(input, diagonal))
    return diagonal_copy(input, diagonal, out=out)


def diagflat(input: Any, offset: int = 0) -> Any:
    """A square matrix with the elements of `input` on its diagonal."""
    return diag_embed(shape.reshape(input, (-1,)), offset)


@op(grad_name="TraceBackward0")
def trace(k, input: Tensor):
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace(): a matrix is needed, got {input.ndim} dimensions")
    return k.sum(k.diagonal(input, 0, 0, 1), None, False, np.int64 if input.dtype.kind in "biu" else None)


@trace.derivative("input")
def _(k, g, input_shape):
    n = min(input_shape)
    return k.diagonal_put(k.expand(g, (n,)), input_shape, 0, 0, 1)


def cross(input: Any, other: Any, dim: Any = None, *, out: Any = None) -> Any:
    """The vector product along `dim`, a dimension of length 3 (the first such one if None), with broadcasting."""
    full = tuple(joining.broadcast_shapes(input._a.shape, other._a.shape))
    if dim is None:
        threes = [i for i, n in enumerate(input._a.shape) if n == 3]
        if not threes:
            raise RuntimeError("cross(): no dimension of the input has length 3")
        dim = threes[0] - input._a.ndim
        outdated("torch.cross without dim", "torch.linalg.cross, or pass dim")
    if input._a.ndim != other._a.ndim:
        raise RuntimeError(
            f"linalg.cross: both inputs need equally many dimensions, got {input._a.ndim} and {other._a.ndim}"
        )
    d = wrap_dim(dim, len(full))
    if input._a.shape[d] != 3 or other._a.shape[d] != 3:
        raise RuntimeError(
            f"linalg.cross: dimension {dim} must be of length 3, got {input._a.shape[d]} and {other._a.shape[d]}"
        )
    return linalg_cross(input, other, d, out=out)


@op(name="linalg_cross", elementwise=True, grad_name="LinalgCrossBackward0")
def linalg_cross(k, input: Tensor, other: Tensor, dim):
    """The vector product along `dim`, of vectors that broadcast."""
    a, b = ([k.slice(x, dim, i, i + 1) for i in range(3)] for x in (input, other))
    pairs = ((1, 2), (2, 0), (0, 1))
    return k.cat([k.sub(k.mul(a[i], b[j]), k.mul(a[j], b[i])) for i, j in pairs], dim)


@linalg_cross.derivative("input")
def _(k, g, other, dim):
    return k.linalg_cross(other, g, dim)


@linalg_cross.derivative("other")
def _(k, g, input, dim):
    return k.linalg_cross(g, input, dim)


def kron(input: Any, other: Any, *, out: Any = None) -> Any:
    """The Kronecker product: each element of `input` times all of `other`."""
    need_tensor("kron", input)
    need_tensor("kron", other, "other")
    n = max(input._a.ndim, other._a.ndim)
    a = (1,) * (n - input._a.ndim) + input._a.shape
    b = (1,) * (n - other._a.ndim) + other._a.shape
    left = shape.reshape(input, tuple(x for m in a for x in (m, 1)))
    right = shape.reshape(other, tuple(x for m in b for x in (1, m)))
    return deliver("kron", out, shape.reshape(mul(left, right), tuple(x * y for x, y in zip(a, b, strict=True))))


def block_diag(*tensors: Any) -> Any:
    """A matrix with the given matrices (vectors are rows, numbers 1 by 1) along its diagonal."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    blocks = []
    for i, t in enumerate(tensors):
        need_tensor("block_diag", t, f"operand {i}")
        if t._a.ndim > 2:
            raise RuntimeError(f"block_diag(): at most 2 dimensions each, but tensor {i} has {t._a.ndim}")
        blocks.append(shape.reshape(t, (1,) * (2 - t._a.ndim) + t._a.shape))
    width = sum(b._a.shape[1] for b in blocks)
    rows, start = [], 0
    ops = NS["OPS"]
    for b in blocks:
        stop = start + b._a.shape[1]
        rows.append(ops.slice_put(b, (b._a.shape[0], width), 1, start, stop))
        start = stop
    return joining.cat(rows, 0) if rows else NS["WRAP"](np.zeros((1, 0), dtypes.get_default_dtype().numpy))


def cartesian_prod(*tensors: Any) -> Any:
    """All combinations of elements of vectors, a row each."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if any(t._a.ndim != 1 for t in tensors):
        raise RuntimeError(f"cartesian_prod(): vectors are needed, got shapes {[list(t._a.shape) for t in tensors]}")
    if len(tensors) == 1:
        return tensors[0]
    grids = joining.meshgrid(*tensors, indexing="ij")
    return joining.stack([shape.flatten(grid) for grid in grids], 1)


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All combinations of `r` elements of a vector, a row each, in order."""
    if input._a.ndim != 1:
        raise RuntimeError(f"combinations(): a vector is needed, got shape {list(input._a.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations(): r must not be negative, got {r}")
    if r == 0:
        return NS["BESIDE"](input, np.zeros((0,), input._a.dtype))
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(pick(range(input._a.size), r)), np.int64).reshape(-1, r)
    return NS["OPS"].index(input, (rows,))


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix of powers of a vector, 0 to `N` - 1 (as many as elements), the highest first unless `increasing`."""
    if x._a.ndim != 1:
        raise RuntimeError(f"vander(): a vector is needed, got shape {list(x._a.shape)}")
    n = x._a.size if N is None else N
    if n < 0:
        raise RuntimeError(f"vander(): N must not be negative, got {N}")
    powers = linalg_vander(x, N=n)
    return powers if increasing else shape.flip(powers, (-1,))


def linalg_vander(x: Any, *, N: int | None = None) -> Any:
    """The matrix of powers 0 to `N` - 1 of the last dimension, lowest first."""
    if x._a.ndim == 0:
        x = shape.reshape(x, (1,))
    n = x._a.shape[-1] if N is None else N
    first = NS["BESIDE"](x, np.ones((*x._a.shape, 1), np.int64 if x._a.dtype.kind in "biu" else x._a.dtype))
    if n == 0:
        return shape.slice(first, -1, 0, 0)
    if n == 1:
        return first
    repeated = shape.expand_op(shape.unsqueeze(x, -1), (*x._a.shape, n - 1))
    return joining.cat([first, reduce.cumprod(repeated, -1)], -1)


def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariances of the rows of `input` (variables) over its columns (observations), maybe weighted."""
    if input._a.ndim > 2:
        raise RuntimeError(f"cov(): at most 2 dimensions are needed, got {input._a.ndim}")
    if input._a.dtype == bool:
        raise RuntimeError("cov(): bools have no covariances; convert with .float()")
    x = input if input._a.ndim == 2 else shape.reshape(input, (1, -1))
    if x._a.dtype.kind in "biu":
        x = shape.to_numpy_dtype(x, dtypes.get_default_dtype().numpy)
    n = x._a.shape[1]
    weights = None
    if fweights is not None and fweights._a.dtype.kind not in "iu":
        raise RuntimeError(f"cov(): fweights are counts and must be integers, got {fweights.dtype}")
    for w in (fweights, aweights):
        if w is not None:
            if w._a.size and w._a.min() < 0:
                raise RuntimeError("cov(): weights must not be negative")
            if w._a.shape != (n,):
                raise RuntimeError(
                    f"cov(): expected weights to have {n} elements, one per observation, got {list(w._a.shape)}"
                )
            weights = w if weights is None else mul(weights, w)
    if weights is None:
        centred = sub(x, reduce.mean(x, 1, True))
        scaled, norm = centred, max(n - correction, 0)
        result = div(matmul(scaled, shape.transpose(conj(centred), 0, 1)), norm)
    else:
        total = reduce.sum(weights)
        centred = sub(x, div(reduce.sum(mul(x, weights), 1, True), total))
        if aweights is None or correction == 0:
            left = sub(total, correction)
        else:
            left = sub(total, div(mul(reduce.sum(mul(weights, aweights)), correction), total))
        result = div(matmul(mul(centred, weights), shape.transpose(conj(centred), 0, 1)), clamp(left, min=0))
    return shape.squeeze(result) if result._a.size == 1 else result


def adjoint(input: Any) -> Any:
    """The last two dimensions swapped, and conjugated."""
    if input.ndim < 2:
        raise RuntimeError(f"adjoint(): at least 2 dimensions are needed, got {input.ndim}")
    return conj(shape.transpose(input, -2, -1))


def conj(a: Any) -> Any:
    """The complex conjugate; a real tensor itself."""
    return conj_physical(a) if a._a.dtype.kind == "c" else a


def corrcoef(input: Any) -> Any:
    """Pearson's correlations of the rows of `input` (variables) over its columns (observations)."""
    c = cov(input)
    if c._a.ndim == 0:
        return div(c, c)
    spread = sqrt(shape.diagonal(c))
    c = div(div(c, shape.unsqueeze(spread, 1)), spread)
    return clamp(c, -1, 1) if c._a.dtype.kind != "c" else c


def _steps(y: Any, x: Any, dx: Any, dim: int) -> tuple[Any, Any]:
    """Neighbouring sums of `y` along `dim`, and the widths between."""
    d = wrap_dim(dim, y._a.ndim)
    n = y._a.shape[d]
    pairs = NS["OPS"].add(shape.slice(y, d, 1, n), shape.slice(y, d, 0, max(n - 1, 0)))
    if x is None:
        return pairs, dx
    widths = joining.diff(x, dim=0 if x._a.ndim == 1 else dim)
    if x._a.ndim == 1:
        widths = shape.reshape(widths, (-1, *[1] * (y._a.ndim - d - 1)))
    return pairs, widths


def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral along `dim` by the trapezoidal rule, at points `x` or `dx` (1) apart."""
    d = wrap_dim(dim, y._a.ndim)
    n = y._a.shape[d]
    if y._a.dtype == bool:
        raise RuntimeError("trapezoid(): bools have no integral; convert with .float()")
    if x is None and n:
        ends = NS["OPS"].add(shape.select(y, d, 0), shape.select(y, d, n - 1))
        return mul(NS["OPS"].sub(reduce.sum(y, d), mul(ends, 0.5)), 1 if dx is None else dx)
    pairs, widths = _steps(y, x, 1 if dx is None else dx, dim)
    return div(reduce.sum(mul(pairs, widths), dim), 2)


trapz = trapezoid


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The running integral along `dim` by the trapezoidal rule."""
    if y._a.dtype == bool:
        raise RuntimeError("cumulative_trapezoid(): bools have no integral; convert with .float()")
    pairs, widths = _steps(y, x, 1 if dx is None else dx, dim)
    return div(reduce.cumsum(mul(pairs, widths), dim), 2)


def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Any, ...]:
    """The slopes along each dimension by central differences (one-sided at the edges), at points `spacing` apart."""
    if input._a.dtype == np.uint8:
        raise RuntimeError("gradient(): differences of uint8 wrap around; convert with .int() or .float()")
    n = input._a.ndim
    dims = (
        list(range(n)) if dim is None else [wrap_dim(d, n) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    )
    spacing = 1 if spacing is None else spacing
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"gradient(): each dimension may be named once, got {dims}")
    steps = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(dims)
    if len(steps) != len(dims):
        raise RuntimeError(
            f"gradient(): spacing must be one number or one per dimension, got {len(steps)} for {len(dims)}"
        )
    results = []
    for d, h in zip(dims, steps, strict=True):
        if input._a.shape[d] < edge_order + 1:
            raise RuntimeError("gradient(): each dimension needs at least edge_order + 1 elements")
        results.append(_slopes(input, d, h, edge_order))
    return tuple(results)


def _slopes(y: Any, d: int, h: Any, edge_order: int) -> Any:
    m = y._a.shape[d]
    at = lambda i, j: shape.slice(y, d, i, j)  # noqa: E731
    if isinstance(h, NS["Tensor"]):
        x = shape.reshape(h, (-1, *[1] * (y._a.ndim - d - 1)))
        gaps = joining.diff(x, dim=0)
        a, b = (shape.slice(gaps, 0, i, j) for i, j in ((0, m - 2), (1, m - 1)))
        low, high = sub(at(1, m - 1), at(0, m - 2)), sub(at(2, m), at(1, m - 1))
        inner = div(NS["OPS"].add(mul(div(low, a), b), mul(div(high, b), a)), NS["OPS"].add(a, b))
        first, last = _edges(at, gaps, m, edge_order)
        return joining.cat([first, inner, last], d)
    inner = div(sub(at(2, m), at(0, m - 2)), 2 * h)
    if edge_order == 1:
        first, last = div(sub(at(1, 2), at(0, 1)), h), div(sub(at(m - 1, m), at(m - 2, m - 1)), h)
    else:
        add = NS["OPS"].add
        first = div(sub(add(mul(at(0, 1), -1.5), mul(at(1, 2), 2)), mul(at(2, 3), 0.5)), h)
        last = div(add(sub(mul(at(m - 1, m), 1.5), mul(at(m - 2, m - 1), 2)), mul(at(m - 3, m - 2), 0.5)), h)
    return joining.cat([first, inner, last], d)


def _edges(at: Any, gaps: Any, m: int, edge_order: int) -> tuple[Any, Any]:
    """The slopes at both ends of unevenly spaced points, from two points or from the parabola through three."""
    gap = lambda i: shape.slice(gaps, 0, i, i + 1)  # noqa: E731
    if edge_order == 1:
        return div(sub(at(1, 2), at(0, 1)), gap(0)), div(sub(at(m - 1, m), at(m - 2, m - 1)), gap(m - 2))
    ends = []
    for near, middle, far, a, b in ((0, 1, 2, gap(0), gap(1)), (m - 1, m - 2, m - 3, -gap(m - 2), -gap(m - 3))):
        both = a + b
        ends.append(
            at(middle, middle + 1) * (both / (a * b))
            - at(near, near + 1) * ((both + a) / (a * both))
            - at(far, far + 1) * (a / (b * both))
        )
    return ends[0], ends[1]


def ravel(input: Any) -> Any:
    """The elements as a vector: a view where the strides allow it."""
    return shape.reshape(input, (-1,))


@by_example
def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """The coordinates, a tensor per dimension, of places counted in a flattened tensor of `shape`."""
    sizes = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    a = indices._a
    if a.dtype.kind not in "iu":
        raise TypeError(f"unravel_index(): indices must be integers, got {indices.dtype}")
    if a.size and visible(a) and (int(a.min()) < 0 or int(a.max()) >= int(np.prod(sizes))):
        raise ValueError(
            f"unravel_index: the indices reach from {a.min()} to {a.max()}, outside a tensor of shape {sizes}"
        )
    return tuple(NS["BESIDE"](indices, c) for c in np.unravel_index(host(a) if visible(a) else a, sizes))


@op(any_dtype=True, view=True, holomorphic=False, grad_name="ViewAsRealBackward0")
def view_as_real(k, input: Tensor):
    """A view of complex numbers as pairs of their parts, in a new last dimension."""
    if input.dtype.kind != "c":
        raise RuntimeError(f"view_as_real(): a complex tensor is needed, got {input.dtype}")
    return input.copy().view(input.real.dtype).reshape(*input.shape, 2) if _gapped(input) else _paired(input)


def _gapped(a: Any) -> bool:
    return not a.flags.c_contiguous


def _paired(a: Any) -> Any:
    if a.__class__ in FOREIGN:
        return a.part("bits", (*a.shape, 2), a.real.dtype)
    part = a.real.dtype
    return np.ndarray((*a.shape, 2), part, a, 0, (*a.strides, part.itemsize)).view(type(a))


@view_as_real.derivative("input")
def _(k, g):
    return k.view_as_complex(g)


@op(any_dtype=True, view=True, holomorphic=False, grad_name="ViewAsComplexBackward0")
def view_as_complex(k, input: Tensor):
    """A view of pairs of real numbers, the last dimension, as complex numbers."""
    if input.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"view_as_complex(): float32 or float64 (or float16) is needed, got {input.dtype}")
    if input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError(
            "view_as_complex(): the last dimension must be of length 2 (real and imaginary parts), got shape "
            f"{list(input.shape)}"
        )
    whole = input.copy() if _gapped(input) else input
    return whole.view(np.complex64 if input.dtype == np.float32 else np.complex128).reshape(input.shape[:-1])


@view_as_complex.derivative("input")
def _(k, g):
    return k.view_as_real(g)
