"""Data pipes: each step, the steps of a program's own, and pipes in a loader, whose order is PyTorch's."""

import pytest

import flambeau as torch
from flambeau.utils.data import DataLoader, IterDataPipe, MapDataPipe, functional_datapipe
from flambeau.utils.data.datapipes.iter import IterableWrapper
from flambeau.utils.data.datapipes.map import SequenceWrapper

NUMBERS = IterableWrapper(range(10))


def double(x):
    return 2 * x


def test_steps_over_streams(tmp_path):
    assert list(NUMBERS.map(double).filter(lambda x: x % 3 == 0)) == [0, 6, 12, 18]
    assert list(NUMBERS.batch(4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and len(NUMBERS.batch(4, drop_last=True)) == 2
    assert list(NUMBERS.batch(2).batch(2).unbatch(-1)) == list(range(10))
    assert list(NUMBERS.zip(IterableWrapper("ab"))) == [(0, "a"), (1, "b")]
    assert list(NUMBERS.concat(IterableWrapper([7])))[-2:] == [9, 7]
    assert list(NUMBERS.mux(IterableWrapper([7, 8]))) == [0, 7, 1, 8]
    assert list(NUMBERS.groupby(lambda x: x % 3))[0] == [0, 3, 6, 9]
    assert [list(p) for p in NUMBERS.demux(2, lambda x: x % 2)] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert [list(p) for p in NUMBERS.fork(2)] == [list(range(10))] * 2
    assert list(IterableWrapper([(1, 2)]).map(double, input_col=1)) == [(1, 4)]
    assert torch.equal(next(iter(NUMBERS.batch(3).collate())), torch.arange(3))
    (tmp_path / "a.txt").write_text("hello")
    files = IterableWrapper([str(tmp_path)]).list_files("*.txt").open_files().read_from_stream()
    assert [text for _, text in files] == ["hello"]
    with pytest.raises(BufferError):
        next(iter(NUMBERS.fork(2, buffer_size=3)[1]), None), list(NUMBERS.fork(2, buffer_size=3)[0])


def test_steps_over_indices():
    letters = SequenceWrapper("abc")
    assert list(letters.map(str.upper)) == ["A", "B", "C"] and letters.batch(2)[1] == ["c"]
    assert (
        letters.zip(letters)[2] == ("c", "c")
        and letters.concat(letters)[4] == "b"
        and len(letters.concat(letters)) == 6
    )
    assert sorted(letters.shuffle()) == ["a", "b", "c"]
    assert [list(p) for p in SequenceWrapper([(1, 2), (3, 4)]).unzip(2)] == [[1, 3], [2, 4]]


def test_steps_of_ones_own():
    @functional_datapipe("plus")
    class Plus(IterDataPipe):
        def __init__(self, source, n):
            self.source, self.n = source, n

        def __iter__(self):
            return (x + self.n for x in self.source)

    assert list(NUMBERS.plus(5))[0] == 5
    with pytest.raises(ValueError, match="plus"):
        functional_datapipe("plus")(Plus)
    with pytest.raises(AttributeError):
        NUMBERS.minus(5)


def test_shuffling_is_pytorchs():
    torch.manual_seed(0)
    assert list(NUMBERS.shuffle()) == [3, 5, 0, 1, 9, 6, 2, 7, 4, 8]
    assert list(NUMBERS.shuffle().set_seed(5)) == [9, 4, 6, 8, 7, 5, 0, 2, 1, 3]


def test_in_loaders():
    torch.manual_seed(1)
    first = next(iter(DataLoader(NUMBERS.shuffle().map(float), batch_size=4)))
    assert first.tolist() == [9, 2, 1, 4]
    assert len(list(DataLoader(NUMBERS, batch_size=None, shuffle=True))) == 10
    loader = DataLoader(NUMBERS.shuffle().sharding_filter(), batch_size=None, num_workers=2)
    assert sorted(int(x) for x in loader) == list(range(10))

    class Doubled(MapDataPipe):
        def __getitem__(self, i):
            return 2 * i

        def __len__(self):
            return 3

    assert torch.cat(list(DataLoader(Doubled(), batch_size=2))).tolist() == [0, 2, 4]
