"""Densities: a mixture whose parts a network gives, a flow of coupling layers, an energy sampled by Langevin's way."""

import math

import torch
import torch.distributions as D
import torch.nn as nn
import torch.nn.functional as F


class Mixture(nn.Module):
    def __init__(self, hidden=16, parts=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, hidden), nn.Tanh())
        self.weight, self.mean, self.spread = (nn.Linear(hidden, parts) for _ in range(3))

    def forward(self, x):
        h = self.body(x)
        parts = D.Normal(self.mean(h), torch.exp(self.spread(h)))
        return D.MixtureSameFamily(D.Categorical(F.softmax(self.weight(h), -1)), parts)


class Coupling(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32))
        self.scale = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 2), nn.Tanh())
        self.shift = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 2))

    def parts(self, x):
        kept = x * self.mask
        return kept, self.scale(kept) * (1 - self.mask), self.shift(kept) * (1 - self.mask)

    def forward(self, x):
        kept, scale, shift = self.parts(x)
        return kept + (1 - self.mask) * (x * torch.exp(scale) + shift), scale.sum(-1)

    def inverse(self, z):
        kept, scale, shift = self.parts(z)
        return kept + (1 - self.mask) * (z - shift) * torch.exp(-scale)


def mixture():
    y = torch.rand(100, 1) * 20 - 10
    x = torch.sin(0.75 * y) * 7 + 0.5 * y + torch.randn(100, 1)
    model = Mixture()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(12):
        loss = -model(x).log_prob(y.squeeze(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 4 == 3:
            print(f"mixture {step}: {loss.item():.4f}")
    with torch.no_grad():
        print(model(x[:3]).mean, model(x[:3]).sample())


def flow(data):
    layers = nn.ModuleList(Coupling(mask) for mask in ([0, 1], [1, 0], [0, 1]))
    prior = D.MultivariateNormal(torch.zeros(2), torch.eye(2))
    optimizer = torch.optim.Adam(layers.parameters(), lr=5e-3)
    for step in range(12):
        z, volume = data, torch.zeros(len(data))
        for layer in layers:
            z, change = layer(z)
            volume = volume + change
        loss = -(prior.log_prob(z) + volume).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 4 == 3:
            print(f"flow {step}: {loss.item():.4f}")
    with torch.no_grad():
        sample = prior.sample((3,))
        for layer in reversed(layers):
            sample = layer.inverse(sample)
    print(sample)
    steps = [D.SigmoidTransform().inv, D.AffineTransform(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0]))]
    logistic = D.TransformedDistribution(D.Uniform(torch.zeros(2), torch.ones(2)), steps)
    print(logistic.sample((2,)), logistic.log_prob(torch.ones(2)))


def energy(data):
    model = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.0, 0.999))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)
    for step in range(4):
        x = (torch.rand(16, 2) * 2 - 1).requires_grad_()
        for p in model.parameters():
            p.requires_grad_(False)
        noise = torch.randn_like(x)
        for _ in range(8):
            noise.normal_(0, 0.005)
            x.data.add_(noise.data).clamp_(min=-1.0, max=1.0)
            model(x).sum().backward()
            x.grad.data.clamp_(-0.03, 0.03)
            x.data.add_(-0.5 * x.grad.data)
            x.grad.detach_()
            x.grad.zero_()
        for p in model.parameters():
            p.requires_grad_(True)
        real, made = model(data[:16]).squeeze(), model(x.detach()).squeeze()
        loss = 0.1 * (real**2 + made**2).mean() + real.mean() - made.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        scheduler.step()
        print(f"energy {step}: {loss.item():.5f} {x.mean().item():.5f}")


def main():
    torch.manual_seed(21)
    mixture()
    angle = torch.rand(64) * math.pi
    data = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2)
    flow(data)
    energy(data)


if __name__ == "__main__":
    main()
