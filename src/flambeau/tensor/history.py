"""What a tensor is in autograd's graph: its gradient, its history, its hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd import views
from flambeau.autograd.api import backward
from flambeau.autograd.engine import run_backward
from flambeau.autograd.graph import Node, Pick, RemovableHandle
from flambeau.autograd.runtime import LEAF, NS, thread

#: Where a backward pass from a single number starts.
_SEEDS = {np.dtype(kind): np.ones((), kind) for kind in (np.float32, np.float64)}


def like_class(tensor: Any) -> Any:
    """A tensor without contents of the class of `tensor`, or a plain one for a Parameter."""
    return object.__new__(type(tensor) if type(tensor).__name__ != "Parameter" else NS["Tensor"])


class History:
    """The part of a tensor that autograd sees."""

    _a: np.ndarray
    _node: Any
    _grad: Any
    _base: Any
    _hooks: Any
    _post_hooks: Any
    _inference: bool

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        if self._node is not None:
            return True
        base = self._base  # a view that has no history of its own says what its base says
        return base is not None and base._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if isinstance(self._node, Node):
            value = False  # refused, whatever the value: a result's flag follows from its operands'
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Sets whether this leaf gets gradients; floating-point and complex tensors only."""
        if requires_grad.__class__ is not bool:
            raise TypeError(f"requires_grad_(): expected a bool, not {type(requires_grad).__name__}")
        if isinstance(self._node, Node):
            if not requires_grad:
                raise RuntimeError(
                    "requires_grad can only be set on leaf tensors, this one was computed by "
                    f"{self.grad_fn.name()}; y = x.detach() is a leaf without the graph"
                )
            return self
        if requires_grad and self._a.dtype.kind not in "fcV":
            raise RuntimeError(f"only floating-point and complex tensors can require gradients, got {self.dtype}")
        if requires_grad and NS["LEVELS"]:
            NS["CHECK_TRANSFORMS"](self)
        if requires_grad and self._inference and not thread.inference:
            raise RuntimeError("an inference tensor can't require gradients outside inference_mode; clone() it first")
        self._node = LEAF if requires_grad else None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user and not by a recorded operation."""
        return self._node is None or self._node is LEAF

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made the tensor; None for a leaf."""
        node = self._node
        if node is None or node is LEAF:
            return None
        return (node.edges[0] if node.__class__ is Pick else node).shown()

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this is."""
        return self._node.index if self._node.__class__ is Pick else 0

    @property
    def grad(self) -> Any:
        """The accumulated gradient of a leaf (or of a tensor with `retain_grad`); None before backward."""
        grad = self._grad
        if grad is None and isinstance(self._node, Node) and not self.retains_grad:
            import warnings

            warnings.warn(
                ".grad of a tensor that is not a leaf: backward() does not fill it; call .retain_grad() on it "
                "before backward() to have it filled",
                UserWarning,
                stacklevel=2,
            )
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, NS["Tensor"]):
                raise TypeError(f".grad must be a Tensor or None, got {type(value).__name__}")
            if value is self:
                raise RuntimeError("a tensor can't be its own .grad")
            if value._a.shape != self._a.shape:
                raise RuntimeError(
                    f".grad must have the tensor's shape {list(self._a.shape)}, got {list(value._a.shape)}"
                )
            if value._a.dtype != self._a.dtype:
                raise RuntimeError(f".grad must have the tensor's dtype {self.dtype}, got {value.dtype}")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def data(self) -> Any:
        """The same memory without history. Writing to it is not tracked."""
        other = like_class(self)
        other._a = self._a
        return other

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, NS["Tensor"]):
            raise TypeError(f".data must be a Tensor, got {type(value).__name__}")
        if self._node is not None and value._a.dtype.kind not in "fcV":
            raise RuntimeError(
                f".data of a tensor that requires gradients must be floating-point or complex, got {value.dtype}"
            )
        self._a = value._a

    @property
    def _version(self) -> int:
        if self._inference:
            raise RuntimeError("an inference tensor does not count the writes to it: it has no _version")
        return views.version(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` keeps the gradient of this non-leaf."""
        node = self._node
        if not isinstance(node, Node) or node.retains is None:
            return False
        ref = node.retains.get(0)
        return ref is not None and ref() is self

    def retain_grad(self) -> None:
        """Keeps the gradient of this non-leaf in `grad` at backward."""
        import weakref

        if NS["LEVELS"]:
            NS["CHECK_TRANSFORMS"](self, "retain_grad()")
        if self._node is None:
            raise RuntimeError("retain_grad(): the tensor has requires_grad=False, so it gets no gradient")
        if isinstance(self._node, Node) and not self.retains_grad:
            NS["HOOKED"] = True
            self._node.retains = {0: weakref.ref(self)}

    def detach(self) -> Any:
        """The same memory without history; writes in place are seen by both."""
        other = like_class(self)
        other._a = self._a
        views.make_alias(other, self)
        return other

    def detach_(self) -> Any:
        """Takes this tensor out of the graph that made it."""
        if self._base is not None and self._node is not None:
            raise RuntimeError("detach_(): a view can't leave its base's graph in place; use detach()")
        self._node = None
        return self

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Computes the gradients of this tensor with respect to the graph's leaves and adds them to their `grad`.

        `gradient` is needed unless this is a single number. `retain_graph` keeps the graph for a second time,
        `create_graph` records the backward pass, `inputs` limits the accumulation to these tensors.
        """
        array, node = self._a, self._node
        if gradient is None and inputs is None and not create_graph and not array.shape and not NS["LEVELS"]:
            seed = _SEEDS.get(array.dtype) if array.__class__ is np.ndarray else None
            if seed is not None and isinstance(node, Node):
                run_backward([node], [seed.copy()], bool(retain_graph), False, None, True)  # a loss, most often
                return
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable) -> Any:
        """Calls `hook(grad)` when this tensor's gradient is computed; what it returns replaces the gradient."""
        node = self._node
        if node is None:
            raise RuntimeError("a hook needs a gradient, but the tensor does not require grad")
        if node is LEAF:
            if self._hooks is None:
                self._hooks = OrderedDict()
            return RemovableHandle.add(self._hooks, hook)
        if node.tensor_hooks is None:
            node.tensor_hooks = {0: OrderedDict()}
        return RemovableHandle.add(node.tensor_hooks[0], hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> Any:
        """Calls `hook(tensor)` after this leaf's gradient was accumulated."""
        if self._node is None:
            raise RuntimeError("a hook needs a gradient, but the tensor does not require grad")
        if self._node is not LEAF:
            raise RuntimeError("a hook after accumulation needs a leaf, this tensor was computed")
        if self._post_hooks is None:
            self._post_hooks = OrderedDict()
        return RemovableHandle.add(self._post_hooks, hook)

    @property
    def _backward_hooks(self) -> Any:
        return self._hooks

    @_backward_hooks.setter
    def _backward_hooks(self, hooks: Any) -> None:
        self._hooks = hooks
