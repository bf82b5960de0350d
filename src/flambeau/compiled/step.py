"""`flambeau.compile`: a step that is captured and then replayed.

The first call of each kind runs as it is: it makes what steps make once (an optimizer's state, first gradients). The
second and third are captured; they run for real too. Where both captures agree, the plan replays from then on.
"""

from __future__ import annotations

import functools
import threading
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import dtypes
from flambeau.autograd.runtime import NS, thread
from flambeau.errors import CaptureError

from .arena import REPLAYING
from .arguments import form_of, objects_in, suits_form
from .carried import Carried, can_be_carried
from .effects import Before, Changes, noting
from .explain import table_of
from .state import Watched
from .variant import Digest, Variant, differ

__all__ = ["CAPTURING", "HABIT", "Compiled"]

_INSTANCES = 8  # plans of one kind that wait for their backward at the same time
_KINDS = 64
HABIT = 3  # calls in a row that change one Python value
_UNREST = 24
#: Held by the thread that captures.
CAPTURING = threading.RLock()
_OTHERS = 32  # instances, or sets of objects as arguments


class Compiled:
    """A compiled function: call it as the function. See `flambeau.compile`."""

    def __init__(self, function: Callable, fallback: bool = False) -> None:
        self.function = function
        self.fallback = fallback
        self.watched: Watched | None = None
        self.plans: dict[Any, list[Variant]] = {}
        self.before: dict[Any, Digest | None] = {}
        self.refused = ""
        self.last: Any = None
        self.latest: tuple[Any, Variant] | None = None
        self.reasons: list[str] = []
        self.carried: Carried | None = None  # what does the calls, if the step reads tensors and replaces them
        self.free: set[tuple[Any, Any]] = set()  # places of which only the type of what is there matters
        self.roots: tuple[Any, ...] = ()  # objects among the arguments
        self.bound: dict[int, tuple[Any, Compiled]] = {}  # by instance
        self.given: dict[Any, Compiled] = {}  # by other objects among the arguments
        self.unrest = 0  # calls in a row with Python values that none had before
        self.habits: dict[Any, int] = {}  # Python values that the last calls have changed, and how many in a row
        functools.update_wrapper(self, function, updated=())

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self._of(instance)

    def _of(self, instance: Any) -> Compiled:
        """The method of an instance: compiled for itself, since what it works with is the instance's."""
        found = self.bound.get(id(instance))
        if found is None:
            if len(self.bound) >= _OTHERS:
                self.bound.clear()
            method = self._compiled_method(types.MethodType(self.function, instance))
            found = self.bound[id(instance)] = instance, method
        return found[1]

    def _compiled_method(self, method: Callable) -> Compiled:
        return self._another(method, self.free)

    def _with(self, objects: list[Any]) -> Compiled:
        """The function for these objects among its arguments, which it may look into."""
        key = tuple(map(id, objects))
        found = self.given.get(key)
        if found is None:
            if len(self.given) >= _OTHERS:
                self.given.clear()
            found = self.given[key] = self._another(self.function, self.free)
            found.roots = tuple(objects)
        return found

    def _key(self, args: tuple, kwargs: dict, leaves: list[Any]) -> Any:
        """What a plan holds for: the arguments' form, and the Python values behind the step."""
        form = form_of(args, kwargs, leaves)
        watched = self.watched
        grads = tuple([p._grad is None for p in watched.parameters])  # type: ignore[union-attr]
        modes = thread.grad, thread.inference, dtypes.get_default_dtype()
        return form, watched.key, grads, modes  # type: ignore[union-attr]

    @staticmethod
    def _waited() -> bool:
        """Whether another thread was capturing, which sees what all threads do; it is through now."""
        if NS["CAPTURE"] is None or CAPTURING._is_owned():  # type: ignore[attr-defined]
            return False
        with CAPTURING:
            return True

    def _restless(self, key: Any) -> bool:
        """Notes why a call has no plan. Whether there never will be one, since a value is another one at every call:
        then it is said once, and everything runs as it is.
        """
        reason = self._what_changed(key)
        self.reasons.append(reason)
        self.unrest = self.unrest + 1 if self.last[0] == key[0] and self.last[1] != key[1] else 0
        if self.unrest < _UNREST:
            return False
        self.refused = f"{self.unrest} calls in a row came with other Python values than any before ({reason})"
        warnings.warn(
            f"nothing is compiled: {self.refused}; it runs eagerly from now on. Pass such a value as a tensor",
            stacklevel=4,
        )
        return True

    def _watch(self) -> Watched:
        """The values behind the step, as they are now."""
        self.watched = Watched(self.function, self.free, self.roots) if self.watched is None else self.watched.refresh()
        return self.watched

    def _watch_again(self, changes: Changes) -> None:
        """Watches what is there after a call, which may have made modules, optimizers and tensors, or put other objects
        in the place of some: on those the step does not depend.
        """
        free = {*self.watched.free, *changes.replaced}  # type: ignore[union-attr]
        self.watched = Watched(self.function, free, self.roots)

    def _run_first(self, args: tuple, kwargs: dict) -> Any:
        """A call of the function as it is. CaptureError where each call has changed the same Python values."""
        before = Before(self.watched)  # type: ignore[arg-type]
        result = self.function(*args, **kwargs)
        changes = before.changes()
        self._watch_again(changes)
        if self._habits(changes) < HABIT:
            return result
        return self._refuse(changes.error(self.habits), lambda: result)  # type: ignore[arg-type]

    def _habits(self, changes: Changes) -> int:
        """How often in a row, at most, calls have changed the same Python value, with this one's `changes`."""
        self.habits = {where: self.habits.get(where, 0) + 1 for where in changes.effects}
        return max(self.habits.values(), default=0)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        latest = self.latest
        if latest is not None and not kwargs and self._as_before(latest, args):
            return self._replay(latest[1], args, args, kwargs)
        if self._waited():
            return self(*args, **kwargs)
        if self.refused or NS["CAPTURE"] is not None or not NS["PLAIN"]:
            return self.function(*args, **kwargs)
        if self.carried is not None:
            return self.carried(args, kwargs)
        objects = objects_in((args, kwargs))
        if list(map(id, objects)) != list(map(id, self.roots)):
            return self._with(objects)(*args, **kwargs)
        self._watch()
        leaves: list[Any] = []
        key = self._key(args, kwargs, leaves)
        found = self.plans.get(key)
        if found is not None:
            for variant in found:
                if variant.free():
                    if variant.holds():
                        self.latest = key, variant
                        return self._replay(variant, leaves, args, kwargs)
                    self.latest = None
                    self.reasons.append("a tensor that the step uses, or an optimizer's state, is another than it was")
                    del self.plans[key], self.before[key]
                    break
            else:
                if len(found) >= _INSTANCES:
                    return self.function(*args, **kwargs)
        elif key not in self.before and self.last is not None and self._restless(key):
            return self.function(*args, **kwargs)
        self.last = key
        if key not in self.before:
            if len(self.before) >= _KINDS:
                self.before.clear()
                self.plans.clear()
                self.latest = None
            self.before[key] = None
            result = self._run_first(args, kwargs)
            self.before[self._key(args, kwargs, [])] = None
            return result
        return self._capture(key, args, kwargs)

    def _replay(self, variant: Variant, leaves: Sequence[Any], args: tuple, kwargs: dict) -> Any:
        if not variant.apart(leaves):  # a parameter as an argument, say: what the step writes, it reads as an argument
            return self.function(*args, **kwargs)
        self.unrest = 0
        with REPLAYING:
            return variant.replay(leaves)

    def _as_before(self, latest: tuple[Any, Variant], args: tuple) -> bool:
        """Whether the plan that ran last holds for this call."""
        return (
            NS["CAPTURE"] is None
            and NS["PLAIN"]
            and self._suits(latest[0], args)
            and latest[1].free()
            and latest[1].holds()
        )

    def _suits(self, key: Any, args: tuple) -> bool:
        """Whether `_key` would give this key for these arguments; False in doubt."""
        form, values, grads, modes = key
        watched = self.watched
        return (
            suits_form(args, form)
            and watched.key is values  # type: ignore[union-attr]
            and watched.same()  # type: ignore[union-attr]
            and tuple([p._grad is None for p in watched.parameters]) == grads  # type: ignore[union-attr]
            and (thread.grad, thread.inference, dtypes.get_default_dtype()) == modes
        )

    def _capture(self, key: Any, args: tuple, kwargs: dict) -> Any:
        """Runs and captures the step; the second capture that does the same makes the plan."""
        watched = self.watched
        before_it = Before(watched)  # type: ignore[arg-type]
        try:
            with CAPTURING, noting(watched.reach):  # type: ignore[union-attr]
                variant = Variant(self.function, args, kwargs, watched.parameters, self.fallback)  # type: ignore[union-attr]
        except CaptureError as error:
            return self._refuse(error, lambda: self.function(*args, **kwargs))
        if variant.error is not None:
            return self._refuse(variant.error, lambda: variant.handed_out())
        if variant.moved:
            shape = list(variant.moved[0]._a.shape)
            error = CaptureError(f"a compiled step can't give a tensor ({shape}) other memory; write into it (copy_)")
            return self._refuse(error, lambda: variant.handed_out())
        wrong_with = self._effects(before_it.changes(variant.scheduled), variant)
        if wrong_with is not None:
            return self._refuse(wrong_with, lambda: variant.handed_out())
        if self.carried is not None:
            return variant.handed_out()
        before, digest = self.before[key], variant.digest()
        if before is None or before.threads != digest.threads:
            self.before[key] = digest
            variant.forget()
            return variant.handed_out()
        wrong = differ(before, digest)
        if wrong:
            error = CaptureError(f"the step to compile does not do the same each time: {wrong}")
            return self._refuse(error, lambda: variant.handed_out())
        try:
            variant.prepare()
        except CaptureError as error:
            return self._refuse(error, lambda: variant.handed_out())
        self.plans.setdefault(key, []).append(variant)
        self.before[key] = digest
        return variant.handed_out()

    def _effects(self, changes: Changes, variant: Any) -> CaptureError | None:
        """The error for what a captured call has done and replays would not do. From now on, tensors that it has read
        and replaced go through it as arguments and results.
        """
        error = changes.error() or changes.takes() or self._lost(variant)
        if error is not None:
            return error
        carried = [(place, name) for place, name in changes.carried(variant) if place[:2] not in self.free]
        for (_, _, now), name in carried:
            if not can_be_carried(now):
                return changes.replaced_after_reading(name)
        if carried:
            places = [(key, name) for (key, name, _), _ in carried]
            held = [(changes.reach.holders[key], name) for key, name in places]
            for holder, name in held:
                holder.put(name, variant.outside(holder.get(name)))
            self.carried = Carried(self.function, held, lambda f: self._another(f, {*self.free, *places}))
        return None

    @staticmethod
    def _lost(variant: Any) -> CaptureError | None:
        """The error for a step that changes containers that it is given, or returns what nobody can look into."""
        if variant.disturbed:
            return CaptureError(
                "a compiled step can't change a list, dict or dataclass that it is given: replays would not. Return "
                "the new tensors, or compile with fallback=True to run such steps eagerly"
            )
        unknown = variant.unknown
        if unknown is not None:
            return CaptureError(
                f"a compiled step can't return a {type(unknown).__name__}, whose tensors replays could not make anew: "
                "return them in a tuple, list, dict or dataclass, or compile with fallback=True to run such steps "
                "eagerly"
            )
        return None

    def _another(self, function: Callable, free: set[tuple[Any, Any]]) -> Compiled:
        """Another one of this kind, which does not look at who is in some places."""
        made = Compiled(function, self.fallback)
        made.free = free
        return made

    def _refuse(self, error: CaptureError, eager: Callable[[], Any]) -> Any:
        if not self.fallback:
            raise error
        self.refused = str(error)
        warnings.warn(f"{error}; it runs eagerly from now on", stacklevel=4)
        return eager()

    def _what_changed(self, key: Any) -> str:
        """Why a call has no plan, compared with the call before."""
        (form, values, grads, modes), (form2, values2, grads2, modes2) = self.last, key
        if form != form2:
            return f"the arguments: {_first_difference(form, form2)}"
        if values != values2:
            return self.watched.changed(values, values2)  # type: ignore[union-attr]
        if grads != grads2:
            return "gradients are there that were None, or are None that were there"
        return f"grad mode, inference mode or default dtype: {modes} became {modes2}"

    def explain(self) -> str:
        """The plans as tables: kernels, fused groups, memory; and why there is more than one."""
        return table_of(self) if self.carried is None else self.carried.compiled.explain()


def _first_difference(a: Any, b: Any) -> str:
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        if a[:1] == ("tensor",) == b[:1]:
            return f"{a[2]}{list(a[1])} became {b[2]}{list(b[1])}"
        for x, y in zip(a, b, strict=True):
            if x != y:
                return _first_difference(x, y)
    return f"{a} became {b}"
