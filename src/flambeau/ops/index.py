"""Indexing: views by ints and slices, copies by tensors of indices and masks, and writing through them."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import is_array, need_values
from flambeau.ops.core import op
from flambeau.ops.dispatch import checks_values


def _declare_basic(name: str, grad_name: str) -> Any:
    def body(k: Any, input, index):  # type: ignore[no-untyped-def]
        return k.basic_index(input, index)

    body.__annotations__ = {"input": "Tensor"}
    body.__name__ = name
    body.__doc__ = "A view by ints, slices, None and Ellipsis."
    declared = op(body, view=True, grad_name=grad_name, name=name)

    @declared.derivative("input")
    def _(k, g, input_shape, index):
        return k.basic_index_put(g, input_shape, index)

    return declared


index_slice = _declare_basic("index_slice", "SliceBackward0")
index_select_at = _declare_basic("index_select_at", "SelectBackward0")
index_unsqueeze = _declare_basic("index_unsqueeze", "UnsqueezeBackward0")
index_alias = _declare_basic("index_alias", "AliasBackward0")


@op(any_dtype=True)
def basic_index(k, input: Tensor, index):
    """`input[index]` by ints and slices, as a value."""
    return k.basic_index(input, index)


@basic_index.derivative("input")
def _(k, g, input_shape, index):
    return k.basic_index_put(g, input_shape, index)


@op(any_dtype=True)
def basic_index_put(k, g: Tensor, shape, index):
    """Zeros of `shape` with `g` at `index`: the gradient of a view by ints and slices."""
    return k.basic_index_put(g, shape, index)


@basic_index_put.derivative("g")
def _(k, g, index):
    return k.basic_index(g, index)


@op(any_dtype=True, grad_name="IndexBackward0")
def index(k, input: Tensor, index):
    """`input[index]` by arrays of indices and masks: a copy."""
    return k.index(input, index)


@index.derivative("input")
def _(k, g, input_shape, index):
    return k.index_add_zeros(g, input_shape, index)


@op(any_dtype=True)
def index_add_zeros(k, g: Tensor, shape, index):
    """Zeros of `shape` with `g` added at `index`: the gradient of `index`."""
    return k.index_add_zeros(g, shape, index)


@index_add_zeros.derivative("g")
def _(k, g, index):
    return k.index(g, index)


@op(any_dtype=True, grad_name="IndexPutBackward0")
def index_put_op(k, input: Tensor, values: Tensor, index, accumulate=False):
    """`input` with `values` written (or added) at `index`, as a copy."""
    return k.index_put(input, values, index, accumulate)


@index_put_op.derivative("input")
def _(k, g, index, accumulate):
    return g if accumulate else k.index_clear(g, index)


@index_put_op.derivative("values")
def _(k, g, index, values_shape):
    return k.sum_to_shape(k.index(g, index), values_shape)


@op(any_dtype=True)
def index_clear(k, input: Tensor, index):
    """`input` with zeros at `index`."""
    return k.index_clear(input, index)


@index_clear.derivative("input")
def _(k, g, index):
    return k.index_clear(g, index)


@op(any_dtype=True, exact_out=True)
def gather(k, input: Tensor, dim, index: Index, *, sparse_grad=False):
    """Values picked along `dim`: `out[i][j] = input[index[i][j]][j]` for dim 0."""
    check_gather("gather", input, dim, index)
    return k.gather(input, dim, index)


@gather.derivative("input")
def _(k, g, input_shape, dim, index):
    return k.scatter_add_zeros(g, input_shape, dim, index)


@op(any_dtype=True)
def scatter_add_zeros(k, g: Tensor, shape, dim, index: Index):
    """Zeros of `shape` with `g` added at `index` along `dim`: the gradient of `gather`."""
    return k.scatter_add_zeros(g, shape, dim, index)


@scatter_add_zeros.derivative("g")
def _(k, g, dim, index):
    return k.gather(g, dim, index)


def check_gather(name: str, input: Any, dim: int, index: Any) -> None:
    """Refuses an index of a wrong dtype, rank, size or range."""
    from flambeau.ops.dims import wrap_dim

    if index.size and (index.dtype.kind != "i" or index.dtype.itemsize < 4):
        raise RuntimeError(f"{name}(): index must be int64, got {index.dtype}; convert it with .long()")
    d = wrap_dim(dim, input.ndim)
    if index.size == 0:
        return
    if (index.ndim or 1) != (input.ndim or 1):
        raise RuntimeError(f"{name}(): index needs as many dimensions as input: {index.ndim} came for {input.ndim}")
    for axis, (n, m) in enumerate(zip(index.shape, input.shape, strict=False)):
        if axis != d and n > m:
            raise RuntimeError(
                f"{name}(): index {list(index.shape)} reaches beyond input {list(input.shape)} in dimension "
                f"{axis}; only along dimension {d} may it be longer"
            )
    length = input.shape[d] if input.ndim else 1
    _in_bounds(name, index, d, length)


@checks_values
def _in_bounds(name: str, index: Any, d: int, length: int) -> None:
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= length:
        bad = low if low < 0 else high
        raise RuntimeError(f"{name}(): index {bad} is out of bounds for dimension {d} of length {length}")


def parse_index(index: Any, array: Any) -> tuple[tuple[Any, ...], bool]:
    """A program's index as NumPy takes it, and whether it is basic (a view)."""
    items = index if index.__class__ is tuple else (index,)
    if isinstance(index, list):
        items = tuple(index) if _is_really_a_tuple(index) else (_list_index(index),)
    tensor_class = NS["Tensor"]
    parsed: list[Any] = []
    basic = True
    for item in items:
        cls = item.__class__
        if cls is int or item is None or item is Ellipsis:
            parsed.append(item)
        elif cls is slice:
            parsed.append(_slice(item))
        elif isinstance(item, tensor_class):
            value = item._a
            if value.dtype in (np.int64, np.int32):
                if value.ndim == 0:
                    parsed.append(int(value))
                    continue
                parsed.append(value)
            elif value.dtype == np.uint8:
                parsed.append(value.astype(bool))
            elif value.dtype == bool:
                need_values(value)
                parsed.append(value)
            else:
                raise IndexError(f"a tensor as index must hold integers or bools, got {value.dtype}")
            basic = False
        elif isinstance(item, (bool, np.bool_)):
            parsed.append(np.asarray(bool(item)))
            basic = False
        elif isinstance(item, (list, tuple, range)):
            parsed.append(_list_index(list(item)))
            basic = False
        elif is_array(item):
            parsed.append(int(item) if item.ndim == 0 and item.dtype.kind in "iu" else item)
            basic = basic and item.ndim == 0 and item.dtype.kind in "iu"
        elif hasattr(item, "__index__"):
            parsed.append(item.__index__())
        else:
            kind = IndexError if isinstance(item, (float, complex)) else TypeError
            raise kind(
                f"an index is made of integers, slices, ..., None and tensors of integers or bools; got {cls.__name__}"
            )
    _check(parsed, array)
    return tuple(parsed), basic


def _is_really_a_tuple(index: list[Any]) -> bool:
    """Whether a list stands for a tuple of indices: short ones that hold sequences, tensors, slices or None do."""
    if len(index) >= 32:
        return False
    kinds = (list, tuple, slice, range, str, np.ndarray, type(None), type(Ellipsis), NS["Tensor"])
    return any(isinstance(item, kinds) for item in index)


def _list_index(items: list[Any]) -> Any:
    tensor_class = NS["Tensor"]
    values = [i._a if isinstance(i, tensor_class) else i for i in items]
    result = np.asarray(values)
    if result.size == 0:
        return result.astype(np.int64)
    if result.dtype.kind not in "iub":
        raise TypeError(f"a list as index must hold integers or bools, got {result.dtype}")
    return result


def _slice(item: Any) -> Any:
    if item.step is not None and int(item.step) <= 0:
        raise ValueError("a slice's step must be positive; for a reversed order use flip()")
    parts = (item.start, item.stop, item.step)
    if all(p is None or p.__class__ is int for p in parts):
        return item
    for p in parts:
        if p is not None and not hasattr(p, "__index__"):
            raise TypeError(f"a slice's start, stop and step must be integers or None, got {type(p).__name__}")
    return slice(*(None if p is None else p.__index__() for p in parts))


def _check(parsed: list[Any], array: Any) -> None:
    """Too many indices, and ints and masks that do not fit: the errors PyTorch raises."""
    used = 0
    for item in parsed:
        if item is None or item is Ellipsis:
            continue
        used += item.ndim if is_array(item) and item.dtype == bool else 1
    if used > array.ndim:
        if array.ndim == 0 and all(i.__class__ in (int, slice) for i in parsed):
            raise IndexError("a tensor without dimensions has no places to index; use .item() for its value")
        raise IndexError(f"more indices than the {array.ndim} dimensions of the tensor")
    if Ellipsis in [p for p in parsed if not is_array(p)]:
        at = next(i for i, p in enumerate(parsed) if p is Ellipsis)
    else:
        at = len(parsed)
    dim = 0
    for i, item in enumerate(parsed):
        if i == at:
            dim = array.ndim - sum(
                p.ndim if is_array(p) and p.dtype == bool else 1 for p in parsed[at + 1 :] if p is not None
            )
            continue
        if item is None:
            continue
        if item.__class__ is int and not -array.shape[dim] <= item < array.shape[dim]:
            raise IndexError(f"index {item} is out of bounds for dimension {dim} of length {array.shape[dim]}")
        if is_array(item):
            if item.dtype == bool:
                for j, n in enumerate(item.shape):
                    if n != array.shape[dim + j]:
                        raise IndexError(
                            f"a mask of shape {list(item.shape)} can't select from a tensor {list(array.shape)}: "
                            f"at dimension {dim + j} of the tensor they differ"
                        )
                dim += item.ndim
                continue
            _reaches(item, dim, array.shape[dim])
        dim += 1


@checks_values
def _reaches(item: Any, dim: int, length: int) -> None:
    if item.size and not (item.min() >= -length and item.max() < length):
        bad = int(item.min()) if item.min() < -length else int(item.max())
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} of length {length}")


def split_index(parsed: tuple, ndim: int) -> tuple[tuple | None, tuple]:
    """A mixed index as a basic one and one by arrays on its result: ints are applied first, as PyTorch does.

    NumPy takes ints among arrays for arrays too, which may move dimensions.
    """
    if not any(p.__class__ is int for p in parsed):
        return None, parsed
    first: list[Any] = []
    rest: list[Any] = []
    for item in parsed:
        if item.__class__ is int:
            first.append(item)
        elif is_array(item):
            first += [slice(None)] * (item.ndim if item.dtype == bool else 1)
            rest.append(item)
        else:
            first.append(item)
            rest.append(item if item is Ellipsis else slice(None))
    return tuple(first), tuple(rest)


def last_effect(parsed: tuple, shape: tuple[int, ...]) -> Any:
    """The last item of a basic index that does something, or Ellipsis: whole slices do nothing."""
    found: Any = Ellipsis
    dim = 0
    for item in parsed:
        if item is Ellipsis:
            dim = len(shape) - sum(1 for p in reversed(parsed) if p is not None and p is not Ellipsis) + dim
            continue
        if item is None:
            found = None
            continue
        whole = item.__class__ is slice and not item.start and item.step in (None, 1)
        if not whole or item.stop not in (None, shape[dim]):
            found = item
        dim += 1
    return found


def getitem(self: Any, index: Any) -> Any:
    """`tensor[index]`: a view for ints, slices, None and Ellipsis, a copy for tensors, lists and masks."""
    if index.__class__ is int:
        array = self._a
        if array.ndim and -array.shape[0] <= index < array.shape[0]:
            return index_select_at(self, index)
    elif index.__class__ is tuple and _is_simple(index):
        try:
            return _VIEWS[last_effect(index, self._a.shape).__class__](self, index)
        except IndexError:
            pass  # told below
    if NS["LEVELS"]:
        found = NS["LAYERED_GETITEM"](self, index)
        if found is not NotImplemented:
            return found
    parsed, basic = parse_index(index, self._a)
    if not basic:
        first, rest = split_index(parsed, self._a.ndim)
        return NS["OPS"].index(self if first is None else getitem(self, first), rest)
    if index.__class__ is slice:
        return index_slice(self, parsed)
    return _VIEWS[last_effect(parsed, self._a.shape).__class__](self, parsed)


def _is_simple(index: tuple) -> bool:
    """Whether a tuple holds ints, None, Ellipsis and plain slices only."""
    for item in index:
        cls = item.__class__
        if cls is int or item is None or item is Ellipsis:
            continue
        if cls is not slice or (item.step is not None and (item.step.__class__ is not int or item.step <= 0)):
            return False
        start, stop = item.start, item.stop
        if not ((start is None or start.__class__ is int) and (stop is None or stop.__class__ is int)):
            return False
    return True


_VIEWS = {int: index_select_at, slice: index_slice, type(None): index_unsqueeze, type(Ellipsis): index_alias}
