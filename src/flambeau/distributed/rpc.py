"""``torch.distributed.rpc``: calls of functions in other processes. They are refused.

`torch.distributed`'s collectives and `send`/`recv` are what processes reach each other by.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["init_rpc", "is_available", "remote", "rpc_async", "rpc_sync", "shutdown"]


def is_available() -> bool:
    """Whether functions can be called in other processes: no."""
    return False


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.distributed.rpc.{name}: flambeau calls no functions in other processes. Use collectives, send and recv"
    )


def init_rpc(name: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    _refuse("init_rpc")


def rpc_sync(to: Any, func: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    _refuse("rpc_sync")


def rpc_async(to: Any, func: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    _refuse("rpc_async")


def remote(to: Any, func: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    _refuse("remote")


def shutdown(graceful: bool = True, timeout: float = 0) -> NoReturn:
    """Raises RuntimeError: nothing was begun."""
    _refuse("shutdown")
