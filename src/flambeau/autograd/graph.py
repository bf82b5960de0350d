"""Nodes of the tape.

A node is one recorded operation: `edges` lead to what made its inputs (a node, a leaf tensor, or None where no gradient
is wanted), `seq` is its place on the clock, and what its rules need is kept in attributes named `s_<parameter>`.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from flambeau.autograd.runtime import CHANGES, NS, thread, tick, watch

# nodes that PyTorch has beside the generated ones: their names tell where they live
_WRITTEN_BY_HAND = frozenset(("AccumulateGrad", "CopyBackwards", "CopySlices"))


class Node:
    """A recorded operation, as `Tensor.grad_fn` shows it."""

    edges: tuple[Any, ...] = ()
    seq: int = 0
    outputs: int = 1
    freed = False
    tensor_hooks: dict[int, OrderedDict] | None = None
    retains: dict[int, Any] | None = None
    hooks: OrderedDict | None = None
    prehooks: OrderedDict | None = None
    trace: Any = None
    label = "Node"

    #: What PyTorch calls this node where that depends on the call: a name, or a function of the node.
    shown_as: Any = None

    def shown(self) -> Node:
        """Itself, in a class of the name that PyTorch gives it: looked up only when a program looks at the node."""
        name = self.shown_as
        if name is not None:
            if name.__class__ is not str:
                name = name(self)
            if type(self).__name__ != name:
                kind: Any = type(self)  # a class is hashable, which mypy denies for those with a __hash__ of their own
                self.__class__ = _renamed(kind, name)
        return self

    def name(self) -> str:
        """The operation's name, such as 'MulBackward0'."""
        name = type(self.shown()).__name__
        return "torch::autograd::" + name if name in _WRITTEN_BY_HAND else name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {hex(id(self))}>"

    def run(self, g: Any) -> tuple[Any, ...]:
        """Gradients for the edges from the gradient of the output, on raw arrays."""
        raise RuntimeError(f"{self.name()} can't go backward: it has no rule")

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        """The same on Tensors, recorded."""
        raise RuntimeError(f"{self.name()} can't be differentiated twice: it has no recorded rule")

    def release(self) -> None:
        """Frees what was saved for backward."""

    def last(self, g: Any) -> tuple[Any, ...]:
        """`run`, then `release`."""
        results = self.run(g)
        self.release()
        return results

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Pairs (node, number of that node's output) that this node's gradients go to."""
        return tuple(public_edge(edge) for edge in self.edges)

    @property
    def metadata(self) -> dict:
        """A dictionary for the user's own notes on this node."""
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, fn: Callable) -> Any:
        """Calls `fn(grad_inputs, grad_outputs)` after this node ran in backward; its result replaces grad_inputs."""
        if self.hooks is None:
            self.hooks = OrderedDict()
        return RemovableHandle.add(self.hooks, fn)

    def register_prehook(self, fn: Callable) -> Any:
        """Calls `fn(grad_outputs)` before this node runs in backward; what it returns replaces grad_outputs."""
        if self.prehooks is None:
            self.prehooks = OrderedDict()
        return RemovableHandle.add(self.prehooks, fn)

    def _sequence_nr(self) -> int:
        return self.seq


@functools.cache
def _renamed(cls: type[Node], name: str) -> type[Node]:
    return type(name, (cls,), {"__module__": cls.__module__})


def show_as(result: Any, name: str) -> Any:
    """`result`, whose fresh node PyTorch would call `name`."""
    node = result._node
    if isinstance(node, Node):
        (node.edges[0] if isinstance(node, Pick) else node).shown_as = name
    return result


class Pick(Node):
    """One output of a node that has several: the others see the node itself, the tape goes through this."""

    def __init__(self, parent: Node, index: int) -> None:
        self.edges = (parent,)
        self.index = index
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        return (g,)

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        return (g,)


class AccumulateGrad(Node):
    """What stands at the end of the tape for a leaf, when a program looks at it. The tape itself holds the leaf."""

    seq = (1 << 64) - 1

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def register_hook(self, fn: Callable) -> Any:
        """Calls `fn((), (grad,))` after the leaf's gradient was accumulated."""
        return RemovableHandle.add(self._hooks()[1], fn)

    def register_prehook(self, fn: Callable) -> Any:
        """Calls `fn((grad,))` before the leaf's gradient is accumulated; what it returns replaces it."""
        return RemovableHandle.add(self._hooks()[0], fn)

    def _hooks(self) -> tuple[OrderedDict, OrderedDict]:
        leaf = self.variable
        if leaf._accumulator_hooks is None:
            leaf._accumulator_hooks = (OrderedDict(), OrderedDict())
        return leaf._accumulator_hooks


def public_edge(edge: Any) -> tuple[Any, int]:
    """The (node, output number) that a program sees for an edge."""
    if edge is None:
        return None, 0
    if isinstance(edge, Pick):
        return edge.edges[0].shown(), edge.index
    if isinstance(edge, Node):
        return edge.shown(), 0
    return accumulator(edge), 0


def edge_of(tensor: Any) -> Any:
    """Where a tensor's gradient goes: the node that made it, or the leaf itself. Also of a GradientEdge."""
    if isinstance(tensor, GradientEdge):
        node = tensor.node
        return node.variable if isinstance(node, AccumulateGrad) else node
    return tensor._node if isinstance(tensor._node, Node) else tensor


def accumulator(leaf: Any) -> AccumulateGrad:
    """The leaf's AccumulateGrad, the same one for as long as somebody holds it."""
    import weakref

    cache = leaf.__dict__.get("_accumulator")
    node = cache() if cache is not None else None
    if node is None:
        node = AccumulateGrad(leaf)
        leaf._accumulator = weakref.ref(node)
    return node


class RemovableHandle:
    """Removes a hook: by `remove()`, or at the end of a `with` block."""

    _next_id = 0

    def __init__(self, hooks_dict: Any, *, extra_dict: Any = None) -> None:
        import weakref

        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = RemovableHandle._next_id
        RemovableHandle._next_id += 1
        extras = extra_dict if isinstance(extra_dict, (list, tuple)) else [extra_dict] if extra_dict is not None else []
        self.extra_dict_ref = tuple(weakref.ref(extra) for extra in extras)
        CHANGES[0] += 1

    @classmethod
    def add(cls, hooks: OrderedDict, fn: Callable, prepend: bool = False) -> RemovableHandle:
        """Adds `fn` to `hooks` and returns the handle that takes it out again."""
        NS["HOOKED"] = True
        handle = cls(hooks)
        hooks[handle.id] = fn
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def remove(self) -> None:
        """Takes the hook out; a second call does nothing."""
        CHANGES[0] += 1
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None and self.id in hooks:
                del hooks[self.id]

    def __getstate__(self) -> tuple:
        return self.hooks_dict_ref(), self.id

    def __setstate__(self, state: tuple) -> None:
        import weakref

        hooks = state[0] if state[0] is not None else OrderedDict()
        self.hooks_dict_ref = weakref.ref(hooks)
        self.id = state[1]
        self.extra_dict_ref = ()
        RemovableHandle._next_id = max(RemovableHandle._next_id, self.id + 1)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


RemovableHandle.__module__ = "flambeau.utils.hooks"  # where programs import it from


class _MultiHandle(RemovableHandle):
    """Removes several hooks at once."""

    def __init__(self, handles: tuple) -> None:
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __getstate__(self) -> tuple:
        return self.handles

    def __setstate__(self, state: tuple) -> None:
        self.handles = state


class _Onward(Node):
    """Passes a gradient on as it is."""

    def __init__(self, edge: Any) -> None:
        self.edges = (edge,)
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        return (g,)

    run_recorded = run


def with_history(tensor: Any, history: Any) -> Any:
    """The values of `tensor` with the history `history`, a node or a leaf."""
    other = NS["WRAP"](tensor._a)
    other._node = history if isinstance(history, Node) else _Onward(history)
    return other


def freed(node: Node) -> RuntimeError:
    """The error of a second backward through a node that has freed what it saved."""
    return RuntimeError(
        f"{node.name()}: trying to go backward through the graph a second time, but the values it saved were freed by "
        "the first backward (or through ctx.saved_tensors after it). Pass retain_graph=True to the first backward() "
        "or grad() if you need the graph again"
    )


def modified(node: Node, what: str, tensor: Any) -> RuntimeError:
    """The error of a saved tensor that was written in place after the node saved it."""
    array = getattr(tensor, "_a", tensor)
    if getattr(tensor, "_inference", False):
        return RuntimeError(
            f"{node.name()}: '{what}' is an inference tensor, and inference tensors are not kept for backward: "
            "clone() it outside inference_mode first, or use torch.no_grad() instead of inference_mode"
        )
    return RuntimeError(
        f"{node.name()}: '{what}', a tensor {array.dtype}{list(array.shape)} that its gradient needs, was "
        "modified by an inplace operation after it was saved. Clone it before that operation, or use the "
        "out-of-place form; torch.autograd.set_detect_anomaly(True) shows the line in forward"
    )


NS["FREED"] = freed
NS["MODIFIED"] = modified


class saved_tensors_hooks:
    """Inside, `pack_hook` gets each tensor saved for backward, and `unpack_hook` turns what it returned back."""

    def __init__(self, pack_hook: Callable, unpack_hook: Callable) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if NS.get("SAVED_HOOKS_OFF"):
            raise RuntimeError(NS["SAVED_HOOKS_OFF"])
        NS.setdefault("SAVED_HOOKS", []).append((self.pack_hook, self.unpack_hook))
        watch(True)

    def __exit__(self, *exc: object) -> None:
        NS["SAVED_HOOKS"].pop()
        watch(False)


class save_on_cpu(saved_tensors_hooks):
    """Keeps what is saved for backward in the CPU's memory, where it is on the CPU."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


class disable_saved_tensors_hooks:
    """Inside, the use of `saved_tensors_hooks` is a RuntimeError with the given message."""

    def __init__(self, error_message: str) -> None:
        self.message = error_message

    def __enter__(self) -> None:
        self.previous = NS.get("SAVED_HOOKS_OFF")
        NS["SAVED_HOOKS_OFF"] = self.message

    def __exit__(self, *exc: object) -> None:
        NS["SAVED_HOOKS_OFF"] = self.previous


class GradientEdge(NamedTuple):
    """A place on the tape: a node and the number of one of its outputs."""

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The place on the tape where a tensor's gradient arrives."""
    if tensor._node is None:
        raise RuntimeError("get_gradient_edge(): the tensor does not require grad, so it is no part of a graph")
    return GradientEdge(*public_edge(tensor if not isinstance(tensor._node, Node) else tensor._node))


def increment_version(tensor: Any) -> None:
    """Tells autograd that a tensor's memory was written by other means."""
    from flambeau.autograd.views import bump

    for t in tensor if isinstance(tensor, (list, tuple)) else (tensor,):
        bump(t)


def register_multi_grad_hook(tensors: Any, fn: Callable, *, mode: str = "all") -> Any:
    """Calls `fn` with the gradients of all `tensors` once they have come, or (mode 'any') with the first one."""
    if mode not in ("all", "any"):
        raise ValueError(f"register_multi_grad_hook(): mode must be 'all' or 'any', got {mode}")
    tensors = list(tensors)
    seen: dict[int, Any] = {}
    state: dict[str, Any] = {"task": None, "missing": 0}

    def hook(i: int, grad: Any) -> None:
        if thread.task is not state["task"]:
            seen.clear()
            state["task"] = thread.task
            state["missing"] = sum(thread.task.will_run(edge_of(t)) for t in tensors)
        first = not seen
        seen[i] = grad
        state["missing"] -= 1
        if mode == "any":
            if first:
                fn(grad)
        elif not state["missing"]:
            fn([seen.get(j) for j in range(len(tensors))])

    return _MultiHandle(tuple(t.register_hook(lambda g, i=i: hook(i, g)) for i, t in enumerate(tensors)))
