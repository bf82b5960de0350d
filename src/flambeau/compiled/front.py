"""Which way a step is compiled: as a plan of native calls, or as a program of XLA's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.engines.arrays import FOREIGN

from .arguments import flatten, objects_in
from .state import Watched
from .step import Compiled

__all__ = ["compiled_by"]


def compiled_by(backend: Any, function: Callable, fallback: bool) -> Any:
    """The compiled function for a backend's name: `xla`, or any other for what suits the step's tensors."""
    return by_xla(function, fallback) if backend == "xla" else Chosen(function, fallback)


def by_xla(function: Callable, fallback: bool) -> Any:
    """The function compiled by XLA; DeviceError where JAX is not installed."""
    from .xla.step import WholeCompiled

    return WholeCompiled(function, fallback)


class Chosen(Compiled):
    """A plan, unless the step's tensors are on a device of JAX's: that is seen at the first call."""

    #: What does the calls, once that is chosen.
    chosen: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.chosen is None:
            self.chosen = self._choose(args, kwargs)
        return self.chosen(*args, **kwargs)

    def _choose(self, args: tuple, kwargs: dict) -> Any:
        if FOREIGN:
            leaves: list[Any] = []
            flatten((args, kwargs), leaves)
            watched = Watched(self.function, roots=objects_in((args, kwargs)))
            if any(t._a.__class__ in FOREIGN for t in (*leaves, *watched.in_sight())):
                return by_xla(self.function, self.fallback)
        return functools.partial(Compiled.__call__, self)

    def _compiled_method(self, method: Callable) -> Compiled:
        return Chosen(method, self.fallback)

    def explain(self) -> str:
        return self.chosen.explain() if isinstance(self.chosen, Compiled) else super().explain()
