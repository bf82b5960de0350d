"""Lengths of vectors and matrices, distances, and logarithms of sums of exponentials along a dimension."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.ops import reduce, shape
from flambeau.ops.arithmetic import sub
from flambeau.ops.core import composite, op
from flambeau.ops.dims import kept_shape, reduce_dims, wrap_dim, wrap_dims
from flambeau.ops.dispatch import deliver

__all__ = ["cdist", "dist", "frobenius_norm", "logcumsumexp", "norm", "nuclear_norm", "renorm"]


@op(name="linalg_vector_norm", grad_name="LinalgVectorNormBackward0", holomorphic=False)
def vector_norm_op(k, input: Tensor, ord, dim, keepdim):
    """The `ord`-norm over `dim` (None: all)."""
    dims = reduce_dims(dim, input.ndim)
    if ord != 0 and kept_shape(input.shape, dim) == tuple(input.shape):  # nothing to sum: exact, however small
        alone = k.abs(input)
        return alone if keepdim else k.reshape(alone, _without(input.shape, dims))
    if ord == 0:
        return k.sum(k.to_dtype(k.ne(input, 0), k.abs(input)), dims, keepdim)
    if ord in (math.inf, -math.inf):
        _refuse_empty(input, dims, ord)
    return _norm(k, input, ord, dims, keepdim)


def _norm(k: Any, a: Any, ord: float, dims: Any, keepdim: bool) -> Any:
    if ord == 2:
        return k.sqrt(k.sum_squares(a, dims, keepdim))
    size = k.abs(a)
    if ord == 1:
        return k.sum(size, dims, keepdim)
    if ord in (math.inf, -math.inf):
        return k.amax(size, dims, keepdim) if ord > 0 else k.amin(size, dims, keepdim)
    return k.pow(k.sum(k.pow(size, size.dtype.type(ord)), dims, keepdim), size.dtype.type(1.0 / ord))


def _without(shape: tuple[int, ...], dims: Any) -> tuple[int, ...]:
    return () if dims is None else tuple(n for i, n in enumerate(shape) if i not in dims)


def _refuse_empty(a: Any, dims: Any, ord: float) -> None:
    lengths = a.shape if dims is None else tuple(a.shape[d] for d in dims)
    if 0 in lengths:
        raise RuntimeError(
            f"linalg.vector_norm: nothing has no norm of order {ord}: the tensor, or a dimension of it, is empty"
        )


@vector_norm_op.derivative("input")
def _(k, g, input, input_shape, out, ord, dim):
    kept = kept_shape(input_shape, dim)
    return k.vector_norm_backward(k.reshape(g, kept), input, k.reshape(out, kept), ord, dim)


@composite
def vector_norm_backward(k, g, input, out, ord, dim):
    """The gradient of the `ord`-norm `out`, where it has none a subgradient; `g` and `out` keep their dimensions."""
    if ord == 0:
        return None
    if ord == 1:
        return k.mul(k.sgn(input), g)
    zero = k.eq(out, 0)
    if ord == 2:
        slope = k.div(input, out)
        return k.mul(k.where(zero, k.zeros_like(slope), slope), g)
    size = k.abs(input)
    if ord in (math.inf, -math.inf):
        hit = k.to_dtype(k.logical_or(k.eq(size, out), k.isnan(size)), out)
        count = k.reshape(k.sum(hit, reduce_dims(dim, len(input.shape)), True), tuple(out.shape))
        return k.mul(k.sgn(input), k.mul(hit, k.div(g, count)))
    if ord < 1:
        slope = k.mul(k.sgn(input), k.pow_scalar(size, ord - 1))
        slope = k.where(k.eq(size, 0), k.zeros_like(slope), slope)
        return k.mul(k.mul(slope, g), k.pow_scalar(out, 1 - ord))
    along = k.mul(k.sgn(input), k.pow_scalar(size, ord - 1)) if ord < 2 else k.mul(input, k.pow_scalar(size, ord - 2))
    share = k.div(g, k.pow_scalar(out, ord - 1))
    return k.mul(along, k.where(zero, k.zeros_like(share), share))


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """The `ord`-norm of vectors over `dim` (None: of all elements): (sum |x|^ord)^(1/ord), inf and -inf, 0 counts
    nonzeros.

    >>> import flambeau as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if x._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"linalg.vector_norm: a floating-point or complex tensor is needed, got {x.dtype}; convert it with .float()"
        )
    if dtype is not None:
        x = x.to(dtype)
    if isinstance(dim, int):
        dim = (dim,)
    return vector_norm_op(x, float(ord), dim, keepdim, out=out)


def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None) -> Any:
    """The `p`-norm over `dim` or of all elements; `p` may be 'fro' (2) or, for matrices, 'nuc'."""
    if input._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"norm(): a floating-point or complex tensor is needed, got {input.dtype}; convert it with .float()"
        )
    if p == "nuc":
        return nuclear_norm(input, dim, keepdim, out=out)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"norm(): p as text must be 'fro' or 'nuc', got {p!r}")
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype, out=out)


def frobenius_norm(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Any:
    """The square root of the sum of squares over `dim`."""
    return vector_norm(input, 2, dim if dim != () else None, keepdim, out=out)


def nuclear_norm(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The sum of the singular values of a matrix, or of the matrices in two dimensions."""
    if dim is None and input._a.ndim != 2:
        raise RuntimeError(f"nuclear_norm: expected a matrix, got shape {list(input._a.shape)}; say which `dim` two")
    return deliver("nuclear_norm", out, matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim))


def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """A norm of the matrices in two dimensions: 'fro', 'nuc', inf, -inf, 1, -1 (sums), 2, -2 (singular values)."""
    if A._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"linalg.matrix_norm: a floating-point or complex tensor is needed, got {A.dtype}; convert it with .float()"
        )
    if A._a.ndim < 2:
        raise RuntimeError(f"linalg.matrix_norm: at least 2 dimensions are needed, got {list(A._a.shape)}")
    if dtype is not None:
        A = A.to(dtype)
    if len(tuple(dim)) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must name two dimensions, got {tuple(dim)}")
    rows, columns = wrap_dims(tuple(dim), A._a.ndim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim, out=out)
    if ord in (1, -1, math.inf, -math.inf):
        summed, left = (rows, columns) if ord in (1, -1) else (columns, rows)
        totals = vector_norm(A, 1, summed, True)
        result = _extreme(totals, ord)(totals, left, True)
    elif ord in ("nuc", 2, -2):
        values = NS["OPS"].svdvals(shape.movedim(A, (rows, columns), (-2, -1)))
        if ord == "nuc":
            result = reduce.sum(values, -1)
        else:
            result = _extreme(values, ord)(values, -1)
        if not keepdim:
            return deliver("matrix_norm", out, result)
        for d in sorted((rows, columns)):
            result = shape.unsqueeze(result, d)
        return deliver("matrix_norm", out, result)
    else:
        kind = ValueError if not isinstance(ord, str) else RuntimeError
        raise kind(f"linalg.matrix_norm: there is no matrix norm of order {ord!r}")
    if not keepdim:
        result = shape.squeeze(result, (rows, columns))
    return deliver("matrix_norm", out, result)


def _extreme(t: Any, ord: Any) -> Any:
    """The reduction for a norm that is a largest or smallest of several: of none the largest is 0."""
    if ord < 0:
        return reduce.amin
    return reduce.amax if t._a.size else reduce.sum


def linalg_norm(
    input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: Any = None, dtype: Any = None
) -> Any:
    """`vector_norm` over one dimension or (without `ord`) all, `matrix_norm` over two."""
    if isinstance(dim, (tuple, list)) and len(dim) > 2:
        raise RuntimeError(f"linalg.norm: dim must name one or two dimensions, got {tuple(dim)}")
    if ord is not None and (dim is None or not isinstance(dim, int)):
        count = input._a.ndim if dim is None else len(dim)
        if dim is None and count not in (1, 2):
            raise RuntimeError(f"linalg.norm: ord without dim needs a vector or a matrix, got {count} dimensions")
        if count == 2:
            return matrix_norm(input, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: order {ord!r} is for matrices; name two dimensions with dim=")
    return vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


def dist(input: Any, other: Any, p: float = 2) -> Any:
    """The `p`-norm of `input - other`."""
    return show_as(vector_norm(sub(input, other), p), "DistBackward0")


def renorm(input: Any, p: float, dim: int, maxnorm: float, *, out: Any = None) -> Any:
    """`input` with each slice along `dim` whose `p`-norm exceeds `maxnorm` scaled down to it."""
    if p <= 0:
        raise RuntimeError(f"renorm(): p must be positive, got {p}")
    if input._a.dtype.kind in "biu":
        raise RuntimeError(f"renorm(): floating-point or complex numbers are needed, got {input.dtype}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm(): maxnorm must not be negative, got {maxnorm}")
    if input._a.ndim < 2:
        raise RuntimeError(f"renorm(): at least 2 dimensions are needed, got {input._a.ndim}")
    d = wrap_dim(dim, input._a.ndim)
    return renorm_op(input, float(p), tuple(i for i in range(input._a.ndim) if i != d), maxnorm, out=out)


@op(name="renorm", holomorphic=False)
def renorm_op(k, input: Tensor, p, dims, maxnorm):
    """`input`, scaled down where its `p`-norm over `dims` exceeds `maxnorm`."""
    length = k.linalg_vector_norm(input, p, dims, True)
    factor = k.where(k.gt(length, maxnorm), k.div(maxnorm, k.add(length, 1e-7)), k.ones_like(length))
    return k.mul(input, k.to_dtype(factor, input))


@renorm_op.derivative("input")
def _(k, g, input, p, dims, maxnorm):
    length = k.linalg_vector_norm(input, p, dims, True)
    along = k.mul(k.conj(input), g)
    along = k.sum(k.real(along) if k.is_complex(along) else along, dims, True)
    turned = k.vector_norm_backward(along, input, length, p, dims)
    inverse = k.reciprocal(k.add(length, 1e-7))
    slope = k.mul(k.mul(inverse, maxnorm), k.sub(g, k.mul(inverse, turned)))
    return k.where(k.gt(length, maxnorm), slope, g)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Any:
    """The `p`-norm distances between all rows of `x1` (..., P, M) and of `x2` (..., R, M): (..., P, R)."""
    for name, x in (("X1", x1), ("X2", x2)):
        if x._a.dtype.kind not in "fV":
            raise RuntimeError(f"cdist(): {name} must be floating-point, got {x.dtype}")
        if x._a.ndim < 2:
            raise RuntimeError(f"cdist(): {name} needs at least 2 dimensions, got {x._a.ndim}")
    if x1._a.shape[-1] != x2._a.shape[-1]:
        raise RuntimeError(f"cdist(): the rows of x1 and x2 differ in length: {x1._a.shape[-1]} and {x2._a.shape[-1]}")
    if p < 0:
        raise RuntimeError(f"cdist(): p must not be negative, got {p}")
    if p == 2 and x1._a.dtype == x2._a.dtype and x1._a.dtype.itemsize > 2:
        product = {"use_mm_for_euclid_dist": True, "donot_use_mm_for_euclid_dist": False}.get(compute_mode)
        return euclidean(x1, x2, max(x1._a.shape[-2], x2._a.shape[-2]) > 25 if product is None else product)
    distances = norm_of_differences(sub(shape.unsqueeze(x1, -2), shape.unsqueeze(x2, -3)), float(p), p == math.inf)
    return show_as(distances, "CdistBackward0")


@op
def norm_of_differences(k, input: Tensor, p, skip_nan=False):
    """The `p`-norm along the last dimension, as `cdist` and `pdist` take it: each of several largest elements has the
    whole gradient, and a NaN is no count of elements. `skip_nan` looks for the largest among the others."""
    last = (input.ndim - 1,)
    if p == 0:
        return k.sum(k.minimum(k.ceil(k.abs(input)), input.dtype.type(1)), last)
    if skip_nan:
        input = k.where(k.isnan(input), k.zeros_like(input), input)
    if not input.shape[-1]:
        return k.sum(input, last)
    return _norm(k, input, p, last, False)


@norm_of_differences.derivative("input")
def _(k, g, input, out, p):
    if p == 0:
        return None
    g, out, size = k.unsqueeze(g, -1), k.unsqueeze(out, -1), k.abs(input)
    if p == 1:
        return k.mul(g, k.where(k.isnan(input), input, k.sgn(input)))
    if p == math.inf:
        apart = k.ceil(k.abs(k.sub(size, out)))
        return k.mul(k.mul(g, k.sgn(input)), k.sub(1, k.minimum(apart, k.ones_like(apart))))
    if p == 2:
        slope = k.div(k.mul(g, input), out)
    else:
        along = k.mul(input, k.pow_scalar(size, p - 2)) if p > 2 else k.mul(k.sgn(input), k.pow_scalar(size, p - 1))
        slope = k.div(k.mul(along, g), k.pow_scalar(out, p - 1))
    flat = k.logical_or(k.eq(out, 0), k.eq(input, 0)) if p < 1 else k.eq(out, 0)
    return k.where(flat, k.zeros_like(slope), slope)


@op(name="cdist_euclidean", grad_name="CdistBackward0")
def euclidean(k, x1: Tensor, x2: Tensor, by_product):
    """Euclidean distances between rows; by one matrix product, which is quicker and less exact, or by differences."""
    if not by_product:
        return k.sqrt(k.sum_squares(k.unsqueeze(x1, -2) - k.unsqueeze(x2, -3), (max(x1.ndim, x2.ndim),), False))
    squares = k.unsqueeze(k.sum_squares(x1, (x1.ndim - 1,), False), -1) + k.unsqueeze(
        k.sum_squares(x2, (x2.ndim - 1,), False), -2
    )
    squares -= 2 * k.matmul(x1, k.transpose(x2, -2, -1))
    return k.sqrt(k.maximum(squares, squares.dtype.type(0)))


@euclidean.derivative("x1", "x2")
def _(k, g, x1, x2, x1_shape, x2_shape, out, needs):
    share = k.div(g, out)
    share = k.where(k.eq(out, 0), k.zeros_like(share), share)
    first = second = None
    last = len(share.shape) - 1
    if needs[0]:
        whole = k.sub(k.mul(x1, k.sum(share, last, True)), k.matmul(share, x2))
        first = k.sum_to_shape(whole, x1_shape)
    if needs[1]:
        turned = k.transpose(share, -2, -1)
        whole = k.sub(k.mul(x2, k.sum(turned, last, True)), k.matmul(turned, x1))
        second = k.sum_to_shape(whole, x2_shape)
    return first, second


@op(name="logcumsumexp")
def logcumsumexp_op(k, input: Tensor, dim):
    """The logarithm of the running sum of exponentials along `dim`."""
    if input.dtype.kind not in "fc":
        raise NotImplementedError(f"logcumsumexp() is not implemented for {input.dtype}; convert it with .float()")
    return k.logcumsumexp_kernel(input, wrap_dim(dim, input.ndim))


@logcumsumexp_op.derivative("input")
def _(k, g, input, out, dim, input_shape):
    if not input_shape:
        return g
    return k.logcumsumexp_backward(g, input, out, wrap_dim(dim, len(input_shape)))


@composite
def logcumsumexp_backward(k, g, input, out, dim):
    """The gradient of `logcumsumexp`: exp(x) times the later gradients, each over its own sum."""
    peak = k.amax(k.real(input) if k.is_complex(input) else input, dim, True)
    later = k.flip(k.cumsum(k.flip(k.mul(g, k.exp(k.sub(peak, out))), (dim,)), dim), (dim,))
    return k.mul(k.exp(k.sub(input, peak)), later)


def logcumsumexp(input: Any, dim: int, *, out: Any = None) -> Any:
    """`log(cumsum(exp(x)))` along `dim`, without overflow."""
    if input._a.dtype.kind in "biu":
        input = input.to(dtypes.get_default_dtype())
    return logcumsumexp_op(input, dim, out=out)
