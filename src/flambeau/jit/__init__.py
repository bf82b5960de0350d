"""`torch.jit`: tracing records programs, which are saved and loaded without the model's code. Scripting leaves
everything ordinary Python: functions are returned as they are, modules as script modules that run the original's code.
"""

from __future__ import annotations

import builtins
import functools
import types
import typing
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from flambeau._jit_internal import _overload, _overload_method, export, ignore, is_scripting, unused
from flambeau.jit.modules import RecursiveScriptModule, ScriptModule, TopLevelTracedModule, taken_over
from flambeau.jit.tracing import (
    ScriptFunction,
    TracerWarning,
    is_tracing,
    load,
    save,
    trace,
    trace_module,
)
from flambeau.nn.modules.module import Module

__all__ = [
    "Attribute",
    "Error",
    "Final",
    "Future",
    "RecursiveScriptModule",
    "ScriptFunction",
    "ScriptModule",
    "TopLevelTracedModule",
    "TracerWarning",
    "annotate",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "optimize_for_inference",
    "optimized_execution",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "strict_fusion",
    "trace",
    "trace_module",
    "unused",
    "wait",
]

_T = TypeVar("_T")


class Error(RuntimeError):
    """What a script raises in PyTorch; never raised here."""


class Attribute(NamedTuple):
    """A value and its declared type."""

    value: Any
    type: Any


def script(obj: _T, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> _T:
    """Returns a module as a `ScriptModule` with the same parameters, and functions and classes as they are.

    >>> import flambeau as torch
    >>> @torch.jit.script
    ... def twice(x):
    ...     return x + x
    >>> twice(torch.ones(1))
    tensor([2.])
    """
    return taken_over(obj, RecursiveScriptModule)


def script_method(fn: _T) -> _T:
    """Returns the method as it is."""
    return fn


def script_if_tracing(fn: _T) -> _T:
    """Returns the function as it is."""
    return fn


def freeze(mod: Module, preserved_attrs: list[str] | None = None, optimize_numerics: bool = True) -> Module:
    """Returns the module as it is. RuntimeError if it is in training mode."""
    if getattr(mod, "training", False):
        raise RuntimeError("freeze: the module is in training mode: call eval() first")
    return mod


def optimize_for_inference(mod: Module, other_methods: list[str] | None = None) -> Module:
    """Returns the module as it is."""
    return mod


@contextmanager
def optimized_execution(should_optimize: bool) -> typing.Iterator[None]:
    """Changes nothing."""
    yield


class strict_fusion:
    """Changes nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


def annotate(the_type: Any, the_value: _T) -> _T:
    """Returns the value."""
    return the_value


def interface(obj: _T) -> _T:
    """Returns the class as it is."""
    return obj


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether `obj` is of a type that may be generic: `list[int]`, `dict[str, Tensor]`, `Optional[Tensor]`, tuples of
    them.

    >>> isinstance([1, 2], list[int]), isinstance([1, "a"], list[int])
    (True, False)
    """
    if type(target_type) is tuple:
        return any(isinstance(obj, t) for t in target_type)
    origin, inner = typing.get_origin(target_type), typing.get_args(target_type)
    if target_type is Any:
        return True
    if origin is None:
        return builtins.isinstance(obj, type(None) if target_type is None else target_type)
    if origin is typing.Union or origin is types.UnionType:
        return any(isinstance(obj, t) for t in inner)
    if not builtins.isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, inner[0]) and isinstance(v, inner[1]) for k, v in obj.items())
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return len(obj) == len(inner) and all(isinstance(v, t) for v, t in zip(obj, inner, strict=True))
    return all(isinstance(v, inner[0]) for v in obj) if inner else True


class Future:
    """The result of a call that `fork` made."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def wait(self) -> Any:
        """The result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """True."""
        return True


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """Calls the function at once and keeps its result."""
    return Future(functools.partial(func, *args, **kwargs)())


def wait(future: Future) -> Any:
    """The result of a `fork`."""
    return future.wait()


_ALSO = (_overload, _overload_method)
