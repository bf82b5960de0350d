"""The logarithm of the gamma function, its derivatives, and Hurwitz' zeta function.

`lgamma` is computed as in Sun's fdlibm, `digamma` and `zeta` as in Cephes, which PyTorch follows too; `digamma` has
Boost's approximation between 1 and 2, where it has its zero, and what is negative is reflected. Results are within 4
units in the last place, `zeta` and `polygamma` within 10; between the negative integers, where they have zeros of
their own, the errors of `lgamma` and `digamma` are that small beside the terms that cancel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .evaluation import Block, fill, kernel, polynomial

__all__ = ["digamma", "lgamma", "lgamma_1p_block", "lgamma_block", "polygamma", "zeta"]

# --- the logarithm of the gamma function --------------------------------------------------------------------------

# near 2, in the square of the distance: even and odd powers
_TWO_EVEN = (
    2.5214456545125733e-05, 0.00022086279071390839, 0.0011927076318336207, 0.007385550860814029,
    0.06735230105312927, 0.07721566490153287,
)  # fmt: skip
_TWO_ODD = (
    4.4864094961891516e-05, 0.00010801156724758394, 0.0005100697921535113, 0.0028905138367341563,
    0.020580808432516733, 0.3224670334241136,
)  # fmt: skip
# near the minimum, in the cube of the distance: every third power
_LEAST_AT, _LEAST, _LEAST_REST = 1.46163214496836224576e00, -1.21486290535849611461e-01, 3.63867699703950536541e-18
_LEAST_0 = (
    0.00031563207090362595, -0.0014034646998923284, 0.006100538702462913, -0.032788541075985965,
    0.48383612272381005,
)  # fmt: skip
_LEAST_1 = (
    -0.00031275416837512086, 0.000881081882437654, -0.0036845201678113826, 0.01797067508118204,
    -0.1475877229945939,
)  # fmt: skip
_LEAST_2 = (
    0.0003355291926355191, -0.0005385953053567405, 0.0022596478090061247, -0.010314224129834144,
    0.06462494023913339,
)  # fmt: skip
# near 1
_ONE_OVER = (
    0.013381091853678766, 0.22896372806469245, 0.9777175279633727, 1.4549225013723477, 0.6328270640250934,
    -0.07721566490153287,
)  # fmt: skip
_ONE_UNDER = (
    0.003217092422824239, 0.10422264559336913, 0.7692851504566728, 2.128489763798934, 2.4559779371304113, 1.0,
)  # fmt: skip
# between 2 and 3
_PRIMARY_OVER = (
    3.194753265841009e-05, 0.0018402845140733772, 0.02664227030336386, 0.14635047265246445, 0.325778796408931,
    0.21498241596060885, -0.07721566490153287,
)  # fmt: skip
_PRIMARY_UNDER = (
    7.326684307446256e-06, 0.0007779424963818936, 0.01864591917156529, 0.17193386563280308, 0.7219355475671381,
    1.3920053346762105, 1.0,
)  # fmt: skip
# the rest after Stirling's formula, times x, in 1 / x^2
_STIRLING = (
    -0.0016309293409657527, 0.0008363399189962821, -0.00059518755745034, 0.0007936505586430196,
    -0.0027777777772877554, 0.08333333333333297,
)  # fmt: skip
_HALF_LOG = 4.18938533204672725052e-01  # of 2 pi, less 1/2


def _near_two(y: Block) -> Block:
    square = y * y
    odd = square * polynomial(square, _TWO_ODD)
    return (y * polynomial(square, _TWO_EVEN) + odd) - 0.5 * y


def _near_least(y: Block) -> Block:
    square = y * y
    cube = square * y
    rest = polynomial(cube, _LEAST_1) + y * polynomial(cube, _LEAST_2)
    return _LEAST + (square * polynomial(cube, _LEAST_0) + (_LEAST_REST + cube * rest))


def _near_one(y: Block) -> Block:
    return y * polynomial(y, _ONE_OVER) / polynomial(y, _ONE_UNDER) - 0.5 * y


def _lgamma_below_2(x: Block) -> Block:
    """By its values in [0.9, 1.9), less log(x) where one is added to x."""
    low = x <= 0.9
    part = np.where(low, x + 1, x)
    two, one = part >= 1.7316, part < 1.23
    out = np.empty_like(x)
    fill(out, two, _near_two, np.where(low, 1 - x, 2 - x))
    fill(out, one, _near_one, np.where(low, x, x - 1))
    fill(out, ~two & ~one, _near_least, np.where(low, x - (_LEAST_AT - 1), x - _LEAST_AT))
    fill(out, low, lambda v, x: v - np.log(x), out, x)
    return out


def _lgamma_below_8(x: Block) -> Block:
    whole = np.floor(x)
    y = x - whole
    value = 0.5 * y + y * polynomial(y, _PRIMARY_OVER) / polynomial(y, _PRIMARY_UNDER)
    product = np.ones_like(x)
    for k in range(2, 7):
        np.multiply(product, y + k, out=product, where=whole > k)
    return value + np.log(product)


def _lgamma_above(x: Block) -> Block:
    z = 1 / x
    rest = z * polynomial(z * z, _STIRLING) + _HALF_LOG
    return (x - 0.5) * (np.log(x) - 1) + rest


def _lgamma_positive(x: Block) -> Block:
    out = np.full_like(x, np.nan)
    fill(out, x < 2, _lgamma_below_2, x)
    fill(out, (x >= 2) & (x < 8), _lgamma_below_8, x)
    fill(out, x >= 8, _lgamma_above, x)
    return out


def _lgamma_negative(x: Block) -> Block:
    """By reflection; infinite at the integers."""
    away = np.abs(x - np.rint(x))
    return np.log(np.pi / (np.sin(np.pi * away) * -x)) - _lgamma_positive(-x)


def lgamma_block(x: Block) -> Block:
    """`lgamma` of a block."""
    out = np.where(x == -np.inf, np.inf, x)
    tiny = 2.0**-70  # below, the gamma function is 1 / x
    fill(out, x >= -tiny, lambda x: _lgamma_positive(np.abs(x)), x)
    fill(out, (x < -tiny) & (x > -np.inf), _lgamma_negative, x)
    return out


def lgamma_1p_block(x: Block) -> Block:
    """`lgamma(1 + x)` of a block of numbers above -1, exact for small ones."""
    out = np.empty_like(x)
    small = np.abs(x) < 0.2
    fill(out, small, _near_one, x)
    fill(out, ~small, lambda x: lgamma_block(1 + x), x)
    return out


@kernel
def lgamma(x: Block) -> Block:
    """The logarithm of the absolute value of the gamma function; infinite at both ends and at 0, -1, -2, ..."""
    return lgamma_block(x)


# --- its derivative -----------------------------------------------------------------------------------------------

_DIGAMMA = (8.33333333333333333333e-2, -2.10927960927960927961e-2, 7.57575757575757575758e-3,
            -4.16666666666666666667e-3, 3.96825396825396825397e-3, -8.33333333333333333333e-3,
            8.33333333333333333333e-2)  # fmt: skip
# between 1 and 2: its zero, in three parts, and what multiplies the distance from it, less a constant
_ZERO = (
    1569415565.0 / 1073741824.0,
    (381566830.0 / 1073741824.0) / 1073741824.0,
    0.9016312093258695918615325266959189453125e-19,
)
_SLOPE = 0.99558162689208984
_SLOPE_OVER = (-0.0020713321167745952, -0.045251321448739056, -0.28919126444774784, -0.65031853770896507,
               -0.32555031186804491, 0.25479851061131551)  # fmt: skip
_SLOPE_UNDER = (-0.55789841213675513e-6, 0.0021284987017821144, 0.054151797245674225, 0.43593529692665969,
                1.4606242909763515, 2.0767117023730469, 1.0)  # fmt: skip


def _digamma_above(x: Block) -> Block:
    square = 1 / (x * x)
    return np.log(x) - 0.5 / x - square * polynomial(square, _DIGAMMA)


def _digamma_primary(x: Block) -> Block:
    y = x - 1
    distance = ((x - _ZERO[0]) - _ZERO[1]) - _ZERO[2]
    return distance * _SLOPE + distance * (polynomial(y, _SLOPE_OVER) / polynomial(y, _SLOPE_UNDER))


def _digamma_between(x: Block) -> Block:
    """From 10 on by steps of one."""
    x, total = x.copy(), np.zeros_like(x)
    for _ in range(7):
        low = x < 10
        total -= low / x
        x += low
    return total + _digamma_above(x)


def _digamma_positive(x: Block) -> Block:
    out = np.full_like(x, np.nan)
    fill(out, x < 1, lambda x: _digamma_primary(x + 1) - 1 / x, x)
    fill(out, (x >= 1) & (x < 2), _digamma_primary, x)
    fill(out, (x >= 2) & (x < 3), lambda x: _digamma_primary(x - 1) + 1 / (x - 1), x)
    fill(out, (x >= 3) & (x < 10), _digamma_between, x)
    fill(out, x >= 10, _digamma_above, x)
    return out


def _digamma_negative(x: Block) -> Block:
    turn = x - np.rint(x)
    size = np.abs(turn)
    cotangent = np.where(size < 0.25, 1 / np.tan(np.pi * size), np.tan(np.pi * (0.5 - size)))
    return _digamma_positive(1 - x) - np.pi * np.copysign(cotangent, turn)


@kernel
def digamma(x: Block) -> Block:
    """The logarithmic derivative of the gamma function; infinite at 0, NaN at the negative integers."""
    out = np.where(x == 0, np.copysign(np.inf, -x), np.nan)
    fill(out, x > 0, _digamma_positive, x)
    fill(out, (x < 0) & (x != np.floor(x)), _digamma_negative, x)
    return out


# --- its further derivatives, and zeta ----------------------------------------------------------------------------

_EULER_MACLAURIN = (12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183791606e9, 7.47242496e10,
                    -2.950130727918164224e12, 1.1646782814350067249e14, -4.5979787224074726105e15,
                    1.8152105401943546773e17, -7.1661652561756670113e18)  # fmt: skip
_EPSILON = 2.0**-53


def _zeta_positive(s: Block, q: Block) -> Block:
    """Nine terms, and the rest by the formula of Euler and Maclaurin."""
    total, term = q**-s, np.empty_like(q)
    for k in range(1, 10):
        term = (q + k) ** -s
        total += term
    live = ~(term < _EPSILON * total)  # elsewhere nothing is left to add
    with_rest = np.flatnonzero(live)
    if with_rest.size:
        total[with_rest] += _zeta_rest(*(v[with_rest] for v in (s, q + 9, term, total)))
    return total


def _zeta_rest(s: Block, w: Block, last: Block, total: Block) -> Block:
    """What follows the term `last` of base `w` in the sum, which is `total` so far."""
    rest = last * w / (s - 1) - 0.5 * last
    factor, power, k = np.ones_like(s), last.copy(), 0
    live = np.ones(s.shape, bool)
    for divisor in _EULER_MACLAURIN:
        factor *= s + k
        power /= w
        step = factor * power / divisor
        np.add(rest, step, out=rest, where=live)
        live &= np.abs(step) >= _EPSILON * np.abs(total + rest)
        k += 1
        factor *= s + k
        power /= w
        k += 1
    return rest


def _zeta_negative(s: Block, q: Block) -> Block:
    """For a whole power: terms below 0 are those of another sum, signs apart, up to where that one ends."""
    above, below = q - np.floor(q), np.ceil(q) - q
    sign = np.where(np.remainder(s, 2) == 1, -1.0, 1.0)
    end = np.nan_to_num(_zeta_positive(s, 1 - q))  # not a number once all its terms vanish
    return _zeta_positive(s, above) + sign * (_zeta_positive(s, below) - end)


def _zeta(s: Block, q: Block) -> Block:
    pole = (s == 1) | (~(s < 1) & (q <= 0) & (q == np.floor(q)))
    out = np.where(pole, np.inf, np.nan)
    fill(out, (s > 1) & (q > 0), _zeta_positive, s, q)
    fill(out, (s > 1) & (q < 0) & (q != np.floor(q)) & (s == np.floor(s)), _zeta_negative, s, q)
    return out


@kernel
def zeta(s: Block, q: Block) -> Block:
    """The sum of (n + q)^-s over n = 0, 1, 2, ...: infinite where a term is or for s = 1, NaN for s below 1 and for
    negative q with broken s.
    """
    return _zeta(s, q)


def polygamma(n: int, a: Any) -> np.ndarray:
    """The n-th derivative of digamma."""
    if n == 0:
        return digamma(a)
    factorial = math.gamma(n + 1) if n <= 170 else math.inf
    value = _scaled_zeta(np.float64(factorial if n % 2 else -factorial), np.float64(n + 1), a)
    if n == 1:  # at 0, -1, ... by reflection, where the sine is not quite 0 but at 0
        pole = (a <= 0) & (a == np.floor(a)) & np.isfinite(a)
        value = np.where(pole, np.square(np.pi / np.sin(a * a.dtype.type(np.pi))), value)
        return np.where(np.isinf(a), np.where(a > 0, np.array(0, a.dtype), np.array(np.nan, a.dtype)), value)
    return np.where(a == np.inf, np.array(np.nan, a.dtype), value)


@kernel
def _scaled_zeta(scale: Block, s: Block, q: Block) -> Block:
    return scale * _zeta(s, q)
