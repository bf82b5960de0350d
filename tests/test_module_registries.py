"""The dictionaries of a module: they count what is done to them, and are copied and pickled as they should."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.autograd.runtime import CHANGES
from flambeau.nn.modules._registry import Registry


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.__setitem__("b", 2), lambda d: d.__delitem__("a"), lambda d: d.pop("a"), lambda d: d.popitem(),
        lambda d: d.clear(), lambda d: d.update(a=3), lambda d: d.setdefault("c", 1), lambda d: d.__ior__({"a": 2}),
    ],
)  # fmt: skip
def test_every_change_counts(change):
    plain, mine = {"a": 1}, Registry(a=1)
    before = CHANGES[0]
    assert str(change(mine)) == str(change(plain)) and mine == plain
    assert CHANGES[0] > before


def test_reading_counts_nothing():
    mine = Registry(a=1)
    before = CHANGES[0]
    assert mine["a"] == 1 and list(mine.items()) == [("a", 1)] and "b" not in mine and mine.get("b") is None
    assert CHANGES[0] == before


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_modules_have_their_own(how):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    other = how(model)
    for mine, theirs in ((model, other), (model[0], other[0]), (model[1], other[1])):
        for name in ("_parameters", "_buffers", "_modules"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert type(a) is type(b) is Registry and a is not b and a.keys() == b.keys()
    assert torch.equal(model[0].weight, other[0].weight)
    other[0].weight = nn.Parameter(torch.zeros(2, 2))
    assert not torch.equal(model[0].weight, other[0].weight)


def test_a_shallow_copy_shares_them():
    layer = nn.Linear(2, 2)
    assert copy.copy(layer)._parameters is layer._parameters


def test_pickles_know_plain_dictionaries_only():
    assert b"Registry" not in pickle.dumps(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "note", 1), lambda m: delattr(m, "in_features"), lambda m: m.eval(),
        lambda m: m._buffers.clear(), lambda m: m.add_module("x", None),
        lambda m: m.register_forward_hook(print), lambda m: m.weight.register_hook(print),
    ],
)  # fmt: skip
def test_what_is_done_to_a_module_counts(change):
    layer = nn.Linear(2, 2)
    before = CHANGES[0]
    change(layer)
    assert CHANGES[0] > before
