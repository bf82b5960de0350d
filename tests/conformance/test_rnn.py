"""Recurrent layers against PyTorch's: outputs, states, first and second derivatives, dropout from the same seed."""

import numpy as np
import pytest

import flambeau
from flambeau.ops import rnn

torch = pytest.importorskip("torch")

LAYERS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
CASES = [
    {},
    {"bias": False, "batch_first": True},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    {"packed": True},
    {"num_layers": 2, "bidirectional": True, "packed": True, "dropout": 0.3},
    {"proj_size": 2, "num_layers": 2, "bidirectional": True},
    {"proj_size": 2, "packed": True},
]


def ours(tensor, grad=None):
    return flambeau.tensor(tensor.detach().numpy()).requires_grad_(tensor.requires_grad if grad is None else grad)


def close(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        if b is not None:
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", CASES, ids=lambda o: " ".join(o) or "plain")
@pytest.mark.parametrize("kind", LAYERS)
def test_all_orders(kind, options):
    if "proj_size" in options and kind != "lstm":
        pytest.skip("only LSTM projects")
    options = dict(options)
    packed = options.pop("packed", False)
    torch.manual_seed(0)
    extra = {"nonlinearity": "relu"} if kind == "rnn_relu" else {}
    layer = getattr(torch.nn, LAYERS[kind])(5, 4, dtype=torch.float64, **options, **extra)
    bias, layers = options.get("bias", True), options.get("num_layers", 1)
    both, first = options.get("bidirectional", False), options.get("batch_first", False)
    weights = list(layer._flat_weights)
    x = torch.randn(*((3, 6, 5) if first else (6, 3, 5)), dtype=torch.float64, requires_grad=True)
    states = [
        torch.randn(layers * (1 + both), 3, width, dtype=torch.float64, requires_grad=True)
        for width in (options.get("proj_size") or 4, 4)[: 2 if kind == "lstm" else 1]
    ]
    settings = (bias, layers, options.get("dropout", 0.0), True, both)
    if packed:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, [6, 4, 1])
        sizes, x = x.batch_sizes, x.data.detach().requires_grad_()
        inputs = torch.nn.utils.rnn.PackedSequence(x, sizes)
    else:
        inputs = x
    leaves = [x, *states, *weights]
    mine = [ours(t) for t in leaves]
    hx, my_hx = (tuple(v[1 : 1 + len(states)]) if kind == "lstm" else v[1] for v in (leaves, mine))
    torch.manual_seed(7)
    output, last = layer(inputs, hx)
    outputs = [output.data if packed else output, *(last if kind == "lstm" else [last])]
    flambeau.manual_seed(7)
    my_weights = mine[1 + len(states) :]
    if packed:
        found = getattr(rnn, kind)(mine[0], flambeau.tensor(sizes.numpy()), my_hx, my_weights, *settings)
    else:
        found = getattr(rnn, kind)(mine[0], my_hx, my_weights, *settings, first)
    close(found, outputs)

    noise = [torch.randn_like(t) for t in outputs]
    grads = torch.autograd.grad(outputs, leaves, noise, create_graph=True)
    my_noise = [ours(t) for t in noise]
    close(flambeau.autograd.grad(found, mine, my_noise, retain_graph=True), grads)
    recorded = flambeau.autograd.grad(found, mine, my_noise, create_graph=True)
    close(recorded, grads)
    directions = [torch.randn_like(t) for t in grads]
    second = torch.autograd.grad(grads, leaves, directions, allow_unused=True)
    close(flambeau.autograd.grad(recorded, mine, [ours(t) for t in directions], allow_unused=True), second)
