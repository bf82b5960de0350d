"""Factors as LAPACK packs them: Householder's reflections, P L U and L D L^T with row exchanges; low-rank factors."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.errors import LinAlgError, outdated
from flambeau.ops import algebra, arithmetic, compare, joining, linalg, matrices, random_ops, reduce, results, shape
from flambeau.ops.core import op
from flambeau.ops.dispatch import checks_values, deliver
from flambeau.ops.products import matmul

__all__ = ["geqrf", "lu", "orgqr", "ormqr", "pca_lowrank", "svd_lowrank"]


def _h(a: Any) -> Any:
    return shape.transpose(matrices.conj(a), -2, -1)


@op(outputs=2, differentiable=False)
def geqrf_op(k, input: Tensor):
    """R over the vectors of Householder's reflections, and their factors."""
    linalg.matrices("geqrf", input)
    return k.geqrf(input)


def geqrf(input: Any, *, out: Any = None) -> Any:
    """The QR decomposition as LAPACK packs it: `a`, with R above the reflections' vectors, and `tau`, their factors.

    Without a derivative, as in PyTorch; `torch.linalg.qr` has one.
    """
    return deliver("geqrf", out, results.geqrf(geqrf_op(input)))


def _reflections(name: str, vectors: Any, tau: Any) -> tuple[list[Any], list[Any]]:
    """The unit lower vectors of the reflections and their factors, ready to multiply matrices."""
    m, n = vectors._a.shape[-2:]
    count = tau._a.shape[-1]
    if count > n or tau._a.shape[:-1] != vectors._a.shape[:-2] or m < count:
        raise RuntimeError(
            f"{name}: {list(vectors._a.shape)} has no reflection for each of the factors {list(tau._a.shape)}"
        )
    unit = arithmetic.add(matrices.tril(vectors, -1), NS["WRAP"](np.eye(m, n, dtype=vectors._a.dtype)))
    columns = [shape.slice(unit, vectors._a.ndim - 1, i, i + 1) for i in range(count)]
    factors = [shape.unsqueeze(shape.unsqueeze(shape.select(tau, -1, i), -1), -1) for i in range(count)]
    return columns, factors


def householder_product(A: Any, tau: Any, *, out: Any = None) -> Any:
    """The first columns of a product of Householder reflections with vectors in the columns of A below its diagonal."""
    linalg.matrices("linalg.householder_product", A._a)
    m, n = A._a.shape[-2:]
    if m < n:
        raise RuntimeError(f"linalg.householder_product: A {list(A._a.shape)} has more columns than rows")
    columns, factors = _reflections("linalg.householder_product", A, tau)
    eye = NS["WRAP"](np.broadcast_to(np.eye(m, n, dtype=A._a.dtype), A._a.shape).copy())
    q = eye if columns else compare.where(NS["WRAP"](np.array(False)), A, eye)
    for v, scale in zip(reversed(columns), reversed(factors), strict=True):
        q = arithmetic.sub(q, arithmetic.mul(matmul(v, matmul(_h(v), q)), scale))
    return deliver("householder_product", out, q)


def orgqr(input: Any, tau: Any, *, out: Any = None) -> Any:
    """`torch.linalg.householder_product`."""
    return householder_product(input, tau, out=out)


def ormqr(input: Any, tau: Any, other: Any, left: bool = True, transpose: bool = False, *, out: Any = None) -> Any:
    """`other` times the orthogonal matrix that `geqrf` packs, from the left or right, adjoint if `transpose`."""
    if input._a.ndim < 2 or other._a.ndim != input._a.ndim:
        raise RuntimeError(
            f"ormqr(): input and other need the same number of dimensions, 2 or more, got {list(input._a.shape)} and "
            f"{list(other._a.shape)}"
        )
    if input._a.dtype != other._a.dtype or tau._a.dtype != input._a.dtype:
        raise RuntimeError(f"ormqr(): operands of one dtype are needed, got {input.dtype}, {tau.dtype}, {other.dtype}")
    side = other._a.shape[-2 if left else -1]
    if side != input._a.shape[-2]:
        raise RuntimeError(f"ormqr(): a side of length {input._a.shape[-2]} is needed, got {list(other._a.shape)}")
    if tau._a.shape[-1:] != (min(side, input._a.shape[-1]),):
        raise RuntimeError(f"ormqr(): tau needs {min(side, input._a.shape[-1])} factors, got {list(tau._a.shape)}")
    columns, factors = _reflections("ormqr()", input, tau)
    result = other if columns else shape.clone(other)
    order = list(zip(columns, factors, strict=True))
    for v, scale in order if left == transpose else reversed(order):
        scale = matrices.conj(scale) if transpose else scale
        along = matmul(v, matmul(_h(v), result)) if left else matmul(matmul(result, v), _h(v))
        result = arithmetic.sub(result, arithmetic.mul(along, scale))
    return deliver("ormqr", out, result)


def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """`lu_factor` and whether U has a zero on its diagonal (`info`: which, from 1), instead of an error."""
    LU, pivots = algebra.lu_factor(A, pivot=pivot)
    info = _first_zero(LU._a)
    if check_errors and info.any():
        raise LinAlgError("linalg.lu_factor_ex: U has a zero on its diagonal: the matrix is singular")
    return deliver("lu_factor_ex", out, results.linalg_lu_factor_ex((LU, pivots, NS["WRAP"](info))))


def _first_zero(packed: Any) -> Any:
    """Of each matrix the place, from 1, of the first zero on the diagonal; 0 if there is none."""
    zero = np.diagonal(packed, 0, -2, -1) == 0
    first = np.argmax(zero, -1) + 1 if zero.shape[-1] else np.zeros(zero.shape[:-1], int)
    return np.where(zero.any(-1), first, 0).astype(np.int32)


def lu(A: Any, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """The packed factors of P L U and the row exchanges; with `get_infos` also whether U is singular."""
    outdated("torch.lu", "torch.linalg.lu_factor")
    LU, pivots, info = lu_factor_ex(A, pivot=pivot)
    return deliver("lu", out, (LU, pivots, info) if get_infos else (LU, pivots))


def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """`solve` and whether A is singular (`info` nonzero), instead of an error."""
    info = np.zeros(A._a.shape[:-2], np.int32)
    try:
        result = algebra.solve(A, B, left=left)
    except LinAlgError:
        if check_errors:
            raise
        info = _first_zero(algebra.lu_factor(A.detach())[0]._a)
        result = NS["OPS"].full_like(B.detach(), np.nan)
    return deliver("solve_ex", out, results.linalg_solve_ex((result, NS["WRAP"](info))))


@op(name="linalg_ldl_factor", outputs=3, differentiable=False)
def ldl_factor_op(k, A: Tensor, hermitian):
    """The packed factors, the row exchanges and whether D is singular."""
    linalg.square("linalg.ldl_factor", A)
    return k.ldl_factor(A, hermitian)


def ldl_factor_ex(A: Any, *, hermitian: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """`ldl_factor` and whether D is singular (`info` nonzero), instead of an error."""
    LD, pivots, info = ldl_factor_op(A, hermitian)
    if check_errors and info._a.any():
        raise LinAlgError("linalg.ldl_factor_ex: D is singular")
    return deliver("ldl_factor_ex", out, results.linalg_ldl_factor_ex((LD, pivots, info)))


@checks_values
def _check_regular(info: np.ndarray) -> None:
    if info.any():
        raise LinAlgError("linalg.ldl_factor: D is singular")


def ldl_factor(A: Any, *, hermitian: bool = False, out: Any = None) -> Any:
    """L D L^T (L^H if `hermitian`) of symmetric matrices, packed, and the row exchanges (Bunch and Kaufman 1977).

    Reads the lower triangles. Without a derivative, as in PyTorch.
    """
    LD, pivots, info = ldl_factor_op(A, hermitian)
    _check_regular(info._a)
    return deliver("ldl_factor", out, results.linalg_ldl_factor((LD, pivots)))


@op(name="linalg_ldl_solve", differentiable=False)
def ldl_solve_op(k, LD: Tensor, pivots: Index, B: Tensor, hermitian):
    """The solution X of A X = B."""
    return k.ldl_solve(LD, pivots, B, hermitian)


def ldl_solve(LD: Any, pivots: Any, B: Any, *, hermitian: bool = False, out: Any = None) -> Any:
    """The solution X of A X = B from what `ldl_factor` packs."""
    linalg.square("linalg.ldl_solve", LD._a)
    if B._a.ndim < 2 or B._a.shape[-2] != LD._a.shape[-1]:
        raise RuntimeError(f"linalg.ldl_solve: B {list(B._a.shape)} needs a row for each row of {list(LD._a.shape)}")
    if pivots._a.shape != LD._a.shape[:-1]:
        raise RuntimeError(f"linalg.ldl_solve: a pivot per row is needed, got {list(pivots._a.shape)}")
    return deliver("ldl_solve", out, ldl_solve_op(LD, pivots, B, hermitian))


def _basis(A: Any, q: int, niter: int, M: Any) -> Any:
    """Orthonormal columns that nearly span the range of A - M (Halko, Martinsson and Tropp 2009, algorithm 4.4)."""
    seed = random_ops.randn(A._a.shape[-1], q, dtype=A.dtype)

    def through(a: Any, mean: Any, x: Any) -> Any:
        y = matmul(a, x)
        return algebra.qr(y if mean is None else arithmetic.sub(y, matmul(mean, x)))[0]

    Q = through(A, M, seed)
    for _ in range(niter):
        Q = through(_h(A), None if M is None else _h(M), Q)
        Q = through(A, M, Q)
    return Q


def svd_lowrank(A: Any, q: int | None = 6, niter: int | None = 2, M: Any = None) -> tuple[Any, Any, Any]:
    """U, S, V of rank `q` with A - M near U diag(S) V^H, by a random projection and `niter` power iterations.

    Halko, Martinsson and Tropp (2009), algorithm 5.1.
    """
    rank, rounds = 6 if q is None else q, 2 if niter is None else niter
    mean = None if M is None else joining.broadcast_to(M, A._a.shape)
    wide = A._a.shape[-2] < A._a.shape[-1]
    if wide:
        A, mean = _h(A), None if mean is None else _h(mean)
    Q = _basis(A, rank, rounds, mean)
    B = matmul(_h(Q), A)
    if mean is not None:
        B = arithmetic.sub(B, matmul(_h(Q), mean))
    U, S, Vh = algebra.svd(B, full_matrices=False)
    U, V = matmul(Q, U), _h(Vh)
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(A: Any, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Any, Any, Any]:
    """The principal components of the rows of A, about their mean if `center`: U, S, V as from `svd_lowrank`."""
    m, n = A._a.shape[-2:]
    rank = min(6, m, n) if q is None else q
    if not 0 <= rank <= min(m, n):
        raise ValueError(f"pca_lowrank(): q must lie between 0 and min{(m, n)}, got {q}")
    if niter < 0:
        raise ValueError(f"pca_lowrank(): niter must not be negative, got {niter}")
    if center:
        A = arithmetic.sub(A, reduce.mean(A, -2, True))
    return svd_lowrank(A, rank, niter)
