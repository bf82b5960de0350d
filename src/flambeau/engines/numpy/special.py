"""Special functions: the short ones, and where the others are. Those are imported when they are first called."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


def _in(module: str, name: str) -> Callable:
    """The kernel of that name in another module of this engine."""

    @functools.cache
    def found() -> Callable:
        return getattr(importlib.import_module(f"flambeau.engines.numpy.{module}"), name)

    def kernel(*operands: Any) -> Any:
        return found()(*operands)

    kernel.__name__ = name
    kernel.__doc__ = f"See `{module}.{name}`."
    return kernel


erfc, erfcx, erfinv = _in("errorfunctions", "erfc"), _in("errorfunctions", "erfcx"), _in("errorfunctions", "erfinv")
ndtr, ndtri, log_ndtr = _in("errorfunctions", "ndtr"), _in("errorfunctions", "ndtri"), _in("errorfunctions", "log_ndtr")
lgamma, digamma = _in("gammafunctions", "lgamma"), _in("gammafunctions", "digamma")
polygamma, zeta = _in("gammafunctions", "polygamma"), _in("gammafunctions", "zeta")
igamma, igammac = _in("incompletegamma", "igamma"), _in("incompletegamma", "igammac")
i0, i0e, i1, i1e = _in("bessel", "i0"), _in("bessel", "i0e"), _in("bessel", "i1"), _in("bessel", "i1e")
bessel_j0, bessel_j1 = _in("bessel", "bessel_j0"), _in("bessel", "bessel_j1")
bessel_y0, bessel_y1 = _in("bessel", "bessel_y0"), _in("bessel", "bessel_y1")
modified_bessel_k0, modified_bessel_k1 = _in("bessel", "modified_bessel_k0"), _in("bessel", "modified_bessel_k1")
scaled_modified_bessel_k0 = _in("bessel", "scaled_modified_bessel_k0")
scaled_modified_bessel_k1 = _in("bessel", "scaled_modified_bessel_k1")
airy_ai = _in("bessel", "airy_ai")


def xlog1py(a: Any, b: Any) -> Any:
    """a log(1 + b); 0 where a is 0, unless b is NaN."""
    return np.where((a == 0) & ~np.isnan(b), np.zeros((), b.dtype), a * np.log1p(b))


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


def frexp(a: Any) -> tuple[Any, Any]:
    """Mantissas in [0.5, 1) and exponents of 2."""
    return np.frexp(a)


def heaviside(a: Any, values: Any) -> Any:
    """0 below 0, 1 above, `values` at 0."""
    one = np.ones((), a.dtype)
    return np.where(a == 0, values, np.where(a < 0, np.zeros((), a.dtype), one)).astype(a.dtype)
