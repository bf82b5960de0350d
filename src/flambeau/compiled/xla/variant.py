"""One trace of a step for XLA, for one form of its arguments and one state of what it reads, and its program."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Callable
from operator import is_
from typing import Any

import numpy as np

from flambeau.autograd.engine import run_backward
from flambeau.autograd.graph import Node, edge_of
from flambeau.autograd.runtime import LEAF, NS, thread, tick
from flambeau.autograd.views import bump, written
from flambeau.compiled.arguments import (
    Entrance,
    contents,
    filled,
    flatten,
    form_of,
    holds_tensors,
    rebuild,
    unknown_in,
    with_fields,
)
from flambeau.compiled.variant import CompiledNode, is_freed, leaves_of
from flambeau.devices import CPU
from flambeau.engines.arrays import FOREIGN
from flambeau.engines.xla.array import Store, XArray, fresh, made_like
from flambeau.engines.xla.program import Program
from flambeau.engines.xla.runtime import jnp, lifting
from flambeau.engines.xla.whole import HostStore, Nested
from flambeau.ops.placing import bare

from .capture import WholeCapture, address_of, dense_order
from .updates import Scheduled

__all__ = ["WholeVariant", "alike"]


class _Form:
    """How a result's tensor is made of a value."""

    __slots__ = ("device", "order", "pattern", "root")

    def __init__(self, tensor: Any) -> None:
        array = tensor._a
        self.device = array.device if array.__class__ in FOREIGN else CPU
        self.order = None if self.device is CPU and array.__class__ is np.ndarray else dense_order(array)
        self.root = -1  # its number among those that go backward
        self.pattern: XArray | None = None  # an array as the program gives it

    def value(self, tensor: Any) -> Any:
        """The value that the program gives for it."""
        array = tensor._a
        if array.__class__ is np.ndarray:
            return jnp.asarray(array)
        return array.value if self.order is None else array.transpose(self.order).value

    def tensor(self, value: Any) -> Any:
        """The tensor of a call's value."""
        if self.device is CPU:
            array = np.array(value)
            return bare(array if self.order is None else array.transpose(np.argsort(self.order)))
        if self.pattern is not None and lifting.trace is None:
            return bare(made_like(self.pattern, value))
        made = fresh(value, self.device)
        if self.order is None:
            self.pattern = made_like(made, None)
        else:
            made = made.transpose(np.argsort(self.order))
            made.base = None
        return bare(made)


class WholeVariant:
    """A step traced on these arguments; `run` calls its program."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict, watched: Any, device: Any) -> None:
        self.given: list[Any] = []
        form_of(args, kwargs, self.given)
        self.device = device
        self.watched = watched
        self.back: Any = None
        before = [(p, p._grad) for p in watched.parameters]
        capture = WholeCapture(device, watched.reach.arrays.values())
        self.marks = _Marks(watched)
        try:
            with capture.open():
                traced = capture.trace.run(
                    lambda: self._step(function, args, kwargs, capture), lambda refs: self._living(refs, capture)
                )
        except BaseException:
            self.marks.undo()
            raise
        self.moved = capture.moved
        self.steps = capture.steps
        schedules = [s.scheduler for s in self.steps if isinstance(s, Scheduled)]
        self.scheduled = {id(group) for schedule in schedules for group in schedule.optimizer.param_groups}
        self.feeds = capture.feeds
        self.slots = [(p, p._grad) for p, old in before if p._grad is not old]
        self._own_host_memory(traced)
        steady = {id(g._a.store) for _, g in self.slots if g is not None and g._a.__class__ is XArray}
        self.program = Program(traced, device, steady)
        self.again = [self.feeds[f.number] for f in self.program.fed]
        self._find_used(capture)
        self._tie_gradients(before)
        for step in self.steps:
            step.settle()
        self.fresh = True
        self.inputs, self.given = self.given, []

    # --- the trace ------------------------------------------------------------------------------------------------

    def _step(self, function: Callable, args: tuple, kwargs: dict, capture: WholeCapture) -> list[Any]:
        """Runs the step on symbols, and returns what the program gives."""
        own, leaves = self._stand_ins(capture)
        symbols, nodes = [t._a.store.value for t in own], [t._node for t in own]
        by_given = {id(t): mine for t, mine in zip(self.given, own)}
        own_args, own_kwargs = rebuild((args, kwargs), lambda t: by_given[id(t)])
        self.own = [weakref.ref(t) for t in own]
        held = contents((own_args, own_kwargs))
        result = function(*own_args, **own_kwargs)
        self.disturbed = contents((own_args, own_kwargs)) != held
        self.unknown = unknown_in(result)
        outputs: list[Any] = []
        flatten(result, outputs)
        self.results = len(outputs)
        self.passed = [(n, i) for n, t in enumerate(outputs) for i, mine in enumerate(own) if t is mine]
        # nothing is held here that the step has made: it would be taken for something that somebody has kept
        self.shown = {id(t._a.store.memory if t._a.store.__class__ is HostStore else t._a.store) for t in outputs
                      if t._a.__class__ is XArray}  # fmt: skip
        # arguments that were written, also as part of the graph, and gradients that they got
        self.written = [i for i, t in enumerate(own) if t._a.store.value is not symbols[i]]
        outputs += [own[i] for i in self.written]
        self.recorded = [own[i]._node is not nodes[i] for i in self.written]
        self.forms = [_Form(t) for t in outputs]
        values = [f.value(t) for f, t in zip(self.forms, outputs)]
        self.result = _structure(result)
        roots = [
            t for t in outputs
            if isinstance(t._node, Node) and not is_freed(t._node) and t._a.dtype.kind in "fcV"
        ] if thread.grad else []  # fmt: skip
        self.graded = [i for i, t in enumerate(leaves) if t._grad is not None or self.given[i]._grad is not None]
        self.kept = [leaves[i]._grad is not None for i in self.graded]
        values += [leaves[i]._grad._a.value for i in self.graded if leaves[i]._grad is not None]
        if roots:
            births = len(capture.trace.births)
            values += self._backward(roots, outputs, leaves)
            del capture.trace.births[births:]  # symbols of another program
        for ended in capture.ended:
            ended()
        self.skips = [steps for _, steps in capture.skips]
        values += [skip for skip, _ in capture.skips]
        for t in (*outputs, *own):
            t._node = None
        return values

    def _stand_ins(self, capture: WholeCapture) -> tuple[list[Any], list[Any]]:
        """Tensors that stand for the arguments, and the leaves that get their gradients."""
        own, leaves = [], []
        for i, t in enumerate(self.given):
            mine = leaf = bare(capture.argument(i, t))
            if t._node is LEAF:
                mine._node = LEAF
                if t._grad is not None:
                    mine._grad = bare(capture.argument(i, t._grad, gradient=True))
            elif t._node is not None:  # with a history of its own
                leaf = bare(mine._a)
                leaf._node = LEAF
                mine._node = Entrance(leaf)
            own.append(mine)
            leaves.append(leaf)
        return own, leaves

    def _backward(self, roots: list[Any], outputs: list[Any], own: list[Any]) -> list[Any]:
        """Traces what leads from gradients of the results to the leaves; returns what it needs of the forward part."""
        leaves = leaves_of([t._node for t in roots])
        stands = {id(mine): i for i, mine in enumerate(own)}
        self.leaves = [(stands[id(leaf)], None) if id(leaf) in stands else (-1, leaf) for leaf in leaves]
        for n, t in enumerate(roots):
            self.forms[next(i for i, o in enumerate(outputs) if o is t)].root = n
        edges = [edge_of(t) for t in roots]
        labels = [t._a.device if t._a.__class__ in FOREIGN else CPU for t in roots]

        def back(*seeds: Any) -> list[Any]:
            grads = [fresh(s, label) for s, label in zip(seeds, labels)]
            found = run_backward(edges, grads, False, False, list(leaves), False)
            self.missing = [g is None for g in found]
            return [g.value for g in found if g is not None]

        self.seeds = [(t._a.shape, t._a.dtype) for t in roots]
        self.back = Nested(back, self.seeds)
        return self.back.residuals

    def _living(self, refs: list[Any], capture: WholeCapture) -> list[Store]:
        """Of the memory that the step made, what is still there: gradients, an optimizer's state, what was kept."""
        gc.collect()
        found = {id(s): s for s in (ref() for ref in refs) if s is not None and s.value is not None}
        return list(found.values())

    def _own_host_memory(self, traced: Any) -> None:
        """Tensors that the step made on the CPU, and left behind, get NumPy memory of their own."""
        stores = {id(s): s for s in traced.born if s.device is CPU}
        if not stores:
            return
        memory = {key: np.empty(s.shape, s.dtype) for key, s in stores.items()}
        tensor = NS["Tensor"]
        for t in [o for o in gc.get_objects() if isinstance(o, tensor)]:
            a = getattr(t, "_a", None)
            if a.__class__ is XArray and id(a.store) in stores:
                whole = memory[id(a.store)]
                if a._shadow is None:
                    t._a = whole.reshape(a.shape)
                else:
                    t._a = np.ndarray(a.shape, whole.dtype, whole, a.offset_bytes, a.strides)
        for i, s in enumerate(traced.born):
            if id(s) in stores:
                traced.born[i] = HostStore(memory[id(s)])

    # --- what the program holds for -------------------------------------------------------------------------------

    def _find_used(self, capture: WholeCapture) -> None:
        """The tensors of modules whose memory the program works on."""
        stores = {id(s) for s in self.program.stores} | {id(s) for s in self.program.targets}
        memory = {id(m) for m in self.program.held}
        here = {id(t): a for t, a, x in capture.swapped if id(x.store.memory) in memory}
        self.used = []
        for t in self.watched.tensors():
            a = t._a
            if (a.__class__ is XArray and id(a.store) in stores) or id(t) in here:
                self.used.append((t, a))
        self.tensors = [t for t, _ in self.used]
        self.arrays = [a for _, a in self.used]

    def _tie_gradients(self, before: list[tuple[Any, Any]]) -> None:
        """Gradients that the program goes on from: they may have been exchanged when it runs again."""
        mine = {id(s) for s in (*self.program.stores, *self.program.targets)}
        held = {id(m) for m in self.program.held}
        changed = {id(s.memory if s.__class__ is HostStore else s) for s in self.program.targets}
        own = {id(p) for p, _ in self.slots}
        #: parameters, the gradients that they had, and whether the program goes on writing into these
        self.grads = []
        self.named: dict[Any, Any] = {}
        for number, (p, old) in enumerate(before):
            if old is None:
                continue
            a = old._a
            store = a.store if a.__class__ is XArray else None
            if store is not None:
                self.named[id(store)] = "gradient", number
            else:
                self.named[address_of(a)] = "gradient", number
            if (store is not None and id(store) in mine) or any(id(b) in held for b in (a, a.base)):
                goes_on = id(p) not in own and any(id(m) in changed for m in (store, a, getattr(a, "base", None)))
                self.grads.append((p, old, goes_on))

    def places(self) -> list[Any]:
        """Where the memory is that the program reads, to be compared; gradients by whose they are."""
        named = self.named
        return [named.get(at[0] if at.__class__ is tuple else at, at) for at in self.program.places()]

    def uses(self, array: Any) -> bool:
        """Whether the program reads an array's memory."""
        if array.__class__ is XArray:
            return any(s is array.store for s in self.program.stores)
        return any(np.may_share_memory(array, memory) for memory in self.program.held)

    def holds(self) -> bool:
        """Whether the tensors that the program works on still show the memory that they did."""
        return all(map(is_, [t._a for t in self.tensors], self.arrays))

    def take_over(self, before: WholeVariant) -> None:
        """Goes on with the executable of an earlier trace that did the same, and with the tensors that it leaves
        gradients in, which other programs go on from. What else this trace has left behind is what gets values.
        """
        slots = {id(p): g for p, g in before.slots}
        settled = set()
        for i, (p, new) in enumerate(self.slots):
            old = slots.get(id(p))
            if old is not None and new is not None:
                at = self.program.target_of(new._a)
                if at is not None and before.program.target_of(old._a) == at:
                    settled.add(at)
                    self.slots[i] = (p, old)
        for at in range(self.program.fixed, len(self.program.targets)):
            if at not in settled:
                before.program.give_to(at, self.program.targets[at])
        self.program = before.program
        self.grads = before.grads
        self.back = before.back

    # --- calls ----------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Advances what the host counts; False, and nothing has changed, where the program does not hold any more."""
        if self.fresh:  # the trace has counted already
            self.fresh = False
            return True
        for i, step in enumerate(self.steps):
            if not step.advance():
                for done in reversed(self.steps[:i]):
                    done.take_back()
                return False
        return True

    def run(self, given: list[Any]) -> Any:
        """One call on these arguments."""
        for p, old, goes_on in self.grads:
            if p._grad is not old and p._grad is not None:
                old._a[...] = p._grad._a
                if goes_on:
                    p._grad = old
        results = self.program.run([again(given) for again in self.again])
        for p, new in self.slots:
            p._grad = new
        if self.skips:
            results = self._counted(results)
        if self.written or self.graded or self.passed or self.back is not None:
            return self._rest(results, given)
        forms = self.forms
        if len(forms) == 1:
            return self.result(iter((forms[0].tensor(results[0]),)))
        return self.result(iter([f.tensor(v) for f, v in zip(forms, results)]))

    def _counted(self, results: Any) -> Any:
        """The results but for what the program says last: which steps it has skipped. Those do not count."""
        n = len(results) - len(self.skips)
        for skipped, steps in zip(results[n:], self.skips):
            if skipped:
                for step in reversed(steps):
                    step.take_back()
        return results[:n]

    def _rest(self, results: Any, given: list[Any]) -> Any:
        """The results of a call that also writes its arguments, gives them gradients, or goes on to a backward."""
        n = len(self.forms)
        tensors = [f.tensor(v) for f, v in zip(self.forms, results)]
        gradients = iter(results[n:])
        for i, kept in zip(self.graded, self.kept):
            self._give_gradient(given[i], next(gradients) if kept else None)
        if self.back is not None:
            leaves = [leaf if at < 0 else given[at] for at, leaf in self.leaves]
            node = CompiledBackward(self, leaves, list(gradients))
            for form, t in zip(self.forms, tensors):
                if form.root >= 0:
                    t._node = NS["Pick"](node, form.root) if len(self.seeds) > 1 else node
        for i, t, recorded in zip(self.written, tensors[self.results :], self.recorded):
            mine = given[i]
            mine._a[...] = t._a
            if recorded and t._node is not None:
                written(mine, t._node)
            else:
                bump(mine)
        for n, i in self.passed:  # an argument itself
            tensors[n] = given[i]
        return self.result(iter(tensors))

    def outside(self, value: Any) -> Any:
        """A value that the step has left somewhere, as the program is to have it: with its own arguments."""
        own = {id(t): i for i, ref in enumerate(self.own) if (t := ref()) is not None}
        return rebuild(value, lambda t: self.inputs[own[id(t)]] if id(t) in own else t)

    def shows(self, array: Any) -> bool:
        """Whether a result is an array's memory."""
        return any(id(x) in self.shown for x in (getattr(array, "store", None), array, getattr(array, "base", None)))

    def _give_gradient(self, t: Any, value: Any) -> None:
        """Leaves a gradient with an argument."""
        if value is None:
            t._grad = None
            return
        array = fresh(value, t._a.device) if t._a.__class__ in FOREIGN else np.array(value)
        if isinstance(t._node, Node):  # its own history takes the gradient on
            run_backward([edge_of(t)], [array], False, False, None, True)
        elif t._grad is not None:
            t._grad._a[...] = array
            bump(t._grad)
        else:
            t._grad = bare(array)

    def backward(self, residuals: list[Any], grads: list[Any], devices: list[Any]) -> tuple[Any, ...]:
        """Gradients of the leaves from those of the results."""
        seeds = []
        for (shape, dtype), g in zip(self.seeds, grads):
            if g is None:
                seeds.append(np.zeros(shape, dtype))
            else:
                seeds.append(g.value if g.__class__ in FOREIGN else g)
        values = iter(self.back.run(residuals, seeds))
        found: list[Any] = []
        for missing, device in zip(self.missing, devices):
            if missing:
                found.append(None)
            else:
                value = next(values)
                found.append(np.array(value) if device is CPU else fresh(value, device))
        return tuple(found)


class _Marks:
    """What a trace that fails may have changed besides memory, to be put back."""

    def __init__(self, watched: Any) -> None:
        from flambeau.random import default_generator

        self.grads = [(p, p._grad) for p in watched.parameters]
        self.states = [(o, o.state, {k: dict(v) if isinstance(v, dict) else v for k, v in o.state.items()})
                       for o in watched.optimizers]  # fmt: skip
        self.counts = [
            (v._a, v._a.copy())
            for _, state, _ in self.states
            for s in state.values()
            if isinstance(s, dict)
            for v in s.values()
            if isinstance(v, NS["Tensor"]) and v._a.__class__ is np.ndarray and not v._a.ndim
        ]
        self.generator = default_generator
        self.random = default_generator.mark()

    def undo(self) -> None:
        """Puts it back."""
        for p, grad in self.grads:
            p._grad = grad
        for _, state, before in self.states:
            state.clear()
            state.update(before)
        for a, value in self.counts:
            a[()] = value
        self.generator.rewind(self.random)


class CompiledBackward(CompiledNode):
    """Goes backward through a compiled call."""

    def __init__(self, variant: WholeVariant, leaves: list[Any], residuals: list[Any]) -> None:
        self.variant, self.residuals = variant, residuals
        self.edges = tuple(t if t._node is LEAF else t._node for t in leaves)
        self.devices = [CPU if t._a.__class__ is np.ndarray else t._a.device for t in leaves]
        self.outputs = len(variant.seeds)
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        if self.freed:
            raise NS["FREED"](self)
        return self.variant.backward(self.residuals, g if isinstance(g, list) else [g], self.devices)

    def release(self) -> None:
        self.freed = True
        self.residuals = []


def _structure(result: Any) -> Callable[[Any], Any]:
    """Builds a result's nesting from its tensors."""
    if isinstance(result, NS["Tensor"]):
        return next
    if isinstance(result, (tuple, list)):
        parts = [_structure(v) for v in result]
        if hasattr(result, "_fields"):
            cls = type(result)
            return lambda tensors: cls(*[part(tensors) for part in parts])
        if isinstance(result, tuple):
            return lambda tensors: tuple([part(tensors) for part in parts])
        return lambda tensors: [part(tensors) for part in parts]
    if isinstance(result, dict):
        named = {k: _structure(v) for k, v in result.items()}
        return lambda tensors: filled(result, {k: part(tensors) for k, part in named.items()})
    if holds_tensors(result):
        fields = {f.name: _structure(getattr(result, f.name)) for f in dataclasses.fields(result)}
        return lambda tensors: with_fields(result, {k: part(tensors) for k, part in fields.items()})
    return lambda tensors: result


def alike(one: WholeVariant, two: WholeVariant) -> str:
    """What two traces of one step do not have in common: empty, if they do the same."""
    from flambeau.engines.xla.compare import difference

    wrong = difference(one.program.jaxpr, two.program.jaxpr)
    if wrong:
        return wrong
    if one.places() != two.places():
        return "it works on other tensors than before: write results into the same ones (copy_)"
    return ""
