"""Divergences between multivariate normal distributions, full and of low rank."""

from __future__ import annotations

from typing import Any

from flambeau.distributions._core import broadcast_shapes, solve_triangular
from flambeau.distributions._of_scale import batch_mahalanobis, half_log_det
from flambeau.distributions.kl import register_kl
from flambeau.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal, _weighted
from flambeau.distributions.multivariate_normal import MultivariateNormal


def _same_size(p: Any, q: Any) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(f"kl_divergence: the event shapes differ: {tuple(p.event_shape)} and {tuple(q.event_shape)}")


def _trace(matrix: Any) -> Any:
    """The trace of A A^T: the sum of the squares."""
    return matrix.pow(2).sum((-2, -1))


def _solved(factor: Any, matrix: Any) -> Any:
    """L^-1 A, with broadcast batches."""
    batch = broadcast_shapes(factor.shape[:-2], matrix.shape[:-2])
    wide = (t.expand((*batch, *t.shape[-2:])) for t in (factor, matrix))
    return solve_triangular(*wide, upper=False)


@register_kl(MultivariateNormal, MultivariateNormal)
def _full(p: Any, q: Any) -> Any:
    _same_size(p, q)
    mine, other = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    distance = batch_mahalanobis(other, q.loc - p.loc)
    half = half_log_det(other) - half_log_det(mine)
    return half + 0.5 * (_trace(_solved(other, mine)) + distance - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: Any, q: Any) -> Any:
    _same_size(p, q)
    w, d = p._unbroadcasted_cov_factor, p._unbroadcasted_cov_diag
    a = _inner(q)
    diagonal = (d / q._unbroadcasted_cov_diag).sum(-1) - _trace(a * d.sqrt().unsqueeze(-2))
    trace = diagonal + _trace_in(q, w, a)
    return 0.5 * (q._log_det() - p._log_det() + trace + q._mahalanobis(q.loc - p.loc) - p.event_shape[0])


def _inner(q: Any) -> Any:
    """C^-1 W^T D^-1, C being the capacitance's factor: what Woodbury's identity takes off D^-1."""
    weighted = _weighted(q._unbroadcasted_cov_factor, q._unbroadcasted_cov_diag)
    return solve_triangular(q._capacitance_tril, weighted, upper=False)


def _trace_in(q: Any, factor: Any, inner: Any) -> Any:
    """The trace of (covariance of q)^-1 F F^T."""
    return _trace(factor * q._unbroadcasted_cov_diag.rsqrt().unsqueeze(-1)) - _trace(inner.matmul(factor))


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _full_low_rank(p: Any, q: Any) -> Any:
    _same_size(p, q)
    factor = p._unbroadcasted_scale_tril
    trace = _trace_in(q, factor, _inner(q))
    log_det = q._log_det() - 2 * half_log_det(factor)
    return 0.5 * (log_det + trace + q._mahalanobis(q.loc - p.loc) - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_rank_full(p: Any, q: Any) -> Any:
    _same_size(p, q)
    factor = q._unbroadcasted_scale_tril
    roots = p._unbroadcasted_cov_diag.sqrt().diag_embed()
    trace = _trace(_solved(factor, p._unbroadcasted_cov_factor)) + _trace(_solved(factor, roots))
    distance = batch_mahalanobis(factor, q.loc - p.loc)
    return 0.5 * (2 * half_log_det(factor) - p._log_det() + trace + distance - p.event_shape[0])
