"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.tensor.tensor import Tensor
from flambeau.vision.models._common import fan_out_init, small_normal
from flambeau.vision.models._registry import register

__all__ = ["VGG", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]


class VGG(nn.Module):
    """`features`, then three linear layers."""

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(p=dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            fan_out_init(self, small_normal)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def make_layers(cfg: list[Any], batch_norm: bool = False) -> nn.Sequential:
    """Convolutions of 3 by 3 with the channels in `cfg`; 'M' is a pooling."""
    layers: list[nn.Module] = []
    channels = 3
    for v in cfg:
        if v == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, v, kernel_size=3, padding=1))
        layers += [nn.BatchNorm2d(v)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels = v
    return nn.Sequential(*layers)


def _stages(*counts: int) -> list[Any]:
    """So many convolutions in each of the five stages."""
    cfg: list[Any] = []
    for count, channels in zip(counts, (64, 128, 256, 512, 512)):
        cfg += [channels] * count + ["M"]
    return cfg


cfgs = {
    "A": _stages(1, 1, 2, 2, 2),
    "B": _stages(2, 2, 2, 2, 2),
    "D": _stages(2, 2, 3, 3, 3),
    "E": _stages(2, 2, 4, 4, 4),
}


def _of(name: str, cfg: str, batch_norm: bool) -> Callable[..., VGG]:
    about = f"VGG of {name[3:5]} layers{' with batch normalization' if batch_norm else ''}."
    make = lambda **kwargs: VGG(make_layers(cfgs[cfg], batch_norm), **kwargs)  # noqa: E731
    return register(name, make, about, init_weights=False)


vgg11, vgg11_bn = _of("vgg11", "A", False), _of("vgg11_bn", "A", True)
vgg13, vgg13_bn = _of("vgg13", "B", False), _of("vgg13_bn", "B", True)
vgg16, vgg16_bn = _of("vgg16", "D", False), _of("vgg16_bn", "D", True)
vgg19, vgg19_bn = _of("vgg19", "E", False), _of("vgg19_bn", "E", True)
