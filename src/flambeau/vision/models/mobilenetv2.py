"""MobileNetV2, under the name of its module in torchvision."""

from __future__ import annotations

from flambeau.vision.models._registry import WEIGHTS
from flambeau.vision.models.mobilenet import InvertedResidual, MobileNetV2, mobilenet_v2

__all__ = ["InvertedResidual", "MobileNetV2", "MobileNet_V2_Weights", "mobilenet_v2"]

MobileNet_V2_Weights = WEIGHTS["MobileNet_V2_Weights"]
