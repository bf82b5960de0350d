"""The figures as a table in the terminal and as the page docs/benchmarks.md."""

from __future__ import annotations

import datetime
from pathlib import Path

from bench.footprint import Size
from bench.race import ROOT, Result

PAGE = ROOT / "docs" / "benchmarks.md"

TITLES = {
    "tutorial": "the tutorial's training step",
    "mlp": "MLP 784-128-64-10, batch 64, Adam",
    "cnn": "small CNN, 32 images of 28x28",
    "lstm": "character LSTM, 16 x 64",
    "gpt": "GPT, 4 layers, width 128, 12 x 64",
    "resnet18": "ResNet-18, 32 images of 32x32",
    "chain": "a chain of 2,000 operations",
}
TARGETS = {"tutorial": 2.0, "mlp": 1.5, "cnn": 0.6, "lstm": 1.0, "gpt": 1.0, "resnet18": 0.6, "chain": 2.0}


def duration(seconds: float) -> str:
    """Seconds in a unit that reads well."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def mebibytes(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"


def speed_rows(results: list[Result]) -> list[list[str]]:
    """A row per workload: title, time on each side, ratio, its spread, the target and the peak memory of each side."""
    rows = []
    for r in results:
        low, high = r.spread
        rows.append(
            [
                TITLES[r.workload],
                duration(r.torch),
                duration(r.flambeau),
                f"{r.ratio:.2f}x",
                f"{low:.2f} to {high:.2f}",
                f"{TARGETS[r.workload]:.1f}x",
                mebibytes(r.torch_peak),
                mebibytes(r.flambeau_peak),
            ]
        )
    return rows


SHORT_HEAD = ["workload", "PyTorch", "flambeau", "ratio", "middle half", "aim", "peak memory"]
SPEED_HEAD = ["workload", "PyTorch", "flambeau", "ratio", "middle half", "aim", "peak, PyTorch", "peak, flambeau"]
COST_HEAD = ["", "PyTorch", "flambeau", "share"]


def _short(results: list[Result]) -> list[list[str]]:
    """The same in less width."""
    rows = speed_rows(results)
    return [[r.workload, *row[1:6], f"{row[6]}, {row[7]}"] for r, row in zip(results, rows)]


def cost_rows(imports: dict[str, float], sizes: dict[str, Size]) -> list[list[str]]:
    """Rows for import time and installed size."""
    t, f = sizes["torch"], sizes["flambeau"]

    def row(title: str, a: float, b: float, show) -> list[str]:
        return [title, show(a), show(b), f"{b / a:.3f}"]

    return [
        row("import", imports["torch"], imports["flambeau"], duration),
        row("installed, without bytecode", t.source, f.source, mebibytes),
        row("installed, with bytecode", t.total, f.total, mebibytes),
    ]


def show(results: list[Result], costs: list[list[str]], machine: dict[str, str]) -> None:
    """Print everything to the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim")
    for title, head, rows in (
        ("One training step: how many times PyTorch's speed", SHORT_HEAD, _short(results)),
        ("Before the first step", COST_HEAD, costs),
    ):
        if rows:
            table = Table(title=title, title_justify="left")
            for number, name in enumerate(head):
                table.add_column(name, justify="left" if number == 0 else "right")
            for r in rows:
                table.add_row(*r)
            console.print(table)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])


def write(
    results: list[Result], costs: list[list[str]], sizes: dict[str, Size], machine: dict[str, str], path: Path = PAGE
) -> None:
    """Write the page."""
    text = f"""# Benchmarks

Written by `make bench` on {datetime.date.today().isoformat()}; every run replaces this page.

Machine: {"; ".join(f"{key} {value}" for key, value in machine.items())}.

## One training step

Forward, backward and optimizer, in float32. `bench/workloads/` holds the programs: the same source file runs under
PyTorch eager and under flambeau, in two processes that take turns, {len(results[0].ratios)} rounds each, after warming
up. Both use all cores, by their own defaults. The ratio says how many times PyTorch's speed flambeau reaches: the
median of the rounds' ratios; beside it the middle half of them. Peak is the largest resident memory of the process.

{_markdown(SPEED_HEAD, speed_rows(results))}

## Before the first step

{_markdown(COST_HEAD, costs)}

Import: the median over new interpreters, in turns, files already in the system's cache. Installed: the sum of the sizes
of the files that the package and everything it requires put on disk ({", ".join(sizes["torch"].distributions)} against
flambeau, {", ".join(sizes["flambeau"].distributions)}), with and without the bytecode that pip compiles.
"""
    path.write_text(text)
