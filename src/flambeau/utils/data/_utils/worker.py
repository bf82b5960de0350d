"""A worker process of a `DataLoader`: it is told indices, and answers with batches."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau._utils import ExceptionWrapper
from flambeau.engines.numpy import parallel
from flambeau.random import default_generator
from flambeau.utils.data._utils.fetch import DatasetKind

__all__ = ["DATA", "END", "READY", "RESUME", "Plan", "WorkerInfo", "get_worker_info", "work"]

#: What messages from the loader are: tasks (a number and indices), `RESUME`, or `END`.
RESUME, END = "resume", "end"
#: What answers hold: data, the end of this worker's stream, or an error; and that a new epoch can begin.
DATA, STREAM_END, ERROR, READY = "data", "stream end", "error", "ready"

_WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker knows of itself: `id`, `num_workers`, its `seed`, and its copy of the `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """What there is to know of the `DataLoader` worker that this is called in; None outside of one."""
    return _worker_info


@dataclass(frozen=True, slots=True)
class Plan:
    """What all workers of one loader are told when they start."""

    kind: int
    dataset: Any
    auto_collation: bool
    collate_fn: Any
    drop_last: bool
    base_seed: int
    init_fn: Any
    count: int

    def fetcher(self) -> Any:
        """What fetches batches from the dataset, from its beginning."""
        return DatasetKind.create_fetcher(self.kind, self.dataset, self.auto_collation, self.collate_fn, self.drop_last)


def _seed_all(base_seed: int, number: int) -> None:
    """PyTorch's seeds for worker `number`: the base seed plus its number, and for NumPy a hash of both."""
    seed = base_seed + number
    random.seed(seed)
    default_generator.manual_seed(seed)
    np.random.seed(_generate_state(base_seed, number))


def _generate_state(base_seed: int, worker_id: int) -> list[int]:
    """The four words that seed NumPy in worker `worker_id`."""
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4).tolist()


class _Desk:
    """Where a worker waits for tasks; it notices when the loader's process is gone, however that ended."""

    def __init__(self, connection: Any) -> None:
        import multiprocessing

        self.connection = connection
        self.parent = os.getppid()
        loader = multiprocessing.parent_process()
        self.watched = [connection] if loader is None else [connection, loader.sentinel]

    def next(self) -> Any:
        """The next message; `END` if nobody is there any more."""
        from multiprocessing.connection import wait

        from flambeau.utils.data._utils import channel

        while True:
            ready = wait(self.watched, _WATCH_SECONDS)
            if self.connection in ready:
                try:
                    return channel.receive(self.connection)
                except (EOFError, OSError):
                    return END
            if ready or os.getppid() != self.parent:
                return END


def work(connection: Any, number: int, plan: Plan) -> None:
    """Worker `number`'s life: answer tasks in order until told to end."""
    try:
        _work(connection, number, plan)
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        pass  # Ctrl-C reaches the loader too; and with the loader gone nobody waits for what was fetched


def _work(connection: Any, number: int, plan: Plan) -> None:
    global _worker_info
    parallel.set_num_threads(1)
    _seed_all(plan.base_seed, number)
    _worker_info = WorkerInfo(number, plan.count, plan.base_seed + number, plan.dataset)
    where = f"in DataLoader worker process {number}"
    failure: ExceptionWrapper | None = None
    fetcher: Any = None
    try:
        if plan.init_fn is not None:
            plan.init_fn(number)
        fetcher = plan.fetcher()
    except Exception:
        failure = ExceptionWrapper(where=where)  # told when its first batch is due
    desk = _Desk(connection)
    ended = False
    while (message := desk.next()) != END:
        if message == RESUME:
            ended = False
            try:
                fetcher = plan.fetcher()
            except Exception:
                failure = ExceptionWrapper(where=where)
            _answer(connection, (-1, READY, None), where)
            continue
        task, index = message
        if ended:
            continue
        if failure is not None:
            answer: tuple = (task, ERROR, failure)
        else:
            try:
                answer = (task, DATA, fetcher.fetch(index))
            except Exception as error:
                if isinstance(error, StopIteration) and plan.kind == DatasetKind.Iterable:
                    answer, ended = (task, STREAM_END, None), True
                else:
                    answer = (task, ERROR, ExceptionWrapper(where=where))
        _answer(connection, answer, where)
        del answer, message, index  # the next batch may need the memory


def _answer(connection: Any, answer: tuple, where: str) -> None:
    """Send an answer; if it can't be packed up, the error that says so."""
    from flambeau.utils.data._utils import channel

    try:
        channel.send(connection, answer)
        return
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception:
        wrapped = answer[2] if answer[1] == ERROR else ExceptionWrapper(where=where)
    try:
        channel.send(connection, (answer[0], ERROR, wrapped))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception:  # a class that can't be pickled: its text still can
        wrapped.exc_type = RuntimeError
        channel.send(connection, (answer[0], ERROR, wrapped))
