"""Sparse tensors of both libraries: layouts, elements, refusals."""

import warnings

import pytest
import torch

import flambeau
from tests.test_sparse import FUNCTIONS


def seen(library, function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places, values = library.tensor([[0, 1, 1, 0], [2, 0, 2, 2]]), library.tensor([3.0, 4, 5, 1])
        s = library.sparse_coo_tensor(places, values, (2, 3))
        out = function(library, s)
    return str(out.layout), str(out.dtype), out.to_dense().tolist(), str(out) if out.is_sparse else None


MORE = {
    "sum of rows": lambda t, s: t.sum(s, dim=1), "softmax": lambda t, s: t.sparse.softmax(s, 1),
    "sparse.mm": lambda t, s: t.sparse.mm(s, t.ones(3, 2)), "sparse.sum": lambda t, s: t.sparse.sum(s, 0),
    "relu": lambda t, s: t.relu(s - 2 * s), "to_sparse": lambda t, s: s.to_dense().to_sparse(),
    "diagonal": lambda t, s: t.diag(t.arange(1.0, 3)).to_sparse() @ s.to_dense(),
    "integers": lambda t, s: t.eye(2) + t.sparse_coo_tensor(t.tensor([[0], [1]]), t.ones(1), (2, 2), dtype=t.int64),
    "joined": lambda t, s: t.cat([s, s]), "coalesced": lambda t, s: s.coalesce(), "minus": lambda t, s: s - s,
}  # fmt: skip
SHARED = ("transposed", "T", "scaled", "negated", "squared", "root", "row", "double", "sum of rows")


@pytest.mark.parametrize("name", MORE)
def test_functions(name):
    ours, theirs = seen(flambeau, MORE[name]), seen(torch, MORE[name])
    assert ours[:2] == theirs[:2] and ours[3] == theirs[3]
    assert flambeau.allclose(flambeau.tensor(ours[2]), flambeau.tensor(theirs[2]))


@pytest.mark.parametrize("name", SHARED)
def test_methods(name):
    ours, theirs = (seen(library, lambda _, s: FUNCTIONS[name](s)) for library in (flambeau, torch))
    assert ours[:2] == theirs[:2]
    assert flambeau.allclose(flambeau.tensor(ours[2]), flambeau.tensor(theirs[2]))


@pytest.mark.parametrize("call", [lambda s, t: t.exp(s), lambda s, t: s.numpy(), lambda s, t: s + t.ones(2, 3),
                                  lambda s, t: s.indices(), lambda s, t: s.tolist()])  # fmt: skip
def test_refusals(call):
    classes = []
    for library in (flambeau, torch):
        s = library.sparse_coo_tensor(library.tensor([[0, 0], [2, 2]]), library.tensor([3.0, 4]), (2, 3))
        with pytest.raises(Exception) as caught:
            call(s, library)
        classes.append(caught.type)
    assert classes[0] is classes[1]
