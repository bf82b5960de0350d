"""``torch.multiprocessing.reductions``: how objects are packed up for other processes."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any

from flambeau.tensor.sharing import reduce_shared

__all__ = ["ForkingPickler", "init_reductions", "reduce_tensor"]


def reduce_tensor(tensor: Any) -> tuple:
    """A function and arguments that give, in another process, a tensor with the same memory. Shares that memory.

    Raises RuntimeError for a tensor with history.
    """
    if not tensor.is_leaf:
        raise RuntimeError("history stays in its process: call .detach() before the tensor is sent to another one")
    return reduce_shared(tensor, {})


def init_reductions() -> None:
    """Nothing is left to do: tensors know by themselves how they travel."""
