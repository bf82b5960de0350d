"""Normal numbers from words, 16 at a time: the Box-Muller transform in PyTorch's rounding.

Box and Muller 1958, doi:10.1214/aoms/1177706645. PyTorch's CPU kernel computes it in float32 with eight lanes of AVX2:
logarithm, sine and cosine by Cephes' polynomials, with every product that feeds a sum fused (rounded once together).

NumPy has no fused multiply-add. But in its product of complex numbers the real part, ar * br - ai * bi, is one where
the processor has the instruction: with bi = -1 it is fma(ar, br, ai). Where a probe finds that it is not, those
steps are products and sums in float64, rounded to float32. Either way the numbers are PyTorch's to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .parallel import parallel_for, scratch

__all__ = ["box_muller32", "fused64"]

_F, _D, _I, _C = np.float32, np.float64, np.int32, np.complex64

# Constants are 0-dim arrays of their operands' type: ufuncs take those at no extra cost, unlike Python's numbers.
_LOW24 = np.array(0xFFFFFF, _I)
_TOP = np.array(1 << 24, _I)
_SCALE24 = np.array(24 << 23, _I)
_SQRT_HALF_BITS = np.array(0x3F3504F3, _I)
_BITS23 = np.array(23, _I)
_LOG = [
    np.array(c, _F)
    for c in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
]
_LN2_LOW, _LN2_HIGH = np.array(-2.12194440e-4, _F), np.array(0.693359375, _F)
_TURN = np.array(_F(2 * np.pi) * _F(2.0**-24), _F)
_EIGHTH, _BITS22 = np.array(1 << 21, _I), np.array(22, _I)
# minus a quarter turn, as the exact sum of the three pieces that Cephes subtracts one after another
_QUARTER = np.array(2 * (_D(_F(-0.78515625)) + _D(_F(-2.4187564849853515625e-4)) + _D(_F(-3.77489497744594108e-8))), _D)
_SIN = [np.array(c, _F) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)]
_COS = [np.array(c, _F) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)]
_ONE, _TWO, _MINUS_TWO, _MINUS_HALF = (np.array(v, _F) for v in (1, 2, -2, -0.5))

_PAIRS = 16384  # pairs worked on at a time: the temporaries stay in the second-level cache
_EIGHT = np.dtype("V32")  # eight float32 at once


class _ByComplex:
    """Fused steps on float32 arrays of one length, as real parts of complex products."""

    def __init__(self, n: int) -> None:
        self.left, self.right = scratch("box_muller_c", (2, n), _C)
        self.right.imag.fill(-1)

    def series(self, x: np.ndarray, coefficients: Sequence[np.ndarray], factors: Any, addend: Any, out: Any) -> None:
        """The polynomial of x by Horner's scheme, highest coefficient first, times two factors, plus an addend.

        Every sum is fused with the product before it.
        """
        left, right = self.left, self.right
        value, plus, factor = left.real, left.imag, right.real
        factor[...] = x
        value.fill(coefficients[0])
        for c in coefficients[1:]:
            plus.fill(c)
            np.multiply(left, right, left)
        np.multiply(value, factors[0], value)
        factor[...] = factors[1]
        plus[...] = addend
        np.multiply(left, right, left)
        out[...] = value


class _ByDouble:
    """The same in float64, which holds the products exactly."""

    def __init__(self, n: int) -> None:
        self.x, self.y = scratch("box_muller_d", (2, n), _D)

    def series(self, x: np.ndarray, coefficients: Sequence[np.ndarray], factors: Any, addend: Any, out: Any) -> None:
        x64, y64 = self.x, self.y
        x64[...] = x
        value = np.full(x.shape, coefficients[0])
        for c in coefficients[1:]:
            np.multiply(value, x64, y64)
            np.add(y64, c, value, casting="same_kind")
        np.multiply(value, factors[0], value)
        np.multiply(value, factors[1], y64, dtype=_D)
        np.add(y64, addend, out, casting="same_kind")


def _probe() -> type[_ByComplex] | type[_ByDouble]:
    """The quicker of the two, if complex products are fused: tried on all lengths that vector loops treat apart."""
    rng = np.random.default_rng(0)
    for n in (*range(1, 40), 4096):
        x, a, b, c = rng.standard_normal((4, n)).astype(_F)
        found, exact = np.empty((2, n), _F)
        _ByComplex(n).series(x, _LOG, (a, b), c, found)
        _ByDouble(n).series(x, _LOG, (a, b), c, exact)
        if not np.array_equal(found, exact):
            return _ByDouble
    return _ByComplex


_steps: Any = None


def box_muller32(words: np.ndarray, out: np.ndarray, mean: float, std: float) -> None:
    """Fill `out`, float32 of a length divisible by 16, from as many words.

    Of each 16 words, the first 8 make radii, the others angles.
    """
    global _steps
    if _steps is None:
        _steps = _probe()
    steps_class = _steps
    source, target = words.view(_EIGHT).reshape(-1, 2), out.view(_EIGHT).reshape(-1, 2)

    def block(start: int, stop: int) -> None:
        n = (stop - start) * 8
        ints = scratch("box_muller_i", (2, n), _I)
        ints.view(_EIGHT)[...] = source[start:stop].T
        np.bitwise_and(ints, _LOW24, ints)
        singles = scratch("box_muller_f", (7, n), _F)
        steps = steps_class(n)
        radius = _radius(ints[0], singles, steps)
        sides = _rotate(radius, ints[1], singles, steps)
        if mean:
            np.add(np.multiply(sides, _F(std), dtype=_D), _D(_F(mean)), sides, casting="same_kind")
        elif std != 1:
            np.multiply(sides, _F(std), sides)
        target[start:stop] = sides.view(_EIGHT).T

    parallel_for(len(source), block, grain=len(source), block=_PAIRS // 8)


def _radius(k: np.ndarray, singles: np.ndarray, steps: Any) -> np.ndarray:
    """sqrt(-2 log(1 - k / 2**24)); the result is the last row of `singles`."""
    mul, add, sub = np.multiply, np.add, np.subtract
    x, e, z, y, t, _, out = singles
    bits = x.view(_I)
    sub(_TOP, k, k)
    np.copyto(x, k, casting="same_kind")
    sub(bits, _SCALE24, bits)  # 1 - k / 2**24, exactly
    # split into 2**e times a mantissa in [sqrt(1/2), sqrt(2)), less 1
    sub(bits, _SQRT_HALF_BITS, k)
    np.right_shift(k, _BITS23, k)
    np.copyto(e, k, casting="same_kind")
    np.left_shift(k, _BITS23, k)
    sub(bits, k, bits)
    sub(x, _ONE, x)
    mul(x, x, z)
    mul(e, _LN2_LOW, t)
    steps.series(x, _LOG, (x, z), t, y)
    mul(z, _MINUS_HALF, z)
    add(y, z, y)
    add(x, y, x)
    mul(e, _LN2_HIGH, e)
    add(x, e, x)
    mul(x, _MINUS_TWO, x)
    return np.sqrt(x, out)


def _rotate(r: np.ndarray, k: np.ndarray, singles: np.ndarray, steps: Any) -> np.ndarray:
    """r times the cosine and the sine of k / 2**24 turns, as two rows."""
    mul, add, sub = np.multiply, np.add, np.subtract
    c, s, x, z, t, quarter = singles[:6]
    np.copyto(x, k, casting="same_kind")
    mul(x, _TURN, x)
    add(k, _EIGHTH, k)
    np.right_shift(k, _BITS22, k)  # the nearest quarter turn, 0 to 4
    np.copyto(quarter, k, casting="same_kind")
    add(mul(quarter, _QUARTER), x, x, casting="same_kind")  # what remains, within an eighth of a turn
    mul(x, x, z)
    mul(z, _MINUS_HALF, t)
    steps.series(z, _COS, (z, z), t, c)
    add(c, _ONE, c)
    steps.series(z, _SIN, (z, x), x, s)
    # turn by whole quarters: by (1, 0), (0, 1), (-1, 0), (0, -1), (1, 0), times r; each product below is exact or zero
    sub(_TWO, quarter, t)
    np.abs(t, z)
    sub(z, _ONE, x)
    sub(_TWO, z, z)
    mul(t, z, z)
    mul(x, r, x)
    mul(z, r, z)
    mul(c, x, t)
    mul(s, z, quarter)
    mul(c, z, c)
    mul(s, x, s)
    add(c, s, s)
    sub(t, quarter, c)
    return singles[:2]


def fused64(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """a * b + c in float64 with one rounding, as a fused multiply-add gives it.

    Error-free products and sums (Dekker 1971), and the last sum rounded to odd so that it doesn't round twice
    (Boldo and Melquiond 2008, doi:10.1109/TC.2007.70819).
    """
    if c == 0:
        return a * b
    with np.errstate(all="ignore"):
        p = a * b
        high, low = _halves(a)
        b_high, b_low = _halves(b)
        rest = ((high * b_high - p) + high * b_low + low * b_high) + low * b_low
        s, s_low = _two_sum(rest, c)
        total, total_low = _two_sum(p, s)
        odd, lost = _two_sum(s_low, total_low)
        even = (odd.view(np.int64) & 1) == 0
        odd = np.where((lost != 0) & even, np.nextafter(odd, np.where(lost > 0, np.inf, -np.inf)), odd)
        result = total + odd
    return np.where(np.isfinite(result), result, p + c)


def _halves(a: Any) -> tuple[Any, Any]:
    """A float64 number as the sum of two with half as many digits, whose products are exact."""
    t = a * 134217729.0
    high = t - (t - a)
    return high, a - high


def _two_sum(a: np.ndarray, b: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """a + b rounded, and exactly what the rounding lost."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)
