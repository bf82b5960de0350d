"""One suite on one side: started, watched over, and read from what its tests have left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .suites import Suite

PLUGIN = Path(__file__).parent / "plugin"
SOURCE = Path(__file__).resolve().parents[2] / "src"
#: What a test's phases add up to: the worst of them.
WORST = ["passed", "skipped", "xfailed", "failed"]
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0",
           "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}  # fmt: skip


@dataclass
class Run:
    """How a suite's tests ended, by their names; what the failing ones said; seconds; whether time was up."""

    outcomes: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut: bool = False

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(found == outcome for found in self.outcomes.values())


def read(path: Path) -> Run:
    """What the plugin has noted."""
    run = Run()
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        name, outcome = line["id"], line["outcome"]
        before = run.outcomes.get(name, "passed")
        run.outcomes[name] = max(before, outcome, key=WORST.index)
        if outcome == "failed":
            run.said.setdefault(name, line["said"])
    return run


def run(suite: Suite, python: Path, folder: Path, log: Path, real: Path | None, limit: float, every: int,
        extra: list[str]) -> Run:  # fmt: skip
    """Runs the suite in `folder`; `real` is the folder that brings PyTorch, None runs it on flambeau."""
    log.parent.mkdir(parents=True, exist_ok=True)
    outcomes = log.with_suffix(".jsonl")
    outcomes.unlink(missing_ok=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FLAMBEAU"))}
    env.update(OFFLINE, SUITE_OUTCOMES=str(outcomes), SUITE_EVERY=str(every), **suite.variables)
    env["PYTHONPATH"] = os.pathsep.join(str(path) for path in (PLUGIN, real or SOURCE))
    env["PATH"] = os.pathsep.join([str(python.parent), env.get("PATH", "")])  # suites start `python`
    how = ["-m", "pytest"] if real else ["-m", "flambeau", "run", "-m", "pytest"]
    own = ["-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider", "-p", "suite_outcomes", "--timeout=120",
           "--continue-on-collection-errors", "--tb=short"]  # fmt: skip
    command = [str(python), *how, *own, *suite.tests, *suite.options, *extra]
    started = time.monotonic()
    with open(log, "w") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        cut = False
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            cut = True
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    found = read(outcomes)
    found.seconds, found.cut = time.monotonic() - started, cut
    return found
