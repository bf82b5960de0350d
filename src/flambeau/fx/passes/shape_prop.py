"""Shapes, dtypes and strides of all values in a graph, found by running it."""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.fx.interpreter import Interpreter
from flambeau.fx.node import Node, map_aggregate
from flambeau.tensor.formats import channels_last, channels_last_3d, contiguous_format
from flambeau.tensor.tensor import Tensor

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is noted of a tensor."""

    shape: Any
    dtype: Any
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: Any
    is_quantized: bool
    qparams: dict[str, Any]


def _extract_tensor_metadata(result: Tensor, include_contiguity: bool = True) -> TensorMetadata:
    """The notes for one tensor."""
    formats = [contiguous_format]
    formats += [channels_last] * (result.dim() == 4) + [channels_last_3d] * (result.dim() == 5)
    order = next((f for f in formats if include_contiguity and result.is_contiguous(memory_format=f)), None)
    return TensorMetadata(result.shape, result.dtype, result.requires_grad, result.stride(), order, False, {})


class ShapeProp(Interpreter):
    """Runs a graph module on inputs and leaves a `TensorMetadata` (or a container of them) in each node's
    `meta['tensor_meta']`, and the value's class in `meta['type']`.

    >>> import flambeau as torch
    >>> from flambeau.fx.passes.shape_prop import ShapeProp
    >>> traced = torch.fx.symbolic_trace(torch.nn.Linear(3, 2))
    >>> _ = ShapeProp(traced).propagate(torch.ones(5, 3))
    >>> [(n.name, tuple(n.meta['tensor_meta'].shape)) for n in traced.graph.nodes if 'tensor_meta' in n.meta][-1]
    ('output', (5, 2))
    """

    def __init__(self, gm: Any, fake_mode: Any = None) -> None:
        super().__init__(gm)

    def run_node(self, n: Node) -> Any:
        """Runs one node and makes the note."""
        result = super().run_node(n)
        found = False

        def note(x: Any) -> Any:
            nonlocal found
            if isinstance(x, Tensor):
                found = True
                return _extract_tensor_metadata(x)
            return x

        meta = map_aggregate(result, note)
        if found:
            n.meta["tensor_meta"] = meta
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """Runs the graph on `args`, makes the notes, and gives the result."""
        return super().run(*args)
