"""A sampler for several processes that share one dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

from flambeau import distributed
from flambeau.ops.random_ops import randperm
from flambeau.random import Generator
from flambeau.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """The part of a dataset's indices that one process reads: every `num_replicas`-th of a common order, from `rank`.

    All parts are equally long: the order is padded with indices from its beginning, or cut with `drop_last`. The
    shuffle depends on `seed` and on the epoch that `set_epoch` was last told.

    Raises:
        ValueError: if `rank` is not below `num_replicas`, or one of them is None and no process group is joined.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
        rank = distributed.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(f"rank should be from 0 to {num_replicas - 1}, got {rank}")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.seed = seed
        n = len(dataset)
        if drop_last and n % num_replicas:
            self.num_samples = math.ceil((n - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = list(range(n))
        if self.shuffle:
            order = cast(list[int], randperm(n, generator=Generator().manual_seed(self.seed + self.epoch)).tolist())
        if not self.drop_last and n:
            order = (order * math.ceil(self.total_size / n))[: self.total_size]
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch begins, so that each is shuffled differently and alike in all processes."""
        self.epoch = epoch
