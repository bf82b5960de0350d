"""Rows of special functions, and of functions of bits and parts of numbers."""

from tests.op_rows.tools import Fixed, call, row

ALL = "dfhlb"


def unary(name, domain, dtypes=ALL, **options):
    row(name, lambda s: s.unary(getattr(s, domain)), dtypes=dtypes, rtol=1e-8, **options)


unary("erf", "real")
unary("erfc", "real")
unary("erfinv", "unit", "df")
unary("lgamma", "positive")
unary("digamma", "positive")
unary("i0", "apart", ops="i0 i1")
unary("sinc", "nonzero")
unary("logit", "positive", "d", orders=0)
row(
    "logit inside",
    lambda s: [call(s.uniform(0.1, 0.9, 3)), call(s.uniform(0.3, 0.7, 2, 2), 0.1), call(s.uniform(0, 1, 5), 0.3)],
    lambda lib, x, *eps: lib.logit(x, *eps),
    ops="logit",
    rtol=1e-8,
)
row("polygamma", lambda s: [call(n, s.positive(4)) for n in (0, 1, 2, 3)], ops="polygamma_op", method=False, rtol=1e-8)
row("mvlgamma", lambda s: [call(s.uniform(2, 4, 3), 3)], ops="lgamma", grad_fn=False, rtol=1e-8)
row("igamma", lambda s: [call(Fixed(s.positive(3)), s.positive(3))], rtol=1e-7)
row("igammac", lambda s: [call(Fixed(s.positive(3)), s.positive(3))], rtol=1e-7)
for name in "erfcx i1 log_ndtr ndtr".split():
    unary("special." + name, "apart", "df", grad_fn=name != "ndtr")
for name in "i0e i1e".split():
    unary("special." + name, "nonzero", "df", ops="special_" + name)
for name in "entr psi".split():
    unary("special." + name, "positive", "df", ops={"entr": "entr", "psi": "digamma"}[name])
row("special.ndtri", lambda s: [call(s.uniform(0.1, 0.9, 4))], rtol=1e-8)
row("special.xlog1py", lambda s: s.binary(s.real, s.positive))
row("special.zeta", lambda s: [call(Fixed(s.uniform(1.5, 4, 3)), s.positive(3))], rtol=1e-7)
for name in (
    "bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 "
    "scaled_modified_bessel_k1 spherical_bessel_j0 airy_ai"
).split():
    unary("special." + name, "positive", "df", orders=0)

row("gcd", lambda s: [call(s.ints(-20, 20, 3, 4), s.ints(-20, 20, 4))], orders=0)
row("lcm", lambda s: [call(s.ints(-20, 20, 3, 4), s.ints(-20, 20, 4))], orders=0)
row(
    "ldexp",
    lambda s: [call(s.real(3, 2), s.ints(-3, 4, 2)), call(s.real(2), s.real(2))],
    ops="ldexp",
)
row("heaviside", lambda s: [call(s.ints(-1, 2, 3, 4) * 0.5, s.real(4))], orders=0)
row("nextafter", lambda s: [call(s.real(3, 2), s.real(2))], orders=0)
row("frexp", lambda s: [call(s.nonzero(3, 4) * 5)], ops="frexp_op", grad_fn=False)

for name in (
    "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w hermite_polynomial_h "
    "hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p shifted_chebyshev_polynomial_t "
    "shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w"
).split():
    row(
        "special." + name,
        lambda s: [
            call(s.uniform(-1.5, 1.5, 3, 12), s.ints(-1, 12, 12) * 1.0),
            call(s.uniform(-1, 1, 4), 3),
            call(s.ints(-1, 2, 5) * 1.0, s.ints(0, 30, 5) * 1.0),
        ],
        ops=name,
        orders=0,
        dtypes="df",
        rtol=1e-8,
    )

row("polar", lambda s: s.binary(s.positive, s.real), ops="polar_op", rtol=1e-8)
