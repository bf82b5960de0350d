"""Parameters that are functions of other parameters: `register_parametrization`."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.nn._core import Tensor, no_grad
from flambeau.nn.modules.container import ModuleDict, ModuleList
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache_depth = 0
_cache: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Inside, every parametrized tensor is computed once and then reused."""
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if not _cache_depth:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The functions of one parametrized tensor, first to last, and what the first of them takes.

    That is `original`, or `original0`, `original1`, ... if its `right_inverse` returns several tensors.
    """

    original: Any

    def __init__(self, modules: Any, original: Any, unsafe: bool = False) -> None:
        modules = list(modules)
        if not modules:
            raise ValueError("ParametrizationList: expected at least one module")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            values = _inverse(modules, original)
        self.is_tensor = isinstance(values, Tensor)
        self.ntensors = 1 if self.is_tensor else len(values)
        if self.is_tensor:
            _check_alike(original, values, "right_inverse", shape=False)
            with no_grad():
                original.data = values  # the same object, so that optimizers keep it
            _register(self, "original", original)
        else:
            for i, value in enumerate(values):
                if not isinstance(value, Tensor):
                    raise ValueError(f"right_inverse must return tensors, got {type(value).__name__} at position {i}")
                value = Parameter(value) if isinstance(original, Parameter) else value
                value.requires_grad_(original.requires_grad)
                _register(self, f"original{i}", value)

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the functions give `value`. RuntimeError if one has no `right_inverse`."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"{type(module).__name__} has no right_inverse: the tensor can't be assigned")
                value = module.right_inverse(value)
            originals = (
                [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]
            )
            values = [value] if self.is_tensor else list(value)
            if len(values) != len(originals):
                raise ValueError(f"right_inverse returned {len(values)} tensors, expected {len(originals)}")
            for old, new in zip(originals, values, strict=True):
                old.data = new

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        functions = iter(self)
        if self.is_tensor:
            x = next(functions)(self.original)
        else:
            x = next(functions)(*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        for function in functions:
            x = function(x)
        return x


def _inverse(modules: list[Any], value: Any) -> Any:
    for module in reversed(modules):
        if hasattr(module, "right_inverse"):
            with contextlib.suppress(NotImplementedError):  # it may not exist, then the value starts as it is
                value = module.right_inverse(value)
    return value


def _register(module: Module, name: str, value: Any) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _check_alike(old: Any, new: Any, what: str, shape: bool = True) -> None:
    if not isinstance(new, Tensor) or new.dtype != old.dtype or (shape and new.shape != old.shape):
        got = f"{tuple(new.shape)} of {new.dtype}" if isinstance(new, Tensor) else type(new).__name__
        raise ValueError(f"{what} must keep the tensor {tuple(old.shape)} of {old.dtype}, got {got} (see unsafe=True)")


def _inject(module: Module) -> None:
    """Give `module` a class of its own, which can hold properties."""
    cls = type(module)

    def __deepcopy__(self: Any, memo: dict) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        replica = self.__new__(self.__class__)
        memo[id(self)] = replica
        replica.__dict__ = copy.deepcopy(self.__dict__, memo)
        return replica

    def __getstate__(self: Any) -> Any:
        raise RuntimeError("a parametrized module is not pickled: save its state_dict()")

    body: dict[str, Any] = {"__getstate__": __getstate__}
    if not hasattr(cls, "__deepcopy__"):
        body["__deepcopy__"] = __deepcopy__
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), body)
    module.parametrizations = ModuleDict()


def _add_property(module: Module, name: str) -> None:
    def get(self: Any) -> Any:
        functions = self.parametrizations[name]
        if not _cache_depth:
            return functions()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = functions()
        return _cache[key]

    def set(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """From now on `module.<tensor_name>` is `parametrization(original)`, computed whenever it is read.

    The original becomes `module.parametrizations.<tensor_name>.original`. If the parametrization has a method
    `right_inverse`, the original starts as that of the present value, and the attribute can be assigned. A second one
    acts on the result of the first. The shape and dtype must stay unless `unsafe`.

    ValueError if there is no such parameter or buffer, or shape or dtype change.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        with no_grad():
            value = getattr(module, tensor_name)
            if not unsafe:
                _check_alike(value, parametrization(value), "a parametrization")
        functions = module.parametrizations[tensor_name]
        if hasattr(parametrization, "right_inverse"):
            functions.right_inverse(parametrization.right_inverse(value))
        functions.append(parametrization)
        functions.unsafe |= unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    before = original.detach().clone()
    functions = ParametrizationList([parametrization], original, unsafe=unsafe)
    if not unsafe:
        with no_grad():
            _check_alike(before, functions(), "a parametrization")
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _inject(module)
    _add_property(module, tensor_name)
    module.parametrizations[tensor_name] = functions
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether `module` has parametrizations (of `tensor_name`)."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `module.<tensor_name>` an ordinary parameter or buffer again: its present value, or (with
    `leave_parametrized=False`) its original. ValueError if it is not parametrized or has several originals to leave."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: '{tensor_name}' of {type(module).__name__} is not parametrized")
    functions = module.parametrizations[tensor_name]
    if functions.is_tensor:
        original = functions.original
        if leave_parametrized:
            with no_grad():
                original.data = getattr(module, tensor_name).detach().clone()
    elif leave_parametrized:
        value = getattr(module, tensor_name).detach().clone()
        original = Parameter(value) if isinstance(functions._parameters.get("original0"), Parameter) else value
    else:
        raise ValueError("remove_parametrizations: leave_parametrized=False needs a single original")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of `module` without its parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrize `to_module` as `from_module` is (only `tensor_name`, if given), by the same functions and originals.

    Tensors that `to_module` lacks are made. Returns `to_module`.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in from_module.parametrizations if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        source = from_module.parametrizations[name]
        for function in source:
            register_parametrization(to_module, name, function)
        target = to_module.parametrizations[name]
        for original in ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(target, original, getattr(source, original))
    return to_module
