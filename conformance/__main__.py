"""Drives flambeau through PyTorch's databases of operators, modules and optimizers, and compares with the last run."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import pool, report, scope

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "build" / "conformance"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only entries with these words in their name; shown")
    parser.add_argument("--databases", nargs="+", default=["ops", "modules", "optimizers"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: all cores)")
    parser.add_argument("--failing", action="store_true", help="only what differed in the last results")
    parser.add_argument("--keep", action="store_true", help="keep results of this checkout, whatever changed since")
    parser.add_argument("--accept", action="store_true", help="write the pages even if something got worse")
    return parser.parse_args()


def fingerprint() -> str:
    """Of all the code whose results are stored."""
    digest = hashlib.sha256()
    for folder in (ROOT / "src", ROOT / "conformance"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _file(task: pool.Task) -> Path:
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in task[1])
    return STORE / task[0] / f"{safe}.json"


def _stored(task: pool.Task, code: str | None) -> Any:
    """The result on disk, if it is of this code."""
    try:
        found = json.loads(_file(task).read_text())
    except (OSError, ValueError):
        return None
    return found if code is None or found.get("code") == code else None


def _store(task: pool.Task, result: Any, code: str) -> None:
    path = _file(task)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**result, "code": code}))
    temporary.replace(path)


def _wanted(arguments: argparse.Namespace) -> list[pool.Task]:
    entries = {"ops": scope.operators, "modules": scope.modules, "optimizers": scope.optimizers}
    tasks = [(d, name) for d in arguments.databases for name in entries[d]()]
    if arguments.only:
        tasks = [t for t in tasks if any(word in t[1] for word in arguments.only)]
    if arguments.failing:
        tasks = [t for t in tasks if (_stored(t, None) or {"differs": [0]})["differs"]]
    return tasks


def main() -> int:
    arguments = _arguments()
    code, started = fingerprint(), time.monotonic()
    tasks = _wanted(arguments)
    anew = bool(arguments.only or arguments.failing)
    results: dict[pool.Task, Any] = {}
    for task in tasks:
        found = None if anew else _stored(task, None if arguments.keep else code)
        if found is not None:
            results[task] = found
    todo = [t for t in tasks if t not in results]
    print(f"{len(tasks)} entries, {len(results)} of them from {STORE.relative_to(ROOT)}", flush=True)

    def run(todo: list[pool.Task]) -> None:
        for task, result in pool.run_all(todo, arguments.jobs):
            _store(task, result, code)
            results[task] = result
            _show(task, result, len(results), len(tasks), bool(arguments.only))

    run(todo)
    for task in pool.second_opinion({task: results[task] for task in todo}, arguments.jobs):
        _store(task, results[task], code)
        print(f"{task[1]}: as PyTorch without vector instructions: {results[task]['checks']}", flush=True)
    if anew or len(arguments.databases) < 3:
        return any(r["differs"] for r in results.values())
    if doubtful := [task for task in report.worse(results) if task in results]:
        print(f"once more, in processes of their own: {', '.join(name for _, name in doubtful)}", flush=True)
        run(doubtful)
        for task in pool.second_opinion({task: results[task] for task in doubtful}, arguments.jobs):
            _store(task, results[task], code)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return _conclude(results, arguments.accept)


def _show(task: pool.Task, result: Any, number: int, total: int, everything: bool) -> None:
    differs = result["differs"]
    if not differs and not everything and number % 50:
        return
    counts = "  ".join(f"{check} {a}/{b}" for check, (a, b) in result["checks"].items())
    print(f"[{number}/{total}] {task[1]}  {counts}  {result['seconds']} s", flush=True)
    told: dict[str, int] = {}
    for check, step, why in differs if everything else differs[:2]:
        told[check] = told.get(check, 0) + 1
        if told[check] <= 3:
            print(f"      {check} {step}: {why}", flush=True)


def _conclude(results: dict[pool.Task, Any], accept: bool) -> int:
    """Compares with the committed result, writes the pages, and says what got worse."""
    worse = [line for lines in report.worse(results).values() for line in lines]
    print(report.summary(results))
    for line in worse:
        print("WORSE", line)
    if worse and not accept:
        print("the pages stay as they are: --accept writes them")
        return 1
    report.write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
