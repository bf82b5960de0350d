"""Families of models that grow in one direction at a time, for `python -m bench --scale`: a GPT and an MLP."""

import itertools

import torch
from torch import nn

from bench.workloads.gpt import build


def _mlp(wrap, width, depth, batch):
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    batches = itertools.cycle([(torch.rand(batch, width), torch.randint(0, 10, (batch,))) for _ in range(4)])
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def train(x, y):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(train)
    return lambda: train(*next(batches))


def make(wrap=lambda train: train, family="mlp", width=8, depth=1, batch=2, length=1):
    width, depth, batch, length = map(int, (width, depth, batch, length))
    if family == "mlp":
        return _mlp(wrap, width, depth, batch)
    return build(wrap, layers=depth, heads=width // 32, width=width, length=length, batch=batch)
