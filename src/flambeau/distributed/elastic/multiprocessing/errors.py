"""How a launched process tells its launcher of errors."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["record"]


def record(fn: Callable, error_handler: object = None) -> Callable:
    """Returns the function as it is: without a launcher, an error is shown where it happens."""
    return fn
