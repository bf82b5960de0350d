"""The accelerator's figures: lines as they come, a table, and the page docs/benchmarks-gpu.md."""

from __future__ import annotations

import datetime
import platform
import statistics
from pathlib import Path

from bench.gpu.peaks import peak
from bench.gpu.workloads import TITLES
from bench.race import ROOT

PAGE = ROOT / "docs" / "benchmarks-gpu.md"
HEAD = ["workload", "side", "per second", "step", "share of peak", "against torch.compile", "loss after 10 steps"]


def seconds(found: dict) -> float:
    """The median of a step."""
    return statistics.median(found["times"])


def rate(found: dict) -> float:
    """What is got through per second."""
    return found["units"] / seconds(found)


def share(found: dict) -> float | None:
    """The share of the chip's most operations per second; None where the chip or the count is not known."""
    most = peak(found["device"], found["precision"])
    return None if most is None or not found["operations"] else found["operations"] / seconds(found) / most


def duration(value: float) -> str:
    return f"{value * 1e6:.0f} µs" if value < 1e-3 else f"{value * 1e3:.3g} ms"


def line(workload: str, side: str, found: dict) -> str:
    """One side's outcome."""
    if "error" in found:
        return f"{workload:14s} {side:18s} failed: {found['error']}"
    part = share(found)
    shown = "" if part is None else f", {part:.1%} of the chip"
    times = f"{duration(seconds(found))} a step ({duration(min(found['times']))} to {duration(max(found['times']))})"
    return f"{workload:14s} {side:18s} {rate(found):,.0f} {found['unit']}/s, {times}{shown}"


def rows(results: dict[str, dict[str, dict]]) -> list[list[str]]:
    """A row per workload and side."""
    made = []
    for workload, sides in results.items():
        base = sides.get("torch-compiled", {})
        for side, found in sides.items():
            if "error" in found:
                made.append([TITLES[workload], side, "failed", found["error"], "-", "-", "-"])
                continue
            part = share(found)
            ratio = f"{rate(found) / rate(base):.2f}x" if "times" in base else "-"
            made.append([
                TITLES[workload], side, f"{rate(found):,.0f} {found['unit']}", duration(seconds(found)),
                "-" if part is None else f"{part:.1%}", ratio, f"{found['losses'][-1]:.5g}",
            ])  # fmt: skip
    return made


def table(results: dict[str, dict[str, dict]]) -> str:
    """The figures in Markdown."""
    rule = ["---", "---", *["--:"] * (len(HEAD) - 2)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [HEAD, rule, *rows(results)])


def write(results: dict[str, dict[str, dict]], page: Path) -> None:
    """Write the page."""
    good = [f for sides in results.values() for f in sides.values() if "error" not in f]
    devices = sorted({f["device"] for f in good}) or ["none"]
    versions = sorted({f"{'flambeau as ' if 'flambeau' in s else ''}torch {f['version']}" for sides in results.values()
                       for s, f in sides.items() if "error" not in f})  # fmt: skip
    unknown = [d for d in devices if peak(d, "bfloat16") is None]
    note = f"\nThe peak of {', '.join(unknown)} is not in `bench/gpu/peaks.py`.\n" if unknown else ""
    page.write_text(f"""# Benchmarks on a GPU

Written by `make bench-gpu` on {datetime.date.today().isoformat()}; every run replaces this page.

Device: {", ".join(devices)}. {"; ".join(versions)}; Python {platform.python_version()}.

Whole training steps: forward, backward, optimizer. `bench/gpu/workloads/` holds the programs; the same source runs
under PyTorch as it is, under `torch.compile`, and under flambeau with `torch.compile(step, backend="xla")`, each in a
process of its own, one after the other, from the same seed. A figure is the median of windows of some seconds after
warming up. The share of the peak counts the operations of products only (6 for each weight and token, and
attention's), against the maker's figure for the chip, dense.

{table(results)}
{note}""")
