"""SqueezeNet (Iandola et al. 2016, arXiv:1602.07360)."""

from __future__ import annotations

import functools

import flambeau as torch
from flambeau import nn
from flambeau.tensor.tensor import Tensor
from flambeau.vision.models._registry import register

__all__ = ["SqueezeNet", "squeezenet1_0", "squeezenet1_1"]


class Fire(nn.Module):
    """Few channels, then many again from convolutions of 1 by 1 and of 3 by 3."""

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1
        )


class SqueezeNet(nn.Module):
    """Fire modules, and a convolution for the classes. `version` is '1_0' or '1_1'."""

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in ("1_0", "1_1"):
            raise ValueError(f"SqueezeNet has the versions 1_0 and 1_1, got {version}")
        self.num_classes = num_classes
        first = (96, 7) if version == "1_0" else (64, 3)
        pooled = (2, 6) if version == "1_0" else (1, 3)  # after which of the eight fire modules; one comes first
        layers: list[nn.Module] = [nn.Conv2d(3, first[0], kernel_size=first[1], stride=2), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        channels = first[0]
        for i, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
            layers.append(Fire(channels, squeeze, squeeze * 4, squeeze * 4))
            channels = squeeze * 8
            if i in pooled:
                layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        final = nn.Conv2d(512, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), final, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                if m is final:
                    nn.init.normal_(m.weight, mean=0.0, std=0.01)
                else:
                    nn.init.kaiming_uniform_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


squeezenet1_0 = register("squeezenet1_0", functools.partial(SqueezeNet, "1_0"), "SqueezeNet 1.0.")
squeezenet1_1 = register("squeezenet1_1", functools.partial(SqueezeNet, "1_1"), "SqueezeNet 1.1, as good and cheaper.")
