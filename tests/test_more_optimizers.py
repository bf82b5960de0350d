"""Adafactor, Muon and SparseAdam; what an L-BFGS run keeps."""

import io

import numpy as np
import pytest

import flambeau as torch
from flambeau.optim.muon import orthogonalized


def run(optimizer, param, grads):
    for g in grads:
        param.grad = torch.tensor(g, dtype=param.dtype)
        optimizer.step()
    return param.detach().numpy().copy()


def test_adafactor_by_its_formulas():
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal((4, 3)), rng.standard_normal((5, 4, 3))
    p = torch.nn.Parameter(torch.tensor(start))
    got = run(torch.optim.Adafactor([p], lr=0.05, weight_decay=0.1), p, grads)
    x, rows, columns, eps = start.copy(), np.zeros((4, 1)), np.zeros((1, 3)), np.finfo(float).eps
    for t, g in enumerate(grads, 1):
        weight = t**-0.8
        alpha = max(1e-3, np.sqrt((x**2).mean())) * min(0.05, 1 / np.sqrt(t))
        x *= 1 - 0.05 * 0.1
        rows += weight * ((g**2).mean(1, keepdims=True) - rows)
        columns += weight * ((g**2).mean(0, keepdims=True) - columns)
        update = g / np.sqrt(np.maximum(rows @ columns / max(rows.mean(), eps), eps**2))
        x -= alpha * update / max(1.0, np.sqrt((update**2).mean()))
    np.testing.assert_allclose(got, x, rtol=1e-10)


def test_muon_steps_are_nearly_orthogonal():
    rng = np.random.default_rng(0)
    for shape in ((8, 5), (5, 8), (6, 6)):
        g = torch.tensor(rng.standard_normal(shape))
        singular = np.linalg.svd(orthogonalized(g, (3.4445, -4.7750, 2.0315), 5, 1e-7).double().numpy())[1]
        assert np.all((singular > 0.5) & (singular < 1.4))
    p = torch.nn.Parameter(torch.zeros(8, 5))
    run(torch.optim.Muon([p], lr=0.1, weight_decay=0.0), p, [rng.standard_normal((8, 5))])
    assert 0.05 < np.linalg.norm(p.detach().numpy(), 2) < 0.2


def test_sparse_adam_touches_only_the_rows_of_the_batch():
    torch.manual_seed(0)
    table = torch.nn.Embedding(6, 3, sparse=True)
    before = table.weight.detach().clone()
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    dense = torch.nn.Parameter(before.clone())
    adam = torch.optim.Adam([dense], lr=0.1)
    table(torch.tensor([1, 4])).pow(2).sum().backward()
    dense.grad = table.weight.grad.clone()
    optimizer.step(), adam.step()
    np.testing.assert_allclose(table.weight.detach()[[1, 4]].numpy(), dense.detach()[[1, 4]].numpy(), rtol=1e-6)
    table.zero_grad()
    table(torch.tensor([2])).sum().backward()
    optimizer.step()
    changed = (table.weight.detach() != before).any(1)
    assert changed.tolist() == [False, True, True, False, True, False]
    assert optimizer.state[table.weight]["step"] == 2


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: torch.optim.Adafactor(p, beta2_decay=0.5), ValueError),
        (lambda p: torch.optim.Adafactor(p, eps=(-1.0, 1e-3)), ValueError),
        (lambda p: torch.optim.Adafactor(p, d=0.5), ValueError),
        (lambda p: torch.optim.Muon(p), ValueError),
        (lambda p: torch.optim.Muon([torch.zeros(2, 2)], adjust_lr_fn="other"), ValueError),
        (lambda p: torch.optim.SparseAdam(p, lr=0.0), ValueError),
        (lambda p: torch.optim.SparseAdam(p, betas=(1.0, 0.9)), ValueError),
        (lambda p: torch.optim.SparseAdam([torch.zeros(2, dtype=torch.complex64)]), ValueError),
    ],
)
def test_refused(make, error):
    with pytest.raises(error):
        make([torch.nn.Parameter(torch.zeros(3))])


def test_complex_parameters_are_refused_at_the_step():
    for cls in (torch.optim.Adafactor, torch.optim.Muon):
        p = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.complex64))
        p.grad = torch.ones_like(p)
        with pytest.raises(RuntimeError, match="complex"):
            cls([p]).step()


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_saved_lbfgs_goes_on(search):
    def make():
        p = torch.nn.Parameter(torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64))
        return p, torch.optim.LBFGS([p], max_iter=3, lr=0.5, line_search_fn=search)

    def step(p, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = (p**4).sum() + (p[0] * p[1] - 1) ** 2
            loss.backward()
            return loss

        optimizer.step(closure)

    p, optimizer = make()
    step(p, optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    q, other = make()
    q.data.copy_(p.data)
    other.load_state_dict(torch.load(file))
    step(p, optimizer), step(q, other)
    np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    assert list(optimizer.state[p])[:3] == ["func_evals", "n_iter", "al"]


def test_low_precision_blends_round_once():
    g = torch.tensor(np.random.default_rng(0).standard_normal((8, 8))).bfloat16()
    wide = (-4.775 * g.float() + 2.0315 * (g.float() @ g.float())).bfloat16()
    assert torch.equal(torch.addmm(g, g, g, beta=-4.775, alpha=2.0315), wide)
    x = torch.zeros(8, 8, dtype=torch.float64)
    assert torch.equal(torch.add(x, g, alpha=0.1), 0.1 * g.double())


def test_other_tensors_can_be_stepped_for_a_while():
    w, v = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([w], lr=0.5)
    w.grad, v.grad = torch.ones(2), torch.ones(2)
    swap = torch.optim.swap_in_optimizer_params_and_state
    with pytest.raises(RuntimeError, match="no state"), swap(optimizer, {"w": v}, optimizer.state_dict()):
        pass
    optimizer.step()
    before, state = w.detach().clone(), optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.25
    with swap(optimizer, {"w": v}, state):
        assert optimizer.param_groups[0]["params"] == [v] and optimizer.param_groups[0]["lr"] == 0.25
        optimizer.step()
    assert torch.equal(w.detach(), before) and v.detach().tolist() == pytest.approx([-0.25, -0.25])
    assert optimizer.param_groups[0]["lr"] == 0.5 and optimizer.param_groups[0]["params"][0] is w
    for bad in ({}, {"state": {}, "param_groups": []}, {"state": {7: {}}, "param_groups": state["param_groups"]}):
        with pytest.raises(RuntimeError), swap(optimizer, {"w": v}, bad):
            pass
