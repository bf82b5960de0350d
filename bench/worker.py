"""One side of a race: a process that loads a workload under PyTorch or flambeau and runs it when told to.

``python -m bench.worker SIDE WORKLOAD`` (a side is ``torch`` or ``flambeau``, with ``-compiled`` behind it for the
step under ``torch.compile``) answers each line on standard input with one line of JSON:
``run N`` trains N steps and says how many seconds they took, ``losses N`` says the losses of the first N steps of a
fresh start, ``profile N`` prints where the time goes, ``memory`` the peak resident memory so far, in bytes.
"""

from __future__ import annotations

import functools
import importlib
import json
import resource
import sys
import time


def load(side: str, workload: str):
    """The workload's module, with ``torch`` meaning what the side says."""
    if side.startswith("flambeau"):
        import flambeau

        flambeau.install_as_torch()
    return importlib.import_module(f"bench.workloads.{workload}")


def _compile():
    import torch

    return torch.compile


def _run(step, count: int) -> dict:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return {"seconds": time.perf_counter() - start}


def _profile(step, count: int) -> dict:
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    profiler.runcall(_run, step, count)
    stats = pstats.Stats(profiler, stream=sys.stderr)
    stats.sort_stats("tottime").print_stats(45)
    return {}


def main(side: str, workload: str) -> None:
    module = load(side, workload)
    make = functools.partial(module.make, _compile()) if side.endswith("-compiled") else module.make
    step = make()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command, *rest = line.split()
        count = int(rest[0]) if rest else 1
        if command == "run":
            answer = _run(step, count)
        elif command == "losses":
            fresh = make()
            answer = {"losses": [fresh().item() for _ in range(count)]}
        elif command == "profile":
            answer = _profile(step, count)
        elif command == "memory":
            answer = {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        else:
            raise SystemExit(f"unknown command: {line!r}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
