"""One recurrent layer, forward and backward: 32 sequences of 64 steps, width 128; for `python -m bench --recurrent`."""

import torch


def make(wrap=lambda train: train, name="LSTM", batch=32, length=64, width=128):
    torch.manual_seed(0)
    options = {"nonlinearity": "relu"} if name == "ReLU" else {}
    kind = {"ReLU": "RNN", "tanh": "RNN"}.get(name, name)
    layer = getattr(torch.nn, kind)(int(width), int(width), batch_first=True, **options)
    x = torch.randn(int(batch), int(length), int(width), requires_grad=True)

    def train(x):
        layer.zero_grad()
        y, _ = layer(x)
        loss = (y * y).sum()
        loss.backward()
        return loss

    train = wrap(train)
    return lambda: train(x)
