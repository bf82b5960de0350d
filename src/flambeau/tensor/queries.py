"""Functions that ask something of a tensor, and a few that return it as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.errors import need_tensor
from flambeau.ops.public import asking
from flambeau.tensor.inplace import fill_
from flambeau.tensor.storage import TypedStorage, UntypedStorage
from flambeau.tensor.tensor import Tensor

__all__ = [
    "_assert",
    "_check",
    "_check_index",
    "_check_is_size",
    "_check_not_implemented",
    "_check_type",
    "_check_value",
    "detach",
    "detach_",
    "fill",
    "fill_",
    "get_device",
    "is_complex",
    "is_conj",
    "is_floating_point",
    "is_inference",
    "is_neg",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_storage",
    "is_tensor",
    "numel",
    "resolve_conj",
    "resolve_neg",
    "result_type",
    "typename",
]


@asking
def _assert(condition: Any, message: str) -> None:
    """`assert condition, message` as a function, which a symbolic trace can write down."""
    assert condition, message


def _checking(name: str, error: type[Exception]) -> Callable[..., None]:
    def check(cond: bool, message: Callable[[], Any] | None = None) -> None:
        if not cond:
            raise error(str(message()) if message is not None else "Expected cond to be True, but got False")

    check.__name__ = check.__qualname__ = name
    check.__doc__ = f"Raises {error.__name__} with the text that `message()` gives unless `cond` holds."
    return check


_check = _checking("_check", RuntimeError)
_check_index = _checking("_check_index", IndexError)
_check_value = _checking("_check_value", ValueError)
_check_type = _checking("_check_type", TypeError)
_check_not_implemented = _checking("_check_not_implemented", NotImplementedError)


def _check_is_size(i: int, message: Callable[[], Any] | None = None, *, max: int | None = None) -> None:
    """RuntimeError unless `i` is a size: not negative, and at most `max`."""
    _check(i >= 0 and (max is None or i <= max), message)


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> bool:
    """Whether `obj` is a storage."""
    return isinstance(obj, (TypedStorage, UntypedStorage))


def numel(input: Any) -> int:
    """The number of elements."""
    return need_tensor("numel", input).numel()


def is_floating_point(input: Any) -> bool:
    """Whether the dtype is a floating-point type."""
    return need_tensor("is_floating_point", input).is_floating_point()


def is_complex(input: Any) -> bool:
    """Whether the dtype is a complex type."""
    return need_tensor("is_complex", input).is_complex()


def is_signed(input: Any) -> bool:
    """Whether the dtype holds negative numbers."""
    return need_tensor("is_signed", input).is_signed()


def is_inference(input: Any) -> bool:
    """Whether the tensor was made in `inference_mode`."""
    return need_tensor("is_inference", input).is_inference()


def is_conj(input: Any) -> bool:
    """Whether the tensor is a lazy conjugate: never."""
    return need_tensor("is_conj", input).is_conj()


def is_neg(input: Any) -> bool:
    """Whether the tensor is a lazy negative: never."""
    return need_tensor("is_neg", input).is_neg()


def is_same_size(input: Any, other: Any) -> bool:
    """Whether both have one shape."""
    return need_tensor("is_same_size", input)._a.shape == other._a.shape


def is_nonzero(input: Any) -> bool:
    """Whether the single element of `input` is not zero; RuntimeError for more or fewer elements."""
    array = need_tensor("is_nonzero", input)._a
    if array.size != 1:
        what = "no values" if array.size == 0 else "more than one value"
        raise RuntimeError(f"a tensor with {what} is neither true nor false; use .any() or .all()")
    return bool(array.reshape(-1)[0])


def get_device(input: Any) -> int:
    """The number of the tensor's device; -1 on the CPU."""
    return need_tensor("get_device", input).get_device()


def detach(input: Any) -> Any:
    """The same memory without history."""
    return need_tensor("detach", input).detach()


def detach_(input: Any) -> Any:
    """Takes the tensor out of the graph that made it."""
    return need_tensor("detach_", input).detach_()


def resolve_conj(input: Any) -> Any:
    """The tensor: conjugates are never lazy."""
    return need_tensor("resolve_conj", input).resolve_conj()


def resolve_neg(input: Any) -> Any:
    """The tensor: negatives are never lazy."""
    return need_tensor("resolve_neg", input).resolve_neg()


def fill(input: Any, value: Any) -> Any:
    """A copy of `input` with every element set to `value`."""
    return fill_(need_tensor("fill", input).clone(), value)


def typename(obj: Any) -> str:
    """The name of a tensor's legacy type, or of any object's class."""
    if isinstance(obj, Tensor):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    return f"{cls.__module__}.{cls.__name__}" if cls.__module__ not in ("builtins", None) else cls.__name__


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype of an operation on two tensors or numbers."""
    full: list = []
    zero_dim: list = []
    scalars: list = []
    for value in (tensor1, tensor2):
        if isinstance(value, Tensor):
            (full if value._a.ndim else zero_dim).append(value.dtype)
        elif isinstance(value, (bool, int, float, complex, np.generic)):
            scalars.append(dtypes.of_scalar(value))
        else:
            raise TypeError(f"result_type(): expected tensors or numbers, got {type(value).__name__}")
    return dtypes.result_dtype(full, zero_dim, scalars)
