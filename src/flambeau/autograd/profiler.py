"""Timing blocks of a program: `profile` and `record_function`, on the wall clock.

Only what a program marks with `record_function` is timed; operations are not.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

_running: list[profile] = []


class FunctionEventAvg:
    """All runs of one marked block."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0
        self.cpu_time_total = 0.0

    @property
    def cpu_time(self) -> float:
        """Microseconds per run."""
        return self.cpu_time_total / max(self.count, 1)

    self_cpu_time_total = property(lambda self: self.cpu_time_total)


class EventList(list):
    """Averages of marked blocks, with a table to print."""

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """Itself."""
        return self

    def total_average(self) -> FunctionEventAvg:
        """All blocks together."""
        total = FunctionEventAvg("Total")
        for event in self:
            total.count += event.count
            total.cpu_time_total += event.cpu_time_total
        return total

    def table(self, sort_by: str | None = None, row_limit: int = 100, **kwargs: Any) -> str:
        """One line per block: its name, how often it ran, and its time in microseconds."""
        rows = sorted(self, key=lambda e: -e.cpu_time_total)[:row_limit]
        width = max([4, *(len(e.key) for e in rows)])
        lines = [f"{'Name':<{width}}  {'# of Calls':>10}  {'CPU total':>12}  {'CPU time avg':>12}"]
        lines += [f"{e.key:<{width}}  {e.count:>10}  {e.cpu_time_total:>10.1f}us  {e.cpu_time:>10.1f}us" for e in rows]
        return "\n".join(lines) + "\n"


class profile:
    """Inside, blocks marked with `record_function` are timed.

    >>> import flambeau as torch
    >>> with torch.autograd.profiler.profile() as prof:
    ...     with torch.autograd.profiler.record_function("step"):
    ...         y = torch.ones(3) * 2
    >>> [(event.key, event.count) for event in prof.key_averages()]
    [('step', 1)]
    """

    def __init__(self, enabled: bool = True, **kwargs: Any) -> None:
        self.enabled = enabled
        self.events: dict[str, FunctionEventAvg] = {}
        self.self_cpu_time_total = 0.0

    def __enter__(self) -> Any:
        self._start = time.perf_counter()
        if self.enabled:
            _running.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self.self_cpu_time_total = (time.perf_counter() - self._start) * 1e6
        if self in _running:
            _running.remove(self)

    @property
    def function_events(self) -> EventList:
        """The blocks that ran."""
        return EventList(self.events.values())

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """The blocks that ran."""
        return self.function_events

    def total_average(self) -> FunctionEventAvg:
        """All blocks together."""
        return self.function_events.total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        """The table of all blocks."""
        return self.function_events.table(*args, **kwargs)

    def __str__(self) -> str:
        return self.table()


class record_function:
    """Marks a block of the program, or a function, for `profile`."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        took = (time.perf_counter() - self._start) * 1e6
        for prof in _running:
            event = prof.events.setdefault(self.name, FunctionEventAvg(self.name))
            event.count += 1
            event.cpu_time_total += took

    def __call__(self, func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.name):
                return func(*args, **kwargs)

        return wrapper


class emit_nvtx(profile):
    """Marks for NVIDIA's tools; without a GPU nothing."""


class emit_itt(profile):
    """Marks for Intel's tools; nothing here."""
