"""ShuffleNet V2 (Ma et al. 2018, arXiv:1807.11164)."""

from __future__ import annotations

from collections.abc import Callable

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.tensor.tensor import Tensor
from flambeau.vision.models._registry import register

__all__ = ["ShuffleNetV2", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"]


def _conv(before: int, after: int, kernel: int = 1, stride: int = 1, relu: bool = True, each: bool = False) -> list:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False, groups=before if each else 1)
    return [conv, nn.BatchNorm2d(after), *([nn.ReLU(inplace=True)] if relu else [])]


class InvertedResidual(nn.Module):
    """Half of the channels changed, then all shuffled; with a stride both halves come from all of the input."""

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        half = oup // 2
        if not 1 <= stride <= 3 or (stride == 1 and inp != 2 * half):
            raise ValueError(f"a stride of {stride} does not go with {inp} and {oup} channels")
        self.stride = stride
        first = [] if stride == 1 else [*_conv(inp, inp, 3, stride, False, True), *_conv(inp, half)]
        self.branch1 = nn.Sequential(*first)
        before = inp if stride > 1 else half
        self.branch2 = nn.Sequential(
            *_conv(before, half), *_conv(half, half, 3, stride, False, True), *_conv(half, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return F.channel_shuffle(torch.cat((kept, self.branch2(changed)), dim=1), 2)


class ShuffleNetV2(nn.Module):
    """Three stages; `stages_out_channels` has five numbers, for the stem, the stages and the last convolution."""

    def __init__(self, stages_repeats: list[int], stages_out_channels: list[int], num_classes: int = 1000,
                 inverted_residual: Callable[..., nn.Module] = InvertedResidual) -> None:  # fmt: skip
        super().__init__()
        if len(stages_repeats) != 3 or len(stages_out_channels) != 5:
            raise ValueError(f"3 repeats and 5 channels are needed, got {stages_repeats} and {stages_out_channels}")
        channels = stages_out_channels[0]
        self.conv1 = nn.Sequential(*_conv(3, channels, 3, 2))
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        for i, (repeats, after) in enumerate(zip(stages_repeats, stages_out_channels[1:])):
            blocks = [inverted_residual(channels, after, 2)]
            blocks += [inverted_residual(after, after, 1) for _ in range(repeats - 1)]
            self.add_module(f"stage{i + 2}", nn.Sequential(*blocks))
            channels = after
        self.conv5 = nn.Sequential(*_conv(channels, stages_out_channels[-1]))
        self.fc = nn.Linear(stages_out_channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))


def _of(name: str, channels: list[int]) -> Callable[..., ShuffleNetV2]:
    make = lambda **kwargs: ShuffleNetV2([4, 8, 4], channels, **kwargs)  # noqa: E731
    return register(name, make, f"ShuffleNet V2 with {channels} channels.")


shufflenet_v2_x0_5 = _of("shufflenet_v2_x0_5", [24, 48, 96, 192, 1024])
shufflenet_v2_x1_0 = _of("shufflenet_v2_x1_0", [24, 116, 232, 464, 1024])
shufflenet_v2_x1_5 = _of("shufflenet_v2_x1_5", [24, 176, 352, 704, 1024])
shufflenet_v2_x2_0 = _of("shufflenet_v2_x2_0", [24, 244, 488, 976, 2048])
