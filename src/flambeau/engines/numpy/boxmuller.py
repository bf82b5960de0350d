"""Normal numbers from words, 16 at a time: the Box-Muller transform (1958, doi:10.1214/aoms/1177706645) in PyTorch's
rounding.

PyTorch's CPU kernel computes it in float32 with eight lanes of AVX2: logarithm, sine and cosine by Cephes'
polynomials, with every product that feeds a sum fused (one rounding). Here the fused steps are float64 products and
sums, which are exact enough to round once, and the rest is float32. So the numbers are PyTorch's to the last bit;
over all 2**24 arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .parallel import parallel_for, scratch

__all__ = ["box_muller32", "fused64"]

_F, _D, _I = np.float32, np.float64, np.int32

# Constants are 0-dim arrays of their operands' type: ufuncs take those at no extra cost, unlike Python's numbers.
_LOW24 = np.array(0xFFFFFF, np.uint32)
_TOP = np.array(1 << 24, _I)
_SCALE24 = np.array(24 << 23, _I)
_SQRT_HALF_BITS = np.array(0x3F3504F3, _I)
_BITS23 = np.array(23, _I)
_LOG_FIRST = np.array(_F(7.0376836292e-2), _D)
_LOG = [
    np.array(_F(c), _D)
    for c in (
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
_SIN = [np.array(_F(c), _D) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)]
_COS = [np.array(_F(c), _D) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)]
_ONE, _HALF, _TWO, _MINUS_TWO = (np.array(v, _F) for v in (1, 0.5, 2, -2))

_PAIRS = 16384  # pairs worked on at a time: the temporaries stay in the second-level cache
_EIGHT = np.dtype("V32")  # eight float32 at once


def box_muller32(words: np.ndarray, out: np.ndarray, mean: float, std: float) -> None:
    """Fill `out`, float32 of a length divisible by 16, from as many words: of each 16, the first 8 make radii, the
    others angles.
    """
    source, target = words.view(_EIGHT).reshape(-1, 2), out.view(_EIGHT).reshape(-1, 2)
    mean32, std32 = np.array(mean, _F), np.array(std, _F)

    def block(start: int, stop: int) -> None:
        rows, n = slice(start, stop), (stop - start) * 8
        ints = scratch("box_muller_i", (2, n), _I)
        radii, angles = ints[0], ints[1]
        radii.view(_EIGHT)[:] = source[rows, 0]
        angles.view(_EIGHT)[:] = source[rows, 1]
        singles = scratch("box_muller_f", (7, n), _F)
        doubles = scratch("box_muller_d", (2, n), _D)
        radius = _radius(radii, singles, doubles)
        first, second = _rotate(radius, angles, singles, doubles)
        for values, side in ((first, 0), (second, 1)):
            if mean:
                np.multiply(values, std32.astype(_D), doubles[0])
                np.add(doubles[0], mean32.astype(_D), values, casting="same_kind")
            elif std != 1:
                np.multiply(values, std32, values)
            target[rows, side] = values.view(_EIGHT)

    parallel_for(len(source), block, grain=_PAIRS // 4, block=_PAIRS // 8)


def _radius(k: np.ndarray, singles: np.ndarray, doubles: np.ndarray) -> np.ndarray:
    """sqrt(-2 log(1 - k / 2**24)) for the low 24 bits of each word; the result is the last row of `singles`."""
    mul, add, sub = np.multiply, np.add, np.subtract
    x, e, z, y, t, _, out = singles
    x64, y64 = doubles
    bits = x.view(_I)
    np.bitwise_and(k, _LOW24.view(_I), k)
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
    np.copyto(x64, x)
    mul(x64, _LOG_FIRST, y64)
    for c in _LOG[:-1]:
        add(y64, c, y, casting="same_kind")
        mul(y, x64, y64)
    add(y64, _LOG[-1], y, casting="same_kind")
    mul(y, x, y)
    mul(y, z, y64, dtype=_D)
    mul(e, _LN2_LOW, t)
    add(y64, t, y, casting="same_kind")
    mul(z, _HALF, z)
    sub(y, z, y)
    add(x, y, x)
    mul(e, _LN2_HIGH, e)
    add(x, e, x)
    mul(x, _MINUS_TWO, x)
    return np.sqrt(x, out)


def _rotate(r: np.ndarray, k: np.ndarray, singles: np.ndarray, doubles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """r times the cosine and the sine of k / 2**24 turns."""
    mul, add, sub = np.multiply, np.add, np.subtract
    x, z, c, s, t, quarter = singles[:6]
    z64, y64 = doubles
    np.bitwise_and(k, _LOW24.view(_I), k)
    np.copyto(x, k, casting="same_kind")
    mul(x, _TURN, x)
    add(k, _EIGHTH, k)
    np.right_shift(k, _BITS22, k)  # the nearest quarter turn, 0 to 4
    np.copyto(quarter, k, casting="same_kind")
    mul(quarter, _QUARTER, y64)
    add(y64, x, x, casting="same_kind")  # what remains, within an eighth of a turn
    mul(x, x, z)
    np.copyto(z64, z)
    mul(z64, _COS[0], y64)
    add(y64, _COS[1], c, casting="same_kind")
    mul(c, z64, y64)
    add(y64, _COS[2], c, casting="same_kind")
    mul(c, z, c)
    mul(c, z64, y64)
    mul(z, _HALF, t)
    sub(y64, t, c, casting="same_kind")
    add(c, _ONE, c)
    mul(z64, _SIN[0], y64)
    add(y64, _SIN[1], s, casting="same_kind")
    mul(s, z64, y64)
    add(y64, _SIN[2], s, casting="same_kind")
    mul(s, z, s)
    mul(s, x, y64, dtype=_D)
    add(y64, x, s, casting="same_kind")
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
    sub(t, quarter, t)
    mul(c, z, c)
    mul(s, x, s)
    add(c, s, c)
    return t, c


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
