"""Data loading against the live oracle: the same batches in the same order, and the generators left alike."""

import collections
import random
import warnings

import numpy as np
import pytest

import flambeau
import flambeau.utils.data

torch = pytest.importorskip("torch")
import torch.utils.data  # noqa: E402, F811

BOTH = (torch, flambeau)
Point = collections.namedtuple("Point", "x y")


def plain(value):
    """A batch without tensors: dtype, shape and values in their place."""
    if hasattr(value, "tolist") and hasattr(value, "requires_grad"):
        return ("tensor", str(value.dtype), tuple(value.shape), value.tolist())
    if isinstance(value, np.ndarray):
        return ("array", str(value.dtype), value.tolist())
    if isinstance(value, dict):
        return (type(value).__name__, {k: plain(v) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [plain(v) for v in value])
    return value


def drawn(T, seed, use):
    """What `use(T)` gives from a seed, and the next numbers of all three generators after it."""
    T.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    result = plain(use(T))
    return result, T.empty((), dtype=T.int64).random_().item(), random.random(), np.random.rand()


def same(use, seed=0):
    assert drawn(flambeau, seed, use) == drawn(torch, seed, use)


class Squares:
    """A map-style dataset without a base class, whose samples are drawn at random besides."""

    def __init__(self, T, n):
        self.T, self.n = T, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        noise = self.T.rand(2)
        return {"x": self.T.tensor(float(i)), "n": i, "noise": noise, "py": random.random(), "np": np.random.rand(2)}


def make_stream(T, n, size_of=None):
    class Stream(T.utils.data.IterableDataset):
        def __init__(self):
            self.start, self.end = 0, n

        def __iter__(self):
            info = T.utils.data.get_worker_info()
            part = range(self.start, self.end)
            return iter(part if info is None else part[info.id :: info.num_workers])

    if size_of is not None:
        Stream.__len__ = lambda self: size_of
    return Stream()


@pytest.mark.parametrize("n", [1, 7, 32, 100])
@pytest.mark.parametrize("options", [
    {}, {"batch_size": 4}, {"batch_size": 4, "shuffle": True}, {"batch_size": 3, "shuffle": True, "drop_last": True},
    {"batch_size": None}, {"batch_size": None, "shuffle": True},
])  # fmt: skip
def test_epochs_of_tensors(n, options):
    def use(T):
        data = T.utils.data.TensorDataset(T.arange(n), T.arange(2.0 * n).reshape(n, 2))
        loader = T.utils.data.DataLoader(data, **options)
        return [list(loader), len(loader), list(loader)]

    same(use)


def test_a_loader_with_its_own_generator():
    def use(T):
        g = T.Generator().manual_seed(5)
        loader = T.utils.data.DataLoader(T.arange(20), batch_size=6, shuffle=True, generator=g)
        return [list(loader), list(loader), g.initial_seed(), T.rand(1, generator=g)]

    same(use)


def test_draws_between_batches_stay_in_step():
    def use(T):
        out = []
        for batch in T.utils.data.DataLoader(T.arange(10), batch_size=4, shuffle=True):
            out.append((batch, T.rand(2)))
        return out

    same(use)


def test_random_split_and_subsets():
    def use(T):
        data = T.utils.data.TensorDataset(T.arange(23))
        a, b, c = T.utils.data.random_split(data, [0.5, 0.3, 0.2])
        d, e = T.utils.data.random_split(a, [4, 8], generator=T.Generator().manual_seed(1))
        loader = T.utils.data.DataLoader(e, batch_size=3, shuffle=True)
        return [a.indices, b.indices, c.indices, d.indices, e.indices, list(loader), a[0], a[[1, 2]]]

    same(use)


@pytest.mark.parametrize("make", [
    lambda D, T: D.RandomSampler(range(40)),
    lambda D, T: D.RandomSampler(range(40), replacement=True),
    lambda D, T: D.RandomSampler(range(7), replacement=True, num_samples=100),
    lambda D, T: D.RandomSampler(range(7), num_samples=24),
    lambda D, T: D.RandomSampler(range(7), num_samples=3, generator=T.Generator().manual_seed(2)),
    lambda D, T: D.SubsetRandomSampler([5, 3, 8, 1]),
    lambda D, T: D.WeightedRandomSampler([0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5),
    lambda D, T: D.WeightedRandomSampler([0.9, 0.4, 0.05, 0.2, 0.3, 0.1], 5, replacement=False),
    lambda D, T: D.BatchSampler(D.SequentialSampler(range(10)), 3, True),
    lambda D, T: D.BatchSampler(D.RandomSampler(range(10)), 3, False),
    lambda D, T: D.DistributedSampler(range(11), 3, 1),
    lambda D, T: D.DistributedSampler(range(2), 5, 4),
    lambda D, T: D.DistributedSampler(range(11), 3, 2, drop_last=True, seed=3),
])  # fmt: skip
def test_samplers(make):
    def use(T):
        sampler = make(T.utils.data, T)
        return [list(sampler), len(sampler), list(sampler)]

    same(use)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_workers_draw_the_oracles_numbers(workers):
    def use(T):
        options = {"batch_size": 3, "shuffle": True, "num_workers": workers}
        loader = T.utils.data.DataLoader(Squares(T, 14), **options)
        return [list(loader), list(loader)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(use)


def test_workers_share_a_stream():
    def use(T):
        loader = T.utils.data.DataLoader(make_stream(T, 12), batch_size=2, num_workers=2)
        return list(loader)

    same(use)


def test_worker_init_fn_and_seeds():
    def use(T):
        def init(worker):
            info = T.utils.data.get_worker_info()
            assert info.id == worker and info.num_workers == 2 and info.seed == T.initial_seed()
            info.dataset.start = worker * 100
            np.random.seed(T.initial_seed() % 2**32)

        class Data:
            start = None

            def __len__(self):
                return 6

            def __getitem__(self, i):
                return self.start + i, np.random.rand()

        data = Data()
        loader = T.utils.data.DataLoader(data, batch_size=2, num_workers=2, worker_init_fn=init)
        return [list(loader), data.start]

    same(use)


def test_streams():
    def use(T):
        D = T.utils.data
        out = []
        for options in ({}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}):
            out.append(list(D.DataLoader(make_stream(T, 7), **options)))
        chain = make_stream(T, 3) + make_stream(T, 2, size_of=2)
        out.append(list(D.DataLoader(chain, batch_size=4)))
        out.append(len(D.DataLoader(make_stream(T, 7, size_of=7), batch_size=3)))
        return out

    same(use)


COLLATED = {
    "tensors": lambda T: [T.ones(2), T.zeros(2)],
    "arrays": lambda T: [np.ones(2), np.zeros(2)],
    "float32 arrays": lambda T: [np.ones(2, np.float32)] * 3,
    "bytes arrays": lambda T: [np.array(3, np.uint8)] * 3,
    "numpy scalars": lambda T: [np.float32(1.5), np.float32(2)],
    "numpy doubles": lambda T: [np.float64(1.5), np.float64(2)],
    "numpy ints": lambda T: [np.int16(1), np.int16(2)],
    "numpy bools": lambda T: [np.bool_(True), np.bool_(False)],
    "floats": lambda T: [1.5, 2.0],
    "ints": lambda T: [1, 2],
    "bools": lambda T: [True, False],
    "mixed numbers": lambda T: [1, 2.5],
    "text": lambda T: ["a", "b"],
    "bytes": lambda T: [b"a", b"b"],
    "tuples": lambda T: [(1, "a"), (2, "b")],
    "lists": lambda T: [[1, T.ones(1)], [2, T.zeros(1)]],
    "dicts": lambda T: [{"a": 1, "b": [1.0]}, {"a": 2, "b": [2.0]}],
    "ordered": lambda T: [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    "default dicts": lambda T: [collections.defaultdict(int, a=1)] * 2,
    "named": lambda T: [Point(1, 2.0), Point(3, 4.0)],
    "ranges": lambda T: [range(2), range(2)],
    "nested": lambda T: [{"p": Point(1, (2, [3])), "t": T.ones(2, 2)}] * 2,
    "unequal": lambda T: [[1, 2], [1]],
    "unequal tensors": lambda T: [T.ones(2), T.ones(3)],
    "none": lambda T: [None, None],
    "sets": lambda T: [{1}, {2}],
    "text arrays": lambda T: [np.array(["a"]), np.array(["b"])],
    "objects": lambda T: [object(), object()],
}


def outcome(make):
    try:
        return plain(make())
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("kind", COLLATED)
def test_collate_and_convert(kind):
    for function in ("default_collate", "default_convert"):
        found = [outcome(lambda T=T: getattr(T.utils.data, function)(COLLATED[kind](T))) for T in BOTH]
        if kind not in ("objects",) or function == "default_collate":
            assert found[0] == found[1], function


REFUSED = {
    "negative workers": lambda D: D.DataLoader([1], num_workers=-1),
    "negative timeout": lambda D: D.DataLoader([1], timeout=-1),
    "timeout without workers": lambda D: iter(D.DataLoader([1], timeout=1)),
    "prefetch without workers": lambda D: D.DataLoader([1], prefetch_factor=2),
    "negative prefetch": lambda D: D.DataLoader([1], num_workers=1, prefetch_factor=-2),
    "persistent without workers": lambda D: D.DataLoader([1], persistent_workers=True),
    "sampler and shuffle": lambda D: D.DataLoader([1], sampler=[0], shuffle=True),
    "batch sampler and size": lambda D: D.DataLoader([1], batch_sampler=[[0]], batch_size=2),
    "batch sampler and drop": lambda D: D.DataLoader([1], batch_sampler=[[0]], drop_last=True),
    "no batches but drop": lambda D: D.DataLoader([1], batch_size=None, drop_last=True),
    "zero batch": lambda D: D.DataLoader([1], batch_size=0),
    "float batch": lambda D: D.DataLoader([1], batch_size=1.5),
    "bool batch": lambda D: D.DataLoader([1], batch_size=True),
    "drop_last no bool": lambda D: D.BatchSampler([1], 1, 1),
    "empty and shuffled": lambda D: D.DataLoader([], shuffle=True),
    "context without workers": lambda D: D.DataLoader([1], multiprocessing_context="fork"),
    "context unknown": lambda D: D.DataLoader([1], num_workers=1, multiprocessing_context="thread"),
    "context of a wrong type": lambda D: D.DataLoader([1], num_workers=1, multiprocessing_context=3),
    "changed batch size": lambda D: setattr(D.DataLoader([1]), "batch_size", 3),
    "changed dataset": lambda D: setattr(D.DataLoader([1]), "dataset", [2]),
    "no length": lambda D: len(D.DataLoader(iter([1]))),
    "replacement no bool": lambda D: D.RandomSampler([1], replacement=1),
    "no samples": lambda D: D.RandomSampler([1], num_samples=0),
    "float samples": lambda D: D.RandomSampler([1], num_samples=1.0),
    "weights of two dimensions": lambda D: D.WeightedRandomSampler([[1.0]], 1),
    "weights and no samples": lambda D: D.WeightedRandomSampler([1.0], 0),
    "weights and replacement": lambda D: D.WeightedRandomSampler([1.0], 1, replacement=1),
    "lengths": lambda D: D.random_split([1, 2], [3]),
    "fractions": lambda D: D.random_split([1, 2], [1.5, -0.5]),
    "nothing to stack": lambda D: D.StackDataset(),
    "stack both ways": lambda D: D.StackDataset([1], a=[1]),
    "stack lengths": lambda D: D.StackDataset([1], [1, 2]),
    "nothing to concatenate": lambda D: D.ConcatDataset([]),
    "index below": lambda D: D.ConcatDataset([[1]])[-2],
    "index above": lambda D: D.ConcatDataset([[1]])[1],
    "sample out of range": lambda D: list(D.DataLoader([1], sampler=[3])),
    "distributed rank": lambda D: D.DistributedSampler([1], 2, 2),
    "stream shuffled": lambda D: D.DataLoader(D.IterableDataset(), shuffle=True),
    "stream sampled": lambda D: D.DataLoader(D.IterableDataset(), sampler=[1]),
    "stream batch sampled": lambda D: D.DataLoader(D.IterableDataset(), batch_sampler=[[1]]),
    "chain of lists": lambda D: list(D.ChainDataset([[1]])),
    "pickled iterator": lambda D: iter(D.DataLoader([1])).__getstate__(),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    kinds = []
    for T in BOTH:
        with pytest.raises(Exception) as caught:
            REFUSED[case](T.utils.data)
        kinds.append(caught.type.__name__)
    assert kinds[0] == kinds[1]


def test_tensor_dataset_refuses_unequal_sizes():
    for T in BOTH:
        with pytest.raises(AssertionError):
            T.utils.data.TensorDataset(T.ones(2), T.ones(3))


def test_datasets_side_by_side_and_end_to_end():
    def use(T):
        D = T.utils.data
        a, b = D.TensorDataset(T.arange(4)), D.TensorDataset(T.arange(4) * 10)
        stacked, named, joined = D.StackDataset(a, b), D.StackDataset(x=a, y=b), a + b
        return [
            stacked[1], named[2], joined[5], joined[-1], len(joined), joined.cumulative_sizes,
            stacked.__getitems__([0, 3]), named.__getitems__([1]),
            list(D.DataLoader(stacked, batch_size=3)), list(D.DataLoader(named, batch_size=3)),
            list(D.DataLoader(joined, batch_size=3, shuffle=True)),
        ]  # fmt: skip

    same(use)


def test_persistent_workers_keep_their_generators():
    def use(T):
        loader = T.utils.data.DataLoader(Squares(T, 6), batch_size=2, num_workers=2, persistent_workers=True)
        return [list(loader), list(loader)]

    same(use)


def test_warnings():
    for T in BOTH:
        with pytest.warns(UserWarning):
            T.utils.data.random_split([1], [1.0, 0.0])
        with pytest.warns(UserWarning):
            iter(T.utils.data.DataLoader([1], pin_memory=True))
        with pytest.warns(UserWarning):
            T.utils.data.DataLoader([1], num_workers=1000)
        with pytest.warns(UserWarning):
            loader = T.utils.data.DataLoader(make_stream(T, 3, size_of=1))
            len(loader)
            list(loader)
