"""One side of the accelerator's bench: `python -m bench.gpu.worker SIDE WORKLOAD DEVICE` trains and prints JSON.

Its last line has the first losses, the seconds of each timed window, what a step gets through, and the peak memory.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import time

SIDES = ("torch", "torch-compiled", "flambeau-compiled")


def wrapper(side: str, torch):
    """What the step is given to."""
    if side == "torch":
        return lambda step: step
    if side.startswith("flambeau"):  # a step that can't be compiled whole is an error, not eager
        return functools.partial(torch.compile, backend="xla", fullgraph=True)
    return torch.compile


def measure(work, torch, device: str, windows: int, seconds: float) -> dict:
    """First losses, then windows of about so many seconds each."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    start = time.perf_counter()
    losses = [float(work.step()) for _ in range(10)]
    warm = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(3):
        loss = work.step()
    float(loss)
    guess = (time.perf_counter() - start) / 3
    count = max(3, int(seconds / max(guess, 1e-7)))
    times = []
    for _ in range(windows):
        wait()
        start = time.perf_counter()
        for _ in range(count):
            loss = work.step()
        float(loss)  # the last result has arrived
        wait()
        times.append((time.perf_counter() - start) / count)
    return {"losses": losses, "warm": warm, "times": times, "last": float(loss)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("workload")
    parser.add_argument("device", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    if given.side.startswith("flambeau"):
        import flambeau

        flambeau.install_as_torch()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"{given.side}: no GPU can be used: torch.cuda.is_available() says so")
    module = importlib.import_module(f"bench.gpu.workloads.{given.workload}")
    work = module.make(wrapper(given.side, torch), given.device, given.tiny)
    found = measure(work, torch, given.device, given.windows, given.seconds)
    peak = torch.cuda.max_memory_allocated() if given.device == "cuda" else 0
    name = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    found |= dict(units=work.units, unit=work.unit, operations=work.operations, precision=work.precision)
    print(json.dumps({**found, "peak": int(peak), "device": name, "version": torch.__version__}))


if __name__ == "__main__":
    main()
