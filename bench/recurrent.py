"""Single recurrent layers, forward and backward: PyTorch, flambeau, and flambeau compiled, in turns."""

from __future__ import annotations

import statistics

from bench import report
from bench.race import Runner

SIDES = ("torch", "flambeau", "flambeau-compiled")
LAYERS = ("LSTM", "GRU", "tanh", "ReLU")


def run(rounds: int, turn: float) -> None:
    """Race the layers and print a line for each."""
    runners = {side: Runner(side, "layer") for side in SIDES}
    try:
        for name in LAYERS:
            counts, times = {}, {side: [] for side in SIDES}
            for side, runner in runners.items():
                runner.ask(f"build name={name}")
                runner.seconds(4)
                counts[side] = max(1, int(turn / (runner.seconds(3) / 3)))
            for number in range(rounds):
                for side in SIDES if number % 2 else reversed(SIDES):
                    times[side].append(runners[side].seconds(counts[side]) / counts[side])
            shown = "  ".join(f"{side} {report.duration(statistics.median(times[side]))}" for side in SIDES)
            ratios = [statistics.median(t / f for t, f in zip(times["torch"], times[s])) for s in SIDES[1:]]
            print(f"{name:5s} {shown}  eager {ratios[0]:.2f}x, compiled {ratios[1]:.2f}x", flush=True)
    finally:
        for runner in runners.values():
            runner.close()
