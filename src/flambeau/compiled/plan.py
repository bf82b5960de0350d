"""A plan: the captured calls, ready to be replayed without the program.

A call of NumPy's is kept with its operands and where its result belongs. Native calls that follow each other, shared by
the cores or not, are joined into one. Chains and ufuncs on arrays of one shape become native kernels of their own
(`fusion`).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.engines.native.calls import address
from flambeau.engines.native.records import Call, Loops, prepared, recorded
from flambeau.engines.native.symbols import native_chain
from flambeau.engines.numpy.chain import run_chain
from flambeau.ops.dispatch import wrap

from .arena import Arena
from .capture import Entry
from .copies import direct
from .memory import Block
from .updates import Updates

__all__ = ["Plan"]

Step = Callable[[], Any]


class Plan:
    """The steps of a replay, in order."""

    def __init__(self, entries: Sequence[Entry], arena: Arena, loose: dict[Block, int] | None = None) -> None:
        self.arena = arena
        #: arguments that are read where the program has them: by their numbers, the words of tables to be written
        self.loose = loose or {}
        self.words: dict[int, list[tuple[np.ndarray, int, int]]] = {at: [] for at in self.loose.values()}
        self.steps: list[Step] = []
        self.names: list[str] = []
        self.fused = sum(entry.fused for entry in entries)
        self.codes = [entry.code for entry in entries if entry.code is not None]
        self.groups = sum(entry.fused > 0 for entry in entries)
        self.kept: list[bytes] = []
        pending: list[tuple[Call, list]] = []
        for entry in entries:
            if entry.kind == "native" and entry.args[0] != "loops":
                pending.append(self._native(entry))
                continue
            self._flush(pending)
            self._add(entry)
        self._flush(pending)

    def run(self) -> None:
        """One replay."""
        for step in self.steps:
            step()

    def bind(self, at: int, address: int) -> None:
        """Lets the plan read an argument at this address."""
        for words, place, beyond in self.words[at]:
            words[place] = address + beyond

    def _open(self, table: bytes) -> list[tuple[int, int, int]]:
        """The words of a captured table that are addresses in loose arguments: which, whose, how far in."""
        assert self.arena.memory is not None
        found = self.arena.memory.words_of(table) if self.loose else []
        return [(word, self.loose[block], beyond) for word, block, beyond in found if block in self.loose]

    def _put(self, name: str, step: Step) -> None:
        self.names.append(name)
        self.steps.append(step)

    def _native(self, entry: Entry) -> tuple[Call, list[tuple[int, int, int]]]:
        """A native entry as a call, and the words of its table that are open."""
        what, *rest = self.arena.native(entry.args)
        if what == "run":
            return tuple(rest), self._open(entry.args[2])  # type: ignore[return-value]
        call, tables = recorded(*rest)
        self.kept.append(tables)
        return call, []

    def _flush(self, pending: list[tuple[Call, list[tuple[int, int, int]]]]) -> None:
        """Native calls one after the other, as one call from Python."""
        if not pending:
            return
        step, words = prepared([call for call, _ in pending])
        self._put(f"native x{len(pending)}", step)
        at = 0
        for (_, table, _, _), holes in pending:
            for word, argument, beyond in holes:
                self.words[argument].append((words, at + word, beyond))
            at += len(table) // 8
        pending.clear()

    def _add(self, entry: Entry) -> None:
        kind, function = entry.kind, entry.function
        name = getattr(function, "__name__", str(function))
        if kind == "optimizer":
            self._put("optimizer", self._updates(entry))
            return
        args, kwargs, made = (self.arena.lower(x) for x in (entry.args, entry.kwargs, entry.made))
        if kind == "native":
            _, turns, loops, shared = self.arena.native(entry.args)
            ready = Loops(turns, loops)
            self._put("native loops", lambda: ready.repeat((), shared))
        elif kind == "chain":
            self._put(name, _chain(function, args, kwargs["temps"]))
        elif kind == "call" and (step := direct(function, args, kwargs, made)) is not None:
            self._put(name, step)
        elif kind == "call" and (step := _prepared(function, args, kwargs, made)) is not None:
            self._put(name, step)
        elif not made:
            self._put(name, functools.partial(function, *args, **kwargs))
        elif len(made) == 1 and (kind == "ufunc" or _takes_out(function, args, kwargs)):
            self._put(name, functools.partial(function, *args, out=made[0], **kwargs))
        else:
            self._put(name, _copied(function, args, kwargs, made))

    def _updates(self, entry: Entry) -> Step:
        """An optimizer's step, on gradients where they lie."""
        groups = [
            (group, [(p, wrap(self.arena.array(grad)), state) for p, grad, state in used])
            for group, used in entry.kwargs["groups"]
        ]
        return Updates(entry.function, groups).run


def _chain(chain: Callable, arrays: tuple, temps: int) -> Step:
    def step() -> None:
        if not native_chain(chain, arrays, temps):
            run_chain(chain, arrays, temps)

    return step


_WITH_OUT = {
    np.dot, np.concatenate, np.stack, np.take, np.ndarray.dot, np.ndarray.take, np.ndarray.sum, np.ndarray.mean, np.sum,
}  # fmt: skip


def _takes_out(function: Any, args: tuple, kwargs: dict) -> bool:
    """Whether a call can put its result where it belongs."""
    if "out" in kwargs or any(a is None for a in args):
        return False
    if function in (np.ndarray.dot, np.dot):
        a, b = args[:2]
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.ndim > 0 and b.ndim > 0
    of_ufunc = isinstance(getattr(function, "__self__", None), np.ufunc)
    return function in _WITH_OUT or (of_ufunc and function.__name__ in ("reduce", "accumulate") and len(args) < 4)


def _copied(function: Callable, args: Any, kwargs: Any, made: list[np.ndarray]) -> Step:
    """A call whose results are copied to where later calls look for them."""
    made = [a if a.flags.writeable else _writable(a) for a in made]

    def step() -> None:
        result = function(*args, **kwargs)
        values = result if isinstance(result, (tuple, list)) else (result,)
        fresh = [v for v in values if isinstance(v, (np.ndarray, np.generic))]
        for place, value in zip(made, fresh, strict=True):
            np.copyto(place, value if place.shape == value.shape else np.asarray(value)[_first(place)])

    return step


def _prepared(function: Any, args: Any, kwargs: dict, made: list[np.ndarray]) -> Step | None:
    """A kernel's own form of a call on memory that stays, where it has one."""
    prepare = getattr(function, "prepare", None)
    if prepare is None or kwargs or not all(a.flags.writeable for a in made):
        return None
    return prepare(args, made, _copied(function, args, kwargs, made))


def _writable(a: np.ndarray) -> np.ndarray:
    """The memory of an array that NumPy has locked, each element once."""
    shape = tuple(1 if step == 0 else n for n, step in zip(a.shape, a.strides, strict=True))
    low, high = np.lib.array_utils.byte_bounds(a)
    memory: Any = (ctypes.c_char * (high - low)).from_address(low)
    memory.of = a
    return np.ndarray(shape, a.dtype, memory, address(a) - low, a.strides)


def _first(place: np.ndarray) -> Any:
    """Where a result repeats elements: the first of them."""
    return tuple(slice(0, 1) if n == 1 else slice(None) for n in place.shape)
