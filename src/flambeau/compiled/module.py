"""A compiled module: the module itself, whose calls go through plans."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.module import Module

from .front import compiled_by

__all__ = ["OptimizedModule"]


class OptimizedModule(Module):
    """What `compile` returns for a module: attributes are the module's own.

    It holds the module as `_orig_mod`, as PyTorch's does, so that its parameters have the names `_orig_mod....`.
    """

    def __init__(self, module: Module, fallback: bool = False, backend: Any = "inductor") -> None:
        super().__init__()
        super().__setattr__("_orig_mod", module)
        super().__setattr__("training", module.training)
        self._compile(fallback, backend)

    def _compile(self, fallback: bool, backend: Any) -> None:
        self.__dict__["_how"] = fallback, backend
        self.__dict__["_compiled"] = compiled_by(backend, self._orig_mod, fallback)

    def __getstate__(self) -> dict:
        return {name: value for name, value in super().__getstate__().items() if name != "_compiled"}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._compile(*self.__dict__["_how"])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def train(self, mode: bool = True) -> Any:
        super().__setattr__("training", mode)
        self._orig_mod.train(mode)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._orig_mod, name, value)
        if name == "training":
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "_orig_mod":
                raise
            return getattr(self._orig_mod, name)
