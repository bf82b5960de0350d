"""Special functions, from scipy, which is imported when the first of them is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


def _scipy(name: str) -> Callable:
    """A kernel that is scipy's function of that name, in the operands' own type."""

    def kernel(*arrays: Any) -> Any:
        function = getattr(importlib.import_module("scipy.special"), name)
        result = function(*arrays)
        kind = arrays[-1].dtype
        return result.astype(kind) if result.dtype != kind else result

    kernel.__name__ = name
    kernel.__doc__ = f"scipy.special.{name}."
    return kernel


erfc, erfcx = _scipy("erfc"), _scipy("erfcx")
_erfinv = _scipy("erfinv")
_gammaln = _scipy("gammaln")
i0, i0e, i1, i1e = _scipy("i0"), _scipy("i0e"), _scipy("i1"), _scipy("i1e")
ndtr, ndtri, log_ndtr = _scipy("ndtr"), _scipy("ndtri"), _scipy("log_ndtr")
xlog1py, zeta = _scipy("xlog1py"), _scipy("zeta")
igamma, igammac = _scipy("gammainc"), _scipy("gammaincc")
bessel_j0, bessel_j1, bessel_y0, bessel_y1 = _scipy("j0"), _scipy("j1"), _scipy("y0"), _scipy("y1")
modified_bessel_k0, modified_bessel_k1 = _scipy("k0"), _scipy("k1")
scaled_modified_bessel_k0, scaled_modified_bessel_k1 = _scipy("k0e"), _scipy("k1e")
_psi = _scipy("psi")


def erfinv(a: Any) -> Any:
    """The inverse of erf; what lies outside is NaN at once, since scipy is slow there."""
    outside = np.abs(a) > 1
    if not outside.any():
        return _erfinv(a)
    return np.where(outside, np.array(np.nan, a.dtype), _erfinv(np.where(outside, np.zeros((), a.dtype), a)))


def lgamma(a: Any) -> Any:
    """The logarithm of the absolute value of the gamma function; infinite at both ends, and not yet at 1e-310."""
    value = np.where(np.abs(a) < np.finfo(a.dtype).tiny, -np.log(np.abs(a)), _gammaln(a))
    return np.where(a == -np.inf, np.array(np.inf, a.dtype), value)


def digamma(a: Any) -> Any:
    """The logarithmic derivative of the gamma function; -inf at 0, NaN at the negative integers."""
    value = _psi(a)
    value = np.where(a == 0, np.copysign(np.array(np.inf, a.dtype), -a), value)
    return np.where((a < 0) & (a == np.floor(a)), np.array(np.nan, a.dtype), value)


def polygamma(n: int, a: Any) -> Any:
    """The n-th derivative of digamma."""
    if n == 0:
        return digamma(a)
    special = importlib.import_module("scipy.special")
    scale = float((-1) ** (n + 1)) * float(special.gamma(n + 1.0))
    value = (scale * special.zeta(a.dtype.type(n + 1), a)).astype(a.dtype)
    if n == 1:  # at 0, -1, ... by reflection, where the sine is not quite 0 but at 0
        pole = (a <= 0) & (a == np.floor(a)) & np.isfinite(a)
        value = np.where(pole, np.square(np.pi / np.sin(a * a.dtype.type(np.pi))), value)
    return np.where(a == (-np.inf if n == 1 else np.inf), np.array(np.nan, a.dtype), value)


def entr(a: Any) -> Any:
    """-x log(x); 0 at 0, -inf below."""
    value = -a * np.log(np.where(a > 0, a, np.array(1, a.dtype)))
    value = np.where(a < 0, np.array(-np.inf, a.dtype), value)
    return np.where(np.isnan(a), a, value)


def sinc(a: Any) -> Any:
    """sin(pi x) / (pi x); 1 at 0."""
    x = a * a.dtype.type(np.pi)
    return np.where(a == 0, np.array(1, a.dtype), np.sin(x) / np.where(a == 0, np.array(1, a.dtype), x))


def logit(a: Any, eps: float | None) -> Any:
    """log(x / (1 - x)), x limited to [eps, 1 - eps] first."""
    if eps is not None:
        a = np.minimum(np.maximum(a, a.dtype.type(eps)), a.dtype.type(1 - eps))
    return np.log(a / (1 - a))


def spherical_bessel_j0(a: Any) -> Any:
    """sin(x) / x; 1 at 0."""
    return np.where(a == 0, np.array(1, a.dtype), np.sin(a) / np.where(a == 0, np.array(1, a.dtype), a))


def airy_ai(a: Any) -> Any:
    """Airy's function Ai."""
    return importlib.import_module("scipy.special").airy(a)[0].astype(a.dtype)


def frexp(a: Any) -> tuple[Any, Any]:
    """Mantissas in [0.5, 1) and exponents of 2."""
    return np.frexp(a)


def heaviside(a: Any, values: Any) -> Any:
    """0 below 0, 1 above, `values` at 0."""
    one = np.ones((), a.dtype)
    return np.where(a == 0, values, np.where(a < 0, np.zeros((), a.dtype), one)).astype(a.dtype)
