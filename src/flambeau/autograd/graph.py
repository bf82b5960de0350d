"""Nodes of the tape.

A node is one recorded operation: `edges` lead to what made its inputs (a node, a leaf tensor, or None where no gradient
is wanted), `seq` is its place on the clock, and what its rules need is kept in attributes named `s_<parameter>`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS, tick


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

    def name(self) -> str:
        """The operation's name, such as 'MulBackward0'."""
        return type(self).__name__

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

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Pairs (node, number of that node's output) that this node's gradients go to."""
        return tuple(public_edge(edge) for edge in self.edges)

    @property
    def metadata(self) -> dict:
        """A dictionary for the user's own notes on this node."""
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, fn: Callable) -> Any:
        """Calls `fn(grad_inputs, grad_outputs)` after this node ran in backward; what it returns replaces grad_inputs."""
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


class Pick(Node):
    """One output of a node that has several: the others see the node itself, the tape goes through this."""

    def __init__(self, parent: Node, index: int) -> None:
        self.edges = (parent,)
        self.index = index
        self.seq = tick()


class AccumulateGrad(Node):
    """What stands at the end of the tape for a leaf, when a program looks at it. The tape itself holds the leaf."""

    seq = (1 << 64) - 1

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def register_hook(self, fn: Callable) -> Any:
        """Calls `fn((), (grad,))` after the leaf's gradient was accumulated."""
        return self.variable.register_post_accumulate_grad_hook(lambda t: fn((), (t.grad,)))

    def register_prehook(self, fn: Callable) -> Any:
        """Calls `fn((grad,))` before the leaf's gradient is accumulated; what it returns replaces it."""

        def hook(grad: Any) -> Any:
            result = fn((grad,))
            return None if result is None else result[0]

        return self.variable.register_hook(hook)


def public_edge(edge: Any) -> tuple[Any, int]:
    """The (node, output number) that a program sees for an edge."""
    if edge is None:
        return None, 0
    if isinstance(edge, Pick):
        return edge.edges[0], edge.index
    if isinstance(edge, Node):
        return edge, 0
    return accumulator(edge), 0


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

    @classmethod
    def add(cls, hooks: OrderedDict, fn: Callable, prepend: bool = False) -> RemovableHandle:
        """Adds `fn` to `hooks` and returns the handle that takes it out again."""
        handle = cls(hooks)
        hooks[handle.id] = fn
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def remove(self) -> None:
        """Takes the hook out; a second call does nothing."""
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
    return RuntimeError(
        f"{node.name()}: one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"'{what}', a tensor {array.dtype}{list(array.shape)}, was written after {node.name()} saved it. Clone it before "
        "the in-place operation, or use the out-of-place form. Hint: torch.autograd.set_detect_anomaly(True) shows the "
        "line in forward"
    )


NS["FREED"] = freed
NS["MODIFIED"] = modified
