"""Finding the places in a graph that look like a pattern, and putting something else there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from flambeau.fx._symbolic_trace import symbolic_trace
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule, _copy_attr
from flambeau.fx.node import Node
from flambeau.fx.passes.utils.matcher_utils import InternalMatch, SubgraphMatcher
from flambeau.nn.modules.module import Module

__all__ = ["Match", "ReplacedPatterns", "replace_pattern", "replace_pattern_with_filters"]


class Match(NamedTuple):
    """A place that was found: the node at its end, and which node of the graph each one of the pattern is."""

    anchor: Node
    nodes_map: dict[Node, Node]


@dataclass
class ReplacedPatterns:
    """A place that was replaced, and the nodes that stand there now."""

    anchor: Node
    nodes_map: dict[Node, Node]
    replacements: list[Node]


def _graph_of(pattern: Any) -> Graph:
    if isinstance(pattern, Graph):
        return pattern
    if isinstance(pattern, GraphModule):
        return pattern.graph
    return symbolic_trace(pattern).graph


def replace_pattern(gm: GraphModule, pattern: Any, replacement: Any) -> list[Match]:
    """Replaces, in place, every part of `gm`'s graph that does what `pattern` does by what `replacement` does. Both are
    functions or modules of the same parameters, or graph modules. Places do not overlap: earlier ones win.

    >>> import flambeau as torch
    >>> gm = torch.fx.symbolic_trace(lambda x, y: torch.add(x, torch.relu(y)))
    >>> found = torch.fx.replace_pattern(gm, lambda a: torch.relu(a), lambda a: torch.tanh(a))
    >>> len(found), 'tanh' in gm.code
    (1, True)
    """
    return [Match(anchor=r.anchor, nodes_map=r.nodes_map) for r in _replace(gm, pattern, replacement)]


def replace_pattern_with_filters(
    gm: GraphModule,
    pattern: Any,
    replacement: Any = None,
    match_filters: list[Callable[[InternalMatch, Graph, Graph], bool]] | None = None,
    ignore_literals: bool = False,
    replacement_callback: Callable[[InternalMatch, Graph, Graph], Graph] | None = None,
    node_name_match: str = "",
) -> list[ReplacedPatterns]:
    """`replace_pattern` for those places that all `match_filters(match, graph, pattern_graph)` accept.

    Args:
        ignore_literals: numbers in the pattern stand for any number.
        replacement_callback: makes the replacement's graph for each place, instead of `replacement`.
    """
    return _replace(gm, pattern, replacement, match_filters, ignore_literals, replacement_callback)


def _replace(
    gm: GraphModule,
    pattern: Any,
    replacement: Any,
    filters: list[Callable] | None = None,
    ignore_literals: bool = False,
    callback: Callable | None = None,
) -> list[ReplacedPatterns]:
    graph = gm.graph
    wanted = _graph_of(pattern)
    matcher = SubgraphMatcher(
        wanted, match_output=False, match_placeholder=False, remove_overlapping_matches=True,
        ignore_literals=ignore_literals,
    )  # fmt: skip
    found = [m for m in matcher.match(graph) if all(f(m, graph, wanted) for f in filters or [])]
    fixed = _graph_of(replacement) if replacement is not None and callback is None else None
    moved: dict[Node, Node] = {}
    done = []
    for match in found:
        new = callback(match, graph, wanted) if callback is not None else fixed
        if new is None:
            raise ValueError("replace_pattern_with_filters needs a replacement or a replacement_callback")
        done.append(_put(graph, match, wanted, new, moved))
    gm.recompile()
    if isinstance(replacement, Module):
        for node in graph.nodes:
            if node.op in ("call_module", "get_attr") and not _has(gm, str(node.target)):
                _copy_attr(replacement, gm, str(node.target))
        gm.graph.lint()
    return done


def _has(module: Any, path: str) -> bool:
    for part in path.split("."):
        if not hasattr(module, part):
            return False
        module = getattr(module, part)
    return True


def _put(graph: Graph, match: InternalMatch, wanted: Graph, new: Graph, moved: dict[Node, Node]) -> ReplacedPatterns:
    """One replacement; `moved` says what became of nodes that earlier ones took away."""
    inputs = [n for n in new.nodes if n.op == "placeholder"]
    if len(inputs) != len(match.placeholder_nodes):
        raise AssertionError(
            f"the pattern has {len(match.placeholder_nodes)} inputs, its replacement {len(inputs)}: they must agree"
        )
    values: dict[Node, Any] = {}
    for place, given in zip(inputs, match.placeholder_nodes, strict=True):
        values[place] = moved.get(given, given) if isinstance(given, Node) else given
    inner = [match.nodes_map[n] for n in wanted.nodes if n.op not in ("placeholder", "output") and n in match.nodes_map]
    taken = [n for n in values.values() if isinstance(n, Node)]
    order = {n: i for i, n in enumerate(graph.nodes)}
    first_user = min((u for r in match.returning_nodes for u in r.users if u not in inner), key=order.get, default=None)  # type: ignore[arg-type]
    last = max([*taken, *match.returning_nodes], key=lambda n: order.get(n, -1))
    before = first_user if first_user is not None else last.next
    with graph.inserting_before(before):
        result = graph.graph_copy(new, values)
    made = [values[n] for n in new.nodes if n in values and n not in inputs]
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(results) != len(match.returning_nodes):
        raise AssertionError(
            f"the pattern has {len(match.returning_nodes)} results, its replacement {len(results)}: they must agree"
        )
    for old, replaced in zip(match.returning_nodes, results, strict=True):
        old.replace_all_uses_with(replaced)
        moved[old] = replaced
    for node in reversed(inner):
        if not node.users:
            graph.erase_node(node)
    return ReplacedPatterns(match.anchors[0], match.nodes_map, made)
