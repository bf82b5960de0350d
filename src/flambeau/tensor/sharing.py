"""Tensors in memory that several processes share, and how they travel from one to another."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import LEAF
from flambeau.engines import shared
from flambeau.tensor.storage import memory_of

__all__ = ["Sharing", "share", "travels"]


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def share(tensor: Any) -> shared.Block:
    """Move a tensor's memory, and with it all tensors that show it, into a block that can be handed on."""
    array = tensor._a
    block = shared.block_of(array)
    if block is not None and block.fd is not None:
        return block
    memory = memory_of(array)
    block = shared.allocate(max(memory.nbytes, 1))
    owner = block.array()[: memory.nbytes].view(memory.dtype)
    owner[...] = memory
    start = _address(memory)
    end = start + memory.nbytes
    relatives = [tensor] if tensor._shared is None else tensor._shared.live()
    for each in relatives:
        a = each._a
        if a.size and start <= _address(a) < end:
            each._a = np.ndarray(a.shape, a.dtype, owner, _address(a) - start, a.strides)
        elif each is tensor:
            each._a = np.ndarray(a.shape, a.dtype, owner, 0)
    return block


class Sharing:
    """The methods of `Tensor` about memory shared between processes."""

    _a: np.ndarray

    def share_memory_(self) -> Any:
        """Move the memory to where processes started or sent to from now on see it too: what one writes, all see.

        Views and other tensors with the same memory come along; NumPy arrays made of it before do not. Nothing
        happens if it is shared already. Returns self.
        """
        share(self)
        return self

    def is_shared(self) -> bool:
        """Whether the memory is shared between processes."""
        return shared.block_of(self._a) is not None


def travels(depth: int = 2) -> bool:
    """Whether the caller's caller is `multiprocessing` as it packs something up for another process."""
    return sys._getframe(depth).f_globals.get("__name__") == "multiprocessing.reduction" and shared.AVAILABLE


def _settle() -> None:
    """Before a fork: what a queue's thread imports as it sends its first tensor is imported, not half-way."""
    if "multiprocessing.queues" in sys.modules:
        import multiprocessing.resource_sharer  # noqa: F401


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle)


def reduce_shared(tensor: Any, extra: dict) -> tuple:
    """What a tensor is sent as: a descriptor of its memory, which becomes shared by that, and its place in it."""
    from multiprocessing import reduction

    array = tensor._a
    block = share(tensor)
    array = tensor._a
    layout = (_address(array) - block.address if array.size else 0, array.shape, array.strides)
    handle = reduction.DupFd(block.fd)  # type: ignore[attr-defined,arg-type]
    dtype = dtypes.of_numpy(array.dtype)
    return _arrive, (type(tensor), handle, block.size, block.token, dtype, layout, tensor._node is LEAF, extra)


def _arrive(cls: type, handle: Any, size: int, token: bytes, dtype: Any, layout: tuple, leaf: bool, extra: dict) -> Any:
    block = shared.adopt(handle.detach(), size, token)
    offset, shape, strides = layout
    numpy = dtype.numpy
    memory = block.array()
    usable = memory[: size // numpy.itemsize * numpy.itemsize]
    tensor: Any = object.__new__(cls)
    tensor._a = np.ndarray(shape, numpy, usable, offset, strides)
    if leaf:
        tensor._node = LEAF
    tensor.__dict__.update(extra)
    return tensor
