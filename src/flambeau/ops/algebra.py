"""Linear algebra on top of the decompositions in `ops/linalg.py`: solving, powers, ranks, chains of products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import as_array
from flambeau.errors import LinAlgError, outdated
from flambeau.ops import arithmetic, compare, elementwise, linalg, matrices, norms, reduce, results, shape
from flambeau.ops.dispatch import by_example, deliver
from flambeau.ops.products import matmul, mm


def _h(a: Any) -> Any:
    return shape.transpose(matrices.conj(a), -2, -1)


def inv(A: Any, *, out: Any = None) -> Any:
    """The inverse of each square matrix; a LinAlgError where there is none."""
    return linalg.inv(A, out=out)


def inv_ex(A: Any, *, check_errors: bool = False, out: Any = None) -> Any:
    """The inverse and whether there is none (`info` nonzero), instead of an error."""
    info = np.zeros(A._a.shape[:-2], np.int32)
    try:
        result = linalg.inv(A)
    except LinAlgError:
        if check_errors:
            raise
        result, info = NS["WRAP"](np.full_like(A._a, np.inf)), info + 1
    return deliver("inv_ex", out, results.linalg_inv_ex((result, NS["BESIDE"](A, info))))


def slogdet(A: Any, *, out: Any = None) -> Any:
    """The sign and the logarithm of the absolute value of each determinant: `sign`, `logabsdet`."""
    return results.linalg_slogdet(linalg.slogdet(A, out=out))


def legacy_slogdet(input: Any, *, out: Any = None) -> Any:
    """The sign and the logarithm of the absolute value of each determinant: `sign`, `logabsdet`."""
    return results.slogdet(linalg.slogdet(input, out=out))


def logdet(input: Any) -> Any:
    """The logarithm of each determinant; NaN where it is negative."""
    sign, size = linalg.slogdet(input)
    if sign._a.dtype.kind == "c":
        return arithmetic.add(elementwise.log(sign), size)
    nan, zero = (NS["WRAP"](np.array(v, size._a.dtype)) for v in (np.nan, 0.0))
    return arithmetic.add(size, arithmetic.where_op(NS["OPS"].lt(sign, 0), nan, zero))


def solve(A: Any, B: Any, *, left: bool = True, out: Any = None) -> Any:
    """The solution X of A X = B (or X A = B with `left=False`); B may be a vector (or batch of vectors).

    >>> import flambeau as torch
    >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    linalg.square("linalg.solve", A._a)
    if A._a.dtype != B._a.dtype:
        raise RuntimeError(
            f"linalg.solve: A and B must have one dtype, got {A.dtype} and {B.dtype}; convert one with .to(dtype)"
        )
    vector = B._a.ndim == 1 or (A._a.ndim - 1 == B._a.ndim and B._a.shape == A._a.shape[:-1])
    right = shape.unsqueeze(B, -1) if vector else B
    if not left and not vector:
        X = shape.transpose(solve(shape.transpose(A, -2, -1), shape.transpose(right, -2, -1)), -2, -1)
        return deliver("solve", out, X)
    if A._a.shape[-1] != right._a.shape[-2]:
        raise RuntimeError(
            f"linalg.solve: A {list(A._a.shape)} and B {list(B._a.shape)} don't go together; B needs a row per row of A"
        )
    X = linalg.solve_matrix(A, right)
    return deliver("solve", out, shape.squeeze(X, -1) if vector else X)


def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Any = None
) -> Any:
    """The solution X of A X = B (or X A = B) for triangular A, of which only one triangle is looked at."""
    linalg.square("linalg.solve_triangular", A._a)
    if left:
        X = linalg.solve_lower_or_upper(A, B, upper, unitriangular)
    else:
        swapped = linalg.solve_lower_or_upper(
            shape.transpose(A, -2, -1), shape.transpose(B, -2, -1), not upper, unitriangular
        )
        X = shape.transpose(swapped, -2, -1)
    return deliver("solve_triangular", out, X)


def triangular_solve(
    b: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *, out: Any = None
) -> Any:
    """The solution X of A X = b (or of A^T X = b) for triangular A, and A."""
    outdated("torch.triangular_solve", "torch.linalg.solve_triangular")
    left = shape.transpose(A, -2, -1) if transpose else A
    X = linalg.solve_lower_or_upper(left, b, upper != transpose, unitriangular)
    return deliver("triangular_solve", out, results.triangular_solve((X, A)))


def cholesky(A: Any, *, upper: bool = False, out: Any = None) -> Any:
    """The triangular factor L of symmetric (Hermitian) positive definite A = L L^H (or the upper one); else a
    LinAlgError.
    """
    L = _h(linalg.cholesky_lower(_h(A))) if upper else linalg.cholesky_lower(A)  # one triangle is looked at
    return deliver("cholesky", out, L)


def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """`cholesky` and whether there is no factor (`info` nonzero), instead of an error."""
    info = np.zeros(A._a.shape[:-2], np.int32)
    try:
        L = cholesky(A, upper=upper)
    except LinAlgError:
        if check_errors:
            raise
        L, info = NS["WRAP"](np.full_like(A._a, np.nan)), info + 1
    return deliver("cholesky_ex", out, results.linalg_cholesky_ex((L, NS["BESIDE"](A, info))))


def legacy_cholesky(input: Any, upper: bool = False, *, out: Any = None) -> Any:
    """`torch.linalg.cholesky`."""
    outdated("torch.cholesky", "torch.linalg.cholesky")
    return cholesky(input, upper=upper, out=out)


def cholesky_solve(B: Any, L: Any, upper: bool = False, *, out: Any = None) -> Any:
    """The solution X of A X = B from A's triangular factor."""
    return deliver("cholesky_solve", out, linalg.solve_by_factor(B, L, upper))


def cholesky_inverse(L: Any, upper: bool = False, *, out: Any = None) -> Any:
    """The inverse of a matrix from its triangular factor."""
    eye = NS["BESIDE"](L, np.broadcast_to(np.eye(L._a.shape[-1], dtype=L._a.dtype), L._a.shape).copy())
    return cholesky_solve(eye, L, upper, out=out)


def qr(A: Any, mode: str = "reduced", *, out: Any = None) -> Any:
    """A = Q R with orthonormal columns Q and upper triangular R: mode 'reduced', 'complete' or 'r'."""
    return results.linalg_qr(linalg.qr(A, mode, out=out))


def legacy_qr(input: Any, some: bool = True, *, out: Any = None) -> Any:
    """A = Q R, reduced if `some`, else complete."""
    outdated("torch.qr", "torch.linalg.qr")
    return results.qr(linalg.qr(input, "reduced" if some else "complete", out=out))


def svd(A: Any, full_matrices: bool = True, *, driver: Any = None, out: Any = None) -> Any:
    """A = U diag(S) Vh with orthonormal U, V and descending S; `full_matrices` completes U and Vh to square ones."""
    return results.linalg_svd(linalg.svd(A, full_matrices, out=out))


def legacy_svd(input: Any, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """`input` = U diag(S) V^H: U, S, V; reduced if `some`."""
    U, S, Vh = linalg.svd(input, not some)
    if not compute_uv:
        m, n = input._a.shape[-2:]
        batch = input._a.shape[:-2]
        U, Vh = (NS["BESIDE"](input, np.zeros((*batch, size, size), input._a.dtype)) for size in (m, n))
    return deliver("svd", out, results.svd((U, S, _h(Vh))))


def svdvals(A: Any, *, driver: Any = None, out: Any = None) -> Any:
    """The singular values of each matrix, descending."""
    return linalg.svdvals(A, out=out)


def eigh(A: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """Ascending `eigenvalues` and orthonormal `eigenvectors` of symmetric (Hermitian) matrices, from one triangle."""
    return results.linalg_eigh(linalg.eigh(A, UPLO, out=out))


def eigvalsh(A: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """The ascending eigenvalues of symmetric (Hermitian) matrices."""
    return deliver("eigvalsh", out, linalg.eigh(A, UPLO)[0])


def eig(A: Any, *, out: Any = None) -> Any:
    """The complex `eigenvalues` and `eigenvectors` of square matrices."""
    return results.linalg_eig(linalg.eig(A, out=out))


def eigvals(A: Any, *, out: Any = None) -> Any:
    """The complex eigenvalues of square matrices."""
    return deliver("eigvals", out, linalg.eig(A)[0])


def _tolerances(A: Any, atol: Any, rtol: Any) -> tuple[Any, Any]:
    """Absolute and relative tolerance of what counts as 0: by default the precision times the longer side."""
    eps = float(np.finfo(A._a.dtype).eps) * max(A._a.shape[-2:])
    values = [
        t._a[..., None] if isinstance(t, NS["Tensor"]) and t._a.ndim else getattr(t, "_a", t) for t in (atol, rtol)
    ]
    if values[1] is None:
        values[1] = eps if values[0] is None else np.where(np.asarray(values[0]) > 0, 0.0, eps)
    return (0.0 if values[0] is None else values[0]), values[1]


def pinv(
    A: Any, *, atol: Any = None, rtol: Any = None, hermitian: bool = False, rcond: Any = None, out: Any = None
) -> Any:
    """The pseudo-inverse of each matrix: singular values up to max(atol, rtol * the largest) count as 0."""
    linalg.matrices("linalg.pinv", A._a)
    atol, rtol = _tolerances(A, atol, rcond if rtol is None else rtol)
    return linalg.pinv_op(A, atol, rtol, hermitian, out=out)


def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    """The pseudo-inverse of each matrix."""
    return pinv(input, rtol=rcond)


@by_example
def matrix_rank(
    A: Any, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None
) -> Any:
    """How many singular values of each matrix exceed max(atol, rtol * the largest)."""
    linalg.matrices("linalg.matrix_rank", A._a)
    atol, rtol = _tolerances(A, atol if tol is None else tol, 0.0 if tol is not None else rtol)
    sizes = np.abs(np.linalg.eigvalsh(A._a)) if hermitian else np.linalg.svd(A._a, compute_uv=False)
    if not sizes.shape[-1]:
        return deliver("matrix_rank", out, NS["BESIDE"](A, np.zeros(A._a.shape[:-2], np.int64)))
    limit = np.maximum(atol, rtol * sizes.max(-1, keepdims=True))
    return deliver("matrix_rank", out, NS["WRAP"](as_array((sizes > limit).sum(-1, dtype=np.int64))))


def cond(A: Any, p: Any = None, *, out: Any = None) -> Any:
    """The condition number of each matrix in the norm `p` (2 by default): how much solving with it may magnify
    errors.
    """
    linalg.matrices("linalg.cond", A._a)
    if p in (None, 2, -2):
        values = linalg.svdvals(A)
        high, low = shape.select(values, -1, 0), shape.select(values, -1, -1)
        result = arithmetic.div(low, high) if p == -2 else arithmetic.div(high, low)
    else:
        linalg.square(f"linalg.cond with p={p}", A._a)
        try:
            inverse = linalg.inv(A)
        except LinAlgError:
            return deliver("cond", out, NS["BESIDE"](A, np.full(A._a.shape[:-2], np.inf, A._a.real.dtype)))
        result = arithmetic.mul(norms.matrix_norm(A, p), norms.matrix_norm(inverse, p))
    return deliver("cond", out, result)


def matrix_power(A: Any, n: int, *, out: Any = None) -> Any:
    """Each square matrix to an integer power, of its inverse for negative ones."""
    if A._a.ndim < 2 or A._a.shape[-1] != A._a.shape[-2]:
        raise RuntimeError(f"linalg.matrix_power: square matrices are needed, got shape {list(A._a.shape)}")
    given = A
    if n < 0:
        A, n = linalg.inv(A), -n
    if n == 0:
        eye = np.broadcast_to(np.eye(A._a.shape[-1], dtype=A._a.dtype), A._a.shape).copy()
        never = NS["BESIDE"](A, np.array(False))
        return deliver("matrix_power", out, compare.where(never, A, NS["BESIDE"](A, eye)))
    result = None
    while n:
        if n & 1:
            result = A if result is None else matmul(result, A)
        n >>= 1
        A = matmul(A, A) if n else A
    return deliver("matrix_power", out, shape.clone(result) if result is given else result)


def matrix_exp(A: Any) -> Any:
    """The exponential of each square matrix."""
    return linalg.matrix_exp(A)


def multi_dot(tensors: Any, *, out: Any = None) -> Any:
    """The product of several matrices (the first and last may be vectors), in the order with the least work."""
    items = list(tensors)
    if len(items) < 2:
        raise RuntimeError(f"multi_dot(): at least 2 tensors are needed, got {len(items)}")
    first, last = items[0]._a.ndim == 1, items[-1]._a.ndim == 1
    if first:
        items[0] = shape.unsqueeze(items[0], 0)
    if last:
        items[-1] = shape.unsqueeze(items[-1], 1)
    for i, t in enumerate(items):
        if t._a.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be a matrix, got {t._a.ndim} dimensions")
    for i, (a, b) in enumerate(zip(items, items[1:], strict=False)):
        if a._a.shape[1] != b._a.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensor {i}, {list(a._a.shape)}, can't be multiplied by tensor {i + 1}, "
                f"{list(b._a.shape)}"
            )
    result = _product(items, _cheapest([t._a.shape[0] for t in items] + [items[-1]._a.shape[1]]), 0, len(items) - 1)
    if first:
        result = shape.squeeze(result, 0)
    if last:
        result = shape.squeeze(result, -1)
    return deliver("multi_dot", out, result)


def _cheapest(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each run of a chain of matrices so that the fewest multiplications are needed."""
    n = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            work = {k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)}
            split[i, j] = min(work, key=lambda k: work[k])
            cost[i, j] = work[split[i, j]]
    return split


def _product(items: list[Any], split: dict, i: int, j: int) -> Any:
    if i == j:
        return items[i]
    k = split[i, j]
    return mm(_product(items, split, i, k), _product(items, split, k + 1, j))


def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: str | None = None, out: Any = None) -> Any:
    """The X of least |A X - B|: `solution`, `residuals` (of full rank, more rows, not 'gelsy'), `rank`,
    `singular_values`.
    """
    linalg.matrices("linalg.lstsq", A._a)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"linalg.lstsq: driver must be 'gels', 'gelsy', 'gelsd' or 'gelss', got {driver!r}")
    vector = A._a.ndim - B._a.ndim == 1 and B._a.shape == A._a.shape[:-1]
    right = shape.unsqueeze(B, -1) if vector else B
    if right._a.shape[-2:-1] != A._a.shape[-2:-1]:
        raise RuntimeError(f"linalg.lstsq: A {list(A._a.shape)} and B {list(B._a.shape)} must have equally many rows")
    m, n = A._a.shape[-2:]
    solution = matmul(pinv(A, rtol=rcond), right)
    rank = matrix_rank(A, rtol=rcond)
    empty = NS["BESIDE"](A, np.zeros((0,), A._a.real.dtype))
    residuals = empty
    if m > n and driver not in (None, "gelsy") and bool((rank._a == n).all()):
        off = arithmetic.sub(matmul(A, solution), right)
        residuals = reduce.sum(elementwise.square(elementwise.abs(off)), -2)
    values = NS["WRAP"](np.linalg.svd(A._a, compute_uv=False)) if driver in ("gelsd", "gelss") else empty
    rank = NS["BESIDE"](A, np.zeros((0,), np.int64)) if driver == "gels" else rank
    solution = shape.squeeze(solution, -1) if vector else solution
    residuals = shape.squeeze(residuals, -1) if vector and residuals._a.size else residuals
    return deliver("lstsq", out, results.linalg_lstsq((solution, residuals, rank, values)))


def lu_factor(A: Any, *, pivot: bool = True, out: Any = None) -> Any:
    """The factors of P L U packed into one matrix, and the row exchanges (from 1): `LU`, `pivots`."""
    if not pivot:
        raise RuntimeError("linalg.lu_factor: pivot=False is not available on the CPU")
    return results.linalg_lu_factor(linalg.lu_factor(A, out=out))


def lu(A: Any, *, pivot: bool = True, out: Any = None) -> Any:
    """P, L and U with A = P L U: a permutation, a unit lower and an upper triangular matrix."""
    packed, pivots = lu_factor(A, pivot=pivot)
    return deliver("lu", out, results.linalg_lu(lu_unpack(packed, pivots)))


def lu_unpack(
    LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True, *, out: Any = None
) -> tuple[Any, Any, Any]:
    """P, L and U from what `lu_factor` packs."""
    m, n = LU_data._a.shape[-2:]
    k, dims = min(m, n), LU_data._a.ndim
    P = _permutation(LU_pivots, m, LU_data._a.dtype)
    eye = NS["WRAP"](np.eye(m, k, dtype=LU_data._a.dtype))
    L = arithmetic.add(matrices.tril(shape.slice(LU_data, dims - 1, 0, k), -1), eye)
    U = matrices.triu(shape.slice(LU_data, dims - 2, 0, k))
    return deliver("lu_unpack", out, results.lu_unpack((P, L, U)))


@by_example
def _permutation(pivots: Any, rows: int, dtype: Any) -> Any:
    """The permutation matrix of row exchanges."""
    return NS["WRAP"](NS["KERNELS_OF"](pivots._a).permutation(pivots._a, rows, dtype))


def lu_solve(LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False, out: Any = None) -> Any:
    """The solution X of A X = B from A's packed factors."""
    P, L, U = lu_unpack(LU, pivots)
    A = matmul(P, matmul(L, U))
    return solve(_h(A) if adjoint else A, B, left=left, out=out)


def legacy_lu_solve(b: Any, LU_data: Any, LU_pivots: Any, *, out: Any = None) -> Any:
    """The solution X of A X = b from A's packed factors."""
    outdated("torch.lu_solve", "torch.linalg.lu_solve")
    return lu_solve(LU_data, LU_pivots, b, out=out)


def tensorinv(A: Any, ind: int = 2, *, out: Any = None) -> Any:
    """The inverse of `tensordot` with A over its first `ind` dimensions."""
    if ind <= 0:
        raise RuntimeError(f"tensorinv(): ind must be a positive integer, got {ind}")
    rows, columns = A._a.shape[:ind], A._a.shape[ind:]
    flat = shape.reshape(A, (math.prod(rows), math.prod(columns)))
    return deliver("tensorinv", out, shape.reshape(linalg.inv(flat), (*columns, *rows)))


def tensorsolve(A: Any, B: Any, dims: Any = None, *, out: Any = None) -> Any:
    """The X with `tensordot(A, X, X.ndim) = B`."""
    if dims is not None:
        A = shape.movedim(A, tuple(dims), tuple(range(A._a.ndim - len(dims), A._a.ndim)))
    rest = A._a.shape[B._a.ndim :]
    flat = shape.reshape(A, (-1, math.prod(rest)))
    return deliver("tensorsolve", out, shape.reshape(solve(flat, shape.reshape(B, (-1,))), rest))


def vecdot(x: Any, y: Any, *, dim: int = -1, out: Any = None) -> Any:
    """The inner products of vectors along `dim`; those of `x` are conjugated."""
    for t in (x, y):
        if t._a.dtype.kind in "biu":
            raise RuntimeError(f"linalg.vecdot: floating-point or complex vectors are needed, got {t.dtype}")
    return deliver("vecdot", out, reduce.sum(arithmetic.mul(matrices.conj(x), y), dim))


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices."""
    return shape.diagonal(A, offset, dim1, dim2)


def cross(input: Any, other: Any, *, dim: int = -1, out: Any = None) -> Any:
    """The vector product along `dim`, of length 3."""
    return matrices.cross(input, other, dim, out=out)


# --- under their names in `torch`, whose operand is called `input` ---------------------------------------------------


def main_det(input: Any) -> Any:
    """The determinant of each square matrix."""
    return linalg.det(input)


def main_inverse(input: Any, *, out: Any = None) -> Any:
    """The inverse of each square matrix; a LinAlgError where there is none."""
    return linalg.inv(input, out=out)


def main_matrix_power(input: Any, n: int, *, out: Any = None) -> Any:
    """Each square matrix to an integer power, of its inverse for negative ones."""
    return matrix_power(input, n, out=out)


main_det.__name__, main_inverse.__name__, main_matrix_power.__name__ = "det", "inverse", "matrix_power"
