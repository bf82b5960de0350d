"""The CPU as a device among others: one that is always there and never has to be waited for."""

from __future__ import annotations

import contextlib
from typing import Any

from flambeau.cpu import amp

__all__ = [
    "Stream",
    "StreamContext",
    "amp",
    "current_device",
    "current_stream",
    "device_count",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1: the CPU is one device, however many cores it has."""
    return 1


def current_device() -> str:
    """The string `cpu`."""
    return "cpu"


def set_device(device: Any) -> None:
    """There is nothing to choose."""


def synchronize(device: Any = None) -> None:
    """There is nothing to wait for."""


class Stream:
    """A queue of work; on the CPU work is done at once."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Any) -> None:
        """There is nothing to wait for."""


_stream = Stream()


def current_stream(device: Any = None) -> Stream:
    """The one stream."""
    return _stream


class StreamContext(contextlib.AbstractContextManager):
    """A context that changes nothing."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __exit__(self, *exc: Any) -> None:
        return None


def stream(stream: Any) -> StreamContext:
    """A context in which work goes to `stream`: nothing changes."""
    return StreamContext(stream)
