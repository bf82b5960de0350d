"""`torch.utils.checkpoint`: the same gradients, computed again."""

import warnings

import pytest

import flambeau as torch
from flambeau.utils.checkpoint import (
    CheckpointError,
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)

F = torch.nn.functional


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3))


def gradients(call, model, x):
    x = x.clone().requires_grad_()
    model.zero_grad()
    torch.manual_seed(7)
    out = call(x)
    out.pow(2).sum().backward()
    return [out.detach(), x.grad, *(p.grad.clone() for p in model.parameters()), torch.rand(1)]


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_are_those_without(reentrant):
    model, x = network(), torch.randn(5, 4)
    plain = gradients(model, model, x)
    again = gradients(lambda x: checkpoint(model, x, use_reentrant=reentrant), model, x)
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)
    parts = gradients(lambda x: checkpoint_sequential(model, 2, x, use_reentrant=reentrant), model, x)
    for a, b in zip(plain, parts, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("reentrant", [False, True])
def test_it_runs_once_forward_and_once_backward(reentrant):
    runs = []

    def part(x):
        runs.append(torch.is_grad_enabled())
        return x.exp().sin()

    x = torch.ones(2, requires_grad=True)
    y = checkpoint(part, x, use_reentrant=reentrant)
    assert len(runs) == 1
    y.sum().backward()
    assert len(runs) == 2 and runs[1]


def test_nothing_is_kept_and_other_values_pass():
    def part(x, scale, *, flip, deep):
        return {"a": x.exp() * scale, "b": [deep["t"].sin() if flip else x]}

    x, t = (torch.ones(3, requires_grad=True) for _ in range(2))
    out = checkpoint(part, x, 2.0, flip=True, deep={"t": t}, use_reentrant=False)
    (out["a"].sum() + out["b"][0].sum()).backward()
    assert torch.allclose(x.grad, 2 * torch.ones(3).exp()) and torch.allclose(t.grad, torch.ones(3).cos())


def test_grad_inputs_retain_and_second_derivatives():
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    y = checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False)
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (h,) = torch.autograd.grad(g, x)
    e = x.detach().exp()
    assert torch.allclose(g, e * e.cos()) and torch.allclose(h, e * e.cos() - e * e * e.sin())
    y = checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False)
    for _ in range(2):
        y.backward(retain_graph=True)
    assert torch.allclose(x.grad, 2 * e * e.cos())
    z = checkpoint(lambda x: x.exp(), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        torch.autograd.grad(z, x)


def test_checkpoints_nest():
    x = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)

    def inner(x):
        return x.sin().exp()

    def outer(x):
        return checkpoint(inner, x, use_reentrant=False) * x.cos()

    checkpoint(outer, x, use_reentrant=False).backward()
    y = x.detach().clone().requires_grad_()
    (y.sin().exp() * y.cos()).backward()
    assert torch.allclose(x.grad, y.grad)


def test_early_stop():
    ran = []

    def part(x):
        y = x.exp()
        z = y.sin()
        ran.append("end")
        return z + 1

    for early, times in ((True, 1), (False, 2)):
        ran.clear()
        x = torch.ones(1, requires_grad=True)
        with set_checkpoint_early_stop(early):
            y = checkpoint(part, x, use_reentrant=False)
        y.backward()
        assert len(ran) == times


def test_what_differs_is_told():
    state = {"n": 0}

    def grows(x):
        state["n"] += 1
        return x.exp() if state["n"] == 1 else x.exp().sin().exp()

    def shrinks(x):
        state["n"] += 1
        return x.exp().sin() if state["n"] == 1 else x * 1

    def reshapes(x):
        state["n"] += 1
        return (x if state["n"] == 1 else torch.cat([x, x])).exp().sum()

    for part, options in ((grows, {"early_stop": False}), (shrinks, {}), (reshapes, {})):
        state["n"] = 0
        y = checkpoint(part, torch.ones(2, requires_grad=True), use_reentrant=False, **options)
        with pytest.raises(CheckpointError):
            y.sum().backward()
    state["n"] = 0
    with set_checkpoint_debug_enabled(True):
        y = checkpoint(shrinks, torch.ones(2, requires_grad=True), use_reentrant=False)
    with pytest.raises(CheckpointError, match="first run: exp, sin"):
        y.sum().backward()


def test_options_that_do_not_fit():
    x = torch.ones(1, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(torch.exp, x)
    for reentrant, options in ((True, {"debug": True}), (True, {"key": 1}), (False, {"determinism_check": "all"})):
        with pytest.raises(ValueError):
            checkpoint(torch.exp, x, use_reentrant=reentrant, **options)
    with pytest.raises(ValueError):
        checkpoint_sequential([torch.exp], 1, x, use_reentrant=False, key=1)
    with pytest.warns(UserWarning, match="no input"):
        checkpoint(torch.exp, torch.ones(1), use_reentrant=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not checkpoint(torch.exp, x, use_reentrant=False).requires_grad


def test_autocasting_is_as_it_was():
    seen = []

    def part(x, w):
        y = x @ w
        seen.append(y.dtype)
        return y

    w = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu"):
        y = checkpoint(part, torch.ones(2, 2), w, use_reentrant=False, early_stop=False)
    y.sum().backward()
    assert seen == [torch.bfloat16] * 2 and w.grad.dtype == torch.float32


@pytest.mark.parametrize("how", ["list", "functions", "policy", "bool"])
def test_selected_operations_run_once(how):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    asked = []

    def policy(ctx, op, *args, **kwargs):
        asked.append((str(op), ctx.is_recompute))
        keep = op is torch.ops.aten.mm.default
        return keep if how == "bool" else CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    given = {"list": [torch.ops.aten.mm.default], "functions": [torch.mm]}.get(how, policy)
    runs = []

    def part(x):
        runs.append(1)
        return torch.mm(x, x).sin().exp()

    y = checkpoint(part, x, use_reentrant=False, context_fn=lambda: create_selective_checkpoint_contexts(given))
    y.sum().backward()
    z = x.detach().clone().requires_grad_()
    torch.mm(z, z).sin().exp().sum().backward()
    assert torch.allclose(x.grad, z.grad) and len(runs) == 2
    if how in ("policy", "bool"):
        assert ("aten.mm.default", False) in asked and ("aten.sin.default", False) in asked
    with pytest.raises(TypeError):
        create_selective_checkpoint_contexts(3)
    with pytest.raises(ValueError):
        create_selective_checkpoint_contexts([3])


def test_a_checkpoint_in_a_custom_function():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.exp())
            return x.exp()

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = torch.ones(2, requires_grad=True)
    checkpoint(lambda x: Double.apply(x) * x, x, use_reentrant=False).sum().backward()
    assert torch.allclose(x.grad, 2 * torch.ones(2).exp())
