"""MobileNetV3, under the name of its module in torchvision."""

from __future__ import annotations

from flambeau.vision.models._registry import WEIGHTS
from flambeau.vision.models.mobilenet import InvertedResidualConfig, MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from flambeau.vision.models.mobilenet import InvertedResidualV3 as InvertedResidual

__all__ = ["InvertedResidual", "InvertedResidualConfig", "MobileNetV3", "MobileNet_V3_Large_Weights",
           "MobileNet_V3_Small_Weights", "mobilenet_v3_large", "mobilenet_v3_small"]  # fmt: skip

MobileNet_V3_Large_Weights = WEIGHTS["MobileNet_V3_Large_Weights"]
MobileNet_V3_Small_Weights = WEIGHTS["MobileNet_V3_Small_Weights"]
