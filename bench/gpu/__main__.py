"""Trains GPT-2 124M, ResNet-50 and the tutorial's layer on a GPU, under PyTorch, torch.compile and flambeau, one after
the other, and writes docs/benchmarks-gpu.md with the device's name.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.gpu import report
from bench.gpu.worker import SIDES
from bench.gpu.workloads import NAMES
from bench.race import ROOT, environment

#: Where `make bench-gpu` puts each library; on the CPU the environments of the other targets serve.
HOMES = {
    ("torch", "cuda"): ROOT / ".venv-gpu" / "torch",
    ("flambeau", "cuda"): ROOT / ".venv-gpu" / "flambeau",
    ("torch", "cpu"): ROOT / ".venv-conformance",
    ("flambeau", "cpu"): ROOT / ".venv-xla",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="only these workloads")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="only these sides")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models: tries the path, measures nothing")
    parser.add_argument("--windows", type=int, default=5, help="timed windows per side (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of a window (default 3)")
    parser.add_argument("--patience", type=float, default=1800.0, help="seconds that one side may take (default 1800)")
    parser.add_argument("--page", type=Path, help="where to write; by default docs/benchmarks-gpu.md, nowhere if tiny")
    parser.add_argument("--torch-python", help="the Python with PyTorch")
    parser.add_argument("--flambeau-python", help="the Python with flambeau and JAX")
    return parser.parse_args()


def python_of(library: str, given: argparse.Namespace) -> str:
    """The Python that runs a library."""
    said = getattr(given, f"{library}_python")
    home = HOMES[library, given.device] / "bin" / "python"
    return said or (str(home) if home.exists() else sys.executable)


def require_gpu() -> None:
    """Ends with a message where the system knows of no NVIDIA GPU."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    except OSError:
        found = None
    if found is None or found.returncode or "GPU" not in found.stdout:
        raise SystemExit(
            "bench.gpu needs an NVIDIA GPU, and nvidia-smi finds none here. "
            "`make bench-gpu ARGS='--tiny --device cpu'` tries the whole path on the CPU."
        )


def run(side: str, workload: str, given: argparse.Namespace) -> dict:
    """One side's figures, or what went wrong."""
    command = [python_of(side.partition("-")[0], given), "-W", "ignore", "-m", "bench.gpu.worker", side, workload]
    command += [given.device, "--windows", str(given.windows), "--seconds", str(given.seconds)]
    command += ["--tiny"] if given.tiny else []
    env = environment() | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=given.patience)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {given.patience:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(lines[-1])


def main() -> None:
    given = arguments()
    if given.device == "cuda":
        require_gpu()
    results: dict[str, dict[str, dict]] = {}
    for workload in given.only:
        results[workload] = {}
        for side in given.sides:
            found = results[workload][side] = run(side, workload, given)
            print(report.line(workload, side, found), flush=True)
    print(report.table(results))
    page = given.page or (None if given.tiny else report.PAGE)
    if page is not None:
        report.write(results, page)
    if any("error" in found for sides in results.values() for found in sides.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
