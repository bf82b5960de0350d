"""What segmentation and detection build on."""

from __future__ import annotations

from flambeau.vision.models._common import IntermediateLayerGetter
from flambeau.vision.models._common import divisible as _make_divisible

__all__ = ["IntermediateLayerGetter", "_make_divisible"]
