"""A U-Net with the channels last, a network that straightens its input, and both sized up without memory first."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Twice(nn.Sequential):
    def __init__(self, channels_in, channels_out):
        layers = []
        for before in (channels_in, channels_out):
            layers += [nn.Conv2d(before, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out)]
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.first = Twice(3, 8)
        self.down = nn.Sequential(nn.MaxPool2d(2), Twice(8, 16))
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join = Twice(16, 8)
        self.last = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        fine = self.first(x)
        coarse = self.up(self.down(fine))
        high, wide = fine.size(2) - coarse.size(2), fine.size(3) - coarse.size(3)
        coarse = F.pad(coarse, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
        return self.last(self.join(torch.cat([fine, coarse], dim=1)))


class Straightened(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.ReLU(True), nn.Flatten())
        self.place = nn.Linear(4 * 4 * 4, 6)
        self.place.weight.data.zero_()
        self.place.bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))
        self.classify = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(400, 5))

    def forward(self, x):
        theta = self.place(self.look(x)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.size()), align_corners=False)
        return F.log_softmax(self.classify(F.grid_sample(x, grid, align_corners=False)), dim=1)


def overlap(predicted, target, epsilon=1e-6):
    shared = 2 * (predicted * target).sum((-1, -2))
    both = predicted.sum((-1, -2)) + target.sum((-1, -2))
    return ((shared + epsilon) / (torch.where(both == 0, shared, both) + epsilon)).mean()


def sizes():
    with torch.device("meta"):
        model, image = UNet(), torch.empty(4, 3, 400, 600)
    print("on", image.device, tuple(model(image).shape), sum(p.nbytes for p in model.parameters()), "bytes")
    print(model.to_empty(device="cpu").last.weight.shape)


def segment():
    model = UNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=1)
    for step in range(4):
        images = torch.rand(2, 3, 15, 18).to(memory_format=torch.channels_last)
        masks = (images.mean(1) > 0.5).long()
        found = model(images)
        chances = F.softmax(found, dim=1)[:, 1]
        loss = nn.CrossEntropyLoss()(found, masks) + 1 - overlap(chances, masks.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step(-loss.item())
        print(f"step {step}: {loss.item():.4f} {norm:.3f}", optimizer.param_groups[0]["lr"])
    print(found.stride(), found.is_contiguous(memory_format=torch.channels_last))
    print(model.last.weight.stride(), model.first[0].weight.grad.stride())


def straighten():
    model = Straightened()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        x, y = torch.randn(8, 1, 12, 12), torch.randint(5, (8,))
        optimizer.zero_grad()
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
        print(f"step {step}: {loss.item():.4f}")
    print(model.place.bias)


def main():
    torch.manual_seed(42)
    sizes()
    torch.manual_seed(42)
    segment()
    straighten()


if __name__ == "__main__":
    main()
