"""Tensors: what PyTorch saw in each case when it was recorded, and what has no equal there."""

import numpy as np
import pytest

import flambeau as torch
from tests import sides

CASES = sides.collect("tests.tensor_cases")
RECORDED = sides.recorded("tensor")


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    found = sides.equal(sides.run(CASES[name], torch), RECORDED[name])
    assert not found, found


@pytest.mark.parametrize("index", [[0, 7], ([0, 1], [0, 9]), 5, (0, 5), torch.tensor([4])])
def test_a_write_out_of_range_changes_nothing(index):
    x = torch.arange(9.0).reshape(3, 3)
    with pytest.raises(IndexError, match="out of"):
        x[index] = -1.0
    assert x.tolist() == torch.arange(9.0).reshape(3, 3).tolist()


def test_a_write_of_a_wrong_shape_changes_nothing():
    x = torch.zeros(3, 3)
    for index in (0, slice(1, 3), [0, 1], x == 0):
        with pytest.raises(RuntimeError, match="shape|size|match"):
            x[index] = torch.ones(2, 7)
    assert x.sum().item() == 0


def test_memory_that_numpy_marks_as_read_only_is_not_written():
    a = np.arange(3.0)
    a.flags.writeable = False
    with pytest.warns(UserWarning, match="writ"):
        t = torch.from_numpy(a)
    with pytest.raises(RuntimeError, match="read-only"):
        t.add_(1)
    assert a.tolist() == [0.0, 1.0, 2.0]


def test_views_of_one_memory_share_a_version():
    x = torch.zeros(4)
    views = [x.view(2, 2), x[1:], x.detach(), x[1:][1:]]
    views[3].add_(1)
    assert [v._version for v in (x, *views)] == [1] * 5
    assert x.data._version == 0


def test_many_views_do_not_pile_up():
    x = torch.zeros(4)
    for _ in range(1000):
        x[1:]
    assert len(x._shared.refs) < 100
