"""`torch.profiler`: `profile` with schedules, over the blocks that `record_function` marks."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.autograd import profiler as _blocks
from flambeau.autograd.profiler import record_function

__all__ = ["ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule", "tensorboard_trace_handler"]


def kineto_available() -> bool:
    """Whether `profile` can be used: yes."""
    return True


class ProfilerActivity(enum.Enum):
    """What is profiled; only the CPU is here."""

    CPU = 0
    CUDA = 2
    XPU = 1


class ProfilerAction(enum.Enum):
    """What a schedule says for a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, **kwargs: Any) -> Callable:
    """A schedule: `skip_first` steps, then cycles of `wait`, `warmup` and `active` steps, `repeat` times (0: for
    ever).
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError("a schedule takes counts that are not negative, and active above 0")
    cycle = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        if step < 0 or (repeat and step >= repeat * cycle):
            return ProfilerAction.NONE
        at = step % cycle
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == cycle - 1 else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Callable:
    """A handler that writes the table of blocks into a file of `dir_name`."""

    def handler(prof: Any) -> None:
        from pathlib import Path

        Path(dir_name).mkdir(parents=True, exist_ok=True)
        (Path(dir_name) / f"{worker_name or 'worker'}.{prof.step_num}.txt").write_text(prof.key_averages().table())

    return handler


class profile(_blocks.profile):
    """Inside, blocks marked with `record_function` are timed; `step()` marks the end of a training step."""

    def __init__(
        self, *, activities: Iterable | None = None, schedule: Callable | None = None,
        on_trace_ready: Callable | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.step_num = 0

    def step(self) -> None:
        """The end of a step."""
        due = self.schedule is not None and self.schedule(self.step_num) is ProfilerAction.RECORD_AND_SAVE
        if due and self.on_trace_ready:
            self.on_trace_ready(self)
        self.step_num += 1

    def start(self) -> None:
        """Begins timing."""
        self.__enter__()

    def stop(self) -> None:
        """Ends timing."""
        self.__exit__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if self.schedule is None and self.on_trace_ready:
            self.on_trace_ready(self)

    def export_chrome_trace(self, path: str) -> None:
        """Writes the blocks' totals as a trace that Chrome shows."""
        import json

        events = [
            {"name": e.key, "ph": "X", "ts": 0, "dur": e.cpu_time_total, "pid": 0, "tid": 0}
            for e in self.key_averages()
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)
