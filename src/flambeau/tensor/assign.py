"""Item assignment: `tensor[index] = value`."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS, thread
from flambeau.autograd.views import bump, check_writable
from flambeau.ops.dispatch import wrap
from flambeau.ops.index import getitem, last_effect, parse_index
from flambeau.tensor.inplace import copy_, shadow, store


def setitem(self: Any, index: Any, value: Any) -> None:
    """Writes `value`, a number or a tensor that broadcasts, where `index` points to."""
    tensor = NS["Tensor"]
    parsed, basic = parse_index(index, self._a)
    if not isinstance(value, tensor):
        if not isinstance(value, (int, float, bool, complex, np.generic)):
            if isinstance(value, (str, bytes)) or value is None:
                raise TypeError(f"can't assign a {type(value).__name__} to a {self.dtype} tensor")
            value = np.asarray(value)
            if value.ndim and not isinstance(value, np.ndarray):
                raise TypeError(f"can't assign a {type(value).__name__} to a {self.dtype} tensor")
        value = wrap(np.asarray(value, dtype=self._a.dtype) if self._a.dtype.kind in "fc" else np.asarray(value))
    recorded = thread.grad and (self._node is not None or value._node is not None)
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
        view = getitem(self, index) if last_effect(parsed, self._a.shape) is not Ellipsis else self
        copy_(view, _fit(value, view._a.ndim))
        return
    ops = NS["OPS"]
    if value._a.dtype != self._a.dtype:
        value = ops.to_numpy_dtype(value, self._a.dtype)
    source = shadow(self)
    try:
        result = ops.index_put_op(source, _fit(value, 1), parsed)
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"shape mismatch: {error}") from None
    store(self, result, "index_put_")


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
