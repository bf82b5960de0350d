"""Programs as lists of nodes, to be read and rewritten."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flambeau.fx import naming
from flambeau.fx.codegen import CodeGen, PythonCode, python_code
from flambeau.fx.node import Node, map_arg
from flambeau.fx.pytrees import _PyTreeCodeGen, _PyTreeInfo

if TYPE_CHECKING:
    from flambeau.nn.modules.module import Module

__all__ = ["CodeGen", "Graph", "PythonCode", "_PyTreeCodeGen", "_PyTreeInfo"]


_EMPTY = inspect.Signature.empty


class _node_list:
    """A view of a graph's nodes in order. Nodes may be inserted and erased while somebody iterates."""

    def __init__(self, graph: Graph, direction: str = "_next") -> None:
        self.graph = graph
        self.direction = direction

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Node]:
        root = node = self.graph._root
        while True:
            node = getattr(node, self.direction)
            if node is root:
                return
            if not node._erased:
                yield node

    def __reversed__(self) -> _node_list:
        return _node_list(self.graph, "_prev" if self.direction == "_next" else "_next")


class _Insertion:
    """Sets where new nodes go; as a context, until its end."""

    def __init__(self, graph: Graph, insert: Callable[[Node], None]) -> None:
        self.graph = graph
        self.before = graph._insert
        graph._insert = insert

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        self.graph._insert = self.before


class Graph:
    """A program of nodes: placeholders first, then calls and attributes in the order they run, then one output.

    >>> import flambeau as torch
    >>> graph = torch.fx.Graph()
    >>> x = graph.placeholder('x')
    >>> y = graph.call_function(torch.relu, (x,))
    >>> _ = graph.output(y)
    >>> print(graph)
    graph():
        %x : [num_users=1] = placeholder[target=x]
        %relu : [num_users=1] = call_function[target=torch.relu](args = (%x,), kwargs = {})
        return relu
    """

    def __init__(
        self, owning_module: Module | None = None, tracer_cls: type | None = None, tracer_extras: dict | None = None
    ) -> None:
        self._root = Node(self, "", "root", "", (), {})
        self._insert: Callable[[Node], None] = self._root.prepend
        self._graph_namespace = naming.Namespace()
        self._owning_module = owning_module
        self._tracer_cls = tracer_cls
        self._tracer_extras = tracer_extras
        self._codegen = CodeGen()
        self._co_fields: Any = None

    def _changed(self) -> None:
        """Hook for whoever keeps something derived from the graph."""

    @property
    def owning_module(self) -> Module | None:
        """The module whose graph this is."""
        return self._owning_module

    @owning_module.setter
    def owning_module(self, module: Module | None) -> None:
        self._owning_module = module

    @property
    def nodes(self) -> _node_list:
        """All nodes in order; `reversed` works."""
        return _node_list(self)

    def find_nodes(self, *, op: str, target: Any = None, sort: bool = True) -> list[Node]:
        """The nodes of a kind, and of a target where one is given."""
        if op == "call_function" and target is None:
            raise AssertionError("find_nodes(op='call_function') needs a target")
        return [n for n in self.nodes if n.op == op and (target is None or n.target == target)]

    # -- building

    def _target_to_str(self, target: Any) -> str:
        text = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
        if text.startswith("__") and text.endswith("__") and len(text) > 4:
            text = text[2:-2]
        return naming.snake_case(text)

    def create_node(
        self,
        op: str,
        target: Any,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Adds a node at the insertion point. `args` is a tuple and `kwargs` a dictionary."""
        args, kwargs = () if args is None else args, {} if kwargs is None else kwargs
        if not isinstance(args, tuple):
            raise AssertionError(f"create_node: args must be a tuple, got {type(args).__name__}")
        if not isinstance(kwargs, dict):
            raise AssertionError(f"create_node: kwargs must be a dict, got {type(kwargs).__name__}")
        candidate = name if name is not None else self._target_to_str(target)
        node = Node(self, self._graph_namespace.create_name(candidate, None), op, target, args, kwargs, type_expr)
        if self.owning_module is not None and getattr(self.owning_module, "_create_node_hooks", None):
            for hook in self.owning_module._create_node_hooks:
                hook(node)
        self._graph_namespace.associate_name_with_obj(node.name, node)
        self._insert(node)
        self._changed()
        return node

    def placeholder(self, name: str, type_expr: Any = None, default_value: Any = ...) -> Node:
        """An input of the graph."""
        args = () if default_value in (..., _EMPTY) else (default_value,)
        return self.create_node("placeholder", name, args=args, type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """An attribute of the module, by its dotted name."""
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def call_module(
        self, module_name: str, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None
    ) -> Node:
        """A call of the submodule of that dotted name."""
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def call_method(
        self, method_name: str, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None
    ) -> Node:
        """A call of a method of `args[0]`."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_function(
        self,
        the_function: Callable,
        args: tuple | None = None,
        kwargs: dict | None = None,
        type_expr: Any = None,
        name: str | None = None,
    ) -> Node:
        """A call of a function."""
        return self.create_node("call_function", the_function, args, kwargs, name=name, type_expr=type_expr)

    def output(self, result: Any, type_expr: Any = None) -> Node:
        """The graph's result: nodes, or containers of them."""
        return self.create_node("output", "output", args=(result,), type_expr=type_expr)

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = lambda x: x) -> Node:
        """Adds a copy of a node of another graph; `arg_transform` gives this graph's nodes for that one's."""
        args = map_arg(node.args, arg_transform)
        kwargs = map_arg(node.kwargs, arg_transform)
        result = self.create_node(node.op, node.target, args, dict(kwargs), node.name, node.type)
        result.meta = copy.copy(node.meta)
        return result

    def graph_copy(self, g: Graph, val_map: dict[Node, Node], return_output_node: bool = False) -> Any:
        """Copies the nodes of `g` that are not in `val_map`, and notes them there; gives what its output holds."""
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                result = map_arg(node.args[0], lambda n: val_map[n])
                return (result, node) if return_output_node else result
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def __deepcopy__(self, memo: dict | None = None) -> Graph:
        memo = memo if memo is not None else {}
        other = Graph(tracer_cls=self._tracer_cls, tracer_extras=self._tracer_extras)
        other._codegen = copy.deepcopy(self._codegen)
        mapped: dict[Node, Node] = {}
        found = other.graph_copy(self, mapped, return_output_node=True)
        for old, new in mapped.items():
            new.meta = copy.copy(old.meta)
        if found is not None:
            value, old_output = found
            made = other.create_node("output", "output", (value,), {}, old_output.name, old_output.type)
            made.meta = copy.copy(old_output.meta)
        memo[id(self)] = other
        return other

    def inserting_before(self, n: Node | None = None) -> _Insertion:
        """New nodes go before `n` (at the beginning without one); as a context, inside it only."""
        if n is None:
            return self.inserting_after(self._root)
        self._mine(n)
        return _Insertion(self, n.prepend)

    def inserting_after(self, n: Node | None = None) -> _Insertion:
        """New nodes go after `n` (at the end without one), each after the last; as a context, inside it only."""
        if n is None:
            return self.inserting_before(self._root)
        self._mine(n)
        last = [n]

        def insert(node: Node) -> None:
            last[0].append(node)
            last[0] = node

        return _Insertion(self, insert)

    def _mine(self, n: Node) -> None:
        if n.graph is not self:
            raise AssertionError(f"node {n.name} belongs to another graph")

    # -- changing

    def erase_node(self, to_erase: Node) -> None:
        """Removes a node that nobody uses. RuntimeError if somebody does."""
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in the graph: "
                f"{dict(to_erase.users)}!"
            )
        self._mine(to_erase)
        if to_erase._erased:
            return
        to_erase._unlink()
        to_erase._erased = True
        to_erase._set((), {})
        self._changed()

    def eliminate_dead_code(
        self, is_impure_node: Callable[[Node], bool] | None = None, impure_random: bool = True
    ) -> bool:
        """Removes calls and attributes that nobody uses and that have no effect; whether there were any."""
        self.lint()
        impure = is_impure_node or (lambda node: node.is_impure(impure_random))
        changed = False
        for node in list(reversed(self.nodes)):
            if not node.users and not impure(node):
                self.erase_node(node)
                changed = True
        return changed

    # -- looking

    def output_node(self) -> Node:
        """The output."""
        for node in reversed(self.nodes):
            if node.op == "output":
                return node
        raise RuntimeError("this graph has no output node")

    def process_inputs(self, *args: Any) -> Any:
        """What the placeholders get when the module is called with `args`."""
        return self._codegen.process_inputs(*args)

    def process_outputs(self, out: Any) -> Any:
        """What the module returns for the value of the output."""
        return self._codegen.process_outputs(out)

    def set_codegen(self, codegen: CodeGen) -> None:
        """Takes another way of writing code."""
        self._codegen = codegen

    @contextmanager
    def on_generate_code(self, make_transformer: Callable) -> Iterator[None]:
        """Inside, lines of code go through what `make_transformer` makes of the present transformer."""
        before = self._codegen._body_transformer
        self._codegen._body_transformer = make_transformer(before)
        try:
            yield
        finally:
            self._codegen._body_transformer = before

    def python_code(self, root_module: str, **options: Any) -> PythonCode:
        """The graph as Python code; `root_module` is the name of the module's argument, usually 'self'."""
        namespace = naming.Namespace()
        shown = {node: node._repr_fn for node in self.nodes}

        def show(node: Node) -> str:
            return namespace.create_name(node.name, node)

        for node in self.nodes:
            node._repr_fn = show
        try:
            return python_code(self, root_module, namespace)
        finally:
            for node, before in shown.items():
                node._repr_fn = before

    def __str__(self) -> str:
        names: list[str] = []
        returned = [""]
        lines = [node.format_node(names, returned) for node in self.nodes]
        return "graph():" + "".join("\n    " + line for line in lines if line)

    def print_tabular(self) -> None:
        """Prints the nodes as a table."""
        head = ("opcode", "name", "target", "args", "kwargs")
        rows = [head, *((n.op, n.name, str(n.target), str(n.args), str(dict(n.kwargs))) for n in self.nodes)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        shown = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        print("\n".join([shown[0], "  ".join("-" * w for w in widths), *shown[1:]]))

    def lint(self) -> None:
        """Raises RuntimeError for a graph that is no program: names twice, arguments that come later or from another
        graph, targets that the module does not have.
        """
        names: set[str] = set()
        seen: set[Node] = set()
        for node in self.nodes:
            if node.graph is not self:
                raise RuntimeError(f"node {node.name} belongs to another graph")
            if node.name in names:
                raise RuntimeError(f"two nodes are called {node.name}")
            for argument in node.all_input_nodes:
                if argument.graph is not self:
                    raise RuntimeError(f"argument {argument.name} of node {node.name} belongs to another graph")
                if argument not in seen:
                    raise RuntimeError(
                        f"argument {argument.name} of node {node.name} is used before it has been defined: check the "
                        f"order of the nodes\n{self}"
                    )
            names.add(node.name)
            seen.add(node)
        if self.owning_module is not None:
            for node in self.nodes:
                if node.op in ("get_attr", "call_module"):
                    self._look_up(node)

    def _look_up(self, node: Node) -> None:
        owner: Any = self.owning_module
        path = str(node.target).split(".")
        for i, part in enumerate(path):
            if not hasattr(owner, part):
                above = ".".join(path[:i]) or "the module"
                raise RuntimeError(f"node {node.name} names '{node.target}', but {above} has no attribute '{part}'")
            owner = getattr(owner, part)
        if node.op == "call_module" and not callable(owner):
            raise RuntimeError(f"node {node.name} calls '{node.target}', which is no module")
