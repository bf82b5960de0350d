"""A layer of one's own, trained live: an ordinary PyTorch program. ``flambeau run examples/custom_layer.py [STEPS]``.

The layer computes ``sqrt(x² + bias) @ weight``, a soft absolute value followed by a linear map. A net of two of them
learns how far a point of the plane is from a square.
"""

import sys

import torch
from live import Training
from torch import nn


class SoftAbs(nn.Module):
    """``sqrt(x² + bias) @ weight``; the bias keeps the root's slope finite at 0."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.full((in_features,), 0.1))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x):
        return torch.sqrt(x * x + self.bias.abs() + 1e-6) @ self.weight

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.turn = nn.Linear(2, 32)
        self.fold = SoftAbs(32, 32)
        self.shift = nn.Linear(32, 32)
        self.out = SoftAbs(32, 1)

    def forward(self, x):
        return self.out(self.shift(self.fold(self.turn(x))))


def distance(x):
    """The distance of points to the square with corners at plus and minus 1, negative inside."""
    outside = x.abs() - 1
    return outside.clamp(min=0).norm(dim=1, keepdim=True) + outside.amax(dim=1, keepdim=True).clamp(max=0)


def main(steps):
    torch.manual_seed(0)
    model = Net()
    print(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, PyTorch's API, served by {torch.__name__}")
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, steps // 3), gamma=0.3)
    loss_fn = nn.MSELoss()
    with Training(steps, "distance to a square") as show:
        for _ in range(steps):
            x = torch.rand(256, 2) * 4 - 2
            loss = loss_fn(model(x), distance(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            show(loss.item())
    with torch.no_grad():
        probe = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
        for point, found, true in zip(probe.tolist(), model(probe).tolist(), distance(probe).tolist()):
            print(f"distance of {point}: {found[0]:+.3f} (true {true[0]:+.3f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2500)
