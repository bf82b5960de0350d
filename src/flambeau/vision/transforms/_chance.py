"""Transforms that are made or not, and others put together, in torchvision's order: the same seed does the same.

Most draw from flambeau's generator; `RandomOrder` and `RandomChoice` from Python's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import flambeau as torch
from flambeau.nn import Module
from flambeau.vision.transforms import functional as F


def lines(transforms: Sequence) -> str:
    """Transforms as a list to print."""
    return "".join(f"\n    {t}" for t in transforms)


def uniform(low: Any, high: Any) -> float:
    """One number between two."""
    return torch.empty(1).uniform_(float(low), float(high)).item()


def integer(low: int, high: int) -> int:
    """One integer from `low` to `high` - 1."""
    return torch.randint(low, high, size=(1,)).item()


class _Chance(Module):
    """With probability `p`, what `change` does."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def change(self, img: Any) -> Any:
        raise NotImplementedError

    def forward(self, img: Any) -> Any:
        return self.change(img) if torch.rand(1).item() < self.p else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(_Chance):
    """Mirrored left to right with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.hflip(img)


class RandomVerticalFlip(_Chance):
    """Mirrored top to bottom with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.vflip(img)


class RandomInvert(_Chance):
    """Inverted with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.invert(img)


class RandomAutocontrast(_Chance):
    """Stretched from black to white with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.autocontrast(img)


class RandomEqualize(_Chance):
    """Equalized with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.equalize(img)


class RandomGrayscale(_Chance):
    """In greys, with as many channels as before, with probability `p`."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def change(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, F.get_dimensions(img)[0])


class RandomPosterize(_Chance):
    """Only the first `bits` bits kept, with probability `p`."""

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def change(self, img: Any) -> Any:
        return F.posterize(img, self.bits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bits={self.bits},p={self.p})"


class RandomSolarize(_Chance):
    """Values from `threshold` on inverted, with probability `p`."""

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def change(self, img: Any) -> Any:
        return F.solarize(img, self.threshold)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threshold={self.threshold},p={self.p})"


class RandomAdjustSharpness(_Chance):
    """Sharpened with probability `p`."""

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def change(self, img: Any) -> Any:
        return F.adjust_sharpness(img, self.sharpness_factor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sharpness_factor={self.sharpness_factor},p={self.p})"


class RandomApply(Module):
    """All of `transforms` with probability `p`."""

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        if self.p < torch.rand(1).item():
            return img
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\n    p={self.p}" + lines(self.transforms) + "\n)"


class RandomTransforms:
    """The base of what arranges other transforms."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError(f"transforms is a sequence, got {type(transforms).__name__}")
        self.transforms = transforms

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(" + lines(self.transforms) + "\n)"


class RandomOrder(RandomTransforms):
    """All of `transforms`, shuffled by Python's generator."""

    def __call__(self, img: Any) -> Any:
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img


class RandomChoice(RandomTransforms):
    """One of `transforms`, chosen by Python's generator, with weights `p`."""

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError(f"p is a sequence, got {type(p).__name__}")
        self.p = p

    def __call__(self, *args: Any) -> Any:
        return random.choices(self.transforms, weights=self.p)[0](*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()}(p={self.p})"
