"""Runs the suites of other people's packages under flambeau and under PyTorch, and writes docs/packages.md."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import page, places, running
from .suites import SUITES, Suite


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance.packages", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(SUITES), choices=list(SUITES))
    parser.add_argument(
        "--without-pytorch", action="store_true", help="flambeau alone, held against PyTorch's last run"
    )
    parser.add_argument("--limit", type=float, default=1200, metavar="SECONDS", help="for a suite on one side (1200)")
    parser.add_argument("--every", type=int, default=None, help="every nth test, chosen by its name")
    parser.add_argument("--source", nargs="+", default=[], metavar="NAME=FOLDER", help="a checkout, for the archive")
    parser.add_argument("--python", type=Path, help="an interpreter with all packages, in place of environments")
    parser.add_argument("--dry", action="store_true", help="show what differs, leave the page as it is")
    parser.add_argument("-k", dest="words", help="only tests with these words, as pytest takes it; implies --dry")
    return parser.parse_args()


def _measure(suite: Suite, options: argparse.Namespace, real: Path) -> dict[str, Any]:
    """Both sides of one suite."""
    sources = dict(pair.split("=", 1) for pair in options.source)
    python = options.python or places.environment(suite)
    folder = Path(sources[suite.name]).resolve() if suite.name in sources else places.archive(suite)
    every = options.every or suite.every
    extra = ["-k", options.words] if options.words else []
    logs = places.STORE / suite.name
    ours = running.run(suite, python, folder, logs / "flambeau.log", None, options.limit, every, extra)
    if options.without_pytorch:
        theirs = running.read(logs / "pytorch.jsonl")
    else:
        theirs = running.run(suite, python, folder, logs / "pytorch.log", real, options.limit, every, extra)
    return page.compared(suite, ours, theirs, every, "a checkout" if suite.name in sources else "its archive")


def main() -> None:
    """What the module's docstring says."""
    options = _arguments()
    real = places.pytorch()
    for name in options.only:
        try:
            result = _measure(SUITES[name], options, real)
        except places.Unavailable as error:
            print(f"{name}: {error}")
            continue
        print(page.line(name, result), flush=True)
        for test, said in result["behind"].items():
            print(f"    {test}\n        {said.splitlines()[0][:200] if said else ''}")
        if not (options.dry or options.words):
            page.keep(name, result)
    if not (options.dry or options.words):
        page.write()


if __name__ == "__main__":
    main()
