"""Linear algebra (`torch.linalg`): every function works on the matrices in the last two dimensions, batches
broadcast.
"""

from flambeau.errors import LinAlgError
from flambeau.ops.algebra import (
    cholesky,
    cholesky_ex,
    cond,
    cross,
    diagonal,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    inv,
    inv_ex,
    lstsq,
    lu,
    lu_factor,
    lu_solve,
    matrix_exp,
    matrix_power,
    matrix_rank,
    multi_dot,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
    vecdot,
)
from flambeau.ops.factors import householder_product, ldl_factor, ldl_factor_ex, ldl_solve, lu_factor_ex, solve_ex
from flambeau.ops.linalg import det
from flambeau.ops.matrices import linalg_vander as vander
from flambeau.ops.norms import linalg_norm as norm
from flambeau.ops.norms import matrix_norm, vector_norm
from flambeau.ops.products import matmul

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]

from flambeau.ops.public import open_namespace as _open_namespace  # noqa: E402

_open_namespace(globals())
