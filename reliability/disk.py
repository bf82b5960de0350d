"""What becomes of a file when its replacement can't be written: killed writers, full disks, many readers."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flambeau as torch
from flambeau.serialization import atomic
from reliability.damage import ROOT, environment

# --- states that tell whether they are whole -------------------------------------------------------------------------


def state(step: int, size: int = 60_000) -> dict[str, Any]:
    """Some tensors that all say which step they are of."""
    tensors = {f"layer{i}.weight": torch.full((size // 4,), float(step)) for i in range(4)}
    return {"model": tensors, "optimizer": {i: {"step": torch.tensor(float(step))} for i in range(4)}, "step": step}


def step_of(found: dict[str, Any]) -> int:
    """The step that all of it is of; ValueError if there are several."""
    steps = {float(found["step"])}
    for tensor in found["model"].values():
        steps |= {float(tensor.min()), float(tensor.max())}
    steps |= {s["step"].item() for s in found["optimizer"].values()}
    if len(steps) != 1:
        raise ValueError(f"a mixture of steps {sorted(steps)}")
    return int(steps.pop())


def strays(folder: Path, *expected: str) -> list[str]:
    return sorted(set(os.listdir(folder)) - set(expected))


# --- killed writers --------------------------------------------------------------------------------------------------


def _save_forever(path: str, step: int) -> None:
    while True:
        step += 1
        torch.save(state(step), path)


def kills(count: int = 200) -> dict[str, Any]:
    """Processes that do nothing but save, each killed (-9) at a random moment; the file is read after each."""
    rng = random.Random(0)
    context = multiprocessing.get_context("fork")
    found: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "state.pt"
        torch.save(state(0), path)
        step = saves = 0
        for _ in range(count):
            process = context.Process(target=_save_forever, args=(str(path), step))
            process.start()
            until = time.monotonic() + 30
            while step_in(path) == step and time.monotonic() < until:  # it has begun to save
                time.sleep(0.001)
            time.sleep(rng.random() * 0.02)
            os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
            process.join()
            found["half-written"] += bool(strays(folder, "state.pt"))
            try:
                now = step_of(torch.load(path))
                if now <= step:
                    wrong.append(f"step {now} after step {step}")
                saves += now - step
                step = now
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")
        torch.save(state(step + 1), path)
        left = strays(folder, "state.pt")
    return {"kills": count, "saves": saves, "half_written": found["half-written"], "unreadable": wrong, "strays": left}


def step_in(path: Path) -> int:
    """The step of the file; whatever is wrong with it is told later."""
    try:
        return step_of(torch.load(path))
    except Exception:
        return -1


# --- full disks ------------------------------------------------------------------------------------------------------

_LIMITED = """
import resource, sys
import flambeau as torch
from reliability.disk import state
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    torch.save(state(2, 4000), sys.argv[1])
except torch.serialization.SaveError as error:
    assert isinstance(error, OSError) and isinstance(error, RuntimeError), error
    sys.exit(7)
"""


def _run(code: str, *arguments: Any, prefix: list[str] | None = None) -> subprocess.CompletedProcess:
    command = [*(prefix or []), sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)


def _intact(folder: Path, path: Path, step: int, what: str) -> list[str]:
    wrong = [f"{what}: {name} was left behind" for name in strays(folder, path.name)]
    if step_in(path) != step:
        wrong.append(f"{what}: the old file is gone")
    return wrong


def size_limits(count: int = 20) -> dict[str, Any]:
    """Saves by processes that may not write so much (RLIMIT_FSIZE), at `count` sizes."""
    wrong: list[str] = []
    refused = 0
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "state.pt"
        torch.save(state(1, 4000), path)
        whole = path.stat().st_size
        for i in range(count):
            done = _run(_LIMITED, path, whole * i // count)
            refused += done.returncode == 7
            if done.returncode != 7:
                wrong.append(f"at {i}/{count} of the size: exit {done.returncode} {done.stderr[-300:]}")
            wrong += _intact(folder, path, 1, f"at {i}/{count} of the size")
    return {"tries": count, "refused": refused, "wrong": wrong}


_SMALL_DISK = """
import errno, os, subprocess, sys
import flambeau as torch
from reliability.disk import state, step_in, strays
from pathlib import Path
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=True)
path = folder / "state.pt"
torch.save(state(1, 100_000), path)
for size in (200_000, 170_000, 400_000):
    try:
        torch.save(state(2, size), path)
    except torch.serialization.SaveError as error:
        assert error.errno == errno.ENOSPC, error
    else:
        raise AssertionError("the disk was large enough")
    assert step_in(path) == 1 and not strays(folder, "state.pt")
torch.save(state(3, 20_000), path)
assert step_in(path) == 3
"""


def small_disk() -> str | None:
    """Saves onto a file system that is full: None if all is well, else what is not; '-' where none can be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
        own = ["unshare", "--mount", *prefix[1:]]
        probe = [*own, "mount", "-t", "tmpfs", "none", folder]
        try:
            if subprocess.run(probe, capture_output=True).returncode:
                return "-"
        except OSError:
            return "-"
        done = _run(_SMALL_DISK, folder, prefix=own)
        return None if done.returncode == 0 else done.stderr[-500:]


class _Failing:
    """A file whose writes fail once so many bytes have passed."""

    def __init__(self, file: Any, left: int, code: int) -> None:
        self._file, self._left, self._code = file, left, code

    def write(self, data: Any) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise OSError(self._code, os.strerror(self._code))
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Failing:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Any:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def faults(points: int = 40) -> dict[str, Any]:
    """Saves through a file layer that fails: at each of `points` places in the file, and at each step around it."""
    wrong: list[str] = []
    tries = 0
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "state.pt"
        torch.save(state(1, 4000), path)
        size = path.stat().st_size

        def attempt(what: str, owner: Any, function: str, replacement: Callable) -> None:
            nonlocal tries
            tries += 1
            with _replaced(owner, function, replacement):
                try:
                    torch.save(state(2, 4000), path)
                    wrong.append(f"{what}: nothing was said")
                except torch.serialization.SaveError as error:
                    if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
                        wrong.append(f"{what}: {error!r}")
            wrong.extend(_intact(folder, path, 1, what))

        create = atomic._create
        for i in range(points):
            code = (errno.ENOSPC, errno.EIO, errno.EDQUOT)[i % 3]

            def failing(parent: str, at: int = size * i // points, code: int = code) -> Any:
                temporary, file = create(parent)
                return temporary, _Failing(file, at, code)

            attempt(f"a write at {i}/{points}", atomic, "_create", failing)

        def fail(*args: Any, **options: Any) -> Any:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        for function in ("fsync", "replace", "chmod"):
            attempt(function, os, function, fail)
    return {"tries": tries, "wrong": wrong}


# --- many readers and writers ----------------------------------------------------------------------------------------


def _read_forever(path: str, stop: Any, results: Any, mapped: bool) -> None:
    last, reads, wrong = -1, 0, []
    while not stop.is_set():
        try:
            step = step_of(torch.load(path, mmap=mapped))
            if step < last:
                wrong.append(f"step {step} after {last}")
            last = step
            reads += 1
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
    results.put((reads, wrong[:5]))


def readers(saves: int = 200, count: int = 8) -> dict[str, Any]:
    """Processes that read a file, half of them mapped, while it is saved over and over."""
    context = multiprocessing.get_context("fork")
    stop, results = context.Event(), context.Queue()
    with tempfile.TemporaryDirectory() as name:
        path = str(Path(name) / "state.pt")
        torch.save(state(0), path)
        work = [context.Process(target=_read_forever, args=(path, stop, results, i % 2 == 1)) for i in range(count)]
        for process in work:
            process.start()
        for step in range(1, saves + 1):
            torch.save(state(step), path)
            time.sleep(0.005)
        stop.set()
        found = [results.get(timeout=60) for _ in work]
        for process in work:
            process.join()
        left = strays(Path(name), "state.pt")
    return {
        "saves": saves,
        "readers": count,
        "reads": sum(reads for reads, _ in found),
        "wrong": [problem for _, wrong in found for problem in wrong] + left,
    }


def _save_some(path: str, number: int, saves: int) -> None:
    for i in range(saves):
        torch.save(state(number * 1000 + i, 20_000), path)


def writers(count: int = 4, saves: int = 40) -> dict[str, Any]:
    """Processes that all save to one path: each file is one of theirs, whole."""
    context = multiprocessing.get_context("fork")
    wrong: list[str] = []
    reads = 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "state.pt"
        torch.save(state(0), path)
        work = [context.Process(target=_save_some, args=(str(path), i + 1, saves)) for i in range(count)]
        for process in work:
            process.start()
        while any(process.is_alive() for process in work):
            try:
                step_of(torch.load(path))
                reads += 1
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")
        wrong += [f"a writer ended with {process.exitcode}" for process in work if process.exitcode]
        torch.save(state(1), path)
        wrong += strays(Path(name), "state.pt")
    return {"writers": count, "saves": count * saves, "reads": reads, "wrong": wrong}
