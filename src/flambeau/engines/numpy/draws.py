"""Random arrays: how each distribution makes its numbers of a generator's words, exactly as PyTorch's CPU kernels do.

Every function takes a `flambeau.random.Generator` and how many values are wanted, and returns them as a flat array,
in the order in which PyTorch would write them. What is computed in double and rounded to a smaller type uses NumPy's
functions; what stays double uses the C library's one by one, as PyTorch does, so that the last bit agrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .boxmuller import box_muller32, fused64

__all__ = [
    "DIGITS",
    "bernoulli",
    "bernoulli_each",
    "binomial",
    "cauchy",
    "doubles",
    "exponential",
    "geometric",
    "integers",
    "integers_any",
    "integers_full",
    "log_normal",
    "multinomial",
    "normal",
    "permutation",
    "poisson",
    "uniform",
]

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_LOW24 = np.array(0xFFFFFF, np.uint32)
_UNIT24 = np.array(2.0**-24, np.float32)
_LOW53 = np.array(2**53 - 1, np.uint64)
_UNIT53 = np.array(2.0**-53)
_BITS32 = np.array(32, np.uint64)
_BLOCK = 65536  # words drawn and converted at a time, so that they are still in cache

# The significand's width decides how many integers a floating-point type can count through
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


# --- words into numbers -------------------------------------------------------------------------------------------


def _long_words(generator: Any, n: int) -> np.ndarray:
    """`n` words of 64 bits: of each two words of 32, the first is the upper half."""
    if n < 2048:
        pairs = generator.few(2 * n)
        return (pairs[::2] << _BITS32) | pairs[1::2]
    swapped = generator.words(2 * n).view(np.uint64)
    if not np.little_endian:
        return swapped
    return (swapped << _BITS32) | (swapped >> _BITS32)


def doubles(generator: Any, n: int) -> np.ndarray:
    """`n` float64 numbers, uniform over the multiples of 2**-53 in [0, 1)."""
    out = np.empty(n)
    for start in range(0, n, _BLOCK):
        part = out[start : start + _BLOCK]
        words = _long_words(generator, part.size)
        np.bitwise_and(words, _LOW53, words)
        np.multiply(words.view(np.int64), _UNIT53, part)
    return out


def _singles(generator: Any, n: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """`n` float32 numbers: multiples of 2**-24 in [0, 1), times high - low, plus low, rounded once."""
    out = np.empty(n, np.float32)
    first, span = np.float32(low), np.float32(high) - np.float32(low)
    scale = np.array(span * _UNIT24)
    # a word times the scale is exact in float64; is the sum as well?
    exact = low == 0 or abs(float(span)) + abs(float(first)) <= min(_unit(span) * 2.0**-24, _unit(first)) * 2.0**53
    for start in range(0, n, _BLOCK):
        part = out[start : start + _BLOCK]
        words = generator.words(part.size)
        np.bitwise_and(words, _LOW24, words)
        if first == 0:
            np.copyto(part, words.view(np.int32), casting="same_kind")
            np.multiply(part, scale, part)
        else:
            product = words.view(np.int32) * scale.astype(np.float64)
            total = product + np.float64(first) if exact else _odd_sum(product, first)
            np.copyto(part, total, casting="same_kind")
    return out


def _odd_sum(a: Any, b: Any) -> np.ndarray:
    """a + b in float64, or where that is not exact its odd neighbour: rounding it to float32 then rounds only once."""
    b = np.float64(b)
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)
    even = (np.asarray(total).view(np.int64) & 1) == 0
    return np.where((lost != 0) & even, np.nextafter(total, np.where(lost > 0, np.inf, -np.inf)), total)


def _unit(value: np.float32) -> float:
    """The place value of the last set bit; infinite for 0."""
    fraction, exponent = math.frexp(float(value))
    whole = int(fraction * 2**24)
    return math.ldexp(whole & -whole, exponent - 24) if whole else math.inf


def uniform(generator: Any, n: int, dtype: np.dtype, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """`n` numbers uniform in [low, high). float16 and bfloat16 are drawn as float32 and rounded."""
    if generator.silent:
        return np.broadcast_to(np.zeros((), dtype), n)
    if dtype == _F64:
        out = doubles(generator, n)
        if low == 0 and high == 1:
            return out
        out = fused64(out, high - low, low)
    else:
        out = _singles(generator, n, low, high)
        if dtype == _F32 and _stays_below(low, high):
            return out
        out = out.astype(dtype, copy=False)
    # rounding must not reach the excluded end
    top, bottom = _cast(np.array([high, low]), dtype)
    np.copyto(out, bottom, where=out == top)
    return out


def _stays_below(low: float, high: float) -> bool:
    """Whether the largest float32 draw surely rounds to less than `high`."""
    top, bottom = float(np.float32(high)), float(np.float32(low))
    span = float(np.float32(top - bottom))
    half_a_step = math.ldexp(1.0, math.frexp(top)[1] - 25)
    slack = 2.0**-50 * (abs(top) + abs(bottom))
    return (low == 0 and high == 1) or bottom + span * (1 - 2.0**-24) < top - half_a_step - slack


def _each(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """The C library's function of every element. NumPy's own may differ from it in the last bit."""
    return np.fromiter(map(function, values.tolist()), np.float64, values.size)


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round doubles to `dtype`; the 16-bit types by way of float32."""
    if dtype == _F64:
        return values
    with np.errstate(all="ignore"):
        return values.astype(np.float32) if dtype == _F32 else values.astype(np.float32).astype(dtype)


# --- normal -------------------------------------------------------------------------------------------------------


def normal(
    generator: Any, n: int, dtype: np.dtype, mean: float = 0.0, std: float = 1.0, blocks: bool = True
) -> np.ndarray:
    """`n` normal numbers.

    From 16 on they come in blocks of 16, if `blocks`; PyTorch does so for contiguous tensors only.
    """
    if generator.silent:
        return np.broadcast_to(np.zeros((), dtype), n)
    if n < 16 or not blocks:
        return _cast(fused64(_pairs(generator, n, dtype == _F64), std, mean), dtype)
    whole, rest = n - n % 16, n % 16
    if dtype == _F64:
        out = np.empty(n)
        _box_muller64(doubles(generator, n)[:whole], out[:whole], mean, std)
        if rest:
            _box_muller64(doubles(generator, 16), out[-16:], mean, std)
        return out
    # PyTorch draws a uniform for every float32 element first; for the 16-bit types only for whole blocks
    words = generator.words((n if dtype == _F32 else whole) + (16 if rest else 0))
    if rest:
        words[whole : whole + 16] = words[-16:]
    # the last 16 values come from 16 words more, and overwrite
    single = np.empty(n, np.float32)
    if not rest:
        box_muller32(words, single, mean, std)
    elif n < _BLOCK:
        blocked = np.empty(whole + 16, np.float32)
        box_muller32(words[: whole + 16], blocked, mean, std)
        single[:whole], single[-16:] = blocked[:whole], blocked[whole:]
    else:
        last = np.empty(16, np.float32)
        box_muller32(words[:whole], single[:whole], mean, std)
        box_muller32(words[whole : whole + 16], last, mean, std)
        single[-16:] = last
    return single if dtype == _F32 else single.astype(dtype)


def _box_muller64(uniforms: np.ndarray, out: np.ndarray, mean: float, std: float) -> None:
    """Fill `out` from as many uniform doubles: of each 16, the first 8 make radii, the others angles."""
    source, target = uniforms.reshape(-1, 2, 8), out.reshape(-1, 2, 8)
    radius = np.sqrt(-2.0 * _each(math.log, (1.0 - source[:, 0]).ravel()))
    turn = np.zeros(radius.size, np.complex128)
    turn.imag = (2 * math.pi) * source[:, 1].ravel()
    turn = np.exp(turn)  # NumPy's complex exponential takes the C library's sine and cosine
    target[:, 0] = fused64(radius * turn.real, std, mean).reshape(-1, 8)
    target[:, 1] = fused64(radius * turn.imag, std, mean).reshape(-1, 8)


def _pairs(generator: Any, n: int, exact: bool) -> np.ndarray:
    """`n` standard normal doubles, made two at a time; one left over stays with the generator for the next call."""
    out = np.empty(n)
    start = 0
    if n and generator.pair is not None:
        out[0], generator.pair, start = generator.pair, None, 1
    u = doubles(generator, n - start + (n - start) % 2)
    if not u.size:
        return out
    if exact or n < 64:
        radii = [math.sqrt(-2.0 * math.log1p(-v)) for v in u[1::2].tolist()]
        angles = [(2 * math.pi) * v for v in u[::2].tolist()]
        u[::2] = [r * math.cos(a) for r, a in zip(radii, angles, strict=True)]
        u[1::2] = [r * math.sin(a) for r, a in zip(radii, angles, strict=True)]
    else:
        last = u[-2:].tolist()
        radius, angle = np.sqrt(-2.0 * np.log1p(-u[1::2])), (2 * math.pi) * u[::2]
        u[::2], u[1::2] = radius * np.cos(angle), radius * np.sin(angle)
        u[-1] = math.sqrt(-2.0 * math.log1p(-last[1])) * math.sin((2 * math.pi) * last[0])
    out[start:] = u[: n - start]
    if (n - start) % 2:
        generator.pair = float(u[-1])
    return out


def log_normal(generator: Any, n: int, dtype: np.dtype, mean: float = 1.0, std: float = 2.0) -> np.ndarray:
    """`n` numbers whose logarithms are normal."""
    logs = fused64(_pairs(generator, n, True), std, mean)
    with np.errstate(all="ignore"):
        return _cast(_each(_exp, logs) if dtype == _F64 else np.exp(logs), dtype)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


# --- other continuous ---------------------------------------------------------------------------------------------


def exponential(generator: Any, n: int, dtype: np.dtype, rate: float = 1.0) -> np.ndarray:
    """`n` exponential numbers of the given rate."""
    u = doubles(generator, n)
    np.negative(u, u)
    logs = _each(math.log1p, u) if dtype == _F64 or n < 16 else np.log1p(u, u)
    return _cast(logs * (-1.0 / rate), dtype)


def cauchy(generator: Any, n: int, dtype: np.dtype, median: float = 0.0, sigma: float = 1.0) -> np.ndarray:
    """`n` Cauchy numbers."""
    angles = math.pi * (doubles(generator, n) - 0.5)
    return _cast(fused64(_each(math.tan, angles) if dtype == _F64 else np.tan(angles), sigma, median), dtype)


def geometric(generator: Any, n: int, dtype: np.dtype, p: float) -> np.ndarray:
    """`n` numbers of trials until the first success of probability `p`, at least 1."""
    u = doubles(generator, n)
    with np.errstate(all="ignore"):
        return (np.ceil(np.log(u) / math.log1p(-p))).astype(dtype)


# --- integers -----------------------------------------------------------------------------------------------------


def integers(generator: Any, n: int, dtype: np.dtype, low: int, span: int) -> np.ndarray:
    """`n` integers from `low` on, of `span` different ones: a word modulo `span`, of 64 bits where `span` is large."""
    if generator.silent:
        return np.broadcast_to(np.zeros((), dtype), n)
    if span >= 1 << 28:
        values = (_long_words(generator, n) % np.uint64(span)).view(np.int64)
    elif span & (span - 1) == 0:
        values = (generator.words(n) & np.uint32(span - 1)).astype(np.int64)
    else:
        words = generator.words(n)
        quotient = words // np.uint32(span)  # NumPy divides by a constant with vectors, but has no such remainder
        quotient *= np.uint32(span)
        words -= quotient
        values = words.astype(np.int64)
    if low:
        values += np.int64(low)
    return _from_int64(values, dtype)


def integers_any(generator: Any, n: int, dtype: np.dtype) -> np.ndarray:
    """`n` integers over all that `dtype` holds that are not negative; for floating point, all up to 2**digits."""
    if dtype == np.bool_:
        return (generator.words(n) & np.uint32(1)).astype(np.bool_)
    digits = DIGITS.get(dtype.name)
    span = 2**digits + 1 if digits else int(np.iinfo(dtype).max) + 1
    if dtype == _F64 or dtype == np.int64:
        return _from_int64((_long_words(generator, n) % np.uint64(span)).view(np.int64), dtype)
    return _from_int64((generator.words(n) % np.uint32(span)).astype(np.int64), dtype)


def integers_full(generator: Any, n: int, dtype: np.dtype) -> np.ndarray:
    """`n` integers over all of int64's range, in `dtype`."""
    return _from_int64(_long_words(generator, n).view(np.int64), dtype)


def _from_int64(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype == np.int64:
        return values
    return values.astype(np.float32).astype(dtype) if dtype.name in ("float16", "bfloat16") else values.astype(dtype)


_SHORT = 256  # below this a plain loop is quicker


def permutation(generator: Any, n: int) -> np.ndarray:
    """The integers below `n` in random order: Fisher and Yates' shuffle from the front, as int64.

    Large shuffles are computed for all steps at once. Step i swaps places i and h[i] >= i, and place i is then done.
    What step i finds at h[i] was put there by the last earlier step k with h[k] == h[i], which brought what was at
    its own place k; that in turn came from the last step j < k with h[j] == k, and so on down to a place nobody had
    written yet.
    """
    if n < 2:
        return np.arange(n)
    index = np.int32 if n < 2**31 - 1 else np.int64
    steps, left = np.arange(n - 1, dtype=index), np.arange(n, 1, -1, dtype=np.uint32)
    if n < (2**32 - 1) // 20:
        words = generator.words(n - 1)
        target = np.remainder(words, left, words).view(np.int32)
    else:
        target = (_long_words(generator, n - 1) % left).astype(index)
    target += steps
    if n < _SHORT:
        places = list(range(n))
        for i, h in enumerate(target.tolist()):
            places[i], places[h] = places[h], places[i]
        return np.array(places)
    return _all_swaps(target, steps)


def _all_swaps(target: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The order after swapping places i and target[i] for i = 0, 1, ...; no target is before its step."""
    index, n = target.dtype, target.size + 1
    # Who last wrote to each place before its own step came; of equal indices, NumPy stores the last. A place which none
    # wrote to is its own origin; a step that swaps with itself writes aside.
    origin = np.arange(n + 1, dtype=index)
    still = np.flatnonzero(target == steps)
    target[still] = n
    origin[target] = steps
    target[still] = still
    # follow the writers down to the place where the chain starts
    active = np.flatnonzero(origin[:n] != np.arange(n, dtype=index))
    while active.size:
        near = origin.take(active)
        far = origin.take(near)
        origin[active] = far
        active = active[far != near]
    # the last earlier step with the same target, by sorting steps under their targets
    if index == np.int32:
        keys = target.astype(np.int64)
        keys <<= 32
        keys |= steps
        keys.sort()
        by_target, at = (keys & 0x7FFFFFFF).astype(index), (keys >> 32).astype(index)
    else:
        by_target = np.argsort(target, kind="stable")
        at = target[by_target]
    again = np.flatnonzero(at[1:] == at[:-1])
    order = np.empty(n, np.int64)
    order[:-1], order[-1] = target, origin[n - 1]
    found = origin.take(by_target.take(again))
    again += 1
    order[by_target.take(again)] = found
    return order


# --- yes or no, which, and how many -------------------------------------------------------------------------------


def bernoulli(generator: Any, n: int, p: float) -> np.ndarray:
    """`n` bools, True with probability `p`: whether a uniform double is below it."""
    out = np.empty(n, np.bool_)
    below = math.ceil(p * 2.0**53)
    high, low = below >> 32, below & 0xFFFFFFFF
    for start in range(0, n, _BLOCK):
        part = out[start : start + _BLOCK]
        words = generator.words(2 * part.size)
        upper = words[::2] & np.uint32(0x1FFFFF)
        np.less(upper, np.uint32(high), part)
        tied = np.nonzero(upper == np.uint32(high))[0]  # once in two million
        if tied.size:
            part[tied] = words[1::2][tied] < np.uint32(low)
    return out


def bernoulli_each(generator: Any, p: np.ndarray) -> np.ndarray:
    """A bool for each probability of a flat array. The uniform is a double if the probabilities are, else a float32."""
    if p.dtype == _F64:
        return doubles(generator, p.size) < p
    return _singles(generator, p.size) < p.astype(np.float32, copy=False)


def multinomial(generator: Any, weights: np.ndarray, samples: int, replacement: bool) -> np.ndarray:
    """Indices drawn by weight, for each row of a 2-dim array.

    Without replacement: the largest of weight over exponential.
    """
    rows, categories = weights.shape
    if not replacement or samples == 1:
        score = exponential(generator, rows * categories, weights.dtype).reshape(rows, categories)
        with np.errstate(all="ignore"):
            if weights.dtype in (_F32, _F64):
                score = weights / score
            else:
                score = (weights.astype(np.float32) / score.astype(np.float32)).astype(weights.dtype)
        return np.argsort(-score.astype(np.float64), axis=-1, kind="stable")[:, :samples]
    kind = weights.dtype if weights.dtype == _F64 else _F32
    sums = np.add.accumulate(weights.astype(kind), axis=-1)
    sums /= sums[:, -1:].copy()
    sums[:, -1] = 1
    uniforms = doubles(generator, rows * samples).reshape(rows, samples)
    out = np.empty((rows, samples), np.int64)
    for row in range(rows):
        out[row] = np.searchsorted(sums[row].astype(np.float64), uniforms[row])
    return out


class _Ahead:
    """Uniform doubles one by one, drawn ahead; `close` puts back those not used."""

    def __init__(self, generator: Any, expected: int) -> None:
        self.generator, self.mark, self.taken = generator, generator.mark(), 0
        self.chunk = max(16, expected)
        self.rest: list[float] = []

    def __call__(self) -> float:
        if not self.rest:
            self.rest = doubles(self.generator, self.chunk).tolist()[::-1]
        self.taken += 1
        return self.rest.pop()

    def close(self) -> None:
        if self.rest:
            self.generator.rewind(self.mark)
            for start in range(0, self.taken, _BLOCK):
                self.generator.words(2 * min(_BLOCK, self.taken - start))


def poisson(generator: Any, rates: np.ndarray) -> np.ndarray:
    """A Poisson number for each rate of a flat array, as float64."""
    draw = _Ahead(generator, 2 * rates.size)
    out = np.fromiter((_poisson(draw, rate) for rate in rates.astype(np.float64).tolist()), np.float64, rates.size)
    draw.close()
    return out


def _poisson(draw: Callable[[], float], rate: float) -> int:
    if rate == 0:
        return 0
    if rate < 10:  # how many uniforms multiply to more than exp(-rate)
        limit, product, count = math.exp(-rate), draw(), 0
        while product > limit:
            count += 1
            product *= draw()
        return count
    # transformed rejection with squeeze (Hoermann 1993, doi:10.1016/0167-6687(93)90997-4)
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    surely = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = draw() - 0.5
        v = draw()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43) if us > 0 else -1
        if us >= 0.07 and v <= surely:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        bound = -rate + k * log_rate - math.lgamma(k + 1.0)
        if (math.log(v) if v > 0 else -math.inf) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= bound:
            return k


def binomial(generator: Any, counts: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each count and probability of two flat arrays, how many of that many trials succeed, as float64."""
    draw = _Ahead(generator, 2 * counts.size)
    # intermediate results of the arguments' own type are rounded to it
    near = float if counts.dtype == _F64 else lambda value: float(np.float32(value))
    pairs = zip(counts.astype(np.float64).tolist(), probabilities.astype(np.float64).tolist(), strict=True)
    out = np.fromiter((_binomial(draw, n, p, near) for n, p in pairs), np.float64, counts.size)
    draw.close()
    return out


def _binomial(draw: Callable[[], float], n: float, p: float, near: Callable[[float], float]) -> float:
    if n <= 0 or p <= 0:
        return 0.0
    if p >= 1:
        return n
    if math.isnan(p):
        return math.nan
    rarer = near(1.0 - p) if p > 0.5 else p
    successes = (_by_rejection if near(n * rarer) >= 10 else _by_gaps)(draw, n, rarer, near)
    return n - successes if p > 0.5 else successes


def _by_gaps(draw: Callable[[], float], n: float, p: float, near: Callable[[float], float]) -> float:
    """Jump from success to success."""
    scale, total, successes = near(math.log1p(-p)), 0.0, 0
    while True:
        u = draw()
        total += math.ceil(math.log(u) / scale) if u > 0 else math.inf
        if total > n:
            return float(successes)
        successes += 1


def _by_rejection(draw: Callable[[], float], n: float, p: float, near: Callable[[float], float]) -> float:
    """Transformed rejection (Hoermann 1993, doi:10.1080/00949659308811496)."""
    mean = near(n * p)
    deviation = near(math.sqrt(near(mean * near(1 - p))))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    surely = 0.92 - 4.2 / b
    odds = near(p / near(1 - p))
    alpha = (2.83 + 5.1 / b) * deviation
    m = math.floor(near((n + 1) * p))
    while True:
        u = draw() - 0.5
        v = draw()
        us = 0.5 - abs(u)
        if us <= 0:
            continue
        k = math.floor((2 * a / us + b) * u + (mean + 0.5))
        if k < 0 or k > n:
            continue
        if us >= 0.07 and v <= surely:
            return float(k)
        v = math.log(v * alpha / (a / (us * us) + b)) if v > 0 else -math.inf
        bound = (m + 0.5) * math.log((m + 1) / (odds * (n - m + 1))) + (n + 1) * math.log((n - m + 1) / (n - k + 1))
        bound += (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
        bound += _stirling_rest(m) + _stirling_rest(n - m) - _stirling_rest(k) - _stirling_rest(n - k)
        if v <= bound:
            return float(k)


# log(k!) less Stirling's approximation, for k below 10
_STIRLING = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.0104112652619720,
    0.00925546218271273,
    0.00833056343336287,
)


def _stirling_rest(k: float) -> float:
    if k < len(_STIRLING):
        return _STIRLING[int(k)]
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)
