"""What packages take from the compiled half of `torch.func`: what running transforms put around tensors."""

from __future__ import annotations

from typing import Any

from flambeau.func.batched import Batched, batched
from flambeau.func.levels import Layered, running

__all__ = ["get_unwrapped", "is_batchedtensor", "is_functorch_wrapped_tensor", "is_gradtrackingtensor",
           "maybe_get_level"]  # fmt: skip


def is_batchedtensor(tensor: Any) -> bool:
    """Whether a tensor is a batch of a running `vmap`, shown as one example."""
    return isinstance(tensor, Batched)


def is_gradtrackingtensor(tensor: Any) -> bool:
    """Whether a transform has wrapped a tensor to differentiate it: reverse mode wraps nothing here."""
    return False


def is_functorch_wrapped_tensor(tensor: Any) -> bool:
    """Whether a running transform has wrapped a tensor."""
    return isinstance(tensor, Layered)


def maybe_get_level(tensor: Any) -> int:
    """The number of the transform that wrapped a tensor, from the outside; -1 for none."""
    return tensor._level.number if isinstance(tensor, Layered) else -1


def get_unwrapped(tensor: Any) -> Any:
    """What the wrapping holds: of a batch the whole batch, with its dimension first."""
    if not isinstance(tensor, Layered):
        raise RuntimeError("get_unwrapped: expected a tensor that a running transform has wrapped")
    return tensor.inside()


def _add_batch_dim(tensor: Any, batch_dim: int, level: int) -> Any:
    """A tensor as a batch of the running `vmap` of that number."""
    return batched(_level(level), tensor.movedim(batch_dim, 0))


def _remove_batch_dim(tensor: Any, level: int, batch_size: int, out_dim: int) -> Any:
    """A batch of that level as a plain tensor with the batch at `out_dim`; what is no batch is repeated."""
    if not isinstance(tensor, Batched) or tensor._level is not _level(level):
        return tensor.unsqueeze(out_dim).expand(*tensor.shape[:out_dim], batch_size, *tensor.shape[out_dim:])
    return tensor.inside().movedim(0, out_dim)


def _level(number: int) -> Any:
    for level in running():
        if level.number == number:
            return level
    raise RuntimeError(f"no transform of level {number} is running")
