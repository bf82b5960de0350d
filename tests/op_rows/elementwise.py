"""Rows of functions of one tensor, element by element."""

from tests.op_rows.tools import call, row

ALL = "dfhlb"


def unary(name, domain, dtypes=ALL, **options):
    row(name, lambda s: s.unary(getattr(s, domain)), dtypes=dtypes, **options)


for name in (
    "abs neg sgn sign exp exp2 expm1 sin cos tanh atan sinh cosh asinh sigmoid positive deg2rad rad2deg frac "
    "conj_physical"
).split():
    kinds = ALL + ("c" if name not in ("sign", "deg2rad", "rad2deg", "frac") else "")
    unary(name, "apart", dtypes=kinds, grad_fn=name != "conj_physical")
for name in "sqrt rsqrt reciprocal log log2 log10 log1p square".split():
    unary(name, "positive", ALL + "c")
for name in "asin acos atanh tan".split():
    unary(name, "unit", ALL + "c")
for name in "floor ceil trunc nan_to_num".split():
    unary(name, "apart")
unary("round", "unit")
row("acosh", lambda s: s.unary(lambda *shape: s.uniform(1.2, 3, *shape)), dtypes=ALL)
row("angle", lambda s: s.unary(s.nonzero), dtypes="dflb")
row("real", lambda s: [call(s.real(3) + 1j * s.real(3))], dtypes="d", method=False)
row("imag", lambda s: [call(s.real(3) + 1j * s.real(3))], dtypes="d", method=False)
row(
    "round decimals",
    lambda s: [call(s.apart(5) + 0.01, decimals=1)],
    lambda lib, x, decimals: lib.round(x, decimals=decimals),
    ops="round",
)

for name in "isnan isinf isfinite isposinf isneginf isreal signbit logical_not".split():
    unary(name, "apart", orders=0)
row("bitwise_not", lambda s: [call(s.ints(-9, 9, 3, 2)), call(s.bools(4))], orders=0)
