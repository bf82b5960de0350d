"""Spreads kernels over the cores: a small pool of sleeping threads, `parallel_for`, scratch memory.

NumPy's loops and BLAS release the interpreter lock, so plain Python threads keep several cores busy as long as
each call they make works on thousands of elements. Waking a helper and joining it again costs 50 to 80 microseconds,
so choose `grain` such that `grain` items take about 200: 500,000 elements for a cheap ufunc, 100,000 for a chain of
ten, say. `parallel_for` runs smaller jobs in place, and never waits for a helper that woke up too late to be of use.

    from .parallel import BLOCK, parallel_for

    def kernel(a):
        out = np.empty_like(a)
        flat, res = a.reshape(-1), out.reshape(-1)

        def block(start, stop):
            np.multiply(flat[start:stop], 2, out=res[start:stop])

        parallel_for(flat.size, block, grain=500_000, block=BLOCK)
        return out
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..native import hooks
from ..native import threads as native_threads
from . import blas
from .blas import single_blas

__all__ = [
    "BLOCK",
    "blocks_of",
    "get_num_threads",
    "parallel_for",
    "run_tasks",
    "scratch",
    "set_num_threads",
    "single_blas",
]

#: Elements that a chain of ufuncs should work on at a time so that its operands stay in the second-level cache.
BLOCK = 32768


class _State(threading.local):
    """Per thread: whether it is inside a parallel region, and its scratch memory."""

    inside = False

    def __init__(self) -> None:
        self.scratch: dict[Any, np.ndarray] = {}


_local = _State()


def _usable_cores() -> int:
    for name in ("FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS, Windows
        return max(1, os.cpu_count() or 1)


_threads = _usable_cores()
native_threads.set_workers(_threads)
if "FLAMBEAU_NUM_THREADS" in os.environ:
    blas.set_threads(_threads)


def get_num_threads() -> int:
    """How many threads kernels spread over (the caller's own included)."""
    return _threads


def set_num_threads(n: int) -> None:
    """Make kernels spread over `n` threads, BLAS products included.

    Raises RuntimeError unless `n` is a positive int.
    """
    global _threads
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise RuntimeError(f"set_num_threads expects a positive int, got {n!r}")
    _threads = n
    native_threads.set_workers(n)
    blas.set_threads(n)


# --- the pool -----------------------------------------------------------------------------------------------------


class _Job:
    """Tasks still to be taken, and the first exception that one of them raised."""

    __slots__ = ("error", "fn", "tasks")

    def __init__(self, fn: Callable[..., Any], tasks: deque) -> None:
        self.fn = fn
        self.tasks = tasks
        self.error: BaseException | None = None

    def work(self) -> None:
        fn, take = self.fn, self.tasks.popleft
        try:
            while True:
                try:
                    task = take()
                except IndexError:
                    return
                fn(*task)
        except BaseException as e:  # re-raised by the caller of run_tasks
            self.tasks.clear()
            if self.error is None:
                self.error = e


class _Ticket:
    """An invitation to help with a job; whoever takes `claim` first decides: helper starts or caller cancels."""

    __slots__ = ("claim", "done", "job")

    def __init__(self, job: _Job) -> None:
        self.job: _Job | None = job
        self.claim = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()


_queue: SimpleQueue = SimpleQueue()
_workers = 0
_grow = threading.Lock()


def _worker(queue: SimpleQueue) -> None:
    np.seterr(all="ignore")
    _local.inside = True
    while True:
        ticket = queue.get()
        if ticket.claim.acquire(False):
            ticket.job.work()
            ticket.job = None
            ticket.done.release()
        ticket = None  # a sleeping thread must not keep the arrays of its last job alive


def _start_workers(n: int) -> None:
    global _workers
    with _grow:
        while _workers < n:
            _workers += 1
            threading.Thread(target=_worker, args=(_queue,), name=f"flambeau-{_workers}", daemon=True).start()


def _after_fork() -> None:
    """A forked child has none of the threads: forget them, new ones start on demand."""
    global _queue, _workers, _grow
    _queue, _workers, _grow = SimpleQueue(), 0, threading.Lock()
    _local.inside = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run_tasks(fn: Callable[..., Any], tasks: list[tuple]) -> None:
    """Call `fn(*task)` for every task, on all threads, in no particular order; returns when all are done.

    The first exception of a task is raised here, tasks not yet begun are then dropped. Inside a task, further calls run
    in place. Call BLAS in tasks only under `single_blas()`.
    """
    helpers = min(_threads, len(tasks)) - 1
    if helpers < 1 or _local.inside:
        for task in tasks:
            fn(*task)
        return
    if _workers < helpers:
        _start_workers(helpers)
    job = _Job(fn, deque(tasks))
    tickets = [_Ticket(job) for _ in range(helpers)]
    for ticket in tickets:
        _queue.put(ticket)
    _local.inside = True
    try:
        job.work()
    finally:
        _local.inside = False
        for ticket in tickets:
            if ticket.claim.acquire(False):
                ticket.job = None
            else:
                ticket.done.acquire()
    if job.error is not None:
        raise job.error


def blocks_of(n: int, block: int) -> list[tuple[int, int]]:
    """`range(n)` cut into `(start, stop)` pieces of at most `block`."""
    return [(i, min(i + block, n)) for i in range(0, n, block)]


def parallel_for(n: int, fn: Callable[[int, int], Any], grain: int = 1, block: int | None = None) -> None:
    """Call `fn(start, stop)` over consecutive pieces that cover `range(n)`, on all threads.

    Up to `grain` items the work stays on the calling thread. Pieces are `block` items long; without `block` they are
    even, two per thread and none smaller than `grain`. With `block`, small work too is cut up, for the cache's sake.
    """
    if n <= 0:
        return
    if block is None:
        if n <= grain or _threads == 1 or _local.inside:
            fn(0, n)
            return
        block = max(-(-n // (2 * _threads)), grain)
    if n <= block:
        fn(0, n)
        return
    if n <= grain or _threads == 1 or _local.inside:
        for start in range(0, n, block):
            fn(start, min(start + block, n))
        return
    run_tasks(fn, blocks_of(n, block))


# --- scratch memory -----------------------------------------------------------------------------------------------

_SCRATCH_BYTES = 32 << 20  # what one thread keeps for next time; larger requests are served and forgotten


def scratch(key: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array of this thread's own, reused by the next call with the same `key` on the same thread.

    Only for values that die before the kernel returns. At most `_SCRATCH_BYTES` per thread are kept.
    """
    if hooks.capture is not None:
        return np.empty(shape, dtype)  # a compiled step plans memory of its own
    dtype = np.dtype(dtype)
    count = 1
    for s in shape:
        count *= s
    size = count * dtype.itemsize
    kept = _local.scratch
    buffer = kept.get(key)
    if buffer is None or buffer.size < size:
        buffer = np.empty(max(size, 64), np.uint8)
        if size <= _SCRATCH_BYTES:
            kept.pop(key, None)
            while kept and sum(b.size for b in kept.values()) + size > _SCRATCH_BYTES:
                kept.pop(next(iter(kept)))
            kept[key] = buffer
    return buffer[:size].view(dtype).reshape(shape)
