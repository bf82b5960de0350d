"""Measures all of it and writes docs/reliability.md; fails if anything does not hold."""

from __future__ import annotations

import argparse
import platform
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from . import damage, disk, report, runs, threads

PARTS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "damaged": (damage.run, {"count": 10_000}, {"count": 500}),
    "hostile": (damage.run_hostile, {}, {}),
    "kills": (disk.kills, {"count": 200}, {"count": 20}),
    "limits": (disk.size_limits, {"count": 20}, {"count": 4}),
    "small_disk": (disk.small_disk, {}, {}),
    "faults": (disk.faults, {"points": 200}, {"points": 20}),
    "readers": (disk.readers, {"saves": 300, "count": 8}, {"saves": 40, "count": 4}),
    "writers": (disk.writers, {"count": 4, "saves": 50}, {"count": 3, "saves": 10}),
    "threads": (threads.run, {"rounds": 100}, {"rounds": 5}),
    "interrupted": (runs.interrupted, {"count": 10}, {"count": 1}),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="only these parts; nothing is written")
    parser.add_argument("--quick", action="store_true", help="fewer of everything; nothing is written")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    began = time.time()
    for name in options.only or PARTS:
        function, full, quick = PARTS[name]
        started = time.time()
        try:
            found[name] = function(**(quick if options.quick else full))
        except Exception as error:
            traceback.print_exc()
            found[name] = {"wrong": [repr(error)]}
        problems = report.problems(name, found[name])
        print(
            f"{name}: {'as it should be' if not problems else problems[:5]} ({time.time() - started:.0f} s)", flush=True
        )
    bad = {name: report.problems(name, result) for name, result in found.items() if report.problems(name, result)}
    whole = not any("wrong" in result and len(result) == 1 for result in found.values() if isinstance(result, dict))
    if not options.only and not options.quick and whole:
        where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
        report.write(found, where)
        print(f"wrote {report.PAGE.relative_to(damage.ROOT)} after {time.time() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
