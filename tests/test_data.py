"""Data loading: PyTorch's recorded orders, batches, workers, and what is refused."""

import collections

import numpy as np
import pytest

import flambeau as torch
from flambeau import random
from flambeau.utils import data
from flambeau.utils.data import DataLoader

# orders below are what PyTorch 2.13 gave


def values(batches):
    return [b.tolist() for b in batches]


def test_shuffling_is_pytorchs():
    random.manual_seed(0)
    loader = DataLoader(range(10), batch_size=4, shuffle=True)
    assert values(loader) == [[6, 7, 1, 4], [2, 0, 9, 8], [3, 5]]
    assert data.sampler.draw_seed() != data.sampler.draw_seed()


def test_random_split_is_pytorchs():
    random.manual_seed(1)
    parts = data.random_split(range(9), [0.5, 0.5])
    assert [p.indices for p in parts] == [[4, 0, 6, 5, 7], [2, 8, 3, 1]]


def test_samplers_are_pytorchs():
    random.manual_seed(2)
    assert list(data.RandomSampler(range(5), replacement=True, num_samples=8)) == [3, 4, 4, 4, 4, 4, 4, 4]
    random.manual_seed(3)
    weights = [0.1, 0.9, 0.4, 3.0]
    assert list(data.WeightedRandomSampler(weights, 6)) == [1, 2, 3, 1, 3, 3]
    assert list(data.WeightedRandomSampler(weights, 3, replacement=False)) == [3, 1, 2]
    assert list(data.DistributedSampler(range(7), 2, 0, seed=4)) == [3, 0, 2, 6]


class Noise:
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return i, torch.randint(100, ()).item()


def test_workers_draw_pytorchs_numbers():
    random.manual_seed(5)
    loader = DataLoader(Noise(), batch_size=2, num_workers=2)
    assert [values(b) for b in loader] == [[[0, 1], [57, 64]], [[2, 3], [38, 35]]]
    assert data.get_worker_info() is None


def test_a_workers_failure_is_raised_where_its_batch_is_due():
    class Broken:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return 1 // (i - 2)

    batches = iter(DataLoader(Broken(), batch_size=1, num_workers=2))
    next(batches), next(batches)
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert next(batches).tolist() == [1]
    assert data.get_worker_info() is None


def test_gathering_a_tensor_dataset_equals_collating_its_samples():
    source = data.TensorDataset(torch.arange(12).reshape(6, 2), torch.arange(6.0))
    plain = DataLoader(source, batch_size=4, collate_fn=lambda batch: data.default_collate(batch))
    for quick in (DataLoader(source, batch_size=4), DataLoader(data.Subset(source, range(6)), batch_size=4)):
        for a, b in zip(quick, plain, strict=True):
            assert type(a) is list and values(a) == values(b)
            assert [t.dtype for t in a] == [t.dtype for t in b]


def test_gathering_leaves_subclasses_alone():
    class Doubled(data.TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * t for t in super().__getitem__(index))

    assert values(next(iter(DataLoader(Doubled(torch.arange(3)), batch_size=3)))) == [[0, 2, 4]]


def test_an_index_out_of_range_is_an_index_error():
    with pytest.raises(IndexError):
        list(DataLoader(data.TensorDataset(torch.arange(3)), sampler=[3]))


def test_batches_are_copies():
    source = torch.zeros(2, 2)
    for (batch,) in DataLoader(data.TensorDataset(source), batch_size=2):
        batch += 1
    assert source.tolist() == [[0, 0], [0, 0]]


def test_collate_keeps_containers():
    Point = collections.namedtuple("Point", "x y")
    batch = data.default_collate(
        [{"p": Point(1, "a"), "v": [np.float32(1.5)]}, {"p": Point(2, "b"), "v": [np.float32(2.5)]}]
    )
    assert batch["p"].x.tolist() == [1, 2] and batch["p"].y == ("a", "b")
    assert batch["v"][0].tolist() == [1.5, 2.5] and batch["v"][0].dtype is torch.float32


def test_default_collate_can_be_taught_a_type(monkeypatch):
    class Box:
        pass

    from flambeau.utils.data._utils.collate import default_collate_fn_map

    monkeypatch.setitem(default_collate_fn_map, Box, lambda batch, *, collate_fn_map: len(batch))
    assert data.default_collate([Box(), Box()]) == 2


def test_a_loaders_sampling_is_fixed():
    loader = DataLoader(range(3))
    for name in ("batch_size", "sampler", "batch_sampler", "drop_last", "dataset", "persistent_workers"):
        before = getattr(loader, name)
        with pytest.raises(ValueError, match=name):
            setattr(loader, name, 1)
        assert getattr(loader, name) is before
    loader.num_workers = 1


def test_loader_and_dataset_can_be_subscripted_as_types():
    assert data.Dataset[int] and data.DataLoader[int] and data.Sampler[int]


def test_a_subset_that_changes_getitem_must_change_getitems():
    class Odd(data.Subset):
        def __getitem__(self, i):
            return i

    with pytest.raises(NotImplementedError, match="__getitems__"):
        Odd(range(3), [1])


def test_draws_with_replacement_may_be_endless():
    sampler = data.RandomSampler(range(5), replacement=True, num_samples=10**12)
    torch.manual_seed(0)
    first = [i for i, _ in zip(iter(sampler), range(70))]
    torch.manual_seed(0)
    assert first[:64] == [i for i, _ in zip(iter(data.RandomSampler(range(5), True, 64)), range(70))]
