"""Memory formats: strides as PyTorch has them, values that do not depend on them."""

from __future__ import annotations

import copy
import io

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn

LAST = torch.channels_last


def _image(*shape):
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape).sub(20).div(10).to(memory_format=LAST)


def test_conversions():
    x = _image(3, 4, 5, 6)
    assert x.stride() == (120, 1, 24, 4)
    assert not x.is_contiguous() and x.is_contiguous(memory_format=LAST)
    assert x.contiguous().stride() == x.clone(memory_format=torch.contiguous_format).stride() == (120, 30, 6, 1)
    assert x.to(memory_format=LAST) is x and x.contiguous(memory_format=LAST) is x
    assert x.clone().stride() == x.double().stride() == torch.rand_like(x).stride() == x.stride()
    assert torch.ones_like(x, memory_format=torch.contiguous_format).stride() == (120, 30, 6, 1)
    assert torch.empty(2, 3, 4, 5, memory_format=LAST).stride() == (60, 1, 15, 3)
    assert torch.empty(1, 2, 3, 4, 5, memory_format=torch.channels_last_3d).stride() == (120, 1, 40, 10, 2)
    assert torch.ones(2, 1, 3, 3).to(memory_format=LAST).stride() == (9, 1, 3, 1)  # copied, though C order is as good
    assert torch.ones(2, 3, 1, 1).contiguous(memory_format=LAST).stride() == (3, 1, 1, 1)
    with pytest.raises(RuntimeError, match="4 dimensions"):
        torch.ones(2, 3).to(memory_format=LAST)
    with pytest.raises(RuntimeError):
        x.view(3, -1)


@pytest.mark.parametrize(
    "name",
    "gelu silu sigmoid tanh relu elu hardswish softplus max_pool2d avg_pool2d batch_norm group_norm conv interpolate "
    "dropout pad adaptive mul".split(),
)
def test_operations_keep_the_format(name):
    weight = torch.arange(36.0).reshape(3, 3, 2, 2).div(36)
    function = (
        {
            "max_pool2d": lambda t: F.max_pool2d(t, 2),
            "avg_pool2d": lambda t: F.avg_pool2d(t, 2),
            "batch_norm": lambda t: F.batch_norm(t, None, None, training=True),
            "group_norm": lambda t: F.group_norm(t, 3),
            "conv": lambda t: F.conv2d(t, weight),
            "interpolate": lambda t: F.interpolate(t, scale_factor=2, mode="bilinear"),
            "dropout": lambda t: F.dropout(t, 0.0),
            "pad": lambda t: F.pad(t, (1, 1, 1, 1)),
            "adaptive": lambda t: F.adaptive_avg_pool2d(t, (2, 3)),
            "mul": lambda t: t * t.mean((2, 3), keepdim=True),
        }.get(name)
        or getattr(torch, name, None)
        or getattr(F, name)
    )
    x = _image(2, 3, 4, 4)
    plain = x.contiguous()
    results = []
    for t in (x, plain):
        t.requires_grad_()
        y = function(t)
        (y * y).sum().backward()
        results.append((y, t.grad))
    assert results[0][0].is_contiguous(memory_format=LAST) and not results[0][0].is_contiguous()
    assert results[1][0].is_contiguous()
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_models_and_optimizers():
    def train(memory_format):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.MaxPool2d(2), nn.Flatten())
        model.to(memory_format=memory_format)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(torch.randn(2, 4, 8, 8).to(memory_format=memory_format)).pow(2).mean()
            loss.backward()
            optimizer.step()
        return model, optimizer, loss

    model, optimizer, loss = train(LAST)
    weight = model[0].weight
    assert weight.stride() == weight.grad.stride() == optimizer.state[weight]["momentum_buffer"].stride()
    assert weight.stride() == (36, 1, 12, 4)
    torch.testing.assert_close(loss, train(torch.contiguous_format)[2])


def test_formats_survive_copies_and_files():
    x = _image(1, 2, 3, 4)
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    for again in (copy.deepcopy(x), torch.load(file)):
        assert again.stride() == x.stride() and torch.equal(again, x)


def test_compiled_steps():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU()).to(memory_format=LAST)
    x = torch.randn(2, 3, 8, 8).to(memory_format=LAST)
    step = torch.compile(lambda t: model(t).sum())
    for _ in range(3):
        torch.testing.assert_close(step(x), model(x).sum())


def test_gradients_of_conversions():
    x = torch.randn(1, 2, 3, 4, requires_grad=True)
    y = x.to(memory_format=LAST)
    assert y.grad_fn.name() == "ToCopyBackward0" and x.clone(memory_format=LAST).grad_fn.name() == "CloneBackward0"
    y.pow(2).sum().backward()
    assert torch.equal(x.grad, 2 * x) and x.grad.is_contiguous()
