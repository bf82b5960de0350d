"""What sources written for PyTorch's script compiler import. There is no script compiler: functions stay functions.

`weak_module` and `weak_script_method` are from sources of PyTorch 1.0, the rest from later ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Dict, Final, List, Optional, Tuple, TypeVar, Union  # noqa: UP035

__all__ = [
    "BroadcastingList1",
    "BroadcastingList2",
    "BroadcastingList3",
    "Dict",
    "Final",
    "List",
    "Optional",
    "Tuple",
    "Union",
    "boolean_dispatch",
    "export",
    "ignore",
    "is_scripting",
    "unused",
    "weak_module",
    "weak_script",
    "weak_script_method",
]

_T = TypeVar("_T")


def weak_module(cls: _T) -> _T:
    """Returns the class as it is."""
    return cls


def weak_script_method(fn: _T) -> _T:
    """Returns the method as it is."""
    return fn


def weak_script(fn: _T, _frames_up: int = 0) -> _T:
    """Returns the function as it is."""
    return fn


def boolean_dispatch(
    arg_name: str,
    arg_index: int,
    default: bool,
    if_true: Callable,
    if_false: Callable,
    module_name: str,
    func_name: str,
) -> Callable:
    """A function that calls `if_true` or `if_false`, as its argument `arg_name` (at `arg_index` by position) says."""

    def fn(*args: Any, **kwargs: Any) -> Any:
        flag = args[arg_index] if arg_index < len(args) else kwargs.get(arg_name, default)
        return (if_true if flag else if_false)(*args, **kwargs)

    doc = if_true.__doc__ or if_false.__doc__
    fn.__doc__ = doc
    fn.__name__ = func_name or fn.__name__
    fn.__module__ = module_name or fn.__module__
    fn.__signature__ = inspect.signature(if_true)  # type: ignore[attr-defined]
    return fn


def _overload(func: _T) -> _T:
    """Returns the declaration as it is; the implementation that follows under the same name replaces it."""
    return func


_overload_method = _overload


def export(fn: _T) -> _T:
    """Returns the method as it is."""
    return fn


def unused(fn: _T) -> _T:
    """Returns the method as it is."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Returns the method as it is; used with or without arguments."""
    if callable(drop):
        return drop
    return lambda fn: fn


_drop = unused


def is_scripting() -> bool:
    """False."""
    return False


def _copy_to_script_wrapper(fn: _T) -> _T:
    return fn


def _qualified_name(obj: Any, mangle_name: bool = True) -> str:
    """The dotted name of a class or function."""
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "_jit_override_qualname", None) or getattr(obj, "__qualname__", obj.__name__)
    return f"{module}.{name}" if module else name


class _BroadcastingList:
    """An annotation: a number, or a list of numbers of a given length."""

    def __getitem__(self, types: Any) -> None:
        return None


BroadcastingList1 = _BroadcastingList()
BroadcastingList2 = _BroadcastingList()
BroadcastingList3 = _BroadcastingList()
BroadcastingList4 = _BroadcastingList()
BroadcastingList5 = _BroadcastingList()
BroadcastingList6 = _BroadcastingList()
