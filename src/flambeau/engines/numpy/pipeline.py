"""Work before and behind a loop that must run in order, done by another thread where one is free.

A recurrence keeps one core busy with short calls. `Ahead` holds the jobs whose results the loop will need, `Behind`
those that its results make possible; the loop does itself whatever nobody has taken by then, so nothing depends on a
helper.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

from .blas import single_blas
from .parallel import get_num_threads, run_tasks

__all__ = ["Ahead", "Behind", "run_beside"]


class Ahead:
    """Jobs 0, 1, ..., each done once, by a helper in advance or on the spot by `need`."""

    def __init__(self, fn: Callable[[int], Any], count: int) -> None:
        self.fn = fn
        self.claims = [threading.Lock() for _ in range(count)]
        self.done = [threading.Lock() for _ in range(count)]
        for lock in self.done:
            lock.acquire()

    def work(self, order: Iterable[int]) -> None:
        """Do the jobs that nobody has taken yet."""
        for i in order:
            if self.claims[i].acquire(False):
                try:
                    self.fn(i)
                finally:
                    self.done[i].release()

    def need(self, i: int) -> None:
        """Return when job `i` is done."""
        if self.claims[i].acquire(False):
            self.fn(i)
        else:
            self.done[i].acquire()


class Behind:
    """Jobs that become possible one by one; whoever calls `work` takes them until `close` was called."""

    def __init__(self, fn: Callable[[Any, Any], Any]) -> None:
        self.fn = fn
        self.queue: SimpleQueue = SimpleQueue()

    def put(self, job: Any) -> None:
        """Another job."""
        self.queue.put((job,))

    def close(self) -> None:
        """There will be no more."""
        self.queue.put(None)

    def work(self, own: Any = None) -> None:
        """Do jobs, `fn(job, own)`, waiting for more until the end."""
        while True:
            item = self.queue.get()
            if item is None:
                self.queue.put(None)
                return
            self.fn(item[0], own)


def run_beside(loop: Callable[[], Any], helper: Callable[[], Any], worthwhile: bool) -> None:
    """Run `loop` here and `helper` on another thread; without one, or if not `worthwhile`, only `loop`."""
    if not worthwhile or get_num_threads() < 2:
        loop()
        return
    with single_blas():
        run_tasks(lambda task: task(), [(loop,), (helper,)])
