"""Races: two processes, one per side, that take turns on the same machine, so that its moods hit both alike."""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("torch", "flambeau")
#: The four that race: each library as it is, and with the step compiled.
RUNNERS = ("torch", "torch-compiled", "flambeau", "flambeau-compiled")
#: What may race with them: JAX with optax, and flambeau's step compiled by XLA, in an environment that has JAX.
PEERS = ("flambeau-xla", "jax")
#: How long one side may take to get going: a compiler may need minutes for a large graph.
PATIENCE = 150.0


def environment() -> dict[str, str]:
    """The environment of every process that is measured: this checkout first on the path, bytecode kept as usual."""
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


def python_of(side: str) -> str:
    """The interpreter for a side: that of ``.venv-xla``, if there is one, for those that need JAX."""
    own = ROOT / ".venv-xla" / "bin" / "python"
    return str(own) if side in PEERS and own.exists() else sys.executable


@functools.cache
def peers() -> tuple[str, ...]:
    """Those of ``PEERS`` whose packages are installed."""
    needs = {"flambeau-xla": "import jax", "jax": "import jax, optax"}

    def there(side: str) -> bool:
        return subprocess.run([python_of(side), "-c", needs[side]], capture_output=True).returncode == 0

    return tuple(side for side in PEERS if there(side))


class Runner:
    """A worker process for one side of one workload."""

    def __init__(self, side: str, workload: str):
        self.side = side
        command = [python_of(side), "-W", "ignore", "-m", "bench.worker", side, workload]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )
        self._read()

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.side} side stopped with exit code {self.process.wait()}; its error is above")
        return json.loads(line)

    def ask(self, command: str) -> dict:
        """Send one command and return the answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._read()

    def seconds(self, count: int) -> float:
        """The time that ``count`` steps take."""
        return self.ask(f"run {count}")["seconds"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


@dataclass
class Result:
    """One workload's outcome per side: seconds per step in each round, and peak memory in bytes. A side that could not
    be had (no compiler, out of patience) is missing.
    """

    workload: str
    times: dict[str, list[float]]
    peaks: dict[str, int]
    work: dict[str, int] = field(default_factory=dict)

    def seconds(self, side: str) -> float | None:
        """The median over the rounds."""
        return statistics.median(self.times[side]) if side in self.times else None

    def fastest(self, side: str) -> str:
        """The faster one of a library's two."""
        own = [s for s in RUNNERS if s.startswith(side) and s in self.times]
        return min(own, key=lambda s: statistics.median(self.times[s]))

    def against(self, one: str, other: str) -> list[float]:
        """Round by round, how many times the speed of `one` the other has."""
        return [a / b for a, b in zip(self.times[one], self.times[other])]

    def ratios(self, best: bool) -> list[float]:
        """Round by round, how many times PyTorch's speed: eager against eager, or the best of each."""
        if not best:
            return self.against("torch", "flambeau")
        fastest = {side: self.fastest(side) for side in SIDES}
        return self.against(fastest["torch"], fastest["flambeau"])


def spread(ratios: list[float]) -> tuple[float, float]:
    """The quarter and three-quarter points."""
    if len(ratios) < 2:
        return ratios[0], ratios[0]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high


def _ready(side: str, workload: str, turn: float) -> tuple[Runner, int] | None:
    """A side that is warmed up, and how many steps make a turn; None for a compiled one that can't be had."""
    runner = None
    try:
        runner = Runner(side, workload)
        alarm = threading.Timer(PATIENCE, runner.process.kill)
        alarm.start()
        runner.seconds(4)
        guess = runner.seconds(1)
        if guess < turn:
            guess = runner.seconds(max(2, min(200, int(turn / guess)))) / max(2, min(200, int(turn / guess)))
    except RuntimeError:
        if side in SIDES:
            raise
        return None
    finally:
        if runner is not None:
            alarm.cancel()
    return runner, max(1, int(turn / guess))


def race(workload: str, rounds: int = 9, turn: float = 0.25, compiled: bool = True, others: bool = True) -> Result:
    """Let all sides train ``workload`` in ``rounds`` interleaved rounds of about ``turn`` seconds each."""
    sides = (RUNNERS if compiled else SIDES) + (peers() if others else ())
    with Runner("flambeau", workload) as runner:
        work = runner.ask("count")
    ready = {side: found for side in sides if (found := _ready(side, workload, turn)) is not None}
    try:
        times: dict[str, list[float]] = {side: [] for side in ready}
        for number in range(rounds):
            for side in ready if number % 2 else reversed(ready):
                runner, count = ready[side]
                times[side].append(runner.seconds(count) / count)
        peaks = {side: runner.ask("memory")["peak"] for side, (runner, _) in ready.items()}
        return Result(workload, times, peaks, work)
    finally:
        for runner, _ in ready.values():
            runner.close()


def losses(workload: str, count: int = 50) -> dict[str, list[float]]:
    """The first ``count`` training losses of PyTorch, flambeau and flambeau compiled, each from a fresh process."""
    result = {}
    for side in ("torch", "flambeau", "flambeau-compiled"):
        with Runner(side, workload) as runner:
            result[side] = runner.ask(f"losses {count}")["losses"]
    return result
