"""Elementwise kernels: NumPy's ufuncs under PyTorch's names, and the few that NumPy lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .chain import choose

add = np.add
sub = np.subtract
mul = np.multiply
div = np.true_divide
neg = np.negative
reciprocal = np.reciprocal
abs = np.absolute
exp = np.exp
exp2 = np.exp2
expm1 = np.expm1
log = np.log
log2 = np.log2
log10 = np.log10
log1p = np.log1p
sqrt = np.sqrt
sin = np.sin
cos = np.cos
tan = np.tan
asin = np.arcsin
acos = np.arccos
atan = np.arctan
sinh = np.sinh
cosh = np.cosh
tanh = np.tanh
asinh = np.arcsinh
acosh = np.arccosh
atanh = np.arctanh
atan2 = np.arctan2
floor = np.floor
ceil = np.ceil
trunc = np.trunc
maximum = np.maximum
minimum = np.minimum
fmax = np.fmax
fmin = np.fmin
eq = np.equal
ne = np.not_equal
lt = np.less
le = np.less_equal
gt = np.greater
ge = np.greater_equal
logical_not = np.logical_not
logical_and = np.logical_and
logical_or = np.logical_or
logical_xor = np.logical_xor
isnan = np.isnan
isinf = np.isinf
isfinite = np.isfinite
signbit = np.signbit
copysign = np.copysign
hypot = np.hypot
nextafter = np.nextafter
logaddexp2 = np.logaddexp2
bitwise_and = np.bitwise_and
bitwise_or = np.bitwise_or
bitwise_xor = np.bitwise_xor
bitwise_not = np.bitwise_not
gcd = np.gcd
lcm = np.lcm
fmod = np.fmod
real = np.real
imag = np.imag
where = choose


def pow(a: Any, b: Any) -> Any:
    """`a` to the power `b`."""
    return np.power(a, b)


def pow_scalar(a: Any, exponent: Any) -> Any:
    """`a` to a Python number's power; the usual exponents take their own, exact routes."""
    if exponent == 2:
        return np.multiply(a, a)
    if exponent == 1:
        return np.array(a)
    if exponent == 3:
        return np.multiply(np.multiply(a, a), a)
    if a.dtype.kind in "fc":
        if exponent == 0.5:
            return np.sqrt(a)
        if exponent == -1:
            return np.reciprocal(a)
        if exponent == -2:
            return np.reciprocal(np.multiply(a, a))
        if exponent == -0.5:
            return np.reciprocal(np.sqrt(a))
    return np.power(a, exponent)


_ONES = {np.dtype(np.float32): np.array(1, np.float32), np.dtype(np.float64): np.array(1, np.float64)}


def one(a: Any) -> Any:
    """The number 1 for arithmetic with `a`: a ready array is quicker than a Python number."""
    return _ONES.get(a.dtype, 1)


def tanh_backward(g: Any, out: Any) -> Any:
    """The gradient of `tanh` from its result."""
    slope = np.multiply(out, out)
    if slope.__class__ is not np.ndarray:
        return g * (1 - slope)
    np.subtract(one(slope), slope, slope)
    return np.multiply(g, slope, slope)


def sigmoid_backward(g: Any, out: Any) -> Any:
    """The gradient of `sigmoid` from its result."""
    slope = np.subtract(one(out), out)
    return np.multiply(g, np.multiply(slope, out))


def rsqrt(a: Any) -> Any:
    """One over the square root."""
    return np.reciprocal(np.sqrt(a))


def square(a: Any) -> Any:
    """The square; bools become integers."""
    return np.square(a) if a.dtype.kind != "b" else a.astype(np.int64)


def sign(a: Any) -> Any:
    """-1, 0 or 1; NaN has the sign 0."""
    if a.dtype.kind == "b":
        return a.copy()
    result = np.sign(a)
    return np.where(np.isnan(a), np.zeros_like(result), result) if a.dtype.kind == "f" else result


def conj(a: Any) -> Any:
    """The complex conjugate; a real array is its own."""
    return np.conjugate(a) if a.dtype.kind == "c" else a


def clamp(a: Any, min: Any = None, max: Any = None) -> Any:
    """Limits from below and above; NaN stays, and where min exceeds max the result is max."""
    if min is not None:
        a = np.maximum(a, min)
    return a if max is None else np.minimum(a, max)


def zeros_like(a: Any) -> Any:
    """Zeros of the shape and dtype of `a`."""
    return np.zeros_like(a)


def ones_like(a: Any) -> Any:
    """Ones of the shape and dtype of `a`."""
    return np.ones_like(a)


def full_like(a: Any, value: Any) -> Any:
    """An array like `a` filled with `value`."""
    return np.full_like(a, value)


def to_dtype(a: Any, dtype_of: Any) -> Any:
    """`a` in the dtype of another array."""
    return a.astype(dtype_of.dtype, copy=False)


def to_numpy_dtype(a: Any, dtype: Any) -> Any:
    """`a` in a NumPy dtype."""
    return a.astype(dtype, copy=False)


def is_complex(a: Any) -> bool:
    """Whether `a` holds complex numbers."""
    return a.dtype.kind == "c"


def sgn(a: Any) -> Any:
    """The sign; of a complex number, the number over its modulus."""
    if a.dtype.kind != "c":
        return sign(a)
    modulus = np.abs(a)
    divisor = np.where(modulus == 0, np.ones((), modulus.dtype), modulus)
    result = np.empty_like(a)
    result.real[...] = a.real / divisor  # a complex division would overflow for tiny numbers
    result.imag[...] = a.imag / divisor
    return result


def round(a: Any, decimals: int = 0) -> Any:
    """To `decimals` places, halves to the even digit."""
    if a.dtype.kind not in "fc":
        return a.copy()
    if decimals == 0:
        return np.rint(a)
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    return np.rint(a * scale) / scale if decimals > 0 else np.rint(a / scale) * scale


def positive(a: Any) -> Any:
    """`a` itself."""
    if a.dtype.kind == "b":
        raise RuntimeError("unary +: bool tensors have no sign; convert to an integer type first")
    return a


def angle(a: Any) -> Any:
    """The argument of each number."""
    if a.dtype.kind == "c":
        return np.angle(a)
    return np.where(np.isnan(a), a, np.where(a < 0, np.pi, 0.0)).astype(a.dtype)


def nan_to_num(a: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    """Replaces NaN and the infinities."""
    return np.nan_to_num(a, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


def floor_divide(a: Any, b: Any) -> Any:
    """The quotient rounded down, in the operands' type."""
    _refuse_zero(a, b)
    return np.floor_divide(a, b)


def trunc_divide(a: Any, b: Any) -> Any:
    """The quotient rounded towards zero, in the operands' type."""
    _refuse_zero(a, b)
    if a.dtype.kind in "fc":
        return np.trunc(np.true_divide(a, b))
    quotient = np.floor_divide(a, b)
    return quotient + ((quotient < 0) & (quotient * b != a)).astype(quotient.dtype)


def remainder(a: Any, b: Any) -> Any:
    """The remainder with the divisor's sign."""
    _refuse_zero(a, b)
    return np.remainder(a, b)


def fmod_checked(a: Any, b: Any) -> Any:
    """The remainder with the dividend's sign."""
    if a.dtype.kind == "b":
        raise NotImplementedError("fmod(): not for bools; convert to an integer type first")
    _refuse_zero(a, b)
    return np.fmod(a, b)


def _refuse_zero(a: Any, b: Any) -> None:
    if getattr(b, "dtype", np.dtype(float)).kind in "biu" and occurs(np.equal(b, 0), False):
        raise RuntimeError("an integer tensor is divided by zero")


def occurs(mask: Any, unknown: bool) -> bool:
    """Whether anything in a mask is true; `unknown`, where a program is made that works on any values."""
    return bool(np.any(mask))


def integer_pow(a: Any, b: Any) -> Any:
    """Integers to integer powers: of the negative ones only those of 1 and -1 are not 0."""
    negative = b < 0
    if not occurs(negative, True):
        return np.power(a, b)
    result = np.power(a, np.where(negative, 0, b))
    unit = np.where(a == 1, 1, np.where(a == -1, np.where(b % 2 == 0, 1, -1), 0))
    return np.where(negative, unit, result).astype(result.dtype)


def xlogy(a: Any, b: Any) -> Any:
    """`a * log(b)`, 0 where a is 0."""
    return np.where(np.logical_and(np.equal(a, 0), np.logical_not(np.isnan(b))), np.zeros_like(a), a * np.log(b))


def isposinf(a: Any) -> Any:
    """Whether each element is positive infinity."""
    return a == np.inf if a.dtype.kind in "fV" else np.zeros(a.shape, bool)


def isneginf(a: Any) -> Any:
    """Whether each element is negative infinity."""
    return a == -np.inf if a.dtype.kind in "fV" else np.zeros(a.shape, bool)


isreal = np.isreal
bitwise_left_shift = np.left_shift
bitwise_right_shift = np.right_shift


def logaddexp(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)) without overflow, of complex numbers too."""
    if a.dtype.kind != "c":
        return np.logaddexp(a, b)
    larger = np.real(a) >= np.real(b)
    high, low = np.where(larger, a, b), np.where(larger, b, a)
    return np.where(np.isinf(np.real(high)), high, high + np.log1p(np.exp(low - high))).astype(a.dtype)
