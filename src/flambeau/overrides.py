"""`__torch_function__` for functions of one's own, as `torch.overrides` has it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from flambeau.autograd.runtime import watch
from flambeau.ops.asking import call_modes, call_overrides, overrides
from flambeau.ops.swapping import Swap
from flambeau.tensor.tensor import Tensor

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "enable_reentrant_dispatch",
    "get_default_nowrap_functions",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
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


#: Functions that make tensors of none: no argument's class is asked about them, but a mode is.
_FACTORIES = (
    "arange as_tensor asarray empty empty_strided eye from_numpy frombuffer full linspace logspace ones rand randint "
    "randn randperm range scalar_tensor tensor zeros tril_indices triu_indices"
).split()
_entered = 0


class _Asked(Swap):
    """A factory that asks the modes of its thread first."""

    def run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if overrides.functions:
            return call_modes(self.function, args, kwargs)
        return self.original(*args, **kwargs)


@functools.cache
def _factories() -> list[_Asked]:
    import flambeau

    return [_Asked(getattr(flambeau, name)) for name in _FACTORIES]


class TorchFunctionMode:
    """A context in which `__torch_function__(func, types, args, kwargs)` of the mode is asked about every function of
    tensors, those that make tensors among them. Inside of it the mode is off, so `func(*args, **kwargs)` runs it.

    >>> import flambeau as torch
    >>> class Names(torch.overrides.TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return func(*args, **(kwargs or {}))
    >>> with Names():
    ...     x = torch.relu(torch.ones(2))
    ones
    relu
    """

    inner: TorchFunctionMode | None = None

    def __init__(self) -> None:
        pass

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """Computes the function. To be overridden."""
        raise NotImplementedError("a TorchFunctionMode must define __torch_function__(self, func, types, args, kwargs)")

    def __enter__(self) -> TorchFunctionMode:
        global _entered
        overrides.functions = (*overrides.functions, self)
        watch(True)
        _entered += 1
        if _entered == 1:
            for factory in _factories():
                factory.install()
        return self

    def __exit__(self, *error: object) -> None:
        global _entered
        overrides.functions = overrides.functions[:-1]
        watch(False)
        _entered -= 1
        if _entered == 0:
            for factory in _factories():
                factory.restore()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> TorchFunctionMode:
        """An older way to make one for `with`."""
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that runs every function as it is."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _get_current_function_mode_stack() -> list[Any]:
    """The modes that are on, the innermost last."""
    return list(overrides.functions)


@contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """Nothing to do: `__torch_dispatch__` may run functions of tensors at any time."""
    yield


def get_ignored_functions() -> set[Callable]:
    """Functions about which no argument's class is asked."""
    import flambeau

    return {getattr(flambeau, name) for name in [*_FACTORIES, "is_tensor", "is_storage", "set_printoptions"]}


def get_default_nowrap_functions() -> set[Callable]:
    """Functions whose results keep their class."""
    return set()


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """By namespace, the functions about which the classes of their arguments are asked."""
    import flambeau

    ignored = get_ignored_functions()
    found: dict[Any, list[Callable]] = {}
    for space in (flambeau, flambeau.nn.functional, flambeau.linalg, flambeau.special, flambeau.fft, Tensor):
        functions: list[Callable] = [
            value
            for name, value in sorted(vars(space).items())
            if isinstance(value, FunctionType) and not name.startswith("_") and value not in ignored
        ]
        found[space] = functions
    return found


def get_testing_overrides() -> dict[Callable, Callable]:
    """For each overridable function one of the same parameters that gives -1."""

    def stand_in(function: Callable) -> Callable:
        def give(*args: Any, **kwargs: Any) -> int:
            return -1

        give.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return give

    return {f: stand_in(f) for functions in get_overridable_functions().values() for f in functions}
