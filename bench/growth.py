"""Whether memory grows from step to step: what is resident after 200 steps, and after many more."""

from __future__ import annotations

import datetime

from bench import report
from bench.race import ROOT, Runner

PAGE = ROOT / "docs" / "growth.md"
BEFORE = 200
SIDES = ("flambeau", "flambeau-compiled")
#: Seconds that the steps of one side may take: slow workloads make fewer, which the table says.
PATIENCE = 150.0
HEAD = ["workload", "side", "steps", "resident after 200", "growth", "bytes per step"]


def measure(side: str, name: str, count: int) -> list[str]:
    """One row: steps made, memory before them, what they added."""
    with Runner(side, name) as runner:
        runner.seconds(4)
        each = runner.seconds(3) / 3
        before = min(BEFORE, max(10, int(PATIENCE / 4 / each)))
        count = min(count, max(30, int(PATIENCE / each)))
        runner.seconds(before)
        start = runner.ask("memory")["now"]
        runner.seconds(count)
        grown = runner.ask("memory")["now"] - start
    return [
        report.TITLES[name], side, f"{count} after {before}", report.mebibytes(start), f"{grown / 2**20:+.1f} MiB",
        f"{grown / count:.0f}",
    ]  # fmt: skip


def run(names: list[str], count: int, machine: dict[str, str], write: bool) -> None:
    """Measure, print, and write the page."""
    rows = []
    for name in names:
        for side in SIDES:
            rows.append(measure(side, name, count))
            print("  ".join(rows[-1]), flush=True)
    if write:
        PAGE.write_text(_page(rows, count, machine))
        print(f"wrote {PAGE.relative_to(ROOT)}")


def _page(rows: list[list[str]], count: int, machine: dict[str, str]) -> str:
    return f"""# Memory over many steps

Written by `python -m bench --growth` on {datetime.date.today().isoformat()}; every run replaces this page.

Machine: {"; ".join(f"{key} {value}" for key, value in machine.items())}.

Resident memory of the process after its first {BEFORE} steps, and what {count} more add to it. Where a step is slow,
there are as many as fit into {PATIENCE:.0f} seconds. An allocator gives memory back when it likes, so a few hundred
kilobytes up or down are noise.

{report.markdown(HEAD, rows)}
"""
