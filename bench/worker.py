"""One side of a race: a process that loads a workload under PyTorch, flambeau or JAX and runs it when told to.

``python -m bench.worker SIDE WORKLOAD`` answers each line on standard input with one line of JSON. A side is ``torch``
or ``flambeau``, with ``-compiled`` behind it for the step under ``torch.compile``; ``flambeau-xla`` for flambeau's step
compiled by XLA, on XLA's CPU; or ``jax``. ``run N`` trains N steps and says how many seconds they took, ``losses N``
says the losses of the first N steps of a fresh start, ``profile N`` prints where the time goes, ``memory`` says the
peak resident memory so far and what is resident now, in bytes, ``count`` what a step computes and moves,
``build NAME=VALUE ...`` makes the workload anew with other sizes.
"""

from __future__ import annotations

import functools
import importlib
import json
import resource
import sys
import time
from pathlib import Path


def load(side: str, workload: str):
    """The workload's ``make``, with ``torch`` meaning what the side says."""
    if side == "jax":
        return importlib.import_module(f"bench.jaxed.{workload}").make
    if side.startswith("flambeau"):
        import flambeau

        flambeau.install_as_torch()
    import torch

    make = importlib.import_module(f"bench.workloads.{workload}").make
    if side.endswith("-compiled"):
        return functools.partial(make, torch.compile)
    if side.endswith("-xla"):
        torch.set_default_device("xla")
        return functools.partial(make, functools.partial(torch.compile, backend="xla"))
    return make


def _run(side: str, step, count: int) -> dict:
    start = time.perf_counter()
    for _ in range(count):
        loss = step()
    if side == "jax":
        loss.block_until_ready()
    elif side == "flambeau-xla":
        loss.item()  # what was only sent off is done
    return {"seconds": time.perf_counter() - start}


def _memory() -> dict:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak, "now": pages * resource.getpagesize()}


def _profile(step, count: int) -> dict:
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    profiler.runcall(_run, "", step, count)
    stats = pstats.Stats(profiler, stream=sys.stderr)
    stats.sort_stats("tottime").print_stats(45)
    return {}


def main(side: str, workload: str) -> None:
    make = load(side, workload)
    step = make()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command, *rest = line.split()
        count = int(rest[0]) if rest and command != "build" else 1
        if command == "run":
            answer = _run(side, step, count)
        elif command == "losses":
            fresh = make()
            answer = {"losses": [fresh().item() for _ in range(count)]}
        elif command == "profile":
            answer = _profile(step, count)
        elif command == "memory":
            answer = _memory()
        elif command == "count":
            from bench.limits import work_of

            answer = work_of(step)
        elif command == "build":
            step = make(**dict(pair.split("=") for pair in rest))
            answer = {}
        else:
            raise SystemExit(f"unknown command: {line!r}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
