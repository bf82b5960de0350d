"""`flambeau torchrun`: starts the processes of a program on this machine, and sees to their end.

Each gets RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT in its environment. When one
fails, the others are ended, and the report says which it was and how it ended.
"""

from __future__ import annotations

import argparse
import glob
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

__all__ = ["main", "run"]

#: Seconds that processes have to end when one has failed, before they are asked to; and then, before they are killed.
PATIENCE, GRACE = 3.0, 10.0
_OPTIONS_LIKE_TORCHS = ("--rdzv-conf", "--role", "--log-dir", "--redirects", "--tee", "--local-ranks-filter",
                        "--logs-specs", "--local-addr", "--start-method", "--monitor-interval")  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="flambeau torchrun", description="Starts a program in several processes that train together.",
        allow_abbrev=False,
    )  # fmt: skip

    def add(name: str, **kwargs: Any) -> None:
        p.add_argument(name, name.replace("_", "-"), **kwargs)

    add("--nproc_per_node", default="1", help="processes on this machine, or 'cpu', 'gpu' or 'auto': one for each")
    p.add_argument("--nnodes", default="1", help="machines")
    add("--node_rank", type=int, default=0, help="which of the machines this is")
    add("--master_addr", default=None, help="where the processes meet: the first machine's name or address")
    add("--master_port", type=int, default=None, help="and a free port there; with one machine any free one")
    p.add_argument("--standalone", action="store_true", help="one machine, any free port")
    add("--max_restarts", type=int, default=0, help="how often all processes are started again after a failure")
    add("--rdzv_backend", default="static", help="accepted: the processes meet at the master's address")
    add("--rdzv_endpoint", default="", help="the master's HOST:PORT")
    add("--rdzv_id", default="none", help="a name of the run")
    for name in _OPTIONS_LIKE_TORCHS:
        add(name, default=None, help=argparse.SUPPRESS)
    p.add_argument("-m", "--module", action="store_true", help="the program is a module, as for python -m")
    add("--no_python", action="store_true", help="the program is started itself, without Python")
    p.add_argument("program", help="the script")
    p.add_argument("arguments", nargs=argparse.REMAINDER, help="what it is given")
    return p


def _count(given: str) -> int:
    if given.isdigit() and int(given) > 0:
        return int(given)
    gpus = len(glob.glob("/dev/nvidia[0-9]*"))
    if given == "gpu" and not gpus:
        raise SystemExit("flambeau torchrun: --nproc_per_node gpu, and there are no GPUs")
    if given in ("auto", "gpu") and gpus:
        return gpus
    if given in ("auto", "cpu"):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    raise SystemExit(f"flambeau torchrun: --nproc_per_node should be a number, cpu, gpu or auto, got {given!r}")


def _master(options: argparse.Namespace, nodes: int) -> tuple[str, int]:
    """Where the processes meet."""
    host, _, port = options.rdzv_endpoint.rpartition(":") if ":" in options.rdzv_endpoint else (
        options.rdzv_endpoint, "", "")  # fmt: skip
    host = options.master_addr or host or "127.0.0.1"
    number = options.master_port or int(port or 0)
    if number == 0:
        if nodes > 1:
            number = 29500
        else:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                number = probe.getsockname()[1]
    return host, number


def _command(options: argparse.Namespace) -> list[str]:
    if options.no_python:
        return [options.program, *options.arguments]
    module = ["-m"] if options.module else []
    return [sys.executable, "-u", "-m", "flambeau", "run", *module, options.program, *options.arguments]


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None) if sys.platform == "linux" else None


_LIBC = _libc()


def _follow() -> None:
    """On Linux, in a process that has just been started: end when the launcher ends, however it does."""
    if _LIBC is not None:
        _LIBC.prctl(1, int(signal.SIGTERM))


class _Process:
    """One of the started processes."""

    def __init__(self, command: list[str], environment: dict[str, str], rank: int, folder: str) -> None:
        self.rank = rank
        self.error_file = os.path.join(folder, f"error-{rank}.json")
        variables = {**environment, "TORCHELASTIC_ERROR_FILE": self.error_file}
        self.process = subprocess.Popen(command, env=variables, start_new_session=True, preexec_fn=_follow)

    def end(self, how: int) -> None:
        """Signals it and all that it has started."""
        try:
            os.killpg(self.process.pid, how)
        except (ProcessLookupError, PermissionError):
            pass

    def failure(self) -> str:
        """How it ended."""
        code = self.process.returncode
        if code >= 0:
            return f"exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"killed by {name}"


def _wait(started: Sequence[_Process], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(p.process.poll() is None for p in started):
        time.sleep(0.02)


def _end_all(started: Sequence[_Process], how: int = signal.SIGTERM) -> None:
    for p in started:
        if p.process.poll() is None:
            p.end(how)
    _wait(started, GRACE)
    for p in started:
        if p.process.poll() is None:
            p.end(signal.SIGKILL)
        p.process.wait()


def _watch(started: Sequence[_Process]) -> _Process | None:
    """Waits until one fails, and returns that, or until all have ended."""
    while True:
        running = 0
        failed = []
        for p in started:
            code = p.process.poll()
            running += code is None
            if code:
                failed.append(p)
        if failed:
            return min(failed, key=_severity)
        if not running:
            return None
        time.sleep(0.01)


def _severity(p: _Process) -> tuple[bool, int]:
    """Of several at once: one that was killed has taken the others with it."""
    return (p.process.returncode not in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS), p.rank)


def _report(p: _Process, started: Sequence[_Process], command: list[str]) -> None:
    lines = [
        "", "=" * 60, f"flambeau torchrun: rank {p.rank} failed: {p.failure()}", f"  program: {' '.join(command)}",
        f"  process: {p.process.pid} on {socket.gethostname()}",
    ]  # fmt: skip
    try:
        with open(p.error_file) as file:
            lines += ["  traceback:", *("    " + line for line in file.read().splitlines())]
    except OSError:
        if p.process.returncode > 0:
            lines.append("  its traceback, if it wrote one, is above")
    others = [f"rank {q.rank} ({q.failure()})" for q in started if q is not p and q.process.returncode]
    if others:
        lines.append(f"  the others were ended: {', '.join(others)}")
    print("\n".join([*lines, "=" * 60]), file=sys.stderr, flush=True)


def run(arguments: Sequence[str]) -> int:
    """Starts the processes that the arguments ask for and waits for them. Returns 0, or 1 if one has failed."""
    options = _parser().parse_args(list(arguments))
    count = _count(options.nproc_per_node)
    nodes = int(options.nnodes.partition(":")[2] or options.nnodes)
    command = _command(options)
    for attempt in range(options.max_restarts + 1):
        host, port = _master(options, nodes)
        failed = _run_once(options, command, count, nodes, host, port, attempt)
        if failed is None:
            return 0
    return 1


def _run_once(options: argparse.Namespace, command: list[str], count: int, nodes: int, host: str, port: int,
              attempt: int) -> _Process | None:  # fmt: skip
    common = {
        **os.environ, "MASTER_ADDR": host, "MASTER_PORT": str(port), "WORLD_SIZE": str(count * nodes),
        "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": str(options.node_rank), "GROUP_WORLD_SIZE": str(nodes),
        "ROLE_WORLD_SIZE": str(count * nodes), "ROLE_NAME": "default", "TORCHELASTIC_RUN_ID": options.rdzv_id,
        "TORCHELASTIC_RESTART_COUNT": str(attempt), "TORCHELASTIC_MAX_RESTARTS": str(options.max_restarts),
    }  # fmt: skip
    if count > 1:
        common.setdefault("OMP_NUM_THREADS", "1")
    started: list[_Process] = []
    with tempfile.TemporaryDirectory(prefix="flambeau-torchrun-") as folder:
        before = signal.signal(signal.SIGTERM, _interrupted)
        try:
            for local in range(count):
                rank = options.node_rank * count + local
                mine = {"RANK": str(rank), "LOCAL_RANK": str(local), "ROLE_RANK": str(rank)}
                started.append(_Process(command, {**common, **mine}, rank, folder))
            failed = _watch(started)
            if failed is not None:
                _wait(started, PATIENCE)  # the others may have to say what they miss
                _end_all(started)
                _report(failed, started, command)
            return failed
        except KeyboardInterrupt:
            _end_all(started, signal.SIGINT)
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _interrupted(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
