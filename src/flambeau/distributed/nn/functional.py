"""``torch.distributed.nn.functional``: collectives that return new tensors, through which gradients flow.

What a process receives from the others depends on their inputs, so backward is a collective as well: every process of
the group must take part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.autograd.function import Function
from flambeau.distributed import collectives
from flambeau.distributed.groups import get_rank, get_world_size, group
from flambeau.distributed.kinds import ReduceOp
from flambeau.ops.joining import stack
from flambeau.tensor.creation import empty, empty_like, zeros_like

__all__ = ["all_gather", "all_reduce", "all_to_all", "all_to_all_single", "broadcast", "gather", "reduce",
           "reduce_scatter", "scatter"]  # fmt: skip


def _summed(tensor: Any, op: Any, within: Any) -> Any:
    copy = tensor.clone()
    collectives.all_reduce(copy, op, within)
    return copy


class _AllReduce(Function):
    """The sum over all processes; its gradient is that of every process's result, summed."""

    @staticmethod
    def forward(ctx: Any, op: Any, within: Any, tensor: Any) -> Any:
        ctx.op, ctx.within = op, within
        return _summed(tensor, op, within)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, _AllReduce.apply(ctx.op, ctx.within, grad)


class _Broadcast(Function):
    """One process's tensor; the gradients of all go to that process."""

    @staticmethod
    def forward(ctx: Any, src: int, within: Any, tensor: Any) -> Any:
        ctx.src, ctx.within, ctx.mine = src, within, get_rank() == src
        copy = tensor.clone()
        collectives.broadcast(copy, src, within)
        return copy

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        whole = _summed(grad.contiguous(), ReduceOp.SUM, ctx.within)
        return None, None, whole if ctx.mine else zeros_like(whole)


class _Reduce(Function):
    """The sum in one process; every process gets that one's gradient."""

    @staticmethod
    def forward(ctx: Any, dst: int, op: Any, within: Any, tensor: Any) -> Any:
        ctx.dst, ctx.within = dst, within
        copy = tensor.clone()
        collectives.reduce(copy, dst, op, within)
        return copy

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        copy = grad.contiguous().clone()
        collectives.broadcast(copy, ctx.dst, ctx.within)
        return None, None, None, copy


class _AllToAll(Function):
    """Tensor `i` goes to process `i`; gradients go the other way."""

    @staticmethod
    def forward(ctx: Any, within: Any, shapes: Any, *tensors: Any) -> Any:
        ctx.within, ctx.given = within, [tensor.shape for tensor in tensors]
        places = [empty(shape, dtype=tensors[0].dtype, device=tensors[0].device) for shape in shapes]
        collectives.all_to_all(places, [tensor.contiguous() for tensor in tensors], within)
        return tuple(places)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, *_AllToAll.apply(ctx.within, ctx.given, *grads)


def all_reduce(tensor: Any, op: Any = ReduceOp.SUM, group: Any = group.WORLD) -> Any:
    """The tensors of all processes, reduced."""
    return _AllReduce.apply(op, group, tensor)


def broadcast(tensor: Any, src: int, group: Any = group.WORLD) -> Any:
    """The tensor of process `src`."""
    return _Broadcast.apply(src, group, tensor)


def reduce(tensor: Any, dst: int, op: Any = ReduceOp.SUM, group: Any = group.WORLD) -> Any:
    """The tensors of all processes, reduced, in process `dst`; elsewhere the own one."""
    return _Reduce.apply(dst, op, group, tensor)


def all_gather(tensor: Any, group: Any = group.WORLD) -> tuple[Any, ...]:
    """The tensors of all processes, in their order."""
    count = get_world_size(group)
    return _AllToAll.apply(group, [tensor.shape] * count, *[tensor] * count)


def gather(tensor: Any, dst: int = 0, group: Any = group.WORLD) -> tuple[Any, ...]:
    """The tensors of all processes, in process `dst`; elsewhere zeros."""
    count, here = get_world_size(group), get_rank(group) == dst
    sent = [tensor if rank == dst else tensor.new_zeros((0,)) for rank in range(count)]
    got = _AllToAll.apply(group, [tensor.shape if here else (0,)] * count, *sent)
    return got if here else tuple([zeros_like(tensor) + part.sum() for part in got])


def scatter(tensors: Sequence[Any], src: int = 0, group: Any = group.WORLD) -> Any:
    """Of the list that process `src` has, the own entry."""
    count = get_world_size(group)
    sent = list(tensors) if get_rank(group) == src else [t.new_zeros((0,)) + t.sum() * 0 for t in tensors]
    shapes = [tensors[0].shape if rank == src else (0,) for rank in range(count)]
    return _AllToAll.apply(group, shapes, *sent)[src]


def reduce_scatter(output: Any, input_list: Sequence[Any], op: Any = ReduceOp.SUM, group: Any = group.WORLD) -> Any:
    """Of the lists of all processes, the own entry, summed over the processes; `output` tells its shape.

    RuntimeError for another reduction than the sum and the average, which have a gradient.
    """
    if op not in (ReduceOp.SUM, ReduceOp.AVG):
        raise RuntimeError(f"reduce_scatter: gradients flow through SUM and AVG, not {op}")
    parts = _AllToAll.apply(group, [output.shape] * get_world_size(group), *input_list)
    whole = stack(list(parts)).sum(0)
    return whole / len(parts) if op == ReduceOp.AVG else whole


def all_to_all(output_tensor_list: Sequence[Any], input_tensor_list: Sequence[Any], group: Any = group.WORLD) -> Any:
    """Each process sends a tensor to each; `output_tensor_list` tells the shapes of what comes."""
    return _AllToAll.apply(group, [place.shape for place in output_tensor_list], *input_tensor_list)


def all_to_all_single(output: Any, input: Any, output_split_sizes: Any = None, input_split_sizes: Any = None,
                      group: Any = group.WORLD) -> Any:  # fmt: skip
    """Each process sends a part of a tensor to each: equal parts, or such as the sizes say."""
    from flambeau.ops.joining import cat

    count = get_world_size(group)
    given = input.split(input_split_sizes or [input.shape[0] // count] * count)
    places = empty_like(output).split(output_split_sizes or [output.shape[0] // count] * count)
    return cat(list(_AllToAll.apply(group, [place.shape for place in places], *given)))
