"""Modules that `torch.jit` has taken over: they run the Python code of the module that they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flambeau.nn.modules.module import Module
from flambeau.pytree import tree_map
from flambeau.tensor.tensor import Tensor

__all__ = ["RecursiveScriptModule", "ScriptModule", "TopLevelTracedModule", "taken_over"]


class ScriptModule(Module):
    """A Module; subclasses written for PyTorch's script compiler run as they are."""


class RecursiveScriptModule(ScriptModule):
    """A module and its descendants, taken over. Parameters, buffers and attributes are the original's.

    A call runs the original as a whole: hooks on this module see it, hooks on its descendants do not, since in
    PyTorch nothing calls those one by one either.
    """

    _original: Module

    def __init__(self, original: Module) -> None:
        super().__init__()
        own = self.__dict__
        own["_original"] = original
        for name in ("_parameters", "_buffers", "_non_persistent_buffers_set"):
            own[name] = original.__dict__[name]
        own["_modules"] = type(original._modules)(
            (name, None if child is None else taken_over(child, RecursiveScriptModule))
            for name, child in original._modules.items()
        )

    @property
    def training(self) -> bool:  # type: ignore[override]
        """The original's mode."""
        original = self.__dict__.get("_original")
        return True if original is None else original.training

    @training.setter
    def training(self, mode: bool) -> None:
        original = self.__dict__.get("_original")
        if original is not None:
            original.training = mode

    @property
    def original_name(self) -> str:
        """The name of the original's class."""
        return getattr(self._original, "original_name", type(self._original).__name__)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the original returns. The first call's arguments are kept: `save` needs an example."""
        if "_example" not in self.__dict__:
            self.__dict__["_example"] = tree_map(_without_history, (args, kwargs))
        return self._original(*args, **kwargs)

    def save(self, f: Any, **kwargs: Any) -> None:
        """`torch.jit.save` of this module."""
        from flambeau.jit.tracing import save

        save(self, f, **kwargs)

    def extra_repr(self) -> str:
        """The name of the original's class."""
        return f"original_name={self.original_name}"

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self._original._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self._original._load_from_state_dict(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            original = self.__dict__.get("_original")
            if original is None:
                raise
            return getattr(original, name)

    def __setattr__(self, name: str, value: Any) -> None:
        original = self.__dict__.get("_original")
        if original is not None and name not in self.__dict__ and name != "training" and hasattr(original, name):
            setattr(original, name, value)
            if name in self._modules:
                self._modules[name] = taken_over(value, RecursiveScriptModule)
            return
        super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator:
        return iter(self._modules) if hasattr(self._original, "keys") else iter(self._modules.values())

    def __contains__(self, key: Any) -> bool:
        return key in self._modules

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._modules[index]
        return list(self._modules.values())[index]


class TopLevelTracedModule(RecursiveScriptModule):
    """What `torch.jit.trace` makes of a module."""


def _without_history(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def taken_over(module: Any, kind: type) -> Any:
    """`module` as one of that kind; itself if it is a script module already, or no module."""
    return kind(module) if isinstance(module, Module) and not isinstance(module, ScriptModule) else module
