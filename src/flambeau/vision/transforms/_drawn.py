"""Transforms that draw where, how far or how strongly, in torchvision's order. `get_params` of each class draws."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import flambeau as torch
from flambeau.nn import Module
from flambeau.tensor.tensor import Tensor
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms._chance import integer, uniform
from flambeau.vision.transforms.functional import InterpolationMode, interpolation_mode, two

# --- places --------------------------------------------------------------------------------------------------------


class RandomCrop(Module):
    """A part of a given size from anywhere in the image, which may be padded first."""

    def __init__(self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0,
                 padding_mode: str = "constant") -> None:  # fmt: skip
        super().__init__()
        height, width = two(size)
        self.size = (height, width)
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = padding, pad_if_needed, fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, height and width; nothing is drawn if the image has that size."""
        _, h, w = F.get_dimensions(img)
        th, tw = output_size
        if h < th or w < tw:
            raise ValueError(f"a crop of {(th, tw)} is larger than the image, {(h, w)}")
        if (h, w) == (th, tw):
            return 0, 0, h, w
        top = integer(0, h - th + 1)
        return top, integer(0, w - tw + 1), th, tw

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        _, height, width = F.get_dimensions(img)
        if self.pad_if_needed and width < self.size[1]:
            img = F.pad(img, [self.size[1] - width, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and height < self.size[0]:
            img = F.pad(img, [0, self.size[0] - height], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class RandomResizedCrop(Module):
    """A part of random area (`scale`, of the image's) and proportions (`ratio`), resized to `size`."""

    def __init__(self, size: Any, scale: Any = (0.08, 1.0), ratio: Any = (3.0 / 4.0, 4.0 / 3.0),
                 interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True) -> None:  # fmt: skip
        super().__init__()
        _two_ordered(scale, ratio)
        self.size, self.scale, self.ratio, self.antialias = two(size), scale, ratio, antialias
        self.interpolation = interpolation_mode(interpolation)

    @staticmethod
    def get_params(img: Any, scale: Any, ratio: Any) -> tuple[int, int, int, int]:
        """Top, left, height and width; after ten misses the largest middle part of fitting proportions."""
        _, height, width = F.get_dimensions(img)
        log_ratio = torch.log(torch.tensor(ratio))
        for _ in range(10):
            area = height * width * uniform(*scale)
            proportion = torch.exp(torch.empty(1).uniform_(log_ratio[0].item(), log_ratio[1].item())).item()
            w = int(round(math.sqrt(area * proportion)))
            h = int(round(math.sqrt(area / proportion)))
            if 0 < w <= width and 0 < h <= height:
                top = integer(0, height - h + 1)
                return top, integer(0, width - w + 1), h, w
        h, w = height, width
        if width / height < min(ratio):
            h = int(round(w / min(ratio)))
        elif width / height > max(ratio):
            w = int(round(h * max(ratio)))
        return (height - h) // 2, (width - w) // 2, h, w

    def forward(self, img: Any) -> Any:
        place = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *place, self.size, self.interpolation, antialias=self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(v, 4) for v in pair) for pair in (self.scale, self.ratio))
        return (
            f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


def _two_ordered(scale: Any, ratio: Any) -> None:
    for name, pair in (("scale", scale), ("ratio", ratio)):
        if not isinstance(pair, Sequence):
            raise TypeError(f"{name} is a sequence (low, high), got {type(pair).__name__}")
    if scale[0] > scale[1] or ratio[0] > ratio[1]:
        warnings.warn("scale and ratio are meant to be (low, high)")


class RandomErasing(Module):
    """With probability `p` a part of a tensor is overwritten: with `value`, or with noise for 'random' (Zhong et al.
    2017, arXiv:1708.04896).
    """

    def __init__(self, p: float = 0.5, scale: Any = (0.02, 0.33), ratio: Any = (0.3, 3.3), value: Any = 0,
                 inplace: bool = False) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError(f"value is a number, a sequence or 'random', got {value!r}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"value is a number, a sequence or 'random', got {value!r}")
        _two_ordered(scale, ratio)
        if scale[0] < 0 or scale[1] > 1 or not 0 <= p <= 1:
            raise ValueError(f"scale and p lie between 0 and 1, got {scale} and {p}")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(img: Tensor, scale: Any, ratio: Any, value: list[float] | None = None) -> tuple:
        """Top, left, height, width and what to write there; after ten misses the image itself."""
        channels, height, width = img.shape[-3:]
        log_ratio = torch.log(torch.tensor(ratio))
        for _ in range(10):
            area = height * width * uniform(*scale)
            proportion = torch.exp(torch.empty(1).uniform_(log_ratio[0].item(), log_ratio[1].item())).item()
            h = int(round(math.sqrt(area * proportion)))
            w = int(round(math.sqrt(area / proportion)))
            if h >= height or w >= width:
                continue
            if value is None:
                v = torch.empty([channels, h, w], dtype=torch.float32).normal_()
            else:
                v = torch.tensor(value)[:, None, None]
            top = integer(0, height - h + 1)
            return top, integer(0, width - w + 1), h, w, v
        return 0, 0, height, width, img

    def forward(self, img: Tensor) -> Tensor:
        if torch.rand(1).item() >= self.p:
            return img
        several = list(self.value) if isinstance(self.value, (list, tuple)) else [self.value]
        value = None if isinstance(self.value, str) else [float(v) for v in several]
        if value is not None and len(value) not in (1, img.shape[-3]):
            raise ValueError(f"value needs one number or {img.shape[-3]}, as there are channels; got {len(value)}")
        i, j, h, w, v = self.get_params(img, self.scale, self.ratio, value)
        return F.erase(img, i, j, h, w, v, self.inplace)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, "
            f"inplace={self.inplace})"
        )


# --- warps ---------------------------------------------------------------------------------------------------------


def _angles(x: Any, name: str, lengths: tuple = (2,)) -> list[float]:
    """A range of degrees: (-x, x) of one number."""
    if isinstance(x, (int, float)):
        if x < 0:
            raise ValueError(f"{name} as one number must be positive, got {x}")
        return [-float(x), float(x)]
    _sized(x, name, lengths)
    return [float(v) for v in x]


def _sized(x: Any, name: str, lengths: tuple) -> None:
    wanted = " or ".join(str(n) for n in lengths)
    if not isinstance(x, Sequence):
        raise TypeError(f"{name} is a sequence of {wanted} numbers, got {type(x).__name__}")
    if len(x) not in lengths:
        raise ValueError(f"{name} needs {wanted} numbers, got {len(x)}")


def _checked_fill(fill: Any) -> Any:
    if fill is not None and not isinstance(fill, (Sequence, int, float)):
        raise TypeError(f"fill is a number or a sequence, got {type(fill).__name__}")
    return 0 if fill is None else fill


def _fill_for(img: Any, fill: Any) -> Any:
    """`fill` for a tensor: one number per channel."""
    if not isinstance(img, Tensor):
        return fill
    return [float(fill)] * F.get_dimensions(img)[0] if isinstance(fill, (int, float)) else [float(f) for f in fill]


class RandomRotation(Module):
    """Turned by an angle from a range of degrees."""

    def __init__(self, degrees: Any, interpolation: Any = InterpolationMode.NEAREST, expand: bool = False,
                 center: Any = None, fill: Any = 0) -> None:  # fmt: skip
        super().__init__()
        self.degrees = _angles(degrees, "degrees")
        if center is not None:
            _sized(center, "center", (2,))
        self.interpolation, self.expand, self.center = interpolation_mode(interpolation), expand, center
        self.fill = _checked_fill(fill)

    @staticmethod
    def get_params(degrees: list[float]) -> float:
        """The angle."""
        return uniform(*degrees)

    def forward(self, img: Any) -> Any:
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, _fill_for(img, self.fill))

    def __repr__(self) -> str:
        shown = f"degrees={self.degrees}, interpolation={self.interpolation.value}, expand={self.expand}"
        shown += f", center={self.center}" if self.center is not None else ""
        return f"{type(self).__name__}({shown}, fill={self.fill})"


class RandomAffine(Module):
    """Turned, moved, scaled and sheared, each by a number from a range."""

    def __init__(self, degrees: Any, translate: Any = None, scale: Any = None, shear: Any = None,
                 interpolation: Any = InterpolationMode.NEAREST, fill: Any = 0,
                 center: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.degrees = _angles(degrees, "degrees")
        for value, name in ((translate, "translate"), (scale, "scale"), (center, "center")):
            if value is not None:
                _sized(value, name, (2,))
        if translate is not None and any(not 0.0 <= t <= 1.0 for t in translate):
            raise ValueError(f"translate lies between 0 and 1, got {translate}")
        if scale is not None and any(s <= 0 for s in scale):
            raise ValueError(f"scale must be positive, got {scale}")
        self.translate, self.scale, self.center = translate, scale, center
        self.shear = None if shear is None else _angles(shear, "shear", (2, 4))
        self.interpolation, self.fill = interpolation_mode(interpolation), _checked_fill(fill)

    @staticmethod
    def get_params(degrees: Any, translate: Any, scale_ranges: Any, shears: Any, img_size: Any) -> tuple:
        """Angle, translation, scale and shear; `img_size` is (width, height)."""
        angle = uniform(*degrees)
        moved = (0, 0)
        if translate is not None:
            dx, dy = (float(t * n) for t, n in zip(translate, img_size))
            tx = int(round(uniform(-dx, dx)))
            moved = (tx, int(round(uniform(-dy, dy))))
        scale = 1.0 if scale_ranges is None else uniform(*scale_ranges)
        shear_x = shear_y = 0.0
        if shears is not None:
            shear_x = uniform(shears[0], shears[1])
            shear_y = uniform(shears[2], shears[3]) if len(shears) == 4 else 0.0
        return angle, moved, scale, (shear_x, shear_y)

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        drawn = self.get_params(self.degrees, self.translate, self.scale, self.shear, [width, height])
        return F.affine(img, *drawn, interpolation=self.interpolation, fill=_fill_for(img, self.fill),
                        center=self.center)  # fmt: skip

    def __repr__(self) -> str:
        shown = f"degrees={self.degrees}"
        for name in ("translate", "scale", "shear"):
            shown += f", {name}={getattr(self, name)}" if getattr(self, name) is not None else ""
        if self.interpolation is not InterpolationMode.NEAREST:
            shown += f", interpolation={self.interpolation.value}"
        shown += f", fill={self.fill}" if self.fill != 0 else ""
        shown += f", center={self.center}" if self.center is not None else ""
        return f"{type(self).__name__}({shown})"


class RandomPerspective(Module):
    """With probability `p` the corners move inwards, each by up to half of `distortion_scale` of the image."""

    def __init__(self, distortion_scale: float = 0.5, p: float = 0.5, interpolation: Any = InterpolationMode.BILINEAR,
                 fill: Any = 0) -> None:  # fmt: skip
        super().__init__()
        self.p, self.distortion_scale = p, distortion_scale
        self.interpolation, self.fill = interpolation_mode(interpolation), _checked_fill(fill)

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list, list]:
        """The corners before and after, from the top left one clockwise."""
        dx, dy = int(distortion_scale * (width // 2)), int(distortion_scale * (height // 2))
        left, right = (0, dx + 1), (width - dx - 1, width)
        top, bottom = (0, dy + 1), (height - dy - 1, height)
        ends = [[integer(*x), integer(*y)] for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]
        return [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], ends

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        if torch.rand(1).item() >= self.p:
            return img
        start, end = self.get_params(width, height, self.distortion_scale)
        return F.perspective(img, start, end, self.interpolation, _fill_for(img, self.fill))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class ElasticTransform(Module):
    """Pixels displaced by smooth noise of strength `alpha` and smoothness `sigma`."""

    def __init__(self, alpha: Any = 50.0, sigma: Any = 5.0, interpolation: Any = InterpolationMode.BILINEAR,
                 fill: Any = 0) -> None:  # fmt: skip
        super().__init__()
        self.alpha, self.sigma = _pair_of_floats(alpha, "alpha"), _pair_of_floats(sigma, "sigma")
        self.interpolation = interpolation_mode(interpolation)
        if not isinstance(fill, (int, float, list, tuple)):
            raise TypeError(f"fill is a number or a sequence, got {type(fill).__name__}")
        self.fill = [float(f) for f in (fill if isinstance(fill, (list, tuple)) else [fill])]

    @staticmethod
    def get_params(alpha: list[float], sigma: list[float], size: list[int]) -> Tensor:
        """The displacement (1, height, width, 2) of an image of `size` (height, width)."""
        found = []
        for strength, smooth, length in ((alpha[0], sigma[0], size[1]), (alpha[1], sigma[1], size[0])):
            noise = torch.rand([1, 1, *size]) * 2 - 1
            if smooth > 0.0:
                n = int(8 * smooth + 1)
                n += n % 2 == 0
                noise = F.gaussian_blur(noise, [n, n], sigma)
            found.append(noise * strength / length)
        return torch.cat(found, 1).permute([0, 2, 3, 1])

    def forward(self, tensor: Any) -> Any:
        _, height, width = F.get_dimensions(tensor)
        displacement = self.get_params(self.alpha, self.sigma, [height, width])
        return F.elastic_transform(tensor, displacement, self.interpolation, self.fill)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(alpha={self.alpha}, sigma={self.sigma}, interpolation={self.interpolation}, "
            f"fill={self.fill})"
        )


def _pair_of_floats(x: Any, name: str) -> list[float]:
    if isinstance(x, float):
        return [x, x]
    _sized(x, name, (1, 2))
    if any(not isinstance(v, float) for v in x):
        raise TypeError(f"{name} holds floats, got {x}")
    return list(x) * (2 if len(x) == 1 else 1)


# --- values --------------------------------------------------------------------------------------------------------


class ColorJitter(Module):
    """Brightness, contrast, saturation and hue changed in random order, each by a number from its range."""

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        super().__init__()
        self.brightness = self._range(brightness, "brightness")
        self.contrast = self._range(contrast, "contrast")
        self.saturation = self._range(saturation, "saturation")
        self.hue = self._range(hue, "hue", 0.0, (-0.5, 0.5))

    @staticmethod
    def _range(value: Any, name: str, centre: float = 1.0, bounds: tuple = (0, math.inf)) -> tuple | None:
        """Low and high; of one number, that far from the centre; None where nothing would change."""
        if isinstance(value, (int, float)):
            if value < 0:
                raise ValueError(f"{name} as one number must not be negative, got {value}")
            low, high = centre - float(value), centre + float(value)
            low = max(low, 0.0) if centre else low
        elif isinstance(value, (tuple, list)) and len(value) == 2:
            low, high = (float(v) for v in value)
        else:
            raise TypeError(f"{name} is one number or two, got {value!r}")
        if not bounds[0] <= low <= high <= bounds[1]:
            raise ValueError(f"{name} must lie in {bounds}, got {(low, high)}")
        return None if low == high == centre else (low, high)

    @staticmethod
    def get_params(brightness: Any, contrast: Any, saturation: Any, hue: Any) -> tuple:
        """The order, then the four factors, None for those that stay."""
        order = torch.randperm(4)
        return (order, *(None if r is None else uniform(*r) for r in (brightness, contrast, saturation, hue)))

    def forward(self, img: Any) -> Any:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for i in order.tolist():
            if factors[i] is not None:
                img = changes[i](img, factors[i])
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation}, hue={self.hue})"
        )


class GaussianBlur(Module):
    """Smoothed by a Gaussian whose deviation comes from a range."""

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = two(kernel_size, "kernel_size")
        if any(n <= 0 or n % 2 == 0 for n in self.kernel_size):
            raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
        pair = (sigma, sigma) if isinstance(sigma, (int, float)) else sigma
        if not isinstance(pair, Sequence) or len(pair) != 2 or not 0.0 < pair[0] <= pair[1]:
            raise ValueError(f"sigma needs one positive number or (low, high), got {sigma}")
        self.sigma = pair

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """The deviation."""
        return uniform(sigma_min, sigma_max)

    def forward(self, img: Any) -> Any:
        sigma = self.get_params(self.sigma[0], self.sigma[1])
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kernel_size={self.kernel_size}, sigma={self.sigma})"
