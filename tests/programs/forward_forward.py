"""Layers that each learn on their own, from right and wrong labels, without backward through the network."""

import torch
import torch.nn as nn
from torch.optim import Adam


def overlay(x, y, classes=4):
    x_ = x.clone()
    x_[:, :classes] *= 0.0
    x_[range(x.shape[0]), y] = x.max()
    return x_


class Layer(nn.Linear):
    def __init__(self, in_features, out_features, threshold=1.0):
        super().__init__(in_features, out_features)
        self.relu = torch.nn.ReLU()
        self.opt = Adam(self.parameters(), lr=0.02)
        self.threshold = threshold

    def forward(self, x):
        x_direction = x / (x.norm(2, 1, keepdim=True) + 1e-4)
        return self.relu(torch.mm(x_direction, self.weight.T) + self.bias.unsqueeze(0))

    def learn(self, x_pos, x_neg, epochs):
        for i in range(epochs):
            g_pos = self.forward(x_pos).pow(2).mean(1)
            g_neg = self.forward(x_neg).pow(2).mean(1)
            loss = torch.log(1 + torch.exp(torch.cat([-g_pos + self.threshold, g_neg - self.threshold]))).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if i % 10 == 0:
                print(f"  loss {loss.item():.4f} good {g_pos.mean():.4f} bad {g_neg.mean():.4f}")
        return self.forward(x_pos).detach(), self.forward(x_neg).detach()


class Net(torch.nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.layers = nn.ModuleList(Layer(a, b) for a, b in zip(dims, dims[1:]))

    def predict(self, x):
        goodness = []
        for label in range(4):
            h, total = overlay(x, label), []
            for layer in self.layers:
                h = layer(h)
                total = total + [h.pow(2).mean(1)]
            goodness += [sum(total).unsqueeze(1)]
        return torch.cat(goodness, 1).argmax(1)

    def learn(self, x_pos, x_neg):
        for i, layer in enumerate(self.layers):
            print("training layer: ", i)
            x_pos, x_neg = layer.learn(x_pos, x_neg, 31)


torch.manual_seed(1234)
prototypes = torch.rand(4, 20)
y = torch.arange(48) % 4
x = torch.cat([torch.zeros(48, 4), prototypes[y] + 0.1 * torch.randn(48, 20)], 1)
rnd = torch.randperm(x.size(0))
net = Net([24, 32, 32])
net.learn(overlay(x, y), overlay(x, y[rnd]))
print("train error: %.4f" % (1.0 - net.predict(x).eq(y).float().mean().item()))
