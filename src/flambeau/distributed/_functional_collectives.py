"""``torch.distributed._functional_collectives``: collectives that return new tensors, and have ended
when they return."""

from __future__ import annotations

from typing import Any

from flambeau.distributed import collectives
from flambeau.distributed.groups import get_world_size
from flambeau.distributed.kinds import ReduceOp
from flambeau.distributed.nn import functional
from flambeau.ops.joining import cat

__all__ = ["all_gather_tensor", "all_reduce", "all_to_all_single", "all_to_all_single_autograd", "broadcast",
           "reduce_scatter_tensor", "wait_tensor"]  # fmt: skip


def _group(group: Any) -> Any:
    """The group of a mesh with one dimension, or of (mesh, dimension); a group as it is."""
    if isinstance(group, tuple):
        return group[0].get_group(group[1])
    return group.get_group() if hasattr(group, "get_group") else group


def _op(name: Any) -> Any:
    return getattr(ReduceOp, name.upper()) if isinstance(name, str) else name


def wait_tensor(tensor: Any) -> Any:
    """The tensor, whose collective has ended."""
    return tensor


def all_reduce(self: Any, reduceOp: Any, group: Any, tag: str = "") -> Any:
    """The tensors of all processes, reduced: 'sum', 'avg', 'max', ..."""
    copy = self.clone()
    collectives.all_reduce(copy, _op(reduceOp), _group(group))
    return copy


def broadcast(self: Any, src: int, group: Any, tag: str = "") -> Any:
    """The tensor of process `src`."""
    copy = self.clone()
    collectives.broadcast(copy, src, _group(group))
    return copy


def all_gather_tensor(self: Any, gather_dim: int, group: Any, tag: str = "") -> Any:
    """The tensors of all processes, joined along a dimension."""
    within = _group(group)
    whole = self.new_empty((get_world_size(within) * self.shape[0], *self.shape[1:]))
    collectives.all_gather_into_tensor(whole, self.contiguous(), within)
    return whole if gather_dim == 0 else cat(list(whole.chunk(get_world_size(within))), gather_dim)


def reduce_scatter_tensor(self: Any, reduceOp: Any, scatter_dim: int, group: Any, tag: str = "") -> Any:
    """The own part, along a dimension, of all processes' tensors reduced."""
    within = _group(group)
    count = get_world_size(within)
    given = self if scatter_dim == 0 else cat(list(self.chunk(count, scatter_dim)))
    part = given.new_empty((given.shape[0] // count, *given.shape[1:]))
    collectives.reduce_scatter_tensor(part, given.contiguous(), _op(reduceOp), within)
    return part


def all_to_all_single(self: Any, output_split_sizes: Any, input_split_sizes: Any, group: Any, tag: str = "") -> Any:
    """Each process sends a part to each, along the first dimension."""
    rows = sum(output_split_sizes) if output_split_sizes else self.shape[0]
    place = self.new_empty((rows, *self.shape[1:]))
    collectives.all_to_all_single(place, self.contiguous(), output_split_sizes, input_split_sizes, _group(group))
    return place


def all_to_all_single_autograd(self: Any, output_split_sizes: Any, input_split_sizes: Any, group: Any,
                               tag: str = "") -> Any:  # fmt: skip
    """The same, with gradients that go the other way."""
    rows = sum(output_split_sizes) if output_split_sizes else self.shape[0]
    place = self.new_empty((rows, *self.shape[1:]))
    return functional.all_to_all_single(place, self, output_split_sizes, input_split_sizes, _group(group))
