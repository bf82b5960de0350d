"""The generalised Pareto distribution."""

from __future__ import annotations

from math import inf, nan
from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import isclose, ones_like, rand, where, zeros_like
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """What exceeds a high threshold: survival (1 + c z)^(-1/c) for z = (x - loc) / scale, c the concentration.

    The exponential distribution is the case c = 0.
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    _tensors = ("loc", "scale", "concentration")

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: Any = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        upper = where(self.concentration < 0, self.loc - self.scale / self.concentration, inf)
        return constraints.interval(self.loc, upper)

    def _z(self, x: Any) -> Any:
        return (x - self.loc) / self.scale

    def _safe(self) -> tuple[Any, Any]:
        """Where the concentration is 0, and the concentration with 1 in those places."""
        zero = isclose(self.concentration, zeros_like(self.concentration))
        return zero, where(zero, ones_like(self.concentration), self.concentration)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        z, (zero, c) = self._z(value), self._safe()
        power = 1 / c + ones_like(z)
        decay = where(power == 0, power, power * (c * z).log1p())
        return -self.scale.log() - where(zero, z, decay)

    def log_survival_function(self, value: Any) -> Any:
        """The logarithm of the probability of more than `value`."""
        self._check(value)
        z, (zero, c) = self._z(value), self._safe()
        return where(zero, -z, -(c * z).log1p() / c)

    def log_cdf(self, value: Any) -> Any:
        """The logarithm of `cdf`."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Any) -> Any:
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Any:
        zero, c = self._safe()
        log_survival = (-value).log1p()
        return where(
            zero,
            self.loc - self.scale * log_survival,
            self.loc + self.scale / c * (-c * log_survival).expm1(),
        )

    @property
    def mean(self) -> Any:
        """NaN for a concentration of 1 or more."""
        valid = self.concentration < 1
        return where(valid, self.loc + self.scale / (1 - where(valid, self.concentration, 0.5)), nan)

    @property
    def variance(self) -> Any:
        """NaN for a concentration of 1/2 or more."""
        valid = self.concentration < 0.5
        c = where(valid, self.concentration, 0.25)
        return where(valid, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), nan)

    @property
    def mode(self) -> Any:
        return self.loc

    def entropy(self) -> Any:
        return (self.scale.log() + self.concentration + 1).expand(self._batch_shape)
