"""Transforms of the second generation: for whole samples of images, masks, boxes and labels, in any container.

Geometric transforms draw once per sample and move all its parts alike. Boxes are moved by flips, crops, resizing and
padding; a transform that does not know where boxes go raises TypeError.
"""

from __future__ import annotations

from flambeau.vision.transforms.autoaugment import AutoAugmentPolicy as AutoAugmentPolicy
from flambeau.vision.transforms.functional import InterpolationMode as InterpolationMode
from flambeau.vision.transforms.v2 import functional as functional
from flambeau.vision.transforms.v2._base import Transform as Transform
from flambeau.vision.transforms.v2._kinds import *
from flambeau.vision.transforms.v2._older import *
from flambeau.vision.transforms.v2._samples import *
