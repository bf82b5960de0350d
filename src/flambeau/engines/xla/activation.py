"""Activation functions; their gradients are the formulas of `ops/activation.py`, which XLA fuses."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.runtime import jax, jnp

__all__ = [
    "elu", "erf", "gelu", "hardtanh", "leaky_relu", "log_sigmoid", "mish", "relu", "sigmoid", "silu", "softplus",
    "threshold",
]  # fmt: skip


def relu(a: Any) -> Any:
    """`max(a, 0)`; NaN stays."""
    return jnp.maximum(a, jnp.zeros((), a.dtype))


def threshold(a: Any, threshold: float, value: float) -> Any:
    """`a` where it is above `threshold` (or NaN), else `value`."""
    return jnp.where(a <= threshold, jnp.asarray(value, a.dtype), a)


def hardtanh(a: Any, min_val: float, max_val: float) -> Any:
    """`a` clipped to `[min_val, max_val]`; NaN stays."""
    return jnp.minimum(jnp.maximum(a, jnp.asarray(min_val, a.dtype)), jnp.asarray(max_val, a.dtype))


def leaky_relu(a: Any, negative_slope: float) -> Any:
    """`a` where positive, else `negative_slope * a`."""
    return jnp.where(a > 0, a, a * jnp.asarray(negative_slope, a.dtype))


def elu(a: Any, alpha: float, scale: float, input_scale: float) -> Any:
    """`scale * a` where positive, else `scale * alpha * (exp(input_scale * a) - 1)`."""
    low = jnp.expm1(jnp.minimum(a, 0) * input_scale) * (alpha * scale)
    return jnp.where(a <= 0, low, a * scale)


def erf(a: Any) -> Any:
    """The error function."""
    return jax.scipy.special.erf(a)


def gelu(a: Any, approximate: str = "none", slope: bool = False) -> tuple[Any, None]:
    """`a` times the normal distribution function at `a`, or an approximation. No slope is kept: it is cheap to make."""
    return jax.nn.gelu(a, approximate == "tanh"), None


def sigmoid(a: Any) -> Any:
    """`1 / (1 + exp(-a))`, real or complex."""
    return 1 / (1 + jnp.exp(-a)) if a.dtype.kind == "c" else jax.nn.sigmoid(a)


def silu(a: Any, slope: bool = False) -> tuple[Any, None]:
    """`a * sigmoid(a)`. No slope is kept."""
    return a * sigmoid(a), None


def log_sigmoid(a: Any) -> Any:
    """`log(sigmoid(a))`, without overflow."""
    return jnp.minimum(a, 0) - jnp.log1p(jnp.exp(-jnp.abs(a)))


def softplus(a: Any, beta: float, threshold: float) -> Any:
    """`log(1 + exp(beta * a)) / beta`; `a` itself where `beta * a` is above `threshold`."""
    scaled = a * jnp.asarray(beta, a.dtype)
    return jnp.where(scaled > threshold, a, jnp.log1p(jnp.exp(jnp.minimum(scaled, threshold))) / beta)


def mish(a: Any) -> Any:
    """`a * tanh(softplus(a))`."""
    return a * jnp.tanh(softplus(a, 1.0, 20.0))
