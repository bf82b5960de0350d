"""What distributions share that take a positive definite matrix: covariance, precision, or Cholesky factor."""

from __future__ import annotations

from typing import Any

from flambeau.distributions._core import Size, cholesky, eye, solve_triangular
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import lazy_property

__all__ = ["OfScale", "batch_mahalanobis", "batch_mv", "half_log_det"]

_NAMES = ("covariance_matrix", "precision_matrix", "scale_tril")


def batch_mv(matrix: Any, vector: Any) -> Any:
    """Matrices times vectors, batch by batch."""
    return matrix.matmul(vector.unsqueeze(-1)).squeeze(-1)


def half_log_det(scale_tril: Any) -> Any:
    """Half the logarithm of the determinant of L L^T."""
    return scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def batch_mahalanobis(scale_tril: Any, x: Any) -> Any:
    """x^T (L L^T)^-1 x for factors L whose batch shape broadcasts with that of the vectors x.

    Vectors that share a factor are solved for together, as the columns of one right-hand side.
    """
    n = x.size(-1)
    batch = x.shape[:-1]
    factors = scale_tril.dim() - 2
    outer = len(batch) - factors
    # split each dimension of the batch into (how many share a factor, how many factors)
    split: list[int] = list(batch[:outer])
    for size, of_x in zip(scale_tril.shape[:-2], batch[outer:], strict=True):
        split += [of_x // size, size]
    x = x.reshape([*split, n])
    shared = [*range(outer), *range(outer, len(split), 2)]
    own = list(range(outer + 1, len(split), 2))
    moved = x.permute([*shared, *own, len(split)])
    flat = scale_tril.reshape(-1, n, n)
    columns = moved.reshape(-1, flat.size(0), n).permute(1, 2, 0)
    distances = solve_triangular(flat, columns, upper=False).pow(2).sum(-2).t().reshape(moved.shape[:-1])
    order = [*shared, *own]
    return distances.permute([order.index(i) for i in range(len(order))]).reshape(batch)


def _precision_to_scale_tril(precision: Any) -> Any:
    """The Cholesky factor of a matrix's inverse: that of the matrix with reversed axes, reversed and inverted."""
    reverse = cholesky(precision.flip((-2, -1))).flip((-2, -1)).transpose(-2, -1)
    return solve_triangular(reverse, eye(precision.shape[-1], dtype=precision.dtype), upper=False)


class OfScale(Distribution):
    """Keeps the one matrix that was given, and the Cholesky factor L of the covariance without the batch."""

    _tensors: tuple[str, ...] = _NAMES
    _same: tuple[str, ...] = ("_unbroadcasted_scale_tril",)
    _unbroadcasted_scale_tril: Any

    @staticmethod
    def _one_matrix(error: type[Exception], *matrices: Any) -> tuple[str, Any]:
        """Name and value of the one that was given."""
        given = [(name, m) for name, m in zip(_NAMES, matrices, strict=True) if m is not None]
        if len(given) != 1:
            raise error(f"exactly one of {', '.join(_NAMES)} must be given, got {[name for name, _ in given]}")
        name, matrix = given[0]
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be a matrix or a batch of them, got {matrix.dim()} dimensions")
        return name, matrix

    def _take_matrix(self, name: str, matrix: Any, batch_shape: Any) -> None:
        setattr(self, name, matrix.expand(Size(batch_shape) + Size((-1, -1))))

    def _factor(self, name: str, matrix: Any) -> None:
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = _precision_to_scale_tril(matrix)

    def _square(self) -> Any:
        n = self._event_shape[-1:]
        return self._batch_shape + n + n

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._square())

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        factor = self._unbroadcasted_scale_tril
        return factor.matmul(factor.mT).expand(self._square())
