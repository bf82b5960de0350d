"""Whether memory grows from step to step: what is resident after 200 steps, and after many more."""

from __future__ import annotations

import datetime

from bench import report
from bench.race import ROOT, Runner

PAGE = ROOT / "docs" / "growth.md"
BEFORE = 200
SIDES = ("flambeau", "flambeau-compiled")
#: Seconds that the steps of one side may take, by default: slow workloads make fewer, which the table says.
PATIENCE = 150.0
HEAD = ["workload", "side", "steps", "resident after 200", "growth", "bytes per step"]


def measure(side: str, name: str, count: int, patience: float = PATIENCE) -> list[str]:
    """One row: steps made, memory before them, what they added."""
    with Runner(side, name) as runner:
        runner.seconds(4)
        each = runner.seconds(3) / 3
        before = min(BEFORE, max(10, int(patience / 4 / each)))
        count = min(count, max(30, int(patience / each)))
        runner.seconds(before)
        start = runner.ask("memory")["now"]
        runner.seconds(count)
        grown = runner.ask("memory")["now"] - start
    return [
        report.TITLES[name], side, f"{count} after {before}", report.mebibytes(start), f"{grown / 2**20:+.1f} MiB",
        f"{grown / count:.0f}",
    ]  # fmt: skip


def run(names: list[str], count: int, machine: dict[str, str], patience: float) -> None:
    """Measure, print, and put the rows into the page, in which other workloads' stay."""
    for name in names:
        for side in SIDES:
            row = measure(side, name, count, patience)
            print("  ".join(row), flush=True)
            PAGE.write_text(_page([*_others(row), row], machine))
    print(f"wrote {PAGE.relative_to(ROOT)}")


def _others(row: list[str]) -> list[list[str]]:
    """The page's rows, but for that of the same workload and side."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [r for r in rows if r[1] in SIDES and r[:2] != row[:2]]


def _page(rows: list[list[str]], machine: dict[str, str]) -> str:
    titles = list(report.TITLES.values())
    rows = sorted(rows, key=lambda r: (titles.index(r[0]), SIDES.index(r[1])))
    return f"""# Memory over many steps

Written by `python -m bench --growth`, last on {datetime.date.today().isoformat()}; a run replaces its own rows.

Machine: {"; ".join(f"{key} {value}" for key, value in machine.items())}.

Resident memory of the process after its first {BEFORE} steps, and what more steps add to it. Where a step is slow,
there are as many as fit into {PATIENCE:.0f} seconds, or into those that `--patience` gives. An allocator gives memory
back when it likes, so a few hundred kilobytes up or down are noise.

{report.markdown(HEAD, rows)}
"""
