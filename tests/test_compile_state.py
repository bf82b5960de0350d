"""Compiled steps and the tensors behind them: steps that replace their own, programs that replace those of a step."""

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.errors import CaptureError


class Carried(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.h = first

    def forward(self, x):
        self.h = x if self.h is None else self.h * 0.5 + x
        return self.h * 1


class Holder:
    def __init__(self):
        self.h = torch.zeros(3)


def rebinding(kind):
    """A step that reads a tensor and then puts another one in its place."""
    if kind == "attribute":
        return Carried(torch.zeros(3)).forward
    if kind == "attribute that was None":
        return Carried(None).forward
    if kind == "object":
        holder = Holder()

        def step(x):
            holder.h = holder.h + x
            return holder.h * 1

        return step
    h = torch.zeros(3)

    def step(x):
        nonlocal h
        h = h + x
        return h * 1

    return step


KINDS = ["attribute", "attribute that was None", "object", "closure"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_that_is_read_and_replaced_goes_from_step_to_step(kind):
    inputs = [torch.full((3,), float(i)) for i in range(9)]
    plain = rebinding(kind)
    expected = [plain(x).tolist() for x in inputs]
    step = torch.compile(rebinding(kind))
    assert [step(x).tolist() for x in inputs] == expected
    assert len(step.carried.compiled.plans) == 1


def test_each_step_leaves_another_tensor():
    model = Carried(torch.zeros(3))
    step, kept = torch.compile(model.forward), []
    for _ in range(7):
        step(torch.ones(3))
        kept.append(model.h)
    assert [h[0].item() for h in kept] == [2 - 0.5**n for n in range(7)]
    model.h = torch.full((3,), 4.0)
    assert step(torch.ones(3)).tolist() == [3.0] * 3
    model.h = None
    assert step(torch.ones(3)).tolist() == [1.0] * 3
    assert step(torch.ones(3)).tolist() == [1.5] * 3


class Recurrent(nn.Module):
    """Keeps its state as a tuple, a list or a dictionary, and a running mean as a buffer that it replaces."""

    def __init__(self, kind):
        super().__init__()
        self.cell, self.kind = nn.LSTMCell(3, 2), kind
        self.register_buffer("mean", torch.zeros(2))
        self.state = self.packed(torch.zeros(4, 2), torch.zeros(4, 2))

    def packed(self, h, c):
        return {"tuple": (h, c), "list": [h, c], "dict": {"h": h, "c": c}}[self.kind]

    def forward(self, x):
        held = self.state
        h, c = self.cell(x, tuple(held.values() if self.kind == "dict" else held))
        self.state = self.packed(h.detach(), c.detach())
        self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        return h - self.mean


@pytest.mark.parametrize("kind", ["tuple", "list", "dict"])
@pytest.mark.parametrize("whole", [False, True])
def test_states_of_recurrent_modules(kind, whole):
    def run(compile):
        torch.manual_seed(0)
        model = Recurrent(kind)
        opt = torch.optim.Adam(model.parameters(), 0.1)
        forward = compile(model) if not whole else model

        def step(x):
            opt.zero_grad()
            loss = forward(x).square().mean()
            loss.backward()
            opt.step()
            return loss

        step = compile(step) if whole else step
        losses = [step(torch.full((4, 3), i / 4)).item() for i in range(8)]
        return [*losses, *model.mean.tolist()]

    assert run(torch.compile) == pytest.approx(run(lambda f: f), rel=1e-5)


def test_objects_that_hold_tensors_can_not_be_carried():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.held = Holder()

        def forward(self, x):
            y = self.held.h + x
            self.held = Holder()
            self.held.h = y
            return y * 1

    step = torch.compile(Model())
    with pytest.raises(CaptureError, match=r"reads the tensor `held`.*in forward\).*copy_"):
        for _ in range(4):
            step(torch.ones(3))
    expected, step = [[float(i)] * 3 for i in range(1, 6)], torch.compile(Model(), fallback=True)
    with pytest.warns(UserWarning, match="eagerly"):
        assert [step(torch.ones(3)).tolist() for _ in range(5)] == expected


def test_an_error_leaves_the_tensor_that_was_there():
    model = Carried(torch.zeros(3))
    step = torch.compile(model.forward)
    for _ in range(5):
        step(torch.ones(3))
    before = model.h
    with pytest.raises(RuntimeError):
        step(torch.ones(4))
    assert model.h is before


def test_replacing_a_tensor_before_it_is_read_is_replayed():
    torch.manual_seed(0)
    layer = nn.utils.weight_norm(nn.Linear(3, 2))

    def step(x):
        return layer(x).detach()

    compiled = torch.compile(step)
    for i in range(6):
        x = torch.full((3,), float(i))
        torch.testing.assert_close(compiled(x), step(x))
    assert len(compiled.plans) == 1


def test_a_tensor_that_the_program_replaces_is_noticed():
    holder = Holder()

    def step(x):
        return holder.h + x

    compiled = torch.compile(step)
    for value in (0.0, 2.0, 5.0):
        holder.h = torch.full((3,), value)
        for _ in range(5):
            assert compiled(torch.ones(3)).tolist() == [value + 1] * 3
    assert any("h: another tensor" in reason for reason in compiled.reasons)


def test_writing_in_place_is_replayed():
    h = torch.zeros(3)

    def step(x):
        h.add_(x)
        return h * 1

    compiled = torch.compile(step)
    assert [compiled(torch.ones(3))[0].item() for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
