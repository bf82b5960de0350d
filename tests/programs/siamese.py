"""Pairs of images told apart by one network seen twice, and triplets embedded with a margin."""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        self.groups = [[i for i, y in enumerate(labels) if y == c] for c in range(3)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        chosen = random.randint(0, 2)
        first = self.images[random.choice(self.groups[chosen])]
        if index % 2 == 0:
            return first, self.images[random.choice(self.groups[chosen])], torch.tensor(1, dtype=torch.float)
        other = random.choice([c for c in range(3) if c != chosen])
        return first, self.images[random.choice(self.groups[other])], torch.tensor(0, dtype=torch.float)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten()
        )
        self.fc = nn.Sequential(nn.Linear(2 * 96, 16), nn.ReLU(inplace=True), nn.Linear(16, 1))
        self.sigmoid = nn.Sigmoid()
        self.body.apply(self.init_weights)
        self.fc.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            torch.nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward(self, one, two):
        return self.sigmoid(self.fc(torch.cat((self.body(one), self.body(two)), 1)))


torch.manual_seed(4)
random.seed(4)
labels = [i % 3 for i in range(36)]
images = torch.rand(3, 1, 10, 10)[labels] + 0.15 * torch.randn(36, 1, 10, 10)
model, criterion = Siamese(), nn.BCELoss()
optimizer = torch.optim.Adadelta(model.parameters(), lr=0.3)
for epoch in range(4):
    model.train()
    for index, (one, two, target) in enumerate(DataLoader(Pairs(images, labels), batch_size=12, shuffle=True)):
        optimizer.zero_grad()
        loss = criterion(model(one, two).squeeze(), target)
        loss.backward()
        optimizer.step()
        print(f"epoch {epoch} batch {index} loss {loss.item():.4f} share {target.mean():.3f}")
model.eval()
with torch.no_grad():
    one, two, target = next(iter(DataLoader(Pairs(images, labels), batch_size=36)))
    output = model(one, two).squeeze()
    print(f"accuracy {torch.where(output > 0.5, 1, 0).eq(target.view_as(output)).sum().item()} of 36")

embed = nn.Sequential(nn.Flatten(), nn.Linear(100, 8))
optimizer = torch.optim.SGD(embed.parameters(), lr=0.1, momentum=0.9)
for step in range(6):
    anchor, positive, negative = (images[[i * 3 + c for i in range(6)]] for c in (step % 3, step % 3, (step + 1) % 3))
    vectors = [F.normalize(embed(v)) for v in (anchor, positive.flip(0), negative)]
    loss = F.triplet_margin_loss(*vectors, margin=0.5) + F.cosine_embedding_loss(
        vectors[0], vectors[2], -torch.ones(6), margin=0.1)  # fmt: skip
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"triplets {step} {loss.item():.4f} {F.pairwise_distance(vectors[0], vectors[2]).mean():.4f}")
