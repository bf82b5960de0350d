"""Parts of a batch to devices, and results from them back to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.ops.joining import cat, chunk
from flambeau.tensor.tensor import Tensor

__all__ = ["gather", "is_namedtuple", "scatter", "scatter_kwargs"]


def is_namedtuple(obj: Any) -> bool:
    """Whether it is a named tuple."""
    return isinstance(obj, tuple) and hasattr(obj, "_asdict") and hasattr(obj, "_fields")


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> Any:
    """For each device its part of the tensors in `inputs`, split along `dim`; what is no tensor goes to all."""
    count = len(target_gpus)

    def parts(obj: Any) -> list[Any]:
        if isinstance(obj, Tensor):
            split = chunk(obj, count, dim)
            return [part.to(device) for part, device in zip(split, target_gpus, strict=False)]
        if is_namedtuple(obj):
            return [type(obj)(*args) for args in zip(*map(parts, obj), strict=False)]
        if isinstance(obj, (tuple, list)) and len(obj) > 0:
            return [type(obj)(items) for items in zip(*map(parts, obj), strict=False)]
        if isinstance(obj, dict) and len(obj) > 0:
            return [dict(zip(obj, items, strict=True)) for items in zip(*map(parts, obj.values()), strict=False)]
        return [obj] * count

    return parts(inputs)


def scatter_kwargs(inputs: Any, kwargs: Any, target_gpus: Sequence[Any], dim: int = 0) -> tuple[tuple, tuple]:
    """`scatter` of positional arguments and of those by keyword, as many of each."""
    first = scatter(inputs, target_gpus, dim) if inputs else []
    second = scatter(kwargs, target_gpus, dim) if kwargs else []
    first += [()] * (len(second) - len(first))
    second += [{}] * (len(first) - len(second))
    return tuple(first), tuple(second)


def gather(outputs: Any, target_device: Any, dim: int = 0) -> Any:
    """The results of all devices as one, on `target_device`: tensors are joined along `dim`, numbers become vectors."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return cat([out.reshape(1) if out.ndim == 0 else out for out in outputs], dim).to(target_device)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(len(out) != len(first) for out in outputs):
            raise ValueError("gather(): the dictionaries do not have the same number of keys")
        return type(first)((k, gather([d[k] for d in outputs], target_device, dim)) for k in first)
    joined = [gather(parts, target_device, dim) for parts in zip(*outputs, strict=True)]
    return type(first)(*joined) if is_namedtuple(first) else type(first)(joined)
