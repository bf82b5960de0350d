"""The transforms that both generations have."""

from __future__ import annotations

from typing import Any

from flambeau.vision.transforms import _chance, _drawn, autoaugment, transforms
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms.v2._base import Older

__all__ = [
    "AutoAugment", "CenterCrop", "ColorJitter", "ElasticTransform", "FiveCrop", "GaussianBlur", "Grayscale",
    "LinearTransformation", "Normalize", "Pad", "RandAugment", "RandomAdjustSharpness", "RandomAffine",
    "RandomAutocontrast", "RandomCrop", "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomInvert", "RandomPerspective", "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize",
    "RandomVerticalFlip", "Resize", "TenCrop", "TrivialAugmentWide",
]  # fmt: skip


class _Crop(_drawn.RandomCrop):
    """Draws only along sides that are too long."""

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        _, h, w = F.get_dimensions(img)
        th, tw = output_size
        if h < th or w < tw:
            raise ValueError(f"a crop of {(th, tw)} is larger than the image, {(h, w)}")
        top = _chance.integer(0, h - th + 1) if h > th else 0
        return top, _chance.integer(0, w - tw + 1) if w > tw else 0, th, tw


class RandomCrop(Older):
    """A part of a given size from anywhere in the image, which may be padded first."""

    _older = _Crop


def _second(older: Any, colours: bool = False) -> Any:
    body = {"_older": older, "_colours": colours, "__doc__": older.__doc__, "__module__": __name__}
    return type(older.__name__, (Older,), body)


# geometry
RandomHorizontalFlip = _second(_chance.RandomHorizontalFlip)
RandomVerticalFlip = _second(_chance.RandomVerticalFlip)
RandomResizedCrop = _second(_drawn.RandomResizedCrop)
RandomRotation = _second(_drawn.RandomRotation)
RandomAffine = _second(_drawn.RandomAffine)
RandomPerspective = _second(_drawn.RandomPerspective)
ElasticTransform = _second(_drawn.ElasticTransform)
Resize = _second(transforms.Resize)
CenterCrop = _second(transforms.CenterCrop)
Pad = _second(transforms.Pad)
FiveCrop = _second(transforms.FiveCrop)
TenCrop = _second(transforms.TenCrop)

# colours and values
RandomInvert = _second(_chance.RandomInvert, colours=True)
RandomAutocontrast = _second(_chance.RandomAutocontrast, colours=True)
RandomEqualize = _second(_chance.RandomEqualize, colours=True)
RandomGrayscale = _second(_chance.RandomGrayscale, colours=True)
RandomPosterize = _second(_chance.RandomPosterize, colours=True)
RandomSolarize = _second(_chance.RandomSolarize, colours=True)
RandomAdjustSharpness = _second(_chance.RandomAdjustSharpness, colours=True)
ColorJitter = _second(_drawn.ColorJitter, colours=True)
GaussianBlur = _second(_drawn.GaussianBlur, colours=True)
RandomErasing = _second(_drawn.RandomErasing, colours=True)
Normalize = _second(transforms.Normalize, colours=True)
Grayscale = _second(transforms.Grayscale, colours=True)
LinearTransformation = _second(transforms.LinearTransformation, colours=True)
AutoAugment = _second(autoaugment.AutoAugment, colours=True)
RandAugment = _second(autoaugment.RandAugment, colours=True)
TrivialAugmentWide = _second(autoaugment.TrivialAugmentWide, colours=True)
