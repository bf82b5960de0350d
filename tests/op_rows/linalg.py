"""Rows of linear algebra."""

import numpy as np

from tests.op_rows.tools import call, row


def square(s, *shape):
    return s.matrix(*shape)


def positive(lib, x):
    """A symmetric positive definite matrix from any."""
    return x @ x.mT + 0.5 * lib.eye(x.shape[-1], dtype=x.dtype)


def squares(s):
    return [call(s.matrix(3, 3)), call(s.matrix(2, 2, 2)), call(s.matrix(1, 1))]


OPTIONS = {"grad_fn": False, "rtol": 1e-8}
row("linalg.inv", squares, ops="linalg_inv", dtypes="dfc", **OPTIONS)
row("linalg.det", squares, ops="linalg_det", dtypes="dfc", **OPTIONS)
row(
    "linalg.det singular",
    lambda s: [call(np.outer([1.0, 2.0, 0.5], [2.0, 1.0, -1.0]) + np.outer([0.3, 1, 2], [1.0, 0, 1]))],
    lambda lib, a: lib.linalg.det(a),
    ops="linalg_det",
    orders=1,
    grad_fn=False,
    rtol=1e-7,
)
row("linalg.slogdet", squares, ops="linalg_slogdet", **OPTIONS)
row("logdet", lambda s: [call(s.matrix(3, 3)), call(s.matrix(2, 2))], ops="linalg_slogdet", **OPTIONS)
for _name in "inverse det slogdet matrix_exp pinverse".split():
    row(
        _name,
        lambda s: [call(s.matrix(3, 3))],
        ops={"inverse": "linalg_inv", "pinverse": "linalg_pinv"}.get(_name, "linalg_" + _name),
        **OPTIONS,
    )


@lambda f: row("linalg.solve", f, ops="linalg_solve_matrix", dtypes="dfc", **OPTIONS)
def _(s):
    yield call(s.matrix(3, 3), s.real(3, 2))
    yield call(s.matrix(3, 3), s.real(3))
    yield call(s.matrix(2, 2, 2), s.real(2, 1))
    yield call(s.matrix(2, 2), s.real(3, 2), left=False)


row(
    "linalg.solve_triangular",
    lambda s: [
        call(s.matrix(3, 3), s.real(3, 2), upper=True),
        call(s.matrix(2, 2), s.real(2, 2), upper=False),
        call(s.matrix(2, 2), s.real(2, 2), upper=False, unitriangular=True),
        call(s.matrix(2, 2), s.real(1, 2), upper=True, left=False),
    ],
    ops="linalg_solve_triangular",
    **OPTIONS,
)
row(
    "linalg.cholesky",
    lambda s: [call(s.matrix(3, 3)), call(s.matrix(2, 2, 2))],
    lambda lib, x: lib.linalg.cholesky(positive(lib, x)),
    ops="linalg_cholesky",
    **OPTIONS,
)
row(
    "linalg.cholesky upper",
    lambda s: [call(s.matrix(2, 2))],
    lambda lib, x: lib.linalg.cholesky(positive(lib, x), upper=True),
    ops="linalg_cholesky",
    **OPTIONS,
)
row(
    "linalg.cholesky refused",
    lambda s: [call(s.matrix(2, 2)), call(-s.matrix(2, 2))],
    lambda lib, x: lib.linalg.cholesky(x if x[0, 0] < 0 else positive(lib, x)),
    orders=0,
)
row("cholesky_solve", lambda s: [call(s.real(3, 2), s.matrix(3, 3))], orders=0, **OPTIONS)
row(
    "cholesky_solve by a triangle",
    lambda s: [call(s.real(3, 2), s.matrix(3, 3))],
    lambda lib, b, a: lib.cholesky_solve(b, a.tril()),
    ops="cholesky_solve",
    **OPTIONS,
)
row("cholesky_inverse", lambda s: [call(np.tril(s.matrix(3, 3)))], ops="cholesky_solve", orders=0, **OPTIONS)
row(
    "linalg.qr",
    lambda s: [call(s.real(4, 3)), call(s.matrix(3, 3)), call(s.real(2, 4)), call(s.real(2, 3, 2))],
    ops="linalg_qr",
    **OPTIONS,
)
row("linalg.svdvals", lambda s: [call(s.real(3, 2)), call(s.real(2, 2, 3))], ops="svdvals", **OPTIONS)


def svd_parts(lib, x):
    """What of a decomposition does not depend on the signs of its vectors."""
    u, s, vh = lib.linalg.svd(x, full_matrices=False)
    return (u.abs(), s, vh.abs(), (u * lib.sin(s).unsqueeze(-2)) @ vh)


row(
    "linalg.svd",
    lambda s: [call(s.real(3, 2)), call(s.real(2, 3)), call(s.matrix(2, 2)), call(s.real(2, 2, 2))],
    svd_parts,
    ops="linalg_svd",
    **OPTIONS,
)


def eigh_parts(lib, x):
    w, v = lib.linalg.eigh(x + x.mT)
    return (w, v.abs(), (v * lib.sin(w).unsqueeze(-2)) @ v.mT)


row("linalg.eigh", lambda s: [call(s.real(3, 3)), call(s.real(2, 2, 2))], eigh_parts, ops="linalg_eigh", **OPTIONS)
row(
    "linalg.eigvalsh",
    lambda s: [call(s.real(3, 3))],
    lambda lib, x: lib.linalg.eigvalsh(x + x.mT),
    ops="linalg_eigh",
    **OPTIONS,
)


def eig_parts(lib, x):
    w, v = lib.linalg.eig(x)
    return (w.real.sort()[0], w.abs().sort()[0], (v @ lib.diag_embed(w) @ lib.linalg.inv(v)).real)


row(
    "linalg.eig", lambda s: [call(s.matrix(3, 3)), call(s.real(2, 2))], eig_parts, ops="linalg_eig", **OPTIONS
)
row(
    "linalg.pinv",
    lambda s: [call(s.real(3, 2)), call(s.real(2, 3)), call(s.matrix(2, 2))],
    ops="linalg_pinv",
    **OPTIONS,
)
row("linalg.matrix_exp", squares, ops="linalg_matrix_exp", **OPTIONS)
row(
    "linalg.matrix_power",
    lambda s: [call(s.matrix(2, 2), n) for n in (1, 2, 5, -2)],
    ops="matmul linalg_inv",
    **OPTIONS,
)
row(
    "linalg.matrix_power 0",
    lambda s: [call(s.matrix(2, 2), 0)],
    lambda lib, a, n: lib.linalg.matrix_power(a, n),
    orders=0,
)
row(
    "linalg.multi_dot",
    lambda s: [call([s.real(2, 3), s.real(3, 4), s.real(4, 1)]), call([s.real(3), s.real(3, 2), s.real(2)])],
    ops="mm",
    **OPTIONS,
)
row(
    "linalg.lstsq",
    lambda s: [call(s.real(4, 2), s.real(4, 1))],
    lambda lib, a, b: lib.linalg.lstsq(a, b).solution,
    ops="linalg_pinv",
    **OPTIONS,
)
row(
    "linalg.lstsq all",
    lambda s: [call(s.real(4, 2), s.real(4, 1)), call(s.real(2, 2), s.real(2, 3))],
    lambda lib, a, b: tuple(lib.linalg.lstsq(a, b)),
    orders=0,
)
row("linalg.matrix_rank", lambda s: [call(s.matrix(3, 3)), call(np.ones((3, 3))), call(np.eye(3), atol=2.0)], orders=0)
row(
    "linalg.cond",
    lambda s: [call(s.matrix(3, 3)), call(s.matrix(2, 2), 1), call(s.matrix(2, 2), "fro"), call(s.matrix(2, 2), -2)],
    ops="svdvals",
    **OPTIONS,
)
row(
    "linalg.vecdot",
    lambda s: [call(s.real(2, 3), s.real(2, 3)), call(s.real(3, 2), s.real(3, 2), dim=0)],
    ops="mul",
    **OPTIONS,
)
row("linalg.cross", lambda s: [call(s.real(2, 3), s.real(2, 3))], ops="linalg_cross", **OPTIONS)
row("linalg.tensorinv", lambda s: [call(s.matrix(4, 4).reshape(2, 2, 4), 2)], ops="linalg_inv", **OPTIONS)
row(
    "linalg.tensorsolve",
    lambda s: [call(s.matrix(4, 4).reshape(2, 2, 4), s.real(2, 2))],
    ops="linalg_solve_matrix",
    **OPTIONS,
)
row("linalg.vander", lambda s: [call(s.real(3)), call(s.real(2, 3), N=2)], ops="cumprod", **OPTIONS)
row(
    "linalg.lu_factor",
    lambda s: [call(s.matrix(3, 3)), call(s.real(2, 3, 2)), call(s.real(2, 3))],
    ops="linalg_lu_factor",
    **OPTIONS,
)
row(
    "linalg.lu",
    lambda s: [call(s.real(3, 3)), call(s.real(2, 3)), call(s.real(3, 2))],
    ops="linalg_lu_factor",
    **OPTIONS,
)
row("linalg.inv_ex", lambda s: [call(s.matrix(2, 2))], orders=0)
row("linalg.cholesky_ex", lambda s: [call(np.eye(2) * 3)], orders=0)
row(
    "triangular_solve",
    lambda s: [call(s.real(2, 2), s.matrix(2, 2)), call(s.real(2, 2), s.matrix(2, 2), False, True)],
    ops="linalg_solve_triangular",
    **OPTIONS,
)
row("qr", lambda s: [call(s.real(4, 3))], ops="linalg_qr", **OPTIONS)
row("svd", lambda s: [call(s.real(3, 2))], lambda lib, x: [t.abs() for t in lib.svd(x)], ops="linalg_svd", **OPTIONS)
row(
    "cholesky",
    lambda s: [call(s.matrix(2, 2))],
    lambda lib, x: lib.cholesky(positive(lib, x)),
    ops="linalg_cholesky",
    **OPTIONS,
)
row("matrix_power", lambda s: [call(s.matrix(2, 2), 3)], ops="matmul", **OPTIONS)
row("linalg.householder_product", lambda s: [call(s.real(4, 2), s.real(2))], ops="matmul", **OPTIONS)

for _left in (True, False):
    for _adjoint in (True, False):
        row(
            f"ormqr {_left} {_adjoint}",
            lambda s: [
                call(s.real(4, 2), s.real(2), s.real(4, 4)),
                call(s.real(2, 3, 3), s.real(2, 3), s.real(2, 3, 3)),
            ],
            lambda lib, a, tau, c, left=_left, adjoint=_adjoint: lib.ormqr(a, tau, c, left, adjoint),
            ops="matmul",
            **OPTIONS,
        )
row("geqrf", lambda s: [call(s.real(4, 2)), call(s.real(2, 3, 5))], ops="geqrf_op", orders=0, **OPTIONS)
row("orgqr", lambda s: [call(s.real(4, 2), s.real(2)), call(s.real(3, 3), s.real(0))], ops="matmul", **OPTIONS)
row("lu", lambda s: [call(s.matrix(3, 3)), call(s.real(4, 2))], ops="linalg_lu_factor", orders=1, **OPTIONS)
row("linalg.lu_factor_ex", lambda s: [call(s.matrix(3, 3)), call(np.zeros((2, 2)))], ops="linalg_lu_factor",
    orders=0, **OPTIONS)  # fmt: skip
row("linalg.solve_ex", lambda s: [call(s.matrix(3, 3), s.real(3))], ops="linalg_solve_matrix", **OPTIONS)
row("linalg.ldl_factor", lambda s: [call(s.matrix(3, 3)), call(s.real(2, 4, 4))], ops="linalg_ldl_factor", orders=0,
    **OPTIONS)  # fmt: skip
row(
    "linalg.ldl_solve",
    lambda s: [call(s.real(4, 4), s.real(4, 2)), call(s.real(2, 5, 5), s.real(5, 1))],
    lambda lib, a, b: lib.linalg.ldl_solve(*lib.linalg.ldl_factor(a + a.mT), b),
    ops="linalg_ldl_factor linalg_ldl_solve",
    orders=0,
    **OPTIONS,
)
for _name in ("svd_lowrank", "pca_lowrank"):
    row(
        _name,
        lambda s: [call(s.real(5, 2), s.real(4, 2))],
        lambda lib, a, b, name=_name: getattr(lib, name)(lib.matmul(a, b.mT), 2)[1],
        ops="linalg_svd",
        orders=0,
        **OPTIONS,
    )
