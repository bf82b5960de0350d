"""Asking others about a function: modes that are on, and operands' classes with a `__torch_function__`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class _Overrides(threading.local):
    off = 0
    functions: tuple = ()  # the modes that are asked about every function, the innermost last


overrides = _Overrides()


#: Under which object programs know a function.
PUBLIC: dict[Callable, Callable] = {}


def call_modes(function: Callable, args: tuple, kwargs: dict | None = None) -> Any:
    """Asks the innermost function mode; inside it the next one is the innermost."""
    function = PUBLIC.get(function, function)
    *rest, mode = before = overrides.functions
    overrides.functions = tuple(rest)
    try:
        classes = tuple({type(a): None for a in args if hasattr(type(a), "__torch_function__")})
        result = mode.__torch_function__(function, classes, args, kwargs or {})
    finally:
        overrides.functions = before
    if result is NotImplemented:
        raise TypeError(f"the mode {type(mode).__name__} returned NotImplemented for {function.__name__}")
    return result


def call_overrides(function: Callable, classes: list[type], args: tuple, kwargs: dict | None = None) -> Any:
    """Asks each class's `__torch_function__` in turn, subclasses first."""
    function = PUBLIC.get(function, function)
    for cls in classes:
        result = cls.__torch_function__(function, tuple(classes), args, kwargs or {})  # type: ignore[attr-defined]
        if result is not NotImplemented:
            return result
    names = ", ".join(cls.__name__ for cls in classes)
    raise TypeError(
        f"none of {names} handles {function.__name__} in its __torch_function__; all returned NotImplemented"
    )
