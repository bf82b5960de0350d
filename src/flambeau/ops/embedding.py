"""Embedding tables: rows by index, and bags of rows."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.autograd.views import bump
from flambeau.engines.arrays import FOREIGN, host
from flambeau.errors import describe
from flambeau.ops.core import op
from flambeau.ops.dispatch import checks_values, one_call, one_write, wrap
from flambeau.ops.index import gather
from flambeau.ops.placing import beside

__all__ = ["embedding", "embedding_bag", "table_embedding"]

_BAG = "EmbeddingBagBackward0"


@op(name="embedding", any_dtype=True)
def embedding_op(k, weight: Tensor, indices: Index, padding_idx=-1, scale_grad_by_freq=False):
    """Rows of `weight` at `indices`; row `padding_idx` gets no gradient."""
    return k.embedding(weight, indices)


@embedding_op.derivative("weight")
def _(k, g, indices, weight_shape, padding_idx, scale_grad_by_freq):
    return k.embedding_dense_backward(g, indices, weight_shape[0], padding_idx, scale_grad_by_freq)


@op
def embedding_dense_backward(k, grad_output: Tensor, indices: Index, num_weights, padding_idx, scale_grad_by_freq):
    """The gradient of `embedding`: each row of `grad_output` added to the row of the table that it came from."""
    result = k.embedding_backward(grad_output, indices, num_weights)
    if scale_grad_by_freq:
        counts = np.maximum(k.row_counts(indices, num_weights), 1)
        result = result / counts.astype(result.dtype).reshape((-1,) + (1,) * (result.ndim - 1))
    if padding_idx >= 0:
        result[padding_idx] = 0
    return result


@embedding_dense_backward.derivative("grad_output")
def _(k, g, indices, num_weights, padding_idx, scale_grad_by_freq):
    return k.picked_rows(g, indices, num_weights, padding_idx, scale_grad_by_freq)


@op
def picked_rows(k, table: Tensor, indices: Index, num_weights, padding_idx, scale_grad_by_freq):
    """The adjoint of `embedding_dense_backward`.

    Rows by index, zeros for padding, divided by how often they are picked.
    """
    result = k.embedding(table, indices)
    tail = (1,) * (table.ndim - 1)
    if scale_grad_by_freq:
        counts = k.row_counts(indices, num_weights).astype(result.dtype)
        result = result / counts[indices].reshape(indices.shape + tail)
    if padding_idx >= 0:
        result = np.where((indices == padding_idx).reshape(indices.shape + tail), result.dtype.type(0), result)
    return result


@picked_rows.derivative("table")
def _(k, g, indices, num_weights, padding_idx, scale_grad_by_freq):
    return k.embedding_dense_backward(g, indices, num_weights, padding_idx, scale_grad_by_freq)


def _check_indices(name: str, indices: Any, rows: int) -> None:
    a = indices._a
    if a.dtype.kind != "i" or a.dtype.itemsize < 4:
        raise RuntimeError(f"{name}(): expected indices of type int64 or int32, got {describe(indices)}")
    if a.size and indices._level is None:
        _check_range(name, a, rows)


_UNSIGNED = {4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}


@checks_values
def _check_range(name: str, a: Any, rows: int) -> None:
    if a.__class__ in FOREIGN:
        outside = a.min() < 0 or a.max() >= rows
    else:  # a negative number without its sign is larger than any table
        outside = np.maximum.reduce(a.view(_UNSIGNED[a.itemsize]), None) >= rows
    if outside:
        raise IndexError(f"{name}(): index out of range: found {a.min()} to {a.max()}, the table has {rows} rows")


def _padding(name: str, padding_idx: int | None, rows: int) -> int:
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError(f"{name}(): padding_idx must be within the table's {rows} rows, got {padding_idx}")
    return padding_idx % rows


def _renorm(weight: Any, indices: Any, max_norm: float, norm_type: float) -> None:
    """Shrinks, in place and unrecorded, the picked rows whose norm is above `max_norm`."""
    if indices._a.size:
        _shrink(weight._a, indices._a, max_norm, norm_type)
        bump(weight)


@one_write
def _shrink(table: np.ndarray, indices: np.ndarray, max_norm: float, norm_type: float) -> None:
    rows = np.unique(indices)
    norms = np.linalg.norm(table[rows].astype(np.float64), ord=norm_type, axis=1)
    large = norms > max_norm
    factors = (max_norm / (norms[large] + 1e-7)).astype(table.dtype)
    table[rows[large]] *= factors[:, None]


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Rows of the table `weight` (rows, features) at the indices `input`: shape `input.shape + (features,)`.

    Row `padding_idx` gets no gradient. `max_norm` first shrinks, in place, picked rows whose `norm_type`-norm is
    larger; `scale_grad_by_freq` divides gradients by how often a row is picked. `sparse` is accepted, gradients are
    dense. IndexError for an index outside the table.

    >>> import flambeau as torch
    >>> table = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> torch.nn.functional.embedding(torch.tensor([1, 0, 1]), table)
    tensor([[2., 3.],
            [0., 1.],
            [2., 3.]])
    """
    rows = weight._a.shape[0] if weight._a.ndim else 0
    pad = _padding("embedding", padding_idx, rows)
    if weight._a.ndim != 2:
        raise RuntimeError(f"embedding(): expected a table of 2 dimensions, got {describe(weight)}")
    _check_indices("embedding", input, rows)
    if max_norm is not None:
        _renorm(weight, input, max_norm, norm_type)
    return embedding_op(weight, input, pad, scale_grad_by_freq)


def table_embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    """`torch.embedding`: rows of `weight` at `indices`; row `padding_idx` (if not negative) gets no gradient."""
    _check_indices("embedding", indices, weight._a.shape[0])
    return embedding_op(weight, indices, padding_idx, scale_grad_by_freq)


def _bag_shape(input: Any, offsets: Any, per_sample_weights: Any, include_last_offset: bool) -> tuple[np.ndarray, int]:
    """For each index the bag it is in, and the number of bags."""
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag(): per_sample_weights must have the shape of input, {list(input.shape)}, "
            f"got {list(per_sample_weights.shape)}"
        )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError("embedding_bag(): a 2-dimensional input has a bag in each row, offsets must be None")
        bags, width = input.shape
        return np.repeat(np.arange(bags), width), bags
    if input.dim() != 1:
        raise ValueError(f"embedding_bag(): expected an input of 1 or 2 dimensions, got {describe(input)}")
    if offsets is None:
        raise ValueError("embedding_bag(): a 1-dimensional input needs offsets, the position where each bag starts")
    if offsets.dim() != 1:
        raise ValueError(f"embedding_bag(): expected offsets of 1 dimension, got {describe(offsets)}")
    starts = offsets._a
    _check_offsets(starts, input.numel())
    if include_last_offset:
        if starts.size < 1:
            raise RuntimeError("embedding_bag(): include_last_offset needs at least one offset")
        starts = starts[:-1]
    return np.searchsorted(starts, np.arange(input.numel()), side="right") - 1, starts.size


@checks_values
def _check_offsets(starts: np.ndarray, length: int) -> None:
    if starts.size and starts[0] != 0:
        raise RuntimeError(f"embedding_bag(): the first bag must start at 0, offsets[0] is {starts[0]}")
    if starts.size and starts[-1] > length:
        raise RuntimeError(
            f"embedding_bag(): offsets must not exceed the input's length {length}, the last is {starts[-1]}"
        )


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Sums, means or maxima of bags of rows of `weight`, without keeping the rows.

    `input` (bags, length), or flat with `offsets` where each bag starts (and with `include_last_offset` where the last
    ends). `per_sample_weights`, shaped like `input`, weighs the rows of a sum. Indices equal to `padding_idx` are left
    out. Empty bags give zeros. ValueError for shapes or options that do not go together, IndexError for indices
    outside the table.
    """
    if weight.dtype.is_floating_point is False and input.dtype.is_floating_point:
        input, weight = weight, input  # the order of old programs
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag(): mode must be 'sum', 'mean' or 'max', got {mode!r}")
    bag, bags = _bag_shape(input, offsets, per_sample_weights, include_last_offset)
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError("embedding_bag(): scale_grad_by_freq and sparse are not for mode='max'")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(f"embedding_bag(): per_sample_weights are for mode='sum' only, got mode={mode!r}")
    flat = input.reshape(-1)
    pad = _padding("embedding_bag", padding_idx, weight._a.shape[0])
    _check_indices("embedding_bag", flat, weight._a.shape[0])
    if max_norm is not None:
        _renorm(weight, flat, max_norm, norm_type)
    rows = embedding_op(weight, flat, pad, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if pad >= 0:
        kept = flat._a != pad
        rows, bag = rows[wrap(kept)], bag[host(kept)]
    if mode == "max":
        return show_as(_bag_max(rows, bag, bags), _BAG)
    total = embedding_dense_backward(rows, beside(rows, bag), bags, -1, False)
    if mode == "mean":
        counts = np.maximum(_counts(bag, bags), 1).astype(rows._a.dtype)
        total = total / beside(rows, counts[:, None])
    return show_as(total, _BAG)


@one_call
def _counts(bag: np.ndarray, bags: int) -> np.ndarray:
    return np.bincount(bag, minlength=bags)


def _first_largest(a: np.ndarray) -> np.ndarray:
    """The first row that holds the largest element of each column; NaN counts only in the first row, and stays."""
    if a.dtype.kind == "f" and np.isnan(a).any():
        first = np.isnan(a[0])
        a = np.where(np.isnan(a), -np.inf, a)
        a[0, first] = np.inf
    return np.argmax(a, axis=0)


def _bag_max(rows: Any, bag: np.ndarray, bags: int) -> Any:
    """The maximum of each bag; its gradient goes to the first row that has it."""
    if not len(bag):
        return rows.new_zeros(bags, rows.shape[1])
    best, filled = _best_rows(host(rows._a) if NS["CAPTURE"] is None else rows._a, bag, bags)
    picked = gather(rows, 0, beside(rows, best))
    return picked * beside(rows, filled[:, None])


@one_call
def _best_rows(values: np.ndarray, bag: np.ndarray, bags: int) -> tuple[np.ndarray, np.ndarray]:
    """For each bag and column the row that has the maximum; and 1 for each bag that has rows, 0 for an empty one."""
    best = np.zeros((bags, values.shape[1]), np.int64)
    for i in np.unique(bag):
        members = np.flatnonzero(bag == i)
        best[i] = members[_first_largest(values[members])]
    return best, (np.bincount(bag, minlength=bags) > 0).astype(values.dtype)
