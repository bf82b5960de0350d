"""Transforms of Pillow's images, by Pillow. The names are those of `_tensors`."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.vision.pictures import bands, picture, pillow, values
from flambeau.vision.transforms._tensors import sides


def dimensions(img: Any) -> list[int]:
    """Channels, height, width."""
    return [bands(img), img.size[1], img.size[0]]


def hflip(img: Any) -> Any:
    """Mirrored left to right."""
    return img.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(img: Any) -> Any:
    """Mirrored top to bottom."""
    return img.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A part; what lies outside the image is black."""
    return img.crop((left, top, left + width, top + height))


def _fill(fill: Any, img: Any) -> Any:
    """`fill` as Pillow takes it: a number for one band, a tuple for several."""
    channels = bands(img)
    fill = 0 if fill is None else fill
    if isinstance(fill, (int, float)):
        fill = fill if channels == 1 else (fill,) * channels
    elif len(fill) not in (1, channels):
        raise ValueError(f"fill needs one number or {channels}, as the image has bands; got {len(fill)}")
    else:
        fill = tuple(fill) * channels if len(fill) == 1 else tuple(fill)
    if img.mode == "F":
        return fill
    return tuple(int(x) for x in fill) if isinstance(fill, tuple) else int(fill)


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Larger by `padding` (left, top, right, bottom)."""
    left, top, right, bottom = sides(padding)
    if padding_mode == "constant":
        out = pillow("ImageOps").expand(img, border=(left, top, right, bottom), fill=_fill(fill, img))
        if img.mode == "P":
            out.putpalette(img.getpalette())
        return out
    if min(left, top, right, bottom) < 0:
        box = (max(-left, 0), max(-top, 0), img.width - max(-right, 0), img.height - max(-bottom, 0))
        img, (left, top, right, bottom) = img.crop(box), (max(v, 0) for v in (left, top, right, bottom))
    array = np.asarray(img)
    array = np.pad(array, [(top, bottom), (left, right), (0, 0)][: array.ndim], padding_mode)  # type: ignore[call-overload]
    out = pillow().fromarray(array)
    if img.mode == "P":
        out.putpalette(img.getpalette())
    return out


def resize(img: Any, size: list[int], interpolation: int, antialias: bool | None = True) -> Any:
    """To `size` (height, width)."""
    return img.resize((size[1], size[0]), interpolation)


def affine(img: Any, matrix: list[float], interpolation: int = 0, fill: Any = None) -> Any:
    """Each pixel read where `matrix`, 2 by 3, takes it."""
    return img.transform(img.size, pillow().Transform.AFFINE, matrix, interpolation, fillcolor=_fill(fill, img))


def rotate(img: Any, angle: float, interpolation: int, expand: bool, center: Any, fill: Any = None) -> Any:
    """Turned by `angle` degrees, counter-clockwise."""
    return img.rotate(angle, interpolation, expand, center, fillcolor=_fill(fill, img))


def perspective(img: Any, coeffs: list[float], interpolation: int = 3, fill: Any = None) -> Any:
    """Each pixel read where the eight coefficients take it."""
    return img.transform(img.size, pillow().Transform.PERSPECTIVE, coeffs, interpolation, fillcolor=_fill(fill, img))


def grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Luma, in one band or three equal ones."""
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels must be 1 or 3, got {num_output_channels}")
    grey = img.convert("L")
    return grey if num_output_channels == 1 else picture(np.repeat(values(grey), 3, axis=2), "RGB")


def brightness(img: Any, factor: float) -> Any:
    """Blended with black."""
    return pillow("ImageEnhance").Brightness(img).enhance(factor)


def contrast(img: Any, factor: float) -> Any:
    """Blended with its mean grey."""
    return pillow("ImageEnhance").Contrast(img).enhance(factor)


def saturation(img: Any, factor: float) -> Any:
    """Blended with its greys."""
    return pillow("ImageEnhance").Color(img).enhance(factor)


def sharpness(img: Any, factor: float) -> Any:
    """Blended with a smoothed copy."""
    return pillow("ImageEnhance").Sharpness(img).enhance(factor)


def hue(img: Any, factor: float) -> Any:
    """The hue turned by `factor` of a full turn."""
    if img.mode in ("L", "1", "I", "F"):
        return img
    h, s, v = img.convert("HSV").split()
    turned = values(h)[..., 0] + np.int32(factor * 255).astype(np.uint8)
    return pillow().merge("HSV", (picture(turned, "L"), s, v)).convert(img.mode)


def gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """`gain` times the values to the power `gamma`."""
    if gamma < 0:
        raise ValueError(f"gamma must not be negative, got {gamma}")
    table = [int((255 + 1 - 1e-3) * gain * pow(v / 255.0, gamma)) for v in range(256)]
    return img.convert("RGB").point(table * 3).convert(img.mode)


def invert(img: Any) -> Any:
    """The negative."""
    return pillow("ImageOps").invert(img)


def posterize(img: Any, bits: int) -> Any:
    """Only the first `bits` bits kept."""
    return pillow("ImageOps").posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    """Values from `threshold` on inverted."""
    return pillow("ImageOps").solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    """Each band stretched from black to white."""
    return pillow("ImageOps").autocontrast(img)


def equalize(img: Any) -> Any:
    """Each band's values spread so that all are about as frequent."""
    return pillow("ImageOps").equalize(img)
