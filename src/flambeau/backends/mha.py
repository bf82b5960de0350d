"""`torch.backends.mha`: whether encoders of Transformers may take PyTorch's fast path, which leaves padding out."""

from __future__ import annotations

from flambeau.nn.modules.transformer import fast_path

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]


def get_fastpath_enabled() -> bool:
    """Whether they may."""
    return fast_path.enabled


def set_fastpath_enabled(value: bool) -> None:
    """Sets whether they may."""
    fast_path.enabled = value
