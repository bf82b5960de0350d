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
def test_replacing_a_tensor_that_was_read_is_refused(kind):
    step = torch.compile(rebinding(kind))
    step(torch.ones(3))
    with pytest.raises(CaptureError, match=r"`h`.*copy_"):
        for _ in range(3):
            step(torch.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_with_fallback_it_runs_eagerly(kind):
    inputs = [torch.full((3,), float(i)) for i in range(7)]
    plain = rebinding(kind)
    expected = [plain(x).tolist() for x in inputs]
    step = torch.compile(rebinding(kind), fallback=True)
    with pytest.warns(UserWarning, match="eagerly"):
        assert [step(x).tolist() for x in inputs] == expected


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
