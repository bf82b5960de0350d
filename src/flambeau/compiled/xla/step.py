"""`flambeau.compile(..., backend="xla")`: a step that is traced once and from then on is one program of XLA's.

The first call runs as it is where the step has an optimizer that has not begun: it makes its state. The next one is
traced, compiled and run; the one after that is traced once more, and must do the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS, thread
from flambeau.compiled.arguments import objects_in
from flambeau.compiled.effects import Before, Changes, noting
from flambeau.compiled.step import CAPTURING, HABIT, Compiled
from flambeau.compiled.traced import HERE
from flambeau.devices import CPU
from flambeau.devices import device as device_class
from flambeau.engines.arrays import FOREIGN
from flambeau.engines.xla.runtime import UNTRACEABLE, require
from flambeau.errors import CaptureError

from .variant import WholeVariant, alike

__all__ = ["WholeCompiled"]

_KINDS = 64
_TRIES = 4


class WholeCompiled(Compiled):
    """A function compiled by XLA: call it as the function."""

    def __init__(self, function: Callable, fallback: bool = False) -> None:
        super().__init__(function, fallback)
        self.trusted: dict[Any, list[WholeVariant]] = {}
        self.candidates: dict[Any, WholeVariant] = {}
        self.tries: dict[Any, int] = {}
        self.begun: set[int] = set()  # optimizers that had a state when the step was traced

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if NS["CAPTURE"] is not None and self._waited():
            return self(*args, **kwargs)
        if self.refused or NS["CAPTURE"] is not None or not (NS["PLAIN"] or thread.inference):
            return self.function(*args, **kwargs)
        if self.carried is not None:
            return self.carried(args, kwargs)
        latest = self.latest
        if latest is not None and not kwargs and self._suits(latest[0], args):
            recent: Any = latest[1]
            if recent.holds() and recent.ready():
                self.unrest = 0
                return recent.run(args)
        objects = objects_in((args, kwargs))
        if list(map(id, objects)) != list(map(id, self.roots)):
            return self._with(objects)(*args, **kwargs)
        first = self.watched is None
        watched = self._watch()
        if first or any(not o.state and id(o) in self.begun for o in watched.optimizers):
            self.begun.clear()
            if any(not o.state for o in watched.optimizers):
                return self._run_first(args, kwargs)
        leaves: list[Any] = []
        key = self._key(args, kwargs, leaves)
        for variant in self.trusted.get(key, ()):
            if variant.holds() and variant.ready():
                self.latest, self.unrest = (key, variant), 0  # type: ignore[assignment]
                return variant.run(leaves)
        if self.last is not None and key != self.last and key not in self.tries and self._restless(key):
            return self.function(*args, **kwargs)
        self.last = key
        return self._traced(key, args, kwargs, leaves)

    def _traced(self, key: Any, args: tuple, kwargs: dict, leaves: list[Any]) -> Any:
        """Traces the step and runs its program; the second trace that does the same makes it trusted."""
        if len(self.tries) >= _KINDS:
            self.trusted.clear()
            self.latest = None
            self.candidates.clear()
            self.tries.clear()
        before_it = Before(self.watched)  # type: ignore[arg-type]
        self.begun.update(id(o) for o in self.watched.optimizers if o.state)  # type: ignore[union-attr]
        try:
            with CAPTURING, noting(self.watched.reach):  # type: ignore[union-attr]
                variant = WholeVariant(self.function, args, kwargs, self.watched, self._device(leaves))
        except BaseException as error:
            before_it.restore()
            if not isinstance(error, (CaptureError, *UNTRACEABLE)):
                raise
            known = error if isinstance(error, CaptureError) else _explained(error)
            return self._refuse(known, lambda: self.function(*args, **kwargs))
        changes = before_it.changes(variant.scheduled)
        if 0 < self._habits(changes) < HABIT:  # what a step does once, perhaps
            result = self._first_run(variant, leaves)
            self._watch_again(changes)
            return result
        wrong_with = self._effects(changes, variant)
        if wrong_with is not None:
            done = self._first_run(variant, leaves)  # what the step has left behind gets its values
            return self._refuse(wrong_with, lambda: done)
        if self.carried is not None:
            return self._first_run(variant, leaves)
        key = self._watching_again(key, changes)
        before = self.candidates.pop(key, None) or self._twin(variant)
        wrong = ""
        if before is not None:
            wrong = alike(before, variant)
            if not wrong:
                variant.take_over(before)
                self.trusted.setdefault(key, []).append(variant)
                self.tries[key] = 0
        if before is None or wrong:
            self.candidates[key] = variant
        result = self._first_run(variant, leaves)
        self.tries[key] = self.tries.get(key, 0) + (1 if wrong else 0)
        if self.tries[key] >= _TRIES:
            error = CaptureError(f"the step to compile does not do the same each time: {wrong}")
            return self._refuse(error, lambda: result)
        return result

    def _another(self, function: Callable, free: set[tuple[Any, Any]]) -> Compiled:
        made = WholeCompiled(function, self.fallback)
        made.free = free
        return made

    @staticmethod
    def _first_run(variant: WholeVariant, leaves: list[Any]) -> Any:
        variant.ready()
        return variant.run(leaves)

    def _twin(self, variant: WholeVariant) -> WholeVariant | None:
        """A trace for other circumstances that did the same, so that its program serves: steps that begin by clearing
        gradients do not care whether there are any.
        """
        others = (*self.candidates.values(), *(v for found in self.trusted.values() for v in found))
        return next((o for o in others if o.back is None and variant.back is None and not alike(o, variant)), None)

    def _watching_again(self, key: Any, changes: Changes) -> Any:
        """The key, as it will be when the step has made tensors where there were none, or put others in their place:
        its program does not depend on who they are.
        """
        if not (changes.others or changes.replaced):
            return key
        self._watch_again(changes)
        return key[0], self.watched.key, *key[2:]  # type: ignore[union-attr]

    def explain(self) -> str:
        """The programs as a table: their operations, inputs, results and memory; and why there is more than one."""
        if self.carried is not None:
            return self.carried.compiled.explain()
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        if self.refused:
            return f"{name} runs eagerly: {self.refused}"
        found = [variant for variants in self.trusted.values() for variant in variants]
        lines = [f"{name}: {len(found)} program(s) of XLA's"]
        for number, variant in enumerate(found, 1):
            lines += variant.program.table(number)
        if self.reasons:
            lines += ["new traces, and what had changed:", *(f"  {reason}" for reason in self.reasons[-10:])]
        return "\n".join(lines)

    def _device(self, leaves: list[Any]) -> Any:
        """Where the program is to run: where its tensors are; for tensors on the CPU, as XLA's CPU."""
        for t in (*leaves, *self.watched.in_sight()):  # type: ignore[union-attr]
            if t._a.__class__ in FOREIGN:
                return t._a.device
        require(device_class("xla"))
        return CPU


def _explained(error: Exception) -> CaptureError:
    """The error of a step that asks for a value, with the program's line."""
    line = "an unknown line"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        name = frame.filename
        if not (name.startswith((HERE, "<")) or "/jax/" in name or "/numpy/" in name):
            line = f"{name}, line {frame.lineno}, in {frame.name}"
            break
    return CaptureError(
        f"a compiled step can't read a tensor's value on the host, or have shapes that depend on values: at {line}. "
        "Return the tensor and read it after the step, use masks of a fixed shape (torch.where), or compile with "
        "fallback=True to run such steps eagerly"
    )
