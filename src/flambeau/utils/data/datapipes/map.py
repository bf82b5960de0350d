"""Steps over samples by index."""

from __future__ import annotations

import bisect
import copy
import itertools
from collections.abc import Callable
from typing import Any

from flambeau.utils.data.datapipes.datapipe import DataChunk, IterDataPipe, MapDataPipe, Shuffling, _step

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "UnZipper", "Zipper"]


class SequenceWrapper(MapDataPipe):
    """Any sequence, or mapping, as a pipe; copied first if it can be."""

    def __init__(self, sequence: Any, deepcopy: bool = True) -> None:
        self.sequence = copy.deepcopy(sequence) if deepcopy else sequence

    def __getitem__(self, index: Any) -> Any:
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)


@_step(MapDataPipe, "map")
class Mapper(MapDataPipe):
    """`fn` of each sample."""

    def __init__(self, datapipe: Any, fn: Callable) -> None:
        self.datapipe, self.fn = datapipe, fn

    def __getitem__(self, index: Any) -> Any:
        return self.fn(self.datapipe[index])

    def __len__(self) -> int:
        return len(self.datapipe)


@_step(MapDataPipe, "batch")
class Batcher(MapDataPipe):
    """Lists of `batch_size` samples; the last one may be shorter, or is left out with `drop_last`."""

    def __init__(self, datapipe: Any, batch_size: int, drop_last: bool = False, wrapper_class: Any = DataChunk) -> None:
        self.datapipe, self.batch_size, self.drop_last, self.wrapper_class = (
            datapipe,
            batch_size,
            drop_last,
            wrapper_class,
        )

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} is out of range: there are {len(self)}")
        start = index * self.batch_size
        stop = min(start + self.batch_size, len(self.datapipe))
        return self.wrapper_class([self.datapipe[i] for i in range(start, stop)])

    def __len__(self) -> int:
        n = len(self.datapipe)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


@_step(MapDataPipe, "concat")
class Concater(MapDataPipe):
    """Pipes one after the other."""

    def __init__(self, *datapipes: Any) -> None:
        self.datapipes = datapipes

    def __getitem__(self, index: int) -> Any:
        ends = list(itertools.accumulate(map(len, self.datapipes)))
        which = bisect.bisect_right(ends, index)
        if which == len(ends):
            raise IndexError(f"sample {index} is out of range: there are {len(self)}")
        return self.datapipes[which][index - (ends[which - 1] if which else 0)]

    def __len__(self) -> int:
        return sum(map(len, self.datapipes))


@_step(MapDataPipe, "zip")
class Zipper(MapDataPipe):
    """Tuples of the samples of several pipes."""

    def __init__(self, *datapipes: Any) -> None:
        self.datapipes = datapipes

    def __getitem__(self, index: Any) -> tuple:
        return tuple(pipe[index] for pipe in self.datapipes)

    def __len__(self) -> int:
        return min(map(len, self.datapipes))


@_step(MapDataPipe, "shuffle")
class Shuffler(Shuffling, IterDataPipe):
    """The samples in random order, as a stream."""

    def __init__(self, datapipe: Any, *, indices: Any = None) -> None:
        self.datapipe = datapipe
        self.indices = list(range(len(datapipe))) if indices is None else list(indices)

    def __iter__(self) -> Any:
        order = self.indices
        if self._enabled:
            order = self._generator().sample(self.indices, len(self.indices))
        return (self.datapipe[i] for i in order)

    def __len__(self) -> int:
        return len(self.datapipe)


@_step(MapDataPipe, "unzip")
def UnZipper(
    datapipe: Any, sequence_length: int, buffer_size: int = 1000, columns_to_skip: Any = None
) -> list[MapDataPipe]:
    """A pipe for each place of the tuples that a pipe gives."""
    skipped = set(columns_to_skip or ())
    return [Mapper(datapipe, _Column(i)) for i in range(sequence_length) if i not in skipped]


class _Column:
    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, sample: Any) -> Any:
        return sample[self.index]
