"""Memory formats: copies with the channels last, and operations that leave them there.

Values never depend on the format, only strides do. Most kernels make arrays in C order, so operations are told to keep
a format when a program first asks for one (`keep`); a program that never does pays nothing.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import FOREIGN, VALUELESS
from flambeau.engines.kernels import CPU_KERNELS
from flambeau.ops.core import op
from flambeau.ops.declare import PLAIN, REGISTRY, TENSORS, Op

#: The order of dimensions in memory, by number of dimensions, and the formats' names.
ORDERS = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
NAMES = {"channels_last": 4, "channels_last_3d": 5}

#: What keeps its input's format besides operations element by element; of two operands either may bring it.
_KEEPING = (
    "conv conv_input gelu silu glu sort_op flip constant_pad_nd reflection_pad2d reflection_pad3d replication_pad2d "
    "replication_pad3d max_pool2d_op max_pool2d_with_indices_op max_pool3d_op max_pool3d_with_indices_op avg_pool "
    "avg_pool2d_op avg_pool3d_op adaptive_avg_pool global_avg_pool_op adaptive_avg_pool2d_op adaptive_avg_pool3d_op "
    "adaptive_max_pool2d_op adaptive_max_pool3d_op drop drop_and_shift group_norm native_batch_norm pixel_shuffle "
    "pixel_unshuffle channel_shuffle plane_scatter max_unpool2d_op"
).split()


@op(any_dtype=True, grad_name="CloneBackward0")
def ordered_copy(k, input: Tensor, order):
    """A copy whose dimensions lie in memory in `order`."""
    turned = k.contiguous_copy(k.permute(input, order))
    return k.permute(turned, tuple(int(i) for i in np.argsort(order)))


@ordered_copy.derivative("input")
def _(k, g):
    return g


def order_of(memory_format: Any, ndim: int, name: str) -> tuple[int, ...] | None:
    """The order of dimensions that a memory format asks for; None for C order or "as it is".

    TypeError for what is no format, RuntimeError for one that is for another number of dimensions.
    """
    word = getattr(memory_format, "name", None)
    if memory_format is None or word in ("contiguous_format", "preserve_format"):
        return None
    if word not in NAMES:
        raise TypeError(f"{name}(): memory_format must be a torch.memory_format, got {type(memory_format).__name__}")
    if NAMES[word] != ndim:
        raise RuntimeError(
            f"{name}(): torch.{word} is for tensors of {NAMES[word]} dimensions (required rank {NAMES[word]} tensor), "
            f"this one has {ndim}"
        )
    keep()
    return ORDERS[ndim]


def elsewhere(a: Any) -> bool:
    """Whether an engine has the array whose memory has one order only."""
    return a.__class__ in FOREIGN and a.__class__ not in VALUELESS


def dense(a: Any, ndim: int) -> bool:
    """Whether the elements lie without gaps in the order of the format for `ndim` dimensions."""
    return a.ndim == ndim and a.transpose(ORDERS[ndim]).flags.c_contiguous


def last(a: Any) -> bool:
    """Whether the strides say that the channels come last: not so where C order has the very same strides."""
    order = ORDERS.get(a.ndim)
    steps = a.strides
    if order is None or steps[1] > steps[-1] or not a.size:
        return False
    least = 0
    for d in (1, *reversed(order[1:-1]), 0):
        if steps[d] < least or (d == 0 and least == steps[1]):
            return False
        least = steps[d] * max(a.shape[d], 1) if a.shape[d] > 1 else steps[d]
    return True


def laid_out(input: Any, memory_format: Any, name: str) -> Any:
    """The tensor itself if its elements lie in a format, else a copy that does."""
    order = order_of(memory_format, input._a.ndim, name)
    if order is None or dense(input._a, input._a.ndim) or elsewhere(input._a):
        return input
    return ordered_copy(input, order)


def converted(input: Any, memory_format: Any) -> Any:
    """`Tensor.to(memory_format=...)`: the tensor itself if its strides say that format, else a copy in it."""
    order = order_of(memory_format, input._a.ndim, "to")
    if elsewhere(input._a) or memory_format.name == "preserve_format":
        return input
    if order is not None:
        return input if last(input._a) else show_as(ordered_copy(input, order), "ToCopyBackward0")
    return show_as(NS["OPS"].contiguous_op(input), "ToCopyBackward0") if last(input._a) else input


def kept(input: Any, result: Any) -> Any:
    """The result of an operation on `input`, with the channels last where it has them last."""
    if NS["FORMATS"] and input._a.__class__ is np.ndarray and last(input._a) and NS["CAPTURE"] is None:
        return ordered_copy(result, ORDERS[input._a.ndim])
    return result


def room(shape: tuple[int, ...], dtype: Any, order: tuple[int, ...] | None) -> np.ndarray:
    """Zeros of a shape whose dimensions lie in memory in `order`."""
    if order is None:
        return np.zeros(shape, dtype)
    return np.zeros([shape[d] for d in order], dtype).transpose(np.argsort(order))


def _relaid(r: Any, ndim: int) -> Any:
    """A result of `ndim` dimensions with its channels last."""
    if r.__class__ is not np.ndarray or r.ndim != ndim:
        return r
    made = room(r.shape, r.dtype, ORDERS[ndim])
    if r.strides == made.strides:
        return r
    np.copyto(made, r)
    return made


def _keeping(compute: Callable, operands: tuple[int, ...], turned: bool, plain: bool) -> Callable:
    """`compute`, whose results have the channels last where an operand has.

    `turned`: each element for itself. `plain`: not so in three spatial dimensions.
    """

    @functools.wraps(compute)
    def wrapper(k: Any, *args: Any, **kwargs: Any) -> Any:
        arrays = [args[i] for i in operands if i < len(args) and args[i].__class__ is np.ndarray]
        lead = next((a for a in arrays if a.ndim in ORDERS and last(a)), None)
        if lead is None or NS["CAPTURE"] is not None:
            return compute(k, *args, **kwargs)
        if lead.ndim == 5 and plain:
            return compute(k, *args, **kwargs)
        first = arrays[0]
        if turned and first is not lead and first.ndim == lead.ndim and first.size >= lead.size:
            return compute(k, *args, **kwargs)  # the first operand decides, if it is not broadcast
        order = ORDERS[lead.ndim]
        if turned and all(a.shape == lead.shape and last(a) for a in arrays if a.ndim):
            args = tuple(
                a.transpose(order) if i in operands and a.__class__ is np.ndarray and a.ndim else a
                for i, a in enumerate(args)
            )
            return compute(k, *args, **kwargs).transpose(np.argsort(order))
        results = compute(k, *args, **kwargs)
        if results.__class__ is tuple:
            return tuple(_relaid(r, lead.ndim) for r in results)
        return _relaid(np.asarray(results), lead.ndim)

    return wrapper


def _keep(declared: Op) -> None:
    both = declared.elementwise or declared.name in ("conv", "conv_input")
    places = [i for i, kind in enumerate(declared.kinds) if kind not in (PLAIN, TENSORS)]
    operands = tuple(places if declared.elementwise else places[: 2 if both else 1])
    name = declared.name
    turned = bool(declared.elementwise) and declared.outputs == 1
    declared.compute = _keeping(declared.compute, operands, turned, "avg_pool" in name)
    if "COMPUTE_" + name in NS:
        NS["COMPUTE_" + name] = declared.compute
    if "KERNEL_" + name in NS:  # the kernel itself, which has no set of kernels before its operands
        NS["KERNEL_" + name] = functools.partial(declared.compute, CPU_KERNELS)


def keep() -> None:
    """From now on operations keep formats."""
    if NS["FORMATS"]:
        return
    NS["FORMATS"] = True
    for name, declared in REGISTRY.items():
        if declared.elementwise or name in _KEEPING:
            _keep(declared)
