"""Normalisations; their gradients are the formulas of `ops/norm.py`, which XLA fuses."""

from __future__ import annotations

import math
from typing import Any

from flambeau.engines.xla.runtime import jnp, lax

__all__ = ["batch_norm_apply", "batch_norm_stats", "group_norm", "layer_norm", "rms_norm"]


def _rows(a: Any, shape: tuple[int, ...]) -> Any:
    width = math.prod(shape)
    return a.reshape(a.size // width if width else 0, width)


def layer_norm(a: Any, normalized_shape: tuple[int, ...], weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """Rows with mean 0 and variance 1, times `weight`, plus `bias`; then the rows' means and `1 / std`."""
    x = _rows(a, normalized_shape)
    mean = jnp.mean(x, 1)
    centred = x - mean[:, None]
    rstd = lax.rsqrt(jnp.mean(centred * centred, 1) + eps)
    out = (centred * rstd[:, None]).reshape(a.shape)
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias, mean, rstd


def rms_norm(a: Any, normalized_shape: tuple[int, ...], weight: Any, eps: float) -> tuple[Any, Any]:
    """Rows over their root mean square, times `weight`; and the reciprocal root mean squares."""
    x = _rows(a, normalized_shape)
    rstd = lax.rsqrt(jnp.mean(x * x, 1) + eps)
    out = (x * rstd[:, None]).reshape(a.shape)
    return out if weight is None else out * weight, rstd


def group_norm(a: Any, num_groups: int, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """Groups of channels with mean 0 and variance 1, times `weight` plus `bias` by channel; means and `1 / std`."""
    n, c = a.shape[:2]
    if not a.size:
        empty = jnp.zeros(n * num_groups, a.dtype)
        return a, empty, empty
    x = a.reshape(n * num_groups, -1)
    mean = jnp.mean(x, 1)
    centred = x - mean[:, None]
    rstd = lax.rsqrt(jnp.mean(centred * centred, 1) + eps)
    out = (centred * rstd[:, None]).reshape(a.shape)
    by_channel = (c,) + (1,) * (a.ndim - 2)
    if weight is not None:
        out = out * weight.reshape(by_channel)
    return out if bias is None else out + bias.reshape(by_channel), mean, rstd


def batch_norm_stats(a: Any) -> tuple[Any, Any]:
    """Mean and biased variance of each channel."""
    dims = (0, *range(2, a.ndim))
    if not a.size:
        return jnp.zeros(a.shape[1], a.dtype), jnp.zeros(a.shape[1], a.dtype)
    mean = jnp.mean(a, dims, keepdims=True)
    centred = a - mean
    return mean.reshape(-1), jnp.mean(centred * centred, dims)


def batch_norm_apply(a: Any, scale: Any, shift: Any) -> Any:
    """`a * scale + shift`, channel by channel."""
    by_channel = (-1,) + (1,) * (a.ndim - 2)
    return a * scale.reshape(by_channel) + shift.reshape(by_channel)
