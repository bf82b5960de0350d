"""A program's own step as one XLA program: the step runs once, and all memory that it meets is taken for an input.

While a `Trace` is under way, a memory (`Store`) that is read for the first time is lifted: from then on it holds a
symbol of the program, and a note says where its value comes from at each call. What is written, and what is made, stays
in the memories as symbols too, until `finish` puts the old values back and returns what was traced.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jax.core import ShapedArray
from jax.extend import core

from flambeau.devices import CPU
from flambeau.engines.xla.array import _OWN, Store, XArray, _address
from flambeau.engines.xla.runtime import Tracer, jax, jnp, lifting, tracing, wide

__all__ = ["Fed", "HostStore", "Nested", "Trace", "Traced"]

_lift = core.Primitive("flambeau_lift")


@_lift.def_abstract_eval
def _(*, slot: int, aval: Any) -> Any:
    return aval


class HostStore(Store):
    """Memory of NumPy's that a traced step meets: `memory` shows it in C order."""

    __slots__ = ("memory",)

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.value = None
        self.device = CPU
        self.shape = memory.shape
        self.dtype = memory.dtype
        self.version = 0
        self._shadow = None

    def view_of(self, a: np.ndarray) -> XArray:
        """NumPy's array `a`, which lies in this memory, as one that can be lifted."""
        view = object.__new__(XArray)
        view.store = self
        view.shape = a.shape
        view.dtype = _OWN.get(self.dtype, self.dtype)
        view.base = view._shadow = view._plan = view._value = None
        view._seen = -1
        view.weak = False
        if not (a.flags.c_contiguous and a.flags.writeable and a.size == self.memory.size):
            offset = _address(a) - _address(self.memory) if a.size else 0
            view._shadow = np.ndarray(a.shape, self.dtype, self.shadow, max(offset, 0), a.strides)
            view._shadow.flags.writeable = a.flags.writeable
        return view


class Fed:
    """An input that is made anew for each call: an argument, numbers of an optimizer, random numbers."""

    def __init__(self, kind: str, number: int, made: Any) -> None:
        self.kind, self.number = kind, number
        self.shape, self.dtype = made.shape, np.dtype(made.dtype)


class Traced:
    """What a trace has found: a jaxpr of inputs to outputs, where inputs come from, and what is written."""

    def __init__(self, jaxpr: Any, sources: list[Any], outputs: int, written: list[Store], born: list[Store]) -> None:
        self.jaxpr = jaxpr  # closed; its results are the outputs, then the written memory, then what was born and lives
        self.sources = sources
        self.outputs = outputs
        self.written = written
        self.born = born


class Trace:
    """One run of a step under trace. `begin`, the step itself, `finish`: all inside of `run`."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.thread = threading.get_ident()
        self.slots: list[Any] = []
        self.symbols: list[Any] = []
        self.known: dict[Store, Any] = {}  # memory from before the step, and its value then
        self.births: list[Any] = []
        self.drawing = False  # random numbers are being drawn for it
        self._before: dict[Store, Any] | None = None

    # --- memory ---------------------------------------------------------------------------------------------------

    def read(self, store: Store) -> Any:
        """The value of a memory: a symbol."""
        value = store.value
        if threading.get_ident() != self.thread:
            return value
        if value.__class__ is np.ndarray:  # a constant that the step has made
            return jnp.asarray(value)
        if store in self.known or isinstance(value, Tracer):
            return value
        self.known[store] = value
        store.value = self.lift(store)
        store.version += 1
        return store.value

    def before_write(self, store: Store) -> None:
        """A memory is about to be replaced without having been read."""
        mine = isinstance(store.value, (Tracer, np.ndarray))  # made by the step
        if threading.get_ident() != self.thread:
            return
        if self._before is not None and store not in self._before:
            self._before[store] = self.read(store)
        elif not mine and store not in self.known:
            self.known[store] = store.value

    @contextmanager
    def writes(self) -> Iterator[dict[Store, Any]]:
        """Notes what is written inside: memories, with their values before."""
        outer, self._before = self._before, {}
        try:
            yield self._before
        finally:
            self._before = outer

    def born(self, store: Store) -> None:
        """A memory that the step makes."""
        if threading.get_ident() == self.thread:
            self.births.append(weakref.ref(store))

    def constant(self, array: np.ndarray, device: Any) -> XArray:
        """NumPy's array that the step makes, as one on a device; its values can be read until it is written."""
        made = XArray(np.ascontiguousarray(array).reshape(array.shape), device)
        return made

    def lift(self, source: Any) -> Any:
        """A symbol for an input that comes from `source`."""
        symbol = _lift.bind(slot=len(self.slots), aval=ShapedArray(tuple(source.shape), source.dtype))
        self.slots.append(source)
        self.symbols.append(symbol)
        return symbol

    def was_lifted(self, store: Store) -> bool:
        """Whether the program reads what the memory held before."""
        return any(source is store for source in self.slots)

    # --- the run --------------------------------------------------------------------------------------------------

    def run(self, step: Callable[[], Iterable[Any]], survivors: Callable[[list[Any]], list[Store]]) -> Traced:
        """Traces `step`, which returns JAX's values; `survivors` says, given weak references to the memory
        that was born, which of it gets a value.
        """
        found: dict[str, Any] = {}

        def body() -> tuple[Any, ...]:
            outputs = list(step())
            known = self.known
            born = survivors(self.births)
            lifted = {id(s): symbol for s, symbol in zip(self.slots, self.symbols)}
            written = [s for s in known if s.value is not None and s.value is not lifted.get(id(s), known[s])]
            found.update(outputs=len(outputs), written=written, born=born)
            return (*outputs, *(s.value for s in written), *(s.value for s in born))

        before = tracing.device, tracing.whole
        tracing.depth += 1
        tracing.device, tracing.whole = self.device, True
        lifting.trace = self
        try:
            with wide(True):
                closed = jax.make_jaxpr(body)()
        finally:
            lifting.trace = None
            tracing.depth -= 1
            tracing.device, tracing.whole = before
            self.restore()
        jaxpr, used = _lifted(closed)
        sources = [self.slots[i] for i in used]
        return Traced(jaxpr, sources, found["outputs"], found["written"], found["born"])

    def restore(self) -> None:
        """Puts the values back that memory had before."""
        for store, value in self.known.items():
            store.value = value
            store.version += 1
        self.symbols.clear()
        self.known.clear()


def _lifted(closed: Any) -> tuple[Any, list[int]]:
    """The jaxpr with its lifted symbols as inputs and without what nobody needs, and the slots of the inputs."""
    jaxpr = closed.jaxpr
    kept, live = _needed(jaxpr)
    slots = {e.params["slot"]: e.outvars[0] for e in kept if e.primitive is _lift}
    used = sorted(slots)
    consts = [(v, c) for v, c in zip(jaxpr.constvars, closed.consts) if v in live]
    made = jaxpr.replace(
        constvars=[v for v, _ in consts],
        invars=[slots[i] for i in used],
        eqns=[e for e in kept if e.primitive is not _lift],
        debug_info=_unnamed(jaxpr),
    )
    return core.ClosedJaxpr(made, [c for _, c in consts]), used


class Nested:
    """A part of a traced step as a program of its own: what it needs of the step becomes results of that one."""

    def __init__(self, function: Callable, inputs: list[tuple[tuple[int, ...], Any]]) -> None:
        closed = jax.make_jaxpr(function)(*[jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in inputs])
        jaxpr = closed.jaxpr
        kept, live = _needed(jaxpr)
        pairs = [(v, c) for v, c in zip(jaxpr.constvars, closed.consts) if v in live]
        outer = [(v, c) for v, c in pairs if isinstance(c, Tracer)]
        fixed = [(v, c) for v, c in pairs if not isinstance(c, Tracer)]
        self.residuals = [c for _, c in outer]
        self.jaxpr = core.ClosedJaxpr(
            jaxpr.replace(
                constvars=[v for v, _ in fixed],
                invars=[*(v for v, _ in outer), *jaxpr.invars],
                eqns=kept,
                debug_info=_unnamed(jaxpr),
            ),
            [c for _, c in fixed],
        )
        self._function = jax.jit(core.jaxpr_as_fun(self.jaxpr))

    def run(self, residuals: list[Any], inputs: list[Any]) -> Any:
        """One call."""
        with wide(True):
            return self._function(*residuals, *inputs)


def _needed(jaxpr: Any) -> tuple[list[Any], set[Any]]:
    """The equations on which results depend, and all that is read."""
    live = {v for v in jaxpr.outvars if isinstance(v, core.Var)}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or any(v in live for v in eqn.outvars):
            kept.append(eqn)
            live.update(v for v in eqn.invars if isinstance(v, core.Var))
    return kept[::-1], live


def _unnamed(jaxpr: Any) -> Any:
    return jaxpr.debug_info._replace(arg_names=None) if jaxpr.debug_info is not None else None


def is_symbol(value: Any) -> bool:
    """Whether a value belongs to a trace."""
    return isinstance(value, Tracer)
