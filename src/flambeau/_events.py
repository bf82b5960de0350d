"""`torch.Event` and `torch.Stream`: an order of work. On the CPU work is done when a call returns."""

from __future__ import annotations

import time
from typing import Any

from flambeau.devices import default, require

__all__ = ["Event", "Stream"]


class Stream:
    """A queue of work on a device, in order. As a context it changes nothing: there is one order."""

    def __init__(self, device: Any = None, *, priority: int = 0) -> None:
        self.device = default() if device is None else require(device)
        self.device_type = self.device.type
        self.device_index = self.device.index or 0
        self.priority = priority
        self.stream_id = 0

    def query(self) -> bool:
        """Whether all work is done."""
        return True

    def synchronize(self) -> None:
        """Waits until it is."""
        if self.device.type == "cuda":
            from flambeau import cuda

            cuda.synchronize(self.device)

    def wait_event(self, event: Any) -> None:
        """Nothing to do: work runs in order."""

    def wait_stream(self, stream: Any) -> None:
        """Nothing to do: work runs in order."""

    def record_event(self, event: Event | None = None) -> Event:
        """An event that is recorded now."""
        event = Event(self.device) if event is None else event
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.device == other.device

    def __hash__(self) -> int:
        return hash(self.device)

    def __repr__(self) -> str:
        return f"torch.Stream device_type={self.device_type}, device_index={self.device_index}, stream_id=0"


class Event:
    """A marker in an order of work, with the time at which it was reached if `enable_timing`."""

    def __init__(
        self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.device = default() if device is None else require(device)
        self._timed = enable_timing
        self._time: float | None = None

    def record(self, stream: Any = None) -> None:
        """Notes that the work before is done."""
        Stream(self.device).synchronize()
        self._time = time.perf_counter()

    def wait(self, stream: Any = None) -> None:
        """Nothing to do: recording has waited."""

    def query(self) -> bool:
        """Whether the work before was done."""
        return True

    def synchronize(self) -> None:
        """Nothing to do: recording has waited."""

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another. RuntimeError unless both are timed and recorded."""
        if not (self._timed and end_event._timed) or self._time is None or end_event._time is None:
            raise RuntimeError("elapsed_time(): both events need enable_timing=True, and must have been recorded")
        return 1e3 * (end_event._time - self._time)

    def __repr__(self) -> str:
        return f"torch.Event device_type={self.device.type}, device_index={self.device.index or 0}"
