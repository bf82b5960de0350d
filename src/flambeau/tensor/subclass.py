"""Subclasses of Tensor: `__torch_function__`, and what it is by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.ops.asking import overrides
from flambeau.tensor.tensor import Tensor


class DisableTorchFunctionSubclass:
    """Inside, subclasses are treated as plain tensors."""

    def __enter__(self) -> None:
        overrides.off += 1

    def __exit__(self, *exc: object) -> None:
        overrides.off -= 1


DisableTorchFunction = DisableTorchFunctionSubclass


def default_torch_function(cls: type, func: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
    """Runs `func` on plain tensors and gives its results the subclass."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        result = func(*args, **kwargs)
    return _convert(result, cls)


def _convert(result: Any, cls: type) -> Any:
    if cls is Tensor or not isinstance(cls, type) or not issubclass(cls, Tensor):
        return result
    if type(result) is Tensor:
        other = object.__new__(cls)
        other.__dict__.update(result.__dict__)
        return other
    if isinstance(result, (tuple, list)):
        make = getattr(type(result), "_make", type(result))
        return make(_convert(r, cls) for r in result)
    return result
