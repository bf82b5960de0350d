"""What batches and duals do differently from plain tensors: reading values, histories, printing, indices in batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.autograd.views import Region, make_view
from flambeau.func.batched import Batched, batched, unreadable
from flambeau.func.dual import Dual, dual
from flambeau.func.levels import Layered, hidden, highest, level_of, running
from flambeau.ops.index import getitem, split_index
from flambeau.ops.shape import as_strided
from flambeau.tensor.tensor import Tensor


def _refuse(what: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._batched:
            raise unreadable(what)
        return getattr(Tensor, what.strip(".()"))(self, *args, **kwargs)

    return method


for _name in (
    "item tolist numpy __bool__ __float__ __int__ __complex__ __index__ __array__ __dlpack__ __contains__ data_ptr "
    "storage untyped_storage"
).split():
    setattr(Batched, _name, _refuse(_name))


def _interface(self: Any) -> Any:
    if self._batched:
        raise unreadable("__array_interface__")
    return self._a.__array_interface__


Batched.__array_interface__ = property(_interface)  # type: ignore[assignment, method-assign]


def _detach(self: Any) -> Any:
    """The same value without history and without tangents, at any level."""
    if isinstance(self, Dual):
        return self._primal.detach()
    return batched(self._level, self._inner.detach(), self._batched)


def _data(self: Any) -> Any:
    """`detach`."""
    return _detach(self)


Layered.detach = _detach  # type: ignore[method-assign]
Layered.data = property(_data, Tensor.data.fset)  # type: ignore[assignment, attr-defined]


def _repr(self: Any, **kwargs: Any) -> str:
    level = self._level
    if isinstance(self, Batched):
        place = 0 if self._batched else None
        return f"BatchedTensor(lvl={level.number}, bdim={place}, value=\n    {_indented(self._inner)}\n)"
    text = repr(self._primal)
    if self._tangent is None or not level.alive:
        return text
    tangent = f"tangent={self._tangent!r})"
    fits = len(text.rpartition("\n")[2]) + 1 + len(tangent.partition("\n")[0]) <= 80
    return f"{text[:-1]},{' ' if fits else chr(10) + ' ' * 7}{tangent}"


def _indented(t: Any) -> str:
    return repr(t).replace("\n", "\n    ")


Layered.__repr__ = Layered.__str__ = _repr  # type: ignore[method-assign, assignment]


def _inside(what: str) -> RuntimeError:
    return RuntimeError(
        f"{what} can't be called inside a function that is being transformed: use the transforms (grad, vjp, jacrev, "
        "...), or call it outside"
    )


def check_transforms(self: Any, what: str = "requires_grad_()") -> None:
    """Refuses what needs the graph of the outside, inside a function that is being transformed."""
    if any(not level.one_tape for level in running()):
        raise _inside(what)


NS["CHECK_TRANSFORMS"] = check_transforms


def in_batch(like: Any, made: Any) -> Any:
    """A new tensor with a place for every example of the batches that `like` is in, so that it can be written."""
    if isinstance(like, Dual):
        return in_batch(like._primal, made)
    if not isinstance(like, Batched):
        return made
    inner = in_batch(like._inner, made)
    if not like._batched:
        return inner
    return batched(like._level, NS["OPS"].repeat(inner, (like._level.size, *(1,) * inner._a.ndim)))


NS["IN_BATCH"] = in_batch


# --- indices that are batches ----------------------------------------------------------------------------------------


def _items(index: Any) -> list[Any]:
    return list(index) if isinstance(index, (tuple, list)) else [index]


def index_level(self: Any, index: Any) -> Any:
    """The highest level of a batch among the tensors of an index, if it is not below the indexed tensor's."""
    top = highest([t for t in _items(index) if isinstance(t, Batched) and t._batched])
    return top if top is not None and top.number >= level_of(self) else None


def _plain_index(index: Any) -> Any:
    """An index with what is inside duals and constants."""

    def plain(t: Any) -> Any:
        while isinstance(t, Layered) and not (isinstance(t, Batched) and t._batched):
            t = t.inside()
        return t

    if isinstance(index, tuple):
        return tuple(map(plain, index))
    return [plain(t) for t in index] if isinstance(index, list) else plain(index)


def layered_getitem(self: Any, index: Any) -> Any:
    """`tensor[index]` where some tensor in it belongs to a level; NotImplemented where none does."""
    if not any(isinstance(t, Layered) for t in (self, *_items(index))):
        return NotImplemented
    index = _plain_index(index)
    top = highest([t for t in _items(index) if isinstance(t, Batched)])
    if top is None:
        return NotImplemented
    if isinstance(self, Layered) and self._node is not None:
        return _by_numbers(self, index)  # by an operation that the tape sees
    if level_of(self) > top.number:
        if isinstance(self, Dual):
            tangent = None if self._tangent is None else layered_getitem(self._tangent, index)
            return dual(self._level, layered_getitem(self._primal, index), tangent)
        return _by_example(self, index)
    return _by_batch(self, index, top)


def _numbers(shape: Any) -> Any:
    """The places of a tensor, numbered, in its shape."""
    return NS["WRAP"](np.arange(int(np.prod(shape))).reshape(shape))


def _by_numbers(self: Any, index: Any) -> Any:
    """`tensor[index]` as a gather of numbered places."""
    where = _numbers(self._a.shape)[index]
    return NS["OPS"].gather(self.reshape(-1), 0, where.reshape(-1)).reshape(where._a.shape)


def _by_example(self: Any, index: Any) -> Any:
    """A batch of an inner vmap, indexed by one of an outer vmap."""
    with hidden():
        inner = self._inner[(slice(None), *_items(index))]
    return batched(self._level, inner)


def _full(index: list[Any], ndim: int) -> list[Any]:
    """The index with `...` spelled out; IndexError for masks, whose results differ in size."""
    used = sum(1 for i in index if i is not None and i is not Ellipsis)
    spelled: list[Any] = []
    for item in index:
        if item is Ellipsis:
            spelled += [slice(None)] * (ndim - used)
            continue
        if isinstance(item, Batched) and item._a.dtype in (np.bool_, np.uint8):
            raise RuntimeError(
                "vmap: a mask that differs from example to example selects different numbers of elements; use "
                "torch.where to choose among values"
            )
        spelled.append(item)
    if sum(1 for i in spelled if i is not None) > ndim:
        raise IndexError(f"more indices than the {ndim} dimensions of the tensor")
    return spelled


def _as_tensor(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item
    if isinstance(item, (list, range, np.ndarray)):
        return NS["WRAP"](np.asarray(item))
    if isinstance(item, int) and not isinstance(item, bool):
        return NS["WRAP"](np.asarray(item))
    return None


def _by_batch(self: Any, index: Any, level: Any) -> Any:
    """A batch of indices into a batch or a constant: one index of arrays for all examples at once."""
    own = self._level is level
    inner, is_batched = (self._inner, self._batched) if own else (self, False)
    items = _full(_items(index), self._a.ndim)
    arrays = [(i, _as_tensor(item)) for i, item in enumerate(items) if _as_tensor(item) is not None]
    rank = max(t._a.ndim for _, t in arrays)
    first, last = arrays[0][0], arrays[-1][0]
    parted = any(_as_tensor(item) is None for item in items[first : last + 1])
    ready: list[Any] = list(items)
    for i, t in arrays:
        mine = isinstance(t, Batched) and t._level is level
        value = t._inner if mine else t
        shape = value._a.shape
        if mine and t._batched:
            value = value.reshape(shape[0], *(1,) * (rank + 1 - len(shape)), *shape[1:])
        ready[i] = value
    with hidden():
        if is_batched:
            count = NS["WRAP"](np.arange(level.size).reshape(level.size, *(1,) * rank))
            found = inner[(count, *ready)]
            shift = 0
            in_front = parted or first > 0
        else:
            found = inner[tuple(ready)]
            in_front = parted
            shift = 0 if parted else sum(1 for item in items[:first])
        if shift:
            found = found.movedim(shift, 0)
        if is_batched and in_front and not parted:
            before = first
            found = found.movedim(tuple(range(1, rank + 1)), tuple(range(1 + before, 1 + before + rank)))
    return batched(level, found)


def layered_setitem(self: Any, index: Any, value: Any) -> bool:
    """`tensor[index] = value` where a tensor belongs to a level; False where none does."""
    tensors = [t for t in (self, value, *_items(index)) if isinstance(t, Tensor)]
    top = highest(tensors)
    if top is None:
        return False
    index = _plain_index(index)
    from flambeau.func.writes import adopt, copy_

    adopt(self, top, "setitem")
    if not isinstance(value, Tensor):
        value = NS["WRAP"](np.asarray(value, dtype=self._a.dtype))
    if any(isinstance(t, Batched) for t in _items(index)):
        _write_by_batch(self, index, value)
        return True
    from flambeau.ops.index import parse_index

    parsed, basic = parse_index(index, self._a)
    if basic:
        view = getitem(self, parsed)
        copy_(view, _fitted(value, view._a.ndim), "setitem")
        return True
    first, rest = split_index(parsed, self._a.ndim)
    target = self if first is None else getitem(self, first)
    NS["IN_PLACE"](_put)(target, value, rest)
    return True


def _put(source: Any, value: Any, index: Any) -> Any:
    if value._a.dtype != source._a.dtype:
        value = NS["OPS"].to_numpy_dtype(value, source._a.dtype)
    return NS["OPS"].index_put_op(source, _fitted(value, np.empty(source._a.shape, np.bool_)[index].ndim), index)


def _fitted(value: Any, ndim: int) -> Any:
    while value._a.ndim > ndim and value._a.shape[0] == 1:
        value = value.squeeze(0)
    return value


def _write_by_batch(self: Any, index: Any, value: Any) -> None:
    """A write through a batch of indices."""

    def put(source: Any) -> Any:
        return _numbered(source, index, value, False)

    NS["IN_PLACE"](put)(self)


def _numbered(source: Any, index: Any, value: Any, accumulate: bool) -> Any:
    """`source` with values written or added through a batch of indices, by the places' numbers."""
    shape = source._a.shape
    where = _numbers(shape)[index]
    values = _fitted(value, where._a.ndim).expand(where._a.shape).reshape(-1).to(source.dtype)
    join = NS["OPS"].scatter_add if accumulate else NS["OPS"].scatter_src
    return join(source.reshape(-1), 0, where.reshape(-1), values).reshape(shape)


def layered_index_put(input: Any, indices: Any, values: Any, accumulate: bool) -> Any:
    """`index_put` where some tensor belongs to a level; NotImplemented where none does, or no index is a batch."""
    if not any(isinstance(t, Layered) for t in (input, values, *indices)):
        return NotImplemented
    index = _plain_index(tuple(slice(None) if i is None else i for i in indices))
    if not any(isinstance(t, Batched) for t in index):
        return NotImplemented
    return _numbered(input, index, values, accumulate)


def layered_strided(t: Any, size: tuple, stride: tuple, offset: Any) -> Any:
    """`as_strided` of a batch, example by example, or of a dual."""
    inner = t.inside()
    if isinstance(t, Dual):
        shown = as_strided(inner, size, stride, offset)
        region = Region(inner._a, shown._a)
        tangent = None if t._tangent is None else NS["OPS"].region_take(t._tangent, region)
        found: Any = dual(t._level, shown, tangent)
    elif t._batched:
        step = inner.stride(0)
        found = batched(t._level, as_strided(inner, (t._level.size, *size), (step, *stride), offset))
        region = Region(t._a, found._a)
    else:
        found = batched(t._level, as_strided(inner, size, stride, offset), False)
        region = Region(inner._a, found._a)
    if t._node is not None:
        recorded = NS["OPS"].region_take(t, region)
        found._node = recorded._node
    make_view(found, t)
    return found


NS["LAYERED_INDEX_PUT"] = layered_index_put
NS["LAYERED_STRIDED"] = layered_strided
NS["LAYERED_GETITEM"] = layered_getitem
NS["LAYERED_SETITEM"] = layered_setitem
