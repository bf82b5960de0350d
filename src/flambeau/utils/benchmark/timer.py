"""`Timer`: runs a statement and takes the time."""

from __future__ import annotations

import textwrap
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau.utils.benchmark.measurement import Measurement, TaskSpec

__all__ = ["Timer", "timer"]


def timer() -> float:
    """Seconds on the clock that measures best."""
    return timeit.default_timer()


class Timer:
    """Measures `stmt`, Python source that sees `globals` and what `setup` did, on `num_threads` threads.

    `label`, `sub_label`, `description` and `env` name the measurement in tables. ValueError for a language other than
    Python.
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        if str(getattr(language, "value", language)).lower() not in ("python", "py", "0"):
            raise ValueError(f"Timer(): flambeau measures Python only, got language={language!r}")
        if not isinstance(stmt, str):
            raise ValueError(f"Timer(): stmt must be source code, got {type(stmt).__name__}")
        stmt, setup = (textwrap.dedent(text).strip() or "pass" for text in (stmt, setup))
        scope = {**_names(), **(globals or {})}
        self._globals = scope
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env, num_threads)
        self._timer = timeit.Timer(stmt, setup, timer, scope)

    def _time(self, number: int) -> float:
        return max(self._timer.timeit(number), 1e-9)

    def _on_threads(self, measure: Callable[[], Measurement]) -> Measurement:
        before = flambeau.get_num_threads()
        flambeau.set_num_threads(self._task_spec.num_threads)
        try:
            return measure()
        finally:
            flambeau.set_num_threads(before)

    def _measured(self, number: int, times: list[float]) -> Measurement:
        return Measurement(number, times, self._task_spec)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One measurement of `number` runs, after some that warm up."""

        def measure() -> Measurement:
            self._time(max(number // 100, 2))
            return self._measured(number, [self._time(number)])

        return self._on_threads(measure)

    def _block(self, min_run_time: float) -> int:
        """How many runs take a thousandth of the time there is."""
        number = 1
        while True:
            taken = self._time(number)
            if taken >= min_run_time / 1000 or number >= 10**7:
                return number
            number *= 10

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Measurements of equal blocks of runs until `min_run_time` seconds are full. `callback` gets each block's
        number of runs and seconds.
        """

        def measure() -> Measurement:
            number = self._block(min_run_time)
            times: list[float] = []
            while not times or sum(times) < min_run_time:
                times.append(self._time(number))
                if callback is not None:
                    callback(number, times[-1])
            return self._measured(number, times)

        return self._on_threads(measure)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """Measurements of blocks until the middle half spreads by less than `threshold` of the median, or
        `max_run_time` seconds are full.
        """

        def measure() -> Measurement:
            number = self._block(min_run_time)
            times: list[float] = []
            while not times or sum(times) < max_run_time:
                times.append(self._time(number))
                if callback is not None:
                    callback(number, times[-1])
                if len(times) >= 4 and sum(times) >= min_run_time:
                    low, middle, high = np.percentile(times, (25, 50, 75))
                    if high - low <= threshold * middle:
                        break
            return self._measured(number, times)

        return self._on_threads(measure)


def _names() -> dict[str, Any]:
    """What every statement may name: the library, as `torch`."""
    return {"torch": flambeau, "flambeau": flambeau}
