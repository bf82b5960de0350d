"""Modules and optimizers on device `xla` give NumPy's numbers."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn, optim

# name: (makes the module, makes its inputs)
MODULES = {
    "linear": (lambda: nn.Linear(3, 2), lambda: [torch.randn(4, 3)]),
    "bilinear": (lambda: nn.Bilinear(3, 2, 2), lambda: [torch.randn(4, 3), torch.randn(4, 2)]),
    "embedding": (lambda: nn.Embedding(5, 3, padding_idx=1), lambda: [torch.tensor([[1, 2], [4, 1]])]),
    "embedding bag": (lambda: nn.EmbeddingBag(5, 3), lambda: [torch.tensor([1, 2, 4]), torch.tensor([0, 1])]),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, 2, 1, 2, 2), lambda: [torch.randn(2, 2, 9)]),
    "conv2d": (lambda: nn.Conv2d(2, 4, 3, padding="same"), lambda: [torch.randn(2, 2, 5, 4)]),
    "conv2d depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), lambda: [torch.randn(1, 4, 5, 5)]),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), lambda: [torch.randn(1, 1, 3, 3, 3)]),
    "conv transpose": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1, dilation=2), lambda: [torch.randn(1, 2, 3, 3)]),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), lambda: [torch.randn(1, 2, 6, 6)]),
    "avg pool": (lambda: nn.AvgPool2d(3, 2, 1), lambda: [torch.randn(1, 2, 6, 6)]),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d((2, 3)), lambda: [torch.randn(1, 2, 5, 5)]),
    "batch norm": (lambda: nn.BatchNorm2d(3), lambda: [torch.randn(2, 3, 2, 2)]),
    "layer norm": (lambda: nn.LayerNorm(4), lambda: [torch.randn(3, 4)]),
    "rms norm": (lambda: nn.RMSNorm(4), lambda: [torch.randn(3, 4)]),
    "group norm": (lambda: nn.GroupNorm(2, 4), lambda: [torch.randn(2, 4, 3)]),
    "instance norm": (lambda: nn.InstanceNorm1d(3, affine=True), lambda: [torch.randn(2, 3, 5)]),
    "lstm": (lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), lambda: [torch.randn(3, 2, 3)]),
    "gru": (lambda: nn.GRU(3, 4, batch_first=True), lambda: [torch.randn(2, 3, 3)]),
    "rnn": (lambda: nn.RNN(3, 4, nonlinearity="relu"), lambda: [torch.randn(3, 2, 3)]),
    "lstm cell": (lambda: nn.LSTMCell(3, 4), lambda: [torch.randn(2, 3)]),
    "attention": (lambda: nn.MultiheadAttention(4, 2), lambda: [torch.randn(3, 2, 4) for _ in range(3)]),
    "transformer layer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0), lambda: [torch.randn(3, 2, 4)]),
    "activations": (
        lambda: nn.Sequential(nn.GELU(), nn.SiLU(), nn.Mish(), nn.PReLU(), nn.Softplus(), nn.Softmax(-1)),
        lambda: [torch.randn(3, 4)],
    ),
    "dropout": (lambda: nn.Dropout(0.5), lambda: [torch.randn(3, 4)]),
    "padding": (lambda: nn.ReflectionPad2d(1), lambda: [torch.randn(1, 1, 3, 3)]),
    "upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), lambda: [torch.randn(1, 1, 3, 3)]),
}


def flat(result):
    """The tensors of a result."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for r in result or () for t in flat(r)]


def numbers(make, inputs, device):
    """Results, gradients of parameters and inputs, buffers, all as NumPy arrays."""
    torch.manual_seed(0)
    module, args = make(), [t.to(device) for t in inputs()]
    module.to(device)
    args = [t.requires_grad_() if t.is_floating_point() else t for t in args]
    results = flat(module(*args))
    assert all(t.device.type == torch.device(device).type for t in results)
    sum((t * t).sum() for t in results if t.requires_grad).backward()
    seen = [*results, *(p.grad for p in module.parameters()), *(t.grad for t in args), *module.buffers()]
    return [t.detach().cpu().numpy() for t in seen if t is not None]


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    make, inputs = MODULES[name]
    for a, b in zip(numbers(make, inputs, "xla"), numbers(make, inputs, "cpu"), strict=True):
        np.testing.assert_allclose(a, b, 2e-4, 2e-5)


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, 0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.1),
    "rmsprop": lambda p: optim.RMSprop(p, 0.05, momentum=0.9, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, 0.1, lr_decay=0.1),
    "adadelta": lambda p: optim.Adadelta(p),
    "adamax": lambda p: optim.Adamax(p, 0.05),
    "nadam": lambda p: optim.NAdam(p, 0.05),
    "radam": lambda p: optim.RAdam(p, 0.05),
    "asgd": lambda p: optim.ASGD(p, 0.05),
    "rprop": lambda p: optim.Rprop(p),
    "lbfgs": lambda p: optim.LBFGS(p, 0.5, max_iter=3),
}


def losses(make, device, dtype):
    """The losses of some steps of a small net, with a schedule."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(device, dtype)
    x, y = torch.randn(8, 3).to(device, dtype), torch.randn(8, 1).to(device, dtype)
    optimizer = make(net.parameters())
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    found = []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    for _ in range(6):
        found.append(optimizer.step(closure).item())
        schedule.step()
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name):
    make = OPTIMIZERS[name]
    np.testing.assert_allclose(losses(make, "xla", torch.float64), losses(make, "cpu", torch.float64), 1e-7)


def test_low_precision():
    make = OPTIMIZERS["adamw"]
    np.testing.assert_allclose(losses(make, "xla", torch.bfloat16), losses(make, "cpu", torch.bfloat16), 0.05)


def test_clipping_and_vectors():
    def run(device):
        torch.manual_seed(2)
        net = nn.Linear(3, 2).to(device)
        net(torch.randn(4, 3).to(device)).square().sum().backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        vector = nn.utils.parameters_to_vector(net.parameters())
        return [norm.item(), *net.weight.grad.reshape(-1).tolist(), *vector.tolist()]

    np.testing.assert_allclose(run("xla"), run("cpu"), 1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_values_that_others_share_stay(name):
    """Copies share their value on a device: an update makes another one, and leaves theirs alone."""
    first, second = nn.Linear(3, 2).to("xla"), nn.Linear(3, 2).to("xla")
    second.load_state_dict(first.state_dict())
    before = [p.detach().cpu().clone() for p in first.parameters()]
    optimizer = OPTIMIZERS[name](second.parameters())

    def closure():
        optimizer.zero_grad()
        loss = second(torch.ones(2, 3, device="xla")).square().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    assert all(torch.equal(p.detach().cpu(), b) for p, b in zip(first.parameters(), before, strict=True))
    assert not torch.equal(second.weight.detach().cpu(), before[0])
