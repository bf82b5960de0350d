"""Collectives: all processes of a group call the same one, and each gets what is meant for it.

With `async_op=True` they return a `Work` at once, and the tensors are to be left alone until `wait()`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import no_grad
from flambeau.distributed.groups import ProcessGroup, joined
from flambeau.distributed.kinds import ReduceOp, Work
from flambeau.ops.dispatch import wrap
from flambeau.tensor.tensor import Tensor

__all__ = [
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_reduce", "all_reduce_coalesced", "all_to_all",
    "all_to_all_single", "barrier", "broadcast", "gather", "monitored_barrier", "reduce", "reduce_scatter",
    "reduce_scatter_tensor", "scatter",
]  # fmt: skip

_HOW = {
    ReduceOp.SUM: "sum", ReduceOp.AVG: "avg", ReduceOp.PRODUCT: "product", ReduceOp.MIN: "min", ReduceOp.MAX: "max",
    ReduceOp.BAND: "band", ReduceOp.BOR: "bor", ReduceOp.BXOR: "bxor",
}  # fmt: skip


def _how(op: Any, array: Any, name: str) -> str:
    if op not in _HOW:
        raise ValueError(f"{name}: op should be one of ReduceOp's {', '.join(o.name for o in _HOW)}, got {op!r}")
    how = _HOW[op]
    if how.startswith("b") and array.dtype.kind not in "iub":
        raise RuntimeError(f"{name}: {op.name} is for integers, got {dtypes.of_numpy(array.dtype)}")
    if how in ("min", "max", "avg") and array.dtype.kind == "c":
        raise RuntimeError(f"{name}: {op.name} is not defined for complex numbers")
    return how


def _array(tensor: Any, group: ProcessGroup, name: str) -> Any:
    """The array of a tensor, which the exchange may read until it is over."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    group.check_device(tensor._a, name)
    return tensor._a


def _stacked(tensors: Sequence[Any], group: ProcessGroup, name: str, like: Any = None) -> Any:
    arrays = [_array(t, group, name) for t in tensors]
    first = arrays[0] if like is None else like._a
    for a in arrays:
        if a.dtype != first.dtype:
            raise ValueError(f"{name}: tensors of {dtypes.of_numpy(a.dtype)} and {dtypes.of_numpy(first.dtype)} came")
        if a.shape != first.shape:
            raise ValueError(f"{name}: tensors of one shape are needed, got {a.shape} and {first.shape}")
    return np.stack(arrays)


def _put(tensor: Any, result: Any) -> Any:
    """Writes a result into a tensor that the program gave."""
    with no_grad():
        source = wrap(result)
        tensor.copy_(source if source.shape == tensor.shape else source.reshape(tensor.shape))
    return tensor


def _begin(group: ProcessGroup, name: str, kind: str, how: Any, array: Any, finish: Callable, async_op: bool) -> Any:
    work = Work(group.exchange.start(name, kind, how, array), finish)
    if async_op:
        return work
    work.wait()
    return None


def _list(tensors: Any, group: ProcessGroup, name: str, what: str) -> list:
    if not isinstance(tensors, (list, tuple)) or len(tensors) != group.size():
        many = "one" if group.size() == 1 else str(group.size())
        raise ValueError(f"{name}: {what} should be a list with a tensor per process, that is of {many}")
    return list(tensors)


def _root(rank: int | None, in_group: int | None, group: ProcessGroup, name: str, word: str) -> int:
    """The number in the group of the process that sends or receives all."""
    if rank is not None and in_group is not None:
        raise ValueError(f"{name}: give {word} or group_{word}, not both")
    if in_group is None:
        return group.local(0 if rank is None else rank, name)
    if not 0 <= in_group < group.size():
        raise ValueError(f"{name}: a group of {group.size()} has no rank {in_group}")
    return in_group


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Reduces the tensors of all processes, in place: all have the result then.

    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", rank=0, world_size=1)
    >>> t = torch.ones(2)
    >>> dist.all_reduce(t, op=dist.ReduceOp.AVG)
    >>> t
    tensor([1., 1.])
    >>> dist.destroy_process_group()
    """
    within = joined(group)
    array = _array(tensor, within, "all_reduce")
    how = _how(op, array, "all_reduce")
    return _begin(within, "all_reduce", "reduce", how, array, lambda r: [_put(tensor, r)], async_op)


def all_reduce_coalesced(tensors: list, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Any:
    """`all_reduce` of each tensor of a list."""
    works = [all_reduce(t, op, group, True) for t in tensors]
    return _together(works, async_op)


def _together(works: list, async_op: bool) -> Work | None:
    def finish(_: Any) -> list:
        return [w.result() for w in works]

    work = Work(None, finish)
    if async_op:
        return work
    work.wait()
    return None


def reduce(tensor: Tensor, dst: int | None = None, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False,
           group_dst: int | None = None) -> Work | None:  # fmt: skip
    """As `all_reduce`, for the process `dst` alone."""
    within = joined(group)
    root = _root(dst, group_dst, within, "reduce", "dst")
    array = _array(tensor, within, "reduce")
    how = _how(op, array, "reduce")

    def finish(result: Any) -> list:
        return [_put(tensor, result) if within.rank() == root else tensor]

    return _begin(within, "reduce", "reduce", how, array, finish, async_op)


def broadcast(tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False,
              group_src: int | None = None) -> Work | None:  # fmt: skip
    """Gives all processes the tensor of `src`, in place."""
    within = joined(group)
    root = _root(src, group_src, within, "broadcast", "src")
    array = _array(tensor, within, "broadcast")

    def finish(result: Any) -> list:
        return [tensor if within.rank() == root else _put(tensor, result)]

    return _begin(within, "broadcast", "broadcast", root, array, finish, async_op)


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Copies the tensor of each process into its place in `tensor_list`. The tensors may differ in shape (then in the
    same way in all processes' lists).
    """
    within = joined(group)
    places = _list(tensor_list, within, "all_gather", "tensor_list")
    array = _array(tensor, within, "all_gather")
    most = max(p.numel() for p in places)
    if all(p.shape == tensor.shape for p in places):

        def finish(result: Any) -> list:
            return [_put(p, part) for p, part in zip(places, result, strict=True)]

        return _begin(within, "all_gather", "gather", None, array, finish, async_op)
    if tensor.shape != places[within.rank()].shape:
        raise ValueError(
            f"all_gather: the place of rank {within.rank()} has shape {tuple(places[within.rank()].shape)}, and its "
            f"tensor {tuple(tensor.shape)}"
        )
    padded = np.concatenate([array.reshape(-1), np.zeros(most - array.size, array.dtype)])

    def cut(result: Any) -> list:
        return [_put(p, part[: p.numel()]) for p, part in zip(places, result, strict=True)]

    return _begin(within, "all_gather", "gather", None, padded, cut, async_op)


def all_gather_coalesced(output_tensor_lists: list, input_tensor_list: list, group: Any = None,
                         async_op: bool = False) -> Work | None:  # fmt: skip
    """`all_gather` of each tensor of a list."""
    pairs = zip(output_tensor_lists, input_tensor_list, strict=True)
    return _together([all_gather(places, t, group, True) for places, t in pairs], async_op)


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: Any = None,
                           async_op: bool = False) -> Work | None:  # fmt: skip
    """Copies the tensors of all processes into one, joined or stacked along the first dimension as its shape says."""
    within = joined(group)
    array = _array(input_tensor, within, "all_gather_into_tensor")
    if output_tensor.numel() != array.size * within.size():
        raise ValueError(
            f"all_gather_into_tensor: the output should hold {within.size()} times {array.size} elements, its shape is "
            f"{tuple(output_tensor.shape)}"
        )
    return _begin(within, "all_gather_into_tensor", "gather", None, array, lambda r: [_put(output_tensor, r)], async_op)


def gather(tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None, group: Any = None,
           async_op: bool = False, group_dst: int | None = None) -> Work | None:  # fmt: skip
    """As `all_gather`, for the process `dst`, which alone passes a `gather_list`."""
    within = joined(group)
    root = _root(dst, group_dst, within, "gather", "dst")
    places = None
    if within.rank() == root:
        places = _list(gather_list, within, "gather", "gather_list")
    elif gather_list:
        raise ValueError("gather: only the process that receives passes a gather_list")

    def finish(result: Any) -> list:
        return [] if places is None else [_put(p, part) for p, part in zip(places, result, strict=True)]

    return _begin(within, "gather", "gather", None, _array(tensor, within, "gather"), finish, async_op)


def scatter(tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None, group: Any = None,
            async_op: bool = False, group_src: int | None = None) -> Work | None:  # fmt: skip
    """Gives each process its tensor of the list of `src`, which alone passes a `scatter_list`."""
    within = joined(group)
    root = _root(src, group_src, within, "scatter", "src")
    array = _array(tensor, within, "scatter")
    if within.rank() == root:
        given = _stacked(_list(scatter_list, within, "scatter", "scatter_list"), within, "scatter", tensor)
    elif scatter_list:
        raise ValueError("scatter: only the process that sends passes a scatter_list")
    else:
        given = np.stack([array] * within.size())
    return _begin(within, "scatter", "turn", None, given, lambda r: [_put(tensor, r[root])], async_op)


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None,
                   async_op: bool = False) -> Work | None:  # fmt: skip
    """Reduces lists of tensors, and gives each process its place of the result."""
    within = joined(group)
    given = _stacked(_list(input_list, within, "reduce_scatter", "input_list"), within, "reduce_scatter", output)
    how = _how(op, given, "reduce_scatter")
    return _begin(within, "reduce_scatter", "reduce parts", how, given, lambda r: [_put(output, r)], async_op)


def reduce_scatter_tensor(output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None,
                          async_op: bool = False) -> Work | None:  # fmt: skip
    """Reduces tensors, and gives each process its part of the result, along the first dimension."""
    within = joined(group)
    array = _array(input, within, "reduce_scatter_tensor")
    if array.size != output.numel() * within.size():
        raise ValueError(
            f"reduce_scatter_tensor: the input should hold {within.size()} times the output's {output.numel()} "
            f"elements, its shape is {tuple(input.shape)}"
        )
    given = array.reshape((within.size(), *output.shape))
    how = _how(op, given, "reduce_scatter_tensor")
    return _begin(within, "reduce_scatter_tensor", "reduce parts", how, given, lambda r: [_put(output, r)], async_op)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None,
               async_op: bool = False) -> Work | None:  # fmt: skip
    """Each process sends a tensor to each, itself included."""
    within = joined(group)
    places = _list(output_tensor_list, within, "all_to_all", "output_tensor_list")
    given = _list(input_tensor_list, within, "all_to_all", "input_tensor_list")
    return _exchanged(within, "all_to_all", given, places, lambda: places, async_op)


def all_to_all_single(output: Tensor, input: Tensor, output_split_sizes: Any = None, input_split_sizes: Any = None,
                      group: Any = None, async_op: bool = False) -> Work | None:  # fmt: skip
    """Each process sends a part of a tensor to each, itself included: equal parts along the first dimension, or such
    as the sizes say.
    """
    within = joined(group)
    pieces = [
        _split(t, sizes, within, word)
        for t, sizes, word in ((input, input_split_sizes, "input"), (output, output_split_sizes, "output"))
    ]
    return _exchanged(within, "all_to_all_single", pieces[0], pieces[1], lambda: output, async_op)


def _split(tensor: Any, sizes: Any, group: ProcessGroup, word: str) -> list:
    if not sizes:
        if tensor.shape[0] % group.size():
            raise ValueError(f"all_to_all_single: {tensor.shape[0]} rows of {word} don't part among {group.size()}")
        sizes = [tensor.shape[0] // group.size()] * group.size()
    if len(sizes) != group.size() or sum(sizes) != tensor.shape[0]:
        raise ValueError(f"all_to_all_single: {word} sizes {list(sizes)} are not those of {tensor.shape[0]} rows")
    return list(tensor.detach().split(list(sizes)))


def _exchanged(group: ProcessGroup, name: str, given: list, places: list, whole: Callable, async_op: bool) -> Any:
    """Pieces of any sizes to all processes: padded to the largest that any of them sends."""
    arrays = [_array(t, group, name) for t in given]
    most = max(a.size for a in arrays)
    if group.size() > 1:
        longest = np.array([most, *(p.numel() for p in places)], np.int64).max(keepdims=True)
        most = int(group.exchange.start(name, "reduce", "max", longest).get()[0])
    rows = [np.concatenate([a.reshape(-1), np.zeros(most - a.size, a.dtype)]) for a in arrays]

    def finish(result: Any) -> Any:
        for p, part in zip(places, result, strict=True):
            _put(p, part[: p.numel()])
        return whole()

    return _begin(group, name, "turn", None, np.stack(rows), finish, async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Waits until all processes are here."""
    return _begin(joined(group), "barrier", "reduce", "sum", np.zeros(1, np.int32), lambda r: None, async_op)


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """As `barrier`; RuntimeError names the processes that have not come after `timeout`."""
    within = joined(group)
    seconds = within.seconds if timeout is None else timeout.total_seconds()
    if within.world is not None:
        name = f"monitored_barrier {within.group_name}.{within.next('monitored')}"
        within.world.gather_at(name, within.ranks, seconds)
