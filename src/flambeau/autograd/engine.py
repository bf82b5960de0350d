"""Going backward: from the roots' gradients to the leaves', in the order of the clock.

A node runs when the last gradient that leads to it has come; among those that are ready the youngest goes first, which
is the reverse of the order of forward. Leaves accumulate as soon as they are ready. There is no recursion.
"""

from __future__ import annotations

import heapq
from sys import getrefcount
from typing import Any

import numpy as np

from flambeau.autograd.graph import Node, Pick, show_as
from flambeau.autograd.runtime import NS, _switch, thread
from flambeau.autograd.views import bump
from flambeau.engines.arrays import copied


class Pass:
    """One backward pass: what it keeps, what it is asked for, and the gradients under way."""

    def __init__(self, retain: bool, create: bool, inputs: list[Any] | None, accumulate: bool) -> None:
        self.retain = retain
        self.create = create
        self.accumulate = accumulate
        self.wanted: dict[Any, int] | None = None if inputs is None else {}
        self.captured: list[Any] = [] if inputs is None else [None] * len(inputs)
        self.pending: dict[Any, Any] = {}
        self.inputs = inputs
        self.useful: set | None = None
        self.infinite: Any = None
        self.waits: dict[Any, int] = {}
        self.roots: list[Any] = []
        self.record = create

    def will_run(self, edge: Any) -> bool:
        """Whether this pass brings a gradient to `edge`, a node or a leaf."""
        if self.useful is not None and edge not in self.useful:
            return False
        return edge in self.waits or edge in self.roots

    def count(self, roots: list[Any]) -> dict[Any, int]:
        """How many gradients each node of the graph will be sent."""
        waits: dict[Any, int] = {}
        stack = [edge for edge in dict.fromkeys(roots) if isinstance(edge, Node)]
        seen = set(stack)
        while stack:
            for edge in stack.pop().edges:
                if edge is None:
                    continue
                n = waits.get(edge)
                if n is not None:
                    waits[edge] = n + 1
                else:
                    waits[edge] = 1
                    if edge not in seen and isinstance(edge, Node):
                        seen.add(edge)
                        stack.append(edge)
        return waits

    def select(self, roots: list[Any]) -> None:
        """Finds the nodes that lead to the inputs asked for, so that no other work is done."""
        assert self.inputs is not None and self.wanted is not None
        for i, edge in enumerate(self.inputs):
            self.wanted.setdefault(edge, i)
        order: list[Any] = []
        stack: list[Any] = [edge for edge in roots if edge is not None]
        seen = set(stack)
        while stack:
            node = stack.pop()
            order.append(node)
            if isinstance(node, Node):
                for edge in node.edges:
                    if edge is not None and edge not in seen:
                        seen.add(edge)
                        stack.append(edge)
        useful = set(self.wanted)
        for node in sorted((n for n in order if isinstance(n, Node)), key=lambda n: n.seq):
            if any(edge in useful for edge in node.edges):
                useful.add(node)
        self.useful = useful

    def run(self, roots: list[Any], grads: list[Any]) -> None:
        """Sends `grads` from `roots` down the graph."""
        if self.inputs is not None:
            self.select(roots)
        waits = self.waits = self.count(roots)
        self.roots = roots
        pending = self.pending
        heap: list[tuple[int, int, Any]] = []
        for edge, g in zip(roots, grads, strict=True):
            self.send(edge, g)
        for edge in dict.fromkeys(roots):
            if edge not in waits:
                if isinstance(edge, Node):
                    heapq.heappush(heap, (-edge.seq, id(edge), edge))
                else:
                    self.leaf(edge, pending.pop(edge))
        while heap:
            node = heapq.heappop(heap)[2]
            while node is not None:
                node = self.step(node, waits, heap)

    def step(self, node: Any, waits: dict[Any, int], heap: list) -> Any:
        """Runs `node`; returns the next one where no comparison is needed."""
        pending = self.pending
        g = pending.pop(node, None)
        results = self.visit(node, g)
        following = None
        if results is None:
            results = (None,) * len(node.edges)
        del g
        for i, edge in enumerate(node.edges):
            if edge is None:
                continue
            gi = results[i]
            if gi is not None:
                if edge in pending or (node.__class__ is Pick):
                    self.send(edge, gi, node)
                else:
                    pending[edge] = gi
            n = waits[edge] - 1
            if n:
                waits[edge] = n
                continue
            if isinstance(edge, Node):
                if following is not None:
                    heapq.heappush(heap, (-following.seq, id(following), following))
                following = edge
            else:
                gi = None
                results = results[:i] + (None,) + results[i + 1 :]
                if edge in pending:
                    self.leaf(edge, pending.pop(edge))
        if following is not None and heap:
            item = heapq.heappushpop(heap, (-following.seq, id(following), following))
            following = item[2]
        return following

    def visit(self, node: Any, g: Any) -> tuple | None:
        """Hooks, captures, and the node's own work."""
        if node.outputs > 1 and g is None:
            g = [None] * node.outputs
        hooked = node.tensor_hooks is not None or node.prehooks is not None or node.retains is not None
        if self.wanted is None:
            if hooked:
                g = self.before(node, g)
        else:
            # a gradient asked for is taken before hooks where the pass goes on from here, else after the tensors' hooks
            goes_on = any(edge in self.useful for edge in node.edges)  # type: ignore[operator]
            seen = self.before(node, g, goes_on) if hooked else g
            if node in self.wanted:
                self.captured[self.wanted[node]] = g if goes_on else seen
            if not goes_on:
                return None
            g = seen
        if g is None and not getattr(node, "runs_without_gradient", False):
            return None
        if self.create:
            results = node.run_recorded(g)
        else:
            try:
                results = node.run(g)
            except Exception as error:
                explain(node, error)
                raise
        if NS.get("ANOMALY") is not None:
            NS["ANOMALY"](self, node, results)
        if node.hooks is not None:
            results = self.after(node, g, results)
        if not self.retain:
            node.release()
        return results

    def send(self, edge: Any, g: Any, source: Any = None) -> None:
        """Adds `g` to what waits for `edge`."""
        pending = self.pending
        if source.__class__ is Pick:
            slots = pending.get(edge)
            if slots is None:
                slots = pending[edge] = [None] * edge.outputs
            known = slots[source.index]  # a rule that names an output makes a second Pick of it
            if known is not None:
                g = NS["OPS"].add(known, g) if self.create else np.add(known, g)
            slots[source.index] = g
            return
        old = pending.get(edge)
        if old is None:
            pending[edge] = g
        elif self.create:
            pending[edge] = NS["OPS"].add(old, g)
        else:
            pending[edge] = np.add(old, g)

    def before(self, node: Any, g: Any, runs: bool = True) -> Any:
        """The hooks that see the gradient of an output: tensors' hooks, retain_grad, then the node's if it `runs`."""
        many = node.outputs > 1
        grads = list(g) if many else [g]
        wrap, unwrap = self.show, self.hide
        if node.tensor_hooks is not None:
            for i, hooks in node.tensor_hooks.items():
                for hook in list(hooks.values()):
                    if grads[i] is None:
                        continue
                    result = hook(wrap(grads[i]))
                    if result is not None:
                        grads[i] = unwrap(checked_hook_result(result, grads[i]))
        if node.retains is not None:
            for i, ref in node.retains.items():
                tensor = ref()
                if tensor is not None and grads[i] is not None:
                    self.store(tensor, grads[i])
        if node.prehooks is not None and runs:
            for hook in list(node.prehooks.values()):
                result = hook(tuple(None if x is None else wrap(x) for x in grads))
                if result is not None:
                    result = result if isinstance(result, tuple) else (result,)
                    grads = [None if x is None else unwrap(x) for x in result]
        return grads if many else grads[0]

    def after(self, node: Any, g: Any, results: Any) -> Any:
        """The node's hooks, which see both sides."""
        gs = g if isinstance(g, list) else [g]
        outer = tuple(None if x is None else self.show(x) for x in gs)
        for hook in list(node.hooks.values()):
            inner = tuple(None if x is None else self.show(x) for x in results)
            replaced = hook(inner, outer)
            if replaced is not None:
                replaced = replaced if isinstance(replaced, tuple) else (replaced,)
                if len(replaced) != len(results):
                    raise RuntimeError(
                        f"{node.name()}: a hook has returned {len(replaced)} gradients, expected {len(results)}: "
                        "return one per input, or None to leave them as they are"
                    )
                results = tuple(None if x is None else self.hide(x) for x in replaced)
        return results

    def show(self, g: Any) -> Any:
        return g if self.create else NS["WRAP"](g)

    def hide(self, g: Any) -> Any:
        return g if self.create else g._a

    def leaf(self, tensor: Any, g: Any) -> None:
        """Delivers the whole gradient of a leaf."""
        at = 0
        if self.wanted is not None:
            found = self.wanted.get(tensor)
            if found is None:
                return
            at = found
        if tensor._hooks:
            shown = self.show(g)
            for hook in list(tensor._hooks.values()):
                result = hook(shown)
                if result is not None:
                    shown = checked_hook_result(result, shown)
            g = self.hide(shown)
            del shown
        if not self.accumulate:
            self.captured[at] = g
            return
        around = tensor._accumulator_hooks
        if around is not None:
            for hook in list(around[0].values()):
                result = hook((self.show(g),))
                if result is not None:
                    g = self.hide(result[0] if isinstance(result, tuple) else result)
        if self.create and not self.record:
            g = g.detach()  # of a dual its value: tangents don't go into `grad`
        if self.create:
            old = tensor._grad
            tensor._grad = show_as(NS["OPS"].clone_op(g), "CopyBackwards") if old is None else NS["OPS"].add(old, g)
        else:
            accumulate(tensor, g)
        if tensor._post_hooks:
            for hook in list(tensor._post_hooks.values()):
                hook(tensor)
        if around is not None:
            for hook in list(around[1].values()):
                hook((), (self.show(g),))

    def store(self, tensor: Any, g: Any) -> None:
        """`retain_grad`: adds to the gradient kept on a tensor that is no leaf."""
        if self.create:
            old = tensor._grad
            tensor._grad = g if old is None else NS["OPS"].add(old, g)
            return
        old = tensor._grad
        tensor._grad = NS["WRAP"](copied(g)) if old is None else NS["WRAP"](np.add(old._a, g))


def checked_hook_result(result: Any, given: Any) -> Any:
    """A hook's replacement gradient, if it is a tensor of the same shape."""
    shape = getattr(given, "_a", given).shape
    if not isinstance(result, NS["Tensor"]):
        raise TypeError(f"a hook must return a Tensor or None, got {type(result).__name__}")
    if result._a.shape != shape:
        raise RuntimeError(
            f"a hook returned a gradient of shape {list(result._a.shape)} where {list(shape)} came; it must keep "
            "the shape"
        )
    return result


def explain(node: Any, error: Exception) -> None:
    """Adds to an error from backward where the node was recorded, if anomaly mode kept that."""
    if node.trace is not None and hasattr(error, "add_note"):
        error.add_note(f"{node.name()} was recorded in forward at:\n{node.trace}")


def run_plain(edges: list[Any], grads: list[Any], retain: bool) -> None:
    """The ordinary pass: no hooks anywhere, nothing recorded, every leaf accumulates.

    The clock alone gives an order in which each node comes after all that use its result, so no dependencies are
    counted; leaves accumulate at the end, which nobody can observe without hooks. Where nothing else is under way
    there is no order to find, and a gradient that goes on needs no place to wait.
    """
    pending: dict[Any, Any] = {}
    heap: list[tuple[int, int, Any]] = []
    leaves: list[Any] = []
    _begin(edges, grads, pending, heap, leaves)
    node = heapq.heappop(heap)[2] if heap else None
    g = pending.pop(node, None)
    while node is not None:
        try:
            results = node.run(g) if retain else node.last(g)
        except Exception as error:
            explain(node, error)
            raise
        count = len(results)
        if heap or count > 2 or not count or node.__class__ is Pick:
            node = _spread(node, results, pending, heap, leaves)
            g = pending.pop(node, None)
            continue
        if count == 1:
            (edge,), (g,) = node.edges, results
        else:
            (edge, side), (g, h) = node.edges, results
            if edge is None or g is None:
                edge, g = side, h
            elif side is not None and h is not None:
                if not isinstance(edge, Node):
                    edge, g, side, h = side, h, edge, g
                elif isinstance(side, Node):
                    node = _spread(node, results, pending, heap, leaves)
                    g = pending.pop(node)
                    continue
                old = pending.get(side)
                if old is None:
                    leaves.append(side)
                    pending[side] = h
                else:
                    pending[side] = np.add(old, h)
        if edge is not None and g is not None and isinstance(edge, Node):
            node = edge
            continue
        node = None
        if edge is not None and g is not None:
            _send_leaf(edge, g, pending, leaves)
    results = g = h = old = None
    for leaf in leaves:
        accumulate(leaf, pending.pop(leaf))


def _send_leaf(edge: Any, g: Any, pending: dict[Any, Any], leaves: list[Any]) -> None:
    old = pending.get(edge)
    if old is None:
        leaves.append(edge)
        pending[edge] = g
    else:
        pending[edge] = np.add(old, g)


def _spread(node: Any, results: Any, pending: dict[Any, Any], heap: list, leaves: list[Any]) -> Any:
    """Sends `results` down the edges of `node`; returns the youngest of the nodes that wait, or None."""
    following = None
    picked = node.__class__ is Pick
    for edge, g in zip(node.edges, results):  # noqa: B905  (lengths agree by construction)
        if g is None or edge is None:
            continue
        old = pending.get(edge)
        if picked:
            slots = [None] * edge.outputs if old is None else old
            known = slots[node.index]
            slots[node.index] = g if known is None else np.add(known, g)
            pending[edge] = slots
            if old is not None:
                continue
        elif old is not None:
            pending[edge] = np.add(old, g)
            continue
        else:
            pending[edge] = g
        if not isinstance(edge, Node):
            leaves.append(edge)
        elif following is None:
            following = edge
        else:
            heapq.heappush(heap, (-edge.seq, id(edge), edge))
    if heap:
        if following is None:
            return heapq.heappop(heap)[2]
        return heapq.heappushpop(heap, (-following.seq, id(following), following))[2]
    return following


def _begin(edges: list[Any], grads: list[Any], pending: dict[Any, Any], heap: list, leaves: list[Any]) -> None:
    """Sets out the roots' gradients; a root given twice gets the sum."""
    for edge, g in zip(edges, grads, strict=True):
        if edge in pending:
            pending[edge] = np.add(pending[edge], g)
        else:
            pending[edge] = g
            if isinstance(edge, Node):
                heapq.heappush(heap, (-edge.seq, id(edge), edge))
            else:
                leaves.append(edge)


def _only_view(whole: Any, g: np.ndarray) -> bool:
    """Whether `g` is all of `whole` in another shape, and nobody else has either."""
    # references to `whole`: g's, the caller's name, this name and getrefcount's own
    return whole.__class__ is np.ndarray and whole.size == g.size and getrefcount(whole) <= 4


def accumulate(tensor: Any, g: Any) -> None:
    """Adds `g`, an array, to a leaf's gradient; the first one is kept as it is where nobody else has it."""
    array = tensor._a
    if g.shape != array.shape:
        raise RuntimeError(
            f"a gradient of shape {list(g.shape)} came back for a leaf of shape {list(array.shape)}: the backward "
            "of an operation that uses it returns the wrong shape"
        )
    old = tensor._grad
    if old is None:
        # references: the caller's dictionary has let go, so this name and getrefcount's own
        if (
            g.__class__ is np.ndarray
            and getrefcount(g) <= 2
            and ((whole := g.base) is None or _only_view(whole, g))
            and g.flags.writeable
            and g.strides == array.strides
            and g.dtype is array.dtype
        ) or (NS["CAPTURE"] is not None and NS["CAPTURE"].hand_over(g, array)):
            tensor._grad = NS["WRAP"](g)
        else:
            kept = np.empty_like(array)
            kept[...] = g
            tensor._grad = NS["WRAP"](kept)
    elif old._node is not None or not old._a.flags.writeable:
        tensor._grad = NS["WRAP"](np.add(old._a, g))
    else:
        np.add(old._a, g, out=old._a, casting="same_kind")
        bump(old)


def run_backward(
    edges: list[Any],
    grads: list[Any],
    retain: bool,
    create: bool,
    inputs: list[Any] | None,
    accumulate: bool,
    record: bool | None = None,
) -> list[Any]:
    """The engine behind `Tensor.backward` and `autograd.grad`.

    `edges` and `inputs` are nodes or leaves. `grads` are Tensors under `create`, else arrays; under `create` the pass
    is recorded unless `record` says otherwise. Returns the gradients captured for `inputs`.
    """
    if inputs is None and not create and not NS["HOOKED"] and NS["PLAIN"]:
        previous = thread.grad
        if previous:
            _switch(False)
        try:
            run_plain(edges, grads, retain)
        finally:
            if previous:
                _switch(True)
        return []
    work = Pass(retain, create, inputs, accumulate)
    previous = thread.grad
    outer = thread.task
    thread.task = work
    recorded = work.record = create if record is None else record
    if previous is not recorded:
        _switch(recorded)
    try:
        work.run(edges, grads)
    finally:
        thread.task = outer
        if thread.grad is not previous:
            _switch(previous)
    return work.captured
