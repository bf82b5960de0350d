"""Functions of one tensor, element by element."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.errors import need_tensor
from flambeau.ops.core import composite, offer, op

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "conj",
    "conj_physical",
    "cos",
    "cosh",
    "deg2rad",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "imag",
    "log",
    "log10",
    "log1p",
    "log2",
    "nan_to_num",
    "neg",
    "negative",
    "positive",
    "rad2deg",
    "real",
    "reciprocal",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
]


@op(elementwise=True)
def neg(k, input: Tensor):
    """The negative of each element. Not for bool tensors."""
    return k.neg(input)


@neg.derivative("input")
def _(k, g):
    return k.neg(g)


@op(elementwise=True, holomorphic=False)
def abs(k, input: Tensor):
    """The absolute value of each element; of a complex number its modulus, as a real tensor. Not for bool tensors."""
    if input.dtype.kind == "b":
        raise NotImplementedError("abs(): bool tensors have no sign; convert to an integer type first")
    return k.abs(input)


@abs.derivative("input")
def _(k, g, input):
    return k.mul(g, k.sgn(input))


@op(elementwise=True, holomorphic=False)
def sign(k, input: Tensor):
    """-1, 0 or 1 by the sign of each element (0 for NaN)."""
    return k.sign(input)


@sign.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise=True, holomorphic=False)
def sgn(k, input: Tensor):
    """`sign`, and for complex numbers the number over its modulus (0 for 0)."""
    return k.sgn(input)


@sgn.derivative("input")
def _(k, g, input, out):
    if not k.is_complex(g):
        return k.zeros_like(g)
    modulus = k.abs(input)
    along = k.real(k.mul(k.conj(out), g))
    slope = k.div(k.sub(g, k.mul(along, out)), modulus)
    return k.where(k.eq(modulus, 0), k.zeros_like(slope), slope)


@op(elementwise="float")
def sqrt(k, input: Tensor):
    """The square root of each element, NaN for negative ones. Its derivative at 0 is infinite.

    >>> import flambeau as torch
    >>> torch.sqrt(torch.tensor([0.0, 4.0]))
    tensor([0., 2.])
    """
    return k.sqrt(input)


@sqrt.derivative("input")
def _(k, g, out):
    return k.div(g, k.mul(out, 2))


@op(elementwise="float")
def rsqrt(k, input: Tensor):
    """One over the square root of each element."""
    return k.rsqrt(input)


@rsqrt.derivative("input")
def _(k, g, out):
    return k.mul(k.mul(g, -0.5), k.mul(k.mul(out, out), out))


@op(elementwise="float")
def reciprocal(k, input: Tensor):
    """One over each element."""
    return k.reciprocal(input)


@reciprocal.derivative("input")
def _(k, g, out):
    return k.neg(k.mul(g, k.mul(out, out)))


@op(elementwise=True, grad_name="PowBackward0")
def square(k, input: Tensor):
    """The square of each element."""
    return k.square(input)


@square.derivative("input")
def _(k, g, input):
    return k.mul(g, k.mul(input, 2))


@op(elementwise="float")
def exp(k, input: Tensor):
    """e to the power of each element."""
    return k.exp(input)


@exp.derivative("input")
def _(k, g, out):
    return k.mul(g, out)


@op(elementwise="float")
def exp2(k, input: Tensor):
    """2 to the power of each element."""
    return k.exp2(input)


@exp2.derivative("input")
def _(k, g, out):
    return k.mul(g, k.mul(out, 0.6931471805599453))


@op(elementwise="float")
def expm1(k, input: Tensor):
    """exp(x) - 1, exact near 0."""
    return k.expm1(input)


@expm1.derivative("input")
def _(k, g, out):
    return k.mul(g, k.add(out, 1))


@op(elementwise="float")
def log(k, input: Tensor):
    """The natural logarithm of each element: -inf at 0, NaN below."""
    return k.log(input)


@log.derivative("input")
def _(k, g, input):
    return k.div(g, input)


@op(elementwise="float")
def log2(k, input: Tensor):
    """The logarithm to base 2 of each element."""
    return k.log2(input)


@log2.derivative("input")
def _(k, g, input):
    return k.div(g, k.mul(input, 0.6931471805599453))


@op(elementwise="float")
def log10(k, input: Tensor):
    """The logarithm to base 10 of each element."""
    return k.log10(input)


@log10.derivative("input")
def _(k, g, input):
    return k.div(g, k.mul(input, 2.302585092994046))


@op(elementwise="float", grad_name="Log1PBackward0")
def log1p(k, input: Tensor):
    """log(1 + x), exact near 0."""
    return k.log1p(input)


@log1p.derivative("input")
def _(k, g, input):
    return k.div(g, k.add(input, 1))


@op(elementwise="float")
def sin(k, input: Tensor):
    """The sine of each element, in radians."""
    return k.sin(input)


@sin.derivative("input")
def _(k, g, input):
    return k.mul(g, k.cos(input))


@op(elementwise="float")
def cos(k, input: Tensor):
    """The cosine of each element, in radians."""
    return k.cos(input)


@cos.derivative("input")
def _(k, g, input):
    return k.neg(k.mul(g, k.sin(input)))


@op(elementwise="float")
def tan(k, input: Tensor):
    """The tangent of each element, in radians."""
    return k.tan(input)


@tan.derivative("input")
def _(k, g, out):
    return k.mul(g, k.add(k.mul(out, out), 1))


@op(elementwise="float")
def asin(k, input: Tensor):
    """The arcsine of each element; NaN outside [-1, 1]."""
    return k.asin(input)


@asin.derivative("input")
def _(k, g, input):
    return k.mul(g, k.rsqrt(k.add(k.neg(k.mul(input, input)), 1)))


@op(elementwise="float")
def acos(k, input: Tensor):
    """The arccosine of each element; NaN outside [-1, 1]."""
    return k.acos(input)


@acos.derivative("input")
def _(k, g, input):
    return k.neg(k.mul(g, k.rsqrt(k.add(k.neg(k.mul(input, input)), 1))))


@op(elementwise="float")
def atan(k, input: Tensor):
    """The arctangent of each element."""
    return k.atan(input)


@atan.derivative("input")
def _(k, g, input):
    return k.div(g, k.add(k.mul(input, input), 1))


@op(elementwise="float")
def sinh(k, input: Tensor):
    """The hyperbolic sine of each element."""
    return k.sinh(input)


@sinh.derivative("input")
def _(k, g, input):
    return k.mul(g, k.cosh(input))


@op(elementwise="float")
def cosh(k, input: Tensor):
    """The hyperbolic cosine of each element."""
    return k.cosh(input)


@cosh.derivative("input")
def _(k, g, input):
    return k.mul(g, k.sinh(input))


@op(elementwise="float")
def tanh(k, input: Tensor):
    """The hyperbolic tangent of each element."""
    return k.tanh(input)


@tanh.derivative("input")
def _(k, g, out):
    return k.tanh_backward(g, out)


@composite
def tanh_backward(k, g, out):
    """The gradient of `tanh` from its result."""
    return k.mul(g, k.sub(1, k.mul(out, out)))


@op(elementwise="float")
def asinh(k, input: Tensor):
    """The inverse hyperbolic sine of each element."""
    return k.asinh(input)


@asinh.derivative("input")
def _(k, g, input):
    return k.mul(g, k.rsqrt(k.add(k.mul(input, input), 1)))


@op(elementwise="float")
def acosh(k, input: Tensor):
    """The inverse hyperbolic cosine of each element; NaN below 1."""
    return k.acosh(input)


@acosh.derivative("input")
def _(k, g, input):
    if k.is_complex(input):
        return k.div(g, k.mul(k.sqrt(k.sub(input, 1)), k.sqrt(k.add(input, 1))))
    return k.mul(g, k.rsqrt(k.sub(k.mul(input, input), 1)))


@op(elementwise="float")
def atanh(k, input: Tensor):
    """The inverse hyperbolic tangent of each element; NaN outside [-1, 1]."""
    return k.atanh(input)


@atanh.derivative("input")
def _(k, g, input):
    return k.div(g, k.sub(1, k.mul(input, input)))


@op(elementwise="float")
def sigmoid(k, input: Tensor):
    """The logistic function 1 / (1 + exp(-x)) of each element."""
    return k.sigmoid(input)


@sigmoid.derivative("input")
def _(k, g, out):
    return k.sigmoid_backward(g, out)


@composite
def sigmoid_backward(k, g, out):
    """The gradient of `sigmoid` from its result."""
    return k.mul(g, k.mul(k.sub(1, out), out))


@op(elementwise="float")
def erf(k, input: Tensor):
    """The error function of each element."""
    return k.erf(input)


@erf.derivative("input")
def _(k, g, input):
    return k.mul(g, k.mul(k.exp(k.neg(k.mul(input, input))), 1.1283791670955126))


@op(elementwise=True)
def floor(k, input: Tensor):
    """The largest integer not above each element."""
    return k.floor(input)


@floor.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise=True)
def ceil(k, input: Tensor):
    """The smallest integer not below each element."""
    return k.ceil(input)


@ceil.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise=True)
def trunc(k, input: Tensor):
    """Each element without its fraction."""
    return k.trunc(input)


@trunc.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise=True)
def frac(k, input: Tensor):
    """The fraction of each element, with its sign."""
    return k.sub(input, k.trunc(input))


@frac.derivative("input")
def _(k, g):
    return g


@op(elementwise=True, shown_as=lambda node: f"RoundBackward{int(node.s_decimals != 0)}")
def round(k, input: Tensor, *, decimals=0):
    """To the nearest integer, halves to the even one; or to `decimals` places."""
    return k.round(input, decimals)


@round.derivative("input")
def _(k, g, decimals):
    return k.zeros_like(g)


def positive(input: Any) -> Any:
    """The tensor itself; a RuntimeError for bool tensors."""
    if input._a.dtype == bool:
        raise RuntimeError("unary +: bool tensors have no sign; convert to an integer type first")
    return input


@op(elementwise=True, holomorphic=False)
def conj_physical(k, input: Tensor):
    """The complex conjugate of each element."""
    return k.conj(input)


@conj_physical.derivative("input")
def _(k, g):
    return k.conj(g)


def conj(input: Any) -> Any:
    """The complex conjugate of each element; a real tensor is its own."""
    if input._a.dtype.kind != "c":
        return input
    result = show_as(conj_physical(input), "ConjBackward0")
    if not input._conj:
        result._conj = True  # a program may ask, as where conjugates are lazy
    return result


offer("conj", lambda a: conj_physical(a) if a._a.dtype.kind == "c" else a)
offer("is_complex", lambda a: a._a.dtype.kind == "c")
offer("zeros_like", lambda a: NS["WRAP"](np.zeros_like(a._a)))
offer("ones_like", lambda a: NS["WRAP"](np.ones_like(a._a)))
offer("full_like", lambda a, value: NS["WRAP"](np.full_like(a._a, value)))


@op(elementwise=True, holomorphic=False, view=True, grad_name="SelectBackward0")
def real(k, input: Tensor):
    """The real parts; of a real tensor itself."""
    return k.real(input)


@real.derivative("input")
def _(k, g, input_dtype):
    return k.to_numpy_dtype(g, input_dtype)


@op(elementwise=True, holomorphic=False, view=True, grad_name="SelectBackward0")
def imag(k, input: Tensor):
    """The imaginary parts of a complex tensor."""
    if input.dtype.kind != "c":
        raise RuntimeError(f"imag(): real numbers have no imaginary part, got {input.dtype}")
    return k.imag(input)


@imag.derivative("input")
def _(k, g):
    return k.mul(g, 1j)


@op(elementwise="float", holomorphic=False)
def angle(k, input: Tensor):
    """The argument of each complex number; pi for negative real numbers."""
    return k.angle(input)


@angle.derivative("input")
def _(k, g, input):
    if not k.is_complex(input):
        return k.zeros_like(g)
    squared = k.square(k.abs(input))
    slope = k.div(k.mul(g, k.mul(input, 1j)), squared)
    return k.where(k.eq(squared, 0), k.zeros_like(slope), slope)


@op(elementwise=True, name="nan_to_num")
def nan_to_num_op(k, input: Tensor, nan=None, posinf=None, neginf=None):
    """Each NaN becomes `nan`, each infinity `posinf` and `neginf`."""
    return k.nan_to_num(input, nan, posinf, neginf)


@nan_to_num_op.derivative("input")
def _(k, g, input):
    return k.where(k.isfinite(input), g, k.zeros_like(g))


def nan_to_num(input: Any, nan: Any = None, posinf: Any = None, neginf: Any = None, *, out: Any = None) -> Any:
    """Each NaN becomes `nan` (0), each infinity `posinf` and `neginf` (the largest and smallest finite number)."""
    need_tensor("nan_to_num", input)
    if input._a.dtype.itemsize == 2 and input._a.dtype.kind in "fV":  # computed in single precision, of other limits
        limits = dtypes.finfo(input.dtype)
        posinf, neginf = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    return nan_to_num_op(input, nan, posinf, neginf, out=out)


@op(elementwise="float", no_complex=RuntimeError, grad_name="Deg2RadBackward0")
def deg2rad(k, input: Tensor):
    """Degrees to radians."""
    return k.mul(input, 0.017453292519943295)


@deg2rad.derivative("input")
def _(k, g):
    return k.mul(g, 0.017453292519943295)


@op(elementwise="float", no_complex=RuntimeError, grad_name="Rad2DegBackward0")
def rad2deg(k, input: Tensor):
    """Radians to degrees."""
    return k.mul(input, 57.29577951308232)


@rad2deg.derivative("input")
def _(k, g):
    return k.mul(g, 57.29577951308232)


absolute = abs
negative = neg
fix = trunc
arcsin, arccos, arctan, arcsinh, arccosh, arctanh = asin, acos, atan, asinh, acosh, atanh
