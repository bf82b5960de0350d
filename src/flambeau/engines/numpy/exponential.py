"""The exponential of matrices by Taylor polynomials that need few products (Bader, Blanes and Casas 2019,
doi:10.3390/math7121174), with the degrees, limits and coefficients that PyTorch uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..native.hooks import needs_sight

__all__ = ["exponential"]

#: Up to which 1-norm the polynomials of degree 1, 2, 4, 8, 12 and 18 are exact in the type.
_LIMITS = {
    "single": (1.192092800768788e-07, 5.978858893805233e-04, 5.116619363445086e-02, 5.800524627688768e-01,
               1.461661507209034e00, 3.010066362817634e00),
    "double": (2.220446049250313e-16, 2.580956802971767e-08, 3.397168839976962e-04, 4.991228871115323e-02,
               2.996158913811580e-01, 1.090863719290036e00),
}  # fmt: skip

_ROOT = 0.1330413469565007072504e2  # of 177
_X3 = 2 / 3
_DEGREE_8 = (
    (_X3 * (1 + _ROOT) / 88, _X3 * (1 + _ROOT) / 352),
    ((-271 + 29 * _ROOT) / (315 * _X3), (-11 + 11 * _ROOT) / (1260 * _X3), (-99 + 11 * _ROOT) / (5040 * _X3),
     (89 - _ROOT) / (5040 * _X3)),
    (857 - 58 * _ROOT) / 630,
)  # fmt: skip
_DEGREE_12 = (
    (9.0198e-16, 0.46932117595418237389, -0.20099424927047284052, -0.04623946134063071740),
    (5.31597895759871264183, 1.19926790417132231573, 0.01179296240992997031, 0.01108844528519167989),
    (0.18188869982170434744, 0.05502798439925399070, 0.09351590770535414968, 0.00610700528898058230),
    (-2.0861320e-13, -0.13181061013830184015, -0.02027855540589259079, -0.00675951846863086359),
)
_DEGREE_18 = (
    (0, -1.00365581030144618291e-01, -8.02924648241156932449e-03, -8.92138498045729985177e-04, 0),
    (0, 3.97849749499645077844e-01, 1.36783778460411720168e00, 4.98289622525382669416e-01,
     -6.37898194594723280150e-04),
    (-1.09676396052962061844e01, 1.68015813878906206114e00, 5.71779846478865511061e-02,
     -6.98210122488052056106e-03, 3.34975017086070470649e-05),
    (-9.04316832390810593223e-02, -6.76404519071381882256e-02, 6.75961301770459654925e-02,
     2.95552570429315521194e-02, -1.39180257516060693404e-05),
    (0, 0, -9.23364619367118555360e-02, -1.69364939002081722752e-02, -1.40086798182036094347e-05),
)  # fmt: skip


def exponential(a: Any) -> np.ndarray:
    """The exponential of each matrix of an array of floating-point or complex numbers."""
    needs_sight()
    a = np.asarray(a)
    n = a.shape[-1]
    if a.size == 0 or n == 1:
        return np.exp(a)
    flat = a.reshape(-1, n, n)
    limits = _LIMITS["single" if a.dtype.itemsize // (1 + (a.dtype.kind == "c")) == 4 else "double"]
    norm = np.abs(flat).sum(-2).max(-1)
    if len(flat) > 1 or not norm[0] <= limits[4]:
        return _squared(flat, norm, limits[5]).reshape(a.shape)
    return _POLYNOMIALS[int(np.searchsorted(limits, norm[0]))](flat).reshape(a.shape)


def _squared(a: np.ndarray, norm: np.ndarray, limit: float) -> np.ndarray:
    """exp(a / 2^s) squared s times, s being the least that brings a matrix below the limit."""
    times = np.maximum(np.ceil(np.log2(norm / norm.dtype.type(limit))), 0)
    e = _degree_18(a * np.exp2(-times)[:, None, None])
    times = np.where(np.isfinite(times), times, 0).astype(np.int64)  # the others are NaN already
    order = np.argsort(times, kind="stable")
    e, times = e[order], times[order]
    for done in range(int(times[-1])):
        first = int(np.searchsorted(times, done, "right"))
        e[first:] = e[first:] @ e[first:]
    out = np.empty_like(e)
    out[order] = e
    return out


def _mix(terms: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    real = terms[0].real.dtype.type
    total = terms[0] * real(weights[0])
    for term, weight in zip(terms[1:], weights[1:], strict=True):
        total += term * real(weight)
    return total


def _powers(a: np.ndarray, count: int) -> list[np.ndarray]:
    """The first of 1, a, a^2, a^3 and a^6."""
    powers = [np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape), a]
    if count > 2:
        powers.append(a @ a)
    if count > 3:
        powers.append(a @ powers[2])
    if count > 4:
        powers.append(powers[3] @ powers[3])
    return powers


def _degree_1(a: np.ndarray) -> np.ndarray:
    return _mix(_powers(a, 2), (1, 1))


def _degree_2(a: np.ndarray) -> np.ndarray:
    return _mix(_powers(a, 3), (1, 1, 1 / 2))


def _degree_4(a: np.ndarray) -> np.ndarray:
    powers = _powers(a, 3)
    return _mix([*powers[:2], powers[2] @ _mix(powers, (1 / 2, 1 / 6, 1 / 24))], (1, 1, 1))


def _degree_8(a: np.ndarray) -> np.ndarray:
    inner, outer, last = _DEGREE_8
    powers = _powers(a, 3)
    fourth = powers[2] @ _mix(powers[1:], inner)
    eighth = _mix([powers[2], fourth], (_X3, 1)) @ _mix([*powers, fourth], outer)
    return _mix([*powers, eighth], (1, 1, last, 1))


def _degree_12(a: np.ndarray) -> np.ndarray:
    powers = _powers(a, 4)
    first, second, third, fourth = (_mix(powers, weights) for weights in _DEGREE_12)
    third += fourth @ fourth
    return first + (second + third) @ third


def _degree_18(a: np.ndarray) -> np.ndarray:
    powers = _powers(a, 5)
    first, second, third, fourth, fifth = (_mix(powers, weights) for weights in _DEGREE_18)
    fourth += first @ fifth
    return second + (third + fourth) @ fourth


_POLYNOMIALS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (_degree_1, _degree_2, _degree_4, _degree_8, _degree_12)
