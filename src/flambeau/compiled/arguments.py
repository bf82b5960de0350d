"""A step's arguments: their form, the stand-ins that a plan works on, and what the step left in them.

A plan reads its arguments from memory of its own. So what a step writes into an argument, and the gradient that its
backward leaves there, is handed over to the program's tensor after each replay.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.engine import run_backward
from flambeau.autograd.graph import Node, edge_of
from flambeau.autograd.runtime import LEAF, NS, tick
from flambeau.autograd.views import bump
from flambeau.engines.native.calls import address
from flambeau.ops.dispatch import wrap

from .capture import Entry
from .memory import Block

__all__ = ["Arguments", "flatten", "form_of", "rebuild", "suits_form"]


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
        return type(x).__name__, tuple([_form(v, leaves, places) for v in x])
    if isinstance(x, dict):
        return "dict", tuple([(k, _form(v, leaves, places)) for k, v in x.items()])
    try:
        hash(x)
    except TypeError:
        return "object", id(x)
    return type(x), x


def suits_form(args: tuple, form: Any) -> bool:
    """Whether arguments that are tensors, each another one, have this form; False in doubt."""
    forms = form[1][0][1]
    count = len(args)
    if count != len(forms) or (count > 1 and len({*map(id, args)}) != count):
        return False
    tensor = NS["Tensor"]
    for t, known in zip(args, forms):
        if t.__class__ is not tensor or known[0] != "tensor":
            return False
        _, shape, dtype, strides, kind, bare, where = known
        a, node = t._a, t._node
        if (
            (0 if node is None else 1 if node is LEAF else 2) != kind
            or a.shape != shape
            or (a.dtype is not dtype and a.dtype != dtype)
            or a.strides != strides
            or (t._grad is None) != bare
            or _where(a) != where
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
    return {k: rebuild(v, replace) for k, v in x.items()} if isinstance(x, dict) else x


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

    def close(self) -> None:
        """After the capture: notes what the step has left in its arguments."""
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
