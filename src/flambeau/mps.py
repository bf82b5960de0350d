"""`torch.mps` on a machine without Apple's GPU: seeds are accepted, questions answered, orders refused."""

from __future__ import annotations

from .absent import device_count, is_available, manual_seed, refusing, seed

__all__ = ["current_allocated_memory", "device_count", "driver_allocated_memory", "empty_cache", "is_available",
           "manual_seed", "seed", "set_per_process_memory_fraction", "synchronize"]  # fmt: skip

_refuse = refusing("torch.mps", "torch.backends.mps.is_available")
synchronize = empty_cache = set_per_process_memory_fraction = _refuse
current_allocated_memory = driver_allocated_memory = _refuse
