"""Writes special.json: values of special functions to the last bit, by mpmath (`pip install mpmath`) at 60 digits.

    python tests/recorded/make_special.py

Per function a list of [arguments..., value]. Arguments are doubles: over the whole range by their logarithm, at random
where the function changes, and where methods meet.
"""

import json
import random
from pathlib import Path

import mpmath as mp

mp.mp.dps = 60
draw = random.Random(0)
ROOT = mp.sqrt(2)


def wide(low, high, count):
    """Numbers whose logarithms are even."""
    a, b = mp.log(low), mp.log(high)
    return [float(mp.exp(a + (b - a) * draw.random())) for _ in range(count)]


def even(low, high, count):
    return [draw.uniform(low, high) for _ in range(count)]


def ndtr(x):
    return mp.erfc(-x / ROOT) / 2


def _root(log_below, log_slope, log_y, x):
    """Where the logarithm of a distribution function is log y: by Newton's method."""
    for _ in range(200):
        step = (log_below(x) - log_y) / log_slope(x)
        x -= step
        if abs(step) <= abs(x) * mp.mpf(10) ** -50:
            return x
    raise ValueError(log_y)


def ndtri(y):
    if y > 0.5:
        return -ndtri(1 - y)
    slope = lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) / ndtr(x)
    return _root(lambda x: mp.log(ndtr(x)), slope, mp.log(y), -mp.sqrt(-2 * mp.log(y)))


def erfinv(y):
    if abs(y) < 0.5:
        return y * mp.sqrt(mp.pi) / 2 if abs(y) < 1e-40 else mp.findroot(lambda x: mp.erf(x) - y, y)
    return mp.sign(y) * -ndtri((1 - abs(y)) / 2) / ROOT


def lgamma(x):
    if x > 0:
        return mp.loggamma(x)
    return mp.log(mp.pi / abs(mp.sinpi(x) * x)) - mp.loggamma(-x)


def zeta(s, q):
    with mp.workdps(400):
        return mp.zeta(s, q)


def igamma(a, x):
    return mp.gammainc(a, 0, x, regularized=True)


def igammac(a, x):
    return mp.gammainc(a, x, mp.inf, regularized=True)


SIGNED = [*even(-6, 6, 16), *wide(1e-310, 1, 6), *(-v for v in wide(1e-310, 1, 3)), 0.84375, 1.25, 1 / 0.35, 5e-324]
POSITIVE = [*even(0, 12, 14), *wide(1e-310, 1, 6), *wide(1, 600, 8), 2.0, 5.0, 8.0, 10.0]
POLES = [-0.5, -1.25, -2.0000001, -3.75, -7.5, -40.3, -1000.125]
SHARES = [*even(0, 1, 14), *wide(1e-310, 0.5, 8), *(1 - v for v in wide(1.2e-16, 0.5, 6))]

UNARY = {
    "erf": (mp.erf, SIGNED),
    "erfc": (mp.erfc, [*SIGNED, *even(0, 27, 10)]),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), [*SIGNED, *even(-26.6, 100, 8), *wide(100, 1e6, 4)]),
    "erfinv": (erfinv, [*SHARES, *(-v for v in even(0, 1, 4))]),
    "ndtr": (ndtr, [*SIGNED, *even(-38, 9, 12)]),
    "log_ndtr": (
        lambda x: mp.log(ndtr(x)) if x < 0 else mp.log1p(-ndtr(-x)),
        [*SIGNED, *even(-38, 38, 12), *(-v for v in wide(38, 1e6, 4))],
    ),
    "ndtri": (ndtri, SHARES),
    "lgamma": (lgamma, [*POSITIVE, *even(0.8, 2.2, 10), *wide(600, 1e300, 4), *POLES]),
    "digamma": (mp.digamma, [*POSITIVE, *even(0.8, 3.2, 10), *wide(600, 1e300, 4), *POLES, 1.4616321449683623]),
    "polygamma 1": (lambda x: mp.polygamma(1, x), [*even(0, 12, 10), *wide(1e-100, 1, 4), *wide(1, 1e6, 4), *POLES]),
    "polygamma 4": (lambda x: mp.polygamma(4, x), [*even(0, 12, 10), *wide(1e-50, 1, 4), *wide(1, 1e3, 4), *POLES]),
    "i0": (lambda x: mp.besseli(0, x), POSITIVE),
    "i0e": (lambda x: mp.exp(-x) * mp.besseli(0, x), POSITIVE),
    "i1": (lambda x: mp.besseli(1, x), POSITIVE),
    "i1e": (lambda x: mp.exp(-x) * mp.besseli(1, x), POSITIVE),
    "modified_bessel_k0": (lambda x: mp.besselk(0, x), POSITIVE),
    "modified_bessel_k1": (lambda x: mp.besselk(1, x), [x for x in POSITIVE if x > 1e-300]),
    "scaled_modified_bessel_k0": (lambda x: mp.exp(x) * mp.besselk(0, x), POSITIVE),
    "scaled_modified_bessel_k1": (lambda x: mp.exp(x) * mp.besselk(1, x), [x for x in POSITIVE if x > 1e-300]),
    "bessel_j0": (lambda x: mp.besselj(0, x), [*POSITIVE, *wide(600, 1e15, 6), 2.404825557695773]),
    "bessel_j1": (lambda x: mp.besselj(1, x), [*POSITIVE, *wide(600, 1e15, 6)]),
    "bessel_y0": (lambda x: mp.bessely(0, x), [*POSITIVE, *wide(600, 1e15, 6)]),
    "bessel_y1": (lambda x: mp.bessely(1, x), [*(x for x in POSITIVE if x > 1e-300), *wide(600, 1e15, 6)]),
    "airy_ai": (mp.airyai, [*even(-2.1, 9, 14), *even(9, 103, 5), *(-v for v in wide(2.1, 1e10, 10))]),
}
SHAPES = [*zip(wide(1e-3, 50, 14), wide(1e-3, 60, 14)), *((a, a * draw.uniform(0.4, 1.8)) for a in wide(20, 1000, 12))]
SHAPES += [(1e-20, 0.3), (1e-300, 2.0), (1e5, 1.001e5), (1e6, 0.998e6), (1.0, 1e-300), (0.5, 30.0), (150.0, 150.0)]
BINARY = {
    "zeta": (zeta, [*zip(even(1, 20, 10), wide(1e-3, 1e3, 10)), (2.0, -0.75), (3.0, -7.3), (5.0, -0.01), (1.001, 2.0)]),
    "igamma": (igamma, SHAPES),
    "igammac": (igammac, SHAPES),
}


def rows(function, arguments):
    for each in arguments:
        value = float(mp.re(function(*map(mp.mpf, each))))
        if abs(value) > 1e-300:  # rounding is another thing below
            yield [*each, value]


table = {name: list(rows(f, [(x,) for x in xs])) for name, (f, xs) in UNARY.items()}
table |= {name: list(rows(f, pairs)) for name, (f, pairs) in BINARY.items()}
lines = [f"{json.dumps(name)}: [\n  " + ",\n  ".join(map(json.dumps, t)) + "\n]" for name, t in table.items()]
Path(__file__).with_name("special.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
