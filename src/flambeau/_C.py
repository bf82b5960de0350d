"""The few names that programs take from PyTorch's compiled core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.random import Generator
from flambeau.tensor.size import Size
from flambeau.tensor.subclass import DisableTorchFunction, DisableTorchFunctionSubclass

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass", "Generator", "Size"]


def _disabled_torch_function_impl(func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
    """As a class's `__torch_function__`: its instances are treated as plain tensors."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


_disabled_torch_function_impl.disabled = True  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    if name == "_nn":  # the functions of nn.functional that are compiled in PyTorch
        from flambeau.nn import functional

        return functional
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def _get_tracing_state() -> None:
    """Nothing is ever traced."""


def _log_api_usage_once(*args: Any) -> None:
    """Nothing is logged."""
