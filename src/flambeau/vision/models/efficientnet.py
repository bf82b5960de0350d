"""EfficientNet (Tan and Le 2019, arXiv:1905.11946) and V2 (Tan and Le 2021, arXiv:2104.00298)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flambeau as torch
from flambeau import nn
from flambeau.tensor.tensor import Tensor
from flambeau.vision.models._common import divisible, fan_out_init
from flambeau.vision.models._registry import register
from flambeau.vision.ops.layers import Conv2dNormActivation, SqueezeExcitation, StochasticDepth

__all__ = [
    "EfficientNet", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
    "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_l", "efficientnet_v2_m",
    "efficientnet_v2_s",
]  # fmt: skip


class Stage(NamedTuple):
    """A row of blocks: their expansion, kernel, first stride, channels before and after, number, and kind."""

    expand: float
    kernel: int
    stride: int
    before: int
    after: int
    blocks: int
    fused: bool


class MBConv(nn.Module):
    """Wide, depthwise or fused with the widening, squeezed and excited, narrow, and a shortcut."""

    def __init__(self, stage: Stage, depth_prob: float, norm_layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        before, after = stage.before, stage.after
        wide = divisible(before * stage.expand)
        act: Any = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        narrow: Any = {"kernel_size": 1, "norm_layer": norm_layer, "activation_layer": None}
        layers: list[nn.Module] = []
        if stage.fused:
            first = wide if wide != before else after
            layers.append(Conv2dNormActivation(before, first, kernel_size=stage.kernel, stride=stage.stride, **act))
            layers += [Conv2dNormActivation(wide, after, **narrow)] if wide != before else []
        else:
            layers += [Conv2dNormActivation(before, wide, kernel_size=1, **act)] if wide != before else []
            layers.append(
                Conv2dNormActivation(wide, wide, kernel_size=stage.kernel, stride=stage.stride, groups=wide, **act)
            )
            squeezed = max(1, before // 4)
            layers.append(SqueezeExcitation(wide, squeezed, activation=functools.partial(nn.SiLU, inplace=True)))
            layers.append(Conv2dNormActivation(wide, after, **narrow))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(depth_prob, "row")
        self.use_res_connect, self.out_channels = stage.stride == 1 and before == after, after

    def forward(self, input: Tensor) -> Tensor:
        result = self.block(input)
        if self.use_res_connect:
            result = self.stochastic_depth(result)
            result += input
        return result


def _by_outputs(m: nn.Linear) -> None:
    bound = 1.0 / math.sqrt(m.out_features)
    nn.init.uniform_(m.weight, -bound, bound)


class EfficientNet(nn.Module):
    """Rows of blocks as `stages` says, blocks later in the network left out more often in training."""

    def __init__(self, stages: list[Stage], dropout: float, stochastic_depth_prob: float = 0.2,
                 num_classes: int = 1000, norm_layer: Callable[..., nn.Module] | None = None,
                 last_channel: int | None = None) -> None:  # fmt: skip
        super().__init__()
        if not stages:
            raise ValueError("stages is empty")
        norm_layer = norm_layer or nn.BatchNorm2d
        act: Any = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = [Conv2dNormActivation(3, stages[0].before, kernel_size=3, stride=2, **act)]
        total, made = sum(stage.blocks for stage in stages), 0
        for stage in stages:
            row: list[nn.Module] = []
            for i in range(stage.blocks):
                one = stage if i == 0 else stage._replace(before=stage.after, stride=1)
                row.append(MBConv(one, stochastic_depth_prob * made / total, norm_layer))
                made += 1
            layers.append(nn.Sequential(*row))
        last = last_channel or 4 * stages[-1].after
        layers.append(Conv2dNormActivation(stages[-1].after, last, kernel_size=1, **act))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout, inplace=True), nn.Linear(last, num_classes))
        fan_out_init(self, _by_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


_B = ((1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
      (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1))  # fmt: skip
_V2 = {
    "s": ((1, 3, 1, 24, 24, 2, 1), (4, 3, 2, 24, 48, 4, 1), (4, 3, 2, 48, 64, 4, 1), (4, 3, 2, 64, 128, 6, 0),
          (6, 3, 1, 128, 160, 9, 0), (6, 3, 2, 160, 256, 15, 0)),
    "m": ((1, 3, 1, 24, 24, 3, 1), (4, 3, 2, 24, 48, 5, 1), (4, 3, 2, 48, 80, 5, 1), (4, 3, 2, 80, 160, 7, 0),
          (6, 3, 1, 160, 176, 14, 0), (6, 3, 2, 176, 304, 18, 0), (6, 3, 1, 304, 512, 5, 0)),
    "l": ((1, 3, 1, 32, 32, 4, 1), (4, 3, 2, 32, 64, 7, 1), (4, 3, 2, 64, 96, 7, 1), (4, 3, 2, 96, 192, 10, 0),
          (6, 3, 1, 192, 224, 19, 0), (6, 3, 2, 224, 384, 25, 0), (6, 3, 1, 384, 640, 7, 0)),
}  # fmt: skip


def _b(number: int, width: float, depth: float, dropout: float) -> Callable[..., EfficientNet]:
    stages = [Stage(e, k, s, divisible(i * width), divisible(o * width), math.ceil(n * depth), False)
              for e, k, s, i, o, n in _B]  # fmt: skip
    fixed: dict[str, Any] = {"dropout": dropout}
    if number >= 5:
        fixed["norm_layer"] = functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
    make = lambda **kwargs: EfficientNet(stages, **(fixed | kwargs))  # noqa: E731
    return register(f"efficientnet_b{number}", make, f"EfficientNet B{number}: {width} times as wide, {depth} as deep.")


def _v2(letter: str, dropout: float) -> Callable[..., EfficientNet]:
    stages = [Stage(*row[:6], bool(row[6])) for row in _V2[letter]]
    fixed: dict[str, Any] = {"dropout": dropout, "last_channel": 1280}
    fixed["norm_layer"] = functools.partial(nn.BatchNorm2d, eps=1e-3)
    make = lambda **kwargs: EfficientNet(stages, **(fixed | kwargs))  # noqa: E731
    return register(f"efficientnet_v2_{letter}", make, f"EfficientNet V2 {letter.upper()}.")


efficientnet_b0, efficientnet_b1 = _b(0, 1.0, 1.0, 0.2), _b(1, 1.0, 1.1, 0.2)
efficientnet_b2, efficientnet_b3 = _b(2, 1.1, 1.2, 0.3), _b(3, 1.2, 1.4, 0.3)
efficientnet_b4, efficientnet_b5 = _b(4, 1.4, 1.8, 0.4), _b(5, 1.6, 2.2, 0.4)
efficientnet_b6, efficientnet_b7 = _b(6, 1.8, 2.6, 0.5), _b(7, 2.0, 3.1, 0.5)
efficientnet_v2_s, efficientnet_v2_m, efficientnet_v2_l = _v2("s", 0.2), _v2("m", 0.3), _v2("l", 0.4)
