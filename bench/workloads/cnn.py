"""A small convolutional network: two convolutions with pooling, 32 images of 28x28, SGD with momentum."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 7 * 7, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(torch.flatten(x, 1))


def make(wrap=lambda train: train):
    torch.manual_seed(0)
    model = Net()
    batches = itertools.cycle([(torch.randn(32, 1, 28, 28), torch.randint(0, 10, (32,))) for _ in range(8)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(train)

    def step():
        return train(*next(batches))

    return step
