"""Programs of several processes, started as users start them, under a hard time limit."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.programs import ROOT, environment

HERE = Path(__file__).resolve().parent


def quick_compiling(flags=""):
    """Variables for programs that are run once or twice: compiling them is what takes the time.

    XLA's older emitters make plain code in half of it; what was compiled before, by any test, is taken from disk.
    """
    quick = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    return {
        "XLA_FLAGS": f"{flags} {quick} --xla_cpu_parallel_codegen_split_count=1",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / "build" / "xla-tests"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def torchrun(count, program, *arguments, timeout=150, **variables):
    """`flambeau torchrun` of a program of this folder; the finished process. All it started is gone afterwards."""
    command = [sys.executable, "-m", "flambeau", "torchrun", "--nproc_per_node", count, HERE / f"{program}.py"]
    return execute([*command, *arguments], timeout, **variables)


def alone(program, *arguments, timeout=150, devices=1, **variables):
    """`flambeau run` of a program of this folder, with so many devices of XLA's CPU."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "flambeau", "run", HERE / f"{program}.py", *arguments]
    return execute(command, timeout, **{**quick_compiling(flags), **variables})


def start(command, **variables):
    """A process in a session of its own, its output in pipes."""
    variables = {**environment(), "JAX_PLATFORMS": "cpu", **quick_compiling(), **variables}
    return subprocess.Popen(
        [str(c) for c in command], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(process, timeout):
    """Waits for a process; ends it, and all that it started, when the time is up."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the launcher's children follow it
        out, err = process.communicate()
        raise AssertionError(f"still running after {timeout} s\n{out}\n{err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def execute(command, timeout, **variables):
    return finish(start(command, **variables), timeout)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
