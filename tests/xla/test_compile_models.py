"""Modules, optimizers and whole models, compiled by XLA, against eager NumPy."""

import importlib

import numpy as np
import pytest

import flambeau as torch
from bench.workloads import NAMES
from flambeau import nn, optim
from tests.xla.test_training import MODULES, OPTIMIZERS, flat


def numbers(make, inputs, device, compile):
    """Results, gradients of parameters and inputs, buffers after three calls, all as NumPy arrays."""
    torch.manual_seed(0)
    module, args = make(), inputs()
    module.to(device)
    call = compile(module)
    for _ in range(3):
        given = [t.to(device, copy=True).requires_grad_(t.is_floating_point()) for t in args]
        module.zero_grad()
        results = [t for t in flat(call(*given)) if t.is_floating_point()]
        sum((t * t).sum() for t in results).backward()
    seen = [*results, *(p.grad for p in module.parameters()), *(t.grad for t in given), *module.buffers()]
    return [t.detach().cpu().numpy() for t in seen if t is not None]


def by_xla(f):
    return torch.compile(f, backend="xla", fallback=False)


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    make, inputs = MODULES[name]
    have, want = numbers(make, inputs, "xla", by_xla), numbers(make, inputs, "cpu", lambda f: f)
    for a, b in zip(have, want, strict=True):
        np.testing.assert_allclose(a, b, 2e-4, 2e-5)


MORE = {
    "adafactor": lambda p: optim.Adafactor(p, 0.05, weight_decay=0.01),
    "muon": lambda p: optim.Muon([q for q in p if q.ndim == 2], 0.02),
    "adam with options": lambda p: optim.Adam(p, 0.05, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1, maximize=True),
    "sgd plain": lambda p: optim.SGD(p, 0.1),
    "sgd dampened": lambda p: optim.SGD(p, 0.1, momentum=0.5, dampening=0.2, weight_decay=0.1),
    "groups": lambda p: optim.AdamW([{"params": [q], "lr": 0.01 * (i + 1)} for i, q in enumerate(p)]),
}


def losses(make, device, dtype, compile, steps=8):
    """The losses of some steps of a small net, with a schedule."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(device, dtype)
    x, y = torch.randn(8, 3).to(device, dtype), torch.randn(8, 1).to(device, dtype)
    optimizer = make(list(net.parameters()))
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    @compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    found = []
    for _ in range(steps):
        found.append(step(x, y).item())
        schedule.step()
    if compile is by_xla:
        assert sum(map(len, step.trusted.values())) >= 1
    return found


@pytest.mark.parametrize("device", ["xla", "cpu"])
@pytest.mark.parametrize("name", [n for n in {**OPTIMIZERS, **MORE} if n != "lbfgs"])
def test_optimizer(name, device):
    make = {**OPTIMIZERS, **MORE}[name]
    want = losses(make, "cpu", torch.float64, lambda f: f)
    np.testing.assert_allclose(losses(make, device, torch.float64, by_xla), want, 2e-3 if name == "muon" else 1e-7)


def test_low_precision():
    make = OPTIMIZERS["adamw"]
    want = losses(make, "cpu", torch.bfloat16, lambda f: f)
    np.testing.assert_allclose(losses(make, "xla", torch.bfloat16, by_xla), want, 0.05)


@pytest.mark.parametrize("name", [
    name if name in ("tutorial", "mlp") else pytest.param(name, marks=pytest.mark.slow) for name in NAMES
])  # fmt: skip
def test_bench_model(name, as_torch):
    """50 steps give eager NumPy's losses to three digits."""
    module = importlib.import_module(f"bench.workloads.{name}")
    want, have = module.make(), module.make(by_xla)
    pairs = np.array([(want().item(), have().item()) for _ in range(50)])
    np.testing.assert_allclose(pairs[:, 1], pairs[:, 0], 5e-4)
