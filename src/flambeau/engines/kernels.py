"""Sets of kernels: names that ops and their rules compute with.

A name is an engine's own kernel if it has one, else a formula over other kernels (an op's body, or a composite).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

#: Bodies of ops and composites by name: functions of a set of kernels and the operands.
FORMULAS: dict[str, Callable] = {}


class Kernels:
    """A namespace of kernels. Names are resolved once and then are attributes."""

    def find(self, name: str) -> Any:
        """The engine's own kernel, or None."""
        raise TypeError("a set of kernels belongs to an engine")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        kernel = self.find(name)
        if kernel is None:
            formula = FORMULAS.get(name)
            if formula is None:
                raise AttributeError(
                    f"{type(self).__name__} has no kernel '{name}', and no op or composite has this name"
                )
            kernel = functools.partial(formula, self)
        setattr(self, name, kernel)
        return kernel


class NumpyKernels(Kernels):
    """The kernels of the CPU."""

    def find(self, name: str) -> Any:
        engine = importlib.import_module("flambeau.engines.numpy")
        return engine._find(name)


CPU_KERNELS = NumpyKernels()
