"""Sharing memory with other libraries by DLPack."""

from __future__ import annotations

from typing import Any

from flambeau.tensor.creation import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


class _Capsule:
    """What `to_dlpack` hands out: the capsule's maker, so that `from_dlpack` of any library can take it."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._tensor.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.__dlpack_device__()


def to_dlpack(tensor: Any) -> Any:
    """An object through which another library, or `from_dlpack`, shares the tensor's memory."""
    tensor.__dlpack_device__()
    return _Capsule(tensor)
