"""Writing in place: every `op_` method from its `op`, `copy_`, and item assignment's last step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import LEAF, NS, thread, tick
from flambeau.autograd.views import bump, check_writable, refuse_partial_overlap, written
from flambeau.engines.arrays import VALUELESS, is_array, need_values
from flambeau.errors import describe, need_tensor
from flambeau.ops.fillers import forget
from flambeau.tensor.storage import Memory

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def shadow(tensor: Any) -> Any:
    """The tensor's value and history under another object: what an in-place op reads, so that the tape has no cycle."""
    if tensor._level is not None:
        other = tensor.alias()
    else:
        other = object.__new__(NS["Tensor"])
        other._a = tensor._a
    other._node = tensor._node
    return other


def in_place(function: Callable, ufunc: Any = None) -> Any:
    """The method that writes `function`'s result into its first operand.

    With `ufunc`, float operands that need no gradient are computed right in place.
    """
    name = getattr(function, "__name__", "op")
    overlap = name == "masked_fill"  # PyTorch lets this one write what expand made

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if ufunc is not None and len(args) == 1 and not kwargs and _direct(self, args[0]):
            other = args[0]
            ufunc(self._a, other if other.__class__ is float else other._a, self._a)
            bump(self)
            return self
        if NS["LEVELS"]:
            done = NS["LAYERED_WRITE"](function, name + "_", self, args, kwargs, overlap)
            if done is not NotImplemented:
                return done
        recorded = thread.grad
        check_writable(self, name + "_", recorded, overlap)
        if self._shared is not None:
            for other in args:
                if other is not self and isinstance(other, Memory) and other._shared is self._shared:
                    refuse_partial_overlap(self, other, name + "_")
        source = shadow(self) if recorded and self._node is not None else self
        result = function(source, *args, **kwargs)
        if result._node is not None:
            in_place_source(result._node, source)
        store(self, result, name + "_")
        source._stamp = tick() if source is not self else source._stamp
        return self

    method.__name__ = name + "_"
    method.__qualname__ = f"Tensor.{name}_"
    method.__doc__ = f"`{name}`, written into this tensor, which is returned."
    return method


def in_place_source(node: Any, source: Any) -> None:
    """Gives a node that needs its overwritten operand a copy of the old value."""
    kept = node.__dict__
    for key in [key for key, value in kept.items() if value is source]:
        old = source.alias() if source._level is not None else NS["WRAP"](source._a.copy())
        old._node = source._node
        kept[key] = old


def unwatched(tensor: Any) -> bool:
    """Whether a write into `tensor` needs no checks: nothing records it, and its memory may be written."""
    if tensor._level is not None or NS["WRITES"] is not None:
        return False
    if tensor._node is not None and thread.grad:
        return False
    base = tensor._base
    if base is not None and base._node is not None and thread.grad:
        return False
    array = tensor._a
    return array.flags.writeable and 0 not in array.strides and not tensor._inference


def _direct(self: Any, other: Any) -> bool:
    """Whether a ufunc can write right into `self`: plain float operands of a fitting shape, nothing to record."""
    d = self._a.dtype
    if (d is not F32 and d is not F64) or not NS["PLAIN"] or not unwatched(self):
        return False
    if other.__class__ is float:
        return True
    if not isinstance(other, NS["Tensor"]) or other._level is not None or other._a.dtype is not d:
        return False
    if other._node is not None and thread.grad:
        return False
    if other._shared is not None and other._shared is self._shared and other is not self:
        return False
    return other._a.shape == self._a.shape or other._a.ndim == 0


def store(self: Any, result: Any, name: str) -> None:
    """Writes `result` into `self` and gives it `result`'s history."""
    if self._level is not None or result._level is not None:
        NS["LAYERED_STORE"](self, result, name)
        return
    have, want = result._a, self._a
    if have.shape != want.shape:
        raise RuntimeError(
            f"{name}: the result has the shape {list(have.shape)}, which can't be written into {list(want.shape)}"
        )
    if have.dtype != want.dtype:
        check_cast(name, have, want)
        if result._node is not None:
            result = NS["OPS"].to_numpy_dtype(result, want.dtype)
    np.copyto(want, result._a, casting="unsafe")
    if NS["WRITES"] is not None:
        NS["WRITES"].write(self, result)
    node = result._node
    if node is not None and result._cell is not None:
        # what the node kept as its result now lives in this tensor
        for key in [k for k, v in node.__dict__.items() if v is result._a]:
            setattr(node, key, want)
        root = self._base if self._base is not None else self
        written(self, node)
        result._cell[0] = 0
        root._cell = self._cell = result._cell
        return
    written(self, node)


def check_cast(name: str, have: np.ndarray, want: np.ndarray) -> None:
    """Refuses a result whose kind of number the tensor to write can't hold."""
    if not dtypes.can_cast(dtypes.of_numpy(have.dtype), dtypes.of_numpy(want.dtype)):
        raise RuntimeError(
            f"{name}: the result is {_type_word(have)}, which can't be written into a tensor of "
            f"{_type_word(want)}; convert one of them"
        )


def _type_word(array: Any) -> str:
    words = {
        "float32": "Float",
        "float64": "Double",
        "int64": "Long",
        "int32": "Int",
        "bool": "Bool",
        "float16": "Half",
        "bfloat16": "BFloat16",
        "uint8": "Byte",
        "int8": "Char",
        "int16": "Short",
        "complex64": "ComplexFloat",
        "complex128": "ComplexDouble",
    }
    return words.get(str(array.dtype), str(array.dtype))


def copy_(self: Any, other: Any, non_blocking: bool = False) -> Any:
    """Copies `other` into this tensor, broadcast and converted to its dtype; gradients flow to `other`."""
    src = need_tensor("copy_", other, "other")
    if NS["LEVELS"]:
        done = NS["LAYERED_COPY"](self, src)
        if done is not NotImplemented:
            return done
    check_writable(self, "copy_", thread.grad)
    shape = self._a.shape
    try:
        if src._a.shape != shape:
            np.broadcast_to(src._a, shape)
    except ValueError:
        raise RuntimeError(
            f"copy_(): can't write {describe(src)} into {describe(self)}: the sizes must agree or broadcast"
        ) from None
    if self._shared is not None and src._shared is self._shared and src is not self:
        refuse_partial_overlap(self, src, "copy_")
    node = None
    if thread.grad and src._node is not None:
        ops = NS["OPS"]
        value = src if src._a.dtype == self._a.dtype else ops.to_numpy_dtype(src, self._a.dtype)
        if value._a.shape != shape:
            value = ops.expand_op(value, shape)
        node = CopyBackwards(self._node, value if value._node is LEAF else value._node)
    elif thread.grad and self._node is not None:
        node = CopyBackwards(self._node, None)
    array = src._a
    if array.dtype.kind == "c" and self._a.dtype.kind != "c":
        array = array.real
    if self._a.__class__ not in VALUELESS:
        need_values(array)
    np.copyto(self._a, array, casting="unsafe")
    if NS["WRITES"] is not None:
        NS["WRITES"].write(self, src)
    written(self, node) if thread.grad else bump(self)
    return self


class CopyBackwards(Node):
    """What is left of a tensor that was written over: its old value gets zeros, the source the gradient."""

    def __init__(self, old: Any, source: Any) -> None:
        self.edges = (old, source)
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        return None if self.edges[0] is None else np.zeros_like(g), g

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        return None if self.edges[0] is None else NS["OPS"].zeros_like(g), g


def fill_(self: Any, value: Any) -> Any:
    """Sets every element to `value`, a number or a zero-dim tensor."""
    if value.__class__ is float and unwatched(self) and self._a.dtype.kind == "f":
        self._a.fill(value)
        bump(self)
        return self
    if isinstance(value, NS["Tensor"]):
        if value._a.ndim:
            raise RuntimeError(
                f"fill_(): the value must be a number or a tensor without dimensions, got {value._a.ndim} of them"
            )
        return copy_(self, value)
    if self._level is not None:
        return NS["LAYERED_FILL"](self, value)
    check_writable(self, "fill_", thread.grad, True)
    if not isinstance(value, (bool, int, float, complex, np.generic)):
        raise TypeError(f"fill_(): the value must be a number or a Tensor, got {type(value).__name__}")
    if isinstance(value, complex) and self._a.dtype.kind != "c":
        raise RuntimeError("fill_(): a complex number can't be written into a real tensor")
    self._a.fill(value)
    if NS["WRITES"] is not None:
        NS["WRITES"].write(self, value)
    written(self, forget(self, "FillBackward2")) if thread.grad else bump(self)
    return self


def zero_(self: Any) -> Any:
    """Sets every element to 0."""
    if unwatched(self):
        self._a.fill(0)
        bump(self)
        return self
    if self._level is not None:
        return NS["LAYERED_FILL"](self, 0)
    check_writable(self, "zero_", thread.grad, True)
    self._a.fill(0)
    if NS["WRITES"] is not None:
        NS["WRITES"].write(self, 0)
    written(self, forget(self, "ZeroBackward0")) if thread.grad else bump(self)
    return self


def write_out(name: str, out: Any, result: Any) -> None:
    """Writes an op's result into its `out=`, resized where it has another shape."""
    have, want = result._a, out._a
    if want.size and any(n > 1 and not s for n, s in zip(want.shape, want.strides)):
        raise RuntimeError(
            f"{name}: out= shows one place of memory several times (it was expanded), so it can't be written; "
            "pass out.clone()"
        )
    check_cast(name, have, want)
    if have.shape != want.shape:
        if want.size:
            import warnings

            warnings.warn(
                f"out= has the shape {list(want.shape)}, the result {list(have.shape)}: out was resized, which "
                "will become an error. Pass an empty tensor to have it sized",
                UserWarning,
                stacklevel=4,
            )
        out._a = have.astype(want.dtype) if is_array(have) else np.array(have, dtype=want.dtype)
        if NS["WRITES"] is not None:
            NS["WRITES"].replace(out, result)
        bump(out)
        return
    np.copyto(want, have, casting="unsafe")
    if NS["WRITES"] is not None:
        NS["WRITES"].write(out, result)
    bump(out)


NS["WRITE_OUT"] = write_out
NS["CHECK_CAST"] = check_cast
NS["STORE"] = store
NS["IN_PLACE"] = in_place
