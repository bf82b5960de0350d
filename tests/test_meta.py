"""The device `meta`: shapes, dtypes and strides without values."""

from __future__ import annotations

import copy
import io

import pytest

import flambeau as torch
from flambeau import nn


def test_factories():
    for t in (
        torch.empty(2, 3, device="meta"),
        torch.zeros(2, 3, device="meta"),
        torch.full((2, 3), 4.0, device=torch.device("meta")),
        torch.rand(2, 3, device="meta"),
        torch.tensor([[1.0, 2, 3], [4, 5, 6]], device="meta"),
        torch.ones(2, 3).to("meta"),
        torch.ones_like(torch.ones(2, 3), device="meta"),
    ):
        assert t.is_meta and t.device.type == "meta" and t.shape == (2, 3) and t.dtype is torch.float32
        assert repr(t) == "tensor(..., device='meta', size=(2, 3))"
        assert t.data_ptr() == 0 and t.stride() == (3, 1) and t.nbytes == 24
    with torch.device("meta"):
        assert torch.zeros(3).is_meta and nn.Linear(2, 2).weight.is_meta and torch.arange(3).dtype is torch.int64


def test_nothing_is_drawn_and_no_memory_used():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    torch.randn(5, device="meta"), nn.Linear(3, 3, device="meta"), nn.Dropout()(torch.ones(3, device="meta"))
    assert torch.equal(torch.rand(1), expected)
    big = torch.empty(200_000, 200_000, device="meta")
    assert (big @ big[:, :5]).shape == (200_000, 5)
    assert (big + 1).nbytes == 160_000_000_000 and big.t().contiguous().stride() == (200_000, 1)
    assert nn.Linear(100_000, 50_000, device="meta")(big[:3, :100_000]).shape == (3, 50_000)


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: nn.Conv2d(3, 6, 5), (2, 3, 12, 12)),
        (
            lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            (2, 4, 8, 8),
        ),
        (lambda: nn.LSTM(4, 8, 2, batch_first=True), (2, 5, 4)),
        (lambda: nn.TransformerEncoderLayer(16, 4, batch_first=True), (2, 5, 16)),
        (lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3), nn.GELU(), nn.Softmax(-1), nn.Dropout()), (7, 4)),
        (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 3)),
    ],
)
def test_modules_have_the_shapes_that_they_have_on_the_cpu(make, shape):
    def shapes(result):
        if isinstance(result, torch.Tensor):
            return [(result.shape, result.dtype, result.stride())]
        return [s for r in result for s in shapes(r)]

    x = torch.ones(shape)
    module = make()
    there = copy.deepcopy(module).to("meta")
    y = there(x.to("meta"))
    assert shapes(y) == shapes(module(x))
    first = y if isinstance(y, torch.Tensor) else y[0]
    if first.requires_grad:
        first.sum().backward()
        torch.optim.AdamW(there.parameters()).step()
        for p in there.parameters():
            assert p.grad.is_meta and p.grad.shape == p.shape


def test_operations_and_views():
    a = torch.empty(3, 4, dtype=torch.float16, device="meta")
    b = torch.ones(4, device="meta")
    assert (a + b).dtype is torch.float32 and (a > 0).dtype is torch.bool and (b + torch.tensor(1.0)).is_meta
    assert a.t().stride() == (1, 4) and a[1:].storage_offset() == 4 and b.expand(2, 4).stride() == (0, 1)
    assert torch.topk(b, 2).indices.dtype is torch.int64 and a.sum(0).shape == (4,)
    assert torch.cat([a, a]).shape == (6, 4)
    b.add_(1).fill_(3)
    b[0] = 2
    b.copy_(torch.ones(4))
    assert b.is_meta
    x = torch.empty(2, 3, 4, 5, device="meta").to(memory_format=torch.channels_last)
    assert x.stride() == (60, 1, 15, 3) and (x * 2).stride() == x.stride()


@pytest.mark.parametrize(
    "read, error",
    [
        (lambda t: t.sum().item(), RuntimeError),
        (lambda t: bool(t[0] > 0), RuntimeError),
        (lambda t: float(t[0]), RuntimeError),
        (lambda t: t.tolist(), NotImplementedError),
        (lambda t: t.cpu(), NotImplementedError),
        (lambda t: t.numpy(), TypeError),
        (lambda t: torch.ones(3).copy_(t), NotImplementedError),
        (lambda t: t.nonzero(), NotImplementedError),
        (lambda t: t[t > 0], NotImplementedError),
        (lambda t: torch.unique(t), NotImplementedError),
        (lambda t: t.equal(t), NotImplementedError),
        (lambda t: t + torch.ones(3), RuntimeError),
        (lambda t: t.view(2, 2), RuntimeError),
        (lambda t: t @ torch.empty(4, device="meta"), RuntimeError),
    ],
)
def test_values_can_not_be_had(read, error):
    with pytest.raises(error):
        read(torch.ones(3, device="meta"))


def test_states():
    source = nn.Linear(3, 2)
    module = nn.Linear(3, 2, device="meta")
    with pytest.warns(UserWarning, match="assign=True"):
        module.load_state_dict(source.state_dict())
    assert module.weight.is_meta
    module.load_state_dict(source.state_dict(), assign=True)
    assert type(module.weight) is nn.Parameter and torch.equal(module(torch.ones(3)), source(torch.ones(3)))
    with pytest.raises(RuntimeError, match="no data"):
        nn.Linear(3, 2).load_state_dict(nn.Linear(3, 2, device="meta").state_dict())
    with pytest.raises(NotImplementedError, match="to_empty"):
        nn.Linear(3, 2, device="meta").to("cpu")
    assert nn.Linear(3, 2, device="meta").to_empty(device="cpu").weight.shape == (2, 3)
    assert copy.deepcopy(module.to("meta")).weight.is_meta
    file = io.BytesIO()
    torch.save({"a": torch.empty(2, 3, device="meta")}, file)
    file.seek(0)
    assert torch.load(file)["a"].is_meta


def test_ensembles_over_a_module_without_values():
    models = [nn.Linear(5, 3) for _ in range(4)]
    parameters, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")

    def call(p, b, x):
        return torch.func.functional_call(base, (p, b), (x,))

    x = torch.randn(7, 5)
    found = torch.vmap(call, (0, 0, None))(parameters, buffers, x)
    torch.testing.assert_close(found, torch.stack([m(x) for m in models]))
