"""`torch.xpu` on a machine without Intel's GPU: seeds are accepted, questions answered, orders refused."""

from __future__ import annotations

from .absent import device_count, is_available, manual_seed, refusing, seed

__all__ = ["current_device", "device_count", "empty_cache", "get_device_name", "is_available", "manual_seed",
           "manual_seed_all", "max_memory_allocated", "memory_allocated", "seed", "set_device",
           "synchronize"]  # fmt: skip

_refuse = refusing("torch.xpu", "torch.xpu.is_available")
manual_seed_all = manual_seed
synchronize = empty_cache = current_device = set_device = get_device_name = _refuse
memory_allocated = max_memory_allocated = _refuse
