"""docs/packages.json, which holds the last counts of every suite, and docs/packages.md, the table made of it."""

from __future__ import annotations

import json
from typing import Any

from .places import ROOT
from .running import Run
from .suites import SUITES, Suite

#: What was compared by programs rather than by suites; kept by hand.
TAIL = ROOT / "conformance" / "packages" / "programs.md"
PAGE = ROOT / "docs" / "packages.md"
FIGURES = ROOT / "docs" / "packages.json"
HEAD = """# Other people's packages

Test suites of packages that need nothing of PyTorch but `import torch`, run with `python -m flambeau run -m pytest` in
an environment where PyTorch is not installed, and in the same environment with PyTorch 2.13 added, on the same CPU.
Written by `make packages`. Tests are compared by name: *only PyTorch* counts those that pass with PyTorch and not with
flambeau, *only flambeau* the other way round. Tests that pass on neither side fail or skip for reasons of their own:
another library is missing, a file would have to be downloaded, there is no GPU, or the package is older than PyTorch.

| package | suite from | tests | pass with flambeau | pass with PyTorch | only PyTorch | only flambeau | seconds | |
|---|---|---|---|---|---|---|---|---|
"""


def compared(suite: Suite, ours: Run, theirs: Run, every: int, source: str) -> dict[str, Any]:
    """The figures of a suite; of tests that ran on both sides where one was cut short."""
    names = set(ours.outcomes) | set(theirs.outcomes)
    if ours.cut or theirs.cut:
        names = set(ours.outcomes) & set(theirs.outcomes)
    good = {side: {n for n in names if run.outcomes.get(n) == "passed"} for side, run in (("o", ours), ("t", theirs))}
    behind = sorted(good["t"] - good["o"])
    ended = {name: ours.said.get(name) or ours.outcomes.get(name, "it was not collected") for name in behind}
    return {
        "version": suite.version, "source": source, "every": every, "tests": len(names), "flambeau": len(good["o"]),
        "pytorch": len(good["t"]), "ahead": len(good["o"] - good["t"]), "behind": ended,
        "seconds": [round(ours.seconds), round(theirs.seconds)], "cut": ours.cut or theirs.cut,
    }  # fmt: skip


def line(name: str, result: dict[str, Any]) -> str:
    """For the terminal."""
    return (
        f"{name} {result['version']}: {result['tests']} tests, {result['flambeau']} pass with flambeau and "
        f"{result['pytorch']} with PyTorch, {len(result['behind'])} with PyTorch only, "
        f"{result['ahead']} with flambeau only "
        f"({result['seconds'][0]} s, {result['seconds'][1]} s{', cut short' if result['cut'] else ''})"
    )


def keep(name: str, result: dict[str, Any]) -> None:
    """Puts a suite's figures in the place of its last ones."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    figures[name] = {**result, "behind": sorted(result["behind"])}
    FIGURES.write_text(json.dumps(dict(sorted(figures.items())), indent=1) + "\n")


def write() -> None:
    """Makes the page of the figures."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    rows = []
    for name, r in figures.items():
        said = [SUITES[name].remark] if name in SUITES and SUITES[name].remark else []
        if r["every"] > 1:
            said.append(f"every {r['every']}th test")
        if r["cut"]:
            said.append("cut short by the time limit: tests that ran on both sides")
        cells = [f"{name} {r['version']}", r["source"], r["tests"], r["flambeau"], r["pytorch"], len(r["behind"]),
                 r["ahead"], " / ".join(map(str, r["seconds"])), "; ".join(said)]  # fmt: skip
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    lists = []
    for name, r in figures.items():
        if r["behind"]:
            lists.append(f"\n## {name}: with PyTorch only\n\n" + "".join(f"- `{test}`\n" for test in r["behind"]))
    PAGE.write_text(HEAD + "".join(rows) + "".join(lists) + "\n" + TAIL.read_text())
