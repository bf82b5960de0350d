"""One value in a graph: what computes it, of what, and who uses it."""

from __future__ import annotations

import builtins
import inspect
import operator
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flambeau.fx.immutable_collections import immutable_dict, immutable_list
from flambeau.fx.naming import name_in_call, qualified_name

if TYPE_CHECKING:
    from flambeau.fx.graph import Graph

__all__ = ["Node", "has_side_effect", "map_aggregate", "map_arg"]

Target = Callable[..., Any] | str
Argument = Any

_legal_ops = frozenset(("placeholder", "call_method", "call_module", "call_function", "get_attr", "output", "root"))
_side_effectful_functions: set[Callable] = {operator.setitem}
_EFFECTS_BY_NAME = ("_assert", "_assert_is_none", "set_grad_enabled", "manual_seed")


def has_side_effect(fn: Callable) -> Callable:
    """Marks a function as one whose calls are kept even where nobody uses the result. Works as a decorator."""
    _side_effectful_functions.add(fn)
    return fn


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """`a` with every node in it, at any depth, replaced by `fn(node)`.

    >>> import flambeau as torch
    >>> graph = torch.fx.Graph()
    >>> x = graph.placeholder('x')
    >>> torch.fx.node.map_arg((x, [x, 1]), lambda n: n.name)
    ('x', ['x', 1])
    """
    if not callable(fn):
        raise AssertionError(f"map_arg(a, fn): fn must be callable, got {type(fn).__name__}")
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """`a` with `fn` applied to all that is no tuple, list, dict or slice; lists and dicts come back immutable."""
    if isinstance(a, tuple):
        parts = tuple(map_aggregate(x, fn) for x in a)
        return parts if not hasattr(a, "_fields") else type(a)(*parts)
    if isinstance(a, list):
        return immutable_list(map_aggregate(x, fn) for x in a)
    if isinstance(a, dict):
        return immutable_dict((k, map_aggregate(v, fn)) for k, v in a.items())
    if isinstance(a, slice):
        return slice(map_aggregate(a.start, fn), map_aggregate(a.stop, fn), map_aggregate(a.step, fn))
    return fn(a)


class Node:
    """One step of a `Graph`.

    `op` says what kind: 'placeholder' (an input; `target` is its name, `args` its default), 'get_attr' (an attribute
    of the module by its dotted name), 'call_function', 'call_module' and 'call_method' (of the function, the module's
    dotted name, the method's name, with `args` and `kwargs`), 'output' (`args[0]` is the result). Arguments may be
    nodes, numbers, strings, and containers of these. `users` are the nodes that take this one as an argument, in order.
    `meta` is the program's own.
    """

    def __init__(
        self, graph: Graph, name: str, op: str, target: Target, args: tuple, kwargs: dict, return_type: Any = None
    ) -> None:
        if op not in _legal_ops:
            raise AssertionError(f"no such kind of node: {op!r}; there are {', '.join(sorted(_legal_ops))}")
        if op == "call_function":
            if not callable(target):
                raise ValueError(f"a call_function node needs a callable as its target, got {target!r}")
        elif not isinstance(target, str):
            raise ValueError(f"a {op} node needs a name as its target, got {type(target).__name__}: {target!r}")
        self.graph = graph
        self.name = name
        self.op = op
        self.target = target
        self.type = return_type
        self.meta: dict[str, Any] = {}
        self.users: dict[Node, None] = {}
        self._input_nodes: dict[Node, None] = {}
        self._prev = self._next = self
        self._erased = False
        self._repr_fn: Callable[[Node], str] | None = None
        self._set(args, kwargs)

    # -- arguments

    def _set(self, args: Any, kwargs: Any) -> None:
        for node in self._input_nodes:
            node.users.pop(self, None)
        self._input_nodes = {}

        def note(node: Node) -> Node:
            self._input_nodes.setdefault(node)
            node.users.setdefault(self)
            return node

        self._args = map_arg(tuple(args), note)
        self._kwargs = map_arg(dict(kwargs), note)

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments; assign a whole new tuple to change them."""
        return self._args

    @args.setter
    def args(self, value: tuple[Any, ...]) -> None:
        self._set(value, self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments by keyword; assign a whole new dictionary to change them."""
        return self._kwargs

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self._set(self._args, value)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once."""
        return list(self._input_nodes)

    def update_arg(self, idx: int, arg: Any) -> None:
        """Puts `arg` in the place of the positional argument `idx`."""
        args = list(self.args)
        args[idx] = arg
        self.args = tuple(args)

    def insert_arg(self, idx: int, arg: Any) -> None:
        """Inserts a positional argument before number `idx`."""
        if not 0 <= idx <= len(self.args):
            raise AssertionError(f"insert_arg: idx must be between 0 and {len(self.args)}, got {idx}")
        self.args = (*self.args[:idx], arg, *self.args[idx:])

    def update_kwarg(self, key: str, arg: Any) -> None:
        """Sets the argument of that keyword."""
        self.kwargs = {**self.kwargs, key: arg}

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Takes `new_input` wherever `old_input` stood among the arguments."""
        swap = lambda n: new_input if n is old_input else n  # noqa: E731
        self._set(map_arg(self.args, swap), map_arg(self.kwargs, swap))
        self.graph._changed()

    def replace_all_uses_with(
        self,
        replace_with: Node,
        delete_user_cb: Callable[[Node], bool] = lambda user: True,
        *,
        propagate_meta: bool = False,
    ) -> list[Node]:
        """Has every user of this node take `replace_with` instead (those that `delete_user_cb` agrees to); gives the
        users that were changed.
        """
        if propagate_meta:
            if replace_with.meta:
                raise AssertionError(
                    "replace_all_uses_with(propagate_meta=True): the node that takes over has metadata of its own"
                )
            replace_with.meta.update(self.meta)
        users = [user for user in self.users if delete_user_cb(user)]
        for user in users:
            user.replace_input_with(self, replace_with)
        return users

    # -- its place in the graph

    @property
    def next(self) -> Node:
        """The node after this one."""
        return self._next

    @property
    def prev(self) -> Node:
        """The node before this one."""
        return self._prev

    def prepend(self, x: Node) -> None:
        """Moves `x` to just before this node."""
        if x.graph is not self.graph:
            raise AssertionError("prepend: the node belongs to another graph")
        if x is self:
            return
        x._unlink()
        before = self._prev
        before._next, x._prev = x, before
        x._next, self._prev = self, x
        self.graph._changed()

    def append(self, x: Node) -> None:
        """Moves `x` to just after this node."""
        if x is not self:
            self._next.prepend(x)

    def _unlink(self) -> None:
        self._prev._next, self._next._prev = self._next, self._prev

    def _is_before(self, other: Node) -> bool:
        node = self._next
        while node.op != "root":
            if node is other:
                return True
            node = node._next
        return False

    def __lt__(self, other: Node) -> bool:
        return self._is_before(other)

    def __gt__(self, other: Node) -> bool:
        return other._is_before(self)

    def __le__(self, other: Node) -> bool:
        return self is other or self._is_before(other)

    def __ge__(self, other: Node) -> bool:
        return self is other or other._is_before(self)

    # -- what is known of it

    @property
    def stack_trace(self) -> str | None:
        """The program's lines that made the node, where the tracer recorded them."""
        return self.meta.get("stack_trace")

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether it must stay even if nobody uses it: inputs, outputs, asserts, writes in place, random layers."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_function":
            name = getattr(self.target, "__name__", "")
            if self.target in _side_effectful_functions or name in _EFFECTS_BY_NAME:
                return True
            return name.endswith("_") and not name.startswith("_") and _home(self.target) == "torch"
        if self.op == "call_method":
            name = str(self.target)
            return name.endswith("_") and not name.endswith("__")
        if self.op == "call_module":
            owner = self.graph.owning_module
            if owner is None:
                raise AssertionError("the graph has no module in which to look up " + str(self.target))
            module = owner.get_submodule(str(self.target))
            return getattr(module, "_is_impure", False)
        return False

    def normalized_arguments(
        self, root: Any, arg_types: Any = None, kwarg_types: Any = None, normalize_to_only_use_kwargs: bool = False
    ) -> Any:
        """Its arguments bound to the parameter names of what it calls: a pair `(args, kwargs)`, or None."""
        from flambeau.fx.operator_schemas import normalize_function, normalize_module

        if self.op == "call_function":
            target: Any = self.target
            return normalize_function(
                target, self.args, self.kwargs, arg_types, kwarg_types, normalize_to_only_use_kwargs
            )
        if self.op == "call_module":
            return normalize_module(root, str(self.target), self.args, self.kwargs, normalize_to_only_use_kwargs)
        return None

    def _pretty_print_target(self, target: Any) -> str:
        if isinstance(target, str):
            return target
        if getattr(target, "__module__", None) == "_operator":
            return f"operator.{target.__name__}"
        return name_in_call(target, self.kwargs)

    def format_node(
        self,
        placeholder_names: list[str] | None = None,
        maybe_return_typename: list[str] | None = None,
        *,
        include_tensor_metadata: bool = False,
    ) -> str | None:
        """The node as a line of the printed graph."""
        uses = f"[num_users={len(self.users)}]"
        if self.op == "placeholder":
            if placeholder_names is not None:
                placeholder_names.append(self.name + (f": {type_name(self.type)}" if self.type else ""))
            default = f"(default={self.args[0]})" if self.args else ""
            return f"%{self.name} : {self._shown_type()}{uses} = {self.op}[target={self.target}]{default}"
        if self.op == "get_attr":
            return f"%{self.name} : {self._shown_type()}{uses} = {self.op}[target={self.target}]"
        if self.op == "output":
            if self.type and maybe_return_typename is not None:
                maybe_return_typename[:] = [f" -> {type_name(self.type)}"]
            return f"return {self.args[0]}"
        arguments = f"args = {_shown(self.args)}, kwargs = {_shown(self.kwargs)}"
        target = self._pretty_print_target(self.target)
        return f"%{self.name} : {self._shown_type()}{uses} = {self.op}[target={target}]({arguments})"

    def _shown_type(self) -> str:
        return f"{type_name(self.type)} " if self.type else ""

    def _rename(self, candidate: str) -> None:
        if candidate != self.name:
            self.name = self.graph._graph_namespace.create_name(candidate, None)

    def __repr__(self) -> str:
        return self._repr_fn(self) if self._repr_fn else self.name

    def __deepcopy__(self, memo: Any) -> Node:
        raise RuntimeError(f"node {self.name} can't be copied by itself: copy its graph, or use graph.node_copy")


def _home(target: Any) -> str:
    return qualified_name(target).partition(".")[0]


def _shown(a: Any) -> str:
    """Arguments as the printed graph has them: nodes with a percent sign, strings without quotes."""
    if isinstance(a, Node):
        return f"%{a.name}"
    if isinstance(a, str):
        return a
    if isinstance(a, (list, tuple)):
        inner = ", ".join(map(_shown, a))
        if isinstance(a, list):
            return f"[{inner}]"
        return f"({inner},)" if len(a) == 1 else f"({inner})"
    if isinstance(a, Mapping):
        return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in a.items()) + "}"
    if isinstance(a, types.FunctionType | types.BuiltinFunctionType | type):
        return qualified_name(a)
    return str(a)


def type_name(kind: Any) -> str:
    """A type annotation as it is written in code."""
    if kind is None or kind is type(None):
        return "None"
    if isinstance(kind, str):
        return kind
    if inspect.isclass(kind) and not hasattr(kind, "__origin__"):
        if kind.__module__ == builtins.__name__:
            return kind.__name__
        return qualified_name(kind)
    return str(kind).replace("flambeau.tensor.tensor.Tensor", "torch.Tensor")
