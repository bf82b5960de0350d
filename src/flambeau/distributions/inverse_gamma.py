"""The inverse gamma distribution."""

from __future__ import annotations

from math import inf
from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import where
from flambeau.distributions._over_base import of_base
from flambeau.distributions._transforms_of_numbers import PowerTransform
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.transformed_distribution import TransformedDistribution

__all__ = ["InverseGamma"]


class InverseGamma(TransformedDistribution):
    """1 / x of a gamma x."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: Any = None) -> None:
        base = Gamma(concentration, rate, validate_args=validate_args)
        super().__init__(base, PowerTransform(-base.rate.new_ones(())), validate_args=validate_args)

    concentration = of_base("concentration", "The concentration of the gamma distribution.")
    rate = of_base("rate", "The rate of the gamma distribution: the scale of this one.")

    @property
    def mean(self) -> Any:
        """Infinite for a concentration of at most 1."""
        return where(self.concentration > 1, self.rate / (self.concentration - 1), inf)

    @property
    def mode(self) -> Any:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Any:
        """Infinite for a concentration of at most 2."""
        a = self.concentration
        return where(a > 2, self.rate.square() / ((a - 1).square() * (a - 2)), inf)

    def entropy(self) -> Any:
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()
