"""Sums, means and their kin over dimensions."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import as_array, like
from flambeau.ops.core import composite, offer, op
from flambeau.ops.dims import kept_shape, reduce_dims, wrap_dim

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "mean",
    "nanmean",
    "nansum",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


def _accumulator(array: Any, dtype: Any) -> Any:
    """The NumPy type that a sum is taken in: as asked for, int64 for integers, else the operand's own."""
    if dtype is not None:
        return dtype.numpy
    return np.int64 if array.dtype.kind in "biu" else None


@op(any_dtype=False, shown_as=lambda node: f"SumBackward{int(node.s_dim is not None)}")
def sum(k, input: Tensor, dim=None, keepdim=False, *, dtype=None):
    """The sum of the elements, over `dim` (an int or tuple; None: all).

    Integers and bools are summed in int64 unless `dtype` says otherwise.

    >>> import flambeau as torch
    >>> torch.ones(2, 3).sum(dim=1)
    tensor([3., 3.])
    """
    if dim is not None:
        dim = reduce_dims(dim, input.ndim)
    return k.sum(input, dim, keepdim, None if dtype is None and input.dtype.kind == "f" else _accumulator(input, dtype))


@sum.derivative("input")
def _(k, g, input_shape, dim, keepdim):
    if dim is not None and not keepdim:
        g = k.reshape(g, kept_shape(input_shape, dim))
    elif dim is None and keepdim:
        g = k.reshape(g, (1,) * len(input_shape))
    return k.expand(g, input_shape)


@op(shown_as=lambda node: f"MeanBackward{int(node.s_dim is not None)}")
def mean(k, input: Tensor, dim=None, keepdim=False, *, dtype=None):
    """The mean over `dim` (an int or tuple; None: all), for floating-point tensors; NaN of nothing."""
    if dtype is not None and dtype.kind not in "fc":
        raise RuntimeError(f"mean(): dtype must be a floating-point or complex one, got {dtype}")
    if dtype is None and input.dtype.kind not in "fcV":
        raise RuntimeError(
            f"mean(): a floating-point or complex tensor is needed, got {input.dtype}; pass dtype= or convert it "
            f"with .float()"
        )
    if dim is not None:
        dim = reduce_dims(dim, input.ndim)
    return k.mean(input, dim, keepdim, None if dtype is None else dtype.numpy)


@mean.derivative("input")
def _(k, g, input_shape, dim, keepdim):
    kept = kept_shape(input_shape, dim)
    n = 1
    for have, left in zip(input_shape, kept, strict=True):
        n *= 1 if left == have else have
    return k.expand(k.reshape(k.div(g, n), kept), input_shape)


@op
def nansum(k, input: Tensor, dim=None, keepdim=False, *, dtype=None):
    """The sum over `dim` with NaN counted as 0."""
    if input.dtype.kind == "c":
        raise RuntimeError(f"nansum(): complex numbers are not summed here, got {input.dtype}; use nan_to_num and sum")
    clean = k.where(k.isnan(input), k.zeros_like(input), input) if input.dtype.kind == "f" else input
    return k.sum(clean, None if dim is None else reduce_dims(dim, input.ndim), keepdim, _accumulator(input, dtype))


@nansum.derivative("input")
def _(k, g, input, input_shape, dim, keepdim):
    g = k.expand(k.reshape(g, kept_shape(input_shape, dim)), input_shape)
    return k.mul(g, k.to_dtype(k.logical_not(k.isnan(input)), g))


def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The mean over `dim` of the elements that are not NaN."""
    if input._a.dtype.kind in "biu":
        raise RuntimeError(f"nanmean(): expected floating-point or complex numbers, got {input.dtype}; use .mean()")
    count = input.isnan().logical_not().sum(dim=dim, keepdim=keepdim)
    return NS["OPS"].div(nansum(input, dim, keepdim, dtype=dtype), count, out=out)


@op(grad_name="ProdBackward0")
def prod_all(k, input: Tensor, *, dtype=None):
    """The product of all elements."""
    return k.prod(input, None, False, _accumulator(input, dtype))


@prod_all.derivative("input")
def _(k, g, input, input_shape, out):
    return k.prod_backward(g, input, out, None) if input_shape else g


@op(grad_name="ProdBackward1")
def prod_dim(k, input: Tensor, dim, keepdim=False, *, dtype=None):
    """The product over one dimension."""
    return k.prod(input, wrap_dim(dim, input.ndim) if input.ndim else None, keepdim, _accumulator(input, dtype))


@prod_dim.derivative("input")
def _(k, g, input, input_shape, out, dim):
    if not input_shape:
        return g
    kept = kept_shape(input_shape, dim)
    return k.prod_backward(k.reshape(g, kept), input, k.reshape(out, kept), wrap_dim(dim, len(input_shape)))


@composite
def prod_backward(k, g, a, out, dim):
    """The gradient of a product over `dim` (None: all): it over each element, or with a 0 the product of the rest."""
    zeros = k.any(k.eq(a, 0))
    ratio = k.div(out, k.where(zeros, k.ones_like(a), a))
    if dim is None:
        others = k.reshape(k.prod_others(k.reshape(a, (-1,)), 0), tuple(a.shape))
    else:
        others = k.prod_others(a, dim)
    return k.mul(g, k.where(zeros, others, ratio))


@composite
def prod_others(k, a, dim):
    """For each element the product of the others along `dim`, exact where there are zeros."""
    n = a.shape[dim]
    if n == 0:
        return a
    first = k.ones_like(k.slice(a, dim, 0, 1))
    before = k.cumprod(k.cat([first, k.slice(a, dim, 0, n - 1)], dim), dim)
    after = k.cat([k.flip(k.cumprod(k.flip(k.slice(a, dim, 1, n), (dim,)), dim), (dim,)), first], dim)
    return k.mul(before, after)


def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The product of the elements, over `dim` or all."""
    if dim is None:
        return prod_all(input, dtype=dtype, out=out)
    return prod_dim(input, dim, keepdim, dtype=dtype, out=out)


offer("prod", prod)


@op
def cumsum(k, input: Tensor, dim, *, dtype=None):
    """The running sum along `dim`."""
    return k.cumsum(input, wrap_dim(dim, input.ndim), _accumulator(input, dtype))


@cumsum.derivative("input")
def _(k, g, dim, input_shape):
    if not input_shape:
        return g
    dim = wrap_dim(dim, len(input_shape))
    return k.flip(k.cumsum(k.flip(g, (dim,)), dim), (dim,))


@op
def cumprod(k, input: Tensor, dim, *, dtype=None):
    """The running product along `dim`."""
    return k.cumprod(input, wrap_dim(dim, input.ndim), _accumulator(input, dtype))


@cumprod.derivative("input")
def _(k, g, input, input_shape, out, dim):
    if not input_shape or input_shape[dim] == 1:
        return g
    return k.cumprod_backward(g, input, out, wrap_dim(dim, len(input_shape)))


@composite
def cumprod_backward(k, g, a, out, dim):
    """The gradient of a running product: for each element the sum over later products without it.

    Kernels have a shorter way, whose derivative is not the second one where elements are zero.
    """
    n, tensor = a.shape[dim], isinstance(a, NS["Tensor"])
    square = (n, n, *(1,) * (len(a.shape) - dim - 1))
    own, later = (np.reshape(m, square) for m in (np.eye(n, dtype=bool), np.triu(np.ones((n, n), bool))))
    own, later = (NS["BESIDE"](a, m) if tensor else like(a, m) for m in (own, later))
    lines = k.unsqueeze(a, dim)
    products = k.cumprod(k.where(own, k.ones_like(lines), lines), dim + 1)  # row i without element i
    terms = k.mul(products, k.unsqueeze(g, dim))
    return k.sum(k.where(later, terms, k.zeros_like(terms)), (dim + 1,))


def _spread(k, g, input, out, input_shape, dim, keepdim):
    """The gradient of an extremum: shared evenly by the elements that reach it."""
    kept = kept_shape(input_shape, dim)
    out = k.reshape(out, kept)
    g = k.reshape(g, kept)
    hit = k.to_dtype(k.eq(input, out), g)
    count = k.sum(hit, reduce_dims(dim, len(input_shape)), True)
    return k.mul(hit, k.div(g, k.reshape(count, kept)))


@op(any_dtype=False, upcast=False)
def amax(k, input: Tensor, dim=(), keepdim=False):
    """The largest element over `dim`; the gradient of a tie is shared evenly."""
    _refuse_empty("amax", input.shape, dim)
    return k.amax(input, reduce_dims(dim, input.ndim), keepdim)


@amax.derivative("input")
def _(k, g, input, out, input_shape, dim, keepdim):
    return _spread(k, g, input, out, input_shape, dim, keepdim)


@op(any_dtype=False, upcast=False)
def amin(k, input: Tensor, dim=(), keepdim=False):
    """The smallest element over `dim`; the gradient of a tie is shared evenly."""
    _refuse_empty("amin", input.shape, dim)
    return k.amin(input, reduce_dims(dim, input.ndim), keepdim)


@amin.derivative("input")
def _(k, g, input, out, input_shape, dim, keepdim):
    return _spread(k, g, input, out, input_shape, dim, keepdim)


def share_evenly(k: Any, g: Any, input: Any, out: Any) -> Any:
    """The gradient of an element picked from all: shared by its equals, among them all NaNs."""
    hit = k.to_dtype(k.logical_or(k.eq(input, out), k.logical_and(k.isnan(input), k.isnan(out))), g)
    return k.mul(hit, k.div(g, k.sum(hit)))


def _refuse_empty(name: str, shape: tuple[int, ...], dim: Any) -> None:
    dims = reduce_dims(dim, len(shape))
    if dims is None:
        if 0 in shape:
            raise RuntimeError(
                f"{name}(): the tensor has no elements ({list(shape)}); name a dimension of nonzero length with dim="
            )
        return
    for d in dims:
        if shape and shape[d] == 0:
            raise IndexError(f"{name}(): dimension {d} of {list(shape)} has no elements to reduce")


@op(upcast=False, grad_name="MaxBackward1")
def max_all(k, input: Tensor):
    """The largest element of all."""
    if input.size == 0:
        raise RuntimeError(
            f"max(): the tensor has no elements ({list(input.shape)}); name a dimension of nonzero length with dim="
        )
    if input.dtype.kind == "c":
        raise NotImplementedError("max(): complex numbers have no order; compare .abs() or .real")
    return k.amax(input, None, False)


@max_all.derivative("input")
def _(k, g, input, out):
    return share_evenly(k, g, input, out)


@op(upcast=False, grad_name="MinBackward1")
def min_all(k, input: Tensor):
    """The smallest element of all."""
    if input.size == 0:
        raise RuntimeError(
            f"min(): the tensor has no elements ({list(input.shape)}); name a dimension of nonzero length with dim="
        )
    return k.amin(input, None, False)


@min_all.derivative("input")
def _(k, g, input, out):
    return share_evenly(k, g, input, out)


@op(differentiable=False)
def any(k, input: Index, dim=None, keepdim=False):
    """Whether some element over `dim` is nonzero."""
    return _truth(k.any(input, None if dim is None else reduce_dims(dim, input.ndim), keepdim), input)


@op(differentiable=False)
def all(k, input: Index, dim=None, keepdim=False):
    """Whether every element over `dim` is nonzero."""
    return _truth(k.all(input, None if dim is None else reduce_dims(dim, input.ndim), keepdim), input)


def _truth(found: Any, input: Any) -> Any:
    """Truths of uint8, from when there was no bool, stay uint8."""
    return as_array(found).astype(np.uint8) if input.dtype == np.uint8 else found


def _dims_or_all(dim: Any, ndim: int) -> tuple[int, ...]:
    dims = reduce_dims(dim, ndim)
    return tuple(range(ndim)) if dims is None else dims


def _count(shape: tuple[int, ...], dims: tuple[int, ...]) -> int:
    n = 1
    for d in dims:
        n *= shape[d] if shape else 1
    return n


@op(holomorphic=False)
def var_op(k, input: Tensor, dim, correction, keepdim):
    """The variance over `dim` with `correction` taken from the count."""
    if input.dtype.kind not in "fc":
        raise RuntimeError(
            f"std and var need a floating-point or complex tensor, got {input.dtype}; convert it with .float()"
        )
    return k.var(input, reduce_dims(dim, input.ndim), correction, keepdim)


@var_op.derivative("input")
def _(k, g, input, input_shape, dim, correction):
    dims = _dims_or_all(dim, len(input_shape))
    n = _count(input_shape, dims)
    centred = k.sub(input, k.mean(input, dims if input_shape else None, True))
    scale = (
        2.0 / (n - correction) if n != correction else float("nan") if n - correction == 0 and n == 0 else float("inf")
    )
    return k.mul(k.mul(k.reshape(g, kept_shape(input_shape, dim)), scale), centred)


@op(holomorphic=False)
def std_op(k, input: Tensor, dim, correction, keepdim):
    """The standard deviation over `dim` with `correction` taken from the count."""
    if input.dtype.kind not in "fc":
        raise RuntimeError(
            f"std and var need a floating-point or complex tensor, got {input.dtype}; convert it with .float()"
        )
    return k.std(input, reduce_dims(dim, input.ndim), correction, keepdim)


@std_op.derivative("input")
def _(k, g, input, out, input_shape, dim, correction):
    dims = _dims_or_all(dim, len(input_shape))
    n = _count(input_shape, dims)
    kept = kept_shape(input_shape, dim)
    out = k.reshape(out, kept)
    slope = k.div(k.reshape(g, kept), k.mul(out, 2))
    slope = k.where(k.eq(out, 0), k.zeros_like(slope), slope)
    centred = k.sub(input, k.mean(input, dims if input_shape else None, True))
    scale = 2.0 / (n - correction) if n != correction else float("inf")
    return k.mul(k.mul(slope, scale), centred)


def _moment_arguments(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, Any]:
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


def var(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None, out: Any = None
) -> Any:
    """The variance over `dim`: squared deviations over the count less `correction` (1)."""
    dim, correction = _moment_arguments(dim, unbiased, correction)
    return var_op(input, dim, correction, keepdim, out=out)


def std(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None, out: Any = None
) -> Any:
    """The standard deviation over `dim`; its gradient at 0 is 0."""
    dim, correction = _moment_arguments(dim, unbiased, correction)
    return std_op(input, dim, correction, keepdim, out=out)


def var_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple:
    """The variance and the mean over `dim`."""
    dim_, _ = _moment_arguments(dim, unbiased, correction)
    pair = var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim_, keepdim)
    return show_as(pair[0], "VarMeanBackward0"), show_as(pair[1], "VarMeanBackward0")


def std_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple:
    """The standard deviation and the mean over `dim`."""
    dim_, _ = _moment_arguments(dim, unbiased, correction)
    pair = std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim_, keepdim)
    return show_as(pair[0], "StdMeanBackward0"), show_as(pair[1], "StdMeanBackward0")


def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements over `dim` are not zero."""
    return sum(input != 0, dim)
