"""Workers, played by this process: each has its copy of the dataset and its own streams of random numbers."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from flambeau.random import default_generator

__all__ = ["Worker", "WorkerInfo", "get_worker_info"]


class WorkerInfo(NamedTuple):
    """What a worker knows of itself: `id`, `num_workers`, its `seed`, and its copy of the `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


_current: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """What there is to know of the `DataLoader` worker that this is called in; None outside of one."""
    return _current


class Worker:
    """Worker `number` of `count`; its dataset draws the random numbers that it draws in PyTorch's process `number`."""

    def __init__(
        self,
        number: int,
        count: int,
        base_seed: int,
        dataset: Any,
        init: Callable | None,
        make_fetcher: Callable[[Any], Any],
    ) -> None:
        try:
            own = copy.copy(dataset)  # what `worker_init_fn` changes of it, it changes for this worker only
        except Exception:
            own = dataset
        self.info = WorkerInfo(number, count, base_seed + number, own)
        self._make_fetcher = make_fetcher
        self._states: tuple | None = None
        self._base_seed = base_seed
        self._failure: Exception | None = None
        self.active = True
        with self._inside():
            try:
                if init is not None:
                    init(number)
                self.restart()
            except Exception as error:
                self._failure = error  # raised when its first batch is due

    def restart(self) -> None:
        """Begin the dataset anew, for the next epoch of a worker that stays."""
        self._fetcher = self._make_fetcher(self.info.dataset)
        self.active = True

    def fetch(self, index: Any) -> Any:
        """The batch at `index`; StopIteration when a stream has ended."""
        if self._failure is not None:
            raise self._failure
        with self._inside():
            return self._fetcher.fetch(index)

    def resume(self) -> None:
        """`restart` among this worker's random numbers."""
        with self._inside():
            self.restart()

    def _seed(self) -> None:
        default_generator.manual_seed(self.info.seed)
        random.seed(self.info.seed)
        words = [self.info.id, self._base_seed & 0xFFFFFFFF, self._base_seed >> 32, 0]
        np.random.seed(np.random.SeedSequence(words).generate_state(4))

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """Be this worker: its random states in place of the program's, which come back untouched."""
        global _current
        outer, outer_info = _random_states(), _current
        if self._states is None:
            self._seed()
        else:
            _set_random_states(self._states)
        _current = self.info
        try:
            yield
        finally:
            self._states = _random_states()
            _set_random_states(outer)
            _current = outer_info


def _random_states() -> tuple:
    return default_generator.get_state(), random.getstate(), np.random.get_state()


def _set_random_states(states: tuple) -> None:
    default_generator.set_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
