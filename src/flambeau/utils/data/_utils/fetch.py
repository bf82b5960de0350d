"""How indices become a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.ops.dispatch import wrap
from flambeau.tensor.tensor import Tensor
from flambeau.utils.data._utils.collate import collate_tensor_fn, default_collate, default_collate_fn_map
from flambeau.utils.data.dataset import Subset, TensorDataset

__all__ = ["DatasetKind", "IterableDatasetFetcher", "MapDatasetFetcher"]


class DatasetKind:
    """The two kinds of datasets: with indices, and streams."""

    Map = 0
    Iterable = 1

    @staticmethod
    def create_fetcher(kind: int, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> Any:
        """What fetches from a dataset of that kind."""
        fetcher = MapDatasetFetcher if kind == DatasetKind.Map else IterableDatasetFetcher
        return fetcher(dataset, auto_collation, collate_fn, drop_last)


class MapDatasetFetcher:
    """Fetches from a dataset with indices."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> None:
        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn

    def fetch(self, index: Any) -> Any:
        """The batch, or without batching the sample, at `index`."""
        dataset = self.dataset
        if not self.auto_collation:
            return self.collate_fn(dataset[index])
        if self.collate_fn is default_collate:
            batch = _gather(dataset, index)
            if batch is not None:
                return batch
        if getattr(dataset, "__getitems__", None):
            return self.collate_fn(dataset.__getitems__(index))
        return self.collate_fn([dataset[i] for i in index])


def _gather(dataset: Any, indices: Any) -> list[Tensor] | None:
    """The batch from a `TensorDataset` or subsets of one in one step per tensor: what collating its samples would give.

    None where that could differ: subclasses, recorded tensors, a changed way to collate, indices that are no ints.
    """
    if default_collate_fn_map.get(Tensor) is not collate_tensor_fn or not indices:
        return None
    while type(dataset) is Subset:
        try:
            indices = [dataset.indices[i] for i in indices]
        except (TypeError, IndexError):
            return None
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not dataset.tensors:
        return None
    if not all(type(i) is int for i in indices):
        return None
    for t in dataset.tensors:
        if type(t) is not Tensor or t.requires_grad:
            return None
        if not -len(t._a) <= min(indices) <= max(indices) < len(t._a):
            return None  # the usual way raises the usual error
    chosen = np.array(indices)
    return [wrap(t._a.take(chosen, axis=0)) for t in dataset.tensors]


class IterableDatasetFetcher:
    """Fetches from a dataset that is a stream; indices only tell how many samples are wanted."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> None:
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self._samples = iter(dataset)
        self._ended = False

    def fetch(self, index: Any) -> Any:
        """The next batch, or without batching the next sample; StopIteration at the end."""
        if self._ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self._samples))
        data = []
        for _ in index:
            try:
                data.append(next(self._samples))
            except StopIteration:
                self._ended = True
                break
        if not data or (self.drop_last and len(data) < len(index)):
            raise StopIteration
        return self.collate_fn(data)
