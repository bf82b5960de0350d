"""Extrema with their places, sorting, selection, searching and counting.

NaN counts as larger than every number, as in PyTorch. A gradient goes to the selected element.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import as_array, copied, like
from flambeau.errors import need_tensor
from flambeau.ops import reduce, results
from flambeau.ops.arithmetic import maximum, minimum
from flambeau.ops.core import op
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import by_example, deliver

__all__ = [
    "aminmax",
    "argmax",
    "argmin",
    "argsort",
    "argwhere",
    "bucketize",
    "cummax",
    "cummin",
    "isin",
    "kthvalue",
    "max",
    "median",
    "min",
    "mode",
    "msort",
    "nanmedian",
    "nonzero",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]


@op
def put_places(k, g: Tensor, shape, dim, index: Index):
    """Zeros of `shape` with `g` at distinct places along `dim`: the gradient of a selection."""
    return k.put_places(g, shape, dim, index)


@put_places.derivative("g")
def _(k, g, dim, index, g_shape):
    return k.gather(g, dim, index) if g_shape else g


def _placed(k: Any, g: Any, index: Any, shape: Any, dim: int, keepdim: bool) -> Any:
    """The gradient of a selection along `dim`: `g` at the selected places."""
    if not shape:
        return g
    d = wrap_dim(dim, len(shape))
    if not keepdim:
        g, index = k.unsqueeze(g, d), k.unsqueeze(index, d)
    return k.put_places(g, shape, d, index)


def _line(name: str, a: Any, dim: Any) -> tuple[Any, int]:
    """The operand with at least one dimension, and `dim` counted from the front; an IndexError for an empty line."""
    d = wrap_dim(dim, a.ndim)
    if a.ndim == 0:
        return a.reshape(1), 0
    if a.shape[d] == 0:
        raise IndexError(f"{name}(): dimension {d} has no elements")
    return a, d


def _selected(a: Any, values: Any, places: Any, d: int, keepdim: bool) -> tuple[Any, Any]:
    if a.ndim == 0:
        return values.reshape(()), places.reshape(())
    if keepdim:
        return np.expand_dims(values, d), np.expand_dims(places, d)
    return values, places


def _real(name: str, a: Any) -> None:
    if a.dtype.kind == "c":
        raise RuntimeError(f"{name}(): complex numbers have no order; got {a.dtype}. Take .abs() or .real first")


def _no_bools(name: str, a: Any) -> None:
    if a.dtype.kind == "b":
        raise RuntimeError(f"{name}(): bools are not ordered here; convert with .int()")


@op(outputs=2, nondiff=(1,), grad_name="MaxBackward0")
def max_dim(k, input: Tensor, dim, keepdim=False):
    """The largest element along `dim` and its place."""
    _real("max", input)
    a, d = _line("max", input, dim)
    places = k.argmax(a, d)
    return _selected(input, k.take_place(a, d, places), places, d, keepdim)


@max_dim.derivative("input")
def _(k, g0, out1, input_shape, dim, keepdim):
    return _placed(k, g0, out1, input_shape, dim, keepdim)


@op(outputs=2, nondiff=(1,), grad_name="MinBackward0")
def min_dim(k, input: Tensor, dim, keepdim=False):
    """The smallest element along `dim` and its place."""
    _real("min", input)
    a, d = _line("min", input, dim)
    places = k.argmin(a, d)
    return _selected(input, k.take_place(a, d, places), places, d, keepdim)


@min_dim.derivative("input")
def _(k, g0, out1, input_shape, dim, keepdim):
    return _placed(k, g0, out1, input_shape, dim, keepdim)


def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
    """The largest element of all; along `dim` with its place (`values`, `indices`); or with another tensor, `maximum`.

    A tie along `dim` goes to the first; in `max(input)` all share the gradient. NaN is the largest.

    >>> import flambeau as torch
    >>> torch.max(torch.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).indices
    tensor([1, 0])
    """
    other = dim if isinstance(dim, NS["Tensor"]) else other
    if other is not None:
        return maximum(input, other, out=out)
    if dim is None:
        return reduce.max_all(input, out=out)
    return results.max(max_dim(input, dim, keepdim, out=out))


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
    """The smallest element of all; along `dim` with its place (`values`, `indices`); or with another tensor, `minimum`.

    A tie along `dim` goes to the first; in `min(input)` all share the gradient. NaN counts as the smallest here.
    """
    other = dim if isinstance(dim, NS["Tensor"]) else other
    if other is not None:
        return minimum(input, other, out=out)
    if dim is None:
        return reduce.min_all(input, out=out)
    return results.min(min_dim(input, dim, keepdim, out=out))


def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, over `dim` or of all, as `min` and `max`."""
    dim = () if dim is None else wrap_dim(dim, input.ndim)
    low, high = out if out is not None else (None, None)
    if out is not None and any(t._a.dtype != input._a.dtype for t in out):
        raise RuntimeError(f"aminmax(): out must have the input's dtype {input.dtype}, got {[t.dtype for t in out]}")
    pair = reduce.amin(input, dim, keepdim, out=low), reduce.amax(input, dim, keepdim, out=high)
    return results.aminmax(show_as(extreme, "AminmaxBackward0") for extreme in pair)


def _place(k: Any, name: str, input: Any, dim: Any, keepdim: bool) -> Any:
    _real(name, input)
    _no_bools(name, input)
    if dim is None:
        if input.size == 0:
            raise IndexError(f"{name}(): the tensor has no elements; name a dimension of nonzero length with dim=")
        place = getattr(k, name)(input.reshape(-1), 0)
        return np.reshape(place, (1,) * input.ndim) if keepdim else place
    a, d = _line(name, input, dim)
    place = getattr(k, name)(a, d)
    if input.ndim == 0:
        return place.reshape(())
    return np.expand_dims(place, d) if keepdim else place


@op(differentiable=False)
def argmax(k, input: Index, dim=None, keepdim=False):
    """The place of the largest element along `dim`, or in the flattened tensor: the first of several, NaN first."""
    return _place(k, "argmax", input, dim, keepdim)


@op(differentiable=False)
def argmin(k, input: Index, dim=None, keepdim=False):
    """The place of the smallest element along `dim`, or in the flattened tensor; the first of several."""
    return _place(k, "argmin", input, dim, keepdim)


@op(outputs=2, nondiff=(1,), grad_name="SortBackward0")
def sort_op(k, input: Tensor, dim, descending, stable=True):
    """The elements sorted along `dim`, and the places they came from."""
    _real("sort", input)
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        return input.copy(), like(input, np.zeros((), np.int64))
    return k.sort(input, d, descending, stable)


@sort_op.derivative("input")
def _(k, g0, out1, input_shape, dim):
    return _placed(k, g0, out1, input_shape, dim, True)


def sort(input: Any, dim: Any = -1, descending: bool = False, stable: bool | None = None, *, out: Any = None) -> Any:
    """The elements along `dim` in ascending (or descending) order, and where each came from: `values`, `indices`.

    Equal elements keep their order if `stable`; NaN comes last when ascending.

    >>> import flambeau as torch
    >>> torch.sort(torch.tensor([3.0, 1.0, 2.0])).indices
    tensor([1, 2, 0])
    """
    if isinstance(dim, bool):
        dim, descending = -1, dim
    values, places = sort_op(input, dim, descending, bool(stable), out=out)
    return results.sort((values if stable is None else show_as(values, "SortBackward1"), places))


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The places that sort the elements along `dim`."""
    return sort(input, dim, descending, stable)[1]


def msort(input: Any, *, out: Any = None) -> Any:
    """The elements sorted along the first dimension."""
    return deliver("msort", out, sort(input, 0)[0])


@op(outputs=2, nondiff=(1,), grad_name="TopkBackward0")
def topk_op(kernels, input: Tensor, k, dim, largest):
    """The `k` largest or smallest elements along `dim`, best first, and their places."""
    _real("topk", input)
    _no_bools("topk", input)
    d = wrap_dim(dim, input.ndim)
    if not 0 <= k <= (input.shape[d] if input.ndim else 1):
        raise RuntimeError(f"topk(): k is {k}, but dimension {d} of {list(input.shape)} has no {k} elements")
    if input.ndim == 0:
        return input.copy(), like(input, np.zeros((), np.int64))
    return kernels.topk(input, k, d, largest)


@topk_op.derivative("input")
def _(k, g0, out1, input_shape, dim):
    return _placed(k, g0, out1, input_shape, dim, True)


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None) -> Any:
    """The `k` largest (or smallest) elements along `dim` and their places, always with the best first."""
    return results.topk(topk_op(input, int(k), dim, largest, out=out))


@op(outputs=2, nondiff=(1,), grad_name="KthvalueBackward0")
def kthvalue_op(kernels, input: Tensor, k, dim, keepdim=False):
    """The `k`-th smallest element along `dim` and its place."""
    _real("kthvalue", input)
    a, d = _line("kthvalue", input, dim)
    if not 1 <= k <= a.shape[d]:
        raise RuntimeError(f"kthvalue(): k must be from 1 to {a.shape[d]}, the length of dimension {d}, got {k}")
    values, places = kernels.kth(a, k - 1, d)
    return _selected(input, values, places, d, keepdim)


@kthvalue_op.derivative("input")
def _(k, g0, out1, input_shape, dim, keepdim):
    return _placed(k, g0, out1, input_shape, dim, keepdim)


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The `k`-th smallest element (from 1) along `dim` and its place."""
    return results.kthvalue(kthvalue_op(input, k, dim, keepdim, out=out))


@op(outputs=2, nondiff=(1,), grad_name="MedianBackward1")
def median_dim(k, input: Tensor, dim, keepdim, skip_nan):
    """The lower median along `dim` and its place."""
    _real("median", input)
    a, d = _line("median", input, dim)
    values, places = k.median(a, d, skip_nan)
    return _selected(input, values, places, d, keepdim)


@median_dim.derivative("input")
def _(k, g0, out1, input_shape, dim, keepdim):
    return _placed(k, g0, out1, input_shape, dim, keepdim)


@op(grad_name="MedianBackward0")
def median_all(k, input: Tensor, skip_nan):
    """The lower median of all elements."""
    if input.size == 0:
        return np.full((), np.nan if input.dtype.kind == "f" else np.iinfo(input.dtype).min, input.dtype)
    return k.median(input.reshape(-1), 0, skip_nan)[0]


@median_all.derivative("input")
def _(k, g, input, out):
    return reduce.share_evenly(k, g, input, out)


def median(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median of all, or along `dim` with its place: of an even number of elements the lower one. NaN spreads."""
    if dim is None:
        return median_all(input, False, out=out)
    return results.median(median_dim(input, dim, keepdim, False, out=out))


def nanmedian(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median of the elements that are not NaN, of all or along `dim` with its place."""
    if dim is None:
        return median_all(input, True, out=out)
    return results.nanmedian(median_dim(input, dim, keepdim, True, out=out))


@op(outputs=2, nondiff=(1,), grad_name="ModeBackward0")
def mode_op(k, input: Tensor, dim, keepdim=False):
    """The most frequent element along `dim` and its last place."""
    _real("mode", input)
    a, d = _line("mode", input, dim)
    values, places = k.mode(a, d)
    return _selected(input, values, places, d, keepdim)


@mode_op.derivative("input")
def _(k, g0, out1, input_shape, dim, keepdim):
    return _placed(k, g0, out1, input_shape, dim, keepdim)


def mode(input: Any, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along `dim`, the smallest of several, and its last place."""
    return results.mode(mode_op(input, dim, keepdim, out=out))


@op(outputs=2, nondiff=(1,), grad_name="CummaxBackward0")
def cummax_op(k, input: Tensor, dim):
    """The running maximum along `dim` and where it was reached last."""
    _real("cummax", input)
    return k.cummax(input, wrap_dim(dim, input.ndim))


@cummax_op.derivative("input")
def _(k, g0, out1, input_shape, dim):
    return k.scatter_add_zeros(g0, input_shape, dim, out1) if input_shape else g0


@op(outputs=2, nondiff=(1,), grad_name="CumminBackward0")
def cummin_op(k, input: Tensor, dim):
    """The running minimum along `dim` and where it was reached last."""
    _real("cummin", input)
    return k.cummin(input, wrap_dim(dim, input.ndim))


@cummin_op.derivative("input")
def _(k, g0, out1, input_shape, dim):
    return k.scatter_add_zeros(g0, input_shape, dim, out1) if input_shape else g0


def cummax(input: Any, dim: int, *, out: Any = None) -> Any:
    """The running maximum along `dim`, and the latest place that reached it."""
    return results.cummax(cummax_op(input, dim, out=out))


def cummin(input: Any, dim: int, *, out: Any = None) -> Any:
    """The running minimum along `dim`, and the latest place that reached it."""
    return results.cummin(cummin_op(input, dim, out=out))


def _answers(parts: tuple, inverse: bool, counts: bool) -> Any:
    wanted = [NS["WRAP"](parts[0])]
    if inverse:
        wanted.append(NS["WRAP"](parts[1]))
    if counts:
        wanted.append(NS["WRAP"](parts[2]))
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def _unique_dim(a: Any, dim: Any) -> int:
    if a.ndim == 0:
        raise IndexError(f"dim {dim} is out of range: a tensor without dimensions has none")
    d = wrap_dim(dim, a.ndim)
    if 0 in a.shape[:d] + a.shape[d + 1 :]:
        raise RuntimeError("unique(): dimensions besides dim must not be empty")
    return d


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    """The distinct elements, or slices along `dim`, in ascending order; besides, where each went and how many of it."""
    k = NS["KERNELS_OF"](input._a)
    d = None if dim is None else _unique_dim(input._a, dim)
    return _answers(k.unique(input._a, d), return_inverse, return_counts)


def unique_consecutive(input: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None) -> Any:
    """The elements, or slices along `dim`, without those that equal the one before."""
    k = NS["KERNELS_OF"](input._a)
    d = None if dim is None else _unique_dim(input._a, dim)
    return _answers(k.unique_runs(input._a, d), return_inverse, return_counts)


def nonzero(input: Any, *, as_tuple: bool = False, out: Any = None) -> Any:
    """The indices of the elements that are not zero: a row each, or with `as_tuple` a vector per dimension."""
    need_tensor("nonzero", input)
    found = NS["KERNELS_OF"](input._a).nonzero(input._a)
    wrap = NS["WRAP"]
    if as_tuple:
        if input._a.ndim == 0:
            return (wrap(like(found, np.zeros(len(found), np.int64))),)
        return tuple(wrap(copied(column)) for column in found.T)
    return deliver("nonzero", out, wrap(found))


def argwhere(input: Any) -> Any:
    """The indices of the elements that are not zero, a row each."""
    return nonzero(input)


@by_example
def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    out: Any = None,
    sorter: Any = None,
) -> Any:
    """Where each value of `input` would go into `sorted_sequence`, ascending along its last dimension.

    `right` (or `side='right'`): after equal elements. Leading dimensions must agree unless the sequence is a vector.
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted(): side must be 'left' or 'right', got {side!r}")
    if side == "left" and right:
        raise RuntimeError("searchsorted(): right=True contradicts side='left'; give one of them")
    need_tensor("searchsorted", sorted_sequence, "sorted_sequence")
    if not isinstance(input, (bool, int, float)):
        need_tensor("searchsorted", input)
    a = sorted_sequence._a
    values = input._a if isinstance(input, NS["Tensor"]) else like(a, np.asarray(input, a.dtype))
    if sorter is not None:
        a = np.take_along_axis(a, sorter._a, -1)
    if a.ndim > 1 and a.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "searchsorted(): the sequences must be a vector, or agree with the values in all but the last "
            f"dimension; got {list(a.shape)} and {list(values.shape)}"
        )
    found = as_array(NS["KERNELS_OF"](a).searchsorted(a, values, right or side == "right"))
    result = NS["WRAP"](found.astype(np.int32 if out_int32 else np.int64))
    return deliver("searchsorted", out, result)


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False, out: Any = None) -> Any:
    """The number of the bucket that each element falls into; `boundaries` is an ascending vector."""
    if boundaries._a.ndim != 1:
        raise RuntimeError(f"bucketize(): boundaries must be a vector, got {boundaries._a.ndim} dimensions")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


@by_example
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False, out: Any = None
) -> Any:
    """Whether each element is among `test_elements`; either may be a number."""
    tensor = NS["Tensor"]
    a, b = (x._a if isinstance(x, tensor) else np.asarray(x) for x in (elements, test_elements))
    return deliver("isin", out, NS["WRAP"](np.isin(a, b, assume_unique=False, invert=invert)))
