"""What having a library costs before it computes anything: the time of its import and the size of its installation."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.race import ROOT, SIDES, environment


def import_seconds(rounds: int = 9) -> dict[str, float]:
    """Seconds from nothing to imported, in a new interpreter each time: the median of interleaved rounds."""
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds + 1):
        for side in SIDES:
            code = f"import time; t = time.perf_counter(); import {side}; print(time.perf_counter() - t)"
            out = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment(), cwd=ROOT
            )
            if number:  # the first round fills the file cache and writes bytecode
                times[side].append(float(out.stdout))
    return {side: statistics.median(values) for side, values in times.items()}


@dataclass
class Size:
    """Bytes that a distribution and everything it requires take on disk."""

    source: int
    bytecode: int
    distributions: list[str]

    @property
    def total(self) -> int:
        return self.source + self.bytecode


def _requirements(distribution: metadata.Distribution) -> list[str]:
    """Names of what it requires here, extras aside."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    parsed = [Requirement(text) for text in distribution.requires or []]
    return [r.name for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def _closure(name: str) -> dict[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    todo = [name]
    while todo:
        key = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if key not in found:
            found[key] = metadata.distribution(key)
            todo += _requirements(found[key])
    return found


def _tree(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _files(distribution: metadata.Distribution) -> list[Path]:
    return [Path(os.path.realpath(str(distribution.locate_file(f)))) for f in distribution.files or []]


def size(name: str) -> Size:
    """Sum the sizes of the files that ``name`` and its requirements installed, bytecode apart.

    flambeau itself is measured in this checkout's ``src``, as it may be installed in place; one that is not
    installed at all is taken to require what ``pyproject.toml`` lists.
    """
    if name == "flambeau":
        import tomllib

        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = [re.split(r"[<>=!~ \[;]", text)[0] for text in project["dependencies"]]
        distributions: dict[str, metadata.Distribution] = {}
        for each in wanted:
            distributions |= _closure(each)
        files = _tree(ROOT / "src" / "flambeau")
    else:
        distributions, files = _closure(name), []
    for distribution in distributions.values():
        files += _files(distribution)
    unique = {path for path in files if path.exists()}
    bytecode = sum(p.stat().st_size for p in unique if p.suffix == ".pyc")
    source = sum(p.stat().st_size for p in unique) - bytecode
    return Size(source, bytecode, sorted(distributions))


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    model = platform.processor() or "unknown"
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        model = found[1] if found else model
        memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        memory = None
    versions = {}
    for name in ("torch", "numpy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "load before": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **versions,
    }
