"""Transforms of images, of the first generation: classes to be chained by `Compose`, and `functional`."""

from __future__ import annotations

from flambeau.vision.transforms import functional as functional
from flambeau.vision.transforms.autoaugment import *
from flambeau.vision.transforms.transforms import *
