"""Batching rules of indexing, gathering and scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.func.batched import Operands, rule
from flambeau.func.rules_shape import place
from flambeau.ops.declare import INDEX, TENSOR


@rule("basic_index index_slice index_select_at index_unsqueeze index_alias")
def _basic(o: Operands) -> list[Any]:
    return o.call(index=_behind(o.inner["index"]))


@rule("basic_index_put")
def _basic_put(o: Operands) -> list[Any]:
    return o.call(shape=(o.n, *o.inner["shape"]), index=_behind(o.inner["index"]))


def _behind(index: Any) -> tuple[Any, ...]:
    """An index for each example as one for the batch."""
    return (slice(None), *(index if isinstance(index, tuple) else (index,)))


def _arrays(index: tuple[Any, ...]) -> tuple[int, bool]:
    """How many dimensions the arrays of an index give, and whether NumPy puts these in front since slices part them."""
    shapes, at = [], []
    for i, item in enumerate(index):
        if isinstance(item, np.ndarray):
            at.append(i)
            shapes.append((1,) if item.dtype == bool else item.shape)
    parted = bool(at) and any(not isinstance(index[i], np.ndarray) for i in range(at[0], at[-1] + 1))
    return len(np.broadcast_shapes(*shapes)), parted


@rule("index")
def _index(o: Operands) -> list[Any]:
    index = o.inner["index"]
    (found,) = o.call(index=_behind(index))
    rank, parted = _arrays(index)
    if parted:  # the dimensions of the arrays have come before the batch
        order = (rank, *range(rank), *range(rank + 1, found._a.ndim))
        found = NS["OPS"].permute(found, order)
    return [found]


def _forward(t: Any, index: tuple[Any, ...]) -> Any:
    """A batch of values as NumPy wants them for `_behind(index)`."""
    rank, parted = _arrays(index)
    if not parted:
        return t
    return NS["OPS"].permute(t, (*range(1, rank + 1), 0, *range(rank + 1, t._a.ndim)))


@rule("index_add_zeros")
def _index_add_zeros(o: Operands) -> list[Any]:
    index = o.inner["index"]
    return o.call(g=_forward(o.inner["g"], index), shape=(o.n, *o.inner["shape"]), index=_behind(index))


@rule("index_clear")
def _index_clear(o: Operands) -> list[Any]:
    return o.call(index=_behind(o.inner["index"]))


@rule("index_put_op")
def _index_put(o: Operands) -> list[Any]:
    index = o.inner["index"]
    values = o.inner["values"]
    shape = np.empty(o.shown["input"]._a.shape, np.bool_)[index].shape
    if o.batched["values"]:
        from flambeau.func.rules_shape import padded

        values = _forward(NS["OPS"].expand_op(padded(values, len(shape)), (o.n, *shape)), index)
    elif _arrays(index)[1]:
        values = _forward(NS["OPS"].expand_op(values, (o.n, *shape)), index)
    return o.call(input=o.whole("input"), values=values, index=_behind(index))


@rule("gather scatter_add scatter_src scatter_extreme scatter_fill put_places scatter_add_zeros")
def _along(o: Operands) -> list[Any]:
    """Operands of one shape but for one dimension: all get the batch in front."""
    name = "g" if "g" in o.op.parameters else "input"
    shape = o.inner.get("shape")
    rank = len(shape) if shape is not None else o.rank(name)
    changed: dict[str, Any] = {}
    flat = rank == 0
    for key, kind in zip(o.op.parameters, o.op.kinds, strict=True):
        if kind in (TENSOR, INDEX) and o.inner[key] is not None:
            whole = o.whole(key)
            changed[key] = NS["OPS"].reshape(whole, (o.n, whole._a.size // max(o.n, 1))) if flat else whole
    if shape is not None:
        changed["shape"] = (o.n, *shape) if shape else (o.n, 1)
    changed["dim"] = 1 if flat else place(o.inner["dim"], rank)
    found = o.call(**changed)
    if flat:
        out = o.shown["index"]._a.shape if o.op.name == "gather" else ()
        found = [NS["OPS"].reshape(t, (o.n, *out)) for t in found]
    return found


@rule("index_select fill_rows index_copy index_add put_rows")
def _rows(o: Operands) -> Any:
    """A vector of indices: one that is not batched serves all examples."""
    name = "g" if "g" in o.op.parameters else "input"
    shape = o.inner.get("shape")
    rank = len(shape) if shape is not None else o.rank(name)
    if o.batched["index"] or not rank or o.shown["index"]._a.ndim == 0:
        return None
    changed: dict[str, Any] = {"dim": place(o.inner["dim"], rank)}
    for key, kind in zip(o.op.parameters, o.op.kinds, strict=True):
        if kind == TENSOR and o.inner[key] is not None:
            changed[key] = o.whole(key)
    if shape is not None:
        changed["shape"] = (o.n, *shape)
    return o.call(**changed)


@rule("take_rows")
def _take_rows(o: Operands) -> list[Any]:
    return [NS["OPS"].index(o.inner["input"], (slice(None), np.asarray(o.inner["rows"])))]


@rule("spread_rows")
def _spread_rows(o: Operands) -> list[Any]:
    x = o.inner["input"]
    shape = (o.n, o.inner["count"], *x._a.shape[2:])
    return [NS["OPS"].index_add_zeros(x, shape, (slice(None), np.asarray(o.inner["rows"])))]


@rule("embedding")
def _embedding(o: Operands) -> Any:
    if not o.batched["weight"]:
        return o.call()
    if o.inner["padding_idx"] is not None and o.inner["padding_idx"] >= 0:
        return None
    table, rows = o.inner["weight"], o.shown["weight"]._a.shape[0]
    flat = NS["OPS"].reshape(table, (o.n * rows, *table._a.shape[2:]))
    return o.call(weight=flat, indices=_offset(o, rows))


def _offset(o: Operands, rows: int) -> Any:
    """Indices into tables that lie one below the other."""
    rank = o.rank("indices")
    start = NS["WRAP"]((np.arange(o.n) * rows).reshape(o.n, *(1,) * rank))
    return NS["OPS"].add(o.inner["indices"], start)


@rule("embedding_dense_backward picked_rows")
def _embedding_back(o: Operands) -> Any:
    if o.inner["padding_idx"] >= 0 or o.inner["scale_grad_by_freq"] or o.op.name == "picked_rows":
        return None
    rows = o.inner["num_weights"]
    g = o.whole("grad_output")
    found = o.call(
        grad_output=g, indices=NS["OPS"].expand_op(_offset(o, rows), g._a.shape[:-1]), num_weights=o.n * rows
    )
    return [NS["OPS"].reshape(found[0], (o.n, rows, *found[0]._a.shape[1:]))]


@rule("region_take region_put")
def _region(o: Operands) -> Any:
    return None
