"""Activation functions and their gradients on raw arrays, as chains of in-cache ufuncs.

Every `*_backward` takes the gradient of the output first, then what its formula in `ops/activation.py` names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..native.hooks import needs_sight
from ..native.symbols import Symbol, Unsupported
from .chain import keep_where, run_chain, select_bits

__all__ = [
    "elu",
    "elu_backward",
    "erf",
    "gelu",
    "gelu_backward",
    "hard_gate",
    "hard_gate_backward",
    "hardtanh",
    "hardtanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "mish",
    "mish_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "tanh_backward",
    "threshold",
    "threshold_backward",
]

Array = Any

_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_CUBIC = 0.044715  # of the tanh approximation of GELU

# erf(x / sqrt 2) = tanh(x * q(x * x)): coefficients of q, found by a weighted least-squares fit of least largest error
# (8e-8 over the whole line), the constant term exact so that small arguments keep their relative precision.
_Q = (
    1.6371863319422242e-09,
    -1.2771560569506115e-07,
    3.902625898590352e-06,
    -5.4927786435382444e-05,
    -3.3640711009884856e-05,
    0.03633426012319438,
    _SQRT_2_OVER_PI,
)


def _like(a: Array) -> Array:
    return np.empty(a.shape, a.dtype)


def _bits_ok(a: Array) -> bool:
    return a.dtype.itemsize in (4, 8) and a.dtype.kind == "f" and a.ndim > 0


# --- rectifiers ---------------------------------------------------------------------------------------------------


def relu(a: Array) -> Array:
    """`max(a, 0)`; NaN stays, and so does -0, which is why the operands come in this order."""
    if a.size <= 32768:
        return np.maximum(0, a)
    out = _like(a)
    run_chain(_relu, (a, out))
    return out


def _relu(a: Array, out: Array) -> None:
    np.maximum(0, a, out=out)


def relu_backward(g: Array, out: Array) -> Array:
    """`g` where the output is positive or NaN, else zero."""
    if not _bits_ok(g) or g.dtype != out.dtype or g.shape != out.shape:
        return np.where(out <= 0, np.zeros((), g.dtype), g)
    res = _like(g)
    run_chain(_relu_backward, (g, out, res))
    return res


def _relu_backward(g: Array, out: Array, res: Array) -> None:
    keep_where(np.not_equal(out, 0), g, res)


def threshold(a: Array, threshold: float, value: float) -> Array:
    """`a` where it is above `threshold` (or NaN), else `value`."""
    return np.where(a <= threshold, np.asarray(value, a.dtype), a)


def threshold_backward(g: Array, a: Array, threshold: float) -> Array:
    """`g` where `a` is above `threshold` (or NaN), else zero."""
    if not _bits_ok(g) or g.shape != a.shape:
        return np.where(a <= threshold, np.zeros((), g.dtype), g)
    res = _like(g)
    run_chain(lambda g, a, res: keep_where(~np.less_equal(a, threshold), g, res), (g, a, res))
    return res


def hardtanh(a: Array, min_val: float, max_val: float) -> Array:
    """`a` clipped to `[min_val, max_val]`; NaN stays."""
    if a.size <= 32768:
        return np.minimum(np.maximum(min_val, a), max_val)
    out = _like(a)

    def chain(a: Array, out: Array) -> None:
        np.maximum(min_val, a, out=out)
        np.minimum(out, max_val, out=out)

    run_chain(chain, (a, out))
    return out


def hardtanh_backward(g: Array, a: Array, min_val: float, max_val: float) -> Array:
    """`g` where `a` is strictly between the bounds, else zero (also at NaN)."""
    if not _bits_ok(g) or g.shape != a.shape:
        return np.where((a > min_val) & (a < max_val), g, np.zeros((), g.dtype))
    res = _like(g)

    def chain(g: Array, a: Array, res: Array) -> None:
        mask = np.greater(a, min_val)
        np.logical_and(mask, np.less(a, max_val), out=mask)
        keep_where(mask, g, res)

    run_chain(chain, (g, a, res))
    return res


def leaky_relu(a: Array, negative_slope: float) -> Array:
    """`a` where positive, else `negative_slope * a`."""
    if not 0 <= negative_slope <= 1:
        return np.where(a > 0, a, a * negative_slope)
    if a.size <= 32768:
        return np.maximum(a, a * negative_slope)
    out = _like(a)

    def chain(a: Array, out: Array) -> None:
        np.multiply(a, negative_slope, out=out)
        np.maximum(a, out, out=out)

    run_chain(chain, (a, out))
    return out


def leaky_relu_backward(g: Array, a: Array, negative_slope: float) -> Array:
    """`g` where `a` is positive, else `negative_slope * g`."""
    if not _bits_ok(g) or g.shape != a.shape:
        return np.where(a > 0, g, g * negative_slope)
    res = _like(g)

    def chain(g: Array, a: Array, res: Array, t: Array) -> None:
        np.multiply(g, negative_slope, out=t)
        select_bits(np.greater(a, 0), g, t, res)

    run_chain(chain, (g, a, res), temps=1)
    return res


def elu(a: Array, alpha: float, scale: float, input_scale: float) -> Array:
    """`scale * a` where positive, else `scale * alpha * (exp(input_scale * a) - 1)`."""
    out = _like(a)

    def chain(a: Array, out: Array, t: Array) -> None:
        np.minimum(0, a, out=t)
        if input_scale != 1:
            np.multiply(t, input_scale, out=t)
        np.expm1(t, out=t)
        if alpha * scale != 1:
            np.multiply(t, alpha * scale, out=t)
        np.maximum(0, a, out=out)
        if scale != 1:
            np.multiply(out, scale, out=out)
        np.add(out, t, out=out)

    run_chain(chain, (a, out), temps=1)
    return out


def elu_backward(g: Array, a: Array, alpha: float, scale: float, input_scale: float) -> Array:
    """`g` times the slope: `scale` where `a` is positive, else `scale * alpha * input_scale * exp(...)`."""
    if a.ndim == 0:
        slope = np.where(a > 0, scale, np.exp(np.minimum(a, 0) * input_scale) * (alpha * scale * input_scale))
        return (g * slope).astype(a.dtype)
    out = _like(a)
    high = np.full(1, scale, a.dtype)

    def chain(g: Array, a: Array, out: Array, t: Array) -> None:
        np.minimum(a, 0, out=t)
        np.multiply(t, input_scale, out=t)
        np.exp(t, out=t)
        np.multiply(t, alpha * scale * input_scale, out=t)
        select_bits(np.greater(a, 0), high, t, out)
        np.multiply(out, g, out=out)

    run_chain(chain, (g, a, out), temps=1)
    return out


# --- GELU and erf -------------------------------------------------------------------------------------------------


def _erf_core(a: Array, y: Array, out: Array) -> None:
    """`out = erf(a / sqrt 2)` where `y = a * a`, for float32."""
    if out.__class__ is Symbol:
        out.set(out.k.erf(a.value * math.sqrt(0.5)))
        return
    np.multiply(y, _Q[0], out=out)
    for c in _Q[1:-1]:
        np.add(out, c, out=out)
        np.multiply(out, y, out=out)
    np.add(out, _Q[-1], out=out)
    np.multiply(out, a, out=out)
    np.tanh(out, out=out)


def erf(a: Array) -> Array:
    """The error function."""
    if a.dtype != np.float32:
        from .errorfunctions import erf as exact

        return exact(a)
    out = _like(a)

    def chain(a: Array, out: Array, t: Array, y: Array) -> None:
        np.multiply(a, math.sqrt(2), out=t)
        np.multiply(t, t, out=y)
        _erf_core(t, y, out)

    run_chain(chain, (a, out), temps=2)
    return out


def _erf_exact(a: Array, out: Array) -> None:
    """`out = erf(a / sqrt 2)`, by a function that native chains have not."""
    from .errorfunctions import erf_block

    if out.__class__ is Symbol:
        raise Unsupported("erf in double precision")
    needs_sight()
    out[...] = erf_block(np.multiply(a, math.sqrt(0.5)).reshape(-1)).reshape(out.shape)


def _cdf(a: Array, cdf: Array, y: Array) -> None:
    """`cdf` = the normal distribution function at `a`, with `y = a * a` beside it."""
    np.multiply(a, a, out=y)
    if a.dtype == np.float32:
        _erf_core(a, y, cdf)
    else:
        _erf_exact(a, cdf)
    np.add(cdf, 1, out=cdf)
    np.multiply(cdf, 0.5, out=cdf)


def _cdf_tanh(a: Array, cdf: Array, y: Array) -> None:
    """`cdf` = the approximation by tanh, with `y = a * a` beside it."""
    np.multiply(a, a, out=y)
    np.multiply(y, _SQRT_2_OVER_PI * _CUBIC, out=cdf)
    np.add(cdf, _SQRT_2_OVER_PI, out=cdf)
    np.multiply(cdf, a, out=cdf)
    np.tanh(cdf, out=cdf)
    np.add(cdf, 1, out=cdf)
    np.multiply(cdf, 0.5, out=cdf)


def _gelu(a: Array, out: Array, y: Array) -> None:
    _cdf(a, out, y)
    np.multiply(out, a, out=out)


def _gelu_tanh(a: Array, out: Array, y: Array) -> None:
    _cdf_tanh(a, out, y)
    np.multiply(out, a, out=out)


def _gelu_slope(a: Array, out: Array, slope: Array, y: Array) -> None:
    _cdf(a, slope, y)
    np.multiply(a, slope, out=out)
    np.multiply(y, -0.5, out=y)
    np.exp(y, out=y)
    np.multiply(y, _INV_SQRT_2PI, out=y)
    np.multiply(y, a, out=y)
    np.add(slope, y, out=slope)


def _gelu_tanh_slope(a: Array, out: Array, slope: Array, y: Array, rest: Array) -> None:
    _cdf_tanh(a, slope, y)
    np.multiply(a, slope, out=out)
    np.multiply(y, 6 * _SQRT_2_OVER_PI * _CUBIC, out=y)
    np.add(y, 2 * _SQRT_2_OVER_PI, out=y)
    np.multiply(y, out, out=y)
    np.subtract(1, slope, out=rest)
    np.multiply(y, rest, out=y)
    np.add(slope, y, out=slope)


def gelu(a: Array, approximate: str = "none", slope: bool = False) -> tuple[Array, Array | None]:
    """`a` times the normal distribution function at `a` (or an approximation); and the slope, if asked for.

    Backward is then one product: what the slope is made of is in the cache now, and would not be then.
    """
    out = _like(a)
    if not slope:
        run_chain(_gelu_tanh if approximate == "tanh" else _gelu, (a, out), temps=1)
        return out, None
    slopes = _like(a)
    if approximate == "tanh":
        run_chain(_gelu_tanh_slope, (a, out, slopes), temps=2)
    else:
        run_chain(_gelu_slope, (a, out, slopes), temps=1)
    return out, slopes


def _product(a: Array, b: Array, out: Array) -> None:
    np.multiply(a, b, out=out)


def _by_slope(g: Array, slope: Array) -> Array:
    if g.size <= 32768:
        return np.multiply(g, slope)
    out = _like(slope)
    run_chain(_product, (g, slope, out))
    return out


def gelu_backward(g: Array, a: Array, slope: Array, approximate: str = "none") -> Array:
    """Gradient of GELU by the slope that forward kept."""
    return _by_slope(g, slope)


# --- sigmoids -----------------------------------------------------------------------------------------------------


def _sigmoid(a: Array, out: Array) -> None:
    np.negative(a, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


def sigmoid(a: Array) -> Array:
    """`1 / (1 + exp(-a))`, real or complex."""
    out = _like(a)
    run_chain(_sigmoid, (a, out))
    return out


def _sigmoid_backward(g: Array, s: Array, out: Array) -> None:
    np.subtract(1, s, out=out)
    np.multiply(out, s, out=out)
    np.multiply(out, g, out=out)


def sigmoid_backward(g: Array, out: Array) -> Array:
    """`g * out * (1 - out)`."""
    res = _like(out)
    run_chain(_sigmoid_backward, (g, out, res))
    return res


def _tanh_backward(g: Array, t: Array, out: Array) -> None:
    np.multiply(t, t, out=out)
    np.subtract(1, out, out=out)
    np.multiply(out, g, out=out)


def tanh_backward(g: Array, out: Array) -> Array:
    """`g * (1 - out ** 2)`."""
    res = _like(out)
    run_chain(_tanh_backward, (g, out, res))
    return res


def _silu(a: Array, out: Array) -> None:
    np.negative(a, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.divide(a, out, out=out)


def _silu_slope(a: Array, out: Array, slope: Array, t: Array) -> None:
    np.negative(a, out=t)
    np.exp(t, out=t)
    np.add(t, 1, out=t)
    np.divide(a, t, out=out)
    np.reciprocal(t, out=slope)
    np.subtract(1, slope, out=t)
    np.multiply(t, out, out=t)
    np.add(slope, t, out=slope)


def silu(a: Array, slope: bool = False) -> tuple[Array, Array | None]:
    """`a * sigmoid(a)`; and the slope, if asked for, with which backward is one product."""
    out = _like(a)
    if not slope:
        run_chain(_silu, (a, out))
        return out, None
    slopes = _like(a)
    run_chain(_silu_slope, (a, out, slopes), temps=1)
    return out, slopes


def silu_backward(g: Array, a: Array, slope: Array) -> Array:
    """`g * s * (1 + a * (1 - s))` with `s = sigmoid(a)`, from the slope that forward kept."""
    return _by_slope(g, slope)


def _log_sigmoid(a: Array, out: Array, t: Array) -> None:
    np.abs(a, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    np.log1p(t, out=t)
    np.minimum(a, 0, out=out)
    np.subtract(out, t, out=out)


def log_sigmoid(a: Array) -> Array:
    """`log(sigmoid(a))`, without overflow."""
    out = _like(a)
    run_chain(_log_sigmoid, (a, out), temps=1)
    return out


def _log_sigmoid_backward(g: Array, a: Array, out: Array) -> None:
    np.exp(a, out=out)
    np.add(out, 1, out=out)
    np.divide(g, out, out=out)


def log_sigmoid_backward(g: Array, a: Array) -> Array:
    """`g * sigmoid(-a)`."""
    out = _like(a)
    run_chain(_log_sigmoid_backward, (g, a, out))
    return out


def softplus(a: Array, beta: float, threshold: float) -> Array:
    """`log(1 + exp(beta * a)) / beta`; `a` itself where `beta * a` is above `threshold`."""
    if a.ndim == 0:
        scaled = a * beta
        return np.where(scaled > threshold, a, np.log1p(np.exp(np.minimum(scaled, threshold))) / beta).astype(a.dtype)
    out = _like(a)

    def chain(a: Array, out: Array, t: Array) -> None:
        np.multiply(a, beta, out=t)
        linear = np.greater(t, threshold)
        np.minimum(t, threshold, out=t)
        np.exp(t, out=t)
        np.log1p(t, out=t)
        np.divide(t, beta, out=t)
        select_bits(linear, a, t, out)

    run_chain(chain, (a, out), temps=1)
    return out


def softplus_backward(g: Array, a: Array, beta: float, threshold: float) -> Array:
    """`g * sigmoid(beta * a)`; `g` itself where `beta * a` is above `threshold`."""
    if a.ndim == 0:
        scaled = a * beta
        return np.where(scaled > threshold, g, g / (1 + np.exp(-scaled))).astype(a.dtype)
    out = _like(a)

    def chain(g: Array, a: Array, out: Array, t: Array) -> None:
        np.multiply(a, beta, out=t)
        linear = np.greater(t, threshold)
        np.negative(t, out=t)
        np.exp(t, out=t)
        np.add(t, 1, out=t)
        np.divide(g, t, out=t)
        select_bits(linear, g, t, out)

    run_chain(chain, (g, a, out), temps=1)
    return out


def _mish_gate(a: Array, out: Array, t: Array) -> None:
    """`out = tanh(log(1 + exp(a)))`, from `n / (n + 2)` with `n = e * (e + 2)`, `e = exp(a)`."""
    np.minimum(a, 20, out=t)
    np.exp(t, out=t)
    np.add(t, 2, out=out)
    np.multiply(out, t, out=out)
    np.add(out, 2, out=t)
    np.divide(out, t, out=out)


def _mish(a: Array, out: Array, t: Array) -> None:
    _mish_gate(a, out, t)
    np.multiply(out, a, out=out)


def mish(a: Array) -> Array:
    """`a * tanh(softplus(a))`."""
    out = _like(a)
    run_chain(_mish, (a, out), temps=1)
    return out


def _mish_backward(g: Array, a: Array, out: Array, t: Array, w: Array) -> None:
    _mish_gate(a, w, t)
    _sigmoid(a, t)
    np.multiply(t, a, out=t)
    np.multiply(w, w, out=out)
    np.subtract(1, out, out=out)
    np.multiply(out, t, out=out)
    np.add(out, w, out=out)
    np.multiply(out, g, out=out)


def mish_backward(g: Array, a: Array) -> Array:
    """`g * (w + a * sigmoid(a) * (1 - w ** 2))` with `w = tanh(softplus(a))`."""
    out = _like(a)
    run_chain(_mish_backward, (g, a, out), temps=2)
    return out


# --- piecewise gates ----------------------------------------------------------------------------------------------


def hard_gate(a: Array, times_input: bool) -> Array:
    """Hard sigmoid `clip(a + 3, 0, 6) / 6`, or, times the input, hard swish."""
    out = _like(a)

    def chain(a: Array, out: Array) -> None:
        np.add(a, 3, out=out)
        np.maximum(out, 0, out=out)
        np.minimum(out, 6, out=out)
        if times_input:
            np.multiply(out, a, out=out)
        np.divide(out, 6, out=out)

    run_chain(chain, (a, out))
    return out


def hard_gate_backward(g: Array, a: Array, times_input: bool) -> Array:
    """Gradient of `hard_gate`."""
    if a.ndim == 0:
        g, a = np.reshape(g, 1), np.reshape(a, 1)
        return hard_gate_backward(g, a, times_input).reshape(())
    out = _like(a)

    def sigmoid_chain(g: Array, a: Array, out: Array) -> None:
        mask = np.greater(a, -3)
        np.logical_and(mask, np.less(a, 3), out=mask)
        np.divide(g, 6, out=out)
        keep_where(mask, out, out)

    def swish_chain(g: Array, a: Array, out: Array, t: Array) -> None:
        np.divide(a, 3, out=t)
        np.add(t, 0.5, out=t)
        np.multiply(t, g, out=t)
        select_bits(~np.greater_equal(a, 3), t, g, t)
        keep_where(~np.less_equal(a, -3), t, out)

    if times_input:
        run_chain(swish_chain, (g, a, out), temps=1)
    else:
        run_chain(sigmoid_chain, (g, a, out))
    return out
