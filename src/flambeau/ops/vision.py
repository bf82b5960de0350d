"""Windows, shuffles and warps of images."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.ops.core import op
from flambeau.ops.dispatch import deliver
from flambeau.ops.placing import beside

# -- windows


@op(grad_name="Im2ColBackward0")
def im2col(k, input: Tensor, kernel_size, dilation, padding, stride):
    """Every window of (N, C, H, W) as a column."""
    return k.im2col(input, kernel_size, dilation, padding, stride)


@im2col.derivative("input")
def _(k, g, input_shape, kernel_size, dilation, padding, stride):
    return k.col2im(g, input_shape[-2:], kernel_size, dilation, padding, stride)


@op(grad_name="Col2ImBackward0")
def col2im(k, input: Tensor, output_size, kernel_size, dilation, padding, stride):
    """Columns added up where their windows lie."""
    return k.col2im(input, output_size, kernel_size, dilation, padding, stride)


@col2im.derivative("input")
def _(k, g, kernel_size, dilation, padding, stride):
    return k.im2col(g, kernel_size, dilation, padding, stride)


def _two(value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) == 1:
        pair = pair * 2
    return int(pair[0]), int(pair[1])


def _window_settings(name: str, *values: Any) -> tuple[tuple[int, int], ...]:
    settings = tuple(_two(v) for v in values)
    kernel, dilation, padding, stride = settings
    if min(kernel) <= 0 or min(dilation) <= 0 or min(stride) <= 0 or min(padding) < 0:
        raise RuntimeError(
            f"{name}: kernel_size, dilation and stride must be positive and padding not negative, got {kernel}, "
            f"{dilation}, {stride} and {padding}"
        )
    return settings


def _window_counts(size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, int]:
    def count(i: int) -> int:
        return (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1

    return count(0), count(1)


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Every window of images (N, C, H, W) as a column: (N, C * kh * kw, windows); without N likewise.

    RuntimeError for other numbers of dimensions or settings that leave no window.

    >>> import flambeau as torch
    >>> torch.nn.functional.unfold(torch.zeros(1, 3, 4, 5), (2, 3)).shape
    torch.Size([1, 18, 9])
    """
    settings = _window_settings("unfold", kernel_size, dilation, padding, stride)
    shape = tuple(input.shape)
    if len(shape) not in (3, 4):
        raise IndexError(f"unfold: expected (N, C, H, W) or (C, H, W), got {shape}")
    if 0 in shape[-3:]:
        raise RuntimeError(f"unfold: expected (N, C, H, W) or (C, H, W) that is not empty, got {shape}")
    if min(_window_counts(shape[-2:], *settings)) <= 0:
        raise RuntimeError(f"unfold: kernel_size={settings[0]} and dilation={settings[1]} do not fit in {shape}")
    return im2col(input, *settings)


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Add up columns (N, C * kh * kw, windows) where their windows lie in images (N, C, *output_size); without N
    likewise.

    RuntimeError for shapes that do not fit.
    """
    size = _two(output_size)
    settings = _window_settings("fold", kernel_size, dilation, padding, stride)
    shape = tuple(input.shape)
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(f"fold: expected (N, C * kh * kw, windows) or the same without N, got {shape}")
    area = settings[0][0] * settings[0][1]
    if shape[-2] % area:
        raise RuntimeError(f"fold: {shape[-2]} rows are not a multiple of the kernel's {area} elements")
    counts = _window_counts(size, *settings)
    if min(counts) <= 0 or counts[0] * counts[1] != shape[-1]:
        raise RuntimeError(f"fold: images of {size} have {counts[0]} x {counts[1]} windows, got {shape[-1]} columns")
    return col2im(input, size, *settings)


# -- shuffles


@op(any_dtype=True)
def pixel_shuffle(k, input: Tensor, upscale_factor):
    """(*, C * r * r, H, W) to (*, C, H * r, W * r) with r = `upscale_factor`. Shi et al. 2016.

    RuntimeError for fewer than 3 dimensions or channels that r * r does not divide.
    """
    r = upscale_factor
    _check_shuffle("pixel_shuffle", input.shape, r)
    *batch, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(f"pixel_shuffle: {c} channels are not a multiple of {r} * {r}")
    n = len(batch)
    split = k.reshape(input, (*batch, c // (r * r), r, r, h, w))
    mixed = k.permute(split, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return k.reshape(mixed, (*batch, c // (r * r), h * r, w * r))


@pixel_shuffle.derivative("input")
def _(k, g, upscale_factor):
    return k.pixel_unshuffle(g, upscale_factor)


@op(any_dtype=True)
def pixel_unshuffle(k, input: Tensor, downscale_factor):
    """(*, C, H * r, W * r) to (*, C * r * r, H, W) with r = `downscale_factor`.

    RuntimeError for fewer than 3 dimensions or sizes that r does not divide.
    """
    r = downscale_factor
    _check_shuffle("pixel_unshuffle", input.shape, r)
    *batch, c, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(f"pixel_unshuffle: height {h} and width {w} must be multiples of {r}")
    n = len(batch)
    split = k.reshape(input, (*batch, c, h // r, r, w // r, r))
    mixed = k.permute(split, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return k.reshape(mixed, (*batch, c * r * r, h // r, w // r))


@pixel_unshuffle.derivative("input")
def _(k, g, downscale_factor):
    return k.pixel_shuffle(g, downscale_factor)


def _check_shuffle(name: str, shape: tuple[int, ...], factor: int) -> None:
    if len(shape) < 3:
        raise RuntimeError(f"{name}: expected at least 3 dimensions, got {shape}")
    if factor <= 0:
        raise RuntimeError(f"{name}: the factor must be positive, got {factor}")


@op(any_dtype=True, grad_name="ChannelShuffleBackward0")
def channel_shuffle(k, input: Tensor, groups):
    """Reorder channels (N, C, *): of `groups` groups, first each one's first channel, then each one's second, and so
    on.

    RuntimeError for fewer than 3 dimensions or channels that `groups` does not divide.
    """
    shape = input.shape
    if len(shape) < 3 or groups <= 0 or shape[1] % groups:
        raise RuntimeError(
            f"channel_shuffle: expected (N, C, *) with groups={groups} dividing C and at least 3 dimensions, got "
            f"{shape}"
        )
    split = k.reshape(input, (shape[0], groups, shape[1] // groups, *shape[2:]))
    return k.reshape(k.transpose(split, 1, 2), shape)


@channel_shuffle.derivative("input")
def _(k, g, input_shape, groups):
    return k.channel_shuffle(g, input_shape[1] // groups)


native_channel_shuffle = channel_shuffle


# -- warps


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """Where `grid_sample` finds the points of an affinely moved image: theta (N, 2, 3), size (N, C, H, W) to (N, H,
    W, 2).

    Coordinates run from -1 to 1 from edge to edge, with `align_corners` from corner to corner. Volumes take theta
    (N, 3, 4) and size (N, C, D, H, W). ValueError, NotImplementedError for shapes that do not fit.
    """
    size = [int(s) for s in size]
    n = len(size) - 2
    if not theta.is_floating_point():
        raise ValueError(f"affine_grid: theta must be floating point, got {theta.dtype}")
    if n not in (2, 3):
        raise NotImplementedError(f"affine_grid: size must have 4 or 5 elements, got {size}")
    if tuple(theta.shape[-2:]) != (n, n + 1) or theta.dim() != 3:
        raise ValueError(
            f"affine_grid: expected theta of shape (N, {n}, {n + 1}) for size {size}, got {tuple(theta.shape)}"
        )
    if min(size) <= 0:
        raise ValueError(f"affine_grid: sizes must be positive, got {size}")
    spatial = size[2:]
    base = np.ones((*spatial, n + 1), theta._a.dtype)
    for d, length in enumerate(spatial):
        line = NS["LINSPACE"](-1, 1, length, theta._a.dtype) if length > 1 else np.zeros(1, theta._a.dtype)
        if not align_corners:
            line = line * line.dtype.type(length - 1) / line.dtype.type(length)
        base[..., n - 1 - d] = line.reshape([length if i == d else 1 for i in range(n)])
    flat = beside(theta, base).reshape(1, -1, n + 1).expand(size[0], -1, n + 1)
    grid = flat.bmm(theta.transpose(1, 2)).reshape(size[0], *spatial, n)
    return show_as(grid, "AffineGridGeneratorBackward0")


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """Take from (N, C, H, W) at the points of `grid` (N, h, w, 2), or from volumes at (N, d, h, w, 3): (N, C, h, w).

    Points are (x, y) from -1 to 1, edge to edge, with `align_corners` corner to corner. Between pixels `mode` is
    'bilinear', 'nearest' or (images only) 'bicubic'; outside `padding_mode` gives 'zeros', the 'border' or a
    'reflection'. Jaderberg et al. 2015. ValueError, RuntimeError for unknown modes and shapes that do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"grid_sample: mode must be 'bilinear', 'nearest' or 'bicubic', got {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: padding_mode must be 'zeros', 'border' or 'reflection', got {padding_mode!r}")
    n = input.dim() - 2
    if n not in (2, 3) or grid.dim() != n + 2 or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise RuntimeError(
            f"grid_sample: expected (N, C, H, W) with a grid (N, h, w, 2) or (N, C, D, H, W) with (N, d, h, w, 3), got "
            f"{tuple(input.shape)} and {tuple(grid.shape)}"
        )
    if input.dtype != grid.dtype:
        raise RuntimeError(f"grid_sample: input and grid must have one dtype, got {input.dtype} and {grid.dtype}")
    if mode == "bicubic" and n == 3:
        raise RuntimeError("grid_sample: bicubic exists for images only")
    if any(s == 0 for s in input.shape[1:]):
        raise RuntimeError(f"grid_sample: the input has an empty dimension: {tuple(input.shape)}")
    if align_corners is None:
        warnings.warn("grid_sample: align_corners is False if not given", stacklevel=2)
    sizes = tuple(input.shape[2:])
    points = [
        _unnormalized(grid.select(-1, n - 1 - d), sizes[d], bool(align_corners), n) for d in range(n)
    ]  # the grid has x first, the sizes have it last
    if mode != "bicubic":
        points = [_inside(p, s, padding_mode, bool(align_corners)) for p, s in zip(points, sizes)]
    shown = f"GridSampler{n}DBackward0"
    if mode == "nearest":
        result, _ = _gather_points(input, [p.detach().round() for p in points], padding_mode == "zeros")
        if grid.requires_grad:  # a gradient of zeros for the grid
            result = result * (points[0].sign() * 0 + 1).unsqueeze(1)
        return show_as(result, shown)
    steps = [_steps(p, mode) for p in points]
    total = None
    for corner in _combinations(steps):
        places, weight = corner
        if mode == "bicubic":
            places = [_inside(p, s, padding_mode, bool(align_corners)) for p, s in zip(places, sizes)]
        values, seen = _gather_points(input, places, padding_mode == "zeros")
        part = values * weight.unsqueeze(1)
        if n == 3 and seen is not None:
            part = part.masked_fill(~seen, 0)  # whatever the weight is
        total = part if total is None else total + part
    return show_as(total, shown)


def _unnormalized(x: Any, size: int, align_corners: bool, n: int) -> Any:
    """Coordinates from -1 to 1 as pixel numbers, rounded as PyTorch rounds them in images and in volumes."""
    if align_corners:
        return (x + 1) * ((size - 1) / 2)
    x = x + 1
    wide = x.double() if x.dtype is dtypes.float32 else x  # a product that feeds a sum is rounded with it
    return (wide * (size / 2) - 0.5).to(x.dtype) if n == 2 else (wide * size - 1).to(x.dtype) / 2


def _inside(x: Any, size: int, padding_mode: str, align_corners: bool) -> Any:
    """Pixel numbers brought into the image as the padding mode says."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
        if span == 0:
            return x * 0
        x = (x - low).abs()
        turns = (x.detach() / span).floor()
        extra = x - turns * span
        even = (turns % 2 == 0).to(x.dtype)
        x = even * (extra + low) + (1 - even) * (span - extra + low)
    inside = (x > 0) & (x < size - 1)  # on the border the derivative is 0
    return NS["OPS"].where(inside, x, x.detach().nan_to_num(nan=0.0).clamp(0, size - 1))


def _steps(x: Any, mode: str) -> list[tuple[Any, Any]]:
    """The pixels around `x` along one dimension, with their weights."""
    low = x.detach().floor()
    t = x - low
    if mode == "bilinear":
        return [(low, 1 - t), (low + 1, t)]
    a = -0.75

    def near(s: Any) -> Any:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: Any) -> Any:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return [(low - 1, far(t + 1)), (low, near(t)), (low + 1, near(1 - t)), (low + 2, far(2 - t))]


def _combinations(steps: list[list[tuple[Any, Any]]]) -> list[tuple[list[Any], Any]]:
    """Every choice of one pixel per dimension, with the product of the weights."""
    result: list[tuple[list[Any], Any]] = [([], None)]
    for options in steps:
        result = [
            ([*places, place], weight if product is None else product * weight)
            for places, product in result
            for place, weight in options
        ]
    return result


def _gather_points(input: Any, places: list[Any], zeros: bool) -> tuple[Any, Any]:
    """`input` at whole pixel numbers, one tensor of them per dimension; zero outside the image if `zeros`, and then
    which ones are inside."""
    n_batch, channels, *sizes = input.shape
    flat: Any = None
    mask: Any = None
    for p, size in zip(places, sizes):
        p = p.detach()
        if zeros:
            ok = (p >= 0) & (p <= size - 1)
            mask = ok if mask is None else mask & ok
        index = p.nan_to_num(nan=0.0).clamp(0, size - 1).long()
        flat = index if flat is None else flat * size + index
    out_size = tuple(flat.shape[1:])
    index = flat.reshape(n_batch, 1, -1).expand(n_batch, channels, -1)
    values = input.reshape(n_batch, channels, -1).gather(2, index).reshape(n_batch, channels, *out_size)
    if mask is None:
        return values, None
    mask = mask.unsqueeze(1).expand(values.shape)
    return values.masked_fill(~mask, 0), mask


def _sampler(name: str, n: int) -> Any:
    def sampler(
        input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool, *, out: Any = None
    ) -> Any:
        if input.dim() != n + 2:
            raise RuntimeError(f"{name}(): {n + 2} dimensions are needed, got {tuple(input.shape)}")
        mode = ("bilinear", "nearest", "bicubic")[interpolation_mode]
        padding = ("zeros", "border", "reflection")[padding_mode]
        return deliver(name, out, grid_sample(input, grid, mode, padding, align_corners))

    sampler.__name__ = sampler.__qualname__ = name
    sampler.__doc__ = f"`grid_sample` in {n} dimensions, its modes by number."
    return sampler


grid_sampler_2d, grid_sampler_3d = _sampler("grid_sampler_2d", 2), _sampler("grid_sampler_3d", 3)


def grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:
    """`grid_sample`, its modes by number."""
    function = grid_sampler_3d if input.dim() == 5 else grid_sampler_2d
    return function(input, grid, interpolation_mode, padding_mode, align_corners)
