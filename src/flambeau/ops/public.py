"""Functions as programs know them: where an argument's class has a `__torch_function__`, it is asked first.

Ops ask by themselves, on their slow path. A function that is made of several of them would only be heard of in parts,
or fail on what is no tensor; so the public namespaces hold such functions behind a look at their arguments' classes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.ops.asking import PUBLIC, call_modes, call_overrides, overrides
from flambeau.ops.core import REGISTRY
from flambeau.ops.declare import other_names

__all__ = ["asking", "open_methods", "open_namespace"]

#: Classes that are known to have no say. Only those are kept that live as long as the program.
_plain: set[type] = {int, float, bool, complex, str, type(None), slice, type(...), dict, FunctionType}
_OURS = ("flambeau", "torch", "numpy", "builtins")
_CONTAINERS = (list, tuple)

_HOMES = ("flambeau.ops.", "flambeau.tensor.")
_made: set[Callable] = set()

#: What makes tensors of no tensor, or asks about values of any class, is nobody's to override.
_NOT_ASKED = frozenset(
    """arange as_tensor asarray empty empty_strided eye from_dlpack from_numpy frombuffer full linspace logspace ones
    rand randint randn randperm range scalar_tensor tensor zeros is_tensor is_storage is_grad_enabled tril_indices
    triu_indices complex_tensor range_tensor get_printoptions set_printoptions""".split()
)


def _has_a_say(cls: type) -> bool:
    handler = getattr(cls, "__torch_function__", None)
    if handler is None or getattr(handler, "disabled", False):
        return False
    own = getattr(handler, "__func__", handler) is not NS["Tensor"].__torch_function__.__func__
    return own or (cls is not NS["Tensor"] and not issubclass(cls, NS["Parameter"]))


def classes_with_a_say(values: Iterable[Any], found: list[type]) -> list[type]:
    """Adds the classes among the values, and inside lists of them, whose `__torch_function__` is to be asked."""
    for value in values:
        cls = value.__class__
        if cls in _plain:
            continue
        if cls in _CONTAINERS:
            classes_with_a_say(value, found)
        elif not _has_a_say(cls):
            if cls.__module__.partition(".")[0] in _OURS:
                _plain.add(cls)
        elif cls not in found:
            at = next((i for i, other in enumerate(found) if issubclass(cls, other)), len(found))
            found.insert(at, cls)
    return found


def _parameters(function: Any) -> tuple[str, ...]:
    code = inspect.unwrap(function).__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def asking(function: Callable) -> Callable:
    """`function`, handled by the `__torch_function__` of an argument's class where one has it."""

    renamed = other_names(_parameters(function))

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if kwargs and renamed:
            for name in renamed.keys() & kwargs.keys():
                kwargs[renamed[name]] = kwargs.pop(name)
        for value in args:
            if value.__class__ not in _plain:
                break
        else:
            if not kwargs and not overrides.functions:
                return function(*args)
        if overrides.functions:
            return call_modes(wrapper, args, kwargs)
        if not overrides.off:
            found = classes_with_a_say((*args, *kwargs.values()), [])
            if found:
                return call_overrides(wrapper, found, args, kwargs)
        return function(*args, **kwargs)

    PUBLIC[function] = wrapper
    _made.add(wrapper)
    return wrapper


def open_namespace(names: dict[str, Any], main: bool = False) -> None:
    """Puts the functions of a namespace that are made of ops, and are no op themselves, behind such a look.

    In the main one, ops that lie under a function of the same name are known as that function.
    """
    for name, function in list(names.items()):
        if name.startswith("_") or not isinstance(function, FunctionType) or name in _NOT_ASKED:
            continue
        if function in PUBLIC:
            names[name] = PUBLIC[function]
        elif hasattr(function, "op") or function in _made or not function.__module__.startswith(_HOMES):
            continue
        else:
            names[name] = asking(function)
        if names[name].__module__.startswith(_HOMES):  # it is pickled by the first place where programs find it
            names[name].__module__, names[name].__qualname__ = names["__name__"], name
        declared = REGISTRY.get(name) if main else None
        if declared is not None:  # an op under a function of its name: programs only know that
            PUBLIC[declared.function] = names[name]  # type: ignore[attr-defined]


def open_methods(cls: type) -> None:
    """Makes the methods of Tensor that are such functions the same objects as in the namespaces."""
    for home in cls.__mro__:
        for name, function in list(vars(home).items()):
            if isinstance(function, FunctionType) and function in PUBLIC and not name.startswith("_"):
                setattr(cls, name, PUBLIC[function])
