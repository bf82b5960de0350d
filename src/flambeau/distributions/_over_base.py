"""What transformed distributions share that show the parameters of their base."""

from __future__ import annotations

import math
from math import inf
from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import as_tensor, where, zeros_like
from flambeau.distributions._transforms_of_numbers import AbsTransform
from flambeau.distributions.transformed_distribution import TransformedDistribution

__all__ = ["Half", "Relaxed", "of_base"]


def of_base(name: str, words: str) -> Any:
    """A property that is the base distribution's."""
    return property(lambda self: getattr(self.base_dist, name), doc=words)


class Half(TransformedDistribution):
    """|x| of a distribution that is symmetric about 0: twice its density on the positive side."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, base_dist: Any, validate_args: Any = None) -> None:
        super().__init__(base_dist, AbsTransform(), validate_args=validate_args)

    scale = of_base("scale", "The scale of the symmetric distribution.")

    @property
    def mode(self) -> Any:
        return zeros_like(self.scale)

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        value = as_tensor(value, dtype=self.scale.dtype)
        return where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -inf)

    def cdf(self, value: Any) -> Any:
        self._check(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, prob: Any) -> Any:
        return self.base_dist.icdf((prob + 1) / 2)

    def entropy(self) -> Any:
        return self.base_dist.entropy() - math.log(2)


class Relaxed(TransformedDistribution):
    """A relaxation of a discrete distribution, whose base holds temperature and probabilities."""

    has_rsample = True
    temperature = of_base("temperature", "How far the samples are from discrete ones: 0 would be discrete.")
    logits = of_base("logits", "The logits of the discrete distribution.")
    probs = of_base("probs", "The probabilities of the discrete distribution.")
