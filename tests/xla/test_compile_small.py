"""Compiled steps of little arithmetic: one kernel in the caller's thread; and those that can't be one."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.engines.xla import small
from flambeau.engines.xla.program import Program
from tests.xla.test_compile import by_xla, programs


def program(compiled):
    return compiled.latest[1].program


def runs_here(compiled):
    return program(compiled)._function is Program._run_small


def training(width, dtype=torch.float32, act=nn.Tanh):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(width, width), act(), nn.Linear(width, 1)).to("xla", dtype)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    x = torch.randn(4, width, dtype=dtype).to("xla")

    def step():
        optimizer.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return net, step


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_small_step_runs_where_it_is_called(dtype):
    net, step = training(6, dtype)
    eager = [step().item() for _ in range(8)]
    own, again = training(6, dtype)
    compiled = by_xla(again)
    losses = []
    for _ in range(8):
        loss = compiled()
        losses.append(loss.item())
    assert runs_here(compiled) and programs(compiled) == 1
    np.testing.assert_allclose(losses, eager, rtol=1e-5)
    for p, q in zip(net.parameters(), own.parameters()):
        torch.testing.assert_close(p, q)
    assert compiled()._a.store.value.is_ready()  # nothing is left to wait for


@pytest.mark.parametrize("width, dtype", [(64, torch.float32), (6, torch.bfloat16)])
def test_another_step_is_handed_over(width, dtype):
    _, step = training(width, dtype)
    compiled = by_xla(step)
    for _ in range(4):
        compiled()
    assert not runs_here(compiled)


def test_a_step_with_a_function_of_the_host_is_handed_over():
    x = torch.tensor([[2.0, 1.0], [1.0, 3.0]], device="xla")
    compiled = by_xla(lambda a: torch.linalg.inv(a) @ a)
    for _ in range(3):
        found = compiled(x)
    assert not runs_here(compiled)
    torch.testing.assert_close(found.cpu(), torch.eye(2))


def test_a_kind_of_operation_that_no_kernel_takes(monkeypatch):
    """What is taken for plain, and is not, is compiled as usual."""
    monkeypatch.setattr(small, "_PLAIN", small._PLAIN | {"sort"})
    compiled = by_xla(lambda a: (a * 2).sort(stable=True).values + 1)
    for _ in range(3):
        found = compiled(torch.tensor([3.0, 1.0, 2.0], device="xla"))
    assert found.tolist() == [3.0, 5.0, 7.0]
    assert not runs_here(compiled)


def test_a_jax_without_such_programs(monkeypatch):
    def gone(*given, **options):
        raise AttributeError("module_context")

    monkeypatch.setattr(small._here, "bind", gone, raising=False)
    _, step = training(5)
    compiled = by_xla(step)
    losses = [compiled().item() for _ in range(6)]
    assert not runs_here(compiled) and losses[-1] < losses[0]


def test_inputs_that_are_elsewhere_than_they_were():
    x = torch.arange(4.0, device="xla")
    compiled = by_xla(lambda a: a * 2 + 1)
    for _ in range(3):
        compiled(x)
    assert runs_here(compiled)

    def refusing(*given):
        raise ValueError("compiled for another sharding")

    program(compiled)._executable = refusing
    assert compiled(x).tolist() == [1.0, 3.0, 5.0, 7.0]
    assert not runs_here(compiled) and compiled(x).tolist() == [1.0, 3.0, 5.0, 7.0]


def test_somebody_else_keeps_the_state_of_a_small_step():
    """The old value is not given away while it can be seen."""
    w = torch.nn.Parameter(torch.ones(3, device="xla"))
    optimizer = torch.optim.SGD([w], lr=0.5)

    def step():
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()

    compiled = by_xla(step)
    for _ in range(4):
        compiled()
    assert runs_here(compiled)
    before = w._a.store.read()
    compiled()
    assert np.asarray(before).tolist() == [-1.0] * 3 and w.tolist() == [-1.5] * 3


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_inputs_that_come_to_nothing(dtype):
    """XLA finds out that the result does not depend on them; its emitter wants each input of a kernel used."""
    x, y = torch.tensor([1, 2, 3], dtype=dtype).to("xla"), torch.tensor([4, 5, 6], dtype=dtype).to("xla")
    compiled = by_xla(lambda a, b: (a + b * 0 if dtype is torch.int64 else a + b**0, b - b, a))
    for _ in range(3):
        found = compiled(x, y)
    assert runs_here(compiled)
    more = int(dtype is torch.float32)
    assert [t.tolist() for t in found] == [[1 + more, 2 + more, 3 + more], [0, 0, 0], [1, 2, 3]]


def test_a_step_without_inputs():
    compiled = by_xla(lambda: torch.ones(3, device="xla") * 2)
    for _ in range(3):
        assert compiled().tolist() == [2.0] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_of_steps_that_wait_for_their_inputs(dtype, monkeypatch):
    """XLA reads an optimizer's numbers where the host writes them: not before an earlier call has had its own."""
    monkeypatch.setattr("flambeau.engines.xla.program._WAITS", 8)
    large = torch.eye(600, device="xla") * 0.5

    def trained(wrap):
        torch.manual_seed(0)
        layer = nn.Linear(4, 1).to("xla", dtype)
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)

        def step(x):
            optimizer.zero_grad()
            loss = (layer(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        wrapped, losses = wrap(step), []
        for i in range(30):
            x = large
            for _ in range(4):
                x = x @ large
            losses.append(wrapped((x[:4, :4] * i).to(dtype)))
        return wrapped, [loss.item() for loss in losses]

    _, eager = trained(lambda step: step)
    compiled, losses = trained(by_xla)
    assert runs_here(compiled)
    np.testing.assert_allclose(losses, eager, rtol=1e-5)
    assert program(compiled)._waits <= 8


def test_the_memory_of_numbers_is_the_programs_own():
    """A call that a program does not take on in this thread gets numbers of its own."""
    _, step = training(5)
    compiled = by_xla(step)
    losses = [compiled().item() for _ in range(6)]
    assert runs_here(compiled) and len(program(compiled)._numbers) == 1

    def refusing(*given):
        raise ValueError("compiled for another sharding")

    program(compiled)._executable = refusing
    losses += [compiled().item() for _ in range(6)]
    assert not runs_here(compiled) and program(compiled).donated
    _, again = training(5)
    np.testing.assert_allclose(losses, [again().item() for _ in range(12)], rtol=1e-5)


def test_gradients_of_a_small_step_lie_with_its_state():
    net, step = training(5)
    own, again = training(5)
    compiled = by_xla(again)
    for i in range(8):
        step(), compiled()
        for p, q in zip(net.parameters(), own.parameters()):
            torch.testing.assert_close(p.grad, q.grad)
            q.grad.mul_(0.5)  # nothing of it is left after the next step
        if i == 5:
            with torch.no_grad():
                for p in (*net.parameters(), *own.parameters()):
                    p.mul_(0.9)
        if i > 3:
            assert runs_here(compiled) and len(program(compiled).gives) == 1
    for p, q in zip(net.parameters(), own.parameters()):
        torch.testing.assert_close(p, q)


def test_numbers_far_ahead_and_other_options():
    """Many steps with the same options, then others: numbers that were computed ahead are not used for those."""

    def trained(device, wrap):
        w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], device=device))
        optimizer = torch.optim.Adam([w], lr=1e-2)

        def step():
            optimizer.zero_grad()
            (w**2).sum().backward()
            optimizer.step()

        step = wrap(step)
        for i in range(260):
            if i in (150, 155):
                optimizer.param_groups[0]["lr"] = 1e-3 * i
            step()
        return w.tolist()

    np.testing.assert_allclose(trained("xla", by_xla), trained("cpu", lambda step: step), rtol=1e-4, atol=1e-6)
