"""Linear algebra: inverses, factors and decompositions of the matrices in the last two dimensions."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import is_array
from flambeau.ops.core import composite, op
from flambeau.ops.placing import beside


def square(name: str, a: Any) -> None:
    """Refuses what is no batch of square matrices of floating-point numbers."""
    matrices(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(f"{name}: square matrices are needed, got {a.shape[-2]} by {a.shape[-1]}")


def matrices(name: str, a: Any) -> None:
    """Refuses what is no batch of matrices of floating-point numbers."""
    if a.dtype.kind not in "fc" or a.dtype.itemsize < 4:
        raise RuntimeError(f"{name}: floating-point or complex numbers of at least 32 bits are needed, got {a.dtype}")
    if a.ndim < 2:
        raise RuntimeError(f"{name}: at least 2 dimensions are needed, got shape {list(a.shape)}")


def _t(k: Any, a: Any) -> Any:
    return k.transpose(a, -2, -1)


def _h(k: Any, a: Any) -> Any:
    return k.conj(k.transpose(a, -2, -1))


def _cut(k: Any, a: Any, dim: int, start: int, stop: int) -> Any:
    return k.slice(a, len(a.shape) + dim, start, stop)


def _spread(k: Any, a: Any) -> Any:
    """A number per matrix as an array that broadcasts with the matrices."""
    return k.unsqueeze(k.unsqueeze(a, -1), -1)


def _diagonal_matrix(k: Any, v: Any) -> Any:
    n = len(v.shape)
    return k.diagonal_put(v, (*v.shape, v.shape[-1]), 0, n - 1, n)


@op(name="linalg_inv", grad_name="LinalgInvExBackward0")
def inv(k, A: Tensor):
    """The inverse of each square matrix; LinAlgError where there is none."""
    square("linalg.inv", A)
    return k.inv(A)


@inv.derivative("A")
def _(k, g, out):
    return k.neg(k.matmul(k.matmul(_t(k, out), g), _t(k, out)))


@op(name="linalg_det", grad_name="LinalgDetBackward0")
def det(k, A: Tensor):
    """The determinant of each square matrix."""
    square("linalg.det", A)
    return _spoilt(k, k.det(A), A, 0.0)


@det.derivative("A")
def _(k, g, A, out):
    """A multiple of the determinant, hence 0 at a singular matrix; recorded it is the matrix of cofactors there.

    PyTorch does the same.
    """
    if A.shape[-1] == 1:
        return k.mul(_spread(k, g), k.ones_like(A))
    if not is_array(A) and A._level is None and A._a.size:
        return _recorded_cofactors(g, A, np.abs(out._a) < 100 * np.finfo(A._a.dtype).eps)
    singular = _spread(k, k.eq(out, 0))
    eye = _diagonal_matrix(k, k.ones_like(k.diagonal(A, 0, -2, -1)))
    regular = k.where(k.logical_or(singular, _spread(k, k.isnan(out))), eye, A)
    slope = k.mul(_spread(k, k.mul(g, out)), _t(k, k.linalg_inv(regular)))
    return k.where(singular, k.zeros_like(slope), slope)


def _spoilt(k: Any, found: Any, a: Any, singular: float) -> Any:
    """NaN for matrices with NaN: LAPACK may find no pivot in them and take them for singular ones."""
    if found.__class__ in (np.ndarray, np.float32, np.float64) and not np.any(found == singular):
        return found
    total = k.sum(k.abs(a), (-2, -1))
    return k.where(k.logical_and(k.eq(found, singular), k.isnan(total)), k.full_like(found, np.nan), found)


def _recorded_cofactors(g: Any, a: Any, singular: np.ndarray) -> Any:
    """The cofactors of Tensors: det * inv^T of regular matrices, from singular values of the others."""
    shape = a.shape
    a, g = a.reshape(-1, *shape[-2:]), g.reshape(-1, 1, 1)
    which = [np.flatnonzero(~singular), np.flatnonzero(singular)]
    parts = []
    for places, formula in zip(which, (_regular_cofactors, _singular_cofactors), strict=True):
        if places.size:
            chosen = beside(a, places)
            parts.append(formula(a.index_select(0, chosen)) * g.index_select(0, chosen))
    joined = NS["OPS"].cat(parts, 0)
    return joined.index_select(0, beside(a, np.argsort(np.concatenate(which)))).reshape(shape)


def _regular_cofactors(a: Any) -> Any:
    return det(a).unsqueeze(-1).unsqueeze(-1) * inv(a).mT


def _singular_cofactors(a: Any) -> Any:
    u, s, vh = svd(a, False)
    one = NS["OPS"].ones_like(s[..., :1])
    before = NS["OPS"].cat([one, s[..., :-1]], -1).cumprod(-1)
    after = NS["OPS"].cat([one, s.flip(-1)[..., :-1]], -1).cumprod(-1).flip(-1)
    phase = (det(u) * det(vh)).unsqueeze(-1).unsqueeze(-1)
    return phase * ((u.conj() * (before * after).unsqueeze(-2)) @ vh.conj())


@op(name="linalg_slogdet", outputs=2, holomorphic=False, grad_name="LinalgSlogdetBackward0")
def slogdet(k, A: Tensor):
    """The sign of each determinant and the logarithm of its absolute value."""
    square("linalg.slogdet", A)
    sign, size = k.slogdet(A)
    size = _spoilt(k, size, A, -np.inf)
    if size.__class__ in (np.ndarray, np.float32, np.float64) and not np.any(size != size):
        return sign, size
    unsigned = k.full_like(sign, np.nan) if k.is_complex(sign) else k.zeros_like(sign)
    return k.where(k.isnan(size), unsigned, sign), size


@slogdet.derivative("A")
def _(k, g0, g1, A, out0):
    factor = g1
    if g0 is not None and k.is_complex(A):  # a sign turns with the argument of the determinant
        turned = k.mul(k.conj(g0), out0)
        turn = k.mul(k.sub(k.conj(turned), turned), 0.5)
        factor = turn if g1 is None else k.add(turn, k.to_dtype(g1, turn))
    if factor is None:
        return k.zeros_like(A)
    return k.mul(_spread(k, factor), _h(k, k.inv_or_infinite(A)))


@composite
def inv_or_infinite(k, a):
    """The inverse; kernels give infinities for singular matrices."""
    return k.linalg_inv(a)


@op(name="linalg_solve_matrix", grad_name="LinalgSolveExBackward0")
def solve_matrix(k, A: Tensor, B: Tensor):
    """The solution X of A X = B, with batches broadcast."""
    return k.solve(A, B)


@solve_matrix.derivative("A", "B")
def _(k, g, A, out, A_shape, B_shape, needs):
    gb = k.linalg_solve_matrix(_t(k, A), g)
    ga = k.sum_to_shape(k.neg(k.matmul(gb, _t(k, out))), A_shape) if needs[0] else None
    return ga, k.sum_to_shape(gb, B_shape) if needs[1] else None


@op(name="linalg_solve_triangular", grad_name="LinalgSolveTriangularBackward0")
def solve_lower_or_upper(k, A: Tensor, B: Tensor, upper, unitriangular):
    """The solution X of A X = B for triangular A."""
    return k.solve_triangular(A, B, upper, unitriangular)


@solve_lower_or_upper.derivative("A", "B")
def _(k, g, A, out, A_shape, B_shape, upper, unitriangular, needs):
    gb = k.linalg_solve_triangular(_t(k, A), g, not upper, unitriangular)
    ga = None
    if needs[0]:
        whole = k.sum_to_shape(k.neg(k.matmul(gb, _t(k, out))), A_shape)
        skip = 1 if unitriangular else 0
        ga = k.triu(whole, skip) if upper else k.tril(whole, -skip)
    return ga, k.sum_to_shape(gb, B_shape) if needs[1] else None


@op(name="cholesky_solve", holomorphic=False, grad_name="CholeskySolveBackward0")
def solve_by_factor(k, B: Tensor, L: Tensor, upper=False):
    """The solution X of A X = B from A's triangular factor."""
    lower = _h(k, L) if upper else L
    half = k.solve_triangular(lower, B, False, False)
    return k.solve_triangular(_h(k, lower), half, True, False)


@solve_by_factor.derivative("B", "L")
def _(k, g, L, out, B_shape, L_shape, upper, needs):
    gb = k.cholesky_solve(g, L, upper)
    gl = None
    if needs[1]:  # that of L L^H as a whole: PyTorch's is not cut to the triangle
        half = k.matmul(gb, _h(k, out))
        both = k.neg(k.add(half, _h(k, half)))
        gl = k.sum_to_shape(k.matmul(L, both) if upper else k.matmul(both, L), L_shape)
    return k.sum_to_shape(gb, B_shape) if needs[0] else None, gl


@op(name="linalg_cholesky", holomorphic=False, grad_name="LinalgCholeskyExBackward0")
def cholesky_lower(k, A: Tensor):
    """The lower triangular factor of each symmetric (Hermitian) positive definite matrix."""
    square("linalg.cholesky", A)
    return k.cholesky(A)


@cholesky_lower.derivative("A")
def _(k, g, out):
    phi = k.tril(k.matmul(_h(k, out), g), 0)
    phi = k.sub(phi, k.mul(_diagonal_matrix(k, k.diagonal(phi, 0, -2, -1)), 0.5))
    left = k.linalg_solve_triangular(_h(k, out), phi, True, False)
    whole = _h(k, k.linalg_solve_triangular(_h(k, out), _h(k, left), True, False))
    return k.mul(k.add(whole, _h(k, whole)), 0.5)


@op(name="linalg_qr", outputs=2, holomorphic=False, grad_name="LinalgQrBackward0")
def qr(k, A: Tensor, mode="reduced"):
    """Q with orthonormal columns and upper triangular R with A = Q R: mode 'reduced', 'complete' or 'r' (R only)."""
    matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr(): mode must be 'reduced', 'r' or 'complete', got {mode!r}")
    return k.qr(A, mode)


@qr.derivative("A")
def _(k, g0, g1, A, A_shape, out0, out1, mode):
    m, n = A_shape[-2:]
    if mode == "r":
        raise RuntimeError("linalg.qr: mode='r' computes no Q, which the derivative needs; use mode='reduced'")
    if mode == "complete" and m > n:
        raise RuntimeError(
            "linalg.qr: mode='complete' has no derivative for more rows than columns; use mode='reduced'"
        )
    if m >= n:
        return _qr_tall(k, g0, g1, out0, out1)
    left, right = _cut(k, out1, -1, 0, m), _cut(k, A, -1, m, n)
    gq, gu, gy = g0, None, None
    if g1 is not None:
        gu, gv = _cut(k, g1, -1, 0, m), _cut(k, g1, -1, m, n)
        gy = k.matmul(out0, gv)
        extra = k.matmul(right, _h(k, gv))
        gq = extra if gq is None else k.add(gq, extra)
    gx = _qr_tall(k, gq, gu, out0, left)
    return k.cat([gx, k.zeros_like(right) if gy is None else gy], len(A_shape) - 1)


def _qr_tall(k: Any, gq: Any, gr: Any, q: Any, r: Any) -> Any:
    inner = None if gr is None else k.matmul(r, _h(k, gr))
    if gq is not None:
        skew = k.neg(k.matmul(_h(k, gq), q))
        inner = skew if inner is None else k.add(inner, skew)
    low, middle = k.tril(inner, -1), k.diagonal(inner, 0, -2, -1)
    if k.is_complex(inner):
        middle = k.mul(k.add(middle, k.conj(middle)), 0.5)
    both = k.add(k.add(low, _h(k, low)), _diagonal_matrix(k, middle))
    total = k.matmul(q, both)
    if gq is not None:
        total = k.add(gq, total)
    return _h(k, k.linalg_solve_triangular(r, _h(k, total), True, False))


def _gaps(k: Any, s: Any) -> Any:
    """1 / (s_j - s_i) off the diagonal, infinite where two are equal, as in PyTorch; 0 on it."""
    eye = _diagonal_matrix(k, k.ones_like(s))
    return k.sub(k.reciprocal(k.add(k.sub(k.unsqueeze(s, -2), k.unsqueeze(s, -1)), eye)), eye)


@op(name="linalg_svd", outputs=3, holomorphic=False, grad_name="LinalgSvdBackward0")
def svd(k, A: Tensor, full_matrices=True):
    """Singular vectors and values, A = U diag(S) Vh, S descending; reduced unless `full_matrices`."""
    matrices("linalg.svd", A)
    return k.svd(A, full_matrices)


@svd.derivative("A")
def _(k, g0, g1, g2, A_shape, out0, out1, out2):
    m, n = A_shape[-2:]
    r = min(m, n)
    u, s, vh = _cut(k, out0, -1, 0, r), out1, _cut(k, out2, -2, 0, r)
    gu = None if g0 is None else _cut(k, g0, -1, 0, r)
    gvh = None if g2 is None else _cut(k, g2, -2, 0, r)
    row = k.unsqueeze(s, -2)
    total = None if g1 is None else k.matmul(k.mul(u, k.unsqueeze(g1, -2)), vh)
    if gu is None and gvh is None:
        return total
    turns, phases = [], []
    if gu is not None:
        skew = k.matmul(_h(k, u), gu)
        skew = k.sub(skew, _h(k, skew))
        turns.append(k.mul(skew, row))
        if k.is_complex(skew):  # the phases of U and V turn together
            phases.append(_diagonal_matrix(k, k.div(k.diagonal(skew, 0, -2, -1), k.mul(s, 2))))
    if gvh is not None:
        skew = k.matmul(vh, _h(k, gvh))
        turns.append(k.mul(k.unsqueeze(s, -1), k.sub(skew, _h(k, skew))))
    inner = k.mul(_gaps(k, k.mul(s, s)), functools.reduce(k.add, turns))
    parts = [k.matmul(k.matmul(u, functools.reduce(k.add, [inner, *phases])), vh)]
    if gu is not None and m > r:
        outside = k.sub(gu, k.matmul(u, k.matmul(_h(k, u), gu)))
        parts.append(k.matmul(k.div(outside, row), vh))
    if gvh is not None and n > r:
        outside = k.sub(gvh, k.matmul(k.matmul(gvh, _h(k, vh)), vh))
        parts.append(k.matmul(k.div(u, row), outside))
    for part in parts:
        total = part if total is None else k.add(total, part)
    return total


@op(grad_name="LinalgSvdBackward0", holomorphic=False)
def svdvals(k, A: Tensor):
    """The singular values of each matrix, descending."""
    matrices("linalg.svdvals", A)
    return k.svd(A, False)[1]


@svdvals.derivative("A")
def _(k, g, A):
    u, _, vh = k.linalg_svd(A, False)
    return k.matmul(k.mul(u, k.unsqueeze(g, -2)), vh)


@op(name="linalg_eigh", outputs=2, holomorphic=False, grad_name="LinalgEighBackward0")
def eigh(k, A: Tensor, UPLO="L"):
    """Ascending eigenvalues and orthonormal eigenvectors of symmetric (Hermitian) matrices, from one triangle."""
    square("linalg.eigh", A)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"UPLO must be 'L' or 'U', got {UPLO!r}")
    return k.eigh(A, UPLO.upper())


@eigh.derivative("A")
def _(k, g0, g1, out0, out1):
    v = out1
    inner = None
    if g1 is not None:
        inner = k.mul(k.matmul(_h(k, v), g1), _gaps(k, out0))
    if g0 is not None:
        direct = k.to_dtype(_diagonal_matrix(k, g0), v)
        inner = direct if inner is None else k.add(inner, direct)
    return k.matmul(k.matmul(v, inner), _h(k, v))


@op(name="linalg_eig", outputs=2, holomorphic=False, grad_name="LinalgEigBackward0")
def eig(k, A: Tensor):
    """Eigenvalues and eigenvectors of square matrices, complex."""
    square("linalg.eig", A)
    return k.eig(A)


@eig.derivative("A")
def _(k, g0, g1, A_dtype, out0, out1):
    vh = _h(k, out1)
    inner = None
    if g1 is not None:
        along = k.matmul(vh, g1)
        own = k.matmul(vh, k.mul(out1, k.unsqueeze(k.real(k.diagonal(along, 0, -2, -1)), -2)))
        inner = k.mul(k.sub(along, own), k.conj(_gaps(k, out0)))
    if g0 is not None:
        direct = _diagonal_matrix(k, g0)
        inner = direct if inner is None else k.add(inner, direct)
    total = k.linalg_solve_matrix(vh, k.matmul(inner, vh))
    return total if A_dtype.kind == "c" else k.real(total)


@op(name="linalg_pinv", holomorphic=False, grad_name="LinalgPinvBackward0")
def pinv_op(k, A: Tensor, atol, rtol, hermitian):
    """The pseudo-inverse of each matrix (Moore and Penrose)."""
    return k.pinv(A, atol, rtol, hermitian)


@pinv_op.derivative("A")
def _(k, g, A, out):
    # the derivative of a pseudo-inverse of constant rank (Golub and Pereyra 1973)
    p, ph, gh = out, _h(k, out), _h(k, g)
    first = k.neg(k.matmul(k.matmul(ph, g), ph))
    tail = k.matmul(k.matmul(gh, p), ph)
    second = k.sub(tail, k.matmul(A, k.matmul(p, tail)))
    head = k.matmul(k.matmul(ph, p), gh)
    third = k.sub(head, k.matmul(k.matmul(head, p), A))
    return k.add(k.add(first, second), third)


@op(name="linalg_matrix_exp", grad_name="LinalgMatrixExpBackward0")
def matrix_exp(k, A: Tensor):
    """The exponential of each square matrix, by scaling and squaring (Al-Mohy and Higham 2009)."""
    square("linalg.matrix_exp", A)
    return k.matrix_exp(A)


@matrix_exp.derivative("A")
def _(k, g, A, A_shape):
    # the exponential of [[A', G], [0, A']] has the wanted sum of products in its upper right part
    n, d = A_shape[-1], len(A_shape)
    turned = _t(k, A)
    top = k.cat([turned, g], d - 1)
    bottom = k.cat([k.zeros_like(turned), turned], d - 1)
    whole = k.linalg_matrix_exp(k.cat([top, bottom], d - 2))
    return k.slice(k.slice(whole, d - 2, 0, n), d - 1, n, 2 * n)


@op(
    name="linalg_lu_factor",
    outputs=3,
    hidden=1,
    nondiff=(1,),
    holomorphic=False,
    grad_name="LinalgLuFactorExBackward0",
)
def lu_factor(k, A: Tensor):
    """The triangular factors packed into one matrix, and the row exchanges (from 1); besides, the permutation."""
    matrices("linalg.lu_factor", A)
    packed, pivots = k.lu_factor(A)
    return packed, pivots, k.permutation(pivots, A.shape[-2], A.dtype)


@lu_factor.derivative("A")
def _(k, g0, out0, out2, A_shape):
    m, n = A_shape[-2:]
    r = min(m, n)
    square_part = _cut(k, _cut(k, out0, -2, 0, r), -1, 0, r)
    g = _cut(k, _cut(k, g0, -2, 0, r), -1, 0, r)
    below, above = k.tril(g, -1), k.triu(g, 0)
    rest = None
    if m > n:  # the rows below are A2 U^-1
        rest = _h(k, k.linalg_solve_triangular(square_part, _h(k, _cut(k, g0, -2, r, m)), True, False))
        above = k.sub(above, k.triu(k.matmul(_h(k, _cut(k, out0, -2, r, m)), rest), 0))
    elif n > m:  # the columns beside are L^-1 A2
        rest = k.linalg_solve_triangular(_h(k, square_part), _cut(k, g0, -1, r, n), True, True)
        below = k.sub(below, k.tril(k.matmul(rest, _h(k, _cut(k, out0, -1, r, n))), -1))
    inner = _lu_square(k, below, above, square_part)
    if rest is not None:
        inner = k.cat([inner, rest], len(A_shape) - (2 if m > n else 1))
    return k.matmul(out2, inner)


def _lu_square(k: Any, below: Any, above: Any, packed: Any) -> Any:
    """The gradient of a square matrix (rows exchanged) from those of L, below its diagonal, and of U."""
    low = k.tril(packed, -1)
    inner = k.add(
        k.tril(k.add(k.matmul(_h(k, low), below), below), -1), k.triu(k.matmul(above, _h(k, k.triu(packed, 0))), 0)
    )
    left = k.linalg_solve_triangular(_h(k, packed), inner, True, True)
    return _h(k, k.linalg_solve_triangular(packed, _h(k, left), True, False))
