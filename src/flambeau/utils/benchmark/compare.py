"""`Compare`: measurements side by side."""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.utils.benchmark.measurement import Measurement, select_unit, trim_sigfig, unit_to_english

__all__ = ["Compare"]


class Compare:
    """A table of measurements for each label: a row per sub-label, a column per description."""

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results: list[Measurement] = []
        self._trim = self._highlight = False
        self.extend_results(results)

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Adds measurements. ValueError for anything else."""
        more = list(results)
        for r in more:
            if not isinstance(r, Measurement):
                raise ValueError(f"Compare takes Measurements, got {type(r).__name__}")
        self._results.extend(more)

    def trim_significant_figures(self) -> None:
        """Shows no more digits than the spread of the times lets one believe."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Accepted; the table has no colours."""

    def highlight_warnings(self) -> None:
        """Marks times that spread widely."""
        self._highlight = True

    def print(self) -> None:
        """Prints the table."""
        print(str(self))

    def __str__(self) -> str:
        merged = Measurement.merge(self._results)
        labels = dict.fromkeys(m.label or "" for m in merged)
        return "\n".join(self._table(label, [m for m in merged if (m.label or "") == label]) for label in labels)

    def _shown(self, m: Measurement, length: float) -> str:
        value = m.median / length
        text = f"{trim_sigfig(value, m.significant_figures):g}" if self._trim else f"{value:.1f}"
        return f"(! {m.iqr / m.median:.0%}) {text}" if self._highlight and m.has_warnings else text

    def _table(self, label: str, group: list[Measurement]) -> str:
        unit, length = select_unit(min(m.median for m in group))
        columns = list(dict.fromkeys(m.description or "" for m in group))
        rows = dict.fromkeys((m.num_threads, m.env if m.task_spec.env else "", m.sub_label or m.stmt) for m in group)
        cells: list[list[str]] = [["", *columns]]
        threads = None
        for key in rows:
            if key[0] != threads:
                threads = key[0]
                cells.append([f"{threads} thread{'s' if threads != 1 else ''}:"] + [""] * len(columns))
            found = {
                m.description or "": self._shown(m, length)
                for m in group
                if (m.num_threads, m.env if m.task_spec.env else "", m.sub_label or m.stmt) == key
            }
            name = f"({key[1]}) {key[2]}" if key[1] else key[2]
            cells.append([f"  {name}", *(found.get(c, "") for c in columns)])
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns) + 1)]
        lines = [
            "  |  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in cells
        ]
        rule = max(map(len, lines))
        head = f" {label} ".center(rule, "-") if label else "-" * rule
        return "\n".join(["[" + head + "]", *lines, "", f"Times are in {unit_to_english(unit)}s ({unit})."])
