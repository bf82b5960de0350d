"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._binary import OfProbability
from flambeau.distributions._core import logsigmoid, no_grad, poisson
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.utils import lazy_property

__all__ = ["NegativeBinomial"]


class NegativeBinomial(OfProbability):
    """How many trials succeed with probability `probs` before `total_count` have failed. Give `probs` or `logits`."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    _tensors = ("total_count", *OfProbability._tensors)

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: Any = None) -> None:
        self._take_with_count(total_count, probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Any:
        return self.mean / (-self.logits).sigmoid()

    @lazy_property
    def _gamma(self) -> Any:
        return Gamma(concentration=self.total_count, rate=(-self.logits).exp(), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return poisson(self._gamma.sample(sample_shape=sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        n = self.total_count
        outcome = n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        orders = -(n + value).lgamma() + (1.0 + value).lgamma() + n.lgamma()
        return outcome - orders.masked_fill(n + value == 0.0, 0.0)
