"""A chain of 2,000 operations on 64 numbers, forward and backward: what recording and walking the tape costs."""

import torch


def make(wrap=lambda train: train):
    torch.manual_seed(0)
    x = torch.randn(64, requires_grad=True)
    w = torch.rand(64, requires_grad=True)
    b = torch.rand(64, requires_grad=True)

    def train():
        y = x
        for _ in range(500):
            y = y * w
            y = y + b
            y = torch.tanh(y)
            y = y * 0.5
        loss = y.sum()
        x.grad = w.grad = b.grad = None
        loss.backward()
        return loss

    return wrap(train)
