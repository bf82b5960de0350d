"""``torch.storage``: a tensor's memory as a flat sequence."""

from __future__ import annotations

from flambeau.tensor.storage import STORAGES, TypedStorage, UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
globals().update(STORAGES)
