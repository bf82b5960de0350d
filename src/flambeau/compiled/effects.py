"""What a step does to Python while it is captured: replays would not do it, so it has to be none of a few things.

Tensors may be put where tensors were, and objects where such objects were: what a plan leaves there gets its values at
each replay. Numbers that change, containers that grow, random numbers of Python's and printing are refused.
"""

from __future__ import annotations

import builtins
import dis
import random
import threading
import types
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.autograd.runtime import CHANGES, LEAF, NS
from flambeau.errors import CaptureError
from flambeau.nn.modules.module import Module

from .arguments import tensors_in
from .carried import can_be_carried
from .reach import MISSING, Holder, Reach, is_simple
from .state import Watched, normal
from .traced import refuse
from .variant import is_freed

__all__ = ["Before", "Changes", "noting", "parts_of"]

_MUTATING = frozenset(
    (
        "append", "appendleft", "add", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove",
        "setdefault", "update",
    )
)  # fmt: skip
_RANDOM = frozenset(("random", "rng", "rand", "randn", "randint", "choice", "shuffle", "uniform", "normal", "sample"))
#: Arrays of NumPy's with at most as many bytes are looked at for changes.
_COPIED = 1 << 24
_ASIDE = "or compile with fallback=True to run such steps eagerly"


def _one_memory(one: Any, two: Any) -> bool:
    """Whether two arrays show the same memory."""
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return bool(one.size) and np.may_share_memory(one, two)
    return getattr(one, "store", one) is getattr(two, "store", two)


def parts_of(scheduler: Any) -> list[Any]:
    """A schedule, and those that it consists of."""
    parts = [scheduler]
    for part in parts:
        parts += getattr(part, "_schedulers", ())
    return parts


class Before:
    """How everything was before a call of the step."""

    def __init__(self, watched: Watched) -> None:
        reach = watched.reach
        self.reach = reach
        self.entries = [(key, holder, holder.entries()) for key, holder in reach.holders.items()]
        self.options = [(group, dict(group)) for o in watched.optimizers for group in o.param_groups]
        self.schedules = [(vars(part), dict(vars(part))) for s in reach.schedulers.values() for part in parts_of(s)]
        self.drawn = _drawn(reach)
        self.private = [(generator, _state(generator)) for generator in reach.drawing.values()]
        self.states = random.getstate(), np.random.get_state()
        self.tensors = list(reach.tensors.values())  # held, so that no other gets their memory
        self.arrays = [(a, a.copy()) for a in reach.arrays.values() if a.nbytes <= _COPIED and a.flags.writeable]

    def restore(self) -> None:
        """Puts everything back: of a trace that came to nothing, nothing remains."""
        for _, holder, before in self.entries:
            holder.put_back(before)
        CHANGES[0] += 1
        for one, before in (*self.options, *self.schedules):
            one.clear()
            one.update(before)
        for array, content in self.arrays:
            if array.tobytes() != content.tobytes():
                array[...] = content
        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
        for generator, state in self.private:
            _place(generator, state)

    def changes(self, scheduled: Container[int] = ()) -> Changes:
        """What the call has done since; `scheduled`: options of optimizers that replays see to."""
        return Changes(self, scheduled)


class Changes:
    """What a call has done to the values that its code names.

    `effects`: what replays would not do, by place and in words. `replaced`: places with other objects than before, of
    which a plan does not depend on who they are.
    """

    def __init__(self, before: Before, scheduled: Container[int]) -> None:
        self.reach = before.reach
        self.effects: dict[Any, tuple[Any, str]] = {}
        self.replaced: list[tuple[Any, Any]] = []
        self.gone: list[tuple[Any, str, list[Any]]] = []  # places whose tensors are others now: in words, the old ones
        self.others = False  # whether there are objects where there were none or simple values, or the other way round
        for key, holder, old in before.entries:
            if key not in scheduled:
                self._compare(key, holder, old, holder.entries())
        for group, old in before.options:
            for name, value in old.items():
                if id(group) not in scheduled and is_simple(value) and normal(group.get(name)) != normal(value):
                    text = f"the optimizer's `{name}` goes from {value!r} to {group.get(name)!r}"
                    self.effects[id(group), name] = name, text
        for array, content in before.arrays:
            if array.tobytes() != content.tobytes() and not any(_one_memory(t._a, array) for t in before.tensors):
                name = self._name_of(array)
                self.effects["array", id(array)] = name, f"the array `{name}` changes"
        for where, drawn in _drawn(before.reach).items():
            if before.drawn.get(where) != drawn:
                self.effects["random", where] = "random", ""

    def _compare(self, key: Any, holder: Holder, old: dict, new: dict) -> None:
        if holder.whole and len(old) != len(new):
            name = self._named(holder)
            self.effects[key, None] = name, f"the number of entries of `{name}` goes from {len(old)} to {len(new)}"
        for name, was in old.items():
            now = new.get(name, MISSING)
            if now is was:
                continue
            tensors = list(tensors_in(was))
            if tensors:
                shown = name if isinstance(name, str) else self._named(holder)
                self.gone.append(((key, name, now), shown, tensors))
            if is_simple(was) and is_simple(now):
                if normal(was) != normal(now):
                    shown = name if isinstance(name, str) else self._named(holder)
                    self.effects[key, name] = shown, f"`{shown}` goes from {was!r} to {now!r}"
            elif is_simple(was) or is_simple(now) or was is MISSING or now is MISSING:
                self.others = True
            elif not tensors and id(now) in self.reach.seen:
                self.effects[key, name] = name, f"`{name}` becomes another object that was there before"
            elif _form(was) != _form(now):
                text = f"`{name}` becomes another {type(now).__name__}, with other values in it"
                self.effects[key, name] = name, text
            else:
                self.replaced.append((key, name))

    def _named(self, holder: Holder) -> str:
        """The name by which the program knows a container."""
        return self._name_of(holder.inside)

    def _name_of(self, inside: Any) -> str:
        for other in self.reach.holders.values():
            for name in other.names:
                if other.get(name) is inside:
                    return str(name)
        return "something without a name"

    def takes(self) -> CaptureError | None:
        """The error for a step that sees an iterator, from which replays would not take."""
        for iterator in self.reach.iterators.values():
            name = self._name_of(iterator)
            return CaptureError(
                f"a compiled step can't take from the {type(iterator).__name__} `{name}`{line_of(name, self.reach)}, "
                f"which replays would not do. Give it what it needs as an argument, {_ASIDE}"
            )
        return None

    def error(self, habits: dict[Any, int] | None = None) -> CaptureError | None:
        """The error for an effect: the most frequent one, if it is said how often in a row each one was there."""
        if not self.effects:
            return None
        where = max(self.effects, key=(habits or {}).get) if habits else next(iter(self.effects))  # type: ignore[arg-type]
        return _refused(*self.effects[where], self.reach)

    def carried(self, variant: Any) -> list[tuple[Any, str]]:
        """The places to be carried from call to call, with their names: tensors that the step has read, or handed on,
        before it put others there; and all in whose place there is a tensor without a history, so that each call leaves
        one of its own.
        """
        now = list(self.present())
        found = []
        for place, name, old in self.gone:
            new = list(tensors_in(place[2]))
            handed = any(variant.shows(t._a) or any(_one_memory(t._a, other._a) for other in now) for t in old)
            if handed or any(variant.uses(t._a) for t in old):
                found.append((place, name))
            elif can_be_carried(place[2]) and all(t._node is None or t._node is LEAF or is_freed(t._node) for t in new):
                found.append((place, name))
        return found

    def present(self) -> Iterator[Any]:
        """The tensors that are in the places now."""
        for holder in self.reach.holders.values():
            if not holder.counted or holder.kind != "dict":
                for value in holder.entries().values():
                    yield from tensors_in(value)

    def replaced_after_reading(self, name: str) -> CaptureError:
        """The error for such a place, where the step must not do that."""
        return CaptureError(
            f"the step reads the tensor `{name}` and then puts another one in its place{line_of(name, self.reach)}; a "
            f"compiled step works on the same tensors each time: write into it instead ({name}.copy_(...)), {_ASIDE}"
        )


def _refused(name: Any, text: str, reach: Reach) -> CaptureError:
    if name == "random":
        return CaptureError(
            f"a compiled step can't draw random numbers that are not torch's{line_of(None, reach)}: replays would use "
            f"the same ones again. Draw them with torch, or pass them to the step as a tensor, {_ASIDE}"
        )
    return CaptureError(
        f"a compiled step can't change Python values: {text}{line_of(name, reach)}, which replays would not do. Do "
        f"that outside of the step, {_ASIDE}"
    )


def line_of(name: Any, reach: Reach) -> str:
    """Where the program changes something of this name, or (None) draws random numbers: as far as its code tells."""
    best = ""
    for code in reach.codes:
        for part in _parts(code):
            found, sure = _line_in(part, name)
            if found:
                where = f" (in {code.co_filename}, line {found}, in {part.co_name})"
                if sure:
                    return where
                best = best or where
    return best


def _parts(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _parts(const)


def _line_in(code: types.CodeType, name: Any) -> tuple[int, bool]:
    """The line of some code that changes what has this name, and whether it surely does."""
    line, seen = 0, 0
    for step in dis.get_instructions(code):
        if step.starts_line:
            line = step.positions.lineno if step.positions and step.positions.lineno else line
        argument = step.argval if isinstance(step.argval, str) else None
        if name is None:
            if argument in _RANDOM and not step.opname.startswith("STORE"):
                return line, True
        elif argument == name:
            if step.opname.startswith(("STORE", "DELETE")) and "FAST" not in step.opname:
                return line, True
            seen = line
        elif seen == line and seen and (step.opname == "STORE_SUBSCR" or argument in _MUTATING):
            return line, True
    return seen, False


def _form(x: Any, depth: int = 4) -> Any:
    """What a container or an object has in it, as far as replays depend on it."""
    if isinstance(x, (list, tuple)):
        return [_form(v, depth - 1) for v in x] if depth else len(x)
    if isinstance(x, dict):
        return [(k, _form(v, depth - 1)) for k, v in x.items()]
    if is_simple(x):
        return normal(x)
    if depth and not isinstance(x, (type, types.FunctionType, types.ModuleType, NS["Tensor"], Module)):
        return x.__class__, [(k, _form(v, depth - 1)) for k, v in getattr(x, "__dict__", {}).items()]
    return x.__class__


def _drawn(reach: Reach) -> dict[Any, Any]:
    """The states of Python's and NumPy's generators, to be compared."""
    found: dict[Any, Any] = {"random": random.getstate(), "numpy": _legacy(np.random.get_state())}
    for key, generator in reach.drawing.items():
        state = _state(generator)
        found[key] = _legacy(state) if isinstance(generator, np.random.RandomState) else repr(state)
    return found


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state() if isinstance(generator, np.random.RandomState) else generator.bit_generator.state


def _place(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.bit_generator.state = state


def _legacy(state: Any) -> tuple:
    name, words, *rest = state
    return name, words.tobytes(), *rest


@contextmanager
def noting(reach: Reach) -> Iterator[None]:
    """Inside, this thread's `print` is refused, and schedulers of learning rates tell the capture of their steps."""
    before, thread = builtins.print, threading.get_ident()

    def print(*args: Any, **kwargs: Any) -> None:
        if threading.get_ident() == thread and NS["CAPTURE"] is not None:
            refuse("print: replays would not", "Return what is to be shown and print it after the step")
        before(*args, **kwargs)

    own = [(s, s.__dict__.get("step")) for s in reach.schedulers.values()]
    for scheduler, _ in own:
        vars(scheduler)["step"] = _told(scheduler, scheduler.step)
    builtins.print = print
    try:
        yield
    finally:
        builtins.print = before
        for scheduler, step in own:
            if step is None:
                del scheduler.__dict__["step"]
            else:
                scheduler.__dict__["step"] = step


def _told(scheduler: Any, step: Callable[..., None]) -> Callable[..., None]:
    """A scheduler's step, of which a capture is told; not of those that it makes within."""
    inside = False

    def call(*args: Any, **kwargs: Any) -> None:
        nonlocal inside
        capture = NS["CAPTURE"]
        if capture is None or inside or not capture.looking():
            return step(*args, **kwargs)
        if any(isinstance(x, NS["Tensor"]) for x in (*args, *kwargs.values())):
            refuse(
                f"read a tensor's value on the host ({type(scheduler).__name__}.step)",
                "Return the tensor and step the schedule after the step",
            )
            return step(*args, **kwargs)
        inside = True
        try:
            capture.scheduled(scheduler, lambda: step(*args, **kwargs))
        finally:
            inside = False

    return call
