"""Optimizers: recorded steps of PyTorch 2.13, groups, states, hooks, errors."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from flambeau.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

# optimizer, options, the parameter after six steps of `run` under PyTorch 2.13, the names in its state
RECORDED = {
    "sgd": (SGD, dict(lr=0.1), [0.46816715598106384, -1.170846700668335, 1.8735262155532837, 0.11940032243728638], []),
    "sgd momentum": (
        SGD,
        dict(lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
        [0.5895408391952515, -1.44429612159729, 2.299051284790039, -0.015172918327152729],
        ["momentum_buffer"],
    ),
    "sgd nesterov": (
        SGD,
        dict(lr=0.1, momentum=0.9, nesterov=True, maximize=True),
        [0.41471317410469055, -1.0703965425491333, 1.726080060005188, 0.288553923368454],
        ["momentum_buffer"],
    ),
    "adam": (
        Adam,
        dict(lr=0.1),
        [0.7459767460823059, -1.505882740020752, 2.2586770057678223, -0.19701863825321198],
        ["exp_avg", "exp_avg_sq", "step"],
    ),
    "adam amsgrad": (
        Adam,
        dict(lr=0.1, betas=(0.5, 0.9), amsgrad=True, weight_decay=0.1),
        [0.4301409423351288, -1.1917530298233032, 1.945221185684204, 0.022237055003643036],
        ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"],
    ),
    "adamw": (
        AdamW,
        dict(lr=0.1, weight_decay=0.1, maximize=True),
        [0.17999358475208282, -0.9074230790138245, 1.6192485094070435, 0.5049704313278198],
        ["exp_avg", "exp_avg_sq", "step"],
    ),
    "rmsprop": (
        RMSprop,
        dict(lr=0.1),
        [-0.3313990831375122, -0.755404531955719, 1.6327731609344482, 0.6588373780250549],
        ["square_avg", "step"],
    ),
    "rmsprop centered": (
        RMSprop,
        dict(lr=0.1, centered=True, momentum=0.9, weight_decay=0.1),
        [-1.966921329498291, -0.35166850686073303, 1.9381499290466309, 1.5446752309799194],
        ["grad_avg", "momentum_buffer", "square_avg", "step"],
    ),
    "adagrad": (
        Adagrad,
        dict(lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1),
        [0.4666251242160797, -1.226362705230713, 1.980587124824524, 0.07604910433292389],
        ["step", "sum"],
    ),
}
ALL = [SGD, Adam, AdamW, RMSprop, Adagrad]
MORE = [getattr(torch.optim, name) for name in ("Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop")]


def run(cls, options, steps=6):
    p = torch.nn.Parameter(torch.tensor([[0.5, -1.25], [2.0, 0.125]]))
    opt = cls([p], **options)
    for i in range(steps):
        p.grad = torch.tensor([[0.3, -0.7], [1.1, -0.2]]) * (i - 2.5) / 2 + 0.1 * p.detach()
        opt.step()
    return p, opt


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_steps(name):
    cls, options, values, state = RECORDED[name]
    p, opt = run(cls, options)
    np.testing.assert_allclose(p.detach().flatten().tolist(), values, rtol=3e-6)
    kept = opt.state_dict()["state"].get(0, {})
    assert sorted(kept) == state
    if "step" in kept:
        assert kept["step"].shape == () and kept["step"].dtype == torch.float32 and kept["step"].item() == 6


@pytest.mark.parametrize("cls", ALL)
def test_large_and_oddly_laid_out_parameters(cls):
    """Blocks, threads and copies give what one small call gives, element by element."""
    rng = np.random.default_rng(0)
    values, grads = rng.standard_normal((2, 700, 600)), rng.standard_normal((3, 700, 600))
    results = []
    for layout in ("plain", "transposed", "slices"):
        if layout == "slices":
            parts = [torch.tensor(v.astype(np.float32)) for v in values[0].reshape(-1, 3000)]
        else:
            a = values[0].astype(np.float32)
            parts = [torch.tensor(a) if layout == "plain" else torch.tensor(a.T.copy()).t()]
        params = [torch.nn.Parameter(t) for t in parts]
        opt = cls(params, lr=0.01, weight_decay=0.1)
        for g in grads:
            for p, piece in zip(params, g.astype(np.float32).reshape(len(params), *params[0].shape)):
                p.grad = torch.tensor(piece)
            opt.step()
        results.append(np.concatenate([p.detach().numpy().reshape(-1) for p in params]))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], results[2], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("cls", ALL)
def test_dtypes(cls, dtype):
    p = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    opt = cls([p], lr=0.125)
    p.grad = torch.ones(3, dtype=dtype)
    opt.step()
    assert p.dtype == dtype
    want = {RMSprop: -0.25, AdamW: 0.87375}.get(cls, 0.875)
    assert abs(p.detach()[0].item() - want) < 0.01
    for value in opt.state[p].values():
        assert value.dtype in (dtype, torch.float32)


def test_versions_tell_of_steps():
    p = torch.nn.Parameter(torch.ones(2))
    loss = (p * p).sum()
    p.grad = torch.ones(2)
    SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified"):
        loss.backward()


def test_parameters_without_gradients_stay():
    p, q = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    opt = Adam([p, q])
    p.grad = torch.ones(2)
    opt.step()
    assert q.tolist() == [1.0, 1.0] and p.tolist() != [1.0, 1.0]
    assert q not in opt.state


def test_closure_runs_with_gradients_on():
    p = torch.nn.Parameter(torch.tensor([2.0]))
    opt = SGD([p], lr=0.1)

    def closure():
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert opt.step(closure).item() == 4.0
    assert p.item() == pytest.approx(1.6)


def test_zero_grad():
    p = torch.nn.Parameter(torch.ones(2))
    opt = SGD([p], lr=0.1)
    p.grad = torch.ones(2)
    kept = p.grad
    opt.zero_grad(set_to_none=False)
    assert p.grad is kept and kept.tolist() == [0.0, 0.0]
    opt.zero_grad()
    assert p.grad is None


def test_groups_and_their_options():
    a, b, c = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    opt = SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.5)
    opt.add_param_group({"params": [c], "lr": 0.25})
    for p in (a, b, c):
        p.grad = torch.ones(1)
    opt.step()
    assert [p.item() for p in (a, b, c)] == [0.5, 0.0, 0.75]
    assert repr(opt).splitlines()[:3] == ["SGD (", "Parameter Group 0", "    dampening: 0"]
    assert [g["params"] for g in opt.state_dict()["param_groups"]] == [[0], [1], [2]]


def test_named_parameters():
    model = torch.nn.Linear(2, 1)
    opt = SGD(model.named_parameters(), lr=0.1)
    assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError):
        opt.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})


@pytest.mark.parametrize("name", RECORDED)
def test_resuming_from_a_state_dict(name):
    cls, options, _, _ = RECORDED[name]
    p, opt = run(cls, options, 3)
    q = torch.nn.Parameter(p.detach().clone())
    other = cls([q], **{**options, "lr": 123.0})
    saved = opt.state_dict()
    other.load_state_dict(saved)
    for _ in range(2):
        p.grad, q.grad = torch.ones(2, 2), torch.ones(2, 2)
        opt.step()
        other.step()
    assert p.tolist() == q.tolist()
    assert other.param_groups[0]["lr"] == options["lr"]


def test_loaded_state_takes_the_parameters_dtype():
    p, opt = run(Adam, {})
    q = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    other = Adam([q])
    other.load_state_dict(opt.state_dict())
    assert other.state[q]["exp_avg"].dtype == torch.float64
    assert other.state[q]["step"].dtype == torch.float32


@pytest.mark.parametrize("cls", ALL + MORE)
def test_copies_and_pickles(cls):
    p, opt = run(cls, {"lr": 0.1})
    for copied in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        (q,) = copied.param_groups[0]["params"]
        assert q is not p and q.tolist() == p.tolist()
        p0 = p.detach().clone()
        q.grad = p.grad = torch.ones(2, 2)
        copied.step()
        assert p.tolist() == p0.tolist()


def test_saved_state_dict_reads_back():
    p, opt = run(AdamW, {})
    buffer = io.BytesIO()
    torch.save(opt.state_dict(), buffer)
    buffer.seek(0)
    q = torch.nn.Parameter(p.detach().clone())
    other = AdamW([q])
    other.load_state_dict(torch.load(buffer))
    assert other.state[q]["exp_avg"].tolist() == opt.state[p]["exp_avg"].tolist()


def test_hooks():
    p = torch.nn.Parameter(torch.ones(1))
    opt = SGD([p], lr=0.1)
    seen = []
    handles = [
        opt.register_step_pre_hook(lambda o, args, kwargs: seen.append("pre")),
        opt.register_step_post_hook(lambda o, args, kwargs: seen.append("post")),
        register_optimizer_step_pre_hook(lambda o, args, kwargs: seen.append("global pre")),
        register_optimizer_step_post_hook(lambda o, args, kwargs: seen.append("global post")),
    ]
    opt.step()
    assert seen == ["global pre", "pre", "post", "global post"]
    for handle in handles:
        handle.remove()
    opt.step()
    assert len(seen) == 4
    opt.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError):
        opt.step()


def test_state_dict_hooks():
    p, opt = run(Adam, {})
    seen = []
    opt.register_state_dict_pre_hook(lambda o: seen.append("before"))
    opt.register_state_dict_post_hook(lambda o, d: {**d, "extra": 1})
    opt.register_load_state_dict_pre_hook(lambda o, d: {k: v for k, v in d.items() if k != "extra"})
    opt.register_load_state_dict_post_hook(lambda o: seen.append("after"))
    opt.load_state_dict(opt.state_dict())
    assert opt.state_dict()["extra"] == 1 and seen == ["before", "after", "before"]


def test_a_users_own_optimizer():
    class Sign(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, dict(lr=lr))

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["count"] = self.state[p].get("count", 0) + 1
                    p -= group["lr"] * p.grad.sign()

    p = torch.nn.Parameter(torch.ones(2))
    opt = Sign([p], lr=0.25)
    seen = []
    opt.register_step_post_hook(lambda *a: seen.append(1))
    p.grad = torch.tensor([3.0, -2.0])
    opt.step()
    assert p.tolist() == [0.75, 1.25] and seen == [1] and opt.state[p]["count"] == 1


def test_a_step_can_be_differentiated():
    p = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    w = p.clone()
    opt = SGD([w], lr=0.1, momentum=0.9, differentiable=True)
    w.grad = (w * w).detach()
    opt.step()
    w.sum().backward()
    assert p.grad.tolist() == [1.0, 1.0]


def bad_state(groups):
    return {"state": {}, "param_groups": groups}


ERRORS = {
    "a tensor": (TypeError, lambda p: SGD(p)),
    "no parameters": (ValueError, lambda p: SGD([])),
    "a number": (TypeError, lambda p: SGD([1])),
    "not a leaf": (ValueError, lambda p: SGD([p * 1])),
    "a set": (TypeError, lambda p: SGD([{"params": {p}}])),
    "no params key": (KeyError, lambda p: SGD([{"lr": 1}])),
    "some names": (ValueError, lambda p: SGD([("a", p), torch.nn.Parameter(torch.ones(1))])),
    "twice": (ValueError, lambda p: SGD([{"params": [p]}, {"params": [p]}])),
    "lr": (ValueError, lambda p: SGD([p], lr=-0.1)),
    "lr tensor": (ValueError, lambda p: SGD([p], lr=torch.ones(2))),
    "momentum": (ValueError, lambda p: SGD([p], momentum=-0.1)),
    "decay": (ValueError, lambda p: SGD([p], weight_decay=-0.1)),
    "nesterov": (ValueError, lambda p: SGD([p], nesterov=True)),
    "fused foreach": (RuntimeError, lambda p: SGD([p], fused=True, foreach=True)),
    "fused differentiable": (RuntimeError, lambda p: Adam([p], fused=True, differentiable=True)),
    "beta": (ValueError, lambda p: Adam([p], betas=(1.0, 0.9))),
    "eps": (ValueError, lambda p: Adam([p], eps=-1.0)),
    "tensor beta": (ValueError, lambda p: Adam([p], betas=(torch.tensor(0.9), 0.9))),
    "tensor lr foreach": (ValueError, lambda p: Adam([p], lr=torch.tensor(0.1), foreach=True)),
    "alpha": (ValueError, lambda p: RMSprop([p], alpha=-1.0)),
    "lr decay": (ValueError, lambda p: Adagrad([p], lr_decay=-1.0)),
    "group not a dict": (TypeError, lambda p: SGD([p]).add_param_group([p])),
    "group taken": (ValueError, lambda p: SGD([p]).add_param_group({"params": [p]})),
    "load groups": (ValueError, lambda p: SGD([p]).load_state_dict(bad_state([]))),
    "load sizes": (ValueError, lambda p: SGD([p]).load_state_dict(bad_state([{"params": [0, 1]}]))),
    "abstract": (NotImplementedError, lambda p: torch.optim.Optimizer([p], {}).step()),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    error, call = ERRORS[name]
    with pytest.raises(error):
        call(torch.nn.Parameter(torch.ones(2)))


def test_a_refused_group_changes_nothing():
    p = torch.nn.Parameter(torch.ones(2))
    opt = SGD([p])
    with pytest.raises(ValueError):
        opt.add_param_group({"params": [p]})
    assert len(opt.param_groups) == 1
    with pytest.warns(UserWarning, match="more than once"):
        SGD([p, p])


def test_tensor_learning_rate():
    p = torch.nn.Parameter(torch.ones(2))
    lr = torch.tensor(0.5)
    opt = SGD([p], lr=lr)
    p.grad = torch.ones(2)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)
    opt.step()
    schedule.step()
    assert p.tolist() == [0.5, 0.5] and lr.item() == 0.25 and opt.param_groups[0]["lr"] is lr
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opt.step()
    assert p.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("cls", ALL + MORE)
def test_a_parabola_is_descended(cls):
    p = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    opt = cls([p], lr=100.0 if cls.__name__ == "Adadelta" else 0.05)
    before = (p * p).sum().item()
    for _ in range(40):
        opt.zero_grad()
        (p * p).sum().backward()
        opt.step()
    assert (p * p).sum().item() < 0.9 * before


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_minimum(search):
    p = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    opt = torch.optim.LBFGS([p], lr=1 if search else 0.001, max_iter=50, line_search_fn=search)

    def closure():
        opt.zero_grad()
        loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        loss.backward()
        return loss

    first = opt.step(closure).item()
    for _ in range(3):
        last = opt.step(closure).item()
    assert last < first
    if search:
        assert last < 1e-6
    again = torch.optim.LBFGS([torch.nn.Parameter(p.detach().clone())])
    again.load_state_dict(opt.state_dict())
    with pytest.raises(ValueError):
        torch.optim.LBFGS([{"params": [p]}, {"params": [torch.nn.Parameter(torch.ones(1))]}])
