"""One pass over the batches of a `DataLoader`, made by worker processes while this one does other things."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import socket
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from flambeau.engines import shared
from flambeau.utils.data._utils import channel
from flambeau.utils.data._utils.iterate import _BaseDataLoaderIter
from flambeau.utils.data._utils.worker import END, ERROR, READY, RESUME, STREAM_END, Plan, work

if TYPE_CHECKING:
    from flambeau.utils.data.dataloader import DataLoader

__all__ = ["_MultiProcessingDataLoaderIter"]

#: How long workers may go on with the batch in hand once they are told to end; then they are terminated.
_PATIENCE = 5.0


class _Worker:
    """The loader's side of one worker: its process, the pipe to it, and the tasks that it has not been told yet."""

    def __init__(self, context: Any, number: int, plan: Plan) -> None:
        self.number = number
        self.active = True
        self.connection, theirs = context.Pipe(duplex=True)
        for end in (self.connection, theirs):
            channel.widen(end)
        self.process = context.Process(
            target=work, args=(theirs, number, plan), name=f"flambeau-data-{number}", daemon=True
        )
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing is waiting."""
        self.waiting: collections.deque[Any] = collections.deque()
        self.told = 0
        self.load = 0  # tasks whose batches the user has not seen

    def give(self, message: Any) -> None:
        """Tell it, now or as soon as it has answered some of what it was told before."""
        self.waiting.append(message)
        self._pass_on()

    def _pass_on(self) -> None:
        while self.waiting and self.told < channel.BOUND:
            try:
                channel.send(self.connection, self.waiting[0])
            except (BrokenPipeError, ConnectionResetError):
                return  # it has died: that is noticed when its answer is due
            self.waiting.popleft()
            self.told += 1

    def answer(self) -> tuple:
        """Its next answer: the task's number, a kind, and what it holds. Raises EOFError if it has died."""
        try:
            found = channel.receive(self.connection)
        except ConnectionResetError:
            raise EOFError from None
        self.told -= 1
        self._pass_on()
        return found

    def end(self) -> None:
        """Tell it to end, whatever it is doing."""
        try:
            if shared.AVAILABLE:  # copies of our end may be open in processes that were forked later
                with socket.fromfd(self.connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
                    end.shutdown(socket.SHUT_RDWR)
            else:
                channel.send(self.connection, END)
        except OSError:
            pass
        self.connection.close()


def _obituary(process: Any) -> str:
    """What there is to say about a worker that has died."""
    process.join(1)
    code = process.exitcode
    if code is not None and code < 0:
        try:
            name = signal.strsignal(-code) or f"signal {-code}"
        except ValueError:
            name = f"signal {-code}"
        return f"DataLoader worker (pid {process.pid}) is killed by signal: {name}."
    how = "" if code is None else f" with exit code {code}"
    return (
        f"DataLoader worker (pid {process.pid}) exited unexpectedly{how}. What it printed may tell more; "
        "with num_workers=0 the error would come with its traceback."
    )


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """Deals tasks out to workers in turn, as far ahead as PyTorch does, and yields their batches in that order.

    What is drawn from the sampler by the time a batch is yielded depends on nothing but that batch's number.
    """

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        if not loader.prefetch_factor or loader.prefetch_factor < 0:
            raise AssertionError("prefetch_factor should be positive: workers would never get anything to do")
        self._owner = os.getpid()
        self._persistent_workers = loader.persistent_workers
        self._in_order = loader.in_order
        self._ahead = loader.prefetch_factor * self._num_workers
        self._death: str | None = None
        self._shutdown = False
        self._crew: list[_Worker] = []
        self._start_workers(loader)
        self._begin()

    def _start_workers(self, loader: DataLoader) -> None:
        import pickle

        context = loader.multiprocessing_context
        if context is None:
            import multiprocessing

            context = multiprocessing.get_context()
        plan = Plan(
            self._dataset_kind, self._dataset, self._auto_collation, self._collate_fn, self._drop_last,
            self._base_seed, loader.worker_init_fn, self._num_workers,
        )  # fmt: skip
        try:
            for number in range(self._num_workers):
                self._crew.append(_Worker(context, number, plan))
        except BaseException as error:
            self._shutdown_workers()
            if isinstance(error, (TypeError, AttributeError, pickle.PicklingError)):
                warnings.warn(
                    "a worker process can't be started: with the start methods 'spawn' and 'forkserver' the dataset, "
                    "collate_fn and worker_init_fn must be picklable, that is made of functions and classes that are "
                    "defined at the top level of a module. multiprocessing_context='fork' does without.",
                    UserWarning,
                    stacklevel=5,
                )
            raise

    @property
    def _workers(self) -> list[Any]:
        """The worker processes."""
        return [worker.process for worker in self._crew]

    def _reset(self, loader: DataLoader) -> None:
        """Begin anew with the same workers, once they have answered what they were last asked."""
        if self._death is not None:
            raise RuntimeError(self._death)
        self._len_called = loader._IterableDataset_len_called
        for worker in self._crew:
            worker.waiting.clear()
            worker.give(RESUME)
        for worker in self._crew:
            while self._receive(worker)[1] != READY:
                pass
            worker.forget()
            worker.active = True
        self._begin()

    def _begin(self) -> None:
        self._sampler_iter = iter(self._index_sampler)
        self._num_yielded = 0
        self._turns = itertools.cycle(self._crew)
        self._numbers = itertools.count()
        self._tasks: dict[int, _Worker] = {}  # dealt out and not yielded, in order
        self._arrived: dict[int, tuple] = {}
        for _ in range(self._ahead):
            self._deal()

    def _deal(self) -> None:
        """Draw one more task and give it to the worker whose turn it is, if any still works."""
        try:
            index = next(self._sampler_iter)
        except StopIteration:
            return
        working = sum(worker.active for worker in self._crew)
        for worker in itertools.islice(self._turns, self._num_workers):
            if worker.active and (self._in_order or worker.load < self._ahead // working):
                number = next(self._numbers)
                self._tasks[number] = worker
                worker.load += 1
                worker.give((number, index))
                return

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, workers: list[_Worker]) -> list[_Worker]:
        """Those of the workers that have answered; raises RuntimeError if one of them has died, or time is up."""
        from multiprocessing.connection import wait

        if len(workers) == 1 and workers[0].connection.poll(0):
            return workers
        sentinels = {worker.process.sentinel: worker for worker in workers if worker.active}
        ready = wait([*(worker.connection for worker in workers), *sentinels], self._timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        answered = [worker for worker in workers if worker.connection in ready]
        if not answered:
            self._died(next(sentinels[r] for r in ready if r in sentinels))
        return answered

    def _died(self, worker: _Worker) -> NoReturn:
        self._death = _obituary(worker.process)
        self._shutdown_workers()
        raise RuntimeError(self._death)

    def _receive(self, worker: _Worker) -> tuple:
        try:
            self._wait([worker])
            return worker.answer()
        except EOFError:
            self._died(worker)

    def _due(self) -> tuple[int, tuple] | None:
        """The next answer in order, or with `in_order=False` the next to come; None when there is none left."""
        while self._tasks:
            number, worker = next(iter(self._tasks.items()))
            if number not in self._arrived and not worker.active:
                del self._tasks[number]  # its stream has ended before this task
                continue
            if self._in_order:
                asked = [worker]
            else:
                if self._arrived:
                    number = next(iter(self._arrived))
                asked = list({w.number: w for w in self._tasks.values() if w.active}.values())
            if number in self._arrived:
                return number, self._arrived.pop(number)
            for answering in self._wait(asked):
                try:
                    task, *answer = answering.answer()
                except EOFError:
                    self._died(answering)
                self._arrived[task] = tuple(answer)
        return None

    def _next_data(self) -> Any:
        if self._death is not None:
            raise RuntimeError(self._death)
        while (found := self._due()) is not None:
            number, (kind, held) = found
            worker = self._tasks.pop(number)
            worker.load -= 1
            if kind == STREAM_END:
                worker.active = False
                if not self._persistent_workers:
                    worker.end()
                self._deal()
                continue
            self._deal()
            if kind == ERROR:
                held.reraise()
            return held
        if not self._persistent_workers:
            self._shutdown_workers()
        raise StopIteration

    # --- the end -----------------------------------------------------------------------------------------------------

    def _shutdown_workers(self) -> None:
        """End all workers: they may finish what they are at, but not take long about it."""
        if self._shutdown or self._owner != os.getpid():
            return
        self._shutdown = True
        for worker in self._crew:
            if not worker.connection.closed:
                worker.end()
        deadline = time.monotonic() + _PATIENCE
        for how in (None, "terminate", "kill"):
            for worker in self._crew:
                if how is not None and worker.process.is_alive():
                    getattr(worker.process, how)()
            for worker in self._crew:
                worker.process.join(max(0.0, deadline - time.monotonic()) if how is None else 1)

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_crew", None):
            self._shutdown_workers()
