"""The pages: `docs/conformance.md` for people, `docs/conformance.json` for the comparison of the next run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from . import modules, optimizers, scope
from .reasons import REASONS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, DATA = DOCS / "conformance.md", DOCS / "conformance.json"

Results = dict[tuple[str, str], dict[str, Any]]
CHECKS = {"ops": scope.CHECKS, "modules": modules.CHECKS, "optimizers": optimizers.CHECKS}
MEANING = {
    "values": "results, shapes and dtypes of every sample, in float64, float32 and what else the entry allows",
    "variants": "methods, in-place methods, operator signs, aliases and `out=`",
    "layouts": "non-contiguous operands, and operands without elements",
    "gradients": "gradients of every float64 sample, and of complex128 and non-contiguous ones",
    "second": "second gradients of every float64 sample, and of complex128 ones",
    "edges": "gradients at 0, -0, 1, -1, infinities, NaN, subnormal numbers and ties, and of no elements",
    "errors": "bad input: the class of the exception",
    "modules": "outputs, gradients, parameters and state, training and evaluating, float32 and float64",
    "repr": "the text that a module prints",
    "optimizers": "parameters and state (its values in float64) after eight steps under every setting",
}


def totals(results: Results, database: str) -> dict[str, list[int]]:
    """Passed and run, by check, and the number of entries that pass everything of it."""
    found: dict[str, list[int]] = {check: [0, 0, 0, 0] for check in CHECKS[database]}
    for (place, _), result in results.items():
        if place == database:
            for check, (passed, run) in result["checks"].items():
                for i, more in enumerate((passed, run, passed == run, 1)):
                    found[check][i] += more
    return found


def whole_entries(results: Results) -> tuple[int, int]:
    """Operators that pass every sample of every kind without gradients, and all operators."""
    of = [r["checks"] for (place, _), r in results.items() if place == "ops"]
    forward = ("values", "variants", "layouts")
    good = sum(all(c[k][0] == c[k][1] for k in forward if k in c) for c in of)
    return good, len(of)


def _percent(part: int, whole: int) -> str:
    return f"{int(10000 * part / whole) / 100:g}%" if whole else "none"


def _total_rows(results: Results) -> Iterable[str]:
    yield "| | passed | of | | entries without a difference | of | |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for database, title in (("ops", "operators"), ("modules", "modules"), ("optimizers", "optimizers")):
        for check, (a, b, c, d) in totals(results, database).items():
            label = check if check == title else f"{title}: {check}"
            yield f"| {label} | {a} | {b} | {_percent(a, b)} | {c} | {d} | {_percent(c, d)} |"
    good, every = whole_entries(results)
    yield f"| operators: all samples (values, variants, layouts) | | | | {good} | {every} | {_percent(good, every)} |"


def summary(results: Results) -> str:
    """The totals, as text."""
    return "\n".join(_total_rows(results))


def worse(results: Results) -> dict[tuple[str, str], list[str]]:
    """What is worse than in the committed result, by entry: more differences, or fewer samples that pass.

    A sample that PyTorch itself does not answer alike on every processor may be missing, so one in eight may.
    """
    try:
        before = json.loads(DATA.read_text())
    except OSError:
        return {}
    found: dict[tuple[str, str], list[str]] = {}
    for place, entries in before["entries"].items():
        for name, checks in entries.items():
            now = results.get((place, name))
            for check, (passed, run) in checks.items():
                a, b = now["checks"].get(check, [0, 0]) if now else (0, 0)
                if b - a > run - passed or a + passed // 8 < passed:
                    first = next((why for kind, _, why in now["differs"] if kind == check), "") if now else "gone"
                    line = f"{name}: {check}: {a} of {b} pass, {passed} of {run} before: {first}"
                    found.setdefault((place, name), []).append(line)
    return found


def write(results: Results) -> None:
    """Writes both pages."""
    entries: dict[str, dict[str, Any]] = {}
    for place, name in sorted(results):
        entries.setdefault(place, {})[name] = results[place, name]["checks"]
    head = json.dumps({"torch": torch.__version__.split("+")[0]})[:-1]
    parts = [
        f'"{place}": {{\n' + ",\n".join(f"{json.dumps(n)}: {json.dumps(c)}" for n, c in of.items()) + "\n}"
        for place, of in entries.items()
    ]
    DATA.write_text(head + ', "entries": {\n' + ",\n".join(parts) + "\n}}\n")
    PAGE.write_text("\n".join(_page(results)) + "\n")


def _page(results: Results) -> Iterable[str]:
    yield "# Conformance with PyTorch " + torch.__version__.split("+")[0]
    yield ""
    yield "PyTorch tests itself from databases of operators (`op_db`), modules (`module_db`), optimizers (`optim_db`)."
    yield "`make conformance` runs both libraries through them and writes this page. A run that is worse than it fails."
    yield ""
    yield from _total_rows(results)
    yield ""
    yield from (f"- **{check}**: {words}." for check, words in MEANING.items())
    yield ""
    yield "PyTorch chooses kernels by the processor, and they round differently. What differs is compared again with"
    yield "its plain ones (`ATEN_CPU_CAPABILITY=default`); a step passes if either agrees."
    yield ""
    yield "## What differs, and why"
    yield ""
    yield from _reasons(results)
    yield ""
    yield "## Out of scope"
    yield ""
    for reason, names in scope.out_of_scope().items():
        shown = ", ".join(f"`{n}`" for n in sorted(names))
        yield f"- {len(names)} entries {reason}: {shown}."
    for database, title in (("ops", "Operators"), ("modules", "Modules"), ("optimizers", "Optimizers")):
        yield ""
        yield f"## {title}"
        yield ""
        yield from _table(results, database)


def _reasons(results: Results) -> Iterable[str]:
    yield "| entry | differs in | reason |"
    yield "|---|---|---|"
    for (_, name), result in sorted(results.items()):
        bad = [f"{check} {b - a} of {b}" for check, (a, b) in result["checks"].items() if a < b]
        if bad:
            yield f"| `{name}` | {', '.join(bad)} | {REASONS.get(name, 'not looked into yet')} |"


def _table(results: Results, database: str) -> Iterable[str]:
    checks = CHECKS[database]
    yield f"| | {' | '.join(checks)} | first difference |"
    yield "|---|" + "---:|" * len(checks) + "---|"
    for (place, name), result in sorted(results.items()):
        if place == database:
            cells = [_cell(result["checks"].get(check)) for check in checks]
            yield f"| `{name}` | {' | '.join(cells)} | {_first(result['differs'])} |"


def _cell(count: list[int] | None) -> str:
    if not count:
        return ""
    return str(count[1]) if count[0] == count[1] else f"**{count[0]}/{count[1]}**"


def _first(differs: list[list[str]]) -> str:
    if not differs:
        return ""
    check, step, why = differs[0]
    return f"{check}, {step}: {why}".replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")[:160]
