"""Writing to places along a dimension, and picking slices: scatter, index_add, index_select, masked and flat forms."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import like, visible
from flambeau.errors import warn_once
from flambeau.ops import joining, shape
from flambeau.ops.compare import masked_fill
from flambeau.ops.core import op
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import by_example, checks_values, deliver, one_call
from flambeau.ops.index import check_gather, gather, parse_index
from flambeau.ops.placing import beside

__all__ = [
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "nonzero_static",
    "index_select",
    "masked_scatter",
    "masked_select",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take",
    "take_along_dim",
]


def _numbers(name: str, input: Any, src: Any) -> None:
    if input.dtype != src.dtype:
        raise RuntimeError(
            f"{name}(): input and src must have one dtype, got {input.dtype} and {src.dtype}; convert one with "
            ".to(dtype)"
        )


def check(name: str, input: Any, dim: Any, index: Any, src: Any = None) -> None:
    """Refuses an index that does not fit `input`, or a source that is smaller than it or of another dtype."""
    check_gather(name, input, dim, index)
    if src is None:
        return
    _numbers(name, input, src)
    if index.size and (
        (src.ndim or 1) != (index.ndim or 1) or any(n > m for n, m in zip(index.shape, src.shape, strict=False))
    ):
        raise RuntimeError(
            f"{name}(): index {list(index.shape)} must not be larger than src {list(src.shape)} in any dimension"
        )


def _source_gradient(k: Any, g: Any, dim: int, index: Any, src_shape: Any) -> Any:
    """The gradient of a source whose first elements were written."""
    picked = k.gather(g, dim, index)
    if tuple(picked.shape) == tuple(src_shape):
        return picked
    for d, n in enumerate(src_shape):
        if picked.shape[d] != n:
            full = (*picked.shape[:d], n, *picked.shape[d + 1 :])
            picked = k.slice_put(picked, full, d, 0, picked.shape[d])
    return picked


@op(any_dtype=True, grad_name="ScatterBackward0")
def scatter_src(k, input: Tensor, dim, index: Index, src: Tensor):
    """`input` with `src` at `index` along `dim`."""
    check("scatter", input, dim, index, src)
    return k.scatter_put(input, dim, index, src)


@scatter_src.derivative("input")
def _(k, g, dim, index):
    return k.scatter_fill(g, dim, index, 0)


@scatter_src.derivative("src")
def _(k, g, dim, index, src_shape):
    return _source_gradient(k, g, dim, index, src_shape)


@op(any_dtype=True, grad_name="ScatterBackward1")
def scatter_fill(k, input: Tensor, dim, index: Index, value):
    """`input` with a number at `index` along `dim`."""
    check("scatter", input, dim, index)
    return k.scatter_fill(input, dim, index, value)


@scatter_fill.derivative("input")
def _(k, g, dim, index):
    return k.scatter_fill(g, dim, index, 0)


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None, out: Any = None
) -> Any:
    """`input` with `src`, a tensor or a number, written at `index`: `out[index[i][j]][j] = src[i][j]` for dim 0.

    `reduce` 'add' or 'multiply' combines instead (without a derivative in PyTorch; `scatter_reduce` has one).
    """
    src = value if src is None else src
    tensor = isinstance(src, NS["Tensor"])
    if reduce is not None:
        how = {"add": "sum", "multiply": "prod"}.get(reduce)
        if how is None:
            raise RuntimeError(f"scatter(): reduce must be 'add' or 'multiply', got {reduce!r}")
        if not tensor:
            src = NS["BESIDE"](input, np.full(index._a.shape, src, input._a.dtype))
        result = scatter_reduce(input, dim, index, src, how)
        return deliver("scatter", out, result)
    if tensor:
        return scatter_src(input, dim, index, src, out=out)
    return scatter_fill(input, dim, index, src, out=out)


@op(any_dtype=True)
def scatter_add(k, input: Tensor, dim, index: Index, src: Tensor):
    """`input` with `src` added at `index` along `dim`: `out[index[i][j]][j] += src[i][j]` for dim 0."""
    check("scatter_add", input, dim, index, src)
    return k.scatter_add(input, dim, index, src)


@scatter_add.derivative("input")
def _(k, g):
    return g


@scatter_add.derivative("src")
def _(k, g, dim, index, src_shape):
    return _source_gradient(k, g, dim, index, src_shape)


@op(any_dtype=True, grad_name="ScatterReduceBackward0")
def scatter_extreme(k, input: Tensor, dim, index: Index, src: Tensor, how, include_self=True):
    """`input` combined at `index` with `src`: the products, maxima or minima."""
    check("scatter_reduce", input, dim, index, src)
    return _combined(k, input, dim, index, src, how, include_self)


def _combined(k: Any, input: Any, dim: int, index: Any, src: Any, how: str, include_self: bool) -> Any:
    if not include_self:
        input = k.scatter_fill(input, dim, index, _neutral(how, input.dtype))
    return k.scatter_extreme(input, dim, index, src, how)


def _neutral(how: str, dtype: Any) -> Any:
    """What changes no product, maximum or minimum."""
    if how == "prod":
        return 1
    kind = dtype if isinstance(dtype, np.dtype) else dtype.numpy
    if kind.kind in "fV":
        return -np.inf if how == "amax" else np.inf
    if kind.kind == "b":
        return how == "amin"
    return np.iinfo(kind).min if how == "amax" else np.iinfo(kind).max


@scatter_extreme.derivative("input", "src")
def _(k, g, input, src, out, dim, index, how, include_self, src_shape):
    """An extremum's gradient is shared by its equals, `input`'s element among them whether it took part or not."""
    picked = _part(k, src, index)
    if how == "prod":
        mine, theirs = _product_rule(k, g, input, picked, out, dim, index, include_self)
    else:
        hit = k.to_dtype(k.eq(input, out), g)
        hits = k.to_dtype(k.eq(picked, k.gather(out, dim, index)), g)
        shared = k.div(g, k.scatter_add(hit, dim, index, hits))
        mine, theirs = k.mul(hit, shared), k.mul(hits, k.gather(shared, dim, index))
    if not include_self:
        mine = k.scatter_fill(mine, dim, index, 0)
    return mine, _padded(k, theirs, src_shape)


def _product_rule(
    k: Any, g: Any, input: Any, picked: Any, out: Any, dim: int, index: Any, include_self: bool
) -> tuple[Any, Any]:
    """The gradient of products: each factor's is the product of the others, without dividing by the only zero."""
    ones = k.ones_like(picked)
    kept = k.where(k.eq(input, 0), k.ones_like(input), input)
    mine = k.div(k.mul(g, _combined(k, kept, dim, index, picked, "prod", include_self)), kept)
    zero = k.eq(picked, 0)
    count = k.gather(k.scatter_add(k.zeros_like(g), dim, index, k.to_dtype(zero, g)), dim, index)
    alone = k.logical_and(zero, k.eq(count, 1))
    others = _combined(k, input, dim, index, k.where(alone, ones, picked), "prod", include_self)
    ratio = k.div(k.gather(k.mul(g, out), dim, index), k.where(zero, ones, picked))
    return mine, k.where(alone, k.gather(k.mul(g, others), dim, index), ratio)


def _part(k: Any, src: Any, index: Any) -> Any:
    for d, n in enumerate(index.shape):
        if d < len(src.shape) and src.shape[d] != n:
            src = k.slice(src, d, 0, n)
    return src


def _padded(k: Any, g: Any, full: Any) -> Any:
    for d, n in enumerate(full):
        if g.shape[d] != n:
            g = k.slice_put(g, (*g.shape[:d], n, *g.shape[d + 1 :]), d, 0, g.shape[d])
    return g


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True, out: Any = None
) -> Any:
    """`input` combined at `index` with `src`: `reduce` is 'sum', 'prod', 'mean', 'amax' or 'amin'.

    Without `include_self` the values of `input` at those places do not take part.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"scatter_reduce(): reduce must be 'sum', 'prod', 'mean', 'amax' or 'amin', got {reduce!r}")
    if reduce in ("sum", "mean"):
        result = scatter_add(input if include_self else scatter_fill(input, dim, index, 0), dim, index, src)
        if reduce == "mean":
            result = _mean(result, dim, index, include_self)
    else:
        result = scatter_extreme(input, dim, index, src, reduce, include_self)
    return deliver("scatter_reduce", out, result)


def _mean(total: Any, dim: int, index: Any, include_self: bool) -> Any:
    wrap, ops = NS["WRAP"], NS["OPS"]
    if index._level is not None:
        one = wrap(np.ones(index._a.shape, total._a.dtype))
        fresh = wrap(np.full(total._a.shape, int(include_self), total._a.dtype))
        counts = ops.clamp_number(scatter_add(fresh, dim, index, one), 1)
        return ops.div(total, counts) if total._a.dtype.kind in "fcV" else ops.floor_divide(total, counts)
    ones = np.ones(index._a.shape, total._a.dtype)
    start = np.ones(total._a.shape, total._a.dtype) if include_self else np.zeros(total._a.shape, total._a.dtype)
    start, ones = like(total._a, start), like(total._a, ones)
    count = np.maximum(NS["KERNELS_OF"](start).scatter_add(start, dim, index._a, ones), 1)
    if total._a.dtype.kind in "fcV":
        return ops.div(total, wrap(count))
    return ops.floor_divide(total, wrap(count))


def _rows(name: str, a: Any, dim: Any, index: Any) -> int:
    """`dim` counted from the front; refuses an index that is no vector of places along it."""
    d = wrap_dim(dim, a.ndim)
    if index.ndim > 1:
        raise IndexError(f"{name}(): index must have one dimension, got {index.ndim}")
    if index.dtype not in (np.int64, np.int32):
        raise (RuntimeError if name == "index_select" else IndexError)(
            f"{name}(): index must be int64 or int32, got {index.dtype}"
        )
    n = a.shape[d] if a.ndim else 1
    _within(name, index, 0, n, f"dimension {d} has size {n}")
    return d


@checks_values
def _within(name: str, index: Any, least: int, n: int, what: str) -> None:
    if type(index) is np.ndarray and index.size and not (least <= int(index.min()) and int(index.max()) < n):
        raise IndexError(f"{name}(): index out of range: {what}, the index reaches from {index.min()} to {index.max()}")


@op(any_dtype=True)
def index_select(k, input: Tensor, dim, index: Index):
    """The slices of `input` at `index`, a vector, along `dim`: a copy.

    >>> import flambeau as torch
    >>> torch.index_select(torch.tensor([[1, 2, 3], [4, 5, 6]]), 1, torch.tensor([2, 0]))
    tensor([[3, 1],
            [6, 4]])
    """
    return k.select_rows(input, _rows("index_select", input, dim, index), index)


@index_select.derivative("input")
def _(k, g, input_shape, dim, index):
    return k.put_rows(g, input_shape, dim, index)


@op(any_dtype=True)
def put_rows(k, g: Tensor, shape, dim, index: Index):
    """Zeros of `shape` with slices added at `index` along `dim`: the gradient of `index_select`."""
    return k.put_rows(g, shape, dim, index)


@put_rows.derivative("g")
def _(k, g, dim, index):
    return k.index_select(g, dim, index)


def _fitting(name: str, input: Any, d: int, index: Any, source: Any) -> None:
    """Refuses a source whose slices do not match those at `index`."""
    _numbers(name, input, source)
    want = [*input.shape[:d], index.size, *input.shape[d + 1 :]] if input.ndim else []
    if list(source.shape) != want and not (input.ndim <= 1 and source.size == index.size):
        kind = IndexError if name == "index_copy" and source.ndim != input.ndim else RuntimeError
        raise kind(f"{name}(): source must have the shape {want} of the slices at index, got {list(source.shape)}")


@op(any_dtype=True)
def index_add(k, input: Tensor, dim, index: Index, source: Tensor, *, alpha=1):
    """`input` with `alpha` times the slices of `source` added at `index` along `dim`."""
    try:
        d = _rows("index_add", input, dim, index)
    except IndexError as error:  # PyTorch's class here, unlike its other functions'
        raise (RuntimeError(str(error)) if "index out of range" in str(error) else error) from None
    _fitting("index_add", input, d, index, source)
    added = k.put_rows(source, input.shape, d, index)
    if input.dtype.kind == "b":
        return k.logical_or(input, k.logical_and(added, bool(alpha)))
    return k.add(input, added if alpha == 1 else k.mul(added, NS["CONSTANT"](alpha, added.dtype)._a))


@index_add.derivative("input")
def _(k, g):
    return g


@index_add.derivative("source")
def _(k, g, dim, index, source_shape, alpha):
    g = k.reshape(k.index_select(g, dim, index), source_shape)
    return g if alpha == 1 else k.mul(g, alpha)


@op(any_dtype=True)
def index_copy(k, input: Tensor, dim, index: Index, source: Tensor):
    """`input` with the slices at `index` along `dim` replaced by those of `source`."""
    d = _rows("index_copy", input, dim, index)
    _fitting("index_copy", input, d, index, source)
    return k.copy_rows(input, d, index, source)


@index_copy.derivative("input")
def _(k, g, dim, index):
    return k.fill_rows(g, dim, index, 0)


@index_copy.derivative("source")
def _(k, g, dim, index, source_shape):
    return k.reshape(k.index_select(g, dim, index), source_shape)


@op(any_dtype=True, grad_name="IndexFillBackward0")
def fill_rows(k, input: Tensor, dim, index: Index, value):
    """`input` with a number in the slices at `index` along `dim`."""
    d = _rows("index_fill", input, dim, index)
    return k.fill_rows(input, d, index, value)


@fill_rows.derivative("input")
def _(k, g, dim, index):
    return k.fill_rows(g, dim, index, 0)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """`input` with `value`, a number or zero-dim tensor, in the slices at `index` along `dim`."""
    if not isinstance(value, NS["Tensor"]):
        return fill_rows(input, dim, index, value)
    if value._a.ndim:
        raise RuntimeError(
            f"index_fill(): the value must be a number or a tensor without dimensions, got {value._a.ndim} of them"
        )
    marked = NS["KERNELS_OF"](input._a).fill_rows(
        like(input._a, np.zeros(input._a.shape, bool)), _rows("index_fill", input._a, dim, index._a), index._a, True
    )
    return masked_fill(input, NS["WRAP"](marked), value)


def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True, out: Any = None
) -> Any:
    """`input` with the slices at `index` along `dim` combined with `source`: 'prod', 'mean', 'amax', 'amin'."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): reduce must be 'prod', 'mean', 'amax' or 'amin', got {reduce!r}")
    warn_once("index_reduce() is new and may change")
    d = _rows("index_reduce", input._a, dim, index._a)
    _fitting("index_reduce", input._a, d, index._a, source._a)
    rows = index.reshape((-1, *[1] * max(source._a.ndim - d - 1, 0)))
    places = joining.broadcast_to(rows if source._a.ndim else rows.reshape(()), source._a.shape).long()
    return scatter_reduce(input, d, places, source, reduce, include_self=include_self, out=out)


@by_example
def nonzero_static(input: Any, *, size: int, fill_value: int = -1, out: Any = None) -> Any:
    """The indices of the first `size` elements that are not zero, a row each, filled up with `fill_value`."""
    return deliver("nonzero_static", out, beside(input, _first_nonzero(input._a, size, fill_value)))


@one_call
def _first_nonzero(a: Any, size: int, fill_value: int) -> Any:
    found = NS["KERNELS_OF"](a).nonzero(a)[:size]
    result = np.full((size, a.ndim), fill_value, np.int64)
    result[: len(found)] = found
    return result


def _index(indices: Any, array: Any) -> Any:
    if isinstance(indices, NS["Tensor"]) or not isinstance(indices, (list, tuple)):
        raise TypeError(f"index_put(): indices must be a tuple of tensors, got {type(indices).__name__}")
    spelled = tuple(slice(None) if i is None else i for i in indices)
    return parse_index(spelled, array)[0]


def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """`input` with `values` written (or with `accumulate` added) at `indices`, a tuple of tensors."""
    _numbers("index_put", input._a, values._a)
    if NS["LEVELS"]:
        found = NS["LAYERED_INDEX_PUT"](input, indices, values, accumulate)
        if found is not NotImplemented:
            return found
    return NS["OPS"].index_put_op(input, values, _index(indices, input._a), accumulate)


def masked_select(input: Any, mask: Any, *, out: Any = None) -> Any:
    """The elements where the bool `mask` is true, as a vector; both are broadcast together."""
    if mask._a.dtype != bool:
        raise RuntimeError(f"masked_select(): the mask must be of bools, got {mask.dtype}; convert it with .bool()")
    full = joining.broadcast_shapes(input._a.shape, mask._a.shape)
    picked = masked_select_op(joining.broadcast_to(input, full), np.broadcast_to(mask._a, full))
    return deliver("masked_select", out, picked)


@op(any_dtype=True, grad_name="MaskedSelectBackward0")
def masked_select_op(k, input: Tensor, mask):
    """The elements where an array of truth values is true."""
    return k.index(input, (mask,)) if input.ndim else input.reshape(1)[mask.reshape(1)]


@masked_select_op.derivative("input")
def _(k, g, input_shape, mask):
    return k.index_add_zeros(g, input_shape, (mask,))


@op(any_dtype=True, grad_name="MaskedScatterBackward0")
def masked_scatter_op(k, input: Tensor, source: Tensor, mask):
    """`input` with the first elements of `source` where an array of truth values is true."""
    count = int(mask.sum())
    if source.size < count:
        raise RuntimeError(
            f"masked_scatter(): source needs {count} elements, one per true element of the mask, got {source.size}"
        )
    return k.index_put(input, source.reshape(-1)[:count], (mask,), False)


@masked_scatter_op.derivative("input")
def _(k, g, mask):
    return k.index_clear(g, (mask,))


@masked_scatter_op.derivative("source")
def _(k, g, mask, source_shape):
    picked = k.index(g, (mask,))
    n = 1
    for m in source_shape:
        n *= m
    return k.reshape(k.slice_put(picked, (n,), 0, 0, picked.shape[0]), source_shape)


def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """`input` with elements of `source`, in their order, where the bool `mask` is true."""
    if mask._a.dtype != bool:
        raise RuntimeError(f"masked_scatter(): the mask must be of bools, got {mask.dtype}; convert it with .bool()")
    _numbers("masked_scatter", input._a, source._a)
    full = joining.broadcast_shapes(input._a.shape, mask._a.shape)
    if mask._level is not None or not visible(mask._a):
        return _masked_scatter_of_batch(joining.broadcast_to(input, full), joining.broadcast_to(mask, full), source)
    return masked_scatter_op(joining.broadcast_to(input, full), source, np.broadcast_to(mask._a, full))


def _masked_scatter_of_batch(input: Any, mask: Any, source: Any) -> Any:
    """`masked_scatter` with a mask that is not to be looked at: each place takes its number among those set."""
    ops = NS["OPS"]
    number = ops.sub(ops.cumsum(shape.reshape(mask, (-1,)).long(), 0), 1)
    values = gather(shape.reshape(source, (-1,)), 0, ops.clamp_number(number, 0, max(source._a.size - 1, 0)))
    return ops.where(mask, shape.reshape(values, input._a.shape), input)


def _flat_places(name: str, input: Any, index: Any) -> Any:
    if index._a.dtype != np.int64:
        raise RuntimeError(f"{name}(): index must be int64, got {index.dtype}; convert it with .long()")
    n = input._a.size
    if index._level is not None:
        return index
    _within(name, index._a, -n, n, f"input has {n} elements")
    return index._a


def take(input: Any, index: Any, *, out: Any = None) -> Any:
    """The elements of the flattened `input` at `index`, in the shape of `index`."""
    places = _flat_places("take", input, index)
    if index._level is not None:
        return deliver("take", out, shape.reshape(input, (-1,))[index])
    picked = NS["OPS"].index(shape.reshape(input, (-1,)), (places,))
    return show_as(picked, "TakeBackward0") if out is None else deliver("take", out, picked)


def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """`input` with `source` written (or added) at places counted in the flattened tensor."""
    _numbers("put", input._a, source._a)
    places = _flat_places("put", input, index)
    if source._a.size != index._a.size:
        raise RuntimeError(
            f"put_(): source and index need equally many elements, got {source._a.size} and {index._a.size}"
        )
    flat = shape.reshape(input, (-1,))
    if index._level is not None:
        found = index_put(flat, (shape.reshape(index, (-1,)),), shape.reshape(source, (-1,)), accumulate)
        return shape.reshape(found, input._a.shape)
    written = NS["OPS"].index_put_op(flat, shape.reshape(source, places.shape), (places,), accumulate)
    return show_as(shape.reshape(written, input._a.shape), "PutBackward0")


def take_along_dim(input: Any, indices: Any, dim: Any = None, *, out: Any = None) -> Any:
    """The elements at `indices` along `dim`, both broadcast elsewhere; without `dim` in the flattened tensor."""
    if indices._a.dtype != np.int64:
        raise RuntimeError(f"take_along_dim(): indices must be int64, got {indices.dtype}; convert them with .long()")
    if dim is None:
        picked = gather(shape.reshape(input, (-1,)), 0, shape.reshape(indices, (-1,)))
        return deliver("take_along_dim", out, picked)
    if input._a.ndim != indices._a.ndim:
        raise RuntimeError(
            f"take_along_dim(): input and indices need equally many dimensions, got {input._a.ndim} and "
            f"{indices._a.ndim}"
        )
    d = wrap_dim(dim, input._a.ndim)
    if indices._a.size and indices._level is None and visible(indices._a) and int(indices._a.min()) < 0:
        indices = NS["WRAP"](np.where(indices._a < 0, indices._a + input._a.shape[d], indices._a))
    full = joining.broadcast_shapes(
        (*input._a.shape[:d], 1, *input._a.shape[d + 1 :]), (*indices._a.shape[:d], 1, *indices._a.shape[d + 1 :])
    )
    source = joining.broadcast_to(input, (*full[:d], input._a.shape[d], *full[d + 1 :]))
    places = joining.broadcast_to(indices, (*full[:d], indices._a.shape[d], *full[d + 1 :]))
    return gather(source, d, places, out=out)
