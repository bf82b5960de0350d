"""Transforms of tensors: (..., bands, height, width), values of 0 to 1, or of 0 to the dtype's largest integer."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.tensor.tensor import Tensor

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


#: Whether images of bytes are resized in integers, as the second generation of transforms does.
bytes_as_such: ContextVar[bool] = ContextVar("bytes_as_such", default=False)


def _check(img: Tensor, channels: Sequence[int] | None = None, dims: int = 2) -> None:
    if img.ndim < dims:
        raise TypeError(f"an image tensor has at least {dims} dimensions (..., height, width), got {tuple(img.shape)}")
    if channels and dimensions(img)[0] not in channels:
        raise TypeError(f"this transform takes images of {channels} channels, got {dimensions(img)[0]}")


def _float_of(img: Tensor) -> Any:
    return img.dtype if img.is_floating_point() else torch.float32


def max_value(dtype: Any) -> int:
    """White: 1 for floating-point numbers, the largest value of integers."""
    return 1 if dtype.is_floating_point or dtype == torch.bool else torch.iinfo(dtype).max


def dimensions(img: Tensor) -> list[int]:
    """Channels, height, width."""
    _check(img)
    return [1 if img.ndim == 2 else img.shape[-3], *img.shape[-2:]]


def convert_dtype(image: Tensor, dtype: Any) -> Tensor:
    """To another dtype, scaled so that white stays white."""
    if image.dtype == dtype:
        return image
    if image.is_floating_point():
        if dtype.is_floating_point:
            return image.to(dtype)
        if dtype == torch.int64 or (image.dtype == torch.float32 and dtype == torch.int32):
            raise RuntimeError(f"{image.dtype} has too few digits to hold every {dtype}")
        return image.mul(max_value(dtype) + 1.0 - 1e-3).to(dtype)
    white = max_value(image.dtype)
    if dtype.is_floating_point:
        return image.to(dtype) / float(white)
    if white > max_value(dtype):
        return torch.div(image, (white + 1) // (max_value(dtype) + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((max_value(dtype) + 1) // (white + 1))


# --- places --------------------------------------------------------------------------------------------------------


def hflip(img: Tensor) -> Tensor:
    """Mirrored left to right."""
    _check(img)
    return img.flip(-1)


def vflip(img: Tensor) -> Tensor:
    """Mirrored top to bottom."""
    _check(img)
    return img.flip(-2)


def crop(img: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A part; what lies outside the image is 0."""
    _, h, w = dimensions(img)
    right, bottom = left + width, top + height
    inside = img[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if left >= 0 and top >= 0 and right <= w and bottom <= h:
        return inside
    sides = [max(-left + min(0, right), 0), max(-top + min(0, bottom), 0)]
    return pad(inside, [*sides, max(right - max(w, left), 0), max(bottom - max(h, top), 0)])


def pad(img: Tensor, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Tensor:
    """Larger by `padding` (left, top, right, bottom)."""
    _check(img)
    fill = 0 if fill is None else fill
    if isinstance(fill, (tuple, list)) and len(fill) == 1:
        fill = fill[0]
    if not isinstance(fill, (int, float)):
        raise TypeError(f"pad: a tensor is filled with one number, got {fill!r}")
    left, top, right, bottom = sides(padding)
    if padding_mode == "symmetric":
        return _pad_symmetric(img, left, top, right, bottom)
    mode = "replicate" if padding_mode == "edge" else padding_mode
    work = img.unsqueeze(0) if img.ndim < 4 else img
    if mode == "constant":
        work = F.pad(work, [left, right, top, bottom], value=float(fill))
    else:
        work = F.pad(work.to(_float_of(img)), [left, right, top, bottom], mode=mode).to(img.dtype)
    return work.squeeze(0) if img.ndim < 4 else work


def sides(padding: Any) -> list[int]:
    """Left, top, right, bottom, of one number, of two (left and right, top and bottom) or of four."""
    if isinstance(padding, int):
        return [padding] * 4
    values = list(padding)
    return values * 4 if len(values) == 1 else values * 2 if len(values) == 2 else values


def _pad_symmetric(img: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    if min(left, top, right, bottom) < 0:
        _, h, w = dimensions(img)
        img = img[..., max(-top, 0) : h - max(-bottom, 0), max(-left, 0) : w - max(-right, 0)]
        left, top, right, bottom = (max(v, 0) for v in (left, top, right, bottom))

    def mirrored(n: int, before: int, after: int) -> Tensor:
        return torch.tensor([*range(before - 1, -1, -1), *range(n), *range(n - 1, n - 1 - after, -1)])

    rows, columns = mirrored(img.shape[-2], top, bottom), mirrored(img.shape[-1], left, right)
    return img[..., rows[:, None], columns[None, :]]


def resize(img: Tensor, size: list[int], interpolation: str, antialias: bool | None = True) -> Tensor:
    """To `size` (height, width)."""
    smooth = interpolation in ("bilinear", "bicubic")
    kinds = (torch.float32, torch.float64, torch.uint8) if bytes_as_such.get() else (torch.float32, torch.float64)
    work, restore = _as_batch(img, kinds)
    work = F.interpolate(work, size=size, mode=interpolation, align_corners=False if smooth else None,
                         antialias=bool(antialias) and smooth)  # fmt: skip
    if interpolation == "bicubic" and img.dtype == torch.uint8:
        work = work.clamp(min=0, max=255)
    return restore(work)


def _as_batch(img: Tensor, dtypes: Sequence[Any]) -> tuple[Tensor, Any]:
    """A batch of floating-point images, and what makes of such a batch an image like `img`."""
    work = img.unsqueeze(0) if img.ndim < 4 else img
    work = work if work.dtype in dtypes else work.to(dtypes[0])

    def restore(result: Tensor) -> Tensor:
        result = result.squeeze(0) if img.ndim < 4 else result
        if img.dtype in dtypes:
            return result
        return (result.round() if img.dtype in _WHOLE else result).to(img.dtype)

    return work, restore


# --- warps ---------------------------------------------------------------------------------------------------------


def _centres(ow: int, oh: int, x: float, y: float, dtype: Any) -> Tensor:
    """Homogeneous coordinates of the pixels' centres, the first of them at (x, y)."""
    grid = torch.ones(1, oh, ow, 3, dtype=dtype)
    grid[..., 0] = torch.linspace(x, x + ow - 1, steps=ow)
    grid[..., 1] = torch.linspace(y, y + oh - 1, steps=oh).unsqueeze(-1)
    return grid.view(1, oh * ow, 3)


def _affine_grid(matrix: Sequence[float], w: int, h: int, ow: int, oh: int, dtype: Any) -> Tensor:
    theta = torch.tensor(matrix, dtype=dtype).reshape(1, 2, 3)
    grid = _centres(ow, oh, -ow * 0.5 + 0.5, -oh * 0.5 + 0.5, dtype)
    scaled = theta.transpose(1, 2) / torch.tensor([0.5 * w, 0.5 * h], dtype=dtype)
    return grid.bmm(scaled).view(1, oh, ow, 2)


def _sample(img: Tensor, grid: Tensor, mode: str, fill: Any) -> Tensor:
    """The image read at `grid`; outside it `fill`, a number or one per channel."""
    if isinstance(fill, (tuple, list)) and len(fill) > 1 and len(fill) != dimensions(img)[0]:
        raise ValueError(f"fill needs one number or {dimensions(img)[0]}, as there are channels; got {len(fill)}")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"tensors are interpolated by 'nearest' or 'bilinear' here, not by '{mode}'")
    work, restore = _as_batch(img, (grid.dtype,))
    grid = grid.expand(work.shape[0], *grid.shape[1:])
    if fill is None:
        return restore(F.grid_sample(work, grid, mode=mode, padding_mode="zeros", align_corners=False))
    work = torch.cat((work, torch.ones_like(work[:, :1])), dim=1)
    work = F.grid_sample(work, grid, mode=mode, padding_mode="zeros", align_corners=False)
    work, covered = work[:, :-1], work[:, -1:]
    around = torch.tensor(fill if isinstance(fill, (tuple, list)) else [float(fill)], dtype=work.dtype)
    around = around.view(1, -1, 1, 1).expand_as(work)
    if mode == "nearest":
        return restore(torch.where(covered < 0.5, around, work))
    return restore(work * covered + (1.0 - covered) * around)


def affine(img: Tensor, matrix: list[float], interpolation: str = "nearest", fill: Any = None) -> Tensor:
    """Each pixel read where `matrix`, 2 by 3, takes it."""
    _, h, w = dimensions(img)
    return _sample(img, _affine_grid(matrix, w, h, w, h, _float_of(img)), interpolation, fill)


def rotate(
    img: Tensor, matrix: list[float], interpolation: str = "nearest", expand: bool = False, fill: Any = None
) -> Tensor:
    """As `affine`; with `expand` the result is large enough for all of the image."""
    _, h, w = dimensions(img)
    ow, oh = _expanded(matrix, w, h) if expand else (w, h)
    return _sample(img, _affine_grid(matrix, w, h, ow, oh, _float_of(img)), interpolation, fill)


def _expanded(matrix: list[float], w: int, h: int) -> tuple[int, int]:
    corners = torch.tensor([[x * w, y * h, 1.0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    moved = corners @ torch.tensor(matrix, dtype=torch.float32).view(2, 3).T
    half = torch.tensor((w * 0.5, h * 0.5))
    low, high = moved.amin(0) + half, moved.amax(0) + half
    size = torch.ceil((high / 1e-4).trunc() * 1e-4) - torch.floor((low / 1e-4).trunc() * 1e-4)
    return int(size[0]), int(size[1])


def perspective(img: Tensor, coeffs: list[float], interpolation: str = "bilinear", fill: Any = None) -> Tensor:
    """Each pixel (x, y) read at ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1))."""
    _, h, w = dimensions(img)
    dtype = _float_of(img)
    grid = _centres(w, h, 0.5, 0.5, dtype)
    upper = torch.tensor([[coeffs[0:3], coeffs[3:6]]], dtype=dtype)
    lower = torch.tensor([[[*coeffs[6:8], 1.0]] * 2], dtype=dtype)
    scaled = upper.transpose(1, 2) / torch.tensor([0.5 * w, 0.5 * h], dtype=dtype)
    grid = grid.bmm(scaled) / grid.bmm(lower.transpose(1, 2)) - 1.0
    return _sample(img, grid.view(1, h, w, 2), interpolation, fill)


def elastic(img: Tensor, displacement: Tensor, interpolation: str = "bilinear", fill: Any = None) -> Tensor:
    """Each pixel read `displacement` away, in halves of the image's size."""
    y, x = torch.meshgrid(*[torch.linspace((-s + 1) / s, (s - 1) / s, s) for s in img.shape[-2:]], indexing="ij")
    return _sample(img, torch.stack([x, y], -1).unsqueeze(0) + displacement, interpolation, fill)


# --- values --------------------------------------------------------------------------------------------------------


def _blend(img: Tensor, other: Tensor, ratio: float) -> Tensor:
    ratio = float(ratio)
    return (ratio * img + (1.0 - ratio) * other).clamp(0, max_value(img.dtype)).to(img.dtype)


def _not_negative(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")


def grayscale(img: Tensor, num_output_channels: int = 1) -> Tensor:
    """Luma (ITU-R 601-2), in one channel or three equal ones."""
    _check(img, (1, 3), 3)
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels must be 1 or 3, got {num_output_channels}")
    if img.shape[-3] == 3:
        r, g, b = img.unbind(dim=-3)
        grey = (0.2989 * r + 0.587 * g + 0.114 * b).to(img.dtype).unsqueeze(-3)
    else:
        grey = img.clone()
    return grey.expand(img.shape) if num_output_channels == 3 else grey


def brightness(img: Tensor, factor: float) -> Tensor:
    """Blended with black: 0 gives black, 1 the image."""
    _not_negative("brightness_factor", factor)
    _check(img, (1, 3))
    return _blend(img, torch.zeros_like(img), factor)


def contrast(img: Tensor, factor: float) -> Tensor:
    """Blended with its mean grey."""
    _not_negative("contrast_factor", factor)
    _check(img, (1, 3))
    grey = grayscale(img) if dimensions(img)[0] == 3 else img
    return _blend(img, grey.to(_float_of(img)).mean(dim=(-3, -2, -1), keepdim=True), factor)


def saturation(img: Tensor, factor: float) -> Tensor:
    """Blended with its greys."""
    _not_negative("saturation_factor", factor)
    _check(img, (1, 3))
    return img if dimensions(img)[0] == 1 else _blend(img, grayscale(img), factor)


def hue(img: Tensor, factor: float) -> Tensor:
    """The hue turned by `factor` of a full turn."""
    _check(img, (1, 3))
    if dimensions(img)[0] == 1:
        return img
    h, s, v = _rgb_to_hsv(convert_dtype(img, torch.float32))
    return convert_dtype(_hsv_to_rgb((h + factor) % 1.0, s, v), img.dtype)


def _rgb_to_hsv(img: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r, g, b = img.unbind(dim=-3)
    high, low = img.amax(-3), img.amin(-3)
    flat, ones = high == low, torch.ones_like(high)
    spread = high - low
    s = spread / torch.where(flat, ones, high)
    spread = torch.where(flat, ones, spread)
    rc, gc, bc = (high - r) / spread, (high - g) / spread, (high - b) / spread
    h = (high == r) * (bc - gc)
    h = h + ((high == g) & (high != r)) * (2.0 + rc - bc)
    h = h + ((high != g) & (high != r)) * (4.0 + gc - rc)
    return torch.fmod(h / 6.0 + 1.0, 1.0), s, high


def _hsv_to_rgb(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    sector = torch.floor(h * 6.0)
    f = h * 6.0 - sector
    p, q, t = (torch.clamp(v * x, 0.0, 1.0) for x in (1.0 - s, 1.0 - s * f, 1.0 - s * (1.0 - f)))
    which = (sector.to(torch.int64) % 6).unsqueeze(-3)
    tables = ((v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q))
    return torch.cat([torch.stack(table, dim=-3).gather(-3, which) for table in tables], dim=-3)


def gamma(img: Tensor, gamma: float, gain: float = 1) -> Tensor:
    """`gain` times the values to the power `gamma`."""
    _not_negative("gamma", gamma)
    _check(img, (1, 3))
    work = img if img.is_floating_point() else convert_dtype(img, torch.float32)
    return convert_dtype((gain * work.pow(gamma)).clamp(0, 1), img.dtype)


def invert(img: Tensor) -> Tensor:
    """The negative."""
    _check(img, (1, 3), 3)
    return max_value(img.dtype) - img


def posterize(img: Tensor, bits: int) -> Tensor:
    """Only the first `bits` bits kept."""
    _check(img, (1, 3), 3)
    if img.dtype != torch.uint8:
        raise TypeError(f"posterize takes uint8 images, got {img.dtype}")
    return img & (256 - 2 ** (8 - bits)) if bits else torch.zeros_like(img)


def solarize(img: Tensor, threshold: float) -> Tensor:
    """Values from `threshold` on inverted."""
    if threshold > max_value(img.dtype):
        raise TypeError(f"the threshold {threshold} is above white, {max_value(img.dtype)}")
    return torch.where(img >= threshold, invert(img), img)


def sharpness(img: Tensor, factor: float) -> Tensor:
    """Blended with a smoothed copy."""
    _not_negative("sharpness_factor", factor)
    _check(img, (1, 3))
    if min(img.shape[-2:]) <= 2:
        return img
    kernel = torch.ones(3, 3, dtype=_float_of(img))
    kernel[1, 1] = 5.0
    kernel = (kernel / kernel.sum()).expand(img.shape[-3], 1, 3, 3)
    work, restore = _as_batch(img, (kernel.dtype,))
    smoothed = img.clone()
    smoothed[..., 1:-1, 1:-1] = restore(F.conv2d(work, kernel, groups=img.shape[-3]))
    return _blend(img, smoothed, factor)


def autocontrast(img: Tensor) -> Tensor:
    """Each channel stretched from black to white."""
    _check(img, (1, 3), 3)
    white, dtype = max_value(img.dtype), _float_of(img)
    low = img.amin(dim=(-2, -1), keepdim=True).to(dtype)
    scale = white / (img.amax(dim=(-2, -1), keepdim=True).to(dtype) - low)
    flat = torch.isfinite(scale).logical_not()
    low, scale = low.masked_fill(flat, 0), scale.masked_fill(flat, 1)
    return ((img - low) * scale).clamp(0, white).to(img.dtype)


def equalize(img: Tensor) -> Tensor:
    """Each channel's values spread so that all are about as frequent."""
    _check(img, (1, 3), 3)
    if img.dtype != torch.uint8:
        raise TypeError(f"equalize takes uint8 images, got {img.dtype}")
    flat = img.reshape(-1, *img.shape[-2:])
    return torch.stack([_equalized(channel) for channel in flat]).reshape(img.shape)


def _equalized(channel: Tensor) -> Tensor:
    counts = torch.bincount(channel.reshape(-1), minlength=256)
    step = int(counts[counts != 0][:-1].sum()) // 255
    if step == 0:
        return channel
    table = F.pad((torch.cumsum(counts, 0) + step // 2) // step, [1, 0])[:-1].clamp(0, 255)
    return table[channel.to(torch.int64)].to(torch.uint8)


def gaussian_blur(img: Tensor, kernel_size: Sequence[int], sigma: Sequence[float]) -> Tensor:
    """Smoothed by a Gaussian; sizes and deviations are given for x, then y."""
    dtype = _float_of(img)

    def curve(n: int, deviation: float) -> Tensor:
        x = torch.linspace(-(n - 1) * 0.5, (n - 1) * 0.5, steps=n, dtype=dtype)
        density = torch.exp(-0.5 * (x / deviation).pow(2))
        return density / density.sum()

    kernel = torch.mm(curve(kernel_size[1], sigma[1])[:, None], curve(kernel_size[0], sigma[0])[None, :])
    kernel = kernel.expand(img.shape[-3], 1, *kernel.shape)
    work, restore = _as_batch(img, (dtype,))
    x, y = kernel_size[0] // 2, kernel_size[1] // 2
    return restore(F.conv2d(F.pad(work, [x, x, y, y], mode="reflect"), kernel, groups=img.shape[-3]))
