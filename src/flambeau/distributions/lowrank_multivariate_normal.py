"""The multivariate normal distribution with a covariance of low rank and a diagonal."""

from __future__ import annotations

import math
from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import broadcast_tensors, cholesky, eye, solve_triangular
from flambeau.distributions._of_scale import batch_mahalanobis, batch_mv, half_log_det
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import _standard_normal, lazy_property

__all__ = ["LowRankMultivariateNormal"]


def _weighted(w: Any, d: Any) -> Any:
    """W^T D^-1."""
    return w.mT / d.unsqueeze(-2)


def _with_ones(k: Any) -> Any:
    """K + I."""
    return k + eye(k.size(-1), dtype=k.dtype)


def _batch_capacitance_tril(w: Any, d: Any) -> Any:
    """The Cholesky factor of I + W^T D^-1 W, of the small side's size."""
    return cholesky(_with_ones(_weighted(w, d).matmul(w)))


def _batch_lowrank_logdet(w: Any, d: Any, capacitance_tril: Any) -> Any:
    """The logarithm of det(W W^T + D), by the matrix determinant lemma."""
    return 2 * half_log_det(capacitance_tril) + d.log().sum(-1)


def _batch_lowrank_mahalanobis(w: Any, d: Any, x: Any, capacitance_tril: Any) -> Any:
    """x^T (W W^T + D)^-1 x, by Woodbury's identity."""
    return (x.pow(2) / d).sum(-1) - batch_mahalanobis(capacitance_tril, batch_mv(_weighted(w, d), x))


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors of mean `loc` and covariance W W^T + D, W being `cov_factor` (n x m) and D the
    diagonal `cov_diag` (n): work in n m^2 instead of n^3.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    _tensors = ("loc", "cov_diag", "cov_factor")
    _same = ("_unbroadcasted_cov_factor", "_unbroadcasted_cov_diag", "_capacitance_tril")

    def __init__(self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: Any = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be a vector or a batch of them, got no dimension")
        event_shape = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError(f"cov_factor must be a matrix or a batch of them, got {cov_factor.dim()} dimensions")
        if cov_factor.shape[-2:-1] != event_shape:
            raise ValueError(f"cov_factor must have {event_shape[0]} rows, as loc has, got {tuple(cov_factor.shape)}")
        if cov_diag.shape[-1:] != event_shape:
            raise ValueError(f"cov_diag must have {event_shape[0]} elements, as loc has, got {tuple(cov_diag.shape)}")
        try:
            wide_loc, self.cov_factor, wide_diag = broadcast_tensors(
                loc.unsqueeze(-1), cov_factor, cov_diag.unsqueeze(-1)
            )
        except RuntimeError as error:
            raise ValueError(
                f"the batch shapes do not fit: loc {tuple(loc.shape)}, cov_factor {tuple(cov_factor.shape)}, cov_diag "
                f"{tuple(cov_diag.shape)}"
            ) from error
        self.loc, self.cov_diag = wide_loc[..., 0], wide_diag[..., 0]
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        self._capacitance_tril = _batch_capacitance_tril(cov_factor, cov_diag)
        super().__init__(self.loc.shape[:-1], event_shape, validate_args=validate_args)

    def _square(self) -> Any:
        return self._batch_shape + self._event_shape + self._event_shape

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @lazy_property
    def variance(self) -> Any:
        variance = self._unbroadcasted_cov_factor.pow(2).sum(-1) + self._unbroadcasted_cov_diag
        return variance.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        scaled = self._unbroadcasted_cov_factor / root
        return (root * cholesky(_with_ones(scaled.matmul(scaled.mT)))).expand(self._square())

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        w = self._unbroadcasted_cov_factor
        return (w.matmul(w.mT) + self._unbroadcasted_cov_diag.diag_embed()).expand(self._square())

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        weighted = _weighted(self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag)
        a = solve_triangular(self._capacitance_tril, weighted, upper=False)
        return (self._unbroadcasted_cov_diag.reciprocal().diag_embed() - a.mT @ a).expand(self._square())

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        kind = {"dtype": self.loc.dtype, "device": self.loc.device}
        low = _standard_normal(shape[:-1] + self.cov_factor.shape[-1:], **kind)
        own = _standard_normal(shape, **kind)
        return self.loc + batch_mv(self._unbroadcasted_cov_factor, low) + self._unbroadcasted_cov_diag.sqrt() * own

    def _log_det(self) -> Any:
        return _batch_lowrank_logdet(
            self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag, self._capacitance_tril
        )

    def _mahalanobis(self, x: Any) -> Any:
        return _batch_lowrank_mahalanobis(
            self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag, x, self._capacitance_tril
        )

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + self._log_det() + self._mahalanobis(value - self.loc))

    def entropy(self) -> Any:
        constant = self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (0.5 * (constant + self._log_det())).expand(self._batch_shape)
