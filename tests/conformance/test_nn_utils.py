"""`nn.utils` beside PyTorch's: pruning, fusion and parametrizations from one seed."""

import numpy as np
import pytest
import torch
import torch.nn.utils.prune

import flambeau
from tests.conformance.sidebyside import plain

pytestmark = pytest.mark.filterwarnings("ignore")
LIBS = (flambeau, torch)


def layer(lib, name="Linear"):
    lib.manual_seed(0)
    return lib.nn.Linear(4, 6) if name == "Linear" else lib.nn.Conv2d(3, 4, 3)


PRUNED = {
    "identity": lambda p, m: p.identity(m, "weight"),
    "random": lambda p, m: p.random_unstructured(m, "weight", amount=0.3),
    "random count": lambda p, m: p.random_unstructured(m, "bias", amount=2),
    "l1": lambda p, m: p.l1_unstructured(m, "weight", amount=0.4),
    "random channels": lambda p, m: p.random_structured(m, "weight", amount=0.5, dim=1),
    "l2 channels": lambda p, m: p.ln_structured(m, "weight", amount=2, n=2, dim=0),
    "l1 channels": lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=1, dim=-1),
    "inf channels": lambda p, m: p.ln_structured(m, "weight", amount=1, n=float("inf"), dim=1),
    "two": lambda p, m: p.l1_unstructured(p.random_unstructured(m, "weight", amount=4), "weight", amount=0.5),
    "channels, then elements": lambda p, m: p.l1_unstructured(
        p.ln_structured(m, "weight", amount=1, n=2, dim=0), "weight", amount=3
    ),
    "elements, then channels": lambda p, m: p.ln_structured(
        p.l1_unstructured(m, "weight", amount=3), "weight", amount=1, n=2, dim=1
    ),
    "global": lambda p, m: p.global_unstructured([(m, "weight"), (m, "bias")], p.L1Unstructured, amount=0.4) or m,
    "no pruning": lambda p, m: p.ln_structured(m, "weight", amount=0, n=2, dim=0),
    "too many": lambda p, m: p.l1_unstructured(m, "weight", amount=1000),
    "no fraction": lambda p, m: p.l1_unstructured(m, "weight", amount=1.5),
    "no number": lambda p, m: p.l1_unstructured(m, "weight", amount="all"),
    "no dim": lambda p, m: p.ln_structured(m, "weight", amount=1, n=2, dim=7),
    "vector": lambda p, m: p.random_structured(m, "bias", amount=1, dim=0),
    "no iterable": lambda p, m: p.global_unstructured(3, p.L1Unstructured, amount=1),
    "not pruned": lambda p, m: p.remove(m, "weight"),
}


@pytest.mark.parametrize("kind", ["Linear", "Conv2d"])
@pytest.mark.parametrize("name", PRUNED)
def test_pruning(name, kind):
    found = []
    for lib in LIBS:
        try:
            module = layer(lib, kind)
            lib.manual_seed(3)
            found.append(PRUNED[name](lib.nn.utils.prune, module).state_dict())
        except Exception as error:
            found.append(type(error))
    mine, theirs = found
    if isinstance(theirs, type):
        assert mine is theirs
        return
    assert list(mine) == list(theirs)
    for key in theirs:
        np.testing.assert_array_equal(plain(mine[key]), plain(theirs[key]), err_msg=key)


def _module(lib, shape):
    module = lib.nn.Module()
    module.weight = lib.nn.Parameter(lib.tensor(np.random.default_rng(0).standard_normal(shape)))
    return module


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("map", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 3, 3)])
def test_orthogonal(shape, map, trivial):
    found = []
    for lib in LIBS:
        lib.manual_seed(1)
        module = _module(lib, shape)
        try:
            lib.nn.utils.parametrizations.orthogonal(module, "weight", map, use_trivialization=trivial)
        except Exception as error:
            found.append(type(error))
            continue
        original = module.parametrizations.weight.original
        weights = lib.linspace(0.5, 1.5, module.weight.numel(), dtype=lib.float64).reshape(shape)
        (module.weight * weights).sum().backward()
        found.append((sorted(module.state_dict()), plain(module.weight), plain(original), plain(original.grad)))
    mine, theirs = found
    if isinstance(theirs, type):
        assert mine is theirs
        return
    assert mine[0] == theirs[0]
    for ours, other in zip(mine[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-8, atol=1e-8)


def test_names():
    for module in (
        "",
        ".prune",
        ".fusion",
        ".memory_format",
        ".parametrizations",
        ".parametrize",
        ".rnn",
        ".stateless",
    ):
        ours, theirs = (__import__(f"{lib.__name__}.nn.utils{module}", fromlist=["x"]) for lib in LIBS)
        assert [n for n in getattr(theirs, "__all__", []) if not hasattr(ours, n)] == []
