"""Several views of one tensor at a time, with one node for all of them: `split`, `unbind` and their kin.

The gradient is assembled once, part by part, instead of once per part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import Node, Pick
from flambeau.autograd.runtime import LEAF, NS, thread, tick
from flambeau.autograd.views import make_view
from flambeau.engines.numpy.layout import side_by_side
from flambeau.ops.dispatch import wrap


class SplitBackward0(Node):
    """Puts the gradients of the parts into the gradient of the whole."""

    def __init__(self, input: Any, dim: int, cuts: list[tuple[int, int]], drop: bool) -> None:
        self.edges = (input if input._node is LEAF else input._node,)
        self.shape = input._a.shape
        self.dtype = input._a.dtype
        self.dim = dim
        self.cuts = cuts
        self.drop = drop
        self.outputs = len(cuts)
        self.seq = tick()
        if NS.get("TRACE") is not None:
            self.trace = NS["TRACE"]()

    def run(self, g: list[Any]) -> tuple[Any, ...]:
        whole = all(part is not None for part in g) and sum(b - a for a, b in self.cuts) == self.shape[self.dim]
        if whole and not self.drop and (together := side_by_side(g, self.dim)) is not None:
            return (together,)
        make = np.empty_like if whole else np.zeros_like
        result = make(next(part for part in g if part is not None), self.dtype, order="C", shape=self.shape)
        lead = (slice(None),) * self.dim
        for (start, stop), part in zip(self.cuts, g, strict=True):
            if part is not None:
                result[(*lead, start if self.drop else slice(start, stop))] = part
        return (result,)

    def run_recorded(self, g: list[Any]) -> tuple[Any, ...]:
        ops = NS["OPS"]
        total = None
        for (start, stop), part in zip(self.cuts, g, strict=True):
            if part is None:
                continue
            part = ops.unsqueeze(part, self.dim) if self.drop else part
            put = ops.slice_put(part, self.shape, self.dim, start, stop)
            total = put if total is None else ops.add(total, put)
        return (total,)


class SplitWithSizesBackward0(SplitBackward0):
    """`split` by a list of lengths."""


class UnbindBackward0(SplitBackward0):
    """`unbind`."""


def parts_of(
    input: Any, dim: int, cuts: list[tuple[int, int]], node_class: type, drop: bool = False
) -> tuple[Any, ...]:
    """The parts `start:stop` of one dimension as views; with `drop`, without that dimension."""
    if input._level is not None or NS["WRITES"] is not None:
        one = NS["OPS"].select if drop else None
        found = [one(input, dim, start) if one else NS["OPS"].slice(input, dim, start, stop) for start, stop in cuts]
        for view in found:
            view._multi_view = True
        return tuple(found)
    array = input._a
    lead = (slice(None),) * dim
    recorded = input._node is not None and thread.grad and not thread.inference
    node = node_class(input, dim, cuts, drop) if recorded else None
    views = []
    for start, stop in cuts:
        view = wrap(array[(*lead, start, ...) if drop else (*lead, slice(start, stop))])
        make_view(view, input)
        view._multi_view = True
        views.append(view)
    if node is not None:
        for i in reversed(range(len(views))):  # the first part's gradient is taken up first
            views[i]._node = Pick(node, i)
    return tuple(views)
