"""Rows of functions of several tensors, element by element."""

from tests.op_rows.tools import Fixed, call, row

ALL = "dfhlb"


def binary(name, first="real", second=None, dtypes=ALL, **options):
    row(name, lambda s: s.binary(getattr(s, first), getattr(s, second or first)), dtypes=dtypes, **options)


binary("add", dtypes=ALL + "c")
binary("sub", dtypes=ALL + "c")
binary("mul", dtypes=ALL + "c")
binary("complex", dtypes="df", ops="complex_op", method=False)
binary("rsub", method=False)
binary("div", "real", "nonzero", ALL + "c")
binary("true_divide", "real", "nonzero", ops="div")
binary("atan2", "nonzero")
binary("maximum", "apart", "unit")
binary("minimum", "apart", "unit")
binary("fmax", "apart", "unit")
binary("fmin", "apart", "unit")
binary("hypot", "nonzero", dtypes="df")
binary("copysign", "nonzero")
binary("logaddexp", dtypes="dfh")
binary("logaddexp2", dtypes="dfh")
binary("xlogy", "real", "positive")
binary("pow", "positive", "real", ops="pow_tensor", dtypes="dfhb")
binary("float_power", "positive", "real", ops="pow_tensor", grad_fn=False)


@lambda f: row("remainder", f, dtypes="dfhl", gradcheck={"eps": 1e-7})
def _(s):
    yield call(s.apart(4, 3), s.uniform(7.0, 8.0, 3))
    yield call(s.apart(4), -7.3)
    yield call(s.apart(), s.uniform(-8.5, -7.5, 2))


row("fmod", lambda s: [call(s.apart(4, 3), s.uniform(7.0, 8.0, 3)), call(s.apart(4), -7.3)], dtypes="dfhl")
row(
    "floor_divide",
    lambda s: [call(s.apart(4, 3), Fixed(s.uniform(7.0, 8.0, 3))), call(s.apart(4), 2)],
    dtypes="dfhl",
    orders=0,
)
row(
    "div floor",
    lambda s: [call(s.apart(4, 3), s.uniform(7.0, 8.0, 3))],
    lambda lib, a, b: lib.div(a, b, rounding_mode="floor"),
    ops="floor_divide",
    orders=0,
)
row(
    "div trunc",
    lambda s: [call(s.apart(4, 3), s.uniform(7.0, 8.0, 3))],
    lambda lib, a, b: lib.div(a, b, rounding_mode="trunc"),
    ops="trunc_divide",
    orders=0,
)
row("floor_divide gradient", lambda s: [call(s.apart(4, 3))], lambda lib, a: (a / 1.5).floor() + a, ops="floor")


@lambda f: row("pow number", f, lambda lib, x, p: x**p, ops="pow_scalar", dtypes="dfhc", rtol=1e-8)
def _(s):
    for exponent in (0, 1, 2, 3, 4, 0.5, -1, -2, 1.7):
        yield call(s.positive(3, 2), exponent)
    yield call(s.nonzero(4), 3)
    yield call(s.nonzero(4), -2)


row(
    "pow base",
    lambda s: [call(2.5, s.real(3)), call(2, s.real(3, 1))],
    lambda lib, b, x: b**x,
    ops="pow_base",
    dtypes="dfh",
)
row("rsub number", lambda s: [call(s.real(3))], lambda lib, x: 2.5 - x, ops="rsub", dtypes="dfhl")


@lambda f: row("lerp", f, dtypes="df")
def _(s):
    yield call(s.real(3, 2), s.real(3, 2), 0.3)
    yield call(s.real(3, 2), s.real(2), s.uniform(0.1, 0.4, 3, 2))
    yield call(s.real(3), s.real(1), s.uniform(0.6, 0.9, 3))


row(
    "addcmul",
    lambda s: [call(s.real(2, 3), s.real(2, 1), s.real(3)), call(s.real(3), s.real(3), s.real(3), value=0.5)],
    dtypes="dfh",
)
row(
    "addcdiv",
    lambda s: [call(s.real(2, 3), s.real(2, 1), s.nonzero(3)), call(s.real(3), s.real(3), s.nonzero(3), value=2)],
    dtypes="dfh",
)
row(
    "add alpha",
    lambda s: [call(s.real(2, 3), s.real(3))],
    lambda lib, a, b: lib.add(a, b, alpha=3),
    ops="add",
    dtypes="dfhl",
)
row(
    "sub alpha",
    lambda s: [call(s.real(2, 3), s.real(3))],
    lambda lib, a, b: lib.sub(a, b, alpha=2),
    ops="sub",
    dtypes="dfhl",
)


@lambda f: row("where", f, ops="where_op", method=False, dtypes="dfhlb")
def _(s):
    yield call(s.bools(3, 2), s.real(3, 2), s.real(2))
    yield call(s.bools(2), s.real(3, 1), s.real())
    yield call(s.bools(0, 2), s.real(2), s.real(1, 1))


for name in "eq ne lt le gt ge logical_and logical_or logical_xor".split():
    row(name, lambda s: [*s.binary(s.real), call(s.ints(0, 3, 4), s.ints(0, 3, 4))], orders=0, dtypes=ALL)
for name in "bitwise_and bitwise_or bitwise_xor".split():
    row(name, lambda s: [call(s.ints(0, 99, 3, 2), s.ints(0, 99, 2)), call(s.bools(3), s.bools(3))], orders=0)
for name in "bitwise_left_shift bitwise_right_shift".split():
    row(name, lambda s: [call(s.ints(0, 99, 3, 2), s.ints(0, 5, 2)), call(s.ints(-9, 9, 3), 2)], orders=0)


@lambda f: row("clamp", f, ops="clamp_number clamp_tensor", dtypes="dfhl")
def _(s):
    yield call(s.apart(3, 4), -0.6, 0.9)
    yield call(s.apart(3, 4), min=0.2)
    yield call(s.apart(3, 4), max=0.2)
    yield call(s.apart(5), 1.5, -1.5)
    yield call(s.apart(3, 2), s.uniform(-1, -0.5, 2), s.uniform(0.5, 1, 3, 1))
    yield call(s.apart(3), s.unit(3))
    yield call(s.apart(3), max=s.unit(3))


row("clamp_min", lambda s: [call(s.apart(4), 0.2)], ops="clamp_number", dtypes="dfhl")
row("clamp_max", lambda s: [call(s.apart(4), 0.2)], ops="clamp_number", dtypes="dfhl")


@lambda f: row("masked_fill", f, lambda lib, x, m, v: x.masked_fill(m, v), ops="masked_fill_op", dtypes="dfhl")
def _(s):
    yield call(s.real(3, 4), s.bools(4), 2)
    yield call(s.real(3, 4), s.bools(3, 1), s.real())
    yield call(s.real(2, 3), s.bools(2, 3), 0.5)


row(
    "rsub alpha",
    lambda s: [call(s.real(2, 3), s.real(3))],
    lambda lib, a, b: lib.rsub(a, b, alpha=2),
    ops="rsub",
    grad_fn=False,
)
row("empty operands", lambda s: [call(s.real(0, 1, 3), s.real(0, 4, 3))], lambda lib, a, b: a * b, ops="mul")
