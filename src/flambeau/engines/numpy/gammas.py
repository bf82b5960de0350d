"""Gamma and Dirichlet numbers, and how they move with their parameters.

The draws consume a generator's words as PyTorch's CPU kernels do. The derivatives are those of implicit
reparameterisation (Figurnov, Mohamed and Mnih 2018, arXiv:1805.08498): a sample x of parameter a moves by
-(dF/da) / (dF/dx), F being the distribution function. Where F has no closed form, that quotient is a Taylor series near
the ends, a saddle-point expansion for large parameters, and a fitted rational function between, with the coefficients
that PyTorch uses (Jankowiak and Obermeyer 2018, arXiv:1806.01851).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .draws import _Ahead

__all__ = ["dirichlet_grad", "sample_dirichlet", "sample_gamma", "standard_gamma_grad"]

_THIRD = np.float32(1) / np.float32(3)
_SQUEEZE = float(np.float32(0.0331))


# --- draws --------------------------------------------------------------------------------------------------------


def sample_gamma(generator: Any, alpha: np.ndarray) -> np.ndarray:
    """A gamma number of rate 1 for each shape parameter of a flat array, in its dtype and never 0."""
    return np.maximum(_gammas(generator, alpha).astype(alpha.dtype), np.finfo(alpha.dtype).tiny)


def sample_dirichlet(generator: Any, alpha: np.ndarray) -> np.ndarray:
    """Gamma numbers divided by their sum along the last dimension, kept strictly between 0 and 1."""
    kind = alpha.dtype
    drawn = _gammas(generator, alpha.reshape(-1).astype(np.float64)).reshape(alpha.shape)
    shares = (drawn / drawn.sum(-1, keepdims=True)).astype(kind)
    top = np.nextafter(np.array(1, kind), np.array(0, kind))
    return np.minimum(top, np.maximum(np.array(np.finfo(kind).tiny, kind), shares))


def _gammas(generator: Any, alpha: np.ndarray) -> np.ndarray:
    """Marsaglia and Tsang 2000 (doi:10.1145/358407.358414), in doubles but for what stays in the parameters' type."""
    number = alpha.dtype.type
    boosted = alpha < 1
    d = (np.where(boosted, alpha + number(1), alpha) - number(_THIRD)).astype(np.float64)
    c = 1 / np.sqrt(9 * d)
    powers = np.where(boosted, number(1) / alpha, number(0)).astype(np.float64)
    normals = _Normals(generator, alpha.size)
    places = zip(alpha.tolist(), powers.tolist(), d.tolist(), c.tolist(), strict=True)
    out = np.fromiter((_gamma(normals, *place) for place in places), np.float64, alpha.size)
    normals.close()
    return out


class _Normals:
    """Uniform and normal doubles one by one from one stream."""

    def __init__(self, generator: Any, expected: int) -> None:
        self.generator = generator
        self.uniform = _Ahead(generator, 4 * expected)
        self.pair = generator.pair

    def normal(self) -> float:
        if self.pair is not None:
            value, self.pair = self.pair, None
            return value
        first = self.uniform()
        radius = math.sqrt(-2.0 * math.log1p(-self.uniform()))
        self.pair = radius * math.sin((2 * math.pi) * first)
        return radius * math.cos((2 * math.pi) * first)

    def close(self) -> None:
        self.uniform.close()
        self.generator.pair = self.pair


def _gamma(draw: _Normals, alpha: float, power: float, d: float, c: float) -> float:
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = (1 - draw.uniform()) ** power
    if not d > 0:  # a parameter that is negative or not a number has no draw
        return math.nan
    while True:
        x = draw.normal()
        y = 1 + c * x
        while y <= 0:
            x = draw.normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - draw.uniform()
        square = x * x
        if u < 1 - _SQUEEZE * square * square or math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v


# --- how a gamma number moves with its shape ------------------------------------------------------------------------

_GAMMA_FIT = np.array(
    [
        [0.16009398, -0.094634809, 0.025146376, -0.0030648343, 1, 0.32668115, 0.10406089, 0.0014179084],
        [0.53487893, 0.1298071, 0.065735949, -0.0015649758, 0.16639465, 0.020070113, -0.0035938915, -0.00058392623],
        [
            0.040121004, -0.0065914022, -0.0026286047, -0.0013441777,
            0.017050642, -0.0021309326, 0.00085092367, -1.5247877e-07,
        ],
    ]
)  # fmt: skip


def _psi(a: np.ndarray) -> np.ndarray:
    from .gammafunctions import digamma  # a program that draws no such numbers need not load it

    return digamma(a)


def standard_gamma_grad(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx/dalpha of gamma numbers `x` of rate 1 and shape `alpha`, in the dtype of `x`."""
    kind = x.dtype
    a, x = (v.reshape(-1).astype(np.float64) for v in np.broadcast_arrays(alpha, x))
    small = x < np.float32(0.8)
    large = ~small & (alpha_large := a > 8)
    near_mean = large & (float(np.float32(0.9)) * a <= x) & (x <= float(np.float32(1.1)) * a)
    out = np.empty(a.shape)
    for where, formula in (
        (small, _gamma_small),
        (near_mean, _gamma_near_mean),
        (large & ~near_mean, _gamma_saddle),
        (~small & ~alpha_large, _gamma_between),
    ):
        if where.any():
            out[where] = formula(a[where], x[where])
    return _shaped(out, alpha, kind)


def _shaped(values: np.ndarray, like: np.ndarray, kind: np.dtype) -> np.ndarray:
    return values.reshape(like.shape).astype(kind)


def _gamma_small(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    numerator, denominator = np.ones_like(a), a.copy()
    first, second = 1 / a, 1 / (a * a)
    for i in range(1, 6):
        numerator = numerator * (-x / i)
        denominator = denominator + 1
        first = first + numerator / denominator
        second = second + numerator / (denominator * denominator)
    power = x**a
    density = x ** (a - 1) * np.exp(-x)
    slope = (np.log(x) - _psi(a)) * (power * first) - power * second
    result = -slope / density
    return np.where(np.isnan(result), 0.0, result)


def _gamma_near_mean(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    left = 1 + 24 * a * (1 + 12 * a)
    right = 1440 * (a * a) + 6 * x * (53 - 120 * x) - 65 * x * x / a + a * (107 + 3600 * x)
    return left * right / (1244160 * (a * a) * (a * a))


def _gamma_saddle(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    root, ratio = np.sqrt(8 * a), np.log(x / a)
    pole = root / (a - x)
    power = (x - a - a * ratio) ** -1.5
    bracket = np.where(x < a, pole - power, pole + power)
    term = ratio * bracket - np.sqrt(2 / a) * (a + x) / ((a - x) * (a - x))
    stirling = 1 + 1 / (12 * a) * (1 + 1 / (24 * a))
    return -stirling * (x * term) / root


def _gamma_between(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    u, v = np.log(x / a), np.log(a)
    rows = _GAMMA_FIT[:, :, None]
    fit = rows[0] + u * (rows[1] + u * rows[2])
    p = fit[0] + v * (fit[1] + v * (fit[2] + v * fit[3]))
    q = fit[4] + v * (fit[5] + v * (fit[6] + v * fit[7]))
    return np.exp(p / q)


# --- how a beta number moves with its first parameter ---------------------------------------------------------------

_BETA_FIT = np.array(
    [
        1.003668233, -0.01061107488, -0.0657888334, 0.01201642863,
        0.6336835991, -0.3557432599, 0.05486251648, -0.001465281033,
        -0.03276231906, 0.004474107445, 0.002429354597, -0.0001557569013,
        0.221950385, -0.3187676331, 0.01799915743, 0.01074823814,
        -0.2951249643, 0.06219954479, 0.01535556598, 0.001550077057,
        0.02155310298, 0.004170831599, 0.001292462449, 6.976601077e-05,
        -0.05980841433, 0.008441916499, 0.01085618172, 0.002319392565,
        0.02911413504, 0.01400243777, -0.002721828457, 0.000751041181,
        0.005900514878, -0.001936558688, -9.495446725e-06, 5.385558597e-05,
        1, -0.02924021934, -0.04438342661, 0.007285809825,
        0.6357567472, -0.3473456711, 0.05454656494, -0.002407477521,
        -0.03301322327, 0.004845219414, 0.00231480583, -0.0002307248149,
        0.5925320577, -0.1757678135, 0.01505928619, 0.000564515273,
        0.1014815858, -0.06589186703, 0.01272886114, -0.0007316646956,
        -0.007258481865, 0.001096195486, 0.0003934994223, -4.12701925e-05,
        0.06469649321, -0.0236701437, 0.002902096474, -5.896963079e-05,
        0.001925008108, -0.002869809258, 0.0008000589141, -6.063713228e-05,
        -0.0003477407336, 6.959756487e-05, 1.097287507e-05, -1.650964693e-06,
    ]
).reshape(2, 3, 3, 4)  # fmt: skip


def dirichlet_grad(x: np.ndarray, alpha: np.ndarray, total: np.ndarray) -> np.ndarray:
    """dx/dalpha of beta numbers `x` of parameters `alpha` and `total - alpha`, divided by 1 - x, in the dtype of `x`.

    A component of a Dirichlet sample is such a number; the others shrink by what it grows.
    """
    kind = x.dtype
    like = x
    x, a, t = (v.reshape(-1).astype(np.float64) for v in np.broadcast_arrays(x, alpha, total))
    b = t - a
    edge = t * x * (1 - x)
    low = (x <= 0.5) & (edge < 2.5)
    high = ~low & (x >= 0.5) & (edge < 0.75)
    large = ~low & ~high & (a > 6) & (b > 6)
    out = np.empty(x.shape)
    for where, formula in (
        (low, _beta_low),
        (high, lambda x, a, b: -_beta_high(1 - x, b, a)),
        (large, _beta_saddle),
        (~low & ~high & ~large, _beta_between),
    ):
        if where.any():
            out[where] = formula(x[where], a[where], b[where])
    return _shaped(out, like, kind)


def _beta_low(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    factor = _psi(a) - _psi(a + b) - np.log(x)
    numerator = np.ones_like(x)
    series = numerator / a * (factor + 1 / a)
    for i in range(1, 11):
        numerator = numerator * ((i - b) * x / i)
        denominator = a + i
        series = series + numerator / denominator * (factor + 1 / denominator)
    result = x * (1 - x) ** -b * series
    return np.where(np.isnan(result), 0.0, result)


def _beta_high(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By the second parameter, for x near 0."""
    factor = _psi(a + b) - _psi(b)
    numerator, product, slope = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    series = factor / a
    for i in range(1, 9):
        numerator = numerator * (-x / i)
        slope = slope * (b - i) + product
        product = product * (b - i)
        series = series + numerator / (a + i) * (slope + factor * product)
    result = -((1 - x) ** (1 - b)) * series
    return np.where(np.isnan(result), 0.0, result)


def _beta_saddle(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = a + b
    mean = a / total
    spread = np.sqrt(a * b / (total + 1)) / total
    stirling = _stirling(a) * _stirling(b) / _stirling(total)
    prefactor = -x / np.sqrt(2 * a * b / total)
    axis = a * (x - 1) + b * x
    first = (2 * (a * a) * (x - 1) + a * b * (x - 1) - x * (b * b)) / (np.sqrt(2 * a / b) * total**1.5 * axis * axis)
    second = 0.5 * np.log(a / (total * x))
    third = np.sqrt(8 * a * b / total) / axis
    base = b * np.log(b / (total * (1 - x))) + a * np.log(a / (total * x))
    fourth = base**-1.5
    away = stirling * prefactor * (first + second * (third + np.where(x < mean, fourth, -fourth)))
    near = (mean - 0.1 * spread <= x) & (x <= mean + 0.1 * spread)
    return np.where(near, _beta_near_mean(x, a, b), away)


def _stirling(z: np.ndarray) -> np.ndarray:
    return 1 + 1 / (12 * z) + 1 / (288 * z * z)


def _beta_near_mean(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Around the mean, where the expansion above is a difference of poles."""
    total = a + b
    square = b * b
    inner = (453 + 1620 * b * (1 - x) - 455 * x) * b + a * (8 * (1 - x) * (135 * b - 11))
    middle = 3 * (59 + 180 * b - 90 * x) * square + a * inner
    outer = (43 + 20 * (16 + 27 * b) * x) * square * b + a * middle
    polynomial = 47 * x * square * square + a * outer
    left = (1 + 12 * a) * (1 + 12 * b) / (total * total)
    return left / (1 - x) * polynomial / (12960 * a * a * a * square * (1 + 12 * total))


def _beta_between(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = a + b
    u = np.log(x)
    v = np.log(a) - u
    w = np.log(total) - v
    powers = np.stack([np.ones_like(u), u, u * u])[:, None] * np.stack([np.ones_like(v), v, v * v])[None]
    c = _BETA_FIT[..., None]
    fit = c[:, :, :, 0] + w * (c[:, :, :, 1] + w * (c[:, :, :, 2] + w * c[:, :, :, 3]))
    p, q = (powers * fit).sum((1, 2))
    return p / q * (x * (_psi(total) - _psi(a)) / b)
