"""``torch.utils._foreach_utils``: how tensors are sorted before one operation is run on many."""

from __future__ import annotations

from typing import Any

from flambeau.optim._legacy import _group_tensors_by_device_and_dtype as _group_tensors_by_device_and_dtype

__all__: list[str] = []


def _get_foreach_kernels_supported_devices() -> list[str]:
    """Devices for which optimizers of others choose `_foreach_*` by themselves."""
    return ["cuda", "xpu", "mtia", "privateuseone"]


def _get_fused_kernels_supported_devices() -> list[str]:
    """Devices for which `fused=True` is accepted."""
    return ["mps", "cuda", "xpu", "hpu", "cpu", "mtia", "privateuseone"]


def _has_foreach_support(tensors: Any, device: Any) -> bool:
    """Whether all tensors are such that a `_foreach_*` operation takes them on this device."""
    return device.type in ("cpu", *_get_foreach_kernels_supported_devices()) and all(t is not None for t in tensors)


def _device_has_foreach_support(device: Any) -> bool:
    """Whether `_foreach_*` operations run on this device."""
    return device.type in ("cpu", *_get_foreach_kernels_supported_devices())
