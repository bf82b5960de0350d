"""Rows of activations and softmax."""

from tests.op_rows.tools import Fixed, call, row

F = "nn.functional."
ALL = "dfhlbc"


def unary(name, make="apart", *args, ops=None, dtypes=ALL, **options):
    row(F + name, lambda s: s.unary(getattr(s, make), *args), ops=ops or name, dtypes=dtypes, method=False, **options)


for name in "relu hardtanh leaky_relu elu gelu silu mish softplus hardswish".split():
    unary(name, dtypes=ALL if name != "silu" else "dfhlb")
unary("hardshrink", "apart", 0.6)
unary("softshrink", "apart", 0.6)
unary("relu6", ops="hardtanh")
unary("selu", ops="elu")
unary("celu", "apart", 0.5)  # a power of two: PyTorch rounds its inverse to float32
unary("logsigmoid", ops="log_sigmoid")
unary("hardsigmoid", rtol=1e-7)
unary("threshold", "apart", 0.3, -5.0)
unary("tanhshrink", ops="tanh")
unary("softsign", ops="div")
unary("rrelu", ops="rrelu_with_noise")
row("erf", lambda s: s.unary(s.apart), dtypes="dfhlb")
row(
    F + "gelu tanh",
    lambda s: s.unary(s.apart),
    lambda lib, x: lib.nn.functional.gelu(x, approximate="tanh"),
    ops="gelu",
)
row(
    F + "elu_",
    lambda s: s.unary(s.apart),
    lambda lib, x: lib.nn.functional.elu(x * 1, 0.7, inplace=True),
    ops="elu",
    grad_fn=False,
)
row(F + "relu_", lambda s: s.unary(s.apart), lambda lib, x: lib.nn.functional.relu(x * 1, inplace=True), ops="relu")
row(
    F + "softplus scaled",
    lambda s: s.unary(s.apart, 2.0, 1.3),
    lambda lib, x, b, t: lib.nn.functional.softplus(x, b, t),
    ops="softplus",
)


@lambda f: row(F + "prelu", f, ops="prelu_kernel", dtypes="dfh", method=False)
def _(s):
    yield call(s.apart(2, 3, 2), s.positive(3))
    yield call(s.apart(2, 3), s.positive(1))
    yield call(s.apart(), s.positive(1))


@lambda f: row(F + "glu", f, ops="glu", dtypes="dfhl", method=False)
def _(s):
    yield call(s.real(3, 4))
    yield call(s.real(4, 3), 0)
    yield call(s.strided(s.real, 2, 6), -1)


def along(s):
    """Every dimension, zero-dim, empty and odd strides."""
    yield call(s.real(3, 4), 1)
    yield call(s.real(3, 4), 0)
    yield call(s.real(2, 3, 2), -2)
    yield call(s.real(), 0)
    yield call(s.real(0, 3), 1)
    yield call(s.strided(s.real, 2, 3), -1)
    yield call(s.real(3) * 100, 0)


row("softmax", along, dtypes="dfh")
row("log_softmax", along, dtypes="dfh")
row(F + "softmin", along, ops="softmax", dtypes="dfh", method=False)


@lambda f: row("logsumexp", f, dtypes="dfhl")
def _(s):
    yield call(s.real(3, 4), 1)
    yield call(s.real(2, 3, 2), (0, 2), True)
    yield call(s.uniform(-50, 50), 0)


row(
    F + "hardtanh limits",
    lambda s: s.unary(s.apart, -0.7, 0.9),
    lambda lib, x, a, b: lib.nn.functional.hardtanh(x, a, b),
    ops="hardtanh",
)
row(
    F + "leaky_relu steep",
    lambda s: [call(s.apart(3, 4), 1.3), call(s.apart(5), -0.2)],
    lambda lib, x, slope: lib.nn.functional.leaky_relu(x, slope),
    ops="leaky_relu",
)
row(
    F + "threshold of a constant",
    lambda s: [call(Fixed(s.apart(4)), 0.1, 2.0)],
    lambda lib, x, t, v: lib.nn.functional.threshold(x, t, v),
    ops="threshold",
    orders=0,
)
