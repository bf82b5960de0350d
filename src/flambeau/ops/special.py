"""Special functions, element by element, and functions of bits and of floating-point numbers' parts."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.errors import need_tensor
from flambeau.ops import results
from flambeau.ops.core import op
from flambeau.ops.older import nothing_times_nan

__all__ = [
    "digamma",
    "erfc",
    "erfinv",
    "frexp",
    "gcd",
    "heaviside",
    "i0",
    "igamma",
    "igammac",
    "lcm",
    "ldexp",
    "lgamma",
    "logit",
    "mvlgamma",
    "nextafter",
    "polygamma",
    "sinc",
]

_PER_ROOT_PI = 2 / math.sqrt(math.pi)
_ROOT_TWO_PI = math.sqrt(2 * math.pi)


@op(elementwise="float")
def erfc(k, input: Tensor):
    """1 - erf(x), exact where erf is nearly 1."""
    return k.erfc(input)


@erfc.derivative("input")
def _(k, g, input):
    return k.mul(g, k.mul(k.exp(k.neg(k.mul(input, input))), -_PER_ROOT_PI))


@op(elementwise="float", grad_name="SpecialErfcxBackward0")
def erfcx(k, input: Tensor):
    """exp(x^2) erfc(x), without overflow."""
    return k.erfcx(input)


@erfcx.derivative("input")
def _(k, g, input, out):
    return k.mul(g, k.sub(k.mul(k.mul(input, out), 2), _PER_ROOT_PI))


@op(elementwise="float")
def erfinv(k, input: Tensor):
    """The inverse of erf; infinite at -1 and 1, NaN outside."""
    return k.erfinv(input)


@erfinv.derivative("input")
def _(k, g, out):
    return k.mul(g, k.mul(k.exp(k.mul(out, out)), 1 / _PER_ROOT_PI))


@op(elementwise="float")
def lgamma(k, input: Tensor):
    """The logarithm of the absolute value of the gamma function."""
    return k.lgamma(input)


@lgamma.derivative("input")
def _(k, g, input):
    return k.mul(g, k.digamma(input))


@op(elementwise="float")
def digamma(k, input: Tensor):
    """The logarithmic derivative of the gamma function."""
    return k.digamma(input)


@digamma.derivative("input")
def _(k, g, input):
    return k.mul(g, k.polygamma_op(1, input))


@op(elementwise="float", grad_name="PolygammaBackward0")
def polygamma_op(k, order, input: Tensor):
    """The derivative of digamma of that order."""
    return k.polygamma(order, input)


@polygamma_op.derivative("input")
def _(k, g, order, input):
    return k.mul(g, k.polygamma_op(order + 1, input))


def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """The `n`-th derivative of digamma at each element."""
    if n < 0:
        raise RuntimeError(f"polygamma(): n must not be negative, got {n}")
    return polygamma_op(n, input, out=out)


@op(elementwise="float")
def i0(k, input: Tensor):
    """The modified Bessel function of the first kind and order 0."""
    return k.i0(input)


@i0.derivative("input")
def _(k, g, input):
    return k.mul(g, k.i1(input))


@op(elementwise="float", name="special_i0e", grad_name="SpecialI0EBackward0")
def i0e(k, input: Tensor):
    """i0(x) exp(-|x|)."""
    return k.i0e(input)


@i0e.derivative("input")
def _(k, g, input, out):
    return k.mul(g, k.sub(k.special_i1e(input), k.mul(k.sgn(input), out)))


@op(elementwise="float", grad_name="SpecialI1Backward0")
def i1(k, input: Tensor):
    """The modified Bessel function of the first kind and order 1."""
    return k.i1(input)


@i1.derivative("input")
def _(k, g, input, input_dtype, out):
    small = k.logical_not(k.gt(k.abs(input), np.finfo(input_dtype).eps))
    safe = k.where(small, k.ones_like(input), input)
    slope = k.sub(k.i0(safe), k.div(k.where(small, k.zeros_like(out), out), safe))
    return k.mul(g, k.where(small, k.full_like(slope, 0.5), slope))


@op(elementwise="float", name="special_i1e", grad_name="SpecialI1EBackward0")
def i1e(k, input: Tensor):
    """i1(x) exp(-|x|)."""
    return k.i1e(input)


@i1e.derivative("input")
def _(k, g, input, input_dtype, out):
    small = k.logical_not(k.gt(k.abs(input), np.finfo(input_dtype).eps))
    safe = k.where(small, k.ones_like(input), input)
    slope = k.sub(k.special_i0e(safe), k.mul(out, k.add(k.sgn(safe), k.reciprocal(safe))))
    return k.mul(g, k.where(small, k.full_like(slope, 0.5), slope))


@op(elementwise="float", grad_name="SpecialNdtrBackward0")
def ndtr(k, input: Tensor):
    """The probability that a standard normal number is at most x."""
    return k.ndtr(input)


@ndtr.derivative("input")
def _(k, g, input):
    return k.mul(g, k.mul(k.exp(k.mul(k.mul(input, input), -0.5)), 1 / _ROOT_TWO_PI))


@op(elementwise="float", grad_name="SpecialNdtriBackward0")
def ndtri(k, input: Tensor):
    """The inverse of `ndtr`."""
    return k.ndtri(input)


@ndtri.derivative("input")
def _(k, g, out):
    return k.mul(g, k.mul(k.exp(k.mul(k.mul(out, out), 0.5)), _ROOT_TWO_PI))


@op(elementwise="float", grad_name="SpecialLogNdtrBackward0")
def log_ndtr(k, input: Tensor):
    """The logarithm of `ndtr`, exact far below 0."""
    return k.log_ndtr(input)


@log_ndtr.derivative("input")
def _(k, g, input, out):
    slope = k.div(math.sqrt(2 / math.pi), k.erfcx(k.mul(input, -math.sqrt(0.5))))
    return k.mul(g, k.where(k.eq(out, -math.inf), k.full_like(slope, math.nan), slope))


@op(elementwise="float", grad_name="SpecialEntrBackward0")
def entr(k, input: Tensor):
    """-x log(x), the entropy of a probability: 0 at 0, -inf below."""
    return k.entr(input)


@entr.derivative("input")
def _(k, g, input):
    return k.mul(g, k.neg(k.add(k.log(input), 1)))


@op(elementwise="float", grad_name="SpecialXlog1PyBackward0")
def xlog1py(k, input: Tensor, other: Tensor):
    """`input * log1p(other)`, 0 where input is 0 (and other is not NaN)."""
    return k.xlog1py(input, other)


@xlog1py.derivative("input")
def _(k, g, input, other):
    slope = k.mul(g, k.log1p(other))
    return k.where(k.logical_and(k.eq(input, 0), k.le(other, -1)), k.zeros_like(slope), slope)


@xlog1py.derivative("other")
def _(k, g, input, other):
    return k.div(k.mul(g, input), k.add(other, 1))


xlog1py = nothing_times_nan(xlog1py)


@op(elementwise="float", grad_name="SpecialZetaBackward0")
def zeta(k, input: Tensor, other: Tensor):
    """Hurwitz' zeta function: the sum of (n + other)^-input over n = 0, 1, 2, ... Differentiable in `other`."""
    return k.zeta(input, other)


@zeta.derivative("input", "other")
def _(k, g, input, other, needs):
    if needs[0]:
        raise NotImplementedError("zeta(): the derivative for x is known, that for input is not: detach input")
    return None, k.mul(k.mul(g, k.neg(input)), k.zeta(k.add(input, 1), other))


@op(elementwise="float")
def sinc(k, input: Tensor):
    """sin(pi x) / (pi x), and 1 at 0."""
    return k.sinc(input)


@sinc.derivative("input")
def _(k, g, input):
    square = k.mul(k.mul(input, input), math.pi)
    zero = k.eq(square, 0)
    angle = k.mul(input, math.pi)
    turn = k.sub(k.mul(k.cos(angle), angle), k.sin(angle))
    slope = k.div(turn, k.where(zero, k.ones_like(square), square))
    return k.mul(g, k.where(zero, k.zeros_like(slope), slope))


@op(elementwise="float")
def logit(k, input: Tensor, eps=None):
    """log(x / (1 - x)): the inverse of sigmoid; with `eps`, x is limited to [eps, 1 - eps] first."""
    return k.logit(input, eps)


@logit.derivative("input")
def _(k, g, input, eps):
    slope = k.div(g, k.mul(input, k.sub(1, input)))
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    inside = k.logical_and(k.ge(input, low), k.le(input, high))
    return k.where(inside, slope, k.full_like(slope, math.nan if eps is None else 0.0))


@op(elementwise="float", numbers=False)
def igamma(k, input: Tensor, other: Tensor):
    """The regularised lower incomplete gamma function P(input, other). Differentiable in `other`."""
    return k.igamma(input, other)


@igamma.derivative("input", "other")
def _(k, g, input, other, needs):
    return _needs_no_shape("igamma", needs), k.mul(g, _gamma_density(k, input, other))


@op(elementwise="float", numbers=False)
def igammac(k, input: Tensor, other: Tensor):
    """The regularised upper incomplete gamma function Q(input, other). Differentiable in `other`."""
    return k.igammac(input, other)


@igammac.derivative("input", "other")
def _(k, g, input, other, needs):
    return _needs_no_shape("igammac", needs), k.neg(k.mul(g, _gamma_density(k, input, other)))


def _needs_no_shape(name: str, needs: tuple[bool, ...]) -> None:
    if needs[0]:
        raise NotImplementedError(f"{name}(): there is no formula for the derivative by the degree: detach it")


def _gamma_density(k: Any, a: Any, x: Any) -> Any:
    return k.exp(k.sub(k.sub(k.mul(k.sub(a, 1), k.log(x)), x), k.lgamma(a)))


def mvlgamma(input: Any, p: int, *, out: Any = None) -> Any:
    """The logarithm of the multivariate gamma function of dimension `p`, for elements above (p - 1) / 2."""
    if input._a.dtype == bool:
        raise RuntimeError("mvlgamma(): bools have no gamma function; convert with .float()")
    if p < 1:
        raise RuntimeError(f"mvlgamma(): p must be at least 1, got {p}")
    ops = NS["OPS"]
    total = ops.lgamma(ops.add(input, 0))  # no negative zero
    for j in range(1, p):
        total = ops.add(total, ops.lgamma(ops.add(input, -j / 2)))
    return ops.add(total, p * (p - 1) / 4 * math.log(math.pi), out=out)


def _plain(name: str, words: str) -> Any:
    def body(k: Any, input):  # type: ignore[no-untyped-def]
        return getattr(k, name)(input)

    body.__annotations__ = {"input": "Tensor"}
    body.__name__ = name
    body.__doc__ = f"{words}. Without a derivative, as in PyTorch."
    return op(body, elementwise="float", differentiable=False, name=name)


bessel_j0 = _plain("bessel_j0", "The Bessel function of the first kind and order 0")
bessel_j1 = _plain("bessel_j1", "The Bessel function of the first kind and order 1")
bessel_y0 = _plain("bessel_y0", "The Bessel function of the second kind and order 0")
bessel_y1 = _plain("bessel_y1", "The Bessel function of the second kind and order 1")
modified_bessel_k0 = _plain("modified_bessel_k0", "The modified Bessel function of the second kind and order 0")
modified_bessel_k1 = _plain("modified_bessel_k1", "The modified Bessel function of the second kind and order 1")
scaled_modified_bessel_k0 = _plain("scaled_modified_bessel_k0", "exp(x) times `modified_bessel_k0`")
scaled_modified_bessel_k1 = _plain("scaled_modified_bessel_k1", "exp(x) times `modified_bessel_k1`")
spherical_bessel_j0 = _plain("spherical_bessel_j0", "The spherical Bessel function of the first kind and order 0")
airy_ai = _plain("airy_ai", "Airy's function Ai")


def _integers(name: str, a: Any) -> None:
    if a.dtype.kind not in "iu":
        raise NotImplementedError(f"{name}() is not implemented for {a.dtype}; it takes integers")


@op(elementwise=True, differentiable=False, numbers=False)
def gcd(k, input: Tensor, other: Tensor):
    """The greatest common divisor of each pair of integers."""
    _integers("gcd", input)
    return k.gcd(input, other)


@op(elementwise=True, differentiable=False, numbers=False)
def lcm(k, input: Tensor, other: Tensor):
    """The least common multiple of each pair of integers, never negative."""
    _integers("lcm", input)
    return k.lcm(input, other)


@op(name="ldexp", elementwise="float")
def ldexp_op(k, input: Tensor, other: Tensor):
    """`input * 2**other`."""
    return k.mul(input, k.exp2(other))


@ldexp_op.derivative("input")
def _(k, g, other):
    return k.mul(g, k.exp2(other))


@ldexp_op.derivative("other")
def _(k, g, out):
    return k.mul(k.mul(g, out), math.log(2))


def ldexp(input: Any, other: Any, *, out: Any = None) -> Any:
    """`input * 2**other`."""
    need_tensor("ldexp", input, "input")
    need_tensor("ldexp", other, "other")
    return ldexp_op(input, other, out=out)


@op(elementwise=True, differentiable=False, no_complex=RuntimeError, numbers=False)
def heaviside(k, input: Tensor, values: Tensor):
    """0 where input is negative or NaN, 1 where it is positive, `values` where it is 0."""
    return k.where(k.eq(input, 0), values, k.to_dtype(k.gt(input, 0), values))


@op(elementwise=True, upcast=False, numbers=False)
def nextafter(k, input: Tensor, other: Tensor):
    """The next floating-point number after `input` towards `other`."""
    if input.dtype.kind not in "fV":
        raise NotImplementedError(f"nextafter is not implemented for {input.dtype}")
    return k.nextafter(input, other)


@nextafter.derivative("input", "other")
def _(k, g, input, other):
    return k.where(k.eq(input, other), k.zeros_like(g), g), k.zeros_like(g)


@op(outputs=2, nondiff=(1,), grad_name="FrexpBackward0")
def frexp_op(k, input: Tensor):
    """Mantissas and exponents."""
    if input.dtype.kind != "f":
        raise RuntimeError(f"frexp(): a floating-point tensor is needed, got {input.dtype}")
    return k.frexp(input)


@frexp_op.derivative("input")
def _(k, g0, out1):
    power = k.pow(k.full_like(g0, 2.0), k.neg(k.to_dtype(out1, g0)))
    return k.mul(g0, power)


def frexp(input: Any, *, out: Any = None) -> Any:
    """Each number as `mantissa * 2**exponent`, the mantissa in [0.5, 1)."""
    return results.frexp(frexp_op(input, out=out))
