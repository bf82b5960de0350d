"""Policies of augmentation: which transform, how strong, drawn anew for each image."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau.nn import Module
from flambeau.tensor.tensor import Tensor
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms._policies import POLICIES
from flambeau.vision.transforms.functional import InterpolationMode

__all__ = ["AutoAugment", "AutoAugmentPolicy", "RandAugment", "TrivialAugmentWide"]


class AutoAugmentPolicy(enum.Enum):
    """The data set that a policy was learned on."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


def _shear(x: float, y: float) -> Callable:
    def change(img: Any, m: float, **how: Any) -> Any:
        degrees = math.degrees(math.atan(m))
        return F.affine(img, 0.0, [0, 0], 1.0, [degrees * x, degrees * y], center=[0, 0], **how)

    return change


def _translate(x: int, y: int) -> Callable:
    return lambda img, m, **how: F.affine(img, 0.0, [int(m) * x, int(m) * y], 1.0, [0.0, 0.0], **how)


_CHANGES: dict[str, Callable] = {
    "Identity": lambda img, m, **how: img,
    "ShearX": _shear(1, 0),
    "ShearY": _shear(0, 1),
    "TranslateX": _translate(1, 0),
    "TranslateY": _translate(0, 1),
    "Rotate": lambda img, m, **how: F.rotate(img, m, **how),
    "Brightness": lambda img, m, **how: F.adjust_brightness(img, 1.0 + m),
    "Color": lambda img, m, **how: F.adjust_saturation(img, 1.0 + m),
    "Contrast": lambda img, m, **how: F.adjust_contrast(img, 1.0 + m),
    "Sharpness": lambda img, m, **how: F.adjust_sharpness(img, 1.0 + m),
    "Posterize": lambda img, m, **how: F.posterize(img, int(m)),
    "Solarize": lambda img, m, **how: F.solarize(img, m),
    "AutoContrast": lambda img, m, **how: F.autocontrast(img),
    "Equalize": lambda img, m, **how: F.equalize(img),
    "Invert": lambda img, m, **how: F.invert(img),
}


def _space(bins: int, shear: float, x: float, y: float, turn: float, light: float, bits: int) -> dict:
    """Per change: its strengths in `bins` steps (None where it has none), and whether it may also be negative."""
    strengths: dict[str, tuple] = {"Identity": (None, False)}
    ranges = {"ShearX": shear, "ShearY": shear, "TranslateX": x, "TranslateY": y, "Rotate": turn}
    ranges |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), light)
    for name, most in ranges.items():
        strengths[name] = (torch.linspace(0.0, most, bins), True)
    strengths["Posterize"] = (8 - (torch.arange(bins) / ((bins - 1) / bits)).round().int(), False)
    strengths["Solarize"] = (torch.linspace(255.0, 0.0, bins), False)
    return strengths | {"AutoContrast": (None, False), "Equalize": (None, False)}


class _Augment(Module):
    interpolation: InterpolationMode
    fill: Any

    def _how(self, img: Any) -> dict[str, Any]:
        fill = self.fill
        if isinstance(img, Tensor) and fill is not None:
            channels = F.get_dimensions(img)[0]
            fill = [float(fill)] * channels if isinstance(fill, (int, float)) else [float(f) for f in fill]
        return {"interpolation": self.interpolation, "fill": fill}


class AutoAugment(_Augment):
    """Two changes of a policy that was learned on a data set (Cubuk et al. 2018, arXiv:1805.09501).

    Images are uint8 tensors or Pillow's, of 1 or 3 channels.
    """

    def __init__(self, policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
                 interpolation: InterpolationMode = InterpolationMode.NEAREST, fill: Any = None) -> None:  # fmt: skip
        super().__init__()
        if policy not in AutoAugmentPolicy:
            raise ValueError(f"policy is one of {[p.name for p in AutoAugmentPolicy]}, got {policy!r}")
        self.policy, self.interpolation, self.fill = policy, interpolation, fill
        self.policies = POLICIES[policy.value]

    @staticmethod
    def get_params(transform_num: int) -> tuple[int, Tensor, Tensor]:
        """Which of the policy's pairs, the two chances, the two signs."""
        which = int(torch.randint(transform_num, (1,)).item())
        chances = torch.rand((2,))
        return which, chances, torch.randint(2, (2,))

    def forward(self, img: Any) -> Any:
        how = self._how(img)
        _, height, width = F.get_dimensions(img)
        which, chances, signs = self.get_params(len(self.policies))
        space = _space(10, 0.3, 150.0 / 331.0 * width, 150.0 / 331.0 * height, 30.0, 0.9, 4) | {"Invert": (None, False)}
        for i, (name, p, step) in enumerate(self.policies[which]):
            if chances[i] <= p:
                steps, signed = space[name]
                strength = 0.0 if step is None else float(steps[step])
                img = _CHANGES[name](img, -strength if signed and signs[i] == 0 else strength, **how)
        return img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(policy={self.policy}, fill={self.fill})"


class RandAugment(_Augment):
    """`num_ops` changes, each as likely, all of the strength `magnitude` (Cubuk et al. 2019, arXiv:1909.13719).

    Images are uint8 tensors or Pillow's, of 1 or 3 channels.
    """

    def __init__(self, num_ops: int = 2, magnitude: int = 9, num_magnitude_bins: int = 31,
                 interpolation: InterpolationMode = InterpolationMode.NEAREST, fill: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.num_ops, self.magnitude, self.num_magnitude_bins = num_ops, magnitude, num_magnitude_bins
        self.interpolation, self.fill = interpolation, fill

    def forward(self, img: Any) -> Any:
        how = self._how(img)
        _, height, width = F.get_dimensions(img)
        space = _space(self.num_magnitude_bins, 0.3, 150.0 / 331.0 * width, 150.0 / 331.0 * height, 30.0, 0.9, 4)
        for _ in range(self.num_ops):
            name = list(space)[int(torch.randint(len(space), (1,)))]
            steps, signed = space[name]
            strength = 0.0 if steps is None else float(steps[self.magnitude])
            if signed and torch.randint(2, (1,)):
                strength = -strength
            img = _CHANGES[name](img, strength, **how)
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_ops={self.num_ops}, magnitude={self.magnitude}, "
            f"num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, fill={self.fill})"
        )


class TrivialAugmentWide(_Augment):
    """One change of random strength from a wide range (Mueller and Hutter 2021, arXiv:2103.10158).

    Images are uint8 tensors or Pillow's, of 1 or 3 channels.
    """

    def __init__(self, num_magnitude_bins: int = 31, interpolation: InterpolationMode = InterpolationMode.NEAREST,
                 fill: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.num_magnitude_bins, self.interpolation, self.fill = num_magnitude_bins, interpolation, fill

    def forward(self, img: Any) -> Any:
        how = self._how(img)
        space = _space(self.num_magnitude_bins, 0.99, 32.0, 32.0, 135.0, 0.99, 6)
        name = list(space)[int(torch.randint(len(space), (1,)))]
        steps, signed = space[name]
        strength = 0.0 if steps is None else float(steps[int(torch.randint(len(steps), (1,)))])
        if signed and torch.randint(2, (1,)):
            strength = -strength
        return _CHANGES[name](img, strength, **how)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_magnitude_bins={self.num_magnitude_bins}, "
            f"interpolation={self.interpolation}, fill={self.fill})"
        )
