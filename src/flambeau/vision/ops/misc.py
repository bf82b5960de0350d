"""Layers, under the names of their modules in torchvision."""

from __future__ import annotations

from flambeau.vision.ops.layers import (
    MLP,
    Conv2dNormActivation,
    Conv3dNormActivation,
    ConvNormActivation,
    FrozenBatchNorm2d,
    Permute,
    SqueezeExcitation,
)

__all__ = ["Conv2dNormActivation", "Conv3dNormActivation", "ConvNormActivation", "FrozenBatchNorm2d", "MLP",
           "Permute", "SqueezeExcitation"]  # fmt: skip
