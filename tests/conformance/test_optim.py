"""Optimizers take PyTorch's steps: equal bits for small float32 parameters, rounding apart for others."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

CASES = [
    ("SGD", {}),
    ("SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.1)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, maximize=True)),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.5)),
    ("Adam", {}),
    ("Adam", dict(lr=0.05, betas=(0.3, 0.9), weight_decay=0.1, amsgrad=True)),
    ("Adam", dict(decoupled_weight_decay=True, weight_decay=0.1, maximize=True)),
    ("AdamW", dict(lr=0.01)),
    ("AdamW", dict(amsgrad=True, eps=1e-3)),
    ("RMSprop", {}),
    ("RMSprop", dict(centered=True, weight_decay=0.1)),
    ("RMSprop", dict(momentum=0.9, maximize=True)),
    ("Adagrad", {}),
    ("Adadelta", dict(weight_decay=0.1)),
    ("Adamax", dict(lr=0.01)),
    ("NAdam", dict(momentum_decay=0.1)),
    ("RAdam", dict(lr=0.01)),
    ("ASGD", dict(t0=3)),
    ("Rprop", {}),
    ("Adagrad", dict(lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1)),
]
IDS = [f"{name} {' '.join(options)}" for name, options in CASES]


def steps(lib, name, options, shape, count=50, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    p = lib.nn.Parameter(lib.tensor(rng.standard_normal(shape)).to(getattr(lib, dtype)))
    opt = getattr(lib.optim, name)([p], **options)
    for _ in range(count):
        p.grad = lib.tensor(rng.standard_normal(shape)).to(getattr(lib, dtype))
        opt.step()
    return p.detach(), opt


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_small_parameters_are_equal_to_the_bit(name, options):
    ours, _ = steps(flambeau, name, options, (5, 3))
    theirs, _ = steps(torch, name, options, (5, 3))
    # PyTorch takes roots with its maths library, which rounds them correctly on some processors only
    np.testing.assert_array_max_ulp(ours.numpy(), theirs.numpy(), maxulp=0 if name == "SGD" else 8)


@pytest.mark.parametrize("shape, dtype", [((300, 301), "float32"), ((40, 7), "float64")])
@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_other_parameters_are_close(name, options, shape, dtype):
    ours, _ = steps(flambeau, name, options, shape, 20, dtype)
    theirs, _ = steps(torch, name, options, shape, 20, dtype)
    tolerance = dict(rtol=1e-5, atol=2e-5) if dtype == "float32" else dict(rtol=1e-10, atol=1e-10)
    if "centered" in options and dtype == "float32":
        tolerance = dict(rtol=1e-3, atol=1e-3)  # a small difference of large numbers under a root
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), **tolerance)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_half_precision(name, options, dtype):
    ours, _ = steps(flambeau, name, options, (9,), 3, dtype)
    theirs, _ = steps(torch, name, options, (9,), 3, dtype)
    tolerance = 2e-2 if dtype == "bfloat16" else 4e-3
    np.testing.assert_allclose(ours.float().numpy(), theirs.float().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_state_dicts_have_one_layout(name, options):
    ours = steps(flambeau, name, options, (5, 3), 3)[1].state_dict()
    theirs = steps(torch, name, options, (5, 3), 3)[1].state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    assert list(ours["param_groups"][0]) == list(theirs["param_groups"][0])
    assert list(ours["state"]) == list(theirs["state"])
    for number, state in theirs["state"].items():
        mine = ours["state"][number]
        assert list(mine) == list(state)
        for key, value in state.items():
            if value is not None:
                assert str(mine[key].dtype) == str(value.dtype) and mine[key].shape == value.shape
                np.testing.assert_allclose(mine[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-7)
    assert repr(steps(flambeau, name, options, 3)[1]) == repr(steps(torch, name, options, 3)[1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs(search, seed):
    """The same points, after the same number of evaluations."""
    n, lr = 3 + seed, 0.1 if search is None else (1, 5, 0.001)[seed % 3]
    results = []
    for lib in (torch, flambeau):
        rng = np.random.default_rng(seed)
        matrix, start = lib.tensor(rng.standard_normal((n, n))), lib.tensor(rng.standard_normal(n))
        p = lib.nn.Parameter(start)
        opt = lib.optim.LBFGS([p], lr=lr, line_search_fn=search, max_iter=8)

        def closure(lib=lib, p=p, opt=opt, matrix=matrix):
            opt.zero_grad()
            y = matrix @ p
            loss = (y * y).sum() * 0.1 + (1 - p.cos()).sum() + (p**4).sum() * 0.01
            loss.backward()
            return loss

        for _ in range(3):
            opt.step(closure)
        results.append((p.detach().numpy(), opt.state[p]["func_evals"], opt.state[p]["n_iter"]))
    np.testing.assert_allclose(results[1][0], results[0][0], atol=1e-10)
    assert results[1][1:] == results[0][1:]
