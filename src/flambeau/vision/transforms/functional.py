"""Transforms as functions of an image: a tensor (..., channels, height, width), an image of Pillow's, or an
`ArrayImage` where Pillow is not installed.
"""

from __future__ import annotations

import enum
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.tensor.tensor import Tensor
from flambeau.vision import pictures
from flambeau.vision.transforms import _pictures, _tensors

PAD_MODES = ("constant", "edge", "reflect", "symmetric")


class InterpolationMode(enum.Enum):
    """How values between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_BY_NUMBER = {
    0: InterpolationMode.NEAREST, 1: InterpolationMode.LANCZOS, 2: InterpolationMode.BILINEAR,
    3: InterpolationMode.BICUBIC, 4: InterpolationMode.BOX, 5: InterpolationMode.HAMMING,
}  # fmt: skip
_NUMBERS = {mode: number for number, mode in _BY_NUMBER.items()} | {InterpolationMode.NEAREST_EXACT: 0}


def interpolation_mode(mode: Any) -> InterpolationMode:
    """The mode, given as such or by Pillow's number. TypeError for anything else."""
    if isinstance(mode, int):
        return _BY_NUMBER[mode]
    if not isinstance(mode, InterpolationMode):
        raise TypeError(f"interpolation is an InterpolationMode or a number of Pillow's, got {mode!r}")
    return mode


class _ArraySide:
    """Transforms of an `ArrayImage`: those of tensors on its values."""

    def __getattr__(self, name: str) -> Callable:
        function = getattr(_tensors, name)

        def apply(img: Any, *args: Any, **kwargs: Any) -> Any:
            out = function(pictures.to_tensor(img), *args, **kwargs)
            return pictures.like(img, out) if isinstance(out, Tensor) else out

        return apply


_arrays = _ArraySide()


def _side(img: Any) -> Any:
    """The module that transforms images of this kind."""
    if isinstance(img, Tensor):
        return _tensors
    if pictures.is_pillow(img):
        return _pictures
    if isinstance(img, pictures.ArrayImage):
        return _arrays
    raise TypeError(f"an image is a tensor or an image of Pillow's, got {type(img).__name__}")


def _mode_for(img: Any, mode: InterpolationMode) -> Any:
    return _NUMBERS[mode] if pictures.is_pillow(img) else mode.value


# --- what an image is ----------------------------------------------------------------------------------------------


def get_dimensions(img: Any) -> list[int]:
    """Channels, height and width."""
    return _side(img).dimensions(img)


def get_image_size(img: Any) -> list[int]:
    """Width and height."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """The number of channels."""
    return get_dimensions(img)[0]


def to_tensor(pic: Any) -> Tensor:
    """An image, or an array (height, width, channels), as a tensor (channels, height, width). Bytes become numbers of
    the default dtype from 0 to 1; other values stay as they are.

    TypeError for anything else, ValueError for arrays that have not 2 or 3 dimensions.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"an image's array has 2 or 3 dimensions, got {pic.ndim}")
        out = torch.from_numpy((pic[:, :, None] if pic.ndim == 2 else pic).transpose(2, 0, 1)).contiguous()
    elif pictures.is_picture(pic):
        out = pictures.to_tensor(pic).contiguous()
        out = 255 * out if pic.mode == "1" else out
    else:
        raise TypeError(f"to_tensor takes an image of Pillow's or an array, got {type(pic).__name__}")
    return out.to(torch.get_default_dtype()).div(255) if out.dtype == torch.uint8 else out


def pil_to_tensor(pic: Any) -> Tensor:
    """An image as a tensor (channels, height, width) of its own values."""
    if not pictures.is_picture(pic):
        raise TypeError(f"pil_to_tensor takes an image of Pillow's, got {type(pic).__name__}")
    return pictures.to_tensor(pic)


def convert_image_dtype(image: Tensor, dtype: Any = torch.float32) -> Tensor:
    """A tensor in another dtype, scaled so that white stays white. RuntimeError where precision would be lost."""
    if not isinstance(image, Tensor):
        raise TypeError(f"convert_image_dtype takes a tensor, got {type(image).__name__}")
    return _tensors.convert_dtype(image, dtype)


_SHORT = "I;16" if sys.byteorder == "little" else "I;16B"
_ONE_BAND = {"uint8": "L", "int16": _SHORT, "int32": "I", "float32": "F"}
_SEVERAL_BANDS = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (channels, height, width) or array (height, width, channels) as an image. Floating-point values are
    taken from 0 to 1 and become bytes, unless `mode` is 'F'.
    """
    if isinstance(pic, Tensor):
        array = (pic.permute(1, 2, 0) if pic.ndim == 3 else pic).numpy(force=True)
    elif isinstance(pic, np.ndarray):
        array = pic
    else:
        raise TypeError(f"to_pil_image takes a tensor or an array, got {type(pic).__name__}")
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] > 4:
        raise ValueError(f"an image has 2 or 3 dimensions and up to 4 channels, got {tuple(pic.shape)}")
    if np.issubdtype(array.dtype, np.floating) and mode != "F":
        array = (array * 255).astype(np.uint8)
    channels, name = array.shape[2], str(array.dtype)
    fitting = (_ONE_BAND.get(name),) if channels == 1 else _SEVERAL_BANDS[channels]
    if mode is not None and mode not in fitting:
        raise ValueError(f"mode {mode} does not fit an image of {channels} channels of {name}: {fitting}")
    mode = mode or (fitting[0] if channels == 1 or name == "uint8" else None)
    if mode is None:
        raise TypeError(f"there are no images of {channels} channels of {name}")
    return pictures.picture(array[:, :, 0] if channels == 1 else array, mode)


# --- places --------------------------------------------------------------------------------------------------------


def two(size: Any, what: str = "size") -> tuple[int, int]:
    """Height and width, of one number or two."""
    if isinstance(size, (int, float)):
        return int(size), int(size)
    if isinstance(size, Sequence) and len(size) == 1:
        return size[0], size[0]
    if len(size) != 2:
        raise ValueError(f"{what} needs one number or two (height, width), got {size}")
    return size  # type: ignore[return-value]


def _target_size(height: int, width: int, size: Sequence[int], max_size: int | None) -> list[int]:
    """Height and width after resizing: one number is the shorter side's, the other keeps the proportion."""
    if len(size) == 2:
        return list(size)
    short, long = min(height, width), max(height, width)
    new_short, new_long = size[0], int(size[0] * long / short)
    if max_size is not None:
        if max_size <= new_short:
            raise ValueError(f"max_size must be larger than the shorter side's size {new_short}, got {max_size}")
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return [new_long, new_short] if width <= height else [new_short, new_long]


def resize(img: Any, size: Any, interpolation: Any = InterpolationMode.BILINEAR, max_size: int | None = None,
           antialias: bool | None = True) -> Any:  # fmt: skip
    """Resized to `size`: (height, width), or one number for the shorter side, the longer one then at most
    `max_size`.
    """
    mode = interpolation_mode(interpolation)
    size = [size] if isinstance(size, int) else list(size)
    if len(size) not in (1, 2):
        raise ValueError(f"size needs one number or two, got {len(size)}")
    if max_size is not None and len(size) != 1:
        raise ValueError("max_size goes with a size of one number only")
    _, height, width = get_dimensions(img)
    target = _target_size(height, width, size, max_size)
    if [height, width] == target:
        return img
    if antialias is False and not isinstance(img, Tensor):
        warnings.warn("antialias=False is ignored: Pillow always filters when it shrinks an image")
    return _side(img).resize(img, target, _mode_for(img, mode), antialias)


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Made larger: by one number on all sides, two (left and right, top and bottom) or four (left, top, right,
    bottom); filled with `fill`, or from the image ('edge', 'reflect', 'symmetric').
    """
    if not isinstance(padding, (int, tuple, list)):
        raise TypeError(f"padding is a number or a sequence, got {type(padding).__name__}")
    if not isinstance(padding, int) and len(padding) not in (1, 2, 4):
        raise ValueError(f"padding needs 1, 2 or 4 numbers, got {len(padding)}")
    if padding_mode not in PAD_MODES:
        raise ValueError(f"padding_mode is one of {PAD_MODES}, got {padding_mode!r}")
    return _side(img).pad(img, padding, fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of that place and size; what lies outside the image is black."""
    return _side(img).crop(img, top, left, height, width)


def center_crop(img: Any, output_size: Any) -> Any:
    """The middle part; an image that is smaller is padded with black first."""
    crop_h, crop_w = two(output_size, "output_size")
    _, h, w = get_dimensions(img)
    if crop_w > w or crop_h > h:
        more_w, more_h = max(crop_w - w, 0), max(crop_h - h, 0)
        img = pad(img, [more_w // 2, more_h // 2, (more_w + 1) // 2, (more_h + 1) // 2])
        _, h, w = get_dimensions(img)
        if (crop_h, crop_w) == (h, w):
            return img
    return crop(img, int(round((h - crop_h) / 2.0)), int(round((w - crop_w) / 2.0)), crop_h, crop_w)


def resized_crop(img: Any, top: int, left: int, height: int, width: int, size: Any,
                 interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True) -> Any:  # fmt: skip
    """A part, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Any) -> Any:
    """Mirrored left to right."""
    return _side(img).hflip(img)


def vflip(img: Any) -> Any:
    """Mirrored top to bottom."""
    return _side(img).vflip(img)


def five_crop(img: Any, size: Any) -> tuple:
    """The four corners and the middle: top left, top right, bottom left, bottom right, centre."""
    height, width = two(size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        raise ValueError(f"the crop {(height, width)} is larger than the image {(h, w)}")
    corners = [(0, 0), (0, w - width), (h - height, 0), (h - height, w - width)]
    return (*(crop(img, y, x, height, width) for y, x in corners), center_crop(img, [height, width]))


def ten_crop(img: Any, size: Any, vertical_flip: bool = False) -> tuple:
    """Five crops of the image and five of its mirror image."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


# --- warps ---------------------------------------------------------------------------------------------------------


def _perspective_coefficients(startpoints: Sequence, endpoints: Sequence) -> list[float]:
    """The eight numbers of the perspective that takes each end point to its start point."""
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise ValueError(f"perspective takes 4 corners each, got {len(startpoints)} and {len(endpoints)}")
    rows = []
    for (x, y), (u, v) in zip(endpoints, startpoints):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    right = np.asarray(startpoints, np.float64).reshape(8)
    return np.linalg.lstsq(np.asarray(rows, np.float64), right, rcond=None)[0].astype(np.float32).tolist()


def perspective(img: Any, startpoints: Sequence, endpoints: Sequence,
                interpolation: Any = InterpolationMode.BILINEAR, fill: Any = None) -> Any:  # fmt: skip
    """Warped so that the four `startpoints` (x, y) come to lie at `endpoints`."""
    mode = _mode_for(img, interpolation_mode(interpolation))
    return _side(img).perspective(img, _perspective_coefficients(startpoints, endpoints), mode, fill)


def _inverse_matrix(center: Any, angle: float, translate: Any, scale: float, shear: Any) -> list[float]:
    """The 2 by 3 matrix that takes a pixel of the result to its place in the image."""
    turn, sx, sy = (math.radians(v) for v in (angle, *shear))
    a = math.cos(turn - sy) / math.cos(sy)
    b = -math.cos(turn - sy) * math.tan(sx) / math.cos(sy) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -math.sin(turn - sy) * math.tan(sx) / math.cos(sy) + math.cos(turn)
    p, q, r, s = (v / scale for v in (d, -b, -c, a))
    (cx, cy), (tx, ty) = center, translate
    return [p, q, p * (-cx - tx) + q * (-cy - ty) + cx, r, s, r * (-cx - tx) + s * (-cy - ty) + cy]


def _from_middle(img: Any, center: Any) -> list[float]:
    """A place in the image as tensors count it, from the middle."""
    if center is None:
        return [0.0, 0.0]
    _, height, width = get_dimensions(img)
    return [center[0] - width * 0.5, center[1] - height * 0.5]


def rotate(img: Any, angle: float, interpolation: Any = InterpolationMode.NEAREST, expand: bool = False,
           center: Any = None, fill: Any = None) -> Any:  # fmt: skip
    """Turned by `angle` degrees counter-clockwise around `center` (x, y), the middle by default. With `expand` the
    result is as large as the turned image.
    """
    mode = _mode_for(img, interpolation_mode(interpolation))
    if not isinstance(angle, (int, float)):
        raise TypeError(f"angle is a number, got {type(angle).__name__}")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError(f"center is a sequence (x, y), got {type(center).__name__}")
    if pictures.is_pillow(img):
        return _pictures.rotate(img, angle, mode, expand, center, fill)
    matrix = _inverse_matrix(_from_middle(img, center), -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    return _side(img).rotate(img, matrix, mode, expand, fill)


def affine(img: Any, angle: float, translate: Any, scale: float, shear: Any,
           interpolation: Any = InterpolationMode.NEAREST, fill: Any = None, center: Any = None) -> Any:  # fmt: skip
    """Turned by `angle` degrees clockwise, moved by `translate` (x, y), scaled and sheared (degrees for x, y), around
    `center`.
    """
    mode = _mode_for(img, interpolation_mode(interpolation))
    if not isinstance(angle, (int, float)) or not isinstance(translate, (list, tuple)):
        raise TypeError(f"angle is a number and translate a sequence, got {angle!r} and {translate!r}")
    if len(translate) != 2:
        raise ValueError(f"translate needs 2 numbers, got {len(translate)}")
    if scale <= 0.0:
        raise ValueError(f"scale must be positive, got {scale}")
    if not isinstance(shear, (int, float, list, tuple)):
        raise TypeError(f"shear is a number or two, got {shear!r}")
    shear = [float(shear), 0.0] if isinstance(shear, (int, float)) else list(shear)
    shear = shear * 2 if len(shear) == 1 else shear
    if len(shear) != 2:
        raise ValueError(f"shear needs 1 or 2 numbers, got {len(shear)}")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError(f"center is a sequence (x, y), got {type(center).__name__}")
    if pictures.is_pillow(img):
        middle = [img.size[0] * 0.5, img.size[1] * 0.5] if center is None else center
    else:
        middle = _from_middle(img, center)
    matrix = _inverse_matrix(middle, float(angle), [float(t) for t in translate], scale, shear)
    return _side(img).affine(img, matrix, mode, fill)


def elastic_transform(img: Any, displacement: Tensor, interpolation: Any = InterpolationMode.BILINEAR,
                      fill: Any = None) -> Any:  # fmt: skip
    """Each pixel read `displacement` (1, height, width, 2) away, in halves of the image's size."""
    if not isinstance(displacement, Tensor):
        raise TypeError(f"displacement is a tensor, got {type(displacement).__name__}")
    _, height, width = get_dimensions(img)
    if tuple(displacement.shape) != (1, height, width, 2):
        raise ValueError(f"displacement must be of shape {(1, height, width, 2)}, got {tuple(displacement.shape)}")
    mode = interpolation_mode(interpolation).value
    return _through_tensor(img, lambda t: _tensors.elastic(t, displacement, mode, fill))


def _through_tensor(img: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A function of tensors applied to any image."""
    if isinstance(img, Tensor):
        return function(img)
    if not pictures.is_picture(img):
        raise TypeError(f"an image is a tensor or an image of Pillow's, got {type(img).__name__}")
    return to_pil_image(function(pil_to_tensor(img)), mode=img.mode)


# --- values --------------------------------------------------------------------------------------------------------


def normalize(tensor: Tensor, mean: Any, std: Any, inplace: bool = False) -> Tensor:
    """(tensor - mean) / std, with a mean and a deviation per channel.

    TypeError unless it is a floating-point tensor, ValueError for fewer than 3 dimensions or a deviation of 0.
    """
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise TypeError(f"normalize takes a floating-point tensor, got {getattr(tensor, 'dtype', type(tensor))}")
    if tensor.ndim < 3:
        raise ValueError(f"normalize takes a tensor (..., channels, height, width), got {tuple(tensor.shape)}")
    middle, spread = (torch.as_tensor(v, dtype=tensor.dtype) for v in (mean, std))
    if (spread == 0).any():
        raise ValueError(f"normalize: std has a 0 once it is {tensor.dtype}: {std}")
    middle, spread = (v.view(-1, 1, 1) if v.ndim == 1 else v for v in (middle, spread))
    out: Tensor = tensor if inplace else tensor.clone()
    return out.sub_(middle).div_(spread)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """0 gives black, 1 the image, 2 twice as bright."""
    return _side(img).brightness(img, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """0 gives grey, 1 the image."""
    return _side(img).contrast(img, contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """0 gives black and white, 1 the image."""
    return _side(img).saturation(img, saturation_factor)


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """0 gives a smoothed image, 1 the image."""
    return _side(img).sharpness(img, sharpness_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The hue turned by `hue_factor`, from -0.5 to 0.5, of a full turn."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor must lie in [-0.5, 0.5], got {hue_factor}")
    return _side(img).hue(img, hue_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """`gain` times the values, from 0 to 1, to the power `gamma`."""
    return _side(img).gamma(img, gamma, gain)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Luma, in 1 channel or 3 equal ones."""
    return _side(img).grayscale(img, num_output_channels)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """As `rgb_to_grayscale`, for images of Pillow's only."""
    if not pictures.is_picture(img):
        raise TypeError(f"to_grayscale takes an image of Pillow's, got {type(img).__name__}")
    return _side(img).grayscale(img, num_output_channels)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Tensor, inplace: bool = False) -> Tensor:
    """The part from row `i` and column `j`, `h` by `w`, overwritten with `v`."""
    if not isinstance(img, Tensor):
        raise TypeError(f"erase takes a tensor, got {type(img).__name__}")
    img = img if inplace else img.clone()
    img[..., i : i + h, j : j + w] = v
    return img


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """Smoothed by a Gaussian of `kernel_size` (odd; for x, y) and `sigma` (0.15 times the size and 0.35 by default)."""
    if not isinstance(kernel_size, (int, list, tuple)):
        raise TypeError(f"kernel_size is a number or two, got {type(kernel_size).__name__}")
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    if len(sizes) != 2 or any(n % 2 == 0 or n < 0 for n in sizes):
        raise ValueError(f"kernel_size needs 2 odd and positive numbers, got {kernel_size}")
    if sigma is None:
        sigma = [n * 0.15 + 0.35 for n in sizes]
    if not isinstance(sigma, (int, float, list, tuple)):
        raise TypeError(f"sigma is a number or two, got {type(sigma).__name__}")
    spreads: list[float] = [float(sigma)] * 2 if isinstance(sigma, (int, float)) else list(sigma)
    spreads = spreads * 2 if len(spreads) == 1 else spreads
    if len(spreads) != 2 or any(s <= 0 for s in spreads):
        raise ValueError(f"sigma needs 1 or 2 positive numbers, got {sigma}")
    return _through_tensor(img, lambda t: _tensors.gaussian_blur(t, sizes, spreads))


def invert(img: Any) -> Any:
    """The negative."""
    return _side(img).invert(img)


def posterize(img: Any, bits: int) -> Any:
    """Only the first `bits` bits, 0 to 8, of each byte kept."""
    if not 0 <= bits <= 8:
        raise ValueError(f"bits must lie in 0 to 8, got {bits}")
    return _side(img).posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    """Values from `threshold` on inverted."""
    return _side(img).solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    """Each channel stretched from black to white."""
    return _side(img).autocontrast(img)


def equalize(img: Any) -> Any:
    """Each channel's values spread so that all are about as frequent."""
    return _side(img).equalize(img)
