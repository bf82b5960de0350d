"""A traced step as one executable: inputs are fetched from where they live, results put where they belong.

State that the step writes is donated: XLA may put the new value into the old one's memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np
from jax.extend import core
from jax.sharding import SingleDeviceSharding

from flambeau.engines.xla.array import Store, XArray
from flambeau.engines.xla.runtime import jax, jax_device, jnp, wide
from flambeau.engines.xla.whole import Fed, HostStore, Traced

__all__ = ["Program"]

_MINE = 4  # references to a value that only its store has: the store's, the list's, the loop's, getrefcount's


class Program:
    """An executable for a `Traced` step.

    Inputs come in three parts: memory on devices (`stores`), NumPy memory (`held`), and what is fed anew (`fed`).
    """

    def __init__(self, traced: Traced, device: Any, donate: bool = True) -> None:
        sources = traced.sources
        order = sorted(range(len(sources)), key=lambda i: _part(sources[i]))
        sources = [sources[i] for i in order]
        self.stores: list[Store] = [s for s in sources if _part(s) == 0]
        self.held: list[np.ndarray] = [s.memory for s in sources if _part(s) == 1]
        self.fed: list[Fed] = [s for s in sources if _part(s) == 2]
        self.outputs = traced.outputs
        #: memory that gets a new value, in the order of the results after the outputs
        self.targets: list[Store] = [*traced.written, *traced.born]
        self.fixed = len(traced.written)
        self._order = order
        self.jaxpr = traced.jaxpr
        changed = {id(s) for s in traced.written}
        self.donated = [i for i, s in enumerate(self.stores) if id(s) in changed] if donate else []
        self.device = device
        self._function: Any = None
        self.like: dict[int, Any] = {}  # by number of a result, the memory whose sharding it takes

    def _compile(self, values: Sequence[Any]) -> Any:
        evaluate = core.jaxpr_as_fun(self.jaxpr)
        back = np.argsort(self._order).tolist()

        def step(*given: Any) -> Any:
            return evaluate(*[given[i] for i in back])

        options: dict[str, Any] = {}
        placed = [v for v in values if isinstance(v, jax.Array) and v.committed]
        if not placed:
            one = SingleDeviceSharding(jax_device(self.device))
            options = dict(in_shardings=one, out_shardings=one)
        elif any(len(v.sharding.device_set) > 1 for v in placed):
            options = dict(out_shardings=self._shardings(values))
        return jax.jit(step, donate_argnums=tuple(self.donated), **options)

    def _shardings(self, values: Sequence[Any]) -> list[Any]:
        """State that is written keeps its sharding; of other results XLA decides."""
        mine = {id(s): v.sharding for s, v in zip(self.stores, values) if isinstance(v, jax.Array)}
        found: list[Any] = [None] * len(self.jaxpr.out_avals)
        for i, target in enumerate(self.targets):
            at = self.outputs + i
            found[at] = mine.get(id(self.like.get(at, target)))
        return found

    def places(self) -> list[Any]:
        """Where the memory is that the program reads, to be compared."""
        return [*map(id, self.stores), *((m.__array_interface__["data"][0], m.shape) for m in self.held)]

    def target_of(self, array: Any) -> int | None:
        """The number of the memory among `targets` that an array shows."""
        if array.__class__ is XArray:
            return next((i for i, s in enumerate(self.targets) if s is array.store), None)
        bases = (array, array.base)
        return next(
            (i for i, s in enumerate(self.targets) if s.__class__ is HostStore and any(b is s.memory for b in bases)),
            None,
        )

    def lowered(self, fed: Sequence[Any]) -> Any:
        """JAX's lowering of the program on the inputs as they are now."""
        values = [*(s.value for s in self.stores), *self.held, *fed]
        with wide(True):
            return self._compile(values).lower(*values)

    def run(self, fed: Sequence[Any]) -> list[Any]:
        """One call: the outputs. `fed` has the values for `self.fed`."""
        values = [s.value for s in self.stores]
        for i in self.donated:
            value = values[i]
            if getrefcount(value) > _MINE:  # somebody else has this very value
                values[i] = jnp.copy(value)
        values += self.held
        values += fed
        function = self._function
        value = None
        with wide(True):
            if function is None:
                function = self._function = self._compile(values)
            results = function(*values)
        count = self.outputs
        for store, new in zip(self.targets, results[count:]):
            if store.__class__ is HostStore:
                np.copyto(store.memory, np.asarray(new))
            else:
                store.value = new
                store.version += 1
        return results[:count]


def _part(source: Any) -> int:
    return 2 if source.__class__ is Fed else 1 if source.__class__ is HostStore else 0
