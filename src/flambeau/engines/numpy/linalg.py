"""Kernels of linear algebra: LAPACK through NumPy, on matrices in the last two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.errors import LinAlgError

from . import factoring
from .exponential import exponential


def _lapack(function: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{function.__name__}: {error}: the input has no such inverse or factor") from None


def inv(a: Any) -> Any:
    """The inverse of each matrix."""
    return _lapack(np.linalg.inv, a)


def inv_or_infinite(a: Any) -> Any:
    """The inverse of each matrix; if one is singular, what substitution makes of a zero pivot, as PyTorch's does."""
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        lu, pivots = lu_factor(a.swapaxes(-1, -2))
    n = a.shape[-1]
    swapped = permutation(pivots, n, a.dtype).swapaxes(-1, -2)
    x = np.linalg.solve(np.tril(lu, -1) + np.eye(n, dtype=a.dtype), swapped)
    for i in reversed(range(n)):
        later = (lu[..., i, None, i + 1 :] @ x[..., i + 1 :, :])[..., 0, :]
        x[..., i, :] = (x[..., i, :] - later) / lu[..., i, i, None]
    return x.swapaxes(-1, -2)


def det(a: Any) -> Any:
    """The determinant of each matrix."""
    return np.linalg.det(a)


def slogdet(a: Any) -> tuple[Any, Any]:
    """The sign of the determinant and the logarithm of its size."""
    sign, size = np.linalg.slogdet(a)
    return sign, size


def solve(a: Any, b: Any) -> Any:
    """The solution of `a x = b`, matrices both."""
    return _lapack(np.linalg.solve, a, b)


def solve_triangular(a: Any, b: Any, upper: bool, unitriangular: bool) -> Any:
    """The solution of `a x = b` where only one triangle of `a` is looked at."""
    tri = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        tri = tri - np.eye(a.shape[-1], dtype=a.dtype) * tri + np.eye(a.shape[-1], dtype=a.dtype)
    return (
        np.linalg.solve(tri, b)
        if unitriangular or np.all(np.diagonal(tri, 0, -2, -1) != 0)
        else _substitute(tri, b, upper)
    )


def _substitute(tri: Any, b: Any, upper: bool) -> Any:
    """Substitution that lets a zero on the diagonal give infinities, as LAPACK's does."""
    n = tri.shape[-1]
    batch = np.broadcast_shapes(tri.shape[:-2], b.shape[:-2])
    x = np.array(np.broadcast_to(b, (*batch, *b.shape[-2:])))
    for i in reversed(range(n)) if upper else range(n):
        known = tri[..., i : i + 1, :] * (np.arange(n) > i if upper else np.arange(n) < i)
        rest = np.where(known != 0, known, 0) @ np.where(np.isfinite(x), x, 0)
        x[..., i, :] = (x[..., i, :] - rest[..., 0, :]) / tri[..., i, i, None]
    return x


def cholesky(a: Any) -> Any:
    """The lower triangular factor of each positive definite matrix."""
    return _lapack(np.linalg.cholesky, a)


def qr(a: Any, mode: str) -> tuple[Any, Any]:
    """Orthonormal columns and an upper triangular factor; without columns in mode 'r'."""
    if mode == "r":
        return np.zeros((0,), a.dtype), np.linalg.qr(a, "r")
    factors: Any = np.linalg.qr
    q, r = factors(a, mode)
    return q, r


def svd(a: Any, full: bool) -> tuple[Any, Any, Any]:
    """Singular vectors and values: `a = u @ diag(s) @ vh`."""
    u, s, vh = _lapack(np.linalg.svd, a, full)
    return u, s, vh


def eigh(a: Any, uplo: str) -> tuple[Any, Any]:
    """Eigenvalues in ascending order and eigenvectors of symmetric (Hermitian) matrices, from one triangle."""
    w, v = _lapack(np.linalg.eigh, a, uplo)
    return w, v


def eig(a: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors of any square matrices, complex."""
    w, v = _lapack(np.linalg.eig, a)
    kind = np.complex64 if a.dtype in (np.float32, np.complex64) else np.complex128
    return w.astype(kind), v.astype(kind)


def pinv(a: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    """The pseudo-inverse, singular values up to max(atol, rtol * the largest) counted as 0."""
    if a.size == 0:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        w, v = np.linalg.eigh(a)
        keep = np.abs(w) > _limit(np.abs(w), atol, rtol)
        return (v * (np.where(keep, 1 / np.where(keep, w, 1), 0)[..., None, :])).astype(a.dtype) @ v.conj().swapaxes(
            -1, -2
        )
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    keep = s > _limit(s, atol, rtol)
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0).astype(s.dtype)
    return (vh.conj().swapaxes(-1, -2) * inverse[..., None, :]) @ u.conj().swapaxes(-1, -2)


def _limit(s: Any, atol: Any, rtol: Any) -> Any:
    return np.maximum(atol, rtol * s.max(-1, keepdims=True))


def matrix_exp(a: Any) -> Any:
    """The exponential of each matrix."""
    return exponential(a)


def permutation(pivots: Any, m: int, dtype: Any) -> Any:
    """The matrices that exchange rows as LAPACK's pivots (from 1) say."""
    count = 1
    for n in pivots.shape[:-1]:
        count *= n
    lines = pivots.reshape(count, pivots.shape[-1])
    result = np.zeros((count, m, m), dtype)
    for p, swaps in zip(result, lines, strict=True):
        row = np.arange(m)
        for i, j in enumerate(swaps - 1):
            row[i], row[j] = row[j], row[i]
        p[row, np.arange(m)] = 1
    return result.reshape(*pivots.shape[:-1], m, m)


def lu_factor(a: Any) -> tuple[Any, Any]:
    """The factors packed into one matrix, and the rows exchanged (from 1)."""
    return factoring.triangular(a)
