"""Optimizers' steps in plans: parameters in clusters, and what ends a plan."""

import copy

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiled.step import Compiled
from tests.optimizer_interruptions import INTERRUPTIONS, trained

OPTIMIZERS = {
    "SGD": dict(lr=0.05), "SGD momentum": dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": dict(lr=0.01), "Adam amsgrad": dict(lr=0.01, amsgrad=True, weight_decay=0.1), "AdamW": dict(lr=0.01),
    "Adagrad": dict(lr=0.05, lr_decay=0.1), "Adadelta": dict(lr=1.0), "Adamax": dict(lr=0.01),
    "NAdam": dict(lr=0.01), "RAdam": dict(lr=0.01), "RMSprop": dict(lr=0.01, momentum=0.5, centered=True),
    "Rprop": dict(lr=0.01), "ASGD": dict(lr=0.05, t0=2), "Adafactor": dict(lr=0.05),
}  # fmt: skip


def setting(name, compiled):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 70), nn.Tanh(), nn.Linear(70, 40, bias=False), nn.Tanh(), nn.Linear(40, 2))
    optimizer = getattr(torch.optim, name.partition(" ")[0])(model.parameters(), **OPTIMIZERS[name])

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, Compiled(step) if compiled else step


def both(name, between, steps=14):
    """Trains eagerly and compiled, with `between(turn, model, optimizer)` before each step, and compares."""
    sides = [setting(name, False), setting(name, True)]
    batches = [torch.randn(5, 6) for _ in range(steps)]
    for turn, x in enumerate(batches):
        losses = []
        for model, optimizer, step in sides:
            between(turn, model, optimizer)
            losses.append(step(x).item())
        assert losses[1] == pytest.approx(losses[0], rel=1e-4), turn
    for p, q in zip(*(model.parameters() for model, *_ in sides), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-3, atol=1e-5)
    for one, two in zip(*(optimizer.state.values() for _, optimizer, _ in sides), strict=True):
        assert {k: v.item() for k, v in one.items() if isinstance(v, torch.Tensor) and v.dim() == 0} == {
            k: v.item() for k, v in two.items() if isinstance(v, torch.Tensor) and v.dim() == 0
        }
    return sides[1][2]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rates_that_change(name):
    def between(turn, model, optimizer):
        optimizer.param_groups[0]["lr"] *= 0.9

    assert sum(map(len, both(name, between).plans.values())) == 1


def test_options_that_lead_the_rule_elsewhere():
    def between(turn, model, optimizer):
        optimizer.param_groups[0]["weight_decay"] = 0.1 if 6 <= turn < 9 or turn > 11 else 0.0
        optimizer.param_groups[0]["betas"] = (0.9, 0.999) if turn < 10 else (0.3, 0.99)

    both("Adam", between)


def test_a_count_that_the_program_sets_for_one_parameter():
    def between(turn, model, optimizer):
        if turn == 8:
            optimizer.state[model[2].weight]["step"].fill_(1.0)

    both("AdamW", between)


@pytest.mark.parametrize("name", ["Adam", "SGD momentum"])
def test_state_that_is_loaded(name):
    kept = {}

    def between(turn, model, optimizer):
        if turn == 5:
            kept[id(optimizer)] = copy.deepcopy(optimizer.state_dict())
        if turn == 8:
            optimizer.load_state_dict(kept[id(optimizer)])

    both(name, between)


def test_parameters_that_join():
    def between(turn, model, optimizer):
        if turn == 0:
            model[0].weight.requires_grad_(False)
            optimizer.param_groups[0]["params"] = [p for p in model.parameters() if p.requires_grad]
        if turn == 6:
            model[0].weight.requires_grad_(True)
            optimizer.add_param_group({"params": [model[0].weight], "lr": 0.001})

    both("Adam", between)


def test_a_write_by_a_plan_is_seen_by_the_tape():
    model, optimizer, step = setting("Adam", True)
    for _ in range(5):
        step(torch.ones(5, 6))
    out = model[4](torch.ones(1, 40, requires_grad=True)).sum()
    step(torch.ones(5, 6))
    with pytest.raises(RuntimeError, match="modified"):
        out.backward()


@pytest.mark.parametrize("name, what", [
    *(("Adam", what) for what in INTERRUPTIONS),
    *((name, what) for name in ("SGD momentum", "RAdam", "NAdam", "ASGD") for what in ("learning rate", "count")),
    *((name, "saved and loaded") for name in ("RAdam", "NAdam", "ASGD")),
])  # fmt: skip
def test_numbers_known_ahead_give_way_to_what_happens(name, what):
    """An update's numbers are computed for many steps at once, until something changes."""

    def between(turn, model, optimizer):
        if turn in (20, 85):
            INTERRUPTIONS[what](optimizer, model)

    both(name, between, steps=90)


def test_numbers_of_steps_that_never_come_may_be_impossible():
    """The learning rate's denominator comes to zero at step 41, which is never made."""

    def make(net):
        optimizer = torch.optim.Adagrad(net.parameters(), lr=0.05)
        optimizer.param_groups[0]["lr_decay"] = -1 / 40
        return optimizer

    sides = [trained(compile, "cpu", make, lambda *given: None, 30) for compile in (lambda f: f, torch.compile)]
    np.testing.assert_allclose(sides[1][0], sides[0][0], 1e-5)


class Scaled(torch.optim.AdamW):
    """A rate that depends on an attribute."""

    factor = 1.0

    def prepare(self, group):
        lr, *rest = super().prepare(group)
        return lr * self.factor, *rest


class Stair(torch.optim.AdamW):
    """A rate that depends on the count."""

    factor = 1.0

    def update(self, group, param, grad, state, hyper):
        lr, *rest = hyper
        super().update(group, param, grad, state, (lr / 10 if state["step"].item() >= 20 else lr, *rest))


@pytest.mark.parametrize("kind", [Scaled, Stair])
def test_a_rule_of_the_programs_own_is_asked_each_time(kind):
    def between(turn, optimizer, net):
        if turn == 15:
            optimizer.factor = 0.1

    def make(net):
        return kind(net.parameters(), lr=0.05)

    sides = [trained(compile, "cpu", make, between, 40) for compile in (lambda f: f, torch.compile)]
    np.testing.assert_allclose(sides[1][0], sides[0][0], 1e-5)


@pytest.mark.parametrize("first", [0, 1])
def test_one_group_takes_another_course_while_the_others_numbers_are_known(first):
    def make(net):
        return torch.optim.AdamW([{"params": m.parameters()} for m in (net[0], net[2])], lr=0.01)

    def between(turn, optimizer, net):
        if turn in (15, 30):
            group = optimizer.param_groups[first]
            group.update(maximize=not group["maximize"])

    sides = [trained(compile, "cpu", make, between, 40) for compile in (lambda f: f, torch.compile)]
    (want, counts), (have, mine) = sides
    np.testing.assert_allclose(have, want, 1e-6)
    assert mine == counts
