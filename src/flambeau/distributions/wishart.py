"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from math import nan
from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import (
    Size,
    arange,
    broadcast_shapes,
    cholesky_solve,
    eye,
    finfo,
    mvlgamma,
    randn,
    slogdet,
    tensor,
)
from flambeau.distributions._of_scale import OfScale, half_log_det
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import is_number, lazy_property

__all__ = ["Wishart"]

_LOG_2 = math.log(2)


def _mvdigamma(x: Any, p: int) -> Any:
    """The derivative of `mvlgamma`."""
    if not x.gt((p - 1) / 2).all():
        raise AssertionError(f"the multivariate digamma function of dimension {p} needs more than {(p - 1) / 2}")
    return (x.unsqueeze(-1) - arange(p, dtype=x.dtype).div(2)).digamma().sum(-1)


class Wishart(OfScale, ExponentialFamily):
    """The distribution of X X^T, X having `df` columns that are normal with the given covariance.

    Give one of `covariance_matrix`, `precision_matrix` and `scale_tril`. `df` must exceed the matrices' size less 1;
    below that size the samples are often singular, which is warned of. Samples are drawn by Bartlett's decomposition.
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _tensors = ("df", *OfScale._tensors)
    _parts = ("_dist_chi2",)

    @property
    def arg_constraints(self) -> Any:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: Any = None,
    ) -> None:
        name, matrix = self._one_matrix(AssertionError, covariance_matrix, precision_matrix, scale_tril)
        if is_number(df):
            batch_shape = Size(matrix.shape[:-2])
            self.df = tensor(df, dtype=matrix.dtype)
        else:
            batch_shape = broadcast_shapes(matrix.shape[:-2], df.shape)
            self.df = df.expand(batch_shape)
        event_shape = matrix.shape[-2:]
        if self.df.le(event_shape[-1] - 1).any():
            raise ValueError(f"df must exceed {event_shape[-1] - 1}, the size of the matrices less 1, got {df}")
        self._take_matrix(name, matrix, batch_shape)
        if self.df.lt(event_shape[-1]).any():
            warnings.warn(
                f"df is below the size of the matrices, {event_shape[-1]}: samples can be singular", stacklevel=2
            )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._factor(name, matrix)
        # for Bartlett's decomposition: the squares of the factor's diagonal
        falling = arange(event_shape[-1], dtype=matrix.dtype)
        self._dist_chi2 = Chi2(df=(self.df.unsqueeze(-1) - falling).expand((*batch_shape, -1)))

    @property
    def _batch_dims(self) -> list[int]:
        return [-(i + 1) for i in range(len(self._batch_shape))]

    def _square(self) -> Any:
        return self._batch_shape + self._event_shape

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        factor = self._unbroadcasted_scale_tril
        return cholesky_solve(eye(self._event_shape[-1], dtype=factor.dtype), factor).expand(self._square())

    def _wide(self, numbers: Any) -> Any:
        return numbers.view((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Any:
        return self._wide(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Any:
        """NaN where df is at most the size of the matrices plus 1."""
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return self._wide(factor.masked_fill(factor <= 0, nan)) * self.covariance_matrix

    @property
    def variance(self) -> Any:
        covariance = self.covariance_matrix
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        return self._wide(self.df) * (covariance.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _bartlett_sampling(self, sample_shape: Any = ()) -> Any:
        p = self._event_shape[-1]
        roots = self._dist_chi2.rsample(sample_shape).sqrt()
        noise = roots.clamp(min=finfo(roots.dtype).eps).diag_embed(dim1=-2, dim2=-1)
        place = arange(p)
        below = place < place.view(-1, 1)
        noise[..., below] = randn(Size(sample_shape) + self._batch_shape + Size((p * (p - 1) // 2,)), dtype=noise.dtype)
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.transpose(-2, -1)

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Any:
        """Samples; singular ones are warned of and drawn again, `max_try_correction` times at most (by default 10)."""
        sample = self._bartlett_sampling(sample_shape)
        again = self._of_batch(self.support.check(sample))  # as in PyTorch, what passes at first is drawn once more
        for _ in range(10 if max_try_correction is None else max_try_correction):
            if not again.any():
                break
            place, again = again, again.clone()
            fresh = self._bartlett_sampling(place[place].shape)
            sample[place] = fresh
            singular = self._of_batch(~self.support.check(fresh))
            again[place] = singular
            if singular.any():
                warnings.warn("a sample is singular: it is drawn again", stacklevel=2)
        return sample

    def _of_batch(self, checked: Any) -> Any:
        """For each sample of the whole batch, whether any of it is True."""
        return checked.amax(self._batch_dims) if self._batch_shape else checked

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        df, p = self.df, self._event_shape[-1]
        scale = -df * (p * _LOG_2 / 2 + half_log_det(self._unbroadcasted_scale_tril))
        density = (df - p - 1) / 2 * slogdet(value).logabsdet
        trace = cholesky_solve(value, self._unbroadcasted_scale_tril).diagonal(dim1=-2, dim2=-1).sum(-1)
        return scale - mvlgamma(df / 2, p) + density - trace / 2

    def entropy(self) -> Any:
        df, p = self.df, self._event_shape[-1]
        scale = (p + 1) * (p * _LOG_2 / 2 + half_log_det(self._unbroadcasted_scale_tril))
        return scale + mvlgamma(df / 2, p) - (df - p - 1) / 2 * _mvdigamma(df / 2, p) + df * p / 2

    @property
    def _natural_params(self) -> Any:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Any, y: Any) -> Any:  # type: ignore[override]
        p = self._event_shape[-1]
        half = y + (p + 1) / 2
        return half * (-slogdet(-2 * x).logabsdet + _LOG_2 * p) + mvlgamma(half, p)
