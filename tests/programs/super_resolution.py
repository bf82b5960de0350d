"""Images made larger by a convolution that computes all new pixels: PixelShuffle, orthogonal weights, PSNR."""

from math import log10

import torch
import torch.nn as nn
import torch.nn.init as init
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset


class Net(nn.Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 16, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(16, 8, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(8, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight)

    def forward(self, x):
        return self.pixel_shuffle(self.conv3(self.relu(self.conv2(self.relu(self.conv1(x))))))


class Waves(Dataset):
    def __init__(self, count, factor):
        phase = torch.rand(count, 1, 1, 1) * 6
        grid = torch.linspace(0, 4, 24)
        self.images = torch.sin(grid + phase) * torch.cos(grid[:, None] * phase / 3) * 0.5 + 0.5
        self.factor = factor

    def __getitem__(self, index):
        target = self.images[index]
        return nn.functional.interpolate(target[None], scale_factor=1 / self.factor, mode="bicubic")[0], target

    def __len__(self):
        return len(self.images)


torch.manual_seed(123)
training, testing = DataLoader(Waves(24, 3), 8, shuffle=True), DataLoader(Waves(6, 3), 3)
model, criterion = Net(3), nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=0.002)
for epoch in range(1, 4):
    total = 0
    for iteration, (input, target) in enumerate(training, 1):
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        total += loss.item()
        loss.backward()
        optimizer.step()
        print(f"===> Epoch[{epoch}]({iteration}/{len(training)}): Loss: {loss.item():.4f}")
    psnr = 0
    with torch.no_grad():
        for input, target in testing:
            psnr += 10 * log10(1 / criterion(model(input), target).item())
    print(f"===> Avg. Loss {total / len(training):.4f} PSNR: {psnr / len(testing):.3f} dB")
