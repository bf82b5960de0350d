"""Rows of sums and their kin, sorting and selection."""

from tests.op_rows.tools import call, row


def reducing(make, dims=True):
    """Calls over all elements, one dimension, several, with keepdim, of zero-dim, empty and odd-strided operands."""

    def samples(s):
        f = getattr(s, make)
        yield call(f(3, 4))
        yield call(f(3, 4), 1)
        yield call(f(2, 3, 2), -2, True)
        if dims:
            yield call(f(2, 3, 2), (0, 2))
            yield call(f(2, 3), (0, 1), keepdim=True)
        yield call(f())
        yield call(s.strided(f, 3, 2), 0)

    return samples


def with_empty(samples):
    def more(s):
        yield from samples(s)
        yield call(s.real(0, 3))
        yield call(s.real(0, 3), 0)
        yield call(s.real(0, 3), 1)

    return more


row("sum", with_empty(reducing("real")), dtypes="dfhlbc")
row("mean", with_empty(reducing("real")), dtypes="dfhlc")
row("nansum", with_empty(reducing("real")), dtypes="dfl")
row("nanmean", reducing("real"), ops="nansum", dtypes="df", grad_fn=False)
row("prod", with_empty(reducing("nonzero", False)), ops="prod_all prod_dim", dtypes="dflb")
row(
    "prod zeros",
    lambda s: [call(s.nonzero(3, 3) * [[1, 0, 1], [0, 1, 0], [1, 1, 1]], 1), call(s.nonzero(3) * [1, 0, 1])],
    lambda lib, x, *d: lib.prod(x, *d),
    ops="prod_all prod_dim",
)
row("amax", reducing("apart"), dtypes="dfhlb")
row("amin", reducing("apart"), dtypes="dfhlb")
row("max", lambda s: [*reducing("apart", False)(s), call(s.apart(3), s.unit(3))], ops="max_all max_dim", dtypes="dfhlb")
row("min", lambda s: [*reducing("apart", False)(s), call(s.apart(3), s.unit(3))], ops="min_all min_dim", dtypes="dfhlb")
row("any", with_empty(reducing("real")), orders=0, dtypes="dflb")
row("all", with_empty(reducing("real")), orders=0, dtypes="dflb")
row("argmax", reducing("apart", False), orders=0, dtypes="dfl")
row("argmin", reducing("apart", False), orders=0, dtypes="dfl")
row("count_nonzero", lambda s: [call(s.real(3, 4)), call(s.ints(0, 2, 3, 4), 1)], ops="sum", orders=0)


@lambda f: row("var", f, ops="var_op", dtypes="dfc")
@lambda f: row("std", f, ops="std_op", dtypes="dfc") and f
def _(s):
    yield call(s.real(3, 4))
    yield call(s.real(3, 4), 1)
    yield call(s.real(2, 3, 2), (0, 2), correction=0)
    yield call(s.real(2, 3), 1, False, True)
    yield call(s.real(2, 3), False)
    yield call(s.strided(s.real, 4, 3), 0, keepdim=True)


row("var_mean", lambda s: [call(s.real(3, 4)), call(s.real(3, 4), 1)], ops="var_op mean", grad_fn=False)
row("std_mean", lambda s: [call(s.real(3, 4)), call(s.real(3, 4), 1)], ops="std_op mean", grad_fn=False)


@lambda f: row("cumsum", f, dtypes="dfhlb")
@lambda f: row("cumprod", f, dtypes="dflb") and f
def _(s):
    yield call(s.nonzero(3, 3), 1)
    yield call(s.nonzero(3, 2), 0)
    yield call(s.nonzero(), 0)
    yield call(s.nonzero(0, 2), 0)


@lambda f: row("median", f, ops="median_all median_dim", places=False)
@lambda f: row("nanmedian", f, ops="median_all median_dim", places=False, grad_fn=False) and f
def _(s):
    yield call(s.apart(3, 4))
    yield call(s.apart(3, 4), 1)
    yield call(s.apart(4, 3), 0, True)
    yield call(s.apart(), 0)


@lambda f: row("sort", f, ops="sort_op put_places", dtypes="dfh")
def _(s):
    yield call(s.apart(3, 4))
    yield call(s.apart(3, 4), 0)
    yield call(s.apart(3, 4), dim=1, descending=True)
    yield call(s.apart(2, 3), stable=True, dim=0, descending=True)
    yield call(s.apart())
    yield call(s.apart(0, 3), 0)


row("argsort", lambda s: [call(s.apart(3, 4)), call(s.apart(3, 4), 0, True)], ops="sort_op", orders=0)
row("msort", lambda s: [call(s.apart(3, 4))], ops="sort_op", grad_fn=False)
row(
    "topk",
    lambda s: [call(s.apart(3, 5), 2), call(s.apart(5, 2), 3, 0, False), call(s.apart(), 1), call(s.apart(4), 0)],
    ops="topk_op",
)
row(
    "kthvalue",
    lambda s: [call(s.apart(3, 5), 2), call(s.apart(5, 2), 3, 0, True), call(s.apart(), 1)],
    ops="kthvalue_op",
)
row("mode", lambda s: [call(s.apart(3, 4)), call(s.apart(3, 4), 0, True)], ops="mode_op")
row("cummax", lambda s: [call(s.apart(3, 4), 1), call(s.apart(3, 4), 0), call(s.apart(), 0)], ops="cummax_op")
row("cummin", lambda s: [call(s.apart(3, 4), 1), call(s.apart(3, 4), 0), call(s.apart(), 0)], ops="cummin_op")
row("aminmax", lambda s: [call(s.apart(3, 4)), call(s.apart(3, 4), dim=1)], ops="amin amax", grad_fn=False)


@lambda f: row("quantile", f, ops="sort_op gather lerp", grad_fn=False)
@lambda f: row("nanquantile", f, ops="sort_op gather lerp", grad_fn=False) and f
def _(s):
    yield call(s.apart(3, 4), 0.3)
    yield call(s.apart(3, 4), 0.6, 1, True)
    yield call(s.apart(4, 3), 0.6, 0, interpolation="nearest")
    yield call(s.apart(4, 3), 0.4, 0, interpolation="midpoint")


row(
    "unique",
    lambda s: [call(s.ints(0, 4, 3, 4), True, True, True), call(s.ints(0, 2, 5, 2), dim=0)],
    orders=0,
    ops="",
    method=False,
)
row(
    "unique_consecutive",
    lambda s: [call(s.ints(0, 2, 9), True, True), call(s.ints(0, 2, 5, 2), dim=0)],
    orders=0,
    method=False,
)
row("nonzero", lambda s: [call(s.ints(0, 2, 3, 4)), call(s.ints(0, 2, 3), as_tuple=True)], orders=0)
row("argwhere", lambda s: [call(s.ints(0, 2, 3, 4))], orders=0)
row("bincount", lambda s: [call(s.ints(0, 5, 9)), call(s.ints(0, 5, 9), minlength=8)], orders=0)
row("histc", lambda s: [call(s.real(9), 4), call(s.real(9), 4, -1, 1)], orders=0)
row(
    "searchsorted",
    lambda s: [call(s.apart(4).cumsum() ** 2, s.real(3, 2)), call(s.ints(0, 3, 2, 5).cumsum(1), s.ints(0, 9, 2, 3))],
    orders=0,
)
row("bucketize", lambda s: [call(s.real(3), s.apart(4) * 0 + [0, 1, 2, 3], right=True)], orders=0)
row("isin", lambda s: [call(s.ints(0, 9, 3, 4), s.ints(0, 9, 4))], orders=0)
row(
    "diff",
    lambda s: [call(s.real(3, 4)), call(s.real(4, 2), 2, 0), call(s.real(3), prepend=s.real(2))],
    ops="sub",
    grad_fn=False,
)
