"""Every layer on device `xla`: results and gradients are NumPy's, and nothing runs step by step on the host."""

import numpy as np
import pytest

import flambeau as torch
from tests.exported_cases import LAYERS, flat

XLA = torch.device("xla")


def moved(value, device):
    if isinstance(value, torch.Tensor):
        value = value.to(device)
        return value.requires_grad_() if value.is_floating_point() else value
    return type(value)(moved(v, device) for v in value) if isinstance(value, (tuple, list)) else value


def numbers(name, device):
    """Results, gradients and buffers of a layer in training, as NumPy arrays."""
    torch.manual_seed(0)
    module = LAYERS[name][0]().train().to(device)
    torch.manual_seed(1)
    args = moved(list(LAYERS[name][1]()), device)
    torch.manual_seed(2)
    results = flat(module(*args))
    recorded = [t for t in results if t.requires_grad]
    if recorded:
        sum((t * t).sum() for t in recorded).backward()
    grads = [t.grad for t in (*module.parameters(), *flat(args)) if t.grad is not None]
    return [t.detach().cpu().numpy() for t in (*results, *grads, *module.buffers())]


@pytest.mark.parametrize("name", LAYERS)
def test_as_on_numpy(name):
    wanted, got = numbers(name, "cpu"), numbers(name, "xla")
    assert len(wanted) == len(got)
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, 3e-5, 3e-5 * max(1.0, np.abs(b).max(initial=0)))


def test_layers_of_some_size_run_as_whole_programs():
    from flambeau import nn
    from flambeau.engines.xla.calls import STEPWISE

    before = dict(STEPWISE)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 2), nn.GELU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 64), nn.LeakyReLU(), nn.Dropout(0.1), nn.LayerNorm(64),
        nn.Unflatten(1, (8, 8)), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.LSTM(8, 8),
    ).to("xla")  # fmt: skip
    x = torch.randn(16, 3, 16, 16, device="xla", requires_grad=True)
    loss = nn.functional.cross_entropy(model(x)[0].flatten(1), torch.zeros(16, dtype=torch.long, device="xla"))
    loss.backward()
    assert torch.isfinite(x.grad).all() and dict(STEPWISE) == before


def test_a_large_choice_and_the_gradient_of_a_maximum():
    x = torch.randn(4, 3, 20, 20)
    found = []
    for device in ("cpu", "xla"):
        t = x.to(device).requires_grad_()
        y = torch.nn.functional.max_pool2d(torch.where(t > 0, t, t * 0.1), 3, 2, 1)
        (first,) = torch.autograd.grad((y * y).sum(), t, create_graph=True)
        (second,) = torch.autograd.grad((first * first).sum(), t)
        found.append((y.detach().cpu(), first.detach().cpu(), second.cpu()))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, 1e-5, 1e-6)
