"""Boxes, and the layers and losses that models of images are built of."""

from __future__ import annotations

from flambeau.vision.ops.boxes import *
from flambeau.vision.ops.layers import *
from flambeau.vision.ops.losses import *
