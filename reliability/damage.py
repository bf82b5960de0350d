"""Damaged files are loaded, thousands of them, and watched: what is run, how long it takes, how much memory it takes.

The loading is done by child processes with little memory to spare and an alarm clock. A file counts as

* refused: `CheckpointError` was raised;
* unharmed: what was loaded is, bit for bit, what was saved, because the damage hit a place that says nothing;
* wrong: anything else was loaded;
* failed: another exception came;
* executed: something ran that reading data has no need of (an audit hook watches);
* hung: it took longer than ten seconds of the processor, or a minute in all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from reliability.hostile import archive, programs, traps
from reliability.mutations import BYTES, STRUCTURE, change_pickle, forge_pickle

ROOT = Path(__file__).resolve().parent.parent
LIMIT, LIMIT_WAITING = 10.0, 60.0
HEADROOM = 1 << 30

#: Of 100 files: how many of each kind, of each original. The older format has no checksums; forgeries have new ones.
PLAN = {
    "bytes": [("flambeau.pt", 14), ("protocol5.pt", 4), ("run.pt", 8), ("pytorch.pt", 10), ("weights.safetensors", 6)],
    "zip structure": [("flambeau.pt", 14), ("protocol5.pt", 4), ("run.pt", 8)],
    "pickle": [("flambeau.pt", 10), ("protocol5.pt", 4), ("run.pt", 4)],
    "forged pickle": [("flambeau.pt", 3), ("protocol5.pt", 3), ("pytorch.pt", 4)],
    "older format": [("older.pt", 4)],
}
#: What no checksum speaks of: only what is run, time and memory are promised.
UNCHECKED = ("forged pickle", "older format")


def plan(count: int) -> list[tuple[str, str, int]]:
    """Kind, original and number of each file, `count` in all."""
    hundred = [(kind, name) for kind, names in PLAN.items() for name, share in names for _ in range(share)]
    order = random.Random(0)
    order.shuffle(hundred)
    return [(*hundred[i % len(hundred)], i) for i in range(count)]


def hostile_plan() -> list[tuple[str, str, int]]:
    """Kind and name of each file made to do harm."""
    return [("hostile pickle", name, 0) for name in programs()] + [("trap", name, 0) for name in traps()]


def mutated(kind: str, data: bytes, seed: int) -> bytes:
    """The damaged file of this number."""
    rng = random.Random(seed)
    if kind == "pickle":
        return change_pickle(data, rng)
    if kind == "forged pickle":
        return forge_pickle(data, rng)
    return rng.choice(STRUCTURE if kind == "zip structure" else BYTES)(data, rng)


# --- the child -------------------------------------------------------------------------------------------------------

_HARMLESS = {
    "compile", "import", "object.__getattr__", "object.__setattr__", "builtins.id", "gc.get_objects", "marshal.loads",
    "os.listdir", "os.scandir", "code.__new__", "sys._getframe", "tempfile.mkstemp", "exec", "time.sleep",
}  # fmt: skip
_EXECUTES = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill", "os.putenv",
             "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "subprocess.", "socket.",
             "ctypes.", "shutil.", "pty.", "webbrowser.", "urllib.", "ftplib.", "smtplib.", "pickle.find_class",
             "exec", "compile", "import", "open", "mmap.", "code.", "function.__new__", "sys.addaudithook",
             "cpython.run_", "glob.", "pdb.", "syslog.", "winreg.")  # fmt: skip


class Watch:
    """Writes down what happens while a file is loaded."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple) -> None:
        if self.on and event.startswith(_EXECUTES):
            if event == "import" and str(args[0]).split(".")[0] in ("encodings", "warnings", "linecache"):
                return
            self.seen.append(f"{event} {str(args)[:80]}")


class _Hang(BaseException):
    pass


def _limit_memory() -> None:
    import resource

    with open("/proc/self/statm") as file:
        here = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (here + HEADROOM, here + HEADROOM))


def _ring(*args: Any) -> None:
    raise _Hang


def _attempt(data: bytes, name: str, watch: Watch) -> tuple[str, Any, float, int]:
    """Load a file; the outcome, what came, seconds of the processor, bytes of memory."""
    import signal

    from flambeau.errors import CheckpointError
    from reliability.originals import read

    watch.seen.clear()
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.process_time()
    found: Any = None
    signal.setitimer(signal.ITIMER_REAL, LIMIT_WAITING)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    watch.on = True
    try:
        found = read(data, name)
        outcome = "loaded"
    except CheckpointError as error:
        outcome, found = "refused", str(error)
    except _Hang:
        outcome = "hung"
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}: {str(error)[:200]}"
    watch.on = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    if watch.seen:
        outcome = f"executed: {watch.seen[0]}"
    return outcome, found, time.process_time() - began, tracemalloc.get_traced_memory()[1] - before


def child() -> None:
    """Load the files that standard input names; write what came of each to standard output."""
    import signal
    import warnings

    from flambeau.errors import CheckpointError
    from reliability.originals import fingerprint, originals, read

    warnings.simplefilter("ignore")
    job = json.loads(sys.stdin.read())
    files = originals(Path(job["folder"]))
    expected = {name: fingerprint(read(data, name)) for name, data in files.items()}
    hostile = {"hostile pickle": programs(), "trap": traps()} if job["hostile"] else {}

    def made(kind: str, name: str, number: int) -> bytes:
        if kind == "hostile pickle":
            return archive(hostile[kind][name])
        return hostile[kind][name] if kind in hostile else mutated(kind, files[name], number)

    for _ in range(2):  # whatever is imported late is here now
        for kind, name, number in job["warm"]:
            with contextlib.suppress(CheckpointError):
                read(made(kind, name, number), name)
    signal.signal(signal.SIGALRM, _ring)
    signal.signal(signal.SIGPROF, _ring)
    watch = Watch()
    tracemalloc.start()
    if hasattr(os, "sysconf") and os.path.exists("/proc/self/statm"):
        _limit_memory()
    for kind, name, number in job["files"]:
        data = made(kind, name, number)
        outcome, found, took, grown = _attempt(data, name, watch)
        if outcome == "hung" and took < LIMIT:  # it waited; or the machine slept: then it does not wait again
            outcome, found, took, grown = _attempt(data, name, watch)
        if outcome == "loaded":
            outcome = "unharmed" if name in expected and fingerprint(found) == expected[name] else "wrong"
        result = {"kind": kind, "name": name, "number": number, "outcome": outcome, "took": took, "grown": grown}
        print(json.dumps({**result, "size": len(data)}), flush=True)


# --- the parent ------------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """This checkout first on the path."""
    paths = (str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def run(count: int = 10_000) -> dict[str, Any]:
    """Load `count` damaged files; the outcomes counted, and everything that should not be."""
    return summary(load_all(plan(count)))


def run_hostile() -> dict[str, Any]:
    """Load the files made to do harm."""
    return summary(load_all(hostile_plan(), hostile=True))


def load_all(todo: list[tuple[str, str, int]], batch: int = 2_500, hostile: bool = False) -> list[dict[str, Any]]:
    """What comes of each file, loaded by child processes."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        while len(results) < len(todo):
            part = todo[len(results) : len(results) + batch]
            job = json.dumps(
                {"folder": folder, "warm": plan(20 if hostile else 100), "files": part, "hostile": hostile}
            )
            command = [sys.executable, "-m", "reliability.damage", "--child"]
            done = subprocess.run(command, input=job, capture_output=True, text=True, env=environment(), cwd=ROOT)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            if done.returncode or len(lines) < len(part):  # a crash counts for the file that was being read
                kind, name, number = part[min(len(lines), len(part) - 1)]
                problem = f"failed: the process died ({done.returncode}): {done.stderr[-300:]}"
                lines.append({"kind": kind, "name": name, "number": number, "outcome": problem, "took": 0.0,
                              "grown": 0, "size": 0})  # fmt: skip
            results.extend(lines)
    return results


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by kind; the largest figures; what should not have been."""
    table: dict[str, Counter[str]] = {}
    for one in results:
        table.setdefault(one["kind"], Counter())[one["outcome"].split(":")[0]] += 1
    bad = [
        one
        for one in results
        if one["outcome"].split(":")[0] not in ("refused", "unharmed")
        and not (one["kind"] in UNCHECKED and one["outcome"] == "wrong")
    ]
    return {
        "files": len(results),
        "table": {kind: dict(counts) for kind, counts in table.items()},
        "slowest": max(one["took"] for one in results),
        "grown": max(one["grown"] for one in results),
        "largest": max(one["size"] for one in results),
        "bad": bad,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    if options.child:
        child()
    else:
        print(json.dumps(run(options.count) if options.count else run_hostile(), indent=1))
