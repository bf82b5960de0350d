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
        self._orig_mod = module
        self.training = module.training
        object.__setattr__(self, "_compiled", compiled_by(backend, module, fallback))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def train(self, mode: bool = True) -> Any:
        self.training = mode
        self._orig_mod.train(mode)
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "_orig_mod":
                raise
            return getattr(self._orig_mod, name)
