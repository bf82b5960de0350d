"""Races: two processes, one per side, that take turns on the same machine, so that its moods hit both alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("torch", "flambeau")


def environment() -> dict[str, str]:
    """The environment of every process that is measured: this checkout first on the path, bytecode kept as usual."""
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


class Runner:
    """A worker process for one side of one workload."""

    def __init__(self, side: str, workload: str):
        self.side = side
        command = [sys.executable, "-W", "ignore", "-m", "bench.worker", side, workload]
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
    """One workload's outcome: seconds per step on each side, the ratio of each round, and peak memory in bytes."""

    workload: str
    torch: float
    flambeau: float
    ratios: list[float]
    torch_peak: int
    flambeau_peak: int

    @property
    def ratio(self) -> float:
        """How many times faster than PyTorch: the median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The quarter and three-quarter points of the rounds' ratios."""
        if len(self.ratios) < 2:
            return self.ratios[0], self.ratios[0]
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def race(workload: str, rounds: int = 15, turn: float = 0.25) -> Result:
    """Let both sides train ``workload`` in ``rounds`` interleaved rounds of about ``turn`` seconds each."""
    with Runner("torch", workload) as torch, Runner("flambeau", workload) as flambeau:
        count = {}
        for runner in (torch, flambeau):
            runner.seconds(2)
            guess = runner.seconds(2) / 2
            runner.seconds(max(1, min(200, int(turn / guess))))
            guess = runner.seconds(3) / 3
            count[runner] = max(1, int(turn / guess))
        times: dict[Runner, list[float]] = {torch: [], flambeau: []}
        for number in range(rounds):
            for runner in (torch, flambeau) if number % 2 else (flambeau, torch):
                times[runner].append(runner.seconds(count[runner]) / count[runner])
        return Result(
            workload,
            statistics.median(times[torch]),
            statistics.median(times[flambeau]),
            [t / f for t, f in zip(times[torch], times[flambeau])],
            torch.ask("memory")["peak"],
            flambeau.ask("memory")["peak"],
        )


def losses(workload: str, count: int = 50) -> dict[str, list[float]]:
    """The first ``count`` training losses of each side, each from its own fresh process."""
    result = {}
    for side in SIDES:
        with Runner(side, workload) as runner:
            result[side] = runner.ask(f"losses {count}")["losses"]
    return result
