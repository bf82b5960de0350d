"""The shapes of well-known image networks, small: residual, plain, inverted residual, dense, squeezed and excited."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), BasicBlock(8, 8),
            BasicBlock(8, 16, 2), BasicBlock(16, 16), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 5),
        )  # fmt: skip


class VGG(nn.Module):
    def __init__(self, batch_norm=True):
        super().__init__()
        layers, channels = [], 3
        for v in [8, "M", 16, 16, "M"]:
            if v == "M":
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
                continue
            layers += [nn.Conv2d(channels, v, 3, padding=1), nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
            channels = v
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(nn.Linear(144, 32), nn.ReLU(True), nn.Dropout(p=0.3), nn.Linear(32, 5))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Inverted(nn.Module):
    def __init__(self, before, after, expansion, stride):
        super().__init__()
        wide = before * expansion
        self.shortcut = stride == 1 and before == after
        self.conv = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(after, 2, 1), nn.SiLU(),
                                     nn.Conv2d(2, after, 1), nn.Hardsigmoid())  # fmt: skip

    def forward(self, x):
        out = self.conv(x)
        out = out * self.squeeze(out)
        return x + out if self.shortcut else out


class MobileNet(nn.Sequential):
    def __init__(self):
        super().__init__(Inverted(3, 8, 2, 1), Inverted(8, 8, 3, 1), Inverted(8, 12, 2, 2), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(12, 5))  # fmt: skip


class Dense(nn.Module):
    def __init__(self, channels, growth):
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([self.conv(F.relu(self.bn(x))), x], 1)


class DenseNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1), Dense(8, 6), Dense(14, 6), nn.BatchNorm2d(20), nn.ReLU(),
            nn.Conv2d(20, 10, 1), nn.AvgPool2d(2), Dense(10, 6), nn.AdaptiveMaxPool2d(2), nn.Flatten(),
            nn.Linear(64, 5),
        )  # fmt: skip


class ConvNext(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 12, 2, 2), nn.GroupNorm(1, 12), nn.Conv2d(12, 12, 5, padding=2, groups=12), nn.GELU(),
            nn.Conv2d(12, 24, 2, 2), nn.PReLU(), nn.Flatten(), nn.Linear(96, 5),
        )  # fmt: skip


for make in (ResNet, VGG, MobileNet, DenseNet, ConvNext):
    torch.manual_seed(8)
    net = make()
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    labels = torch.arange(20) % 5
    images = torch.randn(5, 3, 8, 8)[labels] + 0.5 * torch.randn(20, 3, 8, 8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    print(make.__name__, sum(p.numel() for p in net.parameters()), len(net.state_dict()))
    for epoch in range(4):
        net.train()
        total = 0
        for x, y in zip(images.split(10), labels.split(10)):
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        print(f"  epoch {epoch} loss {total / 2:.4f} lr {scheduler.get_last_lr()[0]:.5f}")
    net.eval()
    with torch.no_grad():
        print("  logits", [round(v, 3) for v in net(images[:1])[0].tolist()])
