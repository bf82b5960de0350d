"""What a captured step depends on besides its arguments: tensors that it uses, Python values that it read.

A plan works on memory where it lies, so it holds for the tensors it was captured with. What may change between steps
without a new capture (learning rates, step counts, random state) is read anew by the plan; what else the step could
have read is compared before each replay.
"""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from flambeau.autograd.runtime import LEAF, NS
from flambeau.nn.modules.module import Module
from flambeau.optim.optimizer import Optimizer

__all__ = ["Watched", "reachable"]

_SIMPLE = (bool, int, float, str, type(None))


def reachable(function: Callable) -> tuple[list[Module], list[Optimizer], list[Any], list[tuple[dict, str]]]:
    """What a function can see: modules, optimizers, leaves that want a gradient, where plain values and tensors are."""
    modules: dict[int, Module] = {}
    optimizers: dict[int, Optimizer] = {}
    leaves: dict[int, Any] = {}
    places: list[tuple[dict, str]] = []
    seen: set[int] = set()

    def visit(x: Any, depth: int) -> None:
        if id(x) in seen or depth > 6:
            return
        seen.add(id(x))
        if isinstance(x, Module):
            for m in x.modules():
                modules[id(m)] = m
        elif isinstance(x, Optimizer):
            optimizers[id(x)] = x
        elif isinstance(x, NS["Tensor"]):
            if x._node is LEAF:
                leaves[id(x)] = x
        elif isinstance(x, types.MethodType):
            visit(x.__self__, depth + 1)
            visit(x.__func__, depth + 1)
        elif isinstance(x, types.FunctionType):
            if not _is_library(x.__module__):
                function_parts(x, depth)
        elif isinstance(x, (list, tuple)) and len(x) < 1000:
            for v in x:
                visit(v, depth + 1)
        elif isinstance(x, dict) and len(x) < 1000:
            for v in x.values():
                visit(v, depth + 1)
        elif hasattr(x, "__wrapped__"):
            visit(x.__wrapped__, depth + 1)
        elif not isinstance(x, (type, types.ModuleType)) and not _is_library(type(x).__module__):
            for name, v in list(getattr(x, "__dict__", {}).items()):
                note(vars(x), name, v, depth)

    def note(where: Any, name: str, value: Any, depth: int) -> None:
        if isinstance(value, (*_SIMPLE, NS["Tensor"])):
            places.append((where, name))
        if not isinstance(value, _SIMPLE):
            visit(value, depth + 1)

    def function_parts(f: types.FunctionType, depth: int) -> None:
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            note(_Cell(cell), name, value, depth)
        for name in names_in(f.__code__):
            value = f.__globals__.get(name, f)
            if value is not f:
                note(f.__globals__, name, value, depth)
        for value in f.__defaults__ or ():
            visit(value, depth + 1)

    visit(function, 0)
    return list(modules.values()), list(optimizers.values()), list(leaves.values()), places


def _is_library(module: str | None) -> bool:
    """Whether code of this module is nobody's program: what it reads does not change from step to step."""
    root = (module or "").partition(".")[0]
    return root in ("flambeau", "torch", "numpy", "builtins") or (
        root in sys.stdlib_module_names and root != "__main__"
    )


class _Cell:
    """A closure's variable as the one entry of a dictionary."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def get(self, name: str) -> Any:
        return self.cell.cell_contents


def names_in(code: types.CodeType) -> list[str]:
    """The global names that some code, and code within it, refers to."""
    found = list(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found += names_in(const)
    return found


class Watched:
    """The Python values and tensors behind a step, as they were, to be compared with what they are."""

    def __init__(self, function: Callable) -> None:
        self.modules, self.optimizers, leaves, places = reachable(function)
        tensor = NS["Tensor"]
        for module in self.modules:
            own = vars(module)
            places += [(own, n) for n, v in own.items() if isinstance(v, _SIMPLE) and not n.startswith("_")]
            places += [(own, n) for n, v in own.items() if isinstance(v, tensor)]
        self.places: list[tuple[Any, str]] = [(d, n) for d, n in places if not isinstance(d.get(n), tensor)]
        #: Where tensors are, and where the step itself puts other ones.
        self.tensors_at = {(_whose(d), n): (d, n) for d, n in places if isinstance(d.get(n), tensor)}
        self.rebound: dict[Any, tuple[Any, str]] = {}
        self.parameters = [p for m in self.modules for p in m._parameters.values() if p is not None]
        for optimizer in self.optimizers:
            self.parameters += [p for group in optimizer.param_groups for p in group["params"]]
        self.parameters += leaves
        self.parameters = list({id(p): p for p in self.parameters}.values())
        self._group()

    def tensors_now(self) -> dict[Any, tuple[Any, str, Any]]:
        """The tensors that are there now, where, and under which names."""
        return {key: (d, n, d.get(n)) for key, (d, n) in (*self.tensors_at.items(), *self.rebound.items())}

    def outdated(self, earlier: dict[Any, tuple[Any, str, Any]]) -> bool:
        """Whether there are tensors now where there were none, or others in the place of the earlier ones."""
        tensor = NS["Tensor"]
        return any(isinstance(d.get(n), tensor) for d, n in self.places) or any(
            d.get(n) is not old for key, (d, n, old) in earlier.items() if key in self.tensors_at
        )

    def after(self, earlier: dict[Any, tuple[Any, str, Any]], rebound: dict[Any, Any]) -> Watched:
        """Itself, knowing which tensors a call has replaced: the plan will not depend on who they are."""
        for key, (d, name, old) in earlier.items():
            if key in self.tensors_at and (key in rebound or d.get(name) is not old):
                self.rebound[key] = self.tensors_at.pop(key)
        return self

    def _group(self) -> None:
        """Sorts the places by the dictionary that they are in, which is then asked once."""
        names: dict[int, tuple[Any, list[str]]] = {}
        for d, name in self.places:
            names.setdefault(id(d), (d, []))[1].append(name)
        self.places = [(d, name) for d, found in names.values() for name in found]
        self._plain = [(d, itemgetter(*found, found[0])) for d, found in names.values() if d.__class__ is dict]
        self._other = [(d, name) for d, found in names.values() if d.__class__ is not dict for name in found]

    def values(self) -> tuple[Any, ...]:
        """The values now, by dictionary, and whether parameters require gradients."""
        try:
            found = [get(d) for d, get in self._plain]
        except KeyError:  # an attribute was deleted
            found = [tuple([d.get(n) for d, n in self.places])]
        found += [(d.get(n),) for d, n in self._other]
        if self.tensors_at:
            found.append((Identities([d.get(n) for d, n in self.tensors_at.values()]),))
        found.append(tuple([p._node is not None for p in self.parameters]))
        return tuple(found)

    def tensors(self) -> list[Any]:
        """The parameters, and the buffers of the modules."""
        buffers = [b for m in self.modules for b in m._buffers.values() if b is not None]
        return list({id(t): t for t in (*self.parameters, *buffers)}.values())

    def in_sight(self) -> list[Any]:
        """All tensors that the step can see: those, and what variables and attributes hold."""
        held = [d.get(n) for d, n in self.tensors_at.values()]
        return [*self.tensors(), *(t for t in held if isinstance(t, NS["Tensor"]))]

    def changed(self, before: tuple[Any, ...], now: tuple[Any, ...]) -> str:
        """In words, what differs."""
        names = [get(_Same()) for _, get in self._plain] + [(name,) for _, name in self._other]
        for known, olds, news in zip(names, before, now, strict=False):
            for name, old, new in zip(known, olds, news, strict=False):
                if isinstance(old, Identities):
                    continue
                if old != new or type(old) is not type(new):
                    return f"{name}: {old!r} became {new!r}"
        for (_, name), old, new in zip(self.tensors_at.values(), *map(_identities, (before, now)), strict=False):
            if old is not new:
                return f"{name}: another tensor"
        return "requires_grad of a parameter changed"


class Identities(list):
    """Objects that are compared by who they are."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identities) and len(self) == len(other) and all(map(operator.is_, self, other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(map(id, self)))


def _identities(values: tuple[Any, ...]) -> Any:
    return next((part[0] for part in values if len(part) == 1 and isinstance(part[0], Identities)), ())


def _whose(d: Any) -> int:
    return id(d.cell) if isinstance(d, _Cell) else id(d)


class _Same(dict):
    """A dictionary in which each key is its own value."""

    def __missing__(self, key: str) -> str:
        return key
