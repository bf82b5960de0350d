"""Rows of writing and picking by index along a dimension."""

import numpy as np

from tests.op_rows.tools import call, row

ALL = "dfhl"


def places(s, low, high, *shape):
    """Distinct places along each line, so that the order of writing does not matter."""
    lines = np.stack([s.rng.permutation(high - low)[: shape[-1]] + low for _ in range(int(np.prod(shape[:-1])))])
    return lines.reshape(shape)


@lambda f: row("scatter", f, ops="scatter_src scatter_fill", dtypes=ALL)
def _(s):
    yield call(s.real(3, 4), 1, places(s, 0, 4, 3, 2), s.real(3, 2))
    yield call(s.real(3, 4), 1, places(s, 0, 4, 2, 2), s.real(3, 3))
    yield call(s.real(3, 4), -1, s.ints(0, 4, 3, 2), 2.5)
    yield call(s.real(3), 0, places(s, 0, 3, 2), s.real(2))
    yield call(s.real(3, 2), 0, s.ints(0, 3, 0, 2), s.real(0, 2))


@lambda f: row("scatter_add", f, ops="scatter_add", dtypes=ALL)
def _(s):
    yield call(s.real(3, 4), 1, s.ints(0, 4, 3, 6), s.real(3, 6))
    yield call(s.real(3, 4), 0, s.ints(0, 3, 2, 3), s.real(4, 4))
    yield call(s.real(3), 0, s.ints(0, 3, 5), s.real(5))


def reductions(s):
    for how in ("sum", "mean", "prod", "amax", "amin"):
        for include in (True, False):
            yield call(s.apart(2, 4), 1, s.ints(0, 4, 2, 5), s.apart(2, 5) + 0.05, how, include_self=include)


row("scatter_reduce", reductions, ops="scatter_extreme scatter_add", dtypes="dfl", grad_fn=False)
row(
    "index_select",
    lambda s: [
        call(s.real(3, 4), 1, s.ints(0, 4, 6)),
        call(s.real(3, 2), 0, s.ints(0, 3, 2)),
        call(s.real(), 0, s.ints(0, 1, 1)),
    ],
    ops="index_select put_rows",
    dtypes="dfhlbc",
)


@lambda f: row("index_add", f, dtypes=ALL)
def _(s):
    yield call(s.real(3, 4), 1, s.ints(0, 4, 5), s.real(3, 5))
    yield call(s.real(3, 4), 0, s.ints(0, 3, 5), s.real(5, 4), alpha=2)
    yield call(s.real(3), 0, s.ints(0, 3, 4), s.real(4))


@lambda f: row("index_copy", f, dtypes=ALL)
def _(s):
    yield call(s.real(3, 4), 1, places(s, 0, 4, 2), s.real(3, 2))
    yield call(s.real(3), 0, places(s, 0, 3, 2), s.real(2))


row(
    "index_fill",
    lambda s: [call(s.real(3, 4), 1, s.ints(0, 4, 2), 2), call(s.real(3, 2), 0, s.ints(0, 3, 2), s.real())],
    ops="fill_rows masked_fill_op",
    dtypes=ALL,
    grad_fn=False,
)


@lambda f: row("index_put", f, ops="index_put_op", dtypes=ALL)
def _(s):
    yield call(s.real(3, 4), (places(s, 0, 3, 2),), s.real(2, 4))
    yield call(s.real(3, 4), (s.ints(0, 3, 3), s.ints(0, 4, 3)), s.real(3), True)
    yield call(s.real(3, 4), (s.bools(3, 4),), s.real())


row(
    "masked_select",
    lambda s: [call(s.real(3, 4), s.bools(3, 4)), call(s.real(3, 1), s.bools(4)), call(s.real(), s.bools(2))],
    ops="masked_select_op",
    dtypes=ALL,
)
row(
    "masked_scatter",
    lambda s: [call(s.real(3, 4), s.bools(3, 4), s.real(13)), call(s.real(3, 4), s.bools(4), s.real(4, 3))],
    ops="masked_scatter_op",
    dtypes=ALL,
)
row(
    "take",
    lambda s: [call(s.real(3, 4), s.ints(-12, 12, 2, 3)), call(s.real(3), s.ints(0, 3, 5))],
    ops="index",
    grad_fn=False,
)
row(
    "put",
    lambda s: [
        call(s.real(3, 4), places(s, 0, 12, 5), s.real(5)),
        call(s.real(3, 4), s.ints(0, 12, 2, 3), s.real(6), True),
    ],
    ops="index_put_op",
    grad_fn=False,
)
row(
    "take_along_dim",
    lambda s: [
        call(s.real(3, 4), s.ints(0, 4, 3, 2), 1),
        call(s.real(3, 4), s.ints(0, 3, 1, 4), 0),
        call(s.real(3, 4), s.ints(0, 12, 5)),
    ],
    ops="gather",
    grad_fn=False,
)
row(
    "diagonal_scatter",
    lambda s: [call(s.real(3, 4), s.real(3)), call(s.real(3, 4), s.real(3), 1)],
    ops="clone_op",
    grad_fn=False,
)
row("select_scatter", lambda s: [call(s.real(3, 4), s.real(4), 0, 1)], ops="clone_op", grad_fn=False)
row("slice_scatter", lambda s: [call(s.real(3, 4), s.real(3, 2), 1, 1, 3)], ops="clone_op", grad_fn=False)


def row_reductions(s):
    for how in ("mean", "prod", "amax", "amin"):
        for include in (True, False):
            yield call(s.apart(4, 2), 0, s.ints(0, 4, 5), s.apart(5, 2) + 0.05, how, include_self=include)


row("index_reduce", row_reductions, ops="scatter_extreme scatter_add", grad_fn=False)


def strided(s):
    return [call(s.real(3, 3), s.real(2, 2), (2, 2), (1, 2))]


# The derivative for the first operand is PyTorch's, not that of the values: it is not held to differences.
row("as_strided_scatter", strided, orders=0)
row("nonzero_static", lambda s: [call(s.ints(0, 2, 3, 4), size=5), call(s.ints(0, 2, 2), size=4)], orders=0)
