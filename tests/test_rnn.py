"""Recurrent layers: against their formulas step by step, packed against padded, at sizes that take all paths."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.engines.numpy import recurrent
from flambeau.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

KINDS = ["LSTM", "GRU", "RNN"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, state, wi, wh, bi, bh):
    """One step by the formulas in the papers."""
    a, b = x @ wi.T + bi, state[0] @ wh.T + bh
    if kind == "RNN":
        return (np.tanh(a + b),)
    if kind == "GRU":
        (r, z, n), (rh, zh, nh) = np.split(a, 3, 1), np.split(b, 3, 1)
        z = sigmoid(z + zh)
        return ((1 - z) * np.tanh(n + sigmoid(r + rh) * nh) + z * state[0],)
    i, f, g, o = np.split(a + b, 4, 1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize("width, hidden, steps, batch", [(3, 5, 4, 2), (130, 20, 9, 3), (40, 64, 30, 16)])
@pytest.mark.parametrize("kind", KINDS)
def test_formulas(kind, width, hidden, steps, batch):
    torch.manual_seed(1)
    layer = getattr(nn, kind)(width, hidden, dtype=torch.float64)
    x = torch.randn(steps, batch, width, dtype=torch.float64)
    state = [np.full((batch, hidden), 0.3), np.full((batch, hidden), -0.2)][: 2 if kind == "LSTM" else 1]
    hx = tuple(torch.tensor(s[None]) for s in state)
    y, last = layer(x, hx if kind == "LSTM" else hx[0])
    weights = [w.detach().numpy() for w in layer.parameters()]
    for t in range(steps):
        state = step(kind, x[t].numpy(), state, *weights)
        np.testing.assert_allclose(y[t].detach().numpy(), state[0], rtol=1e-12, atol=1e-13)
    for found, want in zip(last if kind == "LSTM" else [last], state):
        np.testing.assert_allclose(found[0].detach().numpy(), want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_gradients_of_a_large_layer(kind):
    """The fused kernel at a size that takes blocks and threads, against float64."""
    torch.manual_seed(2)
    layer = getattr(nn, kind)(48, 96, batch_first=True)
    double = getattr(nn, kind)(48, 96, batch_first=True, dtype=torch.float64)
    double.load_state_dict({k: v.double() for k, v in layer.state_dict().items()})
    x = torch.randn(17, 37, 48)
    noise = torch.randn(17, 37, 96)
    found = []
    for model, d in ((layer, torch.float32), (double, torch.float64)):
        a = x.detach().to(d, copy=True).requires_grad_()
        y, _ = model(a)
        (y * noise.to(d)).sum().backward()
        found.append([y.detach(), a.grad, *[p.grad for p in model.parameters()]])
    for single, exact in zip(*found):
        scale = exact.abs().max().item()
        np.testing.assert_allclose(single.numpy() / scale, exact.numpy() / scale, atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_is_each_sequence_alone(kind):
    torch.manual_seed(3)
    layer = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    lengths = [5, 3, 1]
    out, last = layer(pack_padded_sequence(x, lengths))
    y, got = pad_packed_sequence(out)
    assert got.tolist() == lengths
    for b, n in enumerate(lengths):
        alone, final = layer(x[:n, b : b + 1])
        np.testing.assert_allclose(y[:n, b].detach().numpy(), alone[:, 0].detach().numpy(), atol=1e-13)
        assert not y[n:, b].detach().numpy().any()
        for both, one in zip(last if kind == "LSTM" else [last], final if kind == "LSTM" else [final]):
            np.testing.assert_allclose(both[:, b].detach().numpy(), one[:, 0].detach().numpy(), atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_layers_of_one_step(kind):
    torch.manual_seed(4)
    cell, layer = getattr(nn, kind + "Cell")(3, 4), getattr(nn, kind)(3, 4)
    layer.load_state_dict({k + "_l0": v for k, v in cell.state_dict().items()})
    x = torch.randn(2, 3)
    found, (y, _) = cell(x), layer(x[None])
    assert (found[0] if kind == "LSTM" else found).tolist() == y[0].tolist()


def test_dropout_between_layers():
    torch.manual_seed(5)
    layer = nn.LSTM(3, 50, num_layers=2, dropout=0.5)
    x = torch.randn(4, 2, 3)
    a, b = layer(x)[0], layer(x)[0]
    assert a.tolist() != b.tolist()
    layer.eval()
    assert layer(x)[0].tolist() == layer(x)[0].tolist()


def test_projections():
    layer = nn.LSTM(3, 6, proj_size=2)
    y, (h, c) = layer(torch.randn(4, 2, 3))
    assert y.shape == (4, 2, 2) and h.shape == (1, 2, 2) and c.shape == (1, 2, 6)


def test_second_derivatives():
    layer = nn.LSTM(2, 2, dtype=torch.float64)

    def last(x):
        return layer(x)[1][1]

    assert torch.autograd.gradgradcheck(last, [torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)])


BAD = {
    "features": lambda m: m(torch.ones(3, 2, 7)),
    "dimensions": lambda m: m(torch.ones(3, 2, 3, 3)),
    "state": lambda m: m(torch.ones(3, 2, 3), (torch.ones(1, 2, 9), torch.ones(1, 2, 4))),
    "layers": lambda m: m(torch.ones(3, 2, 3), (torch.ones(2, 2, 4), torch.ones(2, 2, 4))),
    "empty": lambda m: m(torch.ones(0, 2, 3)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name):
    with pytest.raises((RuntimeError, ValueError)):
        BAD[name](nn.LSTM(3, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps, batch, width, size", [(1, 1, 1, 1), (5, 3, 4, 7), (9, 33, 20, 65)])
@pytest.mark.parametrize("kind", ["gru", "tanh", "relu"])
def test_native_loops_are_those_of_numpy(kind, steps, batch, width, size, batch_first, bias, dtype):
    """Sequences that all have the full length, said explicitly, go NumPy's way."""
    rng = np.random.default_rng(0)

    def made(*shape):
        return rng.standard_normal(shape).astype(dtype) * dtype(0.15)

    gates = 3 if kind == "gru" else 1
    x = made(batch, steps, width).swapaxes(0, 1) if batch_first else made(steps, batch, width)
    weights = made(batch, size), made(gates * size, width), made(gates * size, size)
    biases = (made(gates * size), made(gates * size)) if bias else (None, None)
    gy, gh = made(steps, batch, size), made(batch, size)
    tolerance = dict(rtol=1e-4, atol=1e-5) if dtype == np.float32 else dict(rtol=1e-11, atol=1e-12)
    found = []
    for lengths in (None, [steps] * batch):
        if kind == "gru":
            y, h, tape = recurrent.gru_layer(x, *weights, *biases, lengths)
            rest = [
                recurrent.gru_layer_backward(*g, x, *weights, biases[0], y, tape, lengths)
                for g in ((gy, gh), (gy, None), (None, gh))
            ]
        else:
            relu = kind == "relu"
            y, h = recurrent.rnn_layer(x, *weights, *biases, relu, lengths)
            rest = [
                recurrent.rnn_layer_backward(*g, x, *weights, biases[0], y, relu, lengths)
                for g in ((gy, gh), (gy, None), (None, gh))
            ]
        found.append([y, h, *(g for grads in rest for g in grads)])
    for native, plain in zip(*found, strict=True):
        assert (native is None) == (plain is None)
        if plain is not None:
            np.testing.assert_allclose(native, plain, **tolerance)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_outputs_lie_step_by_step_so_that_dropout_draws_as_in_pytorch(name, batch_first):
    layer = getattr(nn, name)(4, 6, 2, batch_first=batch_first, dropout=0.5)
    x = torch.randn(5, 3, 4)
    for data in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        steps = layer(data)[0]
        assert (steps.transpose(0, 1) if batch_first else steps).is_contiguous()
    recorded = {"LSTM": 4.71946, "GRU": -5.38289, "RNN": -9.91963}  # what PyTorch gives
    torch.manual_seed(0)
    layer = getattr(nn, name)(4, 6, 2, batch_first=True, dropout=0.5)
    assert layer(torch.randn(5, 3, 4))[0].sum().item() == pytest.approx(recorded[name], abs=2e-4)
