"""Where a small graph occurs in a large one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flambeau.fx.graph import Graph
from flambeau.fx.node import Node

__all__ = ["InternalMatch", "SubgraphMatcher"]


@dataclass
class InternalMatch:
    """One occurrence: its last nodes, which node each one of the pattern is, what its inputs and results are."""

    anchors: list[Node]
    nodes_map: dict[Node, Node] = field(default_factory=dict)
    placeholder_nodes: list[Any] = field(default_factory=list)
    returning_nodes: list[Node] = field(default_factory=list)
    name_node_map: dict[str, Node] = field(default_factory=dict)


class SubgraphMatcher:
    """Finds the occurrences of `pattern`. A node inside one has no users outside it, unless it is one of its results.

    Args:
        match_output: the pattern's output must be the graph's.
        match_placeholder: the pattern's inputs must be inputs of the graph.
        remove_overlapping_matches: occurrences that share nodes with an earlier one are left out.
        ignore_literals: numbers and strings in the pattern stand for any.
    """

    def __init__(
        self,
        pattern: Graph,
        match_output: bool = False,
        match_placeholder: bool = False,
        remove_overlapping_matches: bool = True,
        ignore_literals: bool = False,
    ) -> None:
        self.pattern = pattern
        self.match_output = match_output
        self.match_placeholder = match_placeholder
        self.remove_overlapping_matches = remove_overlapping_matches
        self.ignore_literals = ignore_literals
        if len(pattern.nodes) == 0:
            raise ValueError("the pattern is an empty graph")
        self.placeholders = [n for n in pattern.nodes if n.op == "placeholder"]
        for node in pattern.nodes:
            if node.op not in ("output",) and not node.users:
                raise AssertionError(f"nobody uses {node} of the pattern: it would match anything")
        output = pattern.output_node()
        self.returning = output.all_input_nodes
        self.anchors = [output] if match_output else [
            n for n in self.returning if len([u for u in n.users if u is not output]) == 0
        ]  # fmt: skip

    # -- one node against another

    def _same_kind(self, p: Node, n: Node) -> bool:
        if not self.match_placeholder and p.op == "placeholder":
            return True
        if p.op != n.op:
            return False
        if p.op in ("placeholder", "output"):
            return True
        if p.op in ("call_module", "get_attr"):
            return self._same_attribute(p, n)
        return p.target == n.target

    @staticmethod
    def _look_up(node: Node) -> Any:
        value: Any = node.graph.owning_module
        for part in str(node.target).split("."):
            value = getattr(value, part, None)
        return value

    def _same_attribute(self, p: Node, n: Node) -> bool:
        mine, theirs = self._look_up(p), self._look_up(n)
        if mine is None or theirs is None:
            return p.target == n.target
        return type(mine) is type(theirs) and (p.op == "get_attr" or p.target == n.target or type(mine) is type(theirs))

    def _match_value(self, p: Any, n: Any, map_: dict[Node, Any]) -> bool:
        if isinstance(p, Node):
            if p.op == "placeholder" and not isinstance(n, Node):
                if p in map_:
                    return map_[p] == n
                map_[p] = n
                return True
            return isinstance(n, Node) and self._match_node(p, n, map_)
        if isinstance(n, Node):
            return False
        if isinstance(p, (list, tuple)) and isinstance(n, (list, tuple)):
            return len(p) == len(n) and all(self._match_value(a, b, map_) for a, b in zip(p, n, strict=True))
        if isinstance(p, dict) and isinstance(n, dict):
            return p.keys() == n.keys() and all(self._match_value(p[k], n[k], map_) for k in p)
        if isinstance(p, slice) and isinstance(n, slice):
            return self._match_value((p.start, p.stop, p.step), (n.start, n.stop, n.step), map_)
        return self.ignore_literals or (type(p) is type(n) and p == n)

    def _match_node(self, p: Node, n: Node, map_: dict[Node, Any]) -> bool:
        if p in map_:
            return map_[p] is n
        if n in map_.values() and p.op != "placeholder":
            return False
        if not self._same_kind(p, n):
            return False
        saved = dict(map_)
        map_[p] = n
        if p.op == "placeholder" or self._match_arguments(p, n, map_):
            return True
        map_.clear()
        map_.update(saved)
        return False

    def _match_arguments(self, p: Node, n: Node, map_: dict[Node, Any]) -> bool:
        if len(p.args) == len(n.args) and p.kwargs.keys() == n.kwargs.keys():
            return self._match_value(p.args, n.args, map_) and self._match_value(dict(p.kwargs), dict(n.kwargs), map_)
        mine = p.normalized_arguments(p.graph.owning_module, normalize_to_only_use_kwargs=True)
        theirs = n.normalized_arguments(n.graph.owning_module, normalize_to_only_use_kwargs=True)
        if mine is None or theirs is None:
            return False
        return self._match_value(dict(mine.kwargs), dict(theirs.kwargs), map_)

    # -- occurrences

    def _contained(self, map_: dict[Node, Any]) -> bool:
        inside = {id(v) for v in map_.values() if isinstance(v, Node)}
        for p, n in map_.items():
            if p.op in ("placeholder", "output") or p in self.returning or n.op == "get_attr":
                continue
            if any(id(user) not in inside for user in n.users):
                return False
        return True

    def match(self, graph: Graph, node_name_match: str = "") -> list[InternalMatch]:
        """The occurrences in the order of their last nodes."""
        candidates = [[n for n in graph.nodes if self._same_kind(a, n) and n.op != "placeholder"] for a in self.anchors]
        maps: list[dict[Node, Any]] = [{}]
        for anchor, nodes in zip(self.anchors, candidates, strict=True):
            grown = []
            for map_ in maps:
                for node in nodes:
                    attempt = dict(map_)
                    if self._match_node(anchor, node, attempt):
                        grown.append(attempt)
            maps = grown
        found: list[InternalMatch] = []
        used: set[Node] = set()
        for map_ in maps:
            if not self._contained(map_):
                continue
            inner = {n for p, n in map_.items() if p.op not in ("placeholder", "output") and isinstance(n, Node)}
            if self.remove_overlapping_matches and inner & used:
                continue
            used |= inner
            found.append(self._made(map_))
        return found

    def _made(self, map_: dict[Node, Any]) -> InternalMatch:
        return InternalMatch(
            anchors=[map_[a] for a in self.anchors],
            nodes_map=map_,
            placeholder_nodes=[map_[p] for p in self.placeholders if p in map_],
            returning_nodes=[map_[r] for r in self.returning],
        )
