"""One capture of a step, for one form of its arguments and one state of what it reads, and the plan made of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.engine import run_backward
from flambeau.autograd.function import BackwardFunction
from flambeau.autograd.graph import Node, edge_of
from flambeau.autograd.runtime import LEAF, NS, thread, tick
from flambeau.engines.native import threads
from flambeau.engines.native.calls import address
from flambeau.errors import CaptureError
from flambeau.ops.dispatch import wrap

from .arena import Arena
from .arguments import Arguments, flatten, rebuild, unknown_in
from .capture import Capture, Entry, plain
from .common import without_repeats
from .dead import living
from .fusion import fuse
from .memory import Block, Memory, Place, Ranges, calls_of, places_in
from .plan import Plan
from .straight import straight

__all__ = ["Digest", "Variant", "differ"]


class Variant:
    """A capture, and its plan once a second capture has agreed."""

    def __init__(
        self, function: Callable, args: tuple, kwargs: dict, parameters: list[Any], lenient: bool = False
    ) -> None:
        self.arguments = Arguments(args, kwargs)
        capture = Capture(lenient)
        capture.start()
        before = [_before(p, capture) for p in parameters]
        try:
            self.result = function(*self.arguments.args, **self.arguments.kwargs)
            self.unknown = unknown_in(self.result)
            made: list[Any] = []
            flatten(self.result, made)
            before_it = {id(t) for ref, _ in capture.states if (t := ref()) is not None}
            #: results that the step has made; others were there before, and are given back as they are
            self.outputs = [t for t in made if id(t) not in before_it or isinstance(t._node, Node)]
            self.arguments.close()
            self.disturbed = self.arguments.disturbed
            self.forward = len(capture.entries)
            self.leaves: list[Any] = []
            self._find_roots()
            if self.roots:
                self._capture_backward()
            self.error = capture.error  # of a lenient capture that was given up: the step has run all the same
        finally:
            capture.stop()
        self.capture: Capture | None = capture
        self.moved = capture.moved
        self.scheduled = {id(group) for schedule in capture.schedules for group in schedule.optimizer.param_groups}
        self.slots: list[tuple[Any, ...]] = [(*old, p._grad) for old, p in zip(before, parameters, strict=True)]
        self.arena: Arena | None = None
        self.entries = len(capture.entries)
        self.plan: Plan | None = None
        self.back: Plan | None = None
        self.works_on = Ranges((), (0, 0))  # the program's memory, other than arguments, and its own
        self.places: list[int] = []  # where the arguments of the last call lay, in none of this memory
        self.only: np.ndarray | None = None  # the result, where it is one tensor and nothing else leaves the step
        self.turn = 0
        self.pending: list[Any] = []
        self._tie()

    def uses(self, array: np.ndarray) -> bool:
        """Whether the captured step works on this memory, which was there before it."""
        if self.capture is None or not array.size:
            return False
        block = self.capture.memory.at(np.lib.array_utils.byte_bounds(array)[0])
        return block is not None and not block.made and block.root.array is not None

    def _find_roots(self) -> None:
        """What leaves the step with a history: arguments that it wrote, then results."""
        arguments = self.arguments
        self.outputs = [t for t in self.outputs if id(t) not in arguments.places]
        going = [arguments.own[i] for i in arguments.recorded] + self.outputs
        self.roots = [t for t in going if thread.grad and isinstance(t._node, Node) and not is_freed(t._node)]
        self.order = {id(t): at for at, t in enumerate(self.roots)}
        self.made = {id(t) for t in self.outputs}

    def _tie(self) -> None:
        """Lets the graph of a captured call, which runs for real, lead to the arguments themselves."""
        if not self.leaves:
            return
        stands = {
            id(leaf): t
            for leaf, t in zip(self.arguments.leaves, self.arguments.given, strict=True)
            if leaf._node is LEAF
        }
        seen: set[int] = set()
        stack = [t._node for t in self.roots]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            # it works on the plan's memory: no replay before it is used up
            if _keeps(node):
                self.pending.append(weakref.ref(node))
            stack += [e for e in node.edges if isinstance(e, Node)]
            if any(id(e) in stands for e in node.edges):
                node.edges = tuple([edge_of(stands[id(e)]) if id(e) in stands else e for e in node.edges])

    def handed_out(self) -> Any:
        """The results of the captured call, as the program gets them: the plan keeps its own."""
        nodes = [t._node for t in self.roots]
        results = self._public(self.arguments.given, nodes)
        for t in self.roots:
            t._node = None
        return results

    def _public(self, given: Sequence[Any], nodes: list[Any]) -> Any:
        """The step's results and what it left in its arguments, as the program gets them; `nodes`: behind the roots."""
        arguments = self.arguments
        if arguments.written or arguments.graded:
            arguments.settle(given)
            for i in arguments.recorded:
                at = self.order.get(id(arguments.own[i]))
                if at is not None:
                    given[i]._node = nodes[at]
        places, order, made = arguments.places, self.order, self.made

        def public(t: Any) -> Any:
            if id(t) not in made:
                return given[places[id(t)]] if id(t) in places else t
            mine = wrap(t._a.copy())
            at = order.get(id(t))
            mine._node = t._node if at is None else nodes[at]
            return mine

        return rebuild(self.result, public)

    # --- backward of a step whose results go on ---------------------------------------------------------------

    def _capture_backward(self) -> None:
        """Captures what leads from gradients of the results to those of leaves; the step's own graph stays."""
        self.leaves = leaves_of([t._node for t in self.roots])
        if NS["CAPTURE"] is None:
            return
        self.seeds = [np.empty(t._a.shape, t._a.dtype) for t in self.roots]
        seeds = [wrap(s) for s in self.seeds]
        for s in seeds:
            s._a.fill(1)
            NS["CAPTURE"].adopt(s)
        edges = [edge_of(t) for t in self.roots]
        grads = run_backward(edges, [s._a for s in seeds], True, False, list(self.leaves), False)
        self.grads = [None if g is None else plain(g) for g in grads]

    # --- the plan ---------------------------------------------------------------------------------------------

    def digest(self) -> Digest:
        """What the capture did."""
        assert self.capture is not None
        return Digest(self.capture, self.outputs)

    def shows(self, array: np.ndarray) -> bool:
        """Whether a result is an array's memory."""
        found: list[Any] = []
        flatten(self.result, found)
        return bool(array.size) and any(np.may_share_memory(t._a, array) for t in found)

    def outside(self, value: Any) -> Any:
        """A value that the step has left somewhere, as the program is to have it: with its own arguments."""
        given, places = self.arguments.given, self.arguments.places
        return rebuild(value, lambda t: given[places[id(t)]] if id(t) in places else t)

    def forget(self) -> None:
        """Lets the capture go: another one has to make the plan."""
        assert self.capture is not None
        self.capture.memory.close()
        self.capture = None

    def prepare(self) -> None:
        """Makes the plan."""
        capture, self.capture = self.capture, None
        assert capture is not None
        memory, entries, cut = capture.memory, capture.entries, self.forward
        if memory.trouble:
            raise CaptureError(memory.trouble)
        mine = {id(a) for a in self.arguments.arrays}
        there = [t for ref, _ in capture.states if (t := ref()) is not None and id(t._a) not in mine]
        states = [(t, t._a, memory.meet(t._a)) for t in there]
        live = self._shown(capture)
        blocks = [memory.meet(a) for a in self.arguments.arrays]
        stay = memory.close()
        for entry in entries:
            entry.touched = {block.root for block in entry.touched}
        if not self.leaves:
            live = stay
        later: set[Block] = set().union(*(e.touched for e in entries[cut:]))
        first = _passes(entries[:cut], memory, live | later)
        rest = _passes(entries[cut:], memory, live)
        self.arena = Arena(memory, first + rest, stay, shared=not self.leaves)
        loose = {} if self.leaves else self.arguments.loose(first, blocks)
        self.plan = Plan(first, self.arena, loose)
        touched = {b for e in first for b in e.touched if b in stay} - {b and b.root for b in blocks}
        self.works_on = Ranges(touched, self.arena.bounds)
        if self.leaves:
            self.back = Plan(rest, self.arena)
        used: set[Block] = set().union(*(e.touched for e in entries))
        self.used = [(t, a) for t, a, block in states if block is not None and block.root in used]
        slots = [_slot(p, old, place, new, used, self.arena) for p, old, place, new in self.slots]
        self.slots = [slot for slot in slots if slot is not None]
        self.arena.memory = None
        optimizers = {id(e.function): e.function for e in entries if e.kind == "optimizer"}.values()
        self.steps = [(o, o.state, o.param_groups, (len(o.state), len(o.param_groups))) for o in optimizers]
        plain_result = not (self.leaves or self.arguments.written or self.arguments.graded)
        if plain_result and isinstance(self.result, NS["Tensor"]) and id(self.result) in self.made:
            self.only = self.result._a

    def _shown(self, capture: Capture) -> set[Block]:
        """The blocks that some tensor shows after the step, or that the plan needs at its end."""
        tensor = NS["Tensor"]
        arrays = [t._a for t in gc.get_objects() if isinstance(t, tensor) and t._a.__class__ is np.ndarray]
        arrays += [t._a for t in self.outputs] + self.arguments.arrays
        if self.leaves:
            arrays += [*self.seeds, *(g for g in self.grads if g is not None)]
        return {block.root for a in arrays if (block := capture.memory.meet(a)) is not None}

    def holds(self) -> bool:
        """Whether the tensors that the plan works on still show the memory that they did."""
        for t, a in self.used:
            if t._a is not a:
                return False
        for o, state, groups, sizes in self.steps:
            if o.state is not state or o.param_groups is not groups or (len(state), len(groups)) != sizes:
                return False
        return True

    def apart(self, given: Sequence[Any]) -> bool:
        """Whether these arguments lie in no memory that the plan works on, where it would meet its own writes."""
        places = [address(t._a) for t in given]
        if places == self.places:  # they have the shapes and strides that they had
            return True
        for t in given:
            a = t._a
            low, high = (address(a), address(a) + a.nbytes) if a.flags.forc else np.lib.array_utils.byte_bounds(a)
            if self.works_on.meet(low, high):
                return False
        return True

    def free(self) -> bool:
        """Whether no earlier replay waits for its backward, which needs what this one would overwrite."""
        for ref in self.pending:
            node = ref()
            if node is not None and not _used_up(node):
                return False
        return True

    def replay(self, given: Sequence[Any]) -> Any:
        """One step on these arguments, which are `apart`."""
        words = self.plan.words  # type: ignore[union-attr]
        places = [address(t._a) for t in given]
        if places != self.places:
            for i in words:
                self.plan.bind(i, places[i])  # type: ignore[union-attr]
            self.places = places
        self.arguments.load(given, words)
        for p, old, _ in self.slots:
            if old is not None and p._grad._a is not old:
                np.copyto(old, p._grad._a)
        self.plan.run()  # type: ignore[union-attr]
        for p, _, new in self.slots:
            p._grad = new
        self.turn += 1
        if self.only is not None:
            return wrap(self.only.copy())
        return self._public(given, self._nodes(given) if self.leaves else [])

    def _nodes(self, given: Sequence[Any]) -> list[Any]:
        """A node for each root: what a replay has behind it."""
        own = {id(leaf): t for leaf, t in zip(self.arguments.leaves, given, strict=True)}
        node = CompiledBackward(self, [own.get(id(leaf), leaf) for leaf in self.leaves])
        self.pending = [weakref.ref(node)]
        count = len(self.roots)
        return [NS["Pick"](node, at) for at in range(count)] if count > 1 else [node]

    def backward(self, grads: list[Any]) -> tuple[Any, ...]:
        """Gradients of the leaves from those of the results."""
        for seed, g in zip(self.seeds, grads, strict=True):
            if g is None:
                seed.fill(0)
            else:
                np.copyto(seed, g)
        self.back.run()  # type: ignore[union-attr]
        return tuple(None if g is None else g.copy() for g in self.grads)


class CompiledNode(Node):
    """What goes backward through a compiled call, once."""

    def name(self) -> str:
        return "CompiledFunctionBackward"

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        raise RuntimeError(
            "a compiled function goes backward once: create_graph=True needs the function as it is, not compiled"
        )


class CompiledBackward(CompiledNode):
    """Goes backward through a compiled step."""

    def __init__(self, variant: Variant, leaves: list[Any]) -> None:
        self.variant, self.turn = variant, variant.turn
        self.edges = tuple(t if t._node is LEAF else t._node for t in leaves)
        self.outputs = len(variant.roots)
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        if self.freed:
            raise NS["FREED"](self)
        if self.turn != self.variant.turn:
            raise RuntimeError(
                "the compiled function was called again before this backward, and its plan has overwritten what the "
                "backward needs; call backward() after each call"
            )
        return self.variant.backward(g if isinstance(g, list) else [g])

    def release(self) -> None:
        self.freed = True


def _passes(entries: Sequence[Entry], memory: Memory, live: set[Block]) -> list[Entry]:
    """The entries without what is dead, done twice or only put in order, elementwise ones joined."""
    return fuse(straight(without_repeats(living(entries, live), memory, live), memory, live), memory, live)


def _keeps(node: Any) -> bool:
    """Whether a node holds on to values for its backward."""
    kept = getattr(node, "kept", None)
    return isinstance(node, (BackwardFunction, CompiledBackward)) if kept is None else bool(kept)


def _used_up(node: Any) -> bool:
    """Whether a backward has freed what a node kept."""
    return node.freed or getattr(node, "saved", ()) is None


def is_freed(node: Any) -> bool:
    """Whether a backward within the step has used up the graph at this node or below, which no other gets through."""
    stack, seen = [node], {id(node)}
    while stack:
        node = stack.pop()
        if _used_up(node):
            return True
        fresh = [e for e in node.edges if isinstance(e, Node) and id(e) not in seen]
        seen.update(map(id, fresh))
        stack += fresh
    return False


def leaves_of(nodes: list[Any]) -> list[Any]:
    """The leaves of a graph, in the order in which they are met."""
    found: dict[int, Any] = {}
    seen = {id(n) for n in nodes}
    stack = list(nodes)
    while stack:
        for edge in stack.pop().edges:
            if edge is None or id(edge) in seen:
                continue
            seen.add(id(edge))
            if isinstance(edge, Node):
                stack.append(edge)
            else:
                found[id(edge)] = edge
    return list(found.values())


def _before(p: Any, capture: Capture) -> tuple[Any, Any, Place | None]:
    """A parameter, its gradient (weakly) and where that lies, before the step."""
    if p._grad is None:
        return p, None, None
    a = plain(p._grad._a)
    if not isinstance(a, np.ndarray):  # another device's
        return p, None, None
    return p, weakref.ref(p._grad), Place(a, capture.memory.meet(a))


def _slot(
    p: Any, old: Any, place: Place | None, new: Any, used: set[Block], arena: Arena
) -> tuple[Any, Any, Any] | None:
    """A gradient that the step replaces, or writes in place: the parameter, what it reads as the old one, the new one.

    None for one that it leaves alone.
    """
    if place is None:
        return None if new is None else (p, None, new)
    read = bool(place.size) and place.block in used
    if old() is new:
        return (p, new._a, new) if read else None
    return p, arena.array(place) if read else None, new


class Digest:
    """What a capture did, to be compared with another by as many threads, among which native calls are shared out."""

    def __init__(self, capture: Capture, outputs: Sequence[Any]) -> None:
        self.threads = threads.count()
        self.entries = [
            (e.kind, e.name, [(p.shape, p.dtype) for p in places_in((e.args, e.kwargs))], e.foreign,
             _constants(e, capture.memory))
            for e in capture.entries
        ]
        for t in outputs:  # that no call has made
            block = capture.memory.meet(t._a)
            if block is not None and not block.known:
                self.entries.append(("result", "the result", [], [(t._a, hash(t._a.tobytes()))], []))


def differ(one: Digest, two: Digest) -> str:
    """What two captures of one step do not have in common: empty, if they do the same."""
    if len(one.entries) != len(two.entries):
        return f"it made {len(one.entries)} calls the first time, {len(two.entries)} the second"
    for (kind, name, places, foreign, constants), (kind2, name2, places2, foreign2, constants2) in zip(
        one.entries, two.entries, strict=True
    ):
        if (kind, name) != (kind2, name2):
            return f"it called {name} the first time, {name2} the second"
        for (shape, dtype), (shape2, dtype2) in zip(places, places2, strict=False):
            if shape != shape2 or dtype != dtype2:
                return f"{name} worked on {dtype}{list(shape)}, then on {dtype2}{list(shape2)}"
        for (at, value), (again, other) in zip(foreign, foreign2, strict=False):
            if at is not again and value != other:
                return f"{name} takes a value that was computed where the capture can't see it"
        for number, number2 in zip(constants, constants2, strict=False):
            if number != number2:
                return f"{name} works with {_told(number)}, then with {_told(number2)}"
    return ""


def _constants(entry: Entry, memory: Memory) -> list[Any]:
    """The numbers that a captured call works with: of native calls, their tables but for addresses."""
    if entry.kind != "native":
        return [] if entry.kind == "optimizer" else list(_numbers((entry.args, entry.kwargs)))
    found = []
    for _, table in calls_of(entry.args):
        words = np.frombuffer(table, np.int64).copy()
        for word, *_ in memory.words_of(table):
            words[word] = 0
        found.append(words.tobytes())
    return found


def _numbers(x: Any) -> Iterator[Any]:
    if isinstance(x, (tuple, list)):
        for v in x:
            yield from _numbers(v)
    elif isinstance(x, dict):
        for v in x.values():
            yield from _numbers(v)
    elif isinstance(x, slice):
        yield from (repr(x.start), repr(x.stop), repr(x.step))
    elif isinstance(x, (bool, int, float, complex, str, np.generic)):
        yield repr(x)


def _told(number: Any) -> str:
    return "one number" if isinstance(number, bytes) else number
