"""What a captured step depends on besides its arguments: tensors that it uses, Python values that it read.

A plan works on memory where it lies, so it holds for the tensors it was captured with. What may change between steps
without a new capture (learning rates, step counts, random state) is read anew by the plan; what else the step could
have read is compared before each replay: first who is there, and what it is only where somebody else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import is_, itemgetter
from typing import Any

from flambeau.autograd.runtime import CHANGES, NS
from flambeau.nn.modules._hooks import CALLED
from flambeau.nn.modules.module import REGISTRIES
from flambeau.optim.optimizer import _global_post_hooks, _global_pre_hooks

from .reach import STEP_HOOKS, Holder, Reach, is_simple

__all__ = ["Watched", "Who", "normal"]

_HOOKED = (
    "_forward_pre_hooks", "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
    "_backward_pre_hooks", "_backward_hooks",
)  # fmt: skip
#: Arrays of NumPy's with at most as many bytes are compared by what is in them.
_READ = 1 << 16
#: As many names are compared in one expression.
_LONG = 250


class Who:
    """An object that is compared by who it is."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Who) and other.it is self.it

    def __hash__(self) -> int:
        return id(self.it)

    def __repr__(self) -> str:
        return "another tensor" if isinstance(self.it, NS["Tensor"]) else f"another {type(self.it).__name__}"


def normal(x: Any) -> Any:
    """A value as it is compared: with its type, or, where it is no simple one, by who it is."""
    if isinstance(x, tuple):
        return (x.__class__, *[normal(v) for v in x])
    return (x.__class__, x) if is_simple(x) else Who(x)


class Watched:
    """The Python values and tensors behind a step, as they were, to be compared with what they are.

    `free`: where the step itself puts other objects: only their type matters. `roots`: objects that it is given.
    """

    def __init__(self, function: Callable, free: Iterable[tuple[Any, Any]] = (), roots: Sequence[Any] = ()) -> None:
        self.function, self.roots = function, roots
        self.reach = reach = Reach(function, *roots)
        self.modules, self.optimizers = list(reach.modules.values()), list(reach.optimizers.values())
        found = [p for m in self.modules for p in m._parameters.values() if p is not None]
        found += [p for o in self.optimizers for group in o.param_groups for p in group["params"]]
        self.parameters = list({id(p): p for p in (*found, *reach.leaves())}.values())
        self.free = {place for place in free if place[0] in reach.holders}
        self._sort()
        self.take()

    def _sort(self) -> None:
        """Sorts what has to be compared by how it is read."""
        self._dicts: list[tuple[Holder, Any, list[Any]]] = []
        self._lists: list[Holder] = []
        self._others: list[tuple[Holder, Any]] = []
        self._arrays = [a for a in self.reach.arrays.values() if a.nbytes <= _READ]
        self._freed = [(self.reach.holders[key], name) for key, name in self.free]
        for key, holder in self.reach.holders.items():
            names = [name for name in holder.names if (key, name) not in self.free]
            if holder.counted:
                continue
            if holder.kind in ("dict", "class") and (names or holder.whole or holder.sized):
                self._dicts.append((holder, itemgetter(*names, names[0]) if names else _nothing, names))
            elif holder.kind == "list" and len(names) == len(holder.names):
                self._lists.append(holder)
            elif holder.kind == "set":
                self._lists.append(holder)
            else:
                self._others += [(holder, name) for name in names]
        self._more = bool(self._lists or self._arrays or self._freed)
        self._expression: Callable[[list, list, list], bool] | None = None
        self._places = [(holder.place(), get) for holder, get, _ in self._dicts]
        self._sized = [place for (place, _), (holder, *_) in zip(self._places, self._dicts) if _grows(holder)]

    def _sizes(self) -> list[int]:
        """How much there is where something new may matter."""
        return [len(place) for place in self._sized]

    def _structure(self) -> list[Any]:
        """Of all modules the attributes, tensors and children, of these and of optimizers and parameters the hooks."""
        found: list[Any] = []
        free = self.free
        for module in self.modules:
            own = vars(module)
            place = id(own)
            found.append(module.__class__)
            for name, value in self.reach.own(module):
                found += (name, value.__class__ if (place, name) in free else value)
            for registry in REGISTRIES:
                entries = own[registry]
                for name, value in entries.items():
                    found += (name, value.__class__ if (id(entries), name) in free else value)
            if own["_hooked"]:
                for hooks in _HOOKED:
                    for number, hook in own[hooks].items():
                        found += (hooks, number, hook)
        for called in (*CALLED, _global_pre_hooks, _global_post_hooks):
            found += called.values()
        for optimizer in self.optimizers:
            for hooks in STEP_HOOKS:
                found += getattr(optimizer, hooks).values()
        for p in self.parameters:
            for registered in (p._hooks, p._post_hooks):
                if registered:
                    found += (p, *registered.values())
        return found

    # --- now and then ---------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Takes down how things are now."""
        self.version = CHANGES[0]
        self.structure = self._structure()
        self.known = [get(place) for place, get in self._places]
        self.sizes = self._sizes()
        self.items = [[*holder.inside] for holder in self._lists]
        self.singles = [holder.get(name) for holder, name in self._others]
        self.contents = [array.tobytes() for array in self._arrays]
        self.kinds = [holder.get(name).__class__ for holder, name in self._freed]
        self.wanting = [p._node is not None for p in self.parameters]
        self.key = (*self._normal(), tuple(self.wanting))

    def same(self) -> bool:
        """Whether everything is as it was taken down; False in doubt."""
        if CHANGES[0] != self.version and not self._structure_same():
            return False
        expression = self._expression
        try:
            if not (expression(self.singles, self.known, self.sizes) if expression else self._named_same()):
                return False
        except (KeyError, ValueError):  # an attribute was deleted, a variable is empty
            return False
        if self._more and not self._more_same():
            return False
        return [p._node is not None for p in self.parameters] == self.wanting

    def _more_same(self) -> bool:
        """Whether containers and arrays have in them what they had, and places that are free the same types."""
        for holder, items in zip(self._lists, self.items):
            if len(holder.inside) != len(items) or not all(map(is_, holder.inside, items)):
                return False
        for array, content in zip(self._arrays, self.contents):
            if array.tobytes() != content:
                return False
        return all(holder.get(name).__class__ is kind for (holder, name), kind in zip(self._freed, self.kinds))

    def _named_same(self) -> bool:
        """Whether what has a name is who it was, and nothing new has one. Asked before every call: as one expression,
        where that is not too long.
        """
        if self._expression is None and len(self.singles) + sum(map(len, self.known)) <= _LONG:
            self._expression = self._written_out()
        if self._expression is not None:
            return self._expression(self.singles, self.known, self.sizes)
        return (
            self._sizes() == self.sizes
            and all(all(map(is_, get(place), known)) for (place, get), known in zip(self._places, self.known))
            and all(holder.get(name) is value for (holder, name), value in zip(self._others, self.singles))
        )

    def _written_out(self) -> Callable[[list, list, list], bool]:
        """`_named_same` as one expression on the places and names that there are."""
        bound: dict[str, Any] = {}

        def named(x: Any) -> str:
            if x.__class__ is str:
                return repr(x)
            bound[f"x{len(bound)}"] = x
            return f"x{len(bound) - 1}"

        unpacked, tests = [], []
        for i, (holder, name) in enumerate(self._others):
            is_cell = holder.kind == "cell"
            what = f"{named(holder.inside)}.cell_contents" if is_cell else f"{named(holder.get)}({named(name)})"
            unpacked.append(f"s{i}")
            tests.append(f"{what} is s{i}")
        known = []
        for i, ((place, _), (*_, names)) in enumerate(zip(self._places, self._dicts)):
            known.append("".join(f"k{i}_{j}, " for j in range(len(names))) + ("_" if names else ""))
            at = named(place)
            tests += [f"{at}[{named(name)}] is k{i}_{j}" for j, name in enumerate(names)]
        tests += [f"len({named(place)}) == n{i}" for i, place in enumerate(self._sized)]
        lines = [
            f"def same(singles, known, sizes, {', '.join(f'{x}={x}' for x in bound)}):",
            f"    [{', '.join(unpacked)}] = singles",
            f"    [{', '.join(f'[{row}]' for row in known)}] = known",
            f"    [{', '.join(f'n{i}' for i in range(len(self._sized)))}] = sizes",
            f"    return {' and '.join(tests) or 'True'}",
        ]
        exec("\n".join(lines), bound)
        return bound["same"]

    def _structure_same(self) -> bool:
        version, now = CHANGES[0], self._structure()
        if len(now) != len(self.structure) or not all(map(is_, now, self.structure)):
            return False
        self.version = version
        return True

    def refresh(self) -> Watched:
        """What is to be compared from now on: itself, or, where there are other objects than before, another one."""
        if self.same():
            return self
        before, sizes = self.key, self.sizes
        try:
            self.take()
        except (KeyError, TypeError):
            return Watched(self.function, self.free, self.roots)
        if sizes == self.sizes and len(before) == len(self.key) and all(map(_simply, before[:-1], self.key[:-1])):
            return self
        return Watched(self.function, self.free, self.roots)

    def _normal(self) -> list[Any]:
        """Everything, each with a name."""
        found = [(".", normal(x)) for x in self.structure]
        for (holder, _, names), known in zip(self._dicts, self.known):
            found += [(name, normal(x)) for name, x in zip(names, known)]
            if holder.whole:
                found.append(("the number of entries", len(holder.inside)))
        for items in self.items:
            found += [("an item", normal(x)) for x in items]
            found.append(("the number of items", len(items)))
        found += [(name, normal(x)) for (_, name), x in zip(self._others, self.singles)]
        found += [("an array", (bytes, content)) for content in self.contents]
        return found + [(name, Who(kind)) for (_, name), kind in zip(self._freed, self.kinds)]

    @staticmethod
    def changed(before: tuple[Any, ...], now: tuple[Any, ...]) -> str:
        """In words, what differs between two keys."""
        name: Any = "a module"
        for one, two in zip(before[:-1], now[:-1], strict=False):
            if one[0] != ".":
                name = one[0]
            elif isinstance(two[1], tuple) and two[1][0] is str and one == two:
                name = two[1][1]
            if one != two:
                if isinstance(two[1], Who):
                    return f"{name}: {two[1]!r}"
                return f"{name}: {_shown(one[1])} became {_shown(two[1])}"
        if len(before) != len(now):
            return f"{name}: there is more than there was, or less"
        return "requires_grad of a parameter changed"

    # --- tensors --------------------------------------------------------------------------------------------------

    def tensors(self) -> list[Any]:
        """The parameters, and the buffers of the modules."""
        buffers = [b for m in self.modules for b in m._buffers.values() if b is not None]
        return list({id(t): t for t in (*self.parameters, *buffers)}.values())

    def in_sight(self) -> list[Any]:
        """All tensors that the step can see: those, and what variables and attributes hold."""
        return [*self.tensors(), *self.reach.tensors.values()]


def _simply(one: Any, two: Any) -> bool:
    """Whether two entries of a key are one, or differ in a simple value."""
    return one == two or (one[0] == two[0] and not isinstance(one[1], Who) and not isinstance(two[1], Who))


def _shown(x: Any) -> str:
    """An entry of a key in words."""
    if isinstance(x, Who):
        return f"a {type(x.it).__name__}"
    if isinstance(x, tuple) and issubclass(x[0], tuple):
        return f"({', '.join(map(_shown, x[1:]))})"
    return repr(x[1] if isinstance(x, tuple) else x)


def _grows(holder: Holder) -> bool:
    """Whether something new in it may matter."""
    return holder.whole or holder.sized


def _nothing(inside: Any) -> tuple:
    return ()


