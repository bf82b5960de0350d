"""A function with a derivative of one's own, checked against finite differences and then trained with.

``flambeau run examples/custom_function.py``
"""

import torch
from torch.autograd import Function, gradcheck


class Cube(Function):
    """``x³``, with its derivative written by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class RoundThrough(Function):
    """Rounds forward; backward lets the gradient through as if nothing had been rounded."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


torch.manual_seed(0)
x = torch.randn(4, dtype=torch.double, requires_grad=True)
print("Cube passes gradcheck:", gradcheck(Cube.apply, (x,)))

# Find whole numbers w with w @ x close to y: the weights are rounded in every forward, and still learn.
inputs = torch.randn(64, 3)
truth = torch.tensor([2.0, -3.0, 1.0])
targets = inputs @ truth
w = torch.zeros(3, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.05)
for step in range(60):
    loss = (inputs @ RoundThrough.apply(w) - targets).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step:2d}: loss {loss.item():.4f}, rounded weights {w.detach().round().tolist()}")
print("found:", w.detach().round().tolist())
