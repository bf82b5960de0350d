"""Functions of functions: gradients of each sample, tangent kernels, ensembles at once, learning to learn, tangents."""

import copy
import math

import torch
import torch.autograd.forward_ad as forward
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4 * 4 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return F.log_softmax(self.fc(torch.flatten(x, 1)), dim=1)


def gradients_of_samples(model, data, target):
    parameters = {k: v.detach() for k, v in model.named_parameters()}

    def loss(parameters, sample, target):
        return F.nll_loss(functional_call(model, parameters, (sample.unsqueeze(0),)), target.unsqueeze(0))

    each = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, data, target)
    for name, g in each.items():
        print(name, tuple(g.shape), f"{g.norm():.4f}")
    alone = torch.autograd.grad(F.nll_loss(model(data[:1]), target[:1]), model.parameters())
    print(all(torch.allclose(g[0], a, atol=1e-5) for g, a in zip(each.values(), alone, strict=True)))

    def output(parameters, x):
        return functional_call(model, parameters, (x.unsqueeze(0),)).squeeze(0)

    def jacobian(x):
        return [j.flatten(2) for j in vmap(jacrev(output), (None, 0))(parameters, x).values()]

    pairs = zip(jacobian(data[:3]), jacobian(data[3:5]), strict=True)
    kernel = torch.stack([torch.einsum("Naf,Maf->NM", a, b) for a, b in pairs]).sum(0)
    print("tangent kernel", kernel)


def ensemble():
    models = [nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)) for _ in range(4)]
    parameters, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")

    def call(p, b, x):
        return functional_call(base, (p, b), (x,))

    x = torch.randn(7, 5)
    together = vmap(call, in_dims=(0, 0, None))(parameters, buffers, x)
    print("ensemble", together[:, 0], torch.allclose(together, torch.stack([m(x) for m in models]), atol=1e-5))


def learning_to_learn():
    net = nn.Sequential(nn.Linear(1, 20), nn.ReLU(), nn.Linear(20, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    def mean_square(parameters, x, y):
        return ((functional_call(net, parameters, (x,)) - y) ** 2).mean()

    def after_a_step(parameters, x1, y1, x2, y2):
        slopes = grad(mean_square)(parameters, x1, y1)
        return mean_square({k: v - 0.1 * slopes[k] for k, v in parameters.items()}, x2, y2)

    for step in range(3):
        amplitude, phase = torch.rand(4, 1, 1) * 4 + 0.1, torch.rand(4, 1, 1) * math.pi
        x1, x2 = (torch.rand(4, 10, 1) * 4 - 2 for _ in range(2))
        y1, y2 = (amplitude * torch.sin(x + phase) for x in (x1, x2))
        losses = vmap(after_a_step, in_dims=(None, 0, 0, 0, 0))(dict(net.named_parameters()), x1, y1, x2, y2)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        print("task losses", step, losses.detach())


def derivatives():
    x = torch.randn(3)
    print(hessian(lambda t: (t.sin() * t.cos()).sum())(x).diag(), jacfwd(jacrev(lambda t: t.pow(3).sum()))(x).diag())
    print(jvp(torch.sin, (x,), (torch.ones(3),))[1], vjp(torch.exp, x)[1](torch.ones(3))[0])
    with forward.dual_level():
        print(forward.unpack_dual(torch.tanh(forward.make_dual(x, torch.ones(3)))).tangent)


def main():
    torch.manual_seed(11)
    gradients_of_samples(Net(), torch.rand(5, 1, 12, 12), torch.randint(10, (5,)))
    ensemble()
    learning_to_learn()
    derivatives()


if __name__ == "__main__":
    main()
