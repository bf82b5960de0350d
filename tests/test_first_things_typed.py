"""What people type first: older forms, storages, small sparse things, and what they are told."""

import pickle
import warnings

import pytest

import flambeau as torch
from flambeau import errors


def test_outdated_functions_say_so_once_at_the_callers_line():
    errors._told.clear()
    a = torch.eye(3)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            torch.cholesky(a), torch.qr(a), torch.chain_matmul(a, a), torch.range(1, 3), torch.cross(a, a)
    assert len(seen) == 5 and {w.filename for w in seen} == {__file__}


def test_storages_by_their_old_names():
    s = torch.FloatStorage([1, 2, 3])
    assert s.tolist() == [1.0, 2.0, 3.0] and s.type() == "torch.FloatStorage"
    assert isinstance(s, torch.FloatStorage) and not isinstance(s, torch.DoubleStorage)
    assert s.double().type() == "torch.DoubleStorage" and s.float() is s
    t = torch.arange(4.0)
    t.storage().fill_(2)
    assert t.tolist() == [2.0] * 4
    t.untyped_storage().copy_(torch.ones(4).untyped_storage())
    assert t.tolist() == [1.0] * 4
    copy = t.untyped_storage().clone()
    t.zero_()
    assert copy.nbytes() == 16 and torch.tensor([]).set_(copy).tolist() == [1.0] * 4
    with pytest.raises(RuntimeError):
        s.copy_(torch.FloatStorage(2))


def test_from_file_maps_raw_numbers(tmp_path):
    torch.arange(4.0).numpy().tofile(tmp_path / "raw")
    assert torch.from_file(str(tmp_path / "raw"), size=3).tolist() == [0.0, 1.0, 2.0]
    torch.from_file(str(tmp_path / "raw"), shared=True, size=4).fill_(7)
    assert torch.FloatStorage.from_file(str(tmp_path / "raw"), False, 4).tolist() == [7.0] * 4
    with pytest.raises(RuntimeError):
        torch.from_file(str(tmp_path / "raw"), size=5)


def test_sparse_with_dense_dimensions_and_diagonals():
    d = torch.tensor([[0, 0, 0], [9, 0, 10], [0, 0, 0]])
    s = d.to_sparse(1)
    assert s.indices().tolist() == [[1]] and s.values().tolist() == [[9, 0, 10]] and torch.equal(s.to_dense(), d)
    with pytest.raises(RuntimeError):
        d.to_sparse(3)
    band = torch.sparse.spdiags(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([1, -1]), (4, 3)).to_dense()
    with pytest.raises(NotImplementedError):
        torch.sparse.spdiags(torch.ones(1, 3), torch.tensor([0]), (3, 3), layout=torch.sparse_csr)
    assert band.tolist() == [[0, 2, 0], [4, 0, 3], [0, 5, 0], [0, 0, 6]]


def test_small_forms():
    x = (torch.ones(2, requires_grad=True) * 2).requires_grad_()
    assert torch.asarray(x).grad_fn is torch.asarray(x, requires_grad=True).grad_fn is x.grad_fn
    assert not torch.asarray(x, requires_grad=False).requires_grad
    assert isinstance(torch.gradient(torch.arange(3.0)), tuple)
    assert torch.ones(2).greater_(torch.tensor([0.0, 2.0])).tolist() == [1.0, 0.0]
    before = torch.get_rng_state()
    torch.nn.utils.skip_init(torch.nn.Linear, 3, 2)
    assert torch.equal(before, torch.get_rng_state())
    assert isinstance(pickle.loads(pickle.dumps(torch.linalg.LinAlgError("x"))), torch.linalg.LinAlgError)
    bag = torch.nn.EmbeddingBag(4, 2)(torch.tensor([[1, 2]]))
    assert bag.grad_fn.name() == "EmbeddingBagBackward0"
    assert torch.nn.functional.grad.conv1d_input((1, 1, 3), torch.ones(1, 1, 1), torch.ones(1, 1, 3)).shape == (1, 1, 3)


def test_benchmark_measures_and_compares(capsys):
    from flambeau.utils import benchmark

    ticks = iter(range(10**6))  # a clock of our own: every look at it is a second later
    x = torch.ones(2)
    slow = benchmark.Timer("x + 1", globals={"x": x}, timer=lambda: float(next(ticks)), label="sum", description="a")
    one = slow.timeit(4)
    assert one.times == [0.25] and one.median == one.mean == 0.25 and one.iqr == 0
    blocks = slow.blocked_autorange(min_run_time=3)
    assert blocks.raw_times == [1.0] * 3 and blocks.number_per_run == 1 and "Median: 1.00 s" in repr(blocks)
    threads = torch.get_num_threads()
    fast = benchmark.Timer("x.mul(2)", globals={"x": x}, label="sum", sub_label="two", description="b").timeit(20)
    assert 0 < fast.median < 1 and torch.get_num_threads() == threads
    benchmark.Compare([one, blocks, fast]).print()
    table = capsys.readouterr().out
    assert " sum " in table and "1 thread:" in table and "two" in table
    with pytest.raises(ValueError):
        benchmark.Timer("1", language="c++")
    assert benchmark.Timer("torch.ones(2)").adaptive_autorange(max_run_time=0.1).raw_times
