"""Steps compiled by XLA against eager ones: training in all its variety, what is refused, what is guarded."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.errors import CaptureError
from tests.compile_cases import HOWS, name_of, train


def by_xla(f):
    return torch.compile(f, backend="xla")


def programs(compiled):
    """How many programs a compiled function has and trusts."""
    if compiled.carried is not None:
        return programs(compiled.carried.compiled)
    return sum(map(len, compiled.trusted.values()))


@pytest.mark.parametrize("device", ["xla", "cpu"])
@pytest.mark.parametrize("how", HOWS, ids=name_of)
def test_training(how, device):
    want, have = train(**how), train(by_xla, device, **how)
    np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-6)
    assert sum(map(programs, train.compiled)) >= 1


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.sum().item(),
        lambda t: bool(t.sum() > 0),
        lambda t: float(t.mean()),
        lambda t: t.tolist(),
        lambda t: t[t > 0],
        lambda t: torch.nonzero(t),
        lambda t: torch.unique(t),
    ],
)
@pytest.mark.parametrize("device", ["xla", "cpu"])
def test_reading_values_is_refused_with_the_line(read, device):
    @by_xla
    def step(x):
        y = x * 2
        read(y)
        return y

    x = torch.arange(-2.0, 3.0).to(device)
    with pytest.raises(CaptureError, match="test_compile.py, line"):
        step(x)
    assert (x + 1).tolist() == [-1.0, 0.0, 1.0, 2.0, 3.0] and not torch.compiler.is_compiling()


def test_fallback_runs_eagerly_and_warns_once():
    @torch.compile(backend="xla", fallback=True)
    def step(x):
        return x * x.sum().item()

    x = torch.ones(3, device="xla")
    with pytest.warns(UserWarning, match="eagerly"):
        assert step(x).tolist() == [3.0] * 3
    assert step(x).tolist() == [3.0] * 3


@pytest.mark.parametrize("device", ["xla", "cpu"])
def test_writes_and_views_are_real(device):
    state = torch.zeros(4, device=device)

    @by_xla
    def step(x):
        view = state[1:3]
        view.add_(x)
        state[0] = view.sum()
        return state * 2

    want = torch.zeros(4)
    for i in range(5):
        x = torch.full((2,), float(i))
        have = step(x.to(device))
        want[1:3] += x
        want[0] = want[1:3].sum()
        assert torch.equal(state.cpu(), want) and torch.equal(have.cpu(), want * 2)
    assert programs(step) == 1


def test_python_values_are_guarded_and_told():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = 2.0

        def forward(self, x):
            return x * self.factor

    scale = Scale()
    compiled = by_xla(scale)
    x = torch.ones(3, device="xla")
    for factor in (2.0, 5.0, 2.0):
        scale.factor = factor
        for _ in range(3):
            assert compiled(x).tolist() == [factor] * 3
    text = torch.compile.explain(compiled)
    assert "factor: 2.0 became 5.0" in text and "2 program(s)" in text and "mul" in text


@pytest.mark.parametrize("device", ["xla", "cpu"])
def test_random_numbers_are_those_of_eager(device):
    def step(x):
        noise = torch.randn(4, device=device) + torch.rand(4, device=device)
        return nn.functional.dropout(x, 0.5) + noise.mul(torch.randint(0, 9, (4,), device=device))

    def run(f):
        x = torch.ones(4, device=device)
        torch.manual_seed(3)
        return [f(x) for _ in range(6)]

    for w, h in zip(run(step), run(by_xla(step)), strict=True):
        assert h.tolist() == pytest.approx(w.tolist(), 1e-6)


def test_random_numbers_within_a_program(monkeypatch):
    from flambeau.compiled.xla import capture

    monkeypatch.setattr(capture, "HOSTS", ())  # as on an accelerator
    x = torch.ones(4000, device="xla")
    step = by_xla(lambda x: (nn.functional.dropout(x, 0.25), torch.randn(4000, device="xla")))

    def run():
        torch.manual_seed(5)
        return [t.cpu() for _ in range(4) for t in step(x)]

    first, again = run(), run()
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    masks, normals = first[::2], first[1::2]
    assert not torch.equal(masks[2], masks[3])
    for m in masks:
        assert abs((m > 0).float().mean().item() - 0.75) < 0.03 and {round(v, 4) for v in m.tolist()} == {0.0, 1.3333}
    assert all(abs(n.std().item() - 1) < 0.05 for n in normals)


def test_a_step_that_differs_from_call_to_call_is_refused():
    number = itertools.count(1).__next__  # of which nothing can be seen

    @by_xla
    def step(x):
        return x * number()

    x = torch.ones(2, device="xla")
    with pytest.raises(CaptureError, match="same each time"):
        for n in range(1, 9):
            assert step(x).tolist() == [float(n)] * 2


def test_values_that_others_have_are_not_donated():
    w = torch.ones(3, device="xla")
    step = by_xla(lambda: w.mul_(2))
    copies = [w.clone()]
    for _ in range(5):
        step()
        copies.append(w.clone())
    assert [c[0].item() for c in copies] == [2.0**i for i in range(6)]


def test_many_small_parameters_are_packed():
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Linear(3, 3) for _ in range(6)]).to("xla")
    twin = nn.Sequential(*[nn.Linear(3, 3) for _ in range(6)])
    twin.load_state_dict(net.state_dict())
    x = torch.randn(2, 3)

    def training(net, device, compile):
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)

        @compile
        def step(x):
            optimizer.zero_grad()
            loss = net(x).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        found = []
        for i in range(8):
            found.append(step(x.to(device)).item())
            if i == 5:  # written from outside
                with torch.no_grad():
                    net[0].weight.mul_(0.5)
        return found, step

    (want, _), (have, step) = training(twin, "cpu", lambda f: f), training(net, "xla", by_xla)
    np.testing.assert_allclose(have, want, 1e-5)
    for p, q in zip(net.parameters(), twin.parameters()):
        np.testing.assert_allclose(p.detach().cpu(), q.detach(), 1e-5, 1e-6)
        np.testing.assert_allclose(p.grad.cpu(), q.grad, 1e-4, 1e-6)
    (variant,) = next(iter(step.trusted.values()))
    assert len(variant.program.units) < 6 < len(variant.program.stores)


@pytest.mark.parametrize("device", ["xla", "cpu"])
def test_autocast_and_activation_checkpoints(device):
    from flambeau.utils.checkpoint import checkpoint

    def run(compile):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 2)).to(device)
        optimizer = torch.optim.AdamW(net.parameters(), 0.01)

        @compile
        def step(x):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = checkpoint(net, x, use_reentrant=False).float().square().mean()
            loss.backward()
            optimizer.step()
            return loss

        x = torch.randn(8, 4).to(device)
        return [step(x).item() for _ in range(6)]

    np.testing.assert_allclose(run(by_xla), run(lambda f: f), 2e-2)


def test_writes_by_masks():
    @by_xla
    def step(x, w):
        y = x.clone()
        y[y > 1] = 0.5
        w = w * 2
        w[w > 3] = 0
        w.sum().backward()
        return y, w.detach()

    for _ in range(3):
        x, w = torch.tensor([-1.0, 1.0, 2.0], device="xla"), torch.tensor([1.0, 2.0], device="xla", requires_grad=True)
        y, v = step(x, w)
        assert y.tolist() == [-1.0, 1.0, 0.5] and v.tolist() == [2.0, 0.0] and w.grad.tolist() == [2.0, 0.0]


INTEGERS = {
    "//": lambda a, b: a // b, "//2": lambda a, b: a // 2, "%": lambda a, b: a % b, "%3": lambda a, b: a % 3,
    "fmod": torch.fmod, "trunc": lambda a, b: torch.div(a, b, rounding_mode="trunc"), "**": lambda a, b: a**b,
    "2**": lambda a, b: 2 ** b, "remainder": lambda a, b: torch.remainder(7, b),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_divided_in_compiled_steps(name):
    """Eagerly a division by zero is an error, which needs the values; a program does not look."""
    a, b = torch.tensor([7, -7, 6, -1, 1]), torch.tensor([2, 2, -4, -3, 3])
    compiled = by_xla(INTEGERS[name])
    for _ in range(3):
        assert compiled(a.to("xla"), b.to("xla")).tolist() == INTEGERS[name](a, b).tolist()
    if name in ("//", "%"):
        with pytest.raises(RuntimeError, match="divided by zero"):
            INTEGERS[name](a.to("xla"), torch.zeros_like(b).to("xla"))


@pytest.mark.parametrize("compile", [by_xla, torch.compile])
def test_a_step_that_only_sees_tensors_of_its_surroundings(compile):
    """They say where it is to run."""
    y = torch.randn(4, 3).to("xla")
    compiled = compile(lambda: torch.nn.functional.dropout(y, 0.5))
    for _ in range(4):
        found = compiled()
        assert found.device.type == "xla" and ((found == 0) | (found == y * 2)).all()
