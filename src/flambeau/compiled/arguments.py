"""A step's arguments: their form, the stand-ins that a plan works on, and what the step left in them.

A plan reads its arguments from memory of its own. So what a step writes into an argument, and the gradient that its
backward leaves there, is handed over to the program's tensor after each replay.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import hashlib
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.engine import run_backward
from flambeau.autograd.graph import Node, edge_of
from flambeau.autograd.runtime import LEAF, NS, tick
from flambeau.autograd.views import bump
from flambeau.devices import device
from flambeau.engines.native.calls import address
from flambeau.nn.modules.module import Module
from flambeau.ops.dispatch import wrap

from .capture import Entry
from .memory import Block
from .reach import is_simple
from .state import normal

__all__ = [
    "Arguments", "contents", "filled", "flatten", "form_of", "holds_tensors", "objects_in", "rebuild", "suits_form",
    "tensors_in", "unknown_in", "with_fields",
]  # fmt: skip


def flatten(x: Any, leaves: list[Any]) -> Any:
    """Collects the tensors of nested results in `leaves`; returns their form, hashable."""
    return _form(x, leaves, None)


def form_of(args: tuple, kwargs: dict, leaves: list[Any]) -> Any:
    """The form of a call's arguments; each tensor goes to `leaves` once, wherever it is given again."""
    return _form((args, kwargs), leaves, {})


def _form(x: Any, leaves: list[Any], places: dict[int, int] | None) -> Any:
    if isinstance(x, NS["Tensor"]):
        if places is not None and places.setdefault(id(x), len(leaves)) < len(leaves):
            return "again", places[id(x)]
        leaves.append(x)
        a, kind = x._a, 0 if x._node is None else 1 if x._node is LEAF else 2
        return "tensor", a.shape, a.dtype, a.strides, kind, x._grad is None, _where(a)
    if isinstance(x, (tuple, list)):
        return type(x), tuple([_form(v, leaves, places) for v in x])
    if isinstance(x, dict):
        return type(x), tuple([(k, _form(v, leaves, places)) for k, v in x.items()])
    if isinstance(x, np.ndarray) and not x.dtype.hasobject:  # what is in it may be read
        return "array", x.shape, x.dtype, hashlib.blake2b(np.ascontiguousarray(x).data).digest()
    if isinstance(x, (set, frozenset)):
        return type(x), frozenset(x)
    if holds_tensors(x):
        return type(x), tuple([(f.name, _form(getattr(x, f.name), leaves, places)) for f in dataclasses.fields(x)])
    if isinstance(x, _CONSTANT):
        return type(x), x
    return normal(x)


def holds_tensors(x: Any) -> bool:
    """Whether something is a dataclass with tensors in it: it goes through a step like a tuple of its fields."""
    return dataclasses.is_dataclass(x) and not isinstance(x, type) and next(tensors_in(x), None) is not None


def tensors_in(x: Any, depth: int = 4) -> Iterator[Any]:
    """The tensors in any value of the program's, but not those of its modules."""
    if isinstance(x, NS["Tensor"]):
        yield x
    elif depth and not is_simple(x) and not isinstance(x, (type, types.FunctionType, types.ModuleType, Module)):
        parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple, deque)) else ()
        for part in list(parts or getattr(x, "__dict__", {}).values()):
            yield from tensors_in(part, depth - 1)


def objects_in(x: Any) -> list[Any]:
    """The objects among a call's arguments that are no values: modules, optimizers, whatever has attributes."""
    if isinstance(x, (NS["Tensor"], set, frozenset, np.ndarray)) or is_simple(x):
        return []
    if isinstance(x, (tuple, list, dict)):
        return [o for v in (x.values() if isinstance(x, dict) else x) for o in objects_in(v)]
    if holds_tensors(x):
        return [o for f in dataclasses.fields(x) for o in objects_in(getattr(x, f.name))]
    return [] if isinstance(x, _CONSTANT) else [x]


#: Objects that never change.
_CONSTANT = (type, dtypes.dtype, device, types.BuiltinFunctionType, np.ufunc)


def suits_form(args: tuple, form: Any) -> bool:
    """Whether arguments that are tensors, each another one, have this form; False in doubt."""
    (_, forms), (_, named) = form[1]
    count = len(args)
    if named or count != len(forms) or (count > 1 and len({*map(id, args)}) != count):
        return False
    tensor = NS["Tensor"]
    for t, known in zip(args, forms):
        if t.__class__ is not tensor or known[0] != "tensor":
            return False
        _, shape, dtype, strides, kind, bare, where = known
        a, node = t._a, t._node
        place = None if a.__class__ is np.ndarray else getattr(a, "device", None)
        if (
            (0 if node is None else 1 if node is LEAF else 2) != kind
            or a.shape != shape
            or (a.dtype is not dtype and a.dtype != dtype)
            or a.strides != strides
            or (t._grad is None) != bare
            or (place is not where and place != where)
        ):
            return False
    return True


def _where(array: Any) -> Any:
    """The device of an array that is not NumPy's."""
    return None if array.__class__ is np.ndarray else getattr(array, "device", None)


def rebuild(x: Any, replace: Callable[[Any], Any]) -> Any:
    """The same nesting with each tensor replaced."""
    if isinstance(x, NS["Tensor"]):
        return replace(x)
    if isinstance(x, tuple):
        made = [rebuild(v, replace) for v in x]
        return type(x)(*made) if hasattr(x, "_fields") else tuple(made)
    if isinstance(x, list):
        return [rebuild(v, replace) for v in x]
    if isinstance(x, dict):
        return filled(x, {k: rebuild(v, replace) for k, v in x.items()})
    if holds_tensors(x):
        return with_fields(x, {f.name: rebuild(getattr(x, f.name), replace) for f in dataclasses.fields(x)})
    return x


def filled(x: dict, entries: dict) -> Any:
    """A dictionary of the same kind with these entries."""
    if x.__class__ is dict:
        return entries
    made = copy.copy(x)
    for key, value in entries.items():
        made[key] = value
    return made


def with_fields(x: Any, fields: dict[str, Any]) -> Any:
    """A dataclass of the same kind with these fields."""
    made = copy.copy(x)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def contents(x: Any) -> Any:
    """Who is in the containers of a step's arguments, which it is given copies of: what it puts there would be lost."""
    if isinstance(x, (tuple, list)):
        return [contents(v) for v in x]
    if isinstance(x, dict):
        return [(k, contents(v)) for k, v in x.items()]
    if holds_tensors(x):
        return [contents(v) for v in vars(x).values()] if hasattr(x, "__dict__") else []
    return id(x)


def unknown_in(x: Any) -> Any:
    """What in a result has tensors that nobody can find at the next call, or is used up: None, if nothing does."""
    if isinstance(x, (tuple, list, dict)):
        return next((u for v in (x.values() if isinstance(x, dict) else x) if (u := unknown_in(v)) is not None), None)
    if isinstance(x, NS["Tensor"]) or holds_tensors(x):
        return None
    return x if hasattr(type(x), "__next__") or next(tensors_in(x), None) is not None else None


class Entrance(Node):
    """Where an argument with a history comes in: its stand-in is no leaf either, so that it can be written."""

    def __init__(self, leaf: Any) -> None:
        self.edges = (leaf,)
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        return (g,)


class Arguments:
    """The arguments of one capture.

    `given`: the program's tensors; `own`: their stand-ins, in `arrays`; `leaves`: where the stand-ins' gradients go.
    """

    def __init__(self, args: tuple, kwargs: dict) -> None:
        self.given: list[Any] = []
        form_of(args, kwargs, self.given)
        # laid out as the program's
        self.arrays = [np.copy(t._a, order="K") for t in self.given]
        self.own: list[Any] = []
        self.leaves: list[Any] = []
        for array, t in zip(self.arrays, self.given, strict=True):
            mine = wrap(array)
            leaf = mine
            if t._node is not None:
                mine._node = LEAF
                if t._node is not LEAF:
                    leaf = wrap(array)
                    leaf._node = LEAF
                    mine._node = Entrance(leaf)
                elif t._grad is not None:
                    leaf._grad = wrap(t._grad._a.copy())
            self.own.append(mine)
            self.leaves.append(leaf)
        self.places = {id(t): i for i, t in enumerate(self.own)}
        self.nodes = [t._node for t in self.own]
        self.grads = [t._grad for t in self.leaves]
        by_given = {id(t): own for t, own in zip(self.given, self.own, strict=True)}
        self.args, self.kwargs = rebuild((args, kwargs), lambda t: by_given[id(t)])
        self.contents = contents((self.args, self.kwargs))
        self.disturbed = False  # whether the step has put something into containers among them

    def close(self) -> None:
        """After the capture: notes what the step has left in its arguments."""
        self.disturbed = contents((self.args, self.kwargs)) != self.contents
        self.written = [i for i, t in enumerate(self.own) if t._version]
        #: arguments whose writes are recorded: they leave the step as results do
        self.recorded = [i for i in self.written if self.own[i]._node is not self.nodes[i]]
        self.new_grads = [t._grad for t in self.leaves]
        self.graded = [
            i
            for i, (old, new) in enumerate(zip(self.grads, self.new_grads, strict=True))
            if old is not None or new is not None
        ]

    def loose(self, entries: Sequence[Entry], blocks: Sequence[Block | None]) -> dict[Block, int]:
        """Arguments that a plan may read where the program has them, by their blocks.

        Only native calls read them, nothing writes them, and nobody has kept their stand-ins or views of those.
        """
        found: dict[Block, int] = {}
        marked = {*self.written, *self.graded}
        for i, (array, given, block) in enumerate(zip(self.arrays, self.given, blocks, strict=True)):
            if i in marked or block is None or given._node is not None or array.strides != given._a.strides:
                continue
            whole = block.whole is None and (block.start, block.size) == (address(array), array.nbytes)
            if whole and all(e.kind == "native" and e.args[0] == "run" for e in entries if block in e.touched):
                found[block] = i
        kept = self._kept(list(found.values())) if found else set()
        if kept and gc.collect(1):  # what nobody can reach any more keeps nothing, and of this step it is young
            kept = self._kept(list(found.values()))
        return {block: i for block, i in found.items() if i not in kept}

    def _kept(self, numbers: list[int]) -> set[int]:
        """Those of the arguments whose stand-ins something else holds, or shows."""
        mine = {id(self.own[i]): i for i in numbers}
        ends = {i: np.lib.array_utils.byte_bounds(self.arrays[i]) for i in numbers}
        kept: set[int] = set()
        for t in gc.get_objects():
            if isinstance(t, NS["Tensor"]) and t._a.__class__ is np.ndarray and t._a.size:
                at = address(t._a)
                kept.update(i for i, (low, high) in ends.items() if low <= at < high and mine.get(id(t)) != i)
        ours = {id(self.own), id(self.leaves)}
        stack: list[Any] = [self.args, self.kwargs]
        while stack:
            x = stack.pop()
            if isinstance(x, (tuple, list, dict)):
                ours.add(id(x))
                stack += x.values() if isinstance(x, dict) else x
        frame = sys._getframe()
        for i in numbers:
            if any(id(x) not in ours and x is not frame for x in gc.get_referrers(self.own[i])):
                kept.add(i)
        return kept

    def load(self, given: Sequence[Any], loose: Collection[int] = ()) -> None:
        """Before a replay: the plan's memory takes the values of these arguments, but for the loose ones."""
        for i, (mine, t) in enumerate(zip(self.arrays, given, strict=True)):
            if i not in loose:
                np.copyto(mine, t._a)
        for i in self.graded:
            if self.grads[i] is not None:
                np.copyto(self.grads[i]._a, given[i]._grad._a)

    def settle(self, given: Sequence[Any]) -> None:
        """After the step: what it wrote, and the gradients that it left, go to the program's tensors."""
        for i in self.written:
            np.copyto(given[i]._a, self.arrays[i])
            bump(given[i])
        for i in self.graded:
            t, old, new = given[i], self.grads[i], self.new_grads[i]
            if new is None:
                t._grad = None
            elif isinstance(t._node, Node):  # its own history takes the gradient on
                run_backward([edge_of(t)], [new._a.copy()], False, False, None, True)
            elif new is old:
                np.copyto(t._grad._a, new._a)
                bump(t._grad)
            else:
                t._grad = wrap(new._a.copy())
