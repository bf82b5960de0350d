"""``torch._dynamo.testing``: backends of `torch.compile` that count what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CompileCounter"]


class CompileCounter:
    """A backend that runs graphs as they are: `frame_count` of them came, with `op_count` calls in all.

    `torch.compile` here hands no graphs to backends: what it compiles leaves both at 0.
    """

    def __init__(self) -> None:
        self.clear()

    def __call__(self, gm: Any, example_inputs: Any) -> Callable:
        self.frame_count += 1
        self.op_count += sum("call" in node.op for node in gm.graph.nodes)
        return gm.forward

    def clear(self) -> None:
        """Counts from 0."""
        self.frame_count = self.op_count = 0
