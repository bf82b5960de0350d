"""Runs entries in worker processes: each step under a time limit, and whatever kills a worker is one more difference.

A worker tells each step's name before it runs it. When it dies or hangs, the entry is given to a new worker, which
leaves that step out: so one step is lost, never a run.
"""

from __future__ import annotations

import collections
import multiprocessing as mp
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import Any

#: Seconds of processor time for one step, and seconds on the clock after which its worker is killed.
STEP_LIMIT, HARD_LIMIT = 30, 240
#: Differences that are kept in words, per check of an entry.
KEPT = 6

Task = tuple[str, str]


class _TooLong(BaseException):
    """The step's time is over."""


def _stop(*_: Any) -> None:
    raise _TooLong


def judge(run: Callable[[], None]) -> tuple[bool | None, str]:
    """Whether the step passes (None: nothing to compare) and what differs."""
    from .compare import Differs
    from .operators import Nothing
    from .translate import Missing, OutOfScope

    signal.setitimer(signal.ITIMER_PROF, STEP_LIMIT)
    try:
        run()
    except (Nothing, OutOfScope):
        return None, ""
    except Missing as error:
        return False, f"flambeau has no {error}"
    except Differs as error:
        return False, str(error)
    except _TooLong:
        return False, f"takes more than {STEP_LIMIT} seconds"
    except Exception as error:
        return False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]} ({_place(error)})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return True, ""


def _place(error: BaseException) -> str:
    """Where in flambeau it was raised."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "flambeau" in f.filename]
    if not frames:
        return "in the comparison"
    file = frames[-1].filename
    return f"{file.rsplit('/flambeau/', 1)[-1]}:{frames[-1].lineno}" if "/flambeau/" in file else file.strip("<>")


def run_entry(database: str, name: str, lost: dict[str, str], only: Any, tell: Callable[[Any], None]) -> dict[str, Any]:
    """All steps of an entry, or `only` some; `lost` holds those that killed a worker, with what became of it."""
    from . import modules, operators, optimizers, scope

    module = {"ops": operators, "modules": modules, "optimizers": optimizers}[database]
    entries = {"ops": scope.operators, "modules": scope.modules, "optimizers": scope.optimizers}[database]()
    started = time.process_time()
    counts: dict[str, list[int]] = {}
    differs: list[list[str]] = []
    failed: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check, step, run in module.steps(entries[name]):  # type: ignore[attr-defined]
            label = f"{check}: {step}"
            if only is not None and label not in only:
                continue
            tell(label)
            passed, why = (False, lost[label]) if label in lost else judge(run)
            if passed is None:
                continue
            count = counts.setdefault(check, [0, 0])
            count[0] += passed
            count[1] += 1
            if not passed:
                failed.append(label)
            if not passed and sum(d[0] == check for d in differs) < KEPT:
                differs.append([check, step, why[:300]])
    seconds = round(time.process_time() - started, 1)
    return {"checks": counts, "differs": differs, "failed": failed, "seconds": seconds}


def _serve(pipe: Any) -> None:
    """A worker: entries come in, results go out."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _stop)
    while True:
        job = pipe.recv()
        if job is None:
            return
        pipe.send(("done", run_entry(*job, lambda label: pipe.send(("step", label)))))


class _Worker:
    """One worker process and what it is doing."""

    def __init__(self, context: Any) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.task: Task | None = None
        self.step = ""
        self.heard = time.monotonic()

    def give(self, task: Task, lost: dict[str, str], only: Any) -> None:
        self.task, self.step, self.heard = task, "", time.monotonic()
        self.pipe.send((*task, lost, only))

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_all(
    tasks: Iterable[Task], jobs: int, only: dict[Task, list[str]] | None = None
) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Results of all tasks as they come; of `only` these steps, if given."""
    context = mp.get_context("spawn")
    queue = collections.deque(tasks)
    lost: dict[Task, dict[str, str]] = collections.defaultdict(dict)
    workers = [_Worker(context) for _ in range(min(jobs, len(queue)))]
    try:
        while queue or any(w.task for w in workers):
            for worker in workers:
                if worker.task is None and queue:
                    task = queue.popleft()
                    worker.give(task, lost[task], only[task] if only else None)
            ready = wait([w.pipe for w in workers if w.task], timeout=1.0)
            for i, worker in enumerate(workers):
                if worker.task is None:
                    continue
                what = _hear(worker) if worker.pipe in ready else _silence(worker)
                if isinstance(what, dict):
                    yield worker.task, what
                    worker.task = None
                elif what:
                    lost[worker.task][worker.step] = what
                    queue.appendleft(worker.task)
                    worker.end()
                    workers[i] = _Worker(context)
    finally:
        for worker in workers:
            worker.end()


def second_opinion(results: dict[Task, dict[str, Any]], jobs: int) -> Iterator[Task]:
    """Asks PyTorch again where flambeau differs, without vector instructions, and corrects the results.

    PyTorch has several kernels for one operation and takes one by the processor; they round differently, and at edges
    that shows. Its plain ones are as good an answer.
    """
    doubtful = {task: r["failed"] for task, r in results.items() if task[0] == "ops" and r.get("failed")}
    before = os.environ.get("ATEN_CPU_CAPABILITY")
    os.environ["ATEN_CPU_CAPABILITY"] = "default"
    try:
        for task, again in run_all(doubtful, jobs, doubtful):
            settled = set(doubtful[task]) - set(again["failed"])
            result = results[task]
            for label in settled:
                result["checks"][label.split(":")[0]][0] += 1
            result["failed"] = again["failed"]
            result["differs"] = [d for d in result["differs"] if f"{d[0]}: {d[1]}" not in settled]
            if settled:
                yield task
    finally:
        if before is None:
            del os.environ["ATEN_CPU_CAPABILITY"]
        else:
            os.environ["ATEN_CPU_CAPABILITY"] = before


def _hear(worker: _Worker) -> Any:
    """The result that a worker sent, or what happened to it, or nothing new."""
    try:
        kind, what = worker.pipe.recv()
    except EOFError:
        worker.process.join()
        return f"the process died (exit code {worker.process.exitcode})"
    worker.heard = time.monotonic()
    if kind == "done":
        return what
    worker.step = what
    return None


def _silence(worker: _Worker) -> str | None:
    over = time.monotonic() - worker.heard > HARD_LIMIT
    return f"no answer in {HARD_LIMIT} seconds" if over else None
