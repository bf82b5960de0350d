"""A variational autoencoder of waves: reparametrization, a loss of two terms, samples from the prior."""

import torch
from torch import nn, optim
from torch.nn import functional as F

torch.manual_seed(2)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(36, 24)
        self.fc21 = nn.Linear(24, 4)
        self.fc22 = nn.Linear(24, 4)
        self.fc3 = nn.Linear(4, 24)
        self.fc4 = nn.Linear(24, 36)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 36))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(reconstruction, x, mu, logvar):
    cross_entropy = F.binary_cross_entropy(reconstruction, x.view(-1, 36), reduction="sum")
    divergence = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return cross_entropy + divergence


phase, speed = torch.rand(96, 1), torch.rand(96, 1)
images = torch.sin(6 * phase + (3 + 9 * speed) * torch.linspace(0, 1, 36)).mul(0.5).add(0.5).view(96, 1, 6, 6)
model = VAE()
optimizer = optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(1, 6):
    model.train()
    total = 0
    for data in images.split(24):
        optimizer.zero_grad()
        loss = loss_function(*((out := model(data))[0], data, out[1], out[2]))
        loss.backward()
        total += loss.item()
        optimizer.step()
    print(f"====> Epoch: {epoch} Average loss: {total / len(images):.4f}")
with torch.no_grad():
    sample = model.decode(torch.randn(3, 4))
    print(sample.shape, sample.mean(1))
    mu, logvar = model.encode(images.flatten(1))
    print(f"latent mean {mu.mean():.4f} deviation {logvar.mul(0.5).exp().mean():.4f}")
