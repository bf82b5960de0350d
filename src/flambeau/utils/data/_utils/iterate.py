"""One pass over the batches of a `DataLoader`, made in this process."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from flambeau.utils.data._utils.fetch import DatasetKind
from flambeau.utils.data.sampler import draw_seed

if TYPE_CHECKING:
    from flambeau.utils.data.dataloader import DataLoader

__all__ = ["_BaseDataLoaderIter", "_SingleProcessDataLoaderIter"]


class _BaseDataLoaderIter:
    """One pass over the batches of a loader."""

    _finished = False
    _start: Any = None  # where the random streams stood when it began: see `resume`

    def __init__(self, loader: DataLoader) -> None:
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._len_called = loader._IterableDataset_len_called
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        if loader.pin_memory:
            warnings.warn(
                "pin_memory=True has no effect: there is no accelerator to pin memory for", UserWarning, stacklevel=4
            )
        self._timeout = loader.timeout
        self._collate_fn = loader.collate_fn
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = draw_seed(loader.generator)
        self._num_yielded = 0

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __next__(self) -> Any:
        try:
            data = self._next_data()
        except StopIteration:
            self._finished = True
            raise
        self._num_yielded += 1
        if self._len_called is not None and self._num_yielded > self._len_called:
            warnings.warn(
                f"the IterableDataset {self._dataset} said that its length is {self._len_called}, but "
                f"{self._num_yielded} samples have come"
                + ("; do its workers share the samples out by get_worker_info()?" if self._num_workers else ""),
                UserWarning,
                stacklevel=2,
            )
        return data

    def _next_data(self) -> Any:
        raise StopIteration

    def __getstate__(self) -> Any:
        raise NotImplementedError(
            f"a {type(self).__name__} can't be pickled; pickle the DataLoader, and call iter() on it"
        )


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """Fetches a batch when it is asked for."""

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        if self._timeout != 0:
            raise AssertionError(f"timeout={self._timeout} needs workers: pass num_workers > 0, or leave it out")
        self._dataset_fetcher = DatasetKind.create_fetcher(
            self._dataset_kind, self._dataset, self._auto_collation, self._collate_fn, self._drop_last
        )

    def _next_data(self) -> Any:
        return self._dataset_fetcher.fetch(next(self._sampler_iter))
