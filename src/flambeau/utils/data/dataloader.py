"""`DataLoader`: batches from a dataset."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar, cast

from flambeau.utils.data._utils.collate import default_collate, default_convert
from flambeau.utils.data._utils.fetch import DatasetKind as _DatasetKind
from flambeau.utils.data._utils.iterate import _BaseDataLoaderIter, _SingleProcessDataLoaderIter
from flambeau.utils.data._utils.worker import WorkerInfo, get_worker_info
from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.resume import begin
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "WorkerInfo", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)


class _InfiniteConstantSampler(Sampler):
    """Asks a stream for one more sample, without end."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class DataLoader(Generic[T_co]):
    """Iterates over batches of a dataset, anew each time `iter` is called.

    The order of shuffling, how much of the random generator an epoch consumes, and what workers draw are PyTorch's.

    With `num_workers` above 0, that many processes fetch and collate batches ahead of time, each with its copy of the
    dataset, its `get_worker_info()` and its own random numbers, and send them through shared memory. They end with the
    iteration that they work for. An error in a worker is raised where its batch is due, with the worker's traceback;
    a worker that dies is a RuntimeError.

    Args:
        dataset: a `Dataset`, anything else with `__getitem__` and `__len__`, or an `IterableDataset`.
        batch_size: samples per batch; None yields single samples, through `default_convert`.
        shuffle: read in a new random order each time.
        sampler: yields the indices to read; instead of `shuffle`.
        batch_sampler: yields lists of indices; instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: how many processes make batches; with 0 they are made here, when they are asked for.
        collate_fn: makes a batch of a list of samples; `default_collate` by default.
        pin_memory: accepted; there is no device memory to copy to.
        drop_last: leave out a last batch that would be smaller.
        timeout: seconds to wait for a batch of a worker before that is a RuntimeError; 0 waits for ever.
        worker_init_fn: called with a worker's number in its process, after its generators are seeded.
        multiprocessing_context: a context of `multiprocessing`, or a start method: 'fork', 'spawn' or 'forkserver'.
        generator: where the order of shuffling and the workers' seeds are drawn from; by default the global one.
        prefetch_factor: how many batches each worker makes ahead of time (2 if None).
        persistent_workers: keep the workers, and what they did to their datasets, for the next iteration.
        pin_memory_device: accepted.
        in_order: False yields batches as they are ready, whichever worker they come from.

    Raises:
        ValueError: for options that contradict each other or are out of range.
        TypeError: for a `multiprocessing_context` that is none.

    >>> import flambeau as torch
    >>> data = torch.utils.data.TensorDataset(torch.arange(5))
    >>> for (batch,) in torch.utils.data.DataLoader(data, batch_size=2):
    ...     print(batch)
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])
    """

    _initialized = False
    _fixed: ClassVar[frozenset[str]] = frozenset(
        ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
    )
    sampler: Any

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        streams = isinstance(dataset, IterableDataset)
        self._dataset_kind = _DatasetKind.Iterable if streams else _DatasetKind.Map
        if streams and hasattr(dataset, "_before_epoch"):  # a data pipe, which shuffles by itself
            dataset = self.dataset = cast(Any, dataset)._shuffled(shuffle)
            shuffle = None
        if streams:
            _check_stream(shuffle, sampler, batch_sampler)
        _check_sampling(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        if sampler is None:
            if streams:
                sampler = _InfiniteConstantSampler()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self.persistent_workers = persistent_workers
        self._initialized = True
        self._IterableDataset_len_called: int | None = None
        self._iterator: Any = None
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self) -> Any:
        """How worker processes would be started."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            if not self.num_workers:
                raise ValueError("multiprocessing_context needs workers: pass num_workers > 0, or leave it out")
            import multiprocessing
            import multiprocessing.context

            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError(f"multiprocessing_context should be one of {methods}, got {context!r}")
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(f"multiprocessing_context should be a context or its name, got {context!r}")
        self._multiprocessing_context = context

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in self._fixed:
            raise ValueError(f"{name} of a {type(self).__name__} can't be changed once it is made; make a new one")
        super().__setattr__(name, value)

    def __iter__(self) -> _BaseDataLoaderIter:
        return begin(self)

    def _begin_pass(self) -> _BaseDataLoaderIter:
        if self._dataset_kind == _DatasetKind.Iterable and hasattr(self.dataset, "_before_epoch"):
            self.dataset._before_epoch(self.generator)
        if not (self.persistent_workers and self.num_workers):
            return self._get_iterator()
        if self._iterator is None:
            self._iterator = self._get_iterator()
        else:
            self._iterator._finished = False
            self._iterator._reset(self)
        return self._iterator

    def _get_iterator(self) -> _BaseDataLoaderIter:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self.check_worker_number_rationality()
        return _processes()._MultiProcessingDataLoaderIter(self)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __len__(self) -> int:
        if self._dataset_kind == _DatasetKind.Map:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(cast(Any, self.dataset))
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def check_worker_number_rationality(self) -> None:
        """Warn if there are more workers than processors."""
        affinity = getattr(os, "sched_getaffinity", None)
        processors = len(affinity(0)) if affinity else os.cpu_count()
        if self.num_workers and (processors is None or self.num_workers > processors):
            warnings.warn(
                f"this DataLoader has {self.num_workers} workers, but this process may use {processors} processors; "
                "use fewer workers",
                UserWarning,
                stacklevel=3,
            )


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool) -> None:
    if num_workers < 0:
        raise ValueError(f"num_workers should not be negative, got {num_workers}; 0 means no workers")
    if timeout < 0:
        raise ValueError(f"timeout should not be negative, got {timeout}")
    if prefetch_factor is not None:
        if num_workers == 0:
            raise ValueError("prefetch_factor needs workers: pass num_workers > 0, or leave it out")
        if prefetch_factor < 0:
            raise ValueError(f"prefetch_factor should not be negative, got {prefetch_factor}")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers needs workers: pass num_workers > 0, or leave it out")


def _check_stream(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    if shuffle not in (False, None):
        raise ValueError(f"an IterableDataset sets its own order: leave shuffle out (got shuffle={shuffle!r})")
    for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(f"an IterableDataset sets its own order: leave {name} out (got {value!r})")


def _check_sampling(batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool) -> None:
    if sampler is not None and shuffle:
        raise ValueError("pass sampler or shuffle, not both: a sampler sets the order")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError("a batch_sampler sets the batches: leave batch_size, shuffle, sampler and drop_last out")
    elif batch_size is None and drop_last:
        raise ValueError("batch_size=None yields single samples: there is no last batch to drop, leave drop_last out")


def _processes() -> Any:
    """The module of worker processes; it needs `multiprocessing`, which is slow to import."""
    from flambeau.utils.data._utils import processes

    return processes


def __getattr__(name: str) -> Any:
    if name == "_MultiProcessingDataLoaderIter":
        return _processes()._MultiProcessingDataLoaderIter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
