"""Times of a statement, and what they say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

__all__ = ["Measurement", "TaskSpec", "select_unit", "trim_sigfig", "unit_to_english"]

_UNITS = {"ns": (1e-9, "nanosecond"), "us": (1e-6, "microsecond"), "ms": (1e-3, "millisecond"), "s": (1.0, "second")}


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which `t` seconds read well, and its length in seconds."""
    chosen = "ns"
    for unit, (length, _) in _UNITS.items():
        if t >= length:
            chosen = unit
    return chosen, _UNITS[chosen][0]


def unit_to_english(u: str) -> str:
    """The word for a unit: 'us' is a microsecond."""
    return _UNITS[u][1]


def trim_sigfig(x: float, n: int) -> float:
    """`x` rounded to `n` significant digits."""
    if not math.isfinite(x) or x == 0:
        return x
    return round(x, n - 1 - math.floor(math.log10(abs(x))))


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What is measured: the statement and how a table names it."""

    stmt: str
    setup: str = ""
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label and sub-label, or the statement."""
        parts = [part for part in (self.label or self.stmt, self.sub_label) if part]
        return ": ".join(parts)


@dataclasses.dataclass
class Measurement:
    """`raw_times`, each the seconds of `number_per_run` runs of a statement."""

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    @property
    def times(self) -> list[float]:
        """Seconds per run."""
        return [t / self.number_per_run for t in self.raw_times]

    def _of(self, what: Any) -> float:
        if not self.raw_times:
            raise ValueError("there are no times to summarise")
        return float(what(self.times))

    @property
    def median(self) -> float:
        """The median of `times`."""
        return self._of(np.median)

    @property
    def mean(self) -> float:
        """The mean of `times`."""
        return self._of(np.mean)

    @property
    def iqr(self) -> float:
        """The range of the middle half of `times`."""
        return self._of(lambda t: np.subtract(*np.percentile(t, (75, 25))))

    @property
    def significant_figures(self) -> int:
        """How many digits of the median the spread of the times lets one believe, from 1 to 5."""
        width = self.iqr / max(math.sqrt(len(self.raw_times)), 1) * 1.645
        if width <= 0:
            return 5
        return int(np.clip(math.floor(math.log10(self.median / width)) + 1, 1, 5))

    @property
    def has_warnings(self) -> bool:
        """Whether the middle half spreads over more than a tenth of the median."""
        return self.iqr / self.median > 0.1

    @property
    def title(self) -> str:
        """What was measured, in words."""
        return self.task_spec.title

    @property
    def env(self) -> str:
        """The environment that was named."""
        return self.task_spec.env or "Unspecified env"

    stmt = property(lambda self: self.task_spec.stmt)
    setup = property(lambda self: self.task_spec.setup)
    label = property(lambda self: self.task_spec.label)
    sub_label = property(lambda self: self.task_spec.sub_label)
    description = property(lambda self: self.task_spec.description)
    num_threads = property(lambda self: self.task_spec.num_threads)

    def __repr__(self) -> str:
        unit, length = select_unit(self.median)
        threads = f"{self.num_threads} thread{'s' if self.num_threads != 1 else ''}"
        lines = [f"<{type(self).__name__} object>", self.title]
        if len(self.raw_times) > 1:
            spread = f"IQR {self.iqr / length:.2f} {unit}, {len(self.raw_times)} measurements"
            lines.append(f"  Median: {self.median / length:.2f} {unit} ({spread})")
        else:
            lines.append(f"  {self.median / length:.2f} {unit}")
        lines.append(f"  {self.number_per_run} runs per measurement, {threads}")
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """One measurement for each task, with all its times per run."""
        found: dict[TaskSpec, list[float]] = {}
        for m in measurements:
            found.setdefault(m.task_spec, []).extend(m.times)
        return [Measurement(1, times, spec) for spec, times in found.items()]

    def __iter__(self) -> Iterator[float]:
        return iter(self.times)
