"""Rows of normalisations."""

from tests.op_rows.tools import Fixed, call, row

F = "nn.functional."


@lambda f: row(F + "layer_norm", f, ops="layer_norm", dtypes="dfh", method=False)
def _(s):
    yield call(s.real(3, 4), (4,))
    yield call(s.real(2, 3, 2), (3, 2), s.real(3, 2), s.real(3, 2))
    yield call(s.strided(s.real, 3, 4), (4,), s.real(4), s.real(4), 1e-2)
    yield call(s.real(0, 4), (4,))


@lambda f: row(F + "rms_norm", f, ops="rms_norm", dtypes="df", method=False)
def _(s):
    yield call(s.real(3, 4), (4,))
    yield call(s.real(2, 3, 2), (3, 2), s.real(3, 2), 1e-3)


@lambda f: row(F + "group_norm", f, ops="group_norm", dtypes="dfh", method=False)
def _(s):
    yield call(s.real(2, 4, 3), 2)
    yield call(s.real(2, 4), 2, s.real(4), s.real(4))
    yield call(s.real(1, 3, 2, 2), 1, s.real(3), s.real(3), 1e-2)


def _training(lib, x, weight=None, bias=None):
    return lib.nn.functional.batch_norm(x, None, None, weight, bias, True)


def _evaluation(lib, x, mean, var, weight=None, bias=None):
    return lib.nn.functional.batch_norm(x, mean, var, weight, bias, False)


@lambda f: row(F + "batch_norm training", f, _training, ops="native_batch_norm", dtypes="dfh")
def _(s):
    yield call(s.real(3, 4))
    yield call(s.real(2, 3, 3), s.real(3), s.real(3))
    yield call(s.real(1, 2, 2, 3), s.real(2), s.real(2))


@lambda f: row(F + "batch_norm evaluation", f, _evaluation, ops="native_batch_norm", dtypes="dfh")
def _(s):
    yield call(s.real(3, 4), Fixed(s.real(4)), Fixed(s.positive(4)))
    yield call(s.real(2, 3, 2), Fixed(s.real(3)), Fixed(s.positive(3)), s.real(3), s.real(3))


@lambda f: row(F + "instance_norm", f, ops="native_batch_norm", dtypes="df", method=False)
def _(s):
    yield call(s.real(2, 3, 4))
    yield call(s.real(2, 2, 2, 3), None, None, s.real(2), s.real(2))


row(
    F + "local_response_norm",
    lambda s: [call(s.real(2, 4, 2), 3, 0.1, 0.7, 1.2), call(s.real(1, 3, 2, 2), 2)],
    ops="div",
    dtypes="df",
    method=False,
)
