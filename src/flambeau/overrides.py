"""`__torch_function__` for functions of one's own, as `torch.overrides` has it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.ops.dispatch import call_overrides, overrides
from flambeau.tensor.tensor import Tensor

__all__ = [
    "handle_torch_function",
    "has_torch_function",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]


def _classes(relevant_args: Iterable[Any]) -> list[type]:
    """The classes among the arguments that have a `__torch_function__` of their own, subclasses first."""
    found: list[type] = []
    if overrides.off:
        return found
    for value in relevant_args:
        cls = type(value)
        handler = getattr(cls, "__torch_function__", None)
        if cls is Tensor or handler is None or cls in found or getattr(handler, "disabled", False):
            continue
        inherited = getattr(handler, "__func__", handler) is Tensor.__torch_function__.__func__
        if inherited and cls.__name__ == "Parameter":
            continue
        at = next((i for i, other in enumerate(found) if issubclass(cls, other)), len(found))
        found.insert(at, cls)
    return found


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether some argument's class handles functions by a `__torch_function__` of its own.

    >>> import flambeau as torch
    >>> torch.overrides.has_torch_function((torch.ones(2),))
    False
    """
    return bool(_classes(relevant_args))


def has_torch_function_unary(value: Any) -> bool:
    """`has_torch_function` of one argument."""
    return has_torch_function((value,))


def has_torch_function_variadic(*values: Any) -> bool:
    """`has_torch_function` of the arguments given."""
    return has_torch_function(values)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """Lets the classes of the arguments compute `public_api(*args, **kwargs)`; TypeError if none does."""
    return call_overrides(public_api, _classes(relevant_args), args, kwargs)


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """A decorator: the classes of the arguments that `dispatcher(*args, **kwargs)` returns handle the function."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapper, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapper

    return decorate


def is_tensor_like(value: Any) -> bool:
    """Whether it is a tensor, or of a class with `__torch_function__`."""
    return isinstance(value, Tensor) or hasattr(type(value), "__torch_function__")


def is_tensor_method_or_property(function: Callable) -> bool:
    """Whether the function is a method of `Tensor`."""
    return getattr(Tensor, getattr(function, "__name__", ""), None) is function


def resolve_name(function: Callable) -> str:
    """A readable name, such as 'torch.Tensor.add'."""
    name = getattr(function, "__name__", str(function))
    return f"torch.Tensor.{name}" if is_tensor_method_or_property(function) else f"torch.{name}"
