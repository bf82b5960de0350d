"""`Function`: an operation with a backward of the user's own."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd import graph
from flambeau.autograd.graph import Node, Pick
from flambeau.autograd.runtime import LEAF, NS, no_grad, thread, tick
from flambeau.autograd.views import make_view, written


class _SavedOutput:
    """One of the node's own outputs, kept without a reference cycle."""

    def __init__(self, tensor: Any, index: int) -> None:
        self.array = tensor._a if tensor._level is None else tensor.alias()
        self.index = index
        self.stamp = tensor._stamp
        self.tensor = weakref.ref(tensor)

    def restore(self, node: Any) -> Any:
        tensor = self.tensor()
        if tensor is not None:
            return tensor
        tensor = self.array if isinstance(self.array, NS["Tensor"]) else NS["WRAP"](self.array)
        tensor._stamp = self.stamp
        if self.index not in node._nondifferentiable:
            tensor._node = node if node.outputs == 1 else Pick(node, self.index)
        return tensor


class FunctionCtx:
    """What `forward` and `backward` of a `Function` share."""

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or None) for backward, where `saved_tensors` gives them back."""
        for t in tensors:
            if t is not None and not isinstance(t, NS["Tensor"]):
                raise TypeError(
                    f"save_for_backward(): expected tensors or None, got {type(t).__name__}; keep other values as "
                    "attributes of ctx"
                )
        self.to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keeps tensors for forward-mode differentiation."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Any) -> None:
        """Declares the inputs that forward wrote in place; they must be returned too."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Declares outputs that have no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward sees zeros (True, the default) or None for outputs without a gradient."""
        self.materialize_grads = value


class BackwardFunction(Node, FunctionCtx):
    """The node of a user's function, which is its `ctx` too."""

    _forward_cls: Any
    to_save: tuple = ()
    saved: tuple | None = ()
    saved_for_forward: tuple = ()
    dirty_tensors: tuple = ()
    non_differentiable: tuple = ()
    materialize_grads = True
    needs_input_grad: tuple = ()
    _nondifferentiable: frozenset = frozenset()
    _metas: tuple = ()
    _slots: tuple = ()
    _inputs: tuple = ()
    _stamps: tuple = ()

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{type(self).__name__} object at {hex(id(self))}>"

    @property
    def runs_without_gradient(self) -> bool:
        return False

    @property
    def saved_tensors(self) -> tuple:
        """The tensors given to `save_for_backward`; an error after they were freed or when they were written since."""
        if self.saved is None:
            raise graph.freed(self)
        restored = []
        for item, stamp in zip(self.saved or self.to_save, self._stamps or [None] * len(self.to_save), strict=True):
            if isinstance(item, _SavedOutput):
                item = item.restore(self)
            elif isinstance(item, tuple):
                unpack, packed, history = item
                found = unpack(packed)
                restored.append(found if history is None else graph.with_history(found, history))
                continue
            if item is not None and stamp is not None and item._stamp != stamp:
                raise graph.modified(self, "a saved tensor", item)
            restored.append(item)
        return tuple(restored)

    saved_variables = saved_tensors

    def release(self) -> None:
        if self.saved:
            self.saved = None
            self.to_save = ()

    def run(self, g: Any) -> tuple[Any, ...]:
        wrap = NS["WRAP"]
        with no_grad():
            grads = self._user_backward([None if x is None else wrap(x) for x in (g if self.outputs > 1 else [g])])
        return tuple(None if x is None else x._a for x in grads)

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        return tuple(self._user_backward(list(g) if self.outputs > 1 else [g]))

    def _user_backward(self, grads: list[Any]) -> list[Any]:
        if self.saved is None:
            raise graph.freed(self)
        if self.materialize_grads:
            for i, meta in enumerate(self._metas):
                if meta is not None and grads[self._slot(i)] is None:
                    grads[self._slot(i)] = NS["WRAP"](np.zeros(*meta))
        cls = self._forward_cls
        function = cls.vjp if cls.vjp is not Function.vjp else cls.backward
        if cls.vjp is not Function.vjp and cls.backward is not Function.backward:
            raise RuntimeError(f"{cls.__name__} defines both backward and vjp; they mean the same, keep one of them")
        full = [grads[self._slot(i)] if self._slot(i) is not None else None for i in range(len(self._metas))]
        results = function(self, *full)
        return self._checked(results if isinstance(results, tuple) else (results,))

    def _slot(self, i: int) -> int:
        return self._slots[i]

    def _checked(self, results: tuple) -> list[Any]:
        n = len(self.needs_input_grad)
        if len(results) > n and all(r is None for r in results[n:]):
            results = results[:n]
        if len(results) != n:
            raise RuntimeError(
                f"{self.name()}: backward must return one gradient per argument of forward, None for those "
                f"without: expected {n}, got {len(results)}"
            )
        checked: list[Any] = []
        tensors = {i for i, _ in self._inputs}
        for i, result in enumerate(results):
            if result is not None and i not in tensors:
                raise RuntimeError(
                    f"{self.name()}: backward returned a gradient at position {i + 1}, where forward got no "
                    "Tensor; return None there"
                )
        for i, (shape, dtype) in self._inputs:
            result = results[i]
            if result is None or not self.needs_input_grad[i]:
                checked.append(None)
                continue
            if not isinstance(result, NS["Tensor"]):
                raise RuntimeError(
                    f"{self.name()}: backward returned a {type(result).__name__} as gradient {i}; expected a "
                    "Tensor or None"
                )
            checked.append(self._fit(result, shape, dtype, i))
        return checked

    def _fit(self, result: Any, shape: tuple, dtype: np.dtype, i: int) -> Any:
        have = result._a.shape
        ops = NS["OPS"]
        if have != shape:
            extra = len(have) - len(shape)
            if extra < 0 or any(n not in (1, m) for n, m in zip(shape, have[extra:], strict=True)):
                raise RuntimeError(
                    f"{self.name()}: backward returned a gradient of shape {list(have)} at index {i}; the input "
                    f"has the shape {list(shape)}"
                )
            result = ops.sum_to_shape(result, shape)
        if result._a.dtype != dtype:
            result = ops.to_numpy_dtype(result, dtype)
        return result


class FunctionMeta(type):
    """Gives each Function class the class of its nodes."""

    def __init__(cls, name: str, bases: tuple, attrs: dict) -> None:
        super().__init__(name, bases, attrs)
        cls._backward_cls = type(
            name + "Backward", (BackwardFunction,), {"_forward_cls": cls, "__module__": "torch.autograd.function"}
        )


class Function(metaclass=FunctionMeta):
    """An operation with a backward of one's own: subclass it, write `forward` and `backward`, call `apply`.

    Either `forward(ctx, *args)`, or `forward(*args)` with `setup_context(ctx, inputs, output)`. `backward(ctx,
    *grad_outputs)` returns one gradient per argument of forward, None for those that have none. What backward computes
    with recorded operations can be differentiated again.

    >>> import flambeau as torch
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * 2
    >>> x = torch.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    _backward_cls: Any
    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import warnings

        warnings.warn(
            f"{type(self).__name__} is a Function: its methods are static, so call "
            f"{type(self).__name__}.apply(...) instead of making an instance",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"{type(self).__name__}: a Function whose forward is a method of an instance is not supported; make "
            f"forward static and call {type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the outputs. To be overridden."""
        raise NotImplementedError("a Function must define the static method forward")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> Any:
        """Keeps in ctx what backward needs. To be overridden where forward takes no ctx."""
        raise NotImplementedError(
            "a Function whose forward takes no ctx must define the static method setup_context(ctx, inputs, output)"
        )

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments. To be overridden."""
        raise NotImplementedError(
            "a Function must define the static method backward (or vjp) to take part in a backward pass"
        )

    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any) -> Any:
        """Another name for `backward`."""
        raise NotImplementedError("a Function must define the static method backward (or vjp)")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The derivative forward. To be overridden for forward-mode differentiation."""
        raise NotImplementedError("a Function must define the static method jvp to take part in forward mode")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """The rule for a batch of calls."""
        raise NotImplementedError("a Function must define the static method vmap to be batched")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs `forward` and records it."""
        if kwargs:
            import inspect

            two_part = cls.setup_context is not Function.setup_context

            signature = inspect.signature(cls.forward)
            bound = signature.bind(*(() if two_part else (None,)), *args, **kwargs)
            bound.apply_defaults()
            args = bound.args if two_part else bound.args[1:]
        if NS["LEVELS"]:
            found = NS["LAYERED_FUNCTION"](cls, args)
            if found is not NotImplemented:
                return found
        return cls._applied(args)[1]

    @classmethod
    def _applied(cls, args: tuple) -> tuple[Any, Any]:
        """The context and the outputs of a call on tensors of arrays."""
        tensor = NS["Tensor"]
        two_part = cls.setup_context is not Function.setup_context
        ctx = cls._backward_cls()
        ctx.needs_input_grad = tuple(isinstance(a, tensor) and a._node is not None for a in args)
        recorded = thread.grad and any(ctx.needs_input_grad)
        with no_grad():
            if two_part:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)
        many = isinstance(output, tuple)
        outputs = list(output) if many else [output]
        finish(ctx, args, outputs, recorded)
        return ctx, tuple(outputs) if many else outputs[0]


def finish(ctx: Any, args: tuple, outputs: list[Any], recorded: bool) -> None:
    """Joins a user function's outputs to the tape."""
    tensor = NS["Tensor"]
    inputs = [(i, a) for i, a in enumerate(args) if isinstance(a, tensor)]
    for t in ctx.dirty_tensors:
        if not any(out is t for out in outputs):
            raise RuntimeError(
                f"{ctx.name()}: a tensor given to mark_dirty() is missing from what forward returned; return "
                "every tensor that forward changes in place"
            )
        if recorded and t._node is LEAF:
            raise RuntimeError(
                f"{ctx.name()}: a leaf Variable that requires grad can't be changed in place by forward; clone() it "
                "first"
            )
    if not recorded:
        _plain_outputs(ctx, args, outputs)
        return
    ctx.edges = tuple(None if a._node is None else a if a._node is LEAF else a._node for _, a in inputs)
    ctx._inputs = tuple((i, (a._a.shape, a._a.dtype)) for i, a in inputs)
    flat = [i for i, out in enumerate(outputs) if isinstance(out, tensor)]
    ctx.outputs = max(len(flat), 1)
    ctx._slots = tuple(flat.index(i) if i in flat else None for i in range(len(outputs)))
    ctx._metas = tuple(
        (outputs[i]._a.shape, outputs[i]._a.dtype) if isinstance(outputs[i], tensor) else None
        for i in range(len(outputs))
    )
    off = {id(t) for t in ctx.non_differentiable}
    ctx._nondifferentiable = frozenset(
        i for i in flat if id(outputs[i]) in off or outputs[i]._a.dtype.kind not in "fcV"
    )
    originals = list(outputs)
    ctx.seq = tick()
    for i in flat:
        outputs[i] = _attach(ctx, args, outputs[i], i)
    _save(ctx, originals, outputs)


def _attach(ctx: Any, args: tuple, out: Any, i: int) -> Any:
    is_input = any(out is a for a in args)
    dirty = any(out is t for t in ctx.dirty_tensors)
    if i in ctx._nondifferentiable:
        if is_input or out._node is not None:
            return _alias(out)
        return out
    node = ctx if ctx.outputs == 1 else Pick(ctx, ctx._slots[i])
    if dirty:
        if not is_input:
            raise RuntimeError(f"{ctx.name()}: a tensor marked dirty must be an input of forward")
        written(out, node)
        return out
    if is_input or out._node is not None:
        out = _alias(out)
    out._node = node
    return out


def _alias(out: Any) -> Any:
    other = NS["WRAP"](out._a) if out._level is None else out.alias()
    make_view(other, out)
    return other


def _plain_outputs(ctx: Any, args: tuple, outputs: list[Any]) -> None:
    tensor = NS["Tensor"]
    for t in ctx.dirty_tensors:
        written(t, None) if thread.grad else written(t, t._node)
    for i, out in enumerate(outputs):
        if isinstance(out, tensor) and any(out is a for a in args) and not any(out is t for t in ctx.dirty_tensors):
            outputs[i] = _alias(out)


def _save(ctx: Any, originals: list[Any], outputs: list[Any]) -> None:
    hooks = NS.get("SAVED_HOOKS")
    saved: list[Any] = []
    ctx._stamps = tuple(None if t is None else -1 if t._inference else t._stamp for t in ctx.to_save)
    for t in ctx.to_save:
        at = None if t is None else next((i for i, out in enumerate(originals) if out is t), None)
        if hooks and t is not None:
            pack, unpack = hooks[-1]
            with no_grad():
                saved.append((unpack, pack(t), t if t._node is LEAF else t._node))
        elif at is not None and outputs[at]._node is not None and at not in ctx._nondifferentiable:
            saved.append(_SavedOutput(outputs[at], ctx._slots[at]))
        else:
            saved.append(t)
    ctx.saved = tuple(saved)
    ctx.to_save = ()


class _OnceError(Node):
    """Stands where a second differentiation of a once-differentiable backward would begin."""

    def __init__(self, edges: tuple) -> None:
        self.edges = edges
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        raise RuntimeError("this backward is marked once_differentiable, so its result can't be differentiated again")

    run_recorded = run


def once_differentiable(fn: Callable) -> Callable:
    """Declares that a backward can't be differentiated itself; an attempt is a RuntimeError."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            outputs = fn(ctx, *args)
        tensor = NS["Tensor"]
        if not thread.grad:
            return outputs
        if not any(isinstance(a, tensor) and a._node is not None for a in args):
            return outputs
        many = isinstance(outputs, tuple)
        results = []
        edges = tuple(a if a._node is LEAF else a._node for a in args if isinstance(a, tensor) and a._node is not None)
        for out in outputs if many else (outputs,):
            if isinstance(out, tensor):
                out = NS["WRAP"](out._a)
                out._node = _OnceError(edges)
            results.append(out)
        return tuple(results) if many else results[0]

    return wrapper


class InplaceFunction(Function):
    """A Function that may write in place; kept for old programs."""


class NestedIOFunction(Function):
    """A Function with nested inputs; kept for old programs."""


def traceable(fn_cls: Any) -> Any:
    """Returns the class: everything is traceable here."""
    return fn_cls
