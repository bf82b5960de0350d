"""Operators of a program's own: a name, a schema, kernels for devices, a derivative, a rule for batches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import flambeau.ops as rooms
from flambeau import pytree
from flambeau.autograd.function import Function
from flambeau.autograd.runtime import NS, no_grad, thread
from flambeau.autograd.views import bump
from flambeau.library.schema import Schema
from flambeau.tensor.tensor import Tensor

__all__ = ["Operator", "Overload", "define", "find"]

#: Every operator by its full name, such as 'mine::scale'.
OPERATORS: dict[str, Operator] = {}

_ALL = ("CompositeExplicitAutograd", "CompositeImplicitAutograd", "CatchAll", "")


class Operator:
    """What is known of an operator."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.kernels: dict[str, Callable] = {}
        self.off: set[str] = set()
        self.fake: Callable | None = None
        self.backward: Callable | None = None
        self.setup_context: Callable | None = None
        self.vmap: Callable | None = None
        self.opaque = False  # kernels run unrecorded: without a derivative, backward is an error
        self._function: Any = None

    @property
    def name(self) -> str:
        """As in `torch.ops`: 'mine.scale'."""
        return self.schema.name.replace("::", ".")

    def kernel(self, values: list[Any]) -> Callable:
        """The kernel for the devices of these arguments. NotImplementedError if there is none."""
        tensors = [t for t in pytree.tree_leaves(values) if isinstance(t, Tensor)]
        kind = tensors[0].device.type if tensors else "cpu"
        for key in (kind, *_ALL):
            if key in self.kernels and key not in self.off:
                return self.kernels[key]
        raise NotImplementedError(
            f"Could not run '{self.schema.name}' with arguments from the '{kind.upper()}' backend: it has kernels for "
            f"{sorted(k for k in self.kernels if k) or 'no device'}. Register one with torch.library.impl or "
            "register_kernel"
        )

    def call(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Runs the operator, and records it if it has a derivative."""
        values = self.schema.bind(args, kwargs)
        if "CompositeImplicitAutograd" in self.kernels and self.backward is None:
            return self._plain(values)
        if self.backward is None and not self.opaque:
            return self._plain(values)
        batched = NS["LEVELS"] and self.vmap is not None
        if not batched and not (thread.grad and any(_needs_grad(v) for v in values)):
            with no_grad():
                return self._checked(values)
        leaves, spec = pytree.tree_flatten(values)
        if self._function is None:
            self._function = self._recorded()
        return self._function.apply(spec, *leaves)

    def _plain(self, values: list[Any]) -> Any:
        cut = len([p for p in self.schema.parameters if not p.keyword])
        named = {p.name: v for p, v in zip(self.schema.parameters[cut:], values[cut:], strict=True)}
        return self.kernel(values)(*values[:cut], **named)

    def _checked(self, values: list[Any]) -> Any:
        result = self._plain(values)
        for p, value in zip(self.schema.parameters, values, strict=True):
            if p.written and isinstance(value, Tensor):
                bump(value)
        if self.opaque:
            given = {id(t) for t in pytree.tree_leaves(values) if isinstance(t, Tensor)}
            if any(id(t) in given for t in pytree.tree_leaves(result)):
                raise RuntimeError(
                    f"{self.schema.name} returned one of its own inputs, which a custom operator must not: return a "
                    "clone()"
                )
        return result

    def _recorded(self) -> Any:
        """The Function that runs the kernel and calls the derivative."""
        operator = self

        def forward(spec: Any, *leaves: Any) -> Any:
            return operator._checked(pytree.tree_unflatten(leaves, spec))

        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.spec, *leaves = inputs
            values = pytree.tree_unflatten(leaves, ctx.spec)
            parameters = operator.schema.parameters
            ctx.mark_dirty(*(v for p, v in zip(parameters, values, strict=True) if p.written))
            if operator.setup_context is not None:
                cut = len([p for p in parameters if not p.keyword])
                extra = {p.name: v for p, v in zip(parameters[cut:], values[cut:], strict=True)}
                how: dict[str, Any] = {"keyword_only_inputs": extra} if extra else {}
                operator.setup_context(ctx, tuple(values[:cut]), output, **how)

        def backward(ctx: Any, *grads: Any) -> Any:
            if operator.backward is None:
                raise RuntimeError(
                    f"{operator.name}.default has no derivative: no autograd formula was registered for it. Give one "
                    "by register_autograd"
                )
            found = operator.backward(ctx, *grads)
            found = list(found) if isinstance(found, (tuple, list)) else [found]
            found += [None] * (len(operator.schema.parameters) - len(found))
            return (None, *_spread(found, ctx.spec))

        space, _, own = self.schema.name.partition("::")

        def vmap(info: Any, in_dims: Any, spec: Any, *leaves: Any) -> Any:
            dims = pytree.tree_unflatten(in_dims[1:], spec)
            return operator.vmap(info, tuple(dims), *pytree.tree_unflatten(leaves, spec))  # type: ignore[misc]

        body = {
            "forward": staticmethod(forward),
            "setup_context": staticmethod(setup_context),
            "backward": staticmethod(backward),
        }
        if operator.vmap is not None:
            body["vmap"] = staticmethod(vmap)
        return type(f"GeneratedBackwardFor_{space}_{own}_default", (Function,), body)


def _spread(found: list[Any], spec: Any) -> list[Any]:
    """One gradient for each leaf of the arguments: a list's gradients are a list, or None for all."""
    out: list[Any] = []
    for grad, child in zip(found, spec.children_specs, strict=True):
        if grad is None:
            out += [None] * child.num_leaves
        else:
            out += list(grad) if isinstance(grad, (list, tuple)) else [grad]
    return out


def _needs_grad(value: Any) -> bool:
    return any(isinstance(t, Tensor) and t.requires_grad for t in pytree.tree_leaves(value))


class Overload:
    """An operator as programs call it: `torch.ops.mine.scale`, and `.default` of that."""

    def __init__(self, operator: Operator, suffix: str = "") -> None:
        self._operator = operator
        self._suffix = suffix
        self._qualified_op_name = operator.schema.name
        self.__name__ = operator.name.rpartition(".")[2] + suffix
        self.__module__ = "torch.ops." + operator.name.partition(".")[0]

    @property
    def default(self) -> Overload:
        """The one overload there is."""
        return Overload(self._operator, ".default")

    @property
    def _schema(self) -> Schema:
        return self._operator.schema

    @property
    def namespace(self) -> str:
        """The part of the name before the colons."""
        return self._operator.schema.name.partition("::")[0]

    def overloads(self) -> list[str]:
        """The names of the overloads."""
        return ["default"]

    def name(self) -> str:
        """The full name."""
        return self._operator.schema.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from flambeau.overrides import handle_torch_function, has_torch_function

        operands = (*args, *kwargs.values())
        if has_torch_function(operands):
            return handle_torch_function(self, operands, *args, **kwargs)
        return self._operator.call(args, kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Overload) and (other._operator, other._suffix) == (self._operator, self._suffix)

    def __hash__(self) -> int:
        return hash((self._operator.schema.name, self._suffix))

    def __repr__(self) -> str:
        return self._operator.name + self._suffix

    def __reduce__(self) -> tuple:
        return _again, (self._operator.schema.name, self._suffix)


def _again(name: str, suffix: str) -> Overload:
    return Overload(find(name), suffix)


class _OpNamespace:
    """`torch.ops.mine`: the operators of one namespace."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        found = OPERATORS.get(f"{self._name}::{name}")
        if found is not None:
            return Overload(found)
        room = sys.modules.get(f"{rooms.__name__}.{self._name}")  # a room of flambeau's own may have the same name
        if room is not None and hasattr(room, name):
            return getattr(room, name)
        if self._name == "torchvision":
            from flambeau.vision import ops as layers

            if hasattr(layers, name):
                return getattr(layers, name)
        raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        start = self._name + "::"
        return [name.removeprefix(start) for name in OPERATORS if name.startswith(start)]

    def __repr__(self) -> str:
        return f"<module 'torch.ops.{self._name}' from 'torch.ops'>"


def namespace(name: str) -> _OpNamespace:
    """The operators of a namespace."""
    return _OpNamespace(name)


def define(schema: Schema) -> Operator:
    """A new operator under `torch.ops`. RuntimeError if the name has no namespace, or is taken."""
    space, colons, name = schema.name.partition("::")
    if not colons or not space or not name:
        raise RuntimeError(f"the name of an operator has a namespace, as in 'mine::scale', got {schema.name!r}")
    if schema.name in OPERATORS:
        raise RuntimeError(
            f"there is an operator {schema.name} already, with the schema {OPERATORS[schema.name].schema}"
        )
    made = OPERATORS[schema.name] = Operator(schema)
    if not isinstance(vars(rooms).get(space), _OpNamespace):
        setattr(rooms, space, _OpNamespace(space))
    return made


def find(op: Any) -> Operator:
    """The operator of a name, an overload or a definition. RuntimeError if there is none."""
    if isinstance(op, Overload):
        return op._operator
    if hasattr(op, "_operator"):
        return op._operator
    if isinstance(op, str) and op.removesuffix(".default") in OPERATORS:
        return OPERATORS[op.removesuffix(".default")]
    raise RuntimeError(f"there is no operator {op!r}: define it first, with torch.library.custom_op or define")
