"""Single recurrent layers, forward and backward: PyTorch, flambeau, and flambeau compiled, in turns."""

from __future__ import annotations

import statistics

from bench.race import Runner

SIDES = ("torch", "flambeau", "flambeau-compiled")
LAYERS = ("LSTM", "GRU", "tanh", "ReLU")


def measure(rounds: int, turn: float) -> dict[str, dict[str, list[float]]]:
    """Seconds per step of each layer and side, round by round."""
    runners = {side: Runner(side, "layer") for side in SIDES}
    found = {}
    try:
        for name in LAYERS:
            counts = {}
            found[name] = times = {side: [] for side in SIDES}
            for side, runner in runners.items():
                runner.ask(f"build name={name}")
                runner.seconds(4)
                counts[side] = max(1, int(turn / (runner.seconds(3) / 3)))
            for number in range(rounds):
                for side in SIDES if number % 2 else reversed(SIDES):
                    times[side].append(runners[side].seconds(counts[side]) / counts[side])
    finally:
        for runner in runners.values():
            runner.close()
    return found


def ratio(times: dict[str, list[float]], side: str) -> float:
    """How many times PyTorch's speed a side has."""
    return statistics.median(t / f for t, f in zip(times["torch"], times[side]))
