"""``torch.fx.experimental.proxy_tensor``: whether a program is being traced at the level of operations. It never is."""

from __future__ import annotations

__all__ = ["get_proxy_mode", "is_tracing"]


def get_proxy_mode() -> None:
    """The mode that records operations: None, since none is active."""


def is_tracing() -> bool:
    """Whether such a mode is active."""
    return False
