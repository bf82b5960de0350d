"""Rows of triangles, diagonals, norms and products of several tensors."""

from tests.op_rows.tools import call, row

ALL = "dfhl"
INF = float("inf")

for name in "tril triu".split():
    row(name, lambda s: [call(s.real(3, 4)), call(s.real(2, 3, 3), 1), call(s.real(4, 2), -1)], dtypes="dfhlbc")
row("tril_indices", lambda s: [call(3, 4), call(4, 3, 1)], orders=0)
row("triu_indices", lambda s: [call(3, 4), call(4, 3, -1)], orders=0)
row(
    "diag",
    lambda s: [call(s.real(3)), call(s.real(3), -1), call(s.real(3, 4)), call(s.real(3, 4), 1)],
    ops="diagonal_put",
    grad_fn=False,
)
row("diag_embed", lambda s: [call(s.real(2, 3)), call(s.real(2, 3), 1, 0, 2)], ops="diagonal_put", grad_fn=False)
row("diagflat", lambda s: [call(s.real(2, 2)), call(s.real(3), 1)], ops="diagonal_put", grad_fn=False)
row("trace", lambda s: [call(s.real(3, 4)), call(s.real(2, 2))], dtypes="dfl")
row(
    "cross",
    lambda s: [call(s.real(2, 3), s.real(2, 3)), call(s.real(3, 2), s.real(3, 1), 0)],
    ops="linalg_cross",
    dtypes="dfl",
)
row(
    "kron",
    lambda s: [call(s.real(2, 2), s.real(1, 3)), call(s.real(2), s.real(2, 2)), call(s.real(), s.real(2))],
    ops="mul",
    grad_fn=False,
)
row("block_diag", lambda s: [call(s.real(2, 2), s.real(3), s.real())], ops="slice_put", grad_fn=False)
row("cartesian_prod", lambda s: [call(s.real(2), s.real(3))], ops="stack_op", grad_fn=False)
row(
    "combinations",
    lambda s: [call(s.real(4)), call(s.real(3), 2, True), call(s.real(4), 3)],
    ops="index",
    grad_fn=False,
)
row("vander", lambda s: [call(s.real(3)), call(s.real(3), 4, True)], ops="cumprod", grad_fn=False)
row(
    "cov",
    lambda s: [call(s.real(3, 4)), call(s.real(4)), call(s.real(2, 3), correction=0)],
    ops="matmul",
    grad_fn=False,
)
row("corrcoef", lambda s: [call(s.real(3, 4))], ops="matmul", grad_fn=False)
row(
    "trapezoid",
    lambda s: [call(s.real(3, 4)), call(s.real(3, 4), s.apart(4)), call(s.real(3, 4), dx=0.5, dim=0)],
    ops="sum",
    grad_fn=False,
)
row("cumulative_trapezoid", lambda s: [call(s.real(3, 4)), call(s.real(3, 4), s.apart(4))], ops="cumsum", grad_fn=False)
row(
    "gradient",
    lambda s: [call(s.real(3, 4)), call(s.real(4), spacing=0.5, edge_order=2), call(s.real(3, 4), dim=1)],
    ops="cat_op",
    grad_fn=False,
)
row("unravel_index", lambda s: [call(s.ints(0, 12, 5), (3, 4))], orders=0)
row("view_as_real", lambda s: [call(s.real(3) + 1j * s.real(3))], dtypes="d")
row("view_as_complex", lambda s: [call(s.real(3, 2))])
row("ravel", lambda s: [call(s.real(2, 3))], ops="reshape", grad_fn=False)

ORDERS = (2, 1, 0, INF, -INF, 3, 1.5, 0.5, 4, -2)


@lambda f: row("linalg.vector_norm", f, ops="linalg_vector_norm", rtol=1e-8)
def _(s):
    for order in ORDERS:
        yield call(s.apart(2, 3), order)
        yield call(s.apart(3, 2), order, 1, True)
    yield call(s.apart(2, 2, 2), 2, (0, 2))
    yield call(s.nonzero(), 2)


row(
    "norm",
    lambda s: [
        call(s.real(2, 3)),
        call(s.real(2, 3), 1, 1),
        call(s.real(2, 3), 2, 0, True),
        call(s.real(2, 2), "fro", (0, 1)),
    ],
    ops="linalg_vector_norm",
)


@lambda f: row("linalg.matrix_norm", f, ops="linalg_vector_norm svdvals", grad_fn=False, rtol=1e-8)
@lambda f: row("linalg.norm", f, ops="linalg_vector_norm", grad_fn=False, rtol=1e-8) and f
def _(s):
    for order in ("fro", "nuc", 1, -1, 2, -2, INF, -INF):
        yield call(s.apart(2, 3), order)
    yield call(s.apart(2, 2, 3), "fro", (0, 2), True)


row(
    "dist",
    lambda s: [call(s.real(2, 3), s.real(3)), call(s.real(3), s.real(3), 1)],
    ops="linalg_vector_norm",
    grad_fn=False,
)
row(
    "renorm",
    lambda s: [call(s.real(3, 4), 2, 0, 1.0), call(s.real(2, 3), 1, 1, 0.5), call(s.apart(2, 3), 3, 0, 0.5)],
)
row(
    "cdist",
    lambda s: [
        call(s.real(3, 2), s.real(2, 2)),
        call(s.real(2, 2), s.real(2, 2, 2), 2.0, "use_mm_for_euclid_dist"),
        call(s.real(2, 2, 3), s.real(2, 1, 3), 1.0),
        call(s.real(2, 3), s.real(3, 3), INF),
        call(s.real(2, 3), s.real(2, 3), 1.5),
        call(s.real(2, 3), s.real(2, 3), 3.0),
        call(s.real(2, 3), s.real(2, 3), 0.0),
    ],
    ops="norm_of_differences cdist_euclidean",
    grad_fn=False,
    rtol=1e-7,
)
row("logcumsumexp", lambda s: [call(s.real(3, 3), 1), call(s.real(3, 2), 0), call(s.real(), 0)], dtypes="df")
