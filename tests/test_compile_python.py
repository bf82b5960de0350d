"""Compiled steps and the Python around them: values that they read, values that they change."""

import copy
import types

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.errors import CaptureError
from tests.compile_python import (
    CHANGED,
    EFFECTS,
    SCHEDULED,
    Net,
    averaged,
    given,
    losses_of,
    scheduled_losses,
    training,
)


@pytest.mark.parametrize("name", CHANGED)
def test_what_a_step_reads_may_change(name):
    expected = losses_of(CHANGED[name], "cpu")
    np.testing.assert_allclose(losses_of(CHANGED[name], "cpu", torch.compile), expected, rtol=1e-5)
    unchanged = losses_of(CHANGED[name], "cpu", at=-1)
    assert unchanged[:5] == expected[:5] and unchanged[8] != expected[8]


@pytest.mark.parametrize("name", EFFECTS)
def test_what_replays_would_not_do_is_refused(name):
    build, match = EFFECTS[name]
    step = torch.compile(build("cpu"))
    with pytest.raises(CaptureError, match=match):
        for i in range(6):
            step(*given(i, "cpu"))


@pytest.mark.parametrize("name", EFFECTS)
def test_with_fallback_each_step_runs_once(name):
    def losses(compile):
        torch.manual_seed(0)
        np.random.seed(0)
        step = compile(EFFECTS[name][0]("cpu"))
        return [step(*given(i, "cpu")).item() for i in range(6)]

    if "random" in name or "nobody" in name or "iterator" in name:
        pytest.skip("the numbers are other ones each time")
    expected = losses(lambda step: step)
    with pytest.warns(UserWarning, match="eagerly"):
        assert losses(lambda step: torch.compile(step, fallback=True)) == expected


@pytest.mark.parametrize(
    "read",
    [
        lambda loss: loss.item(),
        lambda loss: loss * 2 if loss > 0 else loss,
        lambda loss: float(str(loss.detach().numpy())),
        lambda loss: loss.reshape(1)[loss.reshape(1) > 0].sum(),
        lambda loss: torch.nonzero(loss.reshape(1)).sum() + loss,
    ],
)
def test_reading_after_the_update_with_fallback_updates_once(read):
    def run(compile):
        torch.manual_seed(0)
        model = Net("cpu", lambda net, y: nn.functional.dropout(y, 0.3))
        norm = nn.BatchNorm1d(4)
        opt = torch.optim.Adam([*model.parameters(), *norm.parameters()], 0.1)

        def step(x, y):
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(norm(x)), y)
            loss.backward()
            opt.step()
            return read(loss)

        step = compile(step)
        losses = [float(step(*given(i, "cpu"))) for i in range(6)]
        return losses, norm.num_batches_tracked.item(), [p.tolist() for p in model.parameters()]

    expected = run(lambda step: step)
    with pytest.warns(UserWarning, match="eagerly"):
        assert run(lambda step: torch.compile(step, fallback=True)) == expected


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("name", SCHEDULED)
def test_schedules_within_the_step(name, optimizer):
    expected = scheduled_losses(SCHEDULED[name], optimizer, "cpu")
    found = scheduled_losses(SCHEDULED[name], optimizer, "cpu", torch.compile)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "ema", "ema, one by one"])
def test_averaged_models_within_the_step(kind):
    for a, b in zip(averaged(kind, "cpu", torch.compile), averaged(kind, "cpu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_schedule_that_needs_a_value_is_refused():
    model = Net("cpu")
    schedules = []
    step = training(model, after=lambda loss: schedules[0].step(loss))
    schedules.append(torch.optim.lr_scheduler.ReduceLROnPlateau(step.optimizer))
    compiled = torch.compile(step)
    with pytest.raises(CaptureError, match=r"ReduceLROnPlateau.step"):
        for i in range(4):
            compiled(*given(i, "cpu"))


def test_what_the_code_does_not_name_may_change():
    trainer = types.SimpleNamespace(model=Net("cpu"), steps=0, log=[])
    trainer.train = training(trainer.model)
    compiled = torch.compile(lambda x, y: trainer.train(x, y))
    for i in range(8):
        trainer.log.append(compiled(*given(i, "cpu")).item())
        trainer.steps += 1
        trainer.model.note = i
    assert len(compiled.plans) == 1 and not any("note" in reason for reason in compiled.reasons)


def test_going_back_finds_the_plan():
    options = {"factor": 1.0}
    model = Net("cpu", lambda net, y: y * options["factor"])
    compiled = torch.compile(training(model))
    for i in range(12):
        options["factor"] = 1.0 + i // 4 % 2
        compiled(*given(i, "cpu"))
    before = len(compiled.plans)
    for i in range(12):
        options["factor"] = 1.0 + i // 4 % 2
        compiled(*given(i, "cpu"))
    assert len(compiled.plans) == before == 2


def test_tensors_left_in_containers_get_their_values():
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.seen, self.by_name = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 2)]), [], {}

        def forward(self, x):
            self.seen = []
            for i, layer in enumerate(self.layers):
                x = torch.tanh(layer(x))
                self.seen.append(x.detach())
                self.by_name[i] = x.detach() * 2
            return x

    torch.manual_seed(0)
    model = Noting()
    step = torch.compile(training(model))
    plain = Noting()
    plain.load_state_dict(model.state_dict())
    eager = training(plain)
    for i in range(6):
        step(*given(i, "cpu"))
        eager(*given(i, "cpu"))
        for a, b in zip((*model.seen, *model.by_name.values()), (*plain.seen, *plain.by_name.values()), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_module_that_is_compiled_in_place():
    def run(compile):
        torch.manual_seed(0)
        model = Net("cpu")
        step = training(model)
        if compile:
            model.compile(fullgraph=True)
        losses = [step(*given(i, "cpu")).item() for i in range(6)]
        handle = model.register_forward_hook(lambda module, x, y: y * 2)
        losses += [step(*given(i, "cpu")).item() for i in range(6)]
        handle.remove()
        losses += [step(*given(i, "cpu")).item() for i in range(6)]
        return model, losses

    model, losses = run(True)
    np.testing.assert_allclose(losses, run(False)[1], rtol=1e-5)
    assert len(model._compiled_call_impl.plans) >= 2
    assert copy.deepcopy(model)._compiled_call_impl is None
