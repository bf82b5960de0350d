"""`torch.xpu` on a machine without Intel's GPU: seeds are accepted, questions answered, orders refused."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["current_device", "device_count", "empty_cache", "get_device_name", "is_available", "manual_seed",
           "manual_seed_all", "max_memory_allocated", "memory_allocated", "seed", "set_device",
           "synchronize"]  # fmt: skip


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
    raise RuntimeError("torch.xpu: there is no such device here; guard the call with torch.xpu.is_available()")


manual_seed_all = manual_seed
synchronize = empty_cache = current_device = set_device = get_device_name = _refuse
memory_allocated = max_memory_allocated = _refuse
