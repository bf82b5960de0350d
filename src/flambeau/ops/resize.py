"""Resizing: `interpolate` in all its modes, each a linear map per dimension."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.numpy.image import Taps
from flambeau.ops import adaptive
from flambeau.ops.core import op
from flambeau.ops.memory_formats import kept
from flambeau.ops.whole import recorded_whole


@op(any_dtype=True)
def resample_dims(k, input: Tensor, maps):
    """The input mapped linearly along its last dimensions."""
    return k.resample_dims(input, maps)


@resample_dims.derivative("input")
def _(k, g, maps):
    return k.resample_dims(g, tuple(None if m is None else m.back for m in maps))


def _declare(name: str, grad_name: str, any_dtype: bool) -> Any:
    def compute(k, input: Tensor, maps):
        return k.resample_dims(input, maps)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = "Resizing by one map per dimension; see `interpolate`."
    function = op(any_dtype=any_dtype, grad_name=grad_name)(compute)

    @function.derivative("input")
    def _(k, g, maps):
        return k.resample_dims(g, tuple(None if m is None else m.back for m in maps))

    return function


#: The op of a mode and number of dimensions.
_OPS = {
    ("nearest", 1): _declare("upsample_nearest1d", "UpsampleNearest1DBackward0", True),
    ("nearest", 2): _declare("upsample_nearest2d", "UpsampleNearest2DBackward0", True),
    ("nearest", 3): _declare("upsample_nearest3d", "UpsampleNearest3DBackward0", True),
    ("nearest-exact", 1): _declare("upsample_nearest_exact1d", "UpsampleNearestExact1DBackward0", True),
    ("nearest-exact", 2): _declare("upsample_nearest_exact2d", "UpsampleNearestExact2DBackward0", True),
    ("nearest-exact", 3): _declare("upsample_nearest_exact3d", "UpsampleNearestExact3DBackward0", True),
    ("linear", 1): _declare("upsample_linear1d", "UpsampleLinear1DBackward0", False),
    ("bilinear", 2): _declare("upsample_bilinear2d", "UpsampleBilinear2DBackward0", False),
    ("trilinear", 3): _declare("upsample_trilinear3d", "UpsampleTrilinear3DBackward0", False),
    ("bicubic", 2): _declare("upsample_bicubic2d", "UpsampleBicubic2DBackward0", False),
    ("bilinear", -2): _declare("upsample_bilinear2d_aa", "UpsampleBilinear2DAaBackward0", False),
    ("bicubic", -2): _declare("upsample_bicubic2d_aa", "UpsampleBicubic2DAaBackward0", False),
}


def _scale(n_in: int, n_out: int, align_corners: bool, factor: float | None, kind: Any) -> Any:
    """The distance in the input of neighbours in the output, in the precision in which PyTorch computes it."""
    if align_corners:
        return kind(n_in - 1) / kind(n_out - 1) if n_out > 1 else kind(0)
    return kind(1.0 / factor) if factor is not None and factor > 0 else kind(n_in) / kind(n_out)


@lru_cache(512)
def nearest_map(n_in: int, n_out: int, exact: bool, factor: float | None) -> Taps | None:
    """Every output takes the one input below it (`exact`: the nearest)."""
    if n_in == n_out and (factor is None or factor == 1):
        return None
    scale = _scale(n_in, n_out, False, factor, np.float32)
    at = np.arange(n_out, dtype=np.float32)
    source = (at + np.float32(0.5)) * scale if exact else at * scale
    return Taps(np.minimum(np.floor(source).astype(np.intp), n_in - 1)[None], None, n_in)


def _places(n_in: int, n_out: int, align_corners: bool, factor: float | None, kind: Any) -> np.ndarray:
    scale = _scale(n_in, n_out, align_corners, factor, kind)
    at = np.arange(n_out, dtype=kind)
    return at * scale if align_corners else scale * (at + kind(0.5)) - kind(0.5)


@lru_cache(512)
def linear_map(n_in: int, n_out: int, align_corners: bool, factor: float | None, kind: Any) -> Taps | None:
    """Every output is between two inputs."""
    if n_in == n_out and (factor is None or factor == 1):
        return None
    source = np.maximum(_places(n_in, n_out, align_corners, factor, kind), 0)
    low = np.minimum(source.astype(np.intp), n_in - 1)
    high = np.minimum(low + 1, n_in - 1)
    share = np.clip(source - low.astype(kind), 0, 1).astype(kind)
    return Taps(np.stack([low, high]), np.stack([kind(1) - share, share]), n_in)


@lru_cache(512)
def cubic_map(n_in: int, n_out: int, align_corners: bool, factor: float | None, kind: Any) -> Taps | None:
    """Every output is a cubic (Keys 1981, a = -0.75) through four inputs; inputs beyond the edge repeat it."""
    if n_in == n_out and (factor is None or factor == 1):
        return None
    source = _places(n_in, n_out, align_corners, factor, kind)
    low = np.floor(source)
    t = (source - low).astype(kind)
    index = np.stack([low.astype(np.intp) + i for i in (-1, 0, 1, 2)]).clip(0, n_in - 1)
    weight = np.stack([_cubic(t + 1, -0.75), _cubic(t, -0.75), _cubic(1 - t, -0.75), _cubic(2 - t, -0.75)])
    return Taps(index, weight, n_in)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


@lru_cache(512)
def antialias_map(
    n_in: int, n_out: int, align_corners: bool, factor: float | None, cubic: bool, kind: Any
) -> Taps | None:
    """Like the linear and cubic (a = -0.5) maps, with the filter widened when shrinking, so that no input is lost."""
    if n_in == n_out and (factor is None or factor == 1):
        return None
    scale = _scale(n_in, n_out, align_corners, factor, kind)
    reach = (4 if cubic else 2) * kind(0.5) * max(scale, kind(1))
    center = scale * (np.arange(n_out, dtype=kind) + kind(0.5))
    first = np.maximum((center - reach + kind(0.5)).astype(np.intp), 0)
    count = np.minimum((center + reach + kind(0.5)).astype(np.intp), n_in) - first
    taps = np.arange(int(count.max()))[:, None]
    x = (taps + first - center + kind(0.5)) * (kind(1) / max(scale, kind(1)))
    weight = _cubic(x, -0.5) if cubic else np.maximum(1 - np.abs(x), 0)
    weight = np.where(taps < count, weight, 0)
    return Taps(np.minimum(first + taps, n_in - 1), (weight / weight.sum(0)).astype(kind), n_in)


def _sizes(
    shape: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """Output sizes, and the factors that still count (None where only the sizes do)."""
    n = len(shape) - 2
    if size is not None and scale_factor is not None:
        raise ValueError(f"interpolate: give size or scale_factor, not both (size={size}, scale_factor={scale_factor})")
    if size is not None:
        sizes = list(size) if isinstance(size, (list, tuple)) else [size] * n
        if len(sizes) != n:
            raise ValueError(f"interpolate: {len(sizes)} sizes for an input of {n} spatial dimensions: {shape}")
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor has no meaning with size")
        return [int(s) for s in sizes], [None] * n
    if scale_factor is None:
        raise ValueError("interpolate: give size or scale_factor")
    factors = list(scale_factor) if isinstance(scale_factor, (list, tuple)) else [scale_factor] * n
    if len(factors) != n:
        raise ValueError(f"interpolate: {len(factors)} factors for an input of {n} spatial dimensions: {shape}")
    sizes = [int(math.floor(float(s) * f)) for s, f in zip(shape[2:], factors)]
    return sizes, [None] * n if recompute else [float(f) for f in factors]


@recorded_whole
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Resize the spatial dimensions of (N, C, L), (N, C, H, W) or (N, C, D, H, W) to `size` or by `scale_factor`.

    Modes: 'nearest', 'nearest-exact', 'area' for any, 'linear' for one, 'bilinear' and 'bicubic' for two, 'trilinear'
    for three dimensions. `align_corners` maps corners onto corners instead of edges onto edges. With
    `recompute_scale_factor` only the resulting sizes count. `antialias` (bilinear, bicubic) filters when shrinking.

    ValueError for sizes or options that do not fit, NotImplementedError for a mode that the dimensions do not have.

    >>> import flambeau as torch
    >>> torch.nn.functional.interpolate(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(f"interpolate: align_corners has no meaning with mode '{mode}'")
    elif align_corners is None:
        align_corners = False
    shape = tuple(input.shape)
    n = len(shape) - 2
    sizes, factors = _sizes(shape, size, scale_factor, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic") and n == 2):
        raise ValueError(f"interpolate: antialias exists for bilinear and bicubic in 2 dimensions, got '{mode}' in {n}")
    if mode == "area" and n in (1, 2, 3):
        return getattr(adaptive, f"adaptive_avg_pool{n}d")(input, sizes)
    function = _OPS.get((mode, -n if antialias else n))
    if function is None:
        raise NotImplementedError(
            f"interpolate: mode '{mode}' does not exist for {len(shape)} dimensions: nearest, nearest-exact and area "
            "take 3 to 5, linear 3, bilinear and bicubic 4, trilinear 5"
        )
    if any(s <= 0 for s in sizes) or any(s == 0 for s in shape[2:]):
        raise RuntimeError(f"interpolate: sizes must be positive, got {shape[2:]} to {sizes}")
    kind = np.float64 if str(input.dtype) in ("torch.float64", "torch.uint8") else np.float32
    maps = tuple(
        _map(mode, a, b, bool(align_corners), f, antialias, kind) for a, b, f in zip(shape[2:], sizes, factors)
    )
    if str(input.dtype) == "torch.uint8" and not mode.startswith("nearest"):
        return NS["WRAP"](NS["KERNELS_OF"](input._a).resample_bytes(input._a, maps))
    return kept(input, function(input, maps))


def _map(mode: str, n_in: int, n_out: int, align: bool, factor: float | None, antialias: bool, kind: Any) -> Any:
    if mode.startswith("nearest"):
        return nearest_map(n_in, n_out, mode == "nearest-exact", factor)
    if antialias:
        return antialias_map(n_in, n_out, align, factor, mode == "bicubic", kind)
    return (cubic_map if mode == "bicubic" else linear_map)(n_in, n_out, align, factor, kind)


def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    """An outdated name of `interpolate`."""
    warnings.warn("upsample is outdated, use interpolate", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """An outdated name of `interpolate` with mode 'nearest'."""
    warnings.warn("upsample_nearest is outdated, use interpolate", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """An outdated name of `interpolate` with mode 'bilinear' and aligned corners."""
    warnings.warn("upsample_bilinear is outdated, use interpolate", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
