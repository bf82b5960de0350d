"""The Bernoulli distribution."""

from __future__ import annotations

from math import nan
from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._binary import OfProbability
from flambeau.distributions._core import arange, bernoulli, binary_cross_entropy_with_logits, no_grad
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import broadcast_all

__all__ = ["Bernoulli"]


def counted(distribution: Any, largest: int, dtype: Any, expand: bool) -> Any:
    """0, 1, ..., largest along a new first dimension, before the batch; over the batch only with `expand`."""
    values = arange(1 + largest, dtype=dtype).view((-1,) + (1,) * len(distribution._batch_shape))
    return values.expand((-1,) + distribution._batch_shape) if expand else values


class Bernoulli(OfProbability, ExponentialFamily):
    """1 with probability `probs`, else 0. Give `probs` or `logits`.

    >>> import flambeau as torch
    >>> torch.distributions.Bernoulli(torch.tensor([0.25])).entropy()
    tensor([0.5623])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return (self.probs >= 0.5).to(self.probs).masked_fill(self.probs == 0.5, nan)

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Any:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Any:
        return counted(self, 1, self._param.dtype, expand)

    @property
    def _natural_params(self) -> Any:
        return (self.probs.logit(),)

    def _log_normalizer(self, x: Any) -> Any:  # type: ignore[override]
        return x.exp().log1p()
