"""`torch.cuda.nvtx`: marks for NVIDIA's profiler, which nobody reads here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]


def mark(msg: str) -> None:
    """Accepted: nobody reads it."""


def range_push(msg: str) -> int:
    """Accepted; the depth is not counted: -1."""
    return -1


def range_pop() -> int:
    """Accepted: -1."""
    return -1


def range_start(msg: str) -> int:
    """Accepted: 0."""
    return 0


def range_end(range_id: int) -> None:
    """Accepted."""


@contextlib.contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: A001 - PyTorch's name
    """A context that changes nothing."""
    yield
