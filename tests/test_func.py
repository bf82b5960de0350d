"""torch.func, forward mode and whole derivatives: what PyTorch saw in each case, and what has no equal there."""

import collections
import importlib
import subprocess
import sys

import numpy as np
import pytest

import flambeau as torch
from tests import sides
from tests.programs import environment

CASES = sides.collect("tests.func_cases")
RECORDED = sides.recorded("func")


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    found = sides.equal(sides.run(CASES[name], torch), RECORDED[name])
    assert not found, found


def values(*shape):
    """Different float64 numbers of a shape."""
    n = int(np.prod(shape))
    return torch.from_numpy(np.sin(np.arange(n) * 0.3 + 0.1).reshape(shape))


def test_a_tangent_goes_through_a_view_that_is_written():
    def through_a_view(x):
        y = x * 1
        y.view(-1)[1] = x[0] * x[2]
        y.unsqueeze_(0)
        return (y * y).sum()

    x, t = values(3), values(3) + 1
    want = torch.func.grad(through_a_view)(x) @ t
    assert torch.allclose(torch.func.jvp(through_a_view, (x,), (t,))[1], want)
    hessian = torch.func.jacrev(torch.func.jacrev(through_a_view))(x)
    assert torch.allclose(torch.func.jacfwd(torch.func.jacfwd(through_a_view))(x), hessian)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_in_batches(kind):
    layer = getattr(torch.nn, kind)(3, 4).double()
    x = values(2, 5, 1, 3)
    together = torch.vmap(lambda x: layer(x)[0])(x)
    assert torch.allclose(together, torch.stack([layer(part)[0] for part in x]))


def test_a_plain_tensor_becomes_a_dual_with_its_views():
    def writes(x):
        out = torch.zeros(2, 3, dtype=torch.float64)
        row = out[0]
        row[1:] = x[:2]
        out.t()[0] = x[2]
        return (out**2).sum() + row.sum()

    x = values(3)
    assert torch.allclose(torch.func.jvp(writes, (x,), (torch.ones_like(x),))[1], torch.func.grad(writes)(x).sum())


@pytest.mark.parametrize("order", ["fr", "rf", "ff", "rr", "frf", "rfr"])
def test_every_order_of_modes_gives_the_same_derivatives(order):
    def function(x):
        return (x.sin() * x.prod()).sum() / (1 + x[0] ** 2)

    derivative = reference = function
    for mode in order:
        derivative = (torch.func.jacfwd if mode == "f" else torch.func.jacrev)(derivative)
        reference = torch.func.jacrev(reference)
    x = values(3) + 0.5
    assert torch.allclose(derivative(x), reference(x))
    assert torch.allclose(torch.vmap(derivative)(torch.stack([x, x + 1]))[1], reference(x + 1))


def test_a_jacobian_is_that_of_finite_differences():
    def function(x):
        return torch.nn.functional.softmax(x.reshape(2, 2) @ x.reshape(2, 2), 1).reshape(-1) * x.exp()

    x, h = values(4), 1e-6
    eye = torch.eye(4, dtype=torch.float64)
    want = torch.stack([(function(x + h * e) - function(x - h * e)) / (2 * h) for e in eye], 1)
    for jacobian in (torch.func.jacfwd, torch.func.jacrev):
        assert torch.allclose(jacobian(function)(x), want, atol=1e-7)


def test_an_empty_batch():
    assert torch.vmap(lambda x: (x @ x.t()).sum(0))(torch.ones(0, 3, 2)).shape == (0, 3)
    with pytest.warns(UserWarning, match="batching rule"):
        assert torch.vmap(_without_a_rule)(torch.ones(0, 3)).shape == (0,)


def _without_a_rule(x):
    return torch.geqrf(x.unsqueeze(1))[0].sum()


def test_what_has_no_rule_runs_example_by_example_with_a_warning():
    x = values(4, 3)
    with pytest.warns(UserWarning, match="geqrf.* has no batching rule"):
        found = torch.vmap(_without_a_rule)(x)
    assert torch.allclose(found, torch.stack([_without_a_rule(row) for row in x]))


def test_numpy_does_not_see_one_example_for_all():
    with pytest.raises(RuntimeError, match="vmap"):
        torch.vmap(lambda x: torch.from_numpy(np.sin(x._a)))(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="vmap"):
        torch.vmap(lambda x: np.asarray(x) + x)(torch.ones(2, 3))


def test_a_batch_that_outlives_its_vmap_is_refused():
    kept = []
    torch.vmap(lambda x: (kept.append(x), x)[1])(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="vmap"):
        kept[0] + 1


def test_nothing_is_loaded_before_it_is_used():
    code = "import sys, flambeau; assert 'flambeau.func' not in sys.modules; flambeau.vmap; import flambeau.func"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def test_trees():
    from flambeau.utils import _pytree as pytree

    Point = collections.namedtuple("Point", "x y")
    tree = {"a": [1, (2, 3)], "b": Point(4, collections.OrderedDict(c=5)), "d": None}
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, 5, None]
    assert pytree.tree_unflatten(leaves, spec) == tree
    assert pytree.tree_map(lambda v: v and v * 2, tree)["b"] == Point(8, collections.OrderedDict(c=10))
    assert spec == pytree.tree_structure(tree) and spec.num_leaves == 6
    assert pytree.tree_map_only(int, str, [1, "a"]) == ["1", "a"]
    assert pytree.tree_all(lambda v: v is None or v > 0, tree) and not pytree.tree_any(lambda v: v == 9, tree)
    assert pytree.tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)]) == [11, (22,)]
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path({"a": [7, 8]})] == ["['a'][0]", "['a'][1]"]
    with pytest.raises(ValueError):
        pytree.tree_map(lambda a, b: a, [1], (2,))
    with pytest.raises(ValueError):
        pytree.tree_unflatten([1], spec)

    class Box:
        def __init__(self, inside):
            self.inside = inside

    pytree.register_pytree_node(Box, lambda b: ([b.inside], None), lambda children, _: Box(children[0]))
    assert pytree.tree_map(lambda v: v + 1, Box(1)).inside == 2
    assert torch.allclose(torch.vmap(lambda b: b.inside * 2)(Box(torch.ones(2))), torch.full((2,), 2.0))


def test_einsum_multiplies_in_a_good_order():
    from flambeau.ops import einsum as _  # noqa: F401

    rules = importlib.import_module("flambeau.ops.einsum")
    # a matrix times a matrix times a vector: the vector comes first, whichever way it is written
    assert rules._best(((0, 1), (1, 2), (2,)), (0,), (50, 50, 50)) == [(1, 2), (0, 1)]
    assert rules._best(((0,), (0, 1), (1, 2)), (2,), (50, 50, 50)) == [(0, 1), (0, 1)]
    chain = tuple((i, i + 1) for i in range(8))
    assert len(rules._greedy(chain, (0, 8), (3,) * 9)) == 7
    arrays = [np.random.default_rng(i).standard_normal((3, 3)) for i in range(8)]
    found = torch.einsum("ab,bc,cd,de,ef,fg,gh,hi->ai", *map(torch.from_numpy, arrays))
    assert np.allclose(found.numpy(), np.linalg.multi_dot(arrays))


def test_settings_of_opt_einsum(monkeypatch):
    backend = torch.backends.opt_einsum
    rules = importlib.import_module("flambeau.ops.einsum")
    calls = []

    class Package:
        @staticmethod
        def get_symbol(i):
            return "abcdefghij"[i]

        @staticmethod
        def contract_path(equation, *shapes, optimize, shapes_=None, **options):
            calls.append((equation, shapes, optimize))
            return [(0, 1, 2)], None

    monkeypatch.setitem(sys.modules, "opt_einsum", Package)
    monkeypatch.setattr(rules, "installed", lambda: True)
    monkeypatch.setattr(backend, "__class__", type(backend))
    monkeypatch.setitem(vars(backend), "installed", lambda: True)
    a, b, c = values(2, 3), values(3, 4), values(4)
    with backend.flags(enabled=True, strategy="greedy"):
        assert torch.allclose(torch.einsum("ij,jk,k->i", a, b, c), a @ b @ c)
        with pytest.raises(ValueError):
            backend.set_flags(_strategy="best")
    assert calls == [("ab,bc,c->a", ((2, 3), (3, 4), (4,)), "greedy")]
    with backend.flags(enabled=False):
        assert torch.allclose(torch.einsum("ij,jk,k->i", a, b, c), a @ b @ c)
    assert len(calls) == 1
    monkeypatch.undo()
    assert backend.enabled is backend.is_available()
