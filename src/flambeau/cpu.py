"""`torch.cpu`: the device that is always there, with the names that other devices have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["current_device", "current_stream", "device_count", "is_available", "is_initialized", "set_device",
           "stream", "synchronize"]  # fmt: skip


class Stream:
    """Work in order; on the CPU it is done at once."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Any) -> None:
        """Waits for another stream: all is done."""

    def synchronize(self) -> None:
        """Waits for the stream: all is done."""


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """'cpu'."""
    return "cpu"


def set_device(device: Any) -> None:
    """Accepted: there is one."""


def synchronize(device: Any = None) -> None:
    """Waits until all work is done: it is."""


def current_stream(device: Any = None) -> Stream:
    """A stream."""
    return Stream()


@contextlib.contextmanager
def stream(stream: Any) -> Iterator[None]:
    """A context that changes nothing."""
    yield
