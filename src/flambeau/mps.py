"""`torch.mps` on a machine without Apple's GPU: seeds are accepted, questions answered, orders refused."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["current_allocated_memory", "device_count", "driver_allocated_memory", "empty_cache", "is_available",
           "manual_seed", "seed", "set_per_process_memory_fraction", "synchronize"]  # fmt: skip


def is_available() -> bool:
    """Whether there is such a GPU: no."""
    return False


def device_count() -> int:
    """The number of such GPUs: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted: there is nothing to seed."""


def seed() -> None:
    """Accepted: there is nothing to seed."""


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there is no such GPU."""
    raise RuntimeError("torch.mps: there is no such device here; guard the call with torch.backends.mps.is_available()")


synchronize = empty_cache = set_per_process_memory_fraction = _refuse
current_allocated_memory = driver_allocated_memory = _refuse
