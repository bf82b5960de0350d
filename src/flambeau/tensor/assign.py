"""Item assignment: `tensor[index] = value`."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS, thread
from flambeau.autograd.views import bump, check_writable
from flambeau.engines.arrays import is_array
from flambeau.ops.dispatch import wrap
from flambeau.ops.index import getitem, last_effect, parse_index, split_index
from flambeau.tensor.inplace import copy_, shadow, store, unwatched


def setitem(self: Any, index: Any, value: Any) -> None:
    """Writes `value`, a number or a tensor that broadcasts, where `index` points to."""
    if value.__class__ is float and _is_place(index) and self._a.dtype.kind == "f" and unwatched(self):
        try:
            self._a[index] = value
        except IndexError:
            pass  # told below
        else:
            bump(self)
            return
    if NS["LEVELS"] and NS["LAYERED_SETITEM"](self, index, value):
        return
    parsed, basic = parse_index(index, self._a)
    number = not isinstance(value, NS["Tensor"])
    if number:
        value = _number(self, value)
    elif not basic and value._a.dtype != self._a.dtype and (value._a.ndim or not _only_a_mask(parsed)):
        raise RuntimeError(
            f"setitem: a {value.dtype} tensor can't be written by indices into a {self.dtype} tensor: convert it with "
            f".to({self.dtype})"
        )
    if not basic:
        first, parsed = split_index(parsed, self._a.ndim)
        if first is not None:
            self = getitem(self, first)
    recorded = thread.grad and (self._node is not None or value._node is not None) or NS["WRITES"] is not None
    if basic and not self._a.flags.writeable:
        view = getitem(self, index)
        copy_(view, _fit(value, view._a.ndim))
        return
    check_writable(self, "setitem", thread.grad, True)
    if not recorded:
        _write(self, parsed, value._a)
        bump(self)
        return
    if basic:
        whole = last_effect(parsed, self._a.shape) is Ellipsis
        view = self if whole else getitem(self, index)
        copy_(view, _fit(value, view._a.ndim))
        if whole and number:
            show_as(self, "FillBackward3")
        return
    _write_recorded(self, parsed, value)


def _is_place(index: Any) -> bool:
    """Whether an index is an int or a tuple of ints."""
    if index.__class__ is tuple:
        return all(i.__class__ is int for i in index)
    return index.__class__ is int


def _number(self: Any, value: Any) -> Any:
    """A number as a zero-dim tensor that can be written into `self`."""
    if not isinstance(value, (int, float, bool, complex, np.generic)):
        raise TypeError(
            f"a {type(value).__name__} can't be written into a tensor of {self.dtype}; assign a number or a Tensor"
        )
    array = np.asarray(value)
    if array.dtype.kind == "c" and self._a.dtype.kind != "c":
        raise RuntimeError(f"can't write the complex number {value} into a {self.dtype} tensor")
    return wrap(array.astype(self._a.dtype))


def _only_a_mask(parsed: tuple) -> bool:
    arrays = [p for p in parsed if is_array(p)]
    return len(arrays) == 1 and arrays[0].dtype == bool


def _write_recorded(self: Any, parsed: tuple, value: Any) -> None:
    """A write by arrays of indices or masks that gradients flow through."""
    ops = NS["OPS"]
    if value._a.dtype != self._a.dtype:
        value = ops.to_numpy_dtype(value, self._a.dtype)
    source = shadow(self)
    try:
        result = ops.index_put_op(source, _fit(value, 1), parsed)
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"shape mismatch: {error}") from None
    basic = tuple(p if p is None or p.__class__ in (int, slice) else slice(None) for p in parsed if p is not Ellipsis)
    store(self, result, "index_put_")
    if len(basic) <= self._a.ndim and last_effect(basic, self._a.shape) is not Ellipsis:
        show_as(self, "CopySlices")  # PyTorch writes into the view by the ints and slices first


def _fit(value: Any, ndim: int) -> Any:
    """`value` without leading dimensions of length 1 that the place does not have."""
    while value._a.ndim > ndim and value._a.shape[0] == 1:
        value = value.squeeze(0)
    return value


def _write(self: Any, parsed: tuple, array: np.ndarray) -> None:
    if array.dtype.kind == "c" and self._a.dtype.kind != "c":
        raise RuntimeError(f"can't write complex values into a {self.dtype} tensor: take .real first")
    while array.ndim and array.shape[0] == 1:  # dimensions of length 1 in front count for nothing
        array = array[0, ...]
    try:
        self._a[parsed] = array
    except (ValueError, TypeError) as error:
        raise RuntimeError(
            f"shape mismatch: {error} (assigning {list(array.shape)} into a part of {list(self._a.shape)})"
        ) from None
