"""Passes: functions of a graph module that say whether they changed it."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

from flambeau.fx.graph_module import GraphModule

__all__ = ["PassBase", "PassResult"]


class PassResult(NamedTuple):
    """The module after a pass, and whether it was changed."""

    graph_module: GraphModule
    modified: bool


class PassBase(abc.ABC):
    """A pass: `call` does the work, `requires` and `ensures` check the module before and after."""

    def __call__(self, graph_module: GraphModule) -> PassResult | None:
        self.requires(graph_module)
        result = self.call(graph_module)
        self.ensures(graph_module)
        return result

    @abc.abstractmethod
    def call(self, graph_module: GraphModule) -> PassResult | None:
        """Works on the module."""

    def requires(self, graph_module: GraphModule) -> Any:
        """Called before; may raise."""
        return None

    def ensures(self, graph_module: GraphModule) -> Any:
        """Called after; may raise."""
        return None
