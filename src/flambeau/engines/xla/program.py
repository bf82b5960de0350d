"""A traced step as one executable: inputs are fetched from where they live, results put where they belong.

State that the step writes is donated: XLA may put the new value into the old one's memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np
from jax.extend import core
from jax.sharding import SingleDeviceSharding

from flambeau.engines.xla.array import Store, XArray
from flambeau.engines.xla.layouts import agreed, agreeing, crowded, spread
from flambeau.engines.xla.packs import Pack, Packed, cut, join, suited
from flambeau.engines.xla.runtime import aligned, jax, jax_device, jnp, wide
from flambeau.engines.xla.small import at_once, in_wide, is_small
from flambeau.engines.xla.whole import Fed, HostStore, Traced

__all__ = ["Program"]

#: XLA's newer emitters take minutes for a step of many thousand operations, the older ones seconds.
_LONG = 3000
#: A program that has waited for its inputs so often is one that does.
_WAITS = 16
_FOR_LONG = {"xla_cpu_use_fusion_emitters": False}


def _references() -> int:
    """What `getrefcount` says of a value that only its memory and the list of a call's inputs have."""
    store = Store(np.zeros(1), None)
    return max(map(getrefcount, [store.value]))


_MINE = _references()
#: Newer than whatever a memory's version has been counted up to since the last one.
_versions = itertools.count(1 << 32, 1 << 32)


class Program:
    """An executable for a `Traced` step.

    Inputs come in three parts: memory on devices (`stores`), NumPy memory (`held`), and what is fed anew (`fed`).
    `steady`: by identity, memory that the step makes and that stays from call to call, which may be packed.
    """

    def __init__(self, traced: Traced, device: Any, steady: set[int] | None = None, donate: bool = True) -> None:
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
        self.donate = donate
        self.device = device
        self.steady = steady or set()
        #: what the executable takes, memories and packs of them: first those that it writes, and may have (`donated`)
        self.units: list[Any] = []
        self.donated = self.writable = 0  # a small program has none: new memory is there sooner than donated one
        self.gives: list[Any] = []  # what it writes: first what is a memory of a device by itself (`single`)
        self.single = 0
        self.packs: list[Pack] = []
        self.packed = 0  # how many packs there were when these were sorted out
        self._function: Any = None  # how it is run, once it is compiled
        self._executable: Any = None
        self._small = True  # it may be run in this thread, if there is little to do
        #: of a program that is run here, which inputs are numbers; memory that XLA reads them from, its array of that
        self._numbers: list[tuple[int, np.ndarray, Any]] = []
        self._waits = 0  # how often such a program had to wait for its inputs
        self._over_mesh = False
        self.like: dict[int, Any] = {}  # by number of a result, the memory whose sharding it takes

    # --- how memory is passed -------------------------------------------------------------------------------------

    def _pack(self) -> None:
        """Puts small memories together, by what happens to them, and lists what the executable takes and gives."""
        changed = {id(s) for s in self.targets}
        left = [s for i, s in enumerate(self.targets) if i >= self.fixed and id(s) in self.steady]
        written = [s for s in self.stores if id(s) in changed]
        kept = [s for s in self.stores if id(s) not in changed]
        # of a call in this thread each result is a large part, so what is only made goes with what is written
        parts = [kept, written + left] if self._is_small() else [kept, written, left]
        for stores in [group for part in parts for group in suited(part)]:
            Pack(stores)
        self.units = list(dict.fromkeys([s.home if s.__class__ is Packed else s for s in self.stores]))
        self.gives = list(dict.fromkeys([s.home if s.__class__ is Packed else s for s in self.targets]))
        fresh = {id(s) for s in left}
        for pack in self.gives:  # what the program does not write of a pack stays as it is
            if pack.__class__ is Pack and pack not in self.units and any(id(s) not in fresh for s in pack.stores):
                self.units.append(pack)
        mine = {id(u) for u in self.gives} if self.donate else set()
        self.units.sort(key=lambda u: id(u) not in mine)
        self.gives.sort(key=lambda u: u.__class__ is not Store)
        self.donated = self.writable = sum(id(u) in mine for u in self.units)
        self.single = sum(u.__class__ is Store for u in self.gives)
        self.packs = [u for u in self.units if u.__class__ is Pack]
        self.packed = Pack.made

    def _is_small(self) -> bool:
        """Whether it had better run in this thread."""
        return self._small and self.device.type in ("cpu", "xla") and is_small(self.jaxpr.jaxpr)

    def _sorted_out(self) -> bool:
        """Whether no memory has become part of a pack since they were sorted out, by another program."""
        self.packed = Pack.made
        return not any(u.__class__ is Packed for part in (self.units, self.gives) for u in part)

    def _step(self) -> Any:
        """The traced step as a function of the units."""
        evaluate = core.jaxpr_as_fun(self.jaxpr)
        back = np.argsort(self._order).tolist()
        count, units, gives = len(self.units), list(self.units), list(self.gives)
        stores, targets = list(self.stores), list(self.targets)
        outputs = self.outputs

        def step(*given: Any) -> Any:
            values: dict[int, Any] = {}
            for unit, value in zip(units, given):
                if unit.__class__ is Pack:
                    values.update((id(s), v) for s, v in zip(unit.stores, cut(unit.shapes, value)))
                else:
                    values[id(unit)] = value
            inputs = [*(values[id(s)] for s in stores), *given[count:]]
            results = evaluate(*[inputs[i] for i in back])
            values.update((id(t), v) for t, v in zip(targets, results[outputs:]))
            made = [join([values[id(s)] for s in u.stores]) if u.__class__ is Pack else values[id(u)] for u in gives]
            return (*results[:outputs], *made)

        return step

    def _compile(self, values: Sequence[Any]) -> Any:
        options: dict[str, Any] = {}
        placed = [v for v in values if isinstance(v, jax.Array) and v.committed]
        if not placed:
            one = SingleDeviceSharding(jax_device(self.device))
            options = dict(in_shardings=one, out_shardings=one)
        elif any(len(v.sharding.device_set) > 1 for v in placed):
            options = dict(out_shardings=self._shardings(values))
        if self.device.type in ("cpu", "xla") and len(self.jaxpr.jaxpr.eqns) > _LONG:
            options["compiler_options"] = _FOR_LONG
        return jax.jit(self._step(), donate_argnums=tuple(range(self.writable)), **options)

    def _compiled_small(self, values: Sequence[Any]) -> bool:
        """Compiles a program that had better run in this thread; False for others."""
        if not self._is_small():
            return False
        where = jax_device(self.device)
        if any(isinstance(v, jax.Array) and v.devices() != {where} for v in values):
            return False
        numbers, given, one = self._own_numbers(values), list(values), SingleDeviceSharding(where)
        for at, _, array in numbers:
            given[at] = array
        executable = at_once(self._step(), given, in_shardings=one, out_shardings=one)
        if executable is None:
            return False
        self._function, self._executable, self._numbers, self.donated = Program._run_small, executable, numbers, 0
        return True

    def _shardings(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """State that is written keeps its sharding; of other results XLA decides."""
        mine = {id(u): v.sharding for u, v in zip(self.units, values) if isinstance(v, jax.Array)}
        found: list[Any] = [None] * (self.outputs + len(self.gives))
        places = {id(t): self.outputs + i for i, t in enumerate(self.targets)}
        for i, target in enumerate(self.gives):
            known = self.like.get(places.get(id(target), -1), target)
            found[self.outputs + i] = mine.get(id(known))
        return tuple(found)

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

    def give_to(self, at: int, store: Store) -> None:
        """Has the result of that number go to another memory from now on."""
        old = self.targets[at]
        if store is old:
            return
        self.targets[at] = store
        if old in self.gives and store.__class__ is old.__class__:
            self.gives[self.gives.index(old)] = store
        else:
            self._function = None

    def table(self, number: int) -> list[str]:
        """What the program is made of, in words."""
        eqns = self.jaxpr.jaxpr.eqns
        sizes = [s.dtype.itemsize * int(np.prod(s.shape)) for s in (*self.stores, *self.targets)]
        lines = [
            f"program {number}: {len(eqns)} operations; {len(self.stores) + len(self.held)} tensors in, "
            f"{len(self.targets)} out, {len(self.fed)} fed; {self.donated} of {len(self.units)} inputs donated",
            f"    {'operation':<32} {'calls':>6}",
        ]
        counts = Counter(str(e.params.get("name", e.primitive)) for e in eqns)
        lines += [f"    {name:<32} {count:>6}" for name, count in counts.most_common(12)]
        return [*lines, f"  memory: {sum(sizes) / 2**20:.1f} MiB of state and gradients"]

    def lowered(self, fed: Sequence[Any]) -> Any:
        """JAX's lowering of the program on the inputs as they are now."""
        values = [*(u.value for u in self.units), *self.held, *fed]
        with wide(True):
            return self._compile(values).lower(*values)

    def run(self, fed: Sequence[Any]) -> Sequence[Any]:
        """One call: the outputs. `fed` has the values for `self.fed`."""
        function = self._function
        if self.packed != Pack.made and not self._sorted_out():
            function = self._function = None
        if function is None:
            self._pack()
        for pack in self.packs:
            if pack.touched:
                pack.settle()
        values = [unit.value for unit in self.units]
        if self.donated and max(map(getrefcount, values[: self.donated])) > _MINE + 1:
            self._keep(values)
        values += self.held
        values += fed
        return self._put(self._compiled(values) if function is None else function(self, values))

    def _keep(self, values: list[Any]) -> None:
        """Donates copies of what somebody else has."""
        for i in range(self.donated):
            if getrefcount(values[i]) > _MINE:
                values[i] = jnp.copy(values[i])

    def _run_wide(self, values: list[Any]) -> Sequence[Any]:
        """The results of the executable, which may be of 64-bit types, or spread over a mesh."""
        with wide(True):
            if self._over_mesh:  # what is on one device joins in whole
                values = agreed(values)
            try:
                return agreeing(self._executable, values) if crowded else self._executable(*values)
            except ValueError:  # operands that lie apart
                return agreeing(self._executable, values)

    def _run_small(self, values: list[Any]) -> Sequence[Any]:
        """The results of an executable that runs in this thread."""
        numbers = self._numbers
        for at, memory, array in numbers:
            memory[...] = values[at]
            values[at] = array
        try:
            results = self._executable(*values)
        except ValueError:  # operands that lie elsewhere than they did
            for at, memory, _ in numbers:
                values[at] = memory.copy()
            self._small, self.donated = False, self.writable
            self._keep(values)
            return self._compiled(values)
        if numbers and not results[0].is_ready():  # it waits for an operand, and has yet to read them
            self._waits += 1
            if self._waits < _WAITS:
                self._numbers = self._own_numbers(values)
            else:
                self._numbers, self._executable = [], in_wide(self._executable)
        return results

    def _own_numbers(self, values: Sequence[Any]) -> list[tuple[int, np.ndarray, Any]]:
        """Memory for an optimizer's numbers, which XLA's CPU reads where they are: to hand it an array of NumPy's takes
        longer than a small step's arithmetic.
        """
        first, found = len(self.units) + len(self.held), []
        for at, fed in enumerate(self.fed, first):
            if fed.kind == "numbers":
                memory = aligned(np.asarray(values[at]))
                with wide(True):
                    array = jax.device_put(memory, jax_device(self.device))
                if array.unsafe_buffer_pointer() == memory.__array_interface__["data"][0]:
                    found.append((at, memory, array))
        return found

    def _put(self, results: Sequence[Any]) -> Sequence[Any]:
        """Gives memory what the executable has made; returns the outputs."""
        count = rest = self.outputs
        if self.single:
            rest, version = count + self.single, next(_versions)
            for store, new in zip(self.gives, results[count:rest]):
                store.value = new
                store.version = version
        for unit, new in zip(self.gives[self.single :], results[rest:]):
            if unit.__class__ is Pack:
                unit.replace(new)
            else:
                np.copyto(unit.memory, np.asarray(new))
        return results[:count]

    def _compiled(self, values: list[Any]) -> Sequence[Any]:
        """The first results for inputs like these, committed to their device, as its own results will be, so that it is
        compiled once.
        """
        with wide(True):
            self._over_mesh = any(spread(v) is not None for v in values)
            if self._over_mesh:
                values = agreed(values)
            values = [jax.device_put(v, v.sharding) if _is_loose(v) else v for v in values]
            if self._over_mesh or not self._compiled_small(values):
                self._function, self._executable = Program._run_wide, self._compile(values)
        return self._function(self, values)


def _is_loose(value: Any) -> bool:
    return isinstance(value, jax.Array) and not value.committed


def _part(source: Any) -> int:
    return 2 if source.__class__ is Fed else 1 if source.__class__ is HostStore else 0
