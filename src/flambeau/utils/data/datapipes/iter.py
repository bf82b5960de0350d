"""Steps over streams of samples."""

from __future__ import annotations

import collections
import copy
import fnmatch
import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.utils.data.dataloader import default_collate, get_worker_info
from flambeau.utils.data.datapipes.datapipe import DataChunk, IterDataPipe, Shuffling, _step
from flambeau.utils.data.sampler import SequentialSampler

__all__ = [
    "Batcher",
    "Collator",
    "Concater",
    "Demultiplexer",
    "FileLister",
    "FileOpener",
    "Filter",
    "Forker",
    "Grouper",
    "IterableWrapper",
    "Mapper",
    "Multiplexer",
    "Sampler",
    "ShardingFilter",
    "Shuffler",
    "StreamReader",
    "UnBatcher",
    "Zipper",
]


class IterableWrapper(IterDataPipe):
    """Any iterable as a stream; copied first for each iteration, if it can be."""

    def __init__(self, iterable: Iterable, deepcopy: bool = True) -> None:
        self.iterable = iterable
        self.deepcopy = deepcopy

    def __iter__(self) -> Any:
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(self.iterable)
            except TypeError:
                pass
        yield from source

    def __len__(self) -> int:
        return len(self.iterable)  # type: ignore[arg-type]


class _Of(IterDataPipe):
    """A step of as many samples as what it is over."""

    def __init__(self, datapipe: Any) -> None:
        self.datapipe = datapipe

    def __len__(self) -> int:
        return len(self.datapipe)


@_step(IterDataPipe, "map")
class Mapper(_Of):
    """`fn` of each sample, or of the part `input_col`, which then replaces it or goes to `output_col`."""

    def __init__(self, datapipe: Any, fn: Callable, input_col: Any = None, output_col: Any = None) -> None:
        super().__init__(datapipe)
        self.fn, self.input_col, self.output_col = fn, input_col, output_col
        if input_col is None and output_col is not None:
            raise ValueError("map: output_col needs an input_col")

    def _apply(self, data: Any) -> Any:
        if self.input_col is None:
            return self.fn(data)
        several = isinstance(self.input_col, (list, tuple))
        result = self.fn(*(data[c] for c in self.input_col)) if several else self.fn(data[self.input_col])
        to = self.output_col if self.output_col is not None else self.input_col
        to = to[0] if isinstance(to, (list, tuple)) else to
        changed = list(data) if isinstance(data, tuple) else copy.copy(data)
        if to == -1 and isinstance(changed, list) and self.output_col is not None:
            changed.append(result)
        else:
            changed[to] = result
        return tuple(changed) if isinstance(data, tuple) else changed

    def __iter__(self) -> Any:
        for data in self.datapipe:
            yield self._apply(data)


@_step(IterDataPipe, "collate")
class Collator(Mapper):
    """Each sample, a batch, made into tensors by `collate_fn`."""

    def __init__(self, datapipe: Any, conversion: Any = None, collate_fn: Callable | None = None) -> None:
        super().__init__(datapipe, collate_fn or conversion or default_collate)


@_step(IterDataPipe, "filter")
class Filter(IterDataPipe):
    """The samples (or the samples whose part `input_col`) for which `filter_fn` is true."""

    def __init__(self, datapipe: Any, filter_fn: Callable, input_col: Any = None) -> None:
        self.datapipe, self.filter_fn, self.input_col = datapipe, filter_fn, input_col

    def __iter__(self) -> Any:
        for data in self.datapipe:
            if self.filter_fn(data if self.input_col is None else data[self.input_col]):
                yield data


@_step(IterDataPipe, "batch")
class Batcher(_Of):
    """Lists of `batch_size` samples; the last one may be shorter, or is left out with `drop_last`."""

    def __init__(self, datapipe: Any, batch_size: int, drop_last: bool = False, wrapper_class: Any = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError(f"batch: batch_size must be above 0, got {batch_size}")
        super().__init__(datapipe)
        self.batch_size, self.drop_last, self.wrapper_class = batch_size, drop_last, wrapper_class

    def __iter__(self) -> Any:
        samples = iter(self.datapipe)
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.wrapper_class(batch)

    def __len__(self) -> int:
        n = len(self.datapipe)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


@_step(IterDataPipe, "unbatch")
class UnBatcher(IterDataPipe):
    """The samples of batches, of batches of batches with `unbatch_level` 2, or (-1) of any depth."""

    def __init__(self, datapipe: Any, unbatch_level: int = 1) -> None:
        if unbatch_level < -1:
            raise ValueError(f"unbatch: unbatch_level must be -1 or a count, got {unbatch_level}")
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self) -> Any:
        for element in self.datapipe:
            yield from self._samples(element, self.unbatch_level)

    def _samples(self, element: Any, level: int) -> Any:
        if level == 0 or (level < 0 and not isinstance(element, list)):
            yield element
        elif not isinstance(element, list):
            raise IndexError(f"unbatch: there is no batch to take apart at level {self.unbatch_level}")
        else:
            for part in element:
                yield from self._samples(part, level - 1 if level > 0 else level)


@_step(IterDataPipe, "groupby")
class Grouper(IterDataPipe):
    """Samples with one key together, of `group_size` if given; `buffer_size` of them are kept at most."""

    def __init__(
        self, datapipe: Any, group_key_fn: Callable, *, keep_key: bool = False, buffer_size: int = 10000,
        group_size: int | None = None, guaranteed_group_size: int | None = None, drop_remaining: bool = False,
    ) -> None:  # fmt: skip
        self.datapipe, self.group_key_fn, self.keep_key = datapipe, group_key_fn, keep_key
        self.max_buffer_size, self.group_size, self.drop_remaining = buffer_size, group_size, drop_remaining
        self.guaranteed_group_size = group_size if guaranteed_group_size is None else guaranteed_group_size

    def _out(self, key: Any, group: list) -> Any:
        return (key, DataChunk(group)) if self.keep_key else DataChunk(group)

    def __iter__(self) -> Any:
        groups: dict[Any, list] = collections.defaultdict(list)
        for x in self.datapipe:
            key = self.group_key_fn(x)
            groups[key].append(x)
            if self.group_size is not None and len(groups[key]) == self.group_size:
                yield self._out(key, groups.pop(key))
            elif sum(map(len, groups.values())) == self.max_buffer_size:
                largest = max(groups, key=lambda k: len(groups[k]))
                group = groups.pop(largest)
                if self.guaranteed_group_size is not None and len(group) < self.guaranteed_group_size:
                    if not self.drop_remaining:
                        raise RuntimeError(
                            f"groupby: the buffer is full, and no group has {self.guaranteed_group_size}"
                        )
                else:
                    yield self._out(largest, group)
        for key, group in groups.items():
            yield self._out(key, group)


@_step(IterDataPipe, "shuffle")
class Shuffler(Shuffling, _Of):
    """The samples in random order, as far as a buffer allows: each is drawn from `buffer_size` that wait."""

    def __init__(self, datapipe: Any, *, buffer_size: int = 10000, unbatch_level: int = 0) -> None:
        if buffer_size <= 0:
            raise ValueError(f"shuffle: buffer_size must be above 0, got {buffer_size}")
        super().__init__(datapipe if unbatch_level == 0 else datapipe.unbatch(unbatch_level=unbatch_level))
        self.buffer_size = buffer_size

    def __iter__(self) -> Any:
        if not self._enabled:
            yield from self.datapipe
            return
        draw = self._generator()
        buffer: list[Any] = []
        for x in self.datapipe:
            if len(buffer) == self.buffer_size:
                i = draw.randint(0, len(buffer) - 1)
                value, buffer[i] = buffer[i], x
                yield value
            else:
                buffer.append(x)
        while buffer:
            yield buffer.pop(draw.randint(0, len(buffer) - 1))


class Sampler(_Of):
    """The samples that a sampler over the pipe gives."""

    def __init__(
        self, datapipe: Any, sampler: Any = SequentialSampler, sampler_args: Any = None, sampler_kwargs: Any = None
    ) -> None:
        super().__init__(datapipe)
        self.sampler = sampler(*(sampler_args or ()), **{"data_source": datapipe, **(sampler_kwargs or {})})

    def __iter__(self) -> Any:
        return iter(self.sampler)


@_step(IterDataPipe, "concat")
class Concater(IterDataPipe):
    """Pipes one after the other."""

    def __init__(self, *datapipes: Any) -> None:
        if not datapipes:
            raise ValueError("concat: a pipe is needed at least")
        self.datapipes = datapipes

    def __iter__(self) -> Any:
        for pipe in self.datapipes:
            yield from pipe

    def __len__(self) -> int:
        return sum(map(len, self.datapipes))


@_step(IterDataPipe, "zip")
class Zipper(IterDataPipe):
    """Tuples of a sample of each pipe, until one ends."""

    def __init__(self, *datapipes: Any) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Any:
        yield from zip(*self.datapipes, strict=False)

    def __len__(self) -> int:
        return min(map(len, self.datapipes))


@_step(IterDataPipe, "mux")
class Multiplexer(IterDataPipe):
    """A sample of each pipe in turn, until one ends."""

    def __init__(self, *datapipes: Any) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Any:
        for row in zip(*self.datapipes, strict=False):
            yield from row

    def __len__(self) -> int:
        return min(map(len, self.datapipes)) * len(self.datapipes)


class _Branch(IterDataPipe):
    """One of several pipes that share a source; `wanted(sample)` is the number of the one that a sample belongs to."""

    def __init__(self, shared: _Shared, number: int) -> None:
        self.shared, self.number = shared, number

    def __iter__(self) -> Any:
        return self.shared.branch(self.number)

    def __len__(self) -> int:
        if self.shared.wanted is not None:
            raise TypeError("a branch of a demultiplexed pipe has no length before it has run")
        return len(self.shared.source)


class _Shared:
    def __init__(self, source: Any, count: int, wanted: Callable | None, drop_none: bool, limit: int) -> None:
        self.source, self.count, self.wanted, self.drop_none, self.limit = source, count, wanted, drop_none, limit
        self.stream: Any = None
        self.started: set[int] = set()
        self.queues: list[collections.deque] = []

    def branch(self, number: int) -> Any:
        if self.stream is None or number in self.started:
            self.stream, self.started = iter(self.source), set()
            self.queues = [collections.deque() for _ in range(self.count)]
        self.started.add(number)
        return self._run(number, self.stream, self.queues)

    def _run(self, number: int, stream: Any, queues: list[collections.deque]) -> Any:
        while True:
            if queues[number]:
                yield queues[number].popleft()
                continue
            for sample in stream:
                self._deal(sample, queues)
                break
            else:
                return

    def _deal(self, sample: Any, queues: list[collections.deque]) -> None:
        if self.wanted is None:
            for queue in queues:
                queue.append(sample)
        else:
            where = self.wanted(sample)
            if where is None and self.drop_none:
                return
            if not isinstance(where, int) or not 0 <= where < self.count:
                raise ValueError(f"demux: the classifier must give a number below {self.count}, got {where}")
            queues[where].append(sample)
        if 0 <= self.limit < max(map(len, queues)):
            raise BufferError(f"more than buffer_size={self.limit} samples wait for another branch of the pipe")


@_step(IterDataPipe, "fork")
def Forker(datapipe: Any, num_instances: int, buffer_size: int = 1000, copy: str | None = None) -> list[IterDataPipe]:
    """Several pipes of all samples. BufferError where one is `buffer_size` samples ahead of another (-1: no limit)."""
    if num_instances < 1:
        raise ValueError(f"fork: num_instances must be above 0, got {num_instances}")
    shared = _Shared(datapipe, num_instances, None, False, buffer_size)
    return [datapipe] if num_instances == 1 else [_Branch(shared, i) for i in range(num_instances)]


@_step(IterDataPipe, "demux")
def Demultiplexer(
    datapipe: Any, num_instances: int, classifier_fn: Callable, drop_none: bool = False, buffer_size: int = 1000
) -> list[IterDataPipe]:
    """Several pipes; `classifier_fn` gives the number of the one that a sample goes to."""
    if num_instances < 1:
        raise ValueError(f"demux: num_instances must be above 0, got {num_instances}")
    shared = _Shared(datapipe, num_instances, classifier_fn, drop_none, buffer_size)
    return [_Branch(shared, i) for i in range(num_instances)]


@_step(IterDataPipe, "sharding_filter")
class ShardingFilter(_Of):
    """Of the samples every worker's own, in turn."""

    def __init__(self, source_datapipe: Any, sharding_group_filter: Any = None) -> None:
        super().__init__(source_datapipe)

    def __iter__(self) -> Any:
        worker = get_worker_info()
        count, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        yield from itertools.islice(self.datapipe, number, None, count)


@_step(IterDataPipe, "list_files")
class FileLister(IterDataPipe):
    """The files in folders whose names fit `masks` (as a shell has them), with what lies deeper if `recursive`."""

    def __init__(
        self, root: Any = ".", masks: Any = "", *, recursive: bool = False, abspath: bool = False,
        non_deterministic: bool = False, length: int = -1,
    ) -> None:  # fmt: skip
        self.datapipe = IterableWrapper([root] if isinstance(root, (str, os.PathLike)) else root)
        self.masks = [masks] if isinstance(masks, str) else list(masks)
        self.recursive, self.abspath = recursive, abspath

    def __iter__(self) -> Any:
        for root in self.datapipe:
            start = os.path.abspath(root) if self.abspath else os.fspath(root)
            for folder, folders, files in os.walk(start):
                folders.sort()
                for name in sorted(files):
                    if not any(self.masks) or any(fnmatch.fnmatch(name, m) for m in self.masks):
                        yield os.path.join(folder, name)
                if not self.recursive:
                    break


@_step(IterDataPipe, "open_files")
class FileOpener(_Of):
    """(path, open file) of each path."""

    def __init__(self, datapipe: Any, mode: str = "r", encoding: str | None = None, length: int = -1) -> None:
        super().__init__(datapipe)
        self.mode, self.encoding = mode, encoding

    def __iter__(self) -> Any:
        for path in self.datapipe:
            yield path, open(path, self.mode, encoding=self.encoding)  # noqa: SIM115  (whoever reads closes)


@_step(IterDataPipe, "read_from_stream")
class StreamReader(IterDataPipe):
    """(path, what an open file holds), in pieces of `chunk` if given."""

    def __init__(self, datapipe: Any, chunk: int | None = None) -> None:
        self.datapipe, self.chunk = datapipe, chunk

    def __iter__(self) -> Any:
        for path, stream in self.datapipe:
            with stream:
                while piece := stream.read(self.chunk):
                    yield path, piece
