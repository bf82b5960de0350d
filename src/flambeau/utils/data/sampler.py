"""Samplers: in which order a `DataLoader` reads a dataset. The orders are PyTorch's, from the same seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from flambeau import dtypes
from flambeau.ops.fillers import random_
from flambeau.ops.random_ops import multinomial, randint, randperm
from flambeau.random import Generator
from flambeau.tensor.creation import as_tensor, empty
from flambeau.tensor.tensor import Tensor

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "draw_seed",
]

T_co = TypeVar("T_co", covariant=True)


def draw_seed(generator: Any = None) -> int:
    """A seed of 63 bits from a generator, by default the global one; takes as much of its stream as PyTorch does."""
    return int(random_(empty((), dtype=dtypes.int64), generator=generator).item())


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer, got {name}={value!r}")
    return value


class Sampler(Generic[T_co]):
    """Base of the samplers. A subclass has `__iter__`, yielding indices or lists of them, and may have `__len__`."""

    def __init__(self, data_source: Any = None) -> None:
        """Older programs pass their dataset on; it is not kept."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__ to be a Sampler")


class SequentialSampler(Sampler[int]):
    """The indices of `data_source` in order."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """The indices of `data_source` shuffled, or drawn with replacement.

    Args:
        data_source: anything with a length.
        replacement: draw each index independently.
        num_samples: how many to draw; the length of `data_source` if None. Without replacement, and more than that
            length, several shuffles follow each other.
        generator: draws come from it; if None from a new one, whose seed is drawn from the global generator when an
            iteration begins.

    Raises:
        TypeError: if `replacement` is no bool.
        ValueError: if there is nothing to draw.
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement must be True or False, got {replacement!r}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples must be an int above 0, got {self.num_samples!r}; is the dataset empty?")

    @property
    def num_samples(self) -> int:
        """How many indices one iteration yields."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = Generator().manual_seed(draw_seed())
        if self.replacement:
            left = self.num_samples  # may be endless, as 10**10 is: drawn in blocks, none of them kept
            while left >= 0:
                count = min(left, 32)
                yield from cast(list, randint(0, n, (count,), dtype=dtypes.int64, generator=generator).tolist())
                left -= 32
            return
        for _ in range(self.num_samples // n):
            yield from cast(list, randperm(n, generator=generator).tolist())
        # one more shuffle is drawn even when nothing is taken of it: PyTorch's generator is then as far
        yield from cast(list, randperm(n, generator=generator).tolist())[: self.num_samples % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices, shuffled."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in cast(list, randperm(len(self.indices), generator=self.generator).tolist()):
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices from 0 to `len(weights) - 1`, each drawn with a probability in proportion to its weight.

    ValueError if the weights are not one-dimensional, `num_samples` is no positive integer or `replacement` no bool.
    """

    weights: Tensor

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Any = None) -> None:
        self.num_samples = _positive("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement must be True or False, got {replacement!r}")
        found = as_tensor(weights, dtype=dtypes.float64)
        if found.dim() != 1:
            raise ValueError(f"weights should be a sequence of numbers, got shape {tuple(found.shape)}")
        self.weights = found
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        yield from cast(list, drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """What another sampler yields, in lists of `batch_size`; the last may be shorter, unless `drop_last` leaves it out.

    ValueError if `batch_size` is no positive integer or `drop_last` no bool.

    >>> import flambeau as torch
    >>> list(torch.utils.data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.batch_size = _positive("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last must be True or False, got {drop_last!r}")
        self.sampler = sampler
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        n = len(cast(Any, self.sampler))
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
