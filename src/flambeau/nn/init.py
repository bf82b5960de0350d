"""Filling parameters before training. Every function fills its tensor in place, unrecorded, and returns it.

From the same seed the values are PyTorch's; those of `orthogonal_` up to the rounding of the QR factorization.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.runtime import no_grad
from flambeau.autograd.views import bump
from flambeau.ops import random_ops
from flambeau.ops.dispatch import one_write
from flambeau.tensor.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_GAIN_ONE = {
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before this nonlinearity should be larger to keep the variance.

    1 for 'linear', 'conv1d', ... and 'sigmoid'; 5/3 for 'tanh'; sqrt(2) for 'relu'; sqrt(2 / (1 + param**2)) for
    'leaky_relu' (param: the negative slope, 0.01 by default); 3/4 for 'selu'. ValueError for another name, or a slope
    that is no number.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity in _GAIN_ONE:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: the negative slope must be a number, but is {slope!r}")
        return math.sqrt(2.0 / (1 + slope**2))
    known = ", ".join(sorted(_GAIN_ONE | {"tanh", "relu", "leaky_relu", "selu"}))
    raise ValueError(f"calculate_gain: no gain is known for {nonlinearity!r}; there are {known}")


# --- constants ----------------------------------------------------------------------------------------------------


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with the number `val`."""
    return tensor.fill_(val)


@no_grad()
def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return tensor.fill_(1.0)


@no_grad()
def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return tensor.zero_()


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix as the identity: ones from corner to corner, else zeros. ValueError unless it has 2 dimensions."""
    _need_matrix("eye_", tensor)
    tensor.zero_()
    for i in range(min(tensor.shape)):
        tensor[i, i] = 1
    return tensor


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight (3, 4 or 5 dimensions) so that each channel is passed on, as far as there are
    channels.

    ValueError for another number of dimensions, and where `groups` doesn't divide the output channels.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(f"dirac_ expects a weight of 3, 4 or 5 dimensions, but got shape {tuple(tensor.shape)}")
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups:
        raise ValueError(f"dirac_: {groups} groups do not divide the {out_channels} output channels")
    per_group = out_channels // groups
    centre = tuple(length // 2 for length in kernel)
    tensor.zero_()
    for group in range(groups):
        for channel in range(min(per_group, in_channels)):
            tensor[(group * per_group + channel, channel, *centre)] = 1
    return tensor


def _need_matrix(name: str, tensor: Tensor) -> None:
    if tensor.dim() != 2:
        raise ValueError(f"{name} fills matrices, got shape {tuple(tensor.shape)}")


# --- distributions ------------------------------------------------------------------------------------------------


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers uniform in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fill with normal numbers, drawn again until they lie in [a, b].

    Warns where `mean` is more than two standard deviations outside [a, b].
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_: with mean={mean} and std={std} hardly any number falls into [{a}, {b}]; what is "
            "drawn there is far from normal",
            stacklevel=2,
        )
    inside = (math.erf((b - mean) / std / math.sqrt(2.0)) - math.erf((a - mean) / std / math.sqrt(2.0))) / 2.0
    if inside > 0.3:
        return _redraw_normal(tensor, mean, std, a, b, generator)
    return _reject_uniform(tensor, mean, std, a, b, generator)


def _redraw_normal(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any) -> Tensor:
    """Normal numbers over and over, each time taking the places still outside.

    For bounds with much mass between them.
    """
    _redraw(tensor._a, mean, std, a, b, generator)
    bump(tensor)
    return tensor


@one_write
def _redraw(values: np.ndarray, mean: float, std: float, a: float, b: float, generator: Any) -> None:
    random_ops.wrap(values).normal_(mean, std, generator=generator)
    low, high = np.array((a, b)).astype(values.dtype)
    again: Any = None
    while (outside := (values < low) | (values > high)).any():
        if again is None:
            again = random_ops.wrap(np.empty_like(values))
        again.normal_(mean, std, generator=generator)
        np.copyto(values, again._a, where=outside)


def _reject_uniform(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any) -> Tensor:
    """Uniform numbers, each kept with the probability that the density there bears to its peak.

    For narrow or far bounds.
    """
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    values = tensor._a
    candidates, chance = (random_ops.wrap(np.empty_like(values)) for _ in range(2))
    tensor.uniform_(a, b, generator=generator)
    np.copyto(candidates._a, values)
    pending: Any = None
    while True:
        log_density = candidates.sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(log_peak)
        refused = chance.uniform_(generator=generator).log_()._a > log_density._a
        pending = refused if pending is None else pending & refused
        if not pending.any():
            return tensor
        candidates.uniform_(a, b, generator=generator)
        np.copyto(values, candidates._a, where=pending)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill uniformly within +-gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(fan_in + fan_out)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with normal numbers of standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill uniformly within +-gain * sqrt(3 / fan) (He et al. 2015, arXiv:1502.01852).

    `mode` says which fan; the gain is that of `nonlinearity`, with `a` the negative slope of 'leaky_relu'.
    """
    if 0 in tensor.shape:
        warnings.warn("kaiming_uniform_: there is nothing to fill in a tensor without elements", stacklevel=2)
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    bound = math.sqrt(3.0) * (calculate_gain(nonlinearity, a) / math.sqrt(fan))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill with normal numbers of standard deviation gain / sqrt(fan) (He et al. 2015, arXiv:1502.01852).

    `mode` says which fan; the gain is that of `nonlinearity`, with `a` the negative slope of 'leaky_relu'.
    """
    if 0 in tensor.shape:
        warnings.warn("kaiming_normal_: there is nothing to fill in a tensor without elements", stacklevel=2)
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(fan), generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with a random matrix of orthonormal rows or columns, times `gain` (Saxe et al. 2013, arXiv:1312.6120).

    Dimensions after the first count as one. ValueError for less than 2 dimensions.
    """
    if tensor.dim() < 2:
        raise ValueError(f"orthogonal_ needs at least 2 dimensions, got shape {tuple(tensor.shape)}")
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    storage = tensor._a.dtype
    flat = random_ops.randn(rows, cols, dtype=tensor.dtype, generator=generator)._a
    q, r = np.linalg.qr(flat.T if rows < cols else flat)
    q = q * np.sign(np.diagonal(r))  # makes the distribution uniform (Mezzadri 2007, arXiv:math-ph/0609050)
    tensor._a[...] = (q.T if rows < cols else q).reshape(tensor._a.shape) * storage.type(gain)
    return tensor.mul_(1)


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix with normal numbers, and in each column a share of `sparsity` zeros (Martens 2010).

    ValueError unless it has 2 dimensions.
    """
    _need_matrix("sparse_", tensor)
    rows, cols = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for col in range(cols):
        tensor._a[random_ops.randperm(rows)._a[:zeros], col] = 0
    return tensor


# --- fans ---------------------------------------------------------------------------------------------------------


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output of this weight has, and how many outputs an input. ValueError below 2 dimensions."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need a tensor with 2 or more dimensions, but got shape {tuple(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """The fan that `mode` names: 'fan_in' or 'fan_out'; ValueError for another."""
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


# --- old names ----------------------------------------------------------------------------------------------------


def _old_name(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The name without underscore that PyTorch has deprecated: it warns, and does the same."""
    name = function.__name__.removesuffix("_")

    @functools.wraps(function)
    def old(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"nn.init.{name} is deprecated, use nn.init.{name}_", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    old.__name__ = old.__qualname__ = name
    old.__doc__ = f"Deprecated name of `{name}_`."
    return old


uniform = _old_name(uniform_)
normal = _old_name(normal_)
constant = _old_name(constant_)
eye = _old_name(eye_)
dirac = _old_name(dirac_)
xavier_uniform = _old_name(xavier_uniform_)
xavier_normal = _old_name(xavier_normal_)
kaiming_uniform = _old_name(kaiming_uniform_)
kaiming_normal = _old_name(kaiming_normal_)
orthogonal = _old_name(orthogonal_)
sparse = _old_name(sparse_)
