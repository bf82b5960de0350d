"""The few names that programs take from PyTorch's compiled core."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.devices import device
from flambeau.ops.asking import overrides
from flambeau.random import Generator
from flambeau.tensor.size import Size
from flambeau.tensor.subclass import DisableTorchFunction, DisableTorchFunctionSubclass

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass", "Generator", "Size"]


def _disabled_torch_function_impl(func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
    """As a class's `__torch_function__`: its instances are treated as plain tensors."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


_disabled_torch_function_impl.disabled = True  # type: ignore[attr-defined]


class _Functions:
    """The functions of nn.functional that are compiled in PyTorch, and how it reads the arguments of `Module.to`."""

    def __getattr__(self, name: str) -> Any:
        from flambeau.nn import functional
        from flambeau.nn.modules.module import _parse_to

        return _parse_to if name == "_parse_to" else getattr(functional, name)


_nn = _Functions()


def __getattr__(name: str) -> Any:
    from flambeau import missing

    late = _LATE.get(name)
    if late is not None:
        found = getattr(importlib.import_module(f"flambeau.{late[0]}"), late[1])
        return type(found) if name == "_TensorMeta" else found
    if name.startswith(("_jit_set_", "_jit_override_")):  # switches of a compiler that is not here
        return _switch
    if importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(missing.message(name, sys.modules[__name__]), name=name, obj=None)


#: Names whose home is elsewhere here, and which few programs ask for.
_LATE = {
    "Future": ("futures", "Future"),
    "_LinAlgError": ("linalg", "LinAlgError"),
    "_TensorBase": ("tensor.tensor", "Tensor"),
    "_TensorMeta": ("tensor.tensor", "Tensor"),
    "_get_default_device": ("settings", "get_default_device"),
    "_set_grad_enabled": ("autograd.runtime", "set_grad_enabled"),
}


def _switch(*args: Any, **kwargs: Any) -> bool:
    """A switch of PyTorch's script compiler, said to have been off."""
    return False


def _are_functorch_transforms_active() -> bool:
    """Whether a `vmap`, `grad` or `jvp` of `torch.func` is running."""
    return bool(NS["LEVELS"])


def _is_torch_function_mode_enabled() -> bool:
    """Whether a `TorchFunctionMode` is active."""
    return bool(overrides.functions)


def _get_privateuse1_backend_name() -> str:
    """The name of a device that an extension brings: none has been given."""
    return "privateuseone"


def _get_accelerator(check: bool = False) -> Any:
    """The device of this machine's accelerator: the CPU where programs see none."""
    return device("cpu")


def _get_cudnn_enabled() -> bool:
    """Whether cuDNN may be used."""
    from flambeau.backends import cudnn

    return bool(cudnn.enabled)


def _is_alias_of(data: Any, other: Any) -> bool:
    """Whether two tensors show one memory."""
    return data.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _get_tracing_state() -> None:
    """Nothing is ever traced."""


def _log_api_usage_once(*args: Any) -> None:
    """Nothing is logged."""
