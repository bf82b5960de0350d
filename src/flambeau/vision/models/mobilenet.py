"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) and V3 (Howard et al. 2019, arXiv:1905.02244)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.tensor.tensor import Tensor
from flambeau.vision.models._common import divisible, fan_out_init, small_normal
from flambeau.vision.models._registry import register
from flambeau.vision.ops.layers import Conv2dNormActivation, SqueezeExcitation

__all__ = ["MobileNetV2", "MobileNetV3", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]


class InvertedResidual(nn.Module):
    """Wide, depthwise, narrow, and a shortcut where nothing changes size."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: float,
                 norm_layer: Callable[..., nn.Module] | None = None) -> None:  # fmt: skip
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride is 1 or 2, got {stride}")
        norm_layer = norm_layer or nn.BatchNorm2d
        hidden = int(round(inp * expand_ratio))
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, hidden, kernel_size=1, **how))
        layers.append(Conv2dNormActivation(hidden, hidden, stride=stride, groups=hidden, **how))
        layers += [nn.Conv2d(hidden, oup, 1, 1, 0, bias=False), norm_layer(oup)]
        self.conv = nn.Sequential(*layers)
        self.stride, self.out_channels, self.use_res_connect = stride, oup, stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


_SETTING = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]


class MobileNetV2(nn.Module):
    """Inverted residuals.

    Args:
        width_mult: all channels times this, rounded to multiples of `round_nearest`.
        inverted_residual_setting: rows of expansion, channels, count and stride.
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0,
                 inverted_residual_setting: list[list[int]] | None = None, round_nearest: int = 8,
                 block: Callable[..., nn.Module] | None = None, norm_layer: Callable[..., nn.Module] | None = None,
                 dropout: float = 0.2) -> None:  # fmt: skip
        super().__init__()
        rows = _SETTING if inverted_residual_setting is None else inverted_residual_setting
        if not rows or len(rows[0]) != 4:
            raise ValueError(f"inverted_residual_setting needs rows of 4 numbers, got {rows}")
        block, norm_layer = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        channels = divisible(32 * width_mult, round_nearest)
        self.last_channel = divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [Conv2dNormActivation(3, channels, stride=2, **how)]
        for expansion, c, n, s in rows:
            after = divisible(c * width_mult, round_nearest)
            for i in range(n):
                stride = s if i == 0 else 1
                features.append(block(channels, after, stride, expand_ratio=expansion, norm_layer=norm_layer))
                channels = after
        features.append(Conv2dNormActivation(channels, self.last_channel, kernel_size=1, **how))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes))
        fan_out_init(self, small_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class InvertedResidualConfig:
    """One block of MobileNetV3."""

    def __init__(self, input_channels: int, kernel: int, expanded_channels: int, out_channels: int, use_se: bool,
                 activation: str, stride: int, dilation: int, width_mult: float) -> None:  # fmt: skip
        sizes = (input_channels, expanded_channels, out_channels)
        self.input_channels, self.expanded_channels, self.out_channels = (divisible(c * width_mult) for c in sizes)
        self.kernel, self.use_se, self.use_hs = kernel, use_se, activation == "HS"
        self.stride, self.dilation = stride, dilation


class InvertedResidualV3(nn.Module):
    """As V2's, with squeeze and excitation and other activations."""

    def __init__(self, cnf: InvertedResidualConfig, norm_layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"stride is 1 or 2, got {cnf.stride}")
        wide = cnf.expanded_channels
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.Hardswish if cnf.use_hs else nn.ReLU}
        layers: list[nn.Module] = []
        if wide != cnf.input_channels:
            layers.append(Conv2dNormActivation(cnf.input_channels, wide, kernel_size=1, **how))
        stride = 1 if cnf.dilation > 1 else cnf.stride
        layers.append(Conv2dNormActivation(wide, wide, kernel_size=cnf.kernel, stride=stride, dilation=cnf.dilation,
                                           groups=wide, **how))  # fmt: skip
        if cnf.use_se:
            layers.append(SqueezeExcitation(wide, divisible(wide // 4), scale_activation=nn.Hardsigmoid))
        layers.append(
            Conv2dNormActivation(wide, cnf.out_channels, kernel_size=1, norm_layer=norm_layer, activation_layer=None)
        )
        self.block = nn.Sequential(*layers)
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.out_channels = cnf.out_channels

    def forward(self, input: Tensor) -> Tensor:
        result = self.block(input)
        if self.use_res_connect:
            result += input
        return result


class MobileNetV3(nn.Module):
    """Inverted residuals as `inverted_residual_setting` says, then two linear layers."""

    def __init__(self, inverted_residual_setting: list[InvertedResidualConfig], last_channel: int,
                 num_classes: int = 1000, block: Callable[..., nn.Module] | None = None,
                 norm_layer: Callable[..., nn.Module] | None = None, dropout: float = 0.2) -> None:  # fmt: skip
        super().__init__()
        if not inverted_residual_setting:
            raise ValueError("inverted_residual_setting is empty")
        norm_layer = norm_layer or functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.Hardswish}
        first, last = inverted_residual_setting[0].input_channels, inverted_residual_setting[-1].out_channels
        layers: list[nn.Module] = [Conv2dNormActivation(3, first, kernel_size=3, stride=2, **how)]
        layers += [(block or InvertedResidualV3)(cnf, norm_layer) for cnf in inverted_residual_setting]
        layers.append(Conv2dNormActivation(last, 6 * last, kernel_size=1, **how))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, last_channel), nn.Hardswish(inplace=True), nn.Dropout(p=dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )  # fmt: skip
        fan_out_init(self, small_normal)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# Rows of: input, kernel, expanded and output channels, squeeze, activation, stride.
_LARGE = """
16 3 16 16 0 RE 1; 16 3 64 24 0 RE 2; 24 3 72 24 0 RE 1; 24 5 72 40 1 RE 2; 40 5 120 40 1 RE 1; 40 5 120 40 1 RE 1
40 3 240 80 0 HS 2; 80 3 200 80 0 HS 1; 80 3 184 80 0 HS 1; 80 3 184 80 0 HS 1; 80 3 480 112 1 HS 1
112 3 672 112 1 HS 1; 112 5 672 160 1 HS 2; 160 5 960 160 1 HS 1; 160 5 960 160 1 HS 1
"""
_SMALL = """
16 3 16 16 1 RE 2; 16 3 72 24 0 RE 2; 24 3 88 24 0 RE 1; 24 5 96 40 1 HS 2; 40 5 240 40 1 HS 1; 40 5 240 40 1 HS 1
40 5 120 48 1 HS 1; 48 5 144 48 1 HS 1; 48 5 288 96 1 HS 2; 96 5 576 96 1 HS 1; 96 5 576 96 1 HS 1
"""


def _v3(text: str, last: int, width_mult: float = 1.0, reduced_tail: bool = False, dilated: bool = False,
        **kwargs: Any) -> MobileNetV3:  # fmt: skip
    rows = [row.split() for row in text.strip().replace("\n", ";").split(";")]
    less = 2 if reduced_tail else 1
    setting = []
    for i, (before, kernel, wide, after, se, act, stride) in enumerate(rows):
        tail = i - (len(rows) - 3)  # the last three blocks are those that may be halved or dilated
        setting.append(InvertedResidualConfig(
            int(before) // (less if tail > 0 else 1), int(kernel), int(wide) // (less if tail > 0 else 1),
            int(after) // (less if tail >= 0 else 1), se == "1", act, int(stride),
            2 if dilated and tail >= 0 else 1, width_mult,
        ))  # fmt: skip
    return MobileNetV3(setting, divisible(last // less * width_mult), **kwargs)


mobilenet_v2 = register("mobilenet_v2", MobileNetV2, "MobileNetV2.")
mobilenet_v3_large = register("mobilenet_v3_large", functools.partial(_v3, _LARGE, 1280), "The large MobileNetV3.")
mobilenet_v3_small = register("mobilenet_v3_small", functools.partial(_v3, _SMALL, 1024), "The small MobileNetV3.")
