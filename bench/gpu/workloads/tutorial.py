"""The tutorial's training step: a layer of one's own, a summed squared error, Adam; 10 samples of 5 numbers."""

import torch

from bench.gpu.workloads import Work
from bench.workloads.tutorial import MyNet


def make(wrap, device, tiny):
    torch.manual_seed(0)
    model = MyNet().to(device)
    x, y = torch.randn(10, 5).to(device), torch.randn(10, 3).to(device)
    loss_fn = torch.nn.MSELoss(reduction="sum")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def train(x, y):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(train)
    return Work(lambda: train(x, y), 1, "steps", None, "float32")
