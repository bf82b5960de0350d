"""Arguments that a plan reads where the program has them: a compiled step does what the step does."""

import gc
import types

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from tests.compile_cases import in_threads


def made():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(24, 80), nn.ReLU(), nn.Linear(80, 24))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def training(keep=None):
    model, optimizer = made()

    def step(x):
        optimizer.zero_grad()
        if keep is not None:
            keep(x)
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def inputs(count=8):
    generator = np.random.default_rng(5)
    return [torch.tensor(generator.normal(size=(64, 24)).astype(np.float32)) for _ in range(count)]


def plan_of(compiled):
    return compiled.latest[1].plan


def test_batches_are_read_where_they_are():
    (_, step), (_, eager) = training(), training()
    compiled = torch.compile(step)
    for x in inputs():
        before = x.clone()
        assert compiled(x).item() == eager(x).item()
        assert torch.equal(x, before)
    assert plan_of(compiled).words, "this step's argument is for products alone"


def test_what_nobody_can_reach_keeps_no_argument():
    """A step that leaves cycles, as any exception that a function holds on to, waits for the collector's next turn."""

    def leave(x):
        cycle = [x]
        cycle.append(cycle)

    (_, step), (_, eager) = training(leave), training()
    compiled = torch.compile(step)
    was = gc.isenabled()
    gc.disable()
    try:
        for x in inputs():
            assert compiled(x).item() == eager(x).item()
    finally:
        if was:
            gc.enable()
    assert plan_of(compiled).words


def test_a_capture_leaves_no_cycles_of_its_own():
    """Cross entropy looks at its targets, which ends in an exception within a capture."""
    model, optimizer = made()

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    compiled = torch.compile(step)
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        for x in inputs():
            compiled(x, torch.arange(64) % 24)
            frames = [f for f in gc.get_objects() if isinstance(f, types.FrameType) and f.f_code is step.__code__]
            assert not frames
    finally:
        if was:
            gc.enable()


def test_a_batch_may_go_as_soon_as_the_step_is_over():
    (_, step), (_, eager) = training(), training()
    compiled = torch.compile(step)
    for x in inputs():
        want = eager(x).item()
        loss = compiled(x.clone())
        gc.collect()
        np.full(x.numel(), np.nan, np.float32)  # likely to lie where the copy was
        assert loss.item() == want


@pytest.mark.parametrize("which", ["a parameter's", "a gradient's", "a result's"])
def test_arguments_in_memory_that_the_step_writes(which):
    """What the step gets may be memory of its own from the step before."""
    losses = []
    for wrap in (torch.compile, lambda f: f):
        torch.manual_seed(3)
        model = nn.Linear(64, 64, bias=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = torch.zeros(64, 64)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            out = model(x)
            (out**2).mean().backward()
            optimizer.step()
            return model(x).detach()

        run = wrap(step)
        seen = []
        for i in range(9):
            x = torch.full((64, 64), 0.1 * (i + 1))
            if i > 4:
                x = {"a parameter's": model.weight.detach(), "a gradient's": model.weight.grad, "a result's": loss}[
                    which
                ]
            loss = run(x)
            seen.append(loss.clone())
        losses.append(seen)
    for got, want in zip(*losses, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["itself", "view", "in a list"])
def test_a_step_that_keeps_its_argument(how):
    """Whoever keeps a tensor finds the latest batch in it, not that of the capture."""

    class Keeper:
        kept = None

    keeper, box = Keeper(), []

    def keep(x):
        if how == "in a list":
            box[:] = [x]
        else:
            keeper.kept = x if how == "itself" else x.view(-1)

    _, step = training(keep)
    compiled = torch.compile(step)
    for x in inputs():
        compiled(x)
        kept = box[0] if box else keeper.kept
        assert torch.equal(kept.reshape(64, 24), x)


def test_results_that_show_the_argument():
    model, _ = made()

    @torch.compile
    def step(x):
        with torch.no_grad():
            return model(x), x[:2], x

    for x in inputs():
        out, head, same = step(x)
        assert same is x and torch.equal(head, x[:2])
        torch.testing.assert_close(out, model(x).detach())


def test_other_layouts_are_other_plans():
    (_, step), (_, eager) = training(), training()
    compiled = torch.compile(step)
    generator = np.random.default_rng(5)
    for i in range(12):
        wide = torch.tensor(generator.normal(size=(64, 48)).astype(np.float32))
        x = (wide[:, ::2], wide[:, :24], wide[:, :24].contiguous(), wide[:, :24].t().contiguous().t())[i % 4]
        assert compiled(x).item() == pytest.approx(eager(x).item(), rel=1e-6)


def test_threads_that_share_a_compiled_function():
    """A plan reads arguments where they are: each thread's call its own."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 4))
    compiled = torch.compile(lambda x: net(x).detach())
    batches = [torch.randn(64, 32) for _ in range(2)]
    want = [net(x).detach().numpy() for x in batches]
    for x in batches * 4:
        compiled(x)
    wrong = []

    def work(i):
        for _ in range(500):
            if not np.allclose(compiled(batches[i]).numpy(), want[i], atol=1e-5):
                wrong.append(i)

    in_threads(work, 2)
    assert not wrong
