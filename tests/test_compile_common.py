"""Calls that repeat another are left out of a plan, and only those."""

import ctypes

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiled.memory import Memory


def names(compiled):
    return compiled.latest[1].plan.names


def run(step, count=6, shape=(40, 30)):
    """Results of the compiled step, which are eager's; and the names of its plan's steps."""
    compiled = torch.compile(step)
    generator = np.random.default_rng(2)
    for _ in range(count):
        x = torch.tensor(generator.normal(size=shape).astype(np.float32))
        got, want = compiled(x.clone()), step(x.clone())
        np.testing.assert_array_equal(got.numpy(), want.numpy())
    return names(compiled)


def test_a_copy_that_is_made_twice_is_made_once():
    def step(x):
        return x.t().contiguous().cumsum(0) + x.t().contiguous().cumsum(1)

    def once(x):
        y = x.t().contiguous()
        return y.cumsum(0) + y.cumsum(1)

    assert len(run(step)) == len(run(once))


def test_a_sum_that_is_computed_twice():
    assert run(lambda x: x.cumsum(0).cumsum(1) + x.cumsum(0).cumsum(0)).count("accumulate") == 3


@pytest.mark.parametrize("who", ["operand", "first", "second"])
def test_what_is_written_in_between_is_computed_again(who):
    def step(x):
        y = x * 1
        a = y.t().contiguous()
        if who == "operand":
            y.add_(1)
        elif who == "first":
            a.add_(1)
        b = y.t().contiguous()
        if who == "second":
            b.add_(1)
        return a.cumsum(0) - b.cumsum(1)

    run(step)


def test_zeros_have_signs():
    def step(x):
        return torch.full((40, 30), 0.0).cumsum(0).reciprocal() + torch.full((40, 30), -0.0).reciprocal() * x

    run(step)


def test_draws_are_never_the_same():
    torch.manual_seed(0)
    compiled = torch.compile(lambda x: torch.rand(3) - torch.rand(3) + x)
    assert all((compiled(torch.zeros(3)) != 0).any() for _ in range(5))


def test_the_input_of_a_recurrent_layer_is_laid_out_once():
    torch.manual_seed(0)
    layer, head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 3)
    first = nn.Linear(5, 8)

    def step(x):
        loss = (head(layer(first(x))[0]) ** 2).mean()
        for p in (*layer.parameters(), *head.parameters(), *first.parameters()):
            p.grad = None
        loss.backward()
        return loss.detach()

    compiled = torch.compile(step)
    for _ in range(5):
        x = torch.rand(4, 6, 5)
        assert compiled(x).item() == pytest.approx(step(x).item(), rel=1e-6)
    copies = [name for name in names(compiled) if name == "ascontiguousarray"]
    assert len(copies) <= 1


def test_gradients_of_parts_that_lie_side_by_side_are_the_whole_ones():
    torch.manual_seed(0)
    inner, outer = nn.Linear(64, 192), nn.Linear(64, 64)

    def step(x):
        q, k, v = (t.view(8, 32, 4, 16).transpose(1, 2) for t in inner(x).split(64, dim=2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        loss = (outer(y.transpose(1, 2).reshape(8, 32, 64)) ** 2).mean()
        for p in (*inner.parameters(), *outer.parameters()):
            p.grad = None
        loss.backward()
        return loss.detach()

    compiled = torch.compile(step)
    for _ in range(5):
        x = torch.rand(8, 32, 64)
        got = compiled(x), inner.weight.grad.clone()
        want = step(x), inner.weight.grad
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)
    assert "__setitem__" not in names(compiled)


def test_words_of_a_part_are_counted_from_the_start_of_the_whole():
    """Memory that is met in part first, then as a whole that has no owner in common with the part."""
    raw = (ctypes.c_float * 64)()
    whole = np.ndarray((64,), np.float32, (ctypes.c_float * 64).from_buffer(raw))
    part = np.ndarray((16,), np.float32, (ctypes.c_float * 16).from_buffer(raw, 128))
    memory = Memory()
    memory.meet(part)
    table = memory.lift(np.array([7, part.ctypes.data + 8], np.int64).tobytes())
    block = memory.meet(whole)
    assert memory.words_of(table) == [(1, block, 128 + 8)]
    assert memory.blocks_of(table) == {block}
