"""One graph as several, which a graph of their calls holds together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_arg
from flambeau.nn.modules.module import Module

__all__ = ["Partition", "split_module"]


class Partition:
    """A part: its nodes, what it takes and what it gives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.submod_name = f"submod_{name}"
        self.node_names: list[str] = []
        self.inputs: dict[str, None] = {}
        self.outputs: dict[str, None] = {}
        self.dependencies: dict[str, None] = {}
        self.graph = Graph()
        self.environment: dict[Node, Node] = {}
        self.targets: dict[str, Any] = {}


def split_module(
    m: GraphModule,
    root_m: Module,
    split_callback: Callable[[Node], Any],
    qualname_map: dict[str, str] | None = None,
    keep_original_order: bool | None = False,
    keep_original_node_name: bool | None = False,
    keep_original_input_name: bool = True,
) -> GraphModule:
    """A module with a submodule `submod_<name>` for each name that `split_callback(node)` gives.

    RuntimeError if parts depend on each other in a circle.
    """
    parts: dict[str, Partition] = {}
    place: dict[Node, str] = {}
    for node in m.graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        name = str(split_callback(node))
        parts.setdefault(name, Partition(name)).node_names.append(node.name)
        place[node] = name
    for node in m.graph.nodes:
        for used in node.all_input_nodes:
            _join(parts, place.get(used), place.get(node), used)
    order = _sorted(parts)
    by_name = {node.name: node for node in m.graph.nodes}
    for part in parts.values():
        for name in part.inputs:
            made = part.graph.placeholder(name, type_expr=by_name[name].type)
            made.meta = dict(by_name[name].meta)
            part.environment[by_name[name]] = made
    for node in m.graph.nodes:
        if node in place:
            _copy(node, parts[place[node]], root_m, qualname_map)
    return _assemble(m, parts, order, by_name, root_m)


def _join(parts: dict[str, Partition], source: str | None, user: str | None, used: Node) -> None:
    if source == user:
        return
    if source is not None:
        parts[source].outputs.setdefault(used.name)
    if user is not None:
        parts[user].inputs.setdefault(used.name)
        if source is not None:
            parts[user].dependencies.setdefault(source)


def _sorted(parts: dict[str, Partition]) -> list[str]:
    done: list[str] = []
    while len(done) < len(parts):
        ready = [n for n, p in parts.items() if n not in done and all(d in done for d in p.dependencies)]
        if not ready:
            raise RuntimeError(
                f"parts of the module depend on each other in a circle: {sorted(set(parts) - set(done))}"
            )
        done.append(ready[0])
    return done


def _copy(node: Node, part: Partition, root: Module, names: dict[str, str] | None) -> None:
    args, kwargs = (map_arg(a, part.environment.__getitem__) for a in (node.args, node.kwargs))
    target = node.target
    if node.op == "call_module":
        target = str(node.target).replace(".", "_")
        part.targets[target] = root.get_submodule(str(node.target))
        if names is not None:
            names[f"{part.submod_name}.{target}"] = str(node.target)
    made = part.graph.create_node(node.op, target, args, dict(kwargs), node.name, node.type)
    made.meta = dict(node.meta)
    part.environment[node] = made


def _look_up(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _assemble(
    m: GraphModule, parts: dict[str, Partition], order: list[str], by_name: dict[str, Node], root: Module
) -> GraphModule:
    base = Graph()
    base._codegen = m.graph._codegen
    known: dict[Node, Node] = {}
    attributes: dict[str, Any] = {}
    for node in m.graph.nodes:
        if node.op == "placeholder":
            known[node] = base.node_copy(node)
        elif node.op == "get_attr":
            known[node] = base.get_attr(str(node.target))
            attributes[str(node.target)] = _look_up(root, str(node.target))
    for name in order:
        part = parts[name]
        outputs = [part.environment[by_name[n]] for n in part.outputs]
        part.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        attributes[part.submod_name] = GraphModule(part.targets, part.graph, part.submod_name)
        call = base.call_module(part.submod_name, tuple(known[by_name[n]] for n in part.inputs))
        for i, n in enumerate(part.outputs):
            known[by_name[n]] = call if len(outputs) == 1 else _item(base, call, i)
    output = m.graph.output_node()
    base.output(map_arg(output.args[0], lambda n: known[n]))
    return GraphModule(attributes, base)


def _item(graph: Graph, call: Node, i: int) -> Node:
    import operator

    return graph.call_function(operator.getitem, (call, i))
