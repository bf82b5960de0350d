"""ONNX nodes for shapes, slices, joining, padding, and picking and putting by index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.export.functional import PUT
from flambeau.export.program import DETACH
from flambeau.onnx.graph import Graph, Operand, emits, is_fixed

# --- other shapes of the same elements ------------------------------------------------------------------------------


@emits(DETACH, "clone_op", "contiguous_op", "index_alias", "alias", "to_device")
def _same(g: Graph, x: Operand, *_: Any) -> str:
    return g.node("Identity", x)


@emits("to_numpy_dtype")
def _to_dtype(g: Graph, x: Operand, dtype: Any) -> str:
    return g.node("Cast", x, to=g.kind(dtype))


@emits("view_op", "reshape")
def _reshape(g: Graph, x: Operand, shape: Any) -> str:
    return g.reshape(x, shape if isinstance(shape, (tuple, list)) else (shape,))


@emits("permute")
def _permute(g: Graph, x: Operand, dims: Sequence[int]) -> str:
    return g.node("Transpose", x, perm=[d % x.rank for d in dims])


@emits("transpose")
def _transpose(g: Graph, x: Operand, dim0: int, dim1: int) -> Any:
    if not x.rank:
        return g.node("Identity", x)
    order = list(range(x.rank))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return g.node("Transpose", x, perm=order)


@emits("t")
def _t(g: Graph, x: Operand) -> Any:
    return _transpose(g, x, 0, 1) if x.rank == 2 else g.node("Identity", x)


@emits("expand_op")
def _expand(g: Graph, x: Operand, shape: Sequence[Any]) -> str:
    return g.node("Expand", x, g.ints([1 if n.__class__ is int and n == -1 else n for n in shape]))


@emits("unsqueeze")
def _unsqueeze(g: Graph, x: Operand, dim: int) -> str:
    return g.unsqueeze(x, dim % (x.rank + 1))


@emits("squeeze_op")
def _squeeze(g: Graph, x: Operand, dim: Any = None) -> Any:
    dims = range(x.rank) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    ones = sorted({d % x.rank for d in dims if x.rank and x.shape[d] == 1})
    return g.squeeze(x, *ones) if ones else g.node("Identity", x)


@emits("repeat")
def _repeat(g: Graph, x: Operand, repeats: Sequence[Any]) -> str:
    if len(repeats) > x.rank:
        x_name: Any = g.unsqueeze(x, *range(len(repeats) - x.rank))
    else:
        x_name = x
    return g.node("Tile", x_name, g.ints(repeats))


@emits("flip")
def _flip(g: Graph, x: Operand, dims: Sequence[int]) -> str:
    axes = [d % x.rank for d in (dims if isinstance(dims, (tuple, list)) else (dims,))]
    count = len(axes)
    return g.node(
        "Slice", x, g.ints([-1] * count), g.ints([-(2**62)] * count), g.ints(axes), g.ints([-1] * count)
    )  # fmt: skip


@emits("roll")
def _roll(g: Graph, x: Operand, shifts: Any, dims: Any = ()) -> Any:
    moves = list(shifts) if isinstance(shifts, (tuple, list)) else [shifts]
    axes = list(dims) if isinstance(dims, (tuple, list)) else [dims]
    result: Any = x if axes else g.reshape(x, (-1,))
    for shift, axis in zip(moves, [a % x.rank for a in axes] or [0], strict=True):
        if axes and is_fixed(x.shape[axis]):
            shift %= max(x.shape[axis], 1)
        if shift:
            result = g.node("Concat", g.slice(result, axis, -shift, None), g.slice(result, axis, 0, -shift), axis=axis)
    return result if axes and result is not x else g.node("Identity", result) if axes else g.reshape(result, x.shape)


@emits("diagonal")
def _diagonal(g: Graph, x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1) -> str:
    one, two = dim1 % x.rank, dim2 % x.rank
    rows, columns = x.shape[one], x.shape[two]
    if not (is_fixed(rows) and is_fixed(columns)):
        raise g.unsupported("a diagonal of dimensions whose sizes may vary")
    rest = [d for d in range(x.rank) if d not in (one, two)]
    last = g.transpose(x, [*rest, one, two])
    places = [i * columns + i + offset for i in range(rows) if 0 <= i + offset < columns]
    flat = g.reshape(last, [*(x.shape[d] for d in rest), rows * columns])
    return g.node("Gather", flat, g.ints(places), axis=len(rest))


@emits("tril", "triu")
def _tril(g: Graph, x: Operand, diagonal: int = 0) -> str:
    return _triangle(g, x, diagonal, 0)


@emits("triu")
def _triu(g: Graph, x: Operand, diagonal: int = 0) -> str:
    return _triangle(g, x, diagonal, 1)


def _triangle(g: Graph, x: Operand, diagonal: Any, upper: int) -> str:
    wide = np.int64 if x.dtype == np.bool_ else x.dtype
    found = g.node("Trilu", g.as_type(x, wide), g.number(diagonal, np.int64), upper=upper)
    return g.cast(found, wide, x.dtype)


@emits("cat_op")
def _cat(g: Graph, tensors: Sequence[Operand], dim: int) -> str:
    real = [t for t in tensors if t.shape != (0,) or g.results[0].rank == 1]
    return g.node("Concat", *(g.as_type(t, g.dtype) for t in real), axis=dim % g.results[0].rank)


@emits("stack_op")
def _stack(g: Graph, tensors: Sequence[Operand], dim: int) -> str:
    axis = dim % g.results[0].rank
    return g.node("Concat", *(g.unsqueeze(g.as_type(t, g.dtype), axis) for t in tensors), axis=axis)


@emits("pixel_shuffle")
def _pixel_shuffle(g: Graph, x: Operand, r: int) -> str:
    *lead, c, h, w = x.shape
    apart = g.reshape(x, [*lead, c // (r * r), r, r, h, w])
    n = len(lead)
    turned = g.transpose(apart, [*range(n), n, n + 3, n + 1, n + 4, n + 2])
    return g.reshape(turned, g.results[0].shape)


@emits("pixel_unshuffle")
def _pixel_unshuffle(g: Graph, x: Operand, r: int) -> str:
    *lead, c, _, _ = x.shape
    n = len(lead)
    h, w = g.results[0].shape[-2:]
    apart = g.reshape(x, [*lead, c, h, r, w, r])
    turned = g.transpose(apart, [*range(n), n, n + 2, n + 4, n + 1, n + 3])
    return g.reshape(turned, g.results[0].shape)


@emits("channel_shuffle")
def _channel_shuffle(g: Graph, x: Operand, groups: int) -> str:
    n, c, *rest = x.shape
    turned = g.transpose(g.reshape(x, [n, groups, c // groups, *rest]), [0, 2, 1, *range(3, x.rank + 1)])
    return g.reshape(turned, x.shape)


# --- slices -----------------------------------------------------------------------------------------------------------


@emits("slice")
def _slice(g: Graph, x: Operand, dim: int, start: Any, stop: Any, step: Any = 1) -> str:
    return g.slice(x, dim % x.rank, start, stop, step)


@emits("select")
def _select(g: Graph, x: Operand, dim: int, index: Any) -> str:
    return g.node("Gather", x, g.number(index, np.int64), axis=dim % x.rank)


def _whole(index: Any, rank: int) -> list[Any]:
    """A basic index without an ellipsis, one item for each dimension besides the new ones."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(i is not None and i is not Ellipsis for i in items)
    if Ellipsis in [i for i in items if not isinstance(i, Operand)]:
        at = next(k for k, i in enumerate(items) if i is Ellipsis)
        items[at : at + 1] = [slice(None)] * (rank - used)
    else:
        items += [slice(None)] * (rank - used)
    return items


def _is_whole(item: Any) -> bool:
    return isinstance(item, slice) and item == slice(None)


@emits("index_slice", "index_select_at", "index_unsqueeze", "basic_index")
def _basic_index(g: Graph, x: Operand, index: Any) -> Any:
    items = _whole(index, x.rank)
    result: Any = x
    cut = [(d, i) for d, i in enumerate(i for i in items if i is not None) if isinstance(i, slice) and not _is_whole(i)]
    if cut:
        result = g.node(
            "Slice", result, g.ints([i.start or 0 for _, i in cut]),
            g.ints([2**62 if i.stop is None else i.stop for _, i in cut]), g.ints([d for d, _ in cut]),
            g.ints([i.step or 1 for _, i in cut]),
        )  # fmt: skip
    dim = 0
    for item in items:
        if item is None:
            result = g.unsqueeze(result, dim)
        elif not isinstance(item, slice):
            result = g.node("Gather", result, g.number(item, np.int64), axis=dim)
            continue
        dim += 1
    return result if result is not x else g.node("Identity", x)


@emits(PUT)
def _put(g: Graph, x: Operand, value: Operand, index: Any) -> Any:
    """`x` with `value` at a basic index: dimension by dimension, the innermost first."""
    items = [i for i in _whole(index, x.rank) if i is not None]
    new = [k for k, i in enumerate(k for k in _whole(index, x.rank) if not _is_number(k)) if i is None]
    inner: Any = g.squeeze(value, *new) if new else value
    at = 0
    for item in items:  # every dimension of x: those that a number takes away come back
        if _is_number(item):
            inner = g.unsqueeze(inner, at)
        at += 1
    return _put_from(g, x, inner, items, 0)


def _is_number(item: Any) -> bool:
    return item is not None and item is not Ellipsis and not isinstance(item, slice)


def _put_from(g: Graph, x: Any, value: Any, items: list[Any], dim: int) -> Any:
    while dim < len(items) and _is_whole(items[dim]):
        dim += 1
    if dim == len(items):
        return value
    item = items[dim]
    if _is_number(item):
        stop = None if item.__class__ is int and item == -1 else _after(item)
        start, step = item, 1
    else:
        start, stop, step = item.start or 0, item.stop, item.step or 1
    rest = [i for i in items[dim + 1 :] if not _is_whole(i)]
    if rest:
        value = _put_from(g, g.slice(x, dim, start, stop, step), value, items, dim + 1)
    length = g.node("Gather", g.node("Shape", x), g.tensor(np.array(dim, np.int64)), axis=0)
    every = g.node("Range", g.tensor(np.array(0, np.int64)), length, g.tensor(np.array(1, np.int64)))
    places = g.slice(every, 0, start, stop, step)
    along = g.reshape(places, [1] * dim + [-1] + [1] * (len(items) - dim - 1))
    wide = g.node("Expand", along, g.node("Shape", value))
    return g.node("ScatterElements", x, wide, value, axis=dim)


def _after(item: Any) -> Any:
    if item.__class__ is int:
        return item + 1
    terms = dict(item.terms)
    terms[()] = terms.get((), 0) + 1
    return type(item)(terms)


# --- padding ----------------------------------------------------------------------------------------------------------


def _pads(pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
    return [b for b, _ in pairs] + [e for _, e in pairs]


def pairs_of(pad: Sequence[Any], rank: int) -> list[tuple[Any, Any]]:
    """Widths per dimension from a list that starts with the last one."""
    given = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (rank - len(given)) + given[::-1]


@emits("constant_pad_nd")
def _constant_pad(g: Graph, x: Operand, pad: Sequence[Any], value: Any = 0) -> str:
    wide = np.int32 if x.dtype == np.bool_ else x.dtype
    pads = g.ints(_pads(pairs_of(pad, x.rank)))
    return g.cast(g.node("Pad", g.as_type(x, wide), pads, g.number(value, wide), mode="constant"), wide, x.dtype)


@emits("edge_pad")
def edge_pad(g: Graph, x: Operand, pairs: Sequence[tuple[Any, Any]], mode: str) -> Any:
    """The input continued over its borders."""
    if mode != "circular":
        return g.node("Pad", x, g.ints(_pads(pairs)), mode={"reflect": "reflect", "replicate": "edge"}[mode])
    result: Any = x
    for axis, (before, after) in enumerate(pairs):
        parts = [result]
        if before > 0:
            parts.insert(0, g.slice(result, axis, -before, None))
        if after > 0:
            parts.append(g.slice(result, axis, 0, after))
        if len(parts) > 1:
            result = g.node("Concat", *parts, axis=axis)
        if before < 0 or after < 0:
            result = g.slice(result, axis, max(-before, 0), after if after < 0 else None)
    return result if result is not x else g.node("Identity", x)


def _declare_edges(name: str, mode: str) -> None:
    @emits(name)
    def emit(g: Graph, x: Operand, padding: Sequence[Any]) -> Any:
        return edge_pad(g, x, pairs_of(padding, x.rank), mode)


for _n in (1, 2, 3):
    _declare_edges(f"reflection_pad{_n}d", "reflect")
    _declare_edges(f"replication_pad{_n}d", "replicate")


# --- by index ---------------------------------------------------------------------------------------------------------


@emits("embedding")
def _embedding(g: Graph, weight: Operand, indices: Operand, *_: Any) -> str:
    return g.node("Gather", weight, indices, axis=0)


@emits("gather")
def _gather(g: Graph, x: Operand, dim: int, index: Operand, *_: Any) -> str:
    return g.node("GatherElements", x, index, axis=dim % max(x.rank, 1))


@emits("index_select")
def _index_select(g: Graph, x: Operand, dim: int, index: Operand) -> str:
    return g.node("Gather", x, index, axis=dim % max(x.rank, 1))


@emits("scatter_src")
def _scatter(g: Graph, x: Operand, dim: int, index: Operand, src: Operand) -> str:
    return g.node("ScatterElements", x, index, _cut(g, src, index), axis=dim % x.rank)


def _cut(g: Graph, src: Operand, index: Operand) -> Any:
    """The part of `src` that the index has elements for."""
    result: Any = src
    for axis, (have, want) in enumerate(zip(src.shape, index.shape, strict=True)):
        if have != want:
            result = g.slice(result, axis, 0, want)
    return result


@emits("scatter_add")
def _scatter_add(g: Graph, x: Operand, dim: int, index: Operand, src: Operand) -> str:
    return g.node("ScatterElements", x, index, _cut(g, src, index), axis=dim % x.rank, reduction="add")


@emits("scatter_fill")
def _scatter_fill(g: Graph, x: Operand, dim: int, index: Operand, value: Any) -> str:
    filled = g.node("Expand", g.number(value, x.dtype), g.node("Shape", index))
    return g.node("ScatterElements", x, index, filled, axis=dim % x.rank)


def _rows(g: Graph, x: Operand, dim: int, index: Operand, updates: Any, reduction: str | None) -> str:
    axis = dim % max(x.rank, 1)
    along = g.reshape(index, [1] * axis + [-1] + [1] * (x.rank - axis - 1))
    wide = g.node("Expand", along, g.node("Shape", updates))
    return g.node("ScatterElements", x, wide, updates, axis=axis, reduction=reduction)


@emits("index_add")
def _index_add(g: Graph, x: Operand, dim: int, index: Operand, source: Operand, alpha: Any = 1) -> str:
    scaled = source if alpha == 1 else g.node("Mul", source, g.number(alpha, source.dtype))
    return _rows(g, x, dim, index, scaled, "add")


@emits("index_copy")
def _index_copy(g: Graph, x: Operand, dim: int, index: Operand, source: Operand) -> str:
    return _rows(g, x, dim, index, source, None)


@emits("masked_select_op")
def _masked_select(g: Graph, x: Operand, mask: Operand) -> str:
    return g.node("GatherND", x, g.transpose(g.node("NonZero", mask), [1, 0]))


def _arrays(g: Graph, items: Sequence[Any]) -> list[tuple[int, Any]]:
    """(dimension, index) of the indices by arrays: a mask is one for each of its dimensions."""
    found: list[tuple[int, Any]] = []
    dim = 0
    for item in items:
        if isinstance(item, Operand) and item.dtype == np.bool_:
            where = g.node("NonZero", item)
            for k in range(item.rank):
                found.append((dim + k, g.squeeze(g.slice(where, 0, k, k + 1), 0)))
            dim += item.rank
            continue
        if isinstance(item, Operand):
            found.append((dim, g.as_type(item, np.int64)))
        dim += 1
    return found


def _stacked(g: Graph, indices: list[Any]) -> Any:
    """Index arrays, broadcast together, with one more dimension for which of them."""
    if len(indices) > 1:
        zero = None
        for i in indices:
            nothing = g.node("Mul", i, g.tensor(np.array(0, np.int64)))
            zero = nothing if zero is None else g.node("Add", zero, nothing)
        indices = [g.node("Add", i, zero) for i in indices]
    last = [g.unsqueeze(i, -1) for i in indices]
    return last[0] if len(last) == 1 else g.node("Concat", *last, axis=-1)


def _index_items(g: Graph, x: Operand, index: Sequence[Any]) -> list[Any]:
    items = list(index)
    if any(i is None for i in items):
        raise g.unsupported("an index of arrays together with None")
    used = sum(i.rank if isinstance(i, Operand) and i.dtype == np.bool_ else 1 for i in items if i is not Ellipsis)
    at = next((k for k, i in enumerate(items) if i is Ellipsis), None)
    if at is not None:
        items[at : at + 1] = [slice(None)] * (x.rank - used)
    return items


@emits("index")
def _index(g: Graph, x: Operand, index: Sequence[Any]) -> Any:
    items = _index_items(g, x, index)
    source: Any = x
    dim = 0
    for item in items:
        if isinstance(item, slice) and not _is_whole(item):
            source = g.slice(source, dim, item.start, item.stop, item.step or 1)
        dim += item.rank if isinstance(item, Operand) and item.dtype == np.bool_ else 1
    arrays = _arrays(g, items)
    dims = [d for d, _ in arrays]
    if len(arrays) == 1 and items[[isinstance(i, Operand) for i in items].index(True)].dtype != np.bool_:
        return g.node("Gather", source, arrays[0][1], axis=dims[0])
    rest = [d for d in range(x.rank) if d not in dims]
    picked = g.node("GatherND", g.transpose(source, [*dims, *rest]), _stacked(g, [a for _, a in arrays]))
    lead = g.results[0].rank - len(rest)
    together = dims == list(range(dims[0], dims[0] + len(dims)))
    if not together or not dims[0]:
        return picked
    order = [*range(lead, lead + dims[0]), *range(lead), *range(lead + dims[0], lead + len(rest))]
    return g.transpose(picked, order)


@emits("index_put_op")
def _index_put(g: Graph, x: Operand, values: Operand, index: Sequence[Any], accumulate: bool = False) -> Any:
    items = _index_items(g, x, index)
    if any(isinstance(i, slice) and not _is_whole(i) for i in items):
        raise g.unsupported("a write by arrays of indices together with slices")
    value = g.as_type(values, x.dtype)
    masks = [i for i in items if isinstance(i, Operand) and i.dtype == np.bool_]
    if len(masks) == 1 and len([i for i in items if isinstance(i, Operand)]) == 1 and not accumulate:
        if values.fixed and math.prod(values.shape) == 1 and items[0] is masks[0]:
            trailing = range(masks[0].rank, x.rank)
            mask = g.unsqueeze(masks[0], *trailing) if len(trailing) else masks[0]
            return g.node("Where", mask, g.reshape(value, ()), x)
    arrays = _arrays(g, items)
    dims = [d for d, _ in arrays]
    rest = [d for d in range(x.rank) if d not in dims]
    order = [*dims, *rest]
    if dims != list(range(len(dims))) and values.rank > 0 and not (dims == dims[:1] and values.rank <= 1):
        if not (len(dims) == 1 and values.rank == x.rank):
            raise g.unsupported("a write by arrays of indices that do not come first")
        value = g.transpose(value, order)
    turned = g.transpose(x, order)
    places = _stacked(g, [a for _, a in arrays])
    lead = g.slice(g.node("Shape", places), 0, 0, -1)
    shape = g.node("Concat", lead, g.slice(g.node("Shape", turned), 0, len(dims), None), axis=0)
    updates = g.node("Expand", value, shape)
    done = g.node("ScatterND", turned, places, updates, reduction="add" if accumulate else None)
    return g.transpose(done, [order.index(d) for d in range(x.rank)])
