"""ShuffleNet V2, under the name of its module in torchvision."""

from __future__ import annotations

from flambeau.vision.models._registry import WEIGHTS
from flambeau.vision.models.shufflenet import (
    InvertedResidual,
    ShuffleNetV2,
    shufflenet_v2_x0_5,
    shufflenet_v2_x1_0,
    shufflenet_v2_x1_5,
    shufflenet_v2_x2_0,
)

__all__ = ["InvertedResidual", "ShuffleNetV2", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5",
           "shufflenet_v2_x2_0"]  # fmt: skip

globals().update({name: kind for name, kind in WEIGHTS.items() if name.startswith("ShuffleNet")})
