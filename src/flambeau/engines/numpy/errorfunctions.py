"""The error function and its kin, and the normal distribution's.

`erf`, `erfc` and `erfcx` have the rational approximations of Sun's fdlibm, `ndtri` those of Cephes, as PyTorch and
most C libraries have. Results are within 3 units in the last place, the normal distribution's within 5, tails included.
"""

from __future__ import annotations

import math

import numpy as np

from .evaluation import Block, fill, head, kernel, polynomial

__all__ = ["erf", "erf_block", "erfc", "erfc_block", "erfcx", "erfinv", "log_ndtr", "ndtr", "ndtri"]

# --- the error function -------------------------------------------------------------------------------------------

_ERF_1 = 8.45062911510467529297e-01  # erf(1), to half of its bits
_SHIFT = 0.5625  # of the logarithm of x exp(x^2) erfc(x), which lies about it

# (erf(x) - x) / x in x^2, below 0.84375
_SMALL_OVER = (
    -2.3763016656650163e-05, -0.005770270296489442, -0.02848174957559851, -0.3250421072470015,
    0.12837916709551256,
)  # fmt: skip
_SMALL_UNDER = (
    -3.960228278775368e-06, 0.00013249473800432164, 0.005081306281875766, 0.0650222499887673,
    0.39791722395915535, 1.0,
)  # fmt: skip
# erf(x) - erf(1) in x - 1, from there to 1.25
_MIDDLE_OVER = (
    -0.002166375594868791, 0.035478304325618236, -0.11089469428239668, 0.31834661990116175, -0.3722078760357013,
    0.41485611868374833, -0.0023621185607526594,
)  # fmt: skip
_MIDDLE_UNDER = (
    0.011984499846799107, 0.01363708391202905, 0.12617121980876164, 0.07182865441419627, 0.540397917702171,
    0.10642088040084423, 1.0,
)  # fmt: skip
# log(x exp(x^2) erfc(x)) + 0.5625 in 1 / x^2, up to 1 / 0.35 and beyond
_NEAR_OVER = (
    -9.814329344169145, -81.2874355063066, -184.60509290671104, -162.39666946257347, -62.375332450326006,
    -10.558626225323291, -0.6938585727071818, -0.009864944034847148,
)  # fmt: skip
_NEAR_UNDER = (
    -0.0604244152148581, 6.570249770319282, 108.63500554177944, 429.00814002756783, 645.3872717332679,
    434.56587747522923, 137.65775414351904, 19.651271667439257, 1.0,
)  # fmt: skip
_FAR_OVER = (
    -483.5191916086514, -1025.0951316110772, -637.5664433683896, -160.63638485582192, -17.757954917754752,
    -0.799283237680523, -0.0098649429247001,
)  # fmt: skip
_FAR_UNDER = (
    -22.44095244658582, 474.52854120695537, 2553.0504064331644, 3199.8582195085955, 1536.729586084437,
    325.7925129965739, 30.33806074348246, 1.0,
)  # fmt: skip


def _small(x: Block) -> Block:
    square = x * x
    return polynomial(square, _SMALL_OVER) / polynomial(square, _SMALL_UNDER)


def _middle(size: Block) -> Block:
    step = size - 1
    return polynomial(step, _MIDDLE_OVER) / polynomial(step, _MIDDLE_UNDER)


def _tail_near(size: Block) -> Block:
    inverse = 1 / (size * size)
    return polynomial(inverse, _NEAR_OVER) / polynomial(inverse, _NEAR_UNDER)


def _tail_far(size: Block) -> Block:
    inverse = 1 / (size * size)
    return polynomial(inverse, _FAR_OVER) / polynomial(inverse, _FAR_UNDER)


def _tail(size: Block) -> Block:
    """log(x exp(x^2) erfc(x)) + 0.5625 for x of 1.25 and more."""
    out = np.empty_like(size)
    near = size < 1 / 0.35
    fill(out, near, _tail_near, size)
    fill(out, ~near, _tail_far, size)
    return out


def _erfc_tail(size: Block) -> Block:
    """erfc from 1.25 on. The square in the exponent is split, since its rounding would be magnified."""
    top = head(size)
    rest = (top - size) * (top + size)
    return np.exp(-top * top - _SHIFT) * np.exp(rest + _tail(size)) / size


def _erfc_centre(x: Block) -> Block:
    """erfc between -1.25 and 1.25."""
    out = np.empty_like(x)
    small = np.abs(x) < 0.84375
    fill(out, small, _erfc_small, x)
    fill(out, ~small, _erfc_middle, x)
    return out


def _erfc_small(x: Block) -> Block:
    rest = x * _small(x)
    return np.where(x < 0.25, 1 - (x + rest), 0.5 - (rest + (x - 0.5)))


def _erfc_middle(x: Block) -> Block:
    rest = _middle(np.abs(x))
    return np.where(x > 0, (1 - _ERF_1) - rest, 1 + (_ERF_1 + rest))


def erf_block(x: Block) -> Block:
    """erf of a block."""
    size = np.abs(x)
    out = np.sign(x)
    tail = size >= 1.25
    fill(out, size < 0.84375, lambda x: x + x * _small(x), x)
    fill(out, (size >= 0.84375) & ~tail, lambda x: np.copysign(_ERF_1 + _middle(np.abs(x)), x), x)
    fill(out, tail & (size < 6), lambda x: np.copysign(1 - _erfc_tail(np.abs(x)), x), x)
    return out


def erfc_block(x: Block) -> Block:
    """erfc of a block."""
    size = np.abs(x)
    out = 1 - np.sign(x)
    fill(out, size < 1.25, _erfc_centre, x)
    fill(out, (size >= 1.25) & (x < 28) & (x > -6), _erfc_sides, x)
    return out


def _erfc_sides(x: Block) -> Block:
    tail = _erfc_tail(np.abs(x))
    return np.where(x > 0, tail, 2 - tail)


def _erfcx_tail(x: Block) -> Block:
    return np.exp(_tail(x) - _SHIFT) / x


def _exp_square(x: Block) -> Block:
    top = head(x)
    return np.exp(top * top) * np.exp((x - top) * (x + top))


def _erfcx(x: Block) -> Block:
    out = np.where(x < 0, np.inf, x)
    fill(out, np.abs(x) < 1.25, lambda x: _erfc_centre(x) * np.exp(x * x), x)
    fill(out, x >= 1.25, _erfcx_tail, x)
    fill(out, (x <= -1.25) & (x > -26.7), lambda x: 2 * _exp_square(x) - _erfcx_tail(-x), x)
    return out


@kernel
def erf(x: Block) -> Block:
    """The error function."""
    return erf_block(x)


@kernel
def erfc(x: Block) -> Block:
    """1 - erf(x), also where that is tiny."""
    return erfc_block(x)


@kernel
def erfcx(x: Block) -> Block:
    """exp(x^2) erfc(x), without overflow."""
    return _erfcx(x)


# --- its inverse --------------------------------------------------------------------------------------------------

_HALF_ROOT_PI = math.sqrt(math.pi) / 2
_CENTRE = ((-0.140543331, 0.914624893, -1.645349621, 0.886226899),
           (0.012229801, -0.329097515, 1.442710462, -2.118377725, 1))  # fmt: skip
_ENDS = ((1.641345311, 3.429567803, -1.624906493, -1.970840454), (1.637067800, 3.543889200, 1))


def _erfinv_centre(y: Block) -> Block:
    square = y * y
    x = y * polynomial(square, _CENTRE[0]) / polynomial(square, _CENTRE[1])
    for _ in range(2):  # Newton's steps
        x -= (erf_block(x) - y) * np.exp(x * x) * _HALF_ROOT_PI
    return x


def _erfinv_ends(y: Block) -> Block:
    rest = 1 - np.abs(y)  # exact; the steps, Halley's, go by erfc, for the digits that erf has no more
    z = np.sqrt(-np.log(rest / 2))
    x = polynomial(z, _ENDS[0]) / polynomial(z, _ENDS[1])
    for _ in range(2):
        step = (erfc_block(x) - rest) * np.exp(x * x) * _HALF_ROOT_PI
        x += step / (1 - step * x)
    return np.copysign(x, y)


@kernel
def erfinv(y: Block) -> Block:
    """The inverse of erf; infinite at -1 and 1, NaN outside."""
    size = np.abs(y)
    out = np.where(size == 1, np.copysign(np.inf, y), np.nan)
    fill(out, size <= 0.7, _erfinv_centre, y)
    fill(out, (size > 0.7) & (size < 1), _erfinv_ends, y)
    return out


# --- the normal distribution --------------------------------------------------------------------------------------

_ROOT_HALF = math.sqrt(0.5)


def _below(size: Block) -> Block:
    """The probability of less than -x, for x of 1.75 and more."""
    top = head(size)
    rest = (top - size) * (top + size)
    return np.exp(-0.5 * top * top) * np.exp(0.5 * rest) * _erfcx_tail(size * _ROOT_HALF) * 0.5


@kernel
def ndtr(x: Block) -> Block:
    """The probability that a standard normal number is at most x."""
    out = (np.sign(x) + 1) / 2
    fill(out, np.abs(x) < 1.77, lambda x: 0.5 * _erfc_centre(x * -_ROOT_HALF), x)
    fill(out, (x <= -1.77) & (x > -40), lambda x: _below(-x), x)
    fill(out, (x >= 1.77) & (x < 10), lambda x: 1 - _below(x), x)
    return out


@kernel
def log_ndtr(x: Block) -> Block:
    """The logarithm of `ndtr`, also far below 0."""
    out = np.log1p(-(1 - np.sign(x)) / 2)
    fill(out, x < -1, _log_ndtr_low, x)
    fill(out, (x >= -1) & (x < 1.77), lambda x: np.log1p(-0.5 * _erfc_centre(x * _ROOT_HALF)), x)
    fill(out, (x >= 1.77) & (x < 40), lambda x: np.log1p(-_below(x)), x)
    return out


def _log_ndtr_low(x: Block) -> Block:
    t = x * _ROOT_HALF
    return np.log(_erfcx(-t) / 2) - t * t


# the inverse: in (y - 1/2)^2, and in 1 / sqrt(-2 log y) above and below exp(-32)
_CENTRE_OVER = (
    -59.96335010141079, 98.00107541859997, -56.67628574690703, 13.931260938727968, -1.2391658386738125,
)  # fmt: skip
_CENTRE_UNDER = (
    1.0, 1.9544885833814176, 4.676279128988815, 86.36024213908905, -225.46268785411937, 200.26021238006066,
    -82.03722561683334, 15.90562251262117, -1.1833162112133,
)  # fmt: skip
_SIDE_OVER = (
    4.0554489230596245, 31.525109459989388, 57.16281922464213, 44.08050738932008, 14.684956192885803,
    2.1866330685079025, -0.1402560791713545, -0.03504246268278482, -0.0008574567851546854,
)  # fmt: skip
_SIDE_UNDER = (
    1.0, 15.779988325646675, 45.39076351288792, 41.3172038254672, 15.04253856929075, 2.504649462083094,
    -0.14218292285478779, -0.03808064076915783, -0.0009332594808954574,
)  # fmt: skip
_END_OVER = (
    3.2377489177694603, 6.915228890689842, 3.9388102529247444, 1.3330346081580755, 0.20148538954917908,
    0.012371663481782003, 0.00030158155350823543, 2.6580697468673755e-06, 6.239745391849833e-09,
)  # fmt: skip
_END_UNDER = (
    1.0, 6.02427039364742, 3.6798356385616087, 1.3770209948908132, 0.21623699359449663, 0.013420400608854318,
    0.00032801446468212774, 2.8924786474538068e-06, 6.790194080099813e-09,
)  # fmt: skip
_EXP_2 = 0.13533528323661269189  # exp(-2)


def _ndtri_centre(y: Block) -> Block:
    y = y - 0.5
    square = y * y
    value = y + y * (square * polynomial(square, _CENTRE_OVER) / polynomial(square, _CENTRE_UNDER))
    return value * math.sqrt(2 * math.pi)


def _ndtri_sides(y: Block) -> Block:
    """For y up to exp(-2), without the sign."""
    x = np.sqrt(-2 * np.log(y))
    z = 1 / x
    rest = np.empty_like(x)
    near = x < 8
    fill(rest, near, lambda z: z * polynomial(z, _SIDE_OVER) / polynomial(z, _SIDE_UNDER), z)
    fill(rest, ~near, lambda z: z * polynomial(z, _END_OVER) / polynomial(z, _END_UNDER), z)
    return (x - np.log(x) * z) - rest


@kernel
def ndtri(y: Block) -> Block:
    """The inverse of `ndtr`: -inf at 0, inf at 1, NaN outside."""
    out = np.where(y == 0, -np.inf, np.where(y == 1, np.inf, np.nan))
    low, high = y <= _EXP_2, y > 1 - _EXP_2
    fill(out, (y > 0) & low, lambda y: -_ndtri_sides(y), y)
    fill(out, ~low & ~high, _ndtri_centre, y)
    fill(out, high & (y < 1), lambda y: _ndtri_sides(1 - y), y)
    return out
