"""The geometric distribution."""

from __future__ import annotations

from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._binary import OfProbability
from flambeau.distributions._core import binary_cross_entropy_with_logits, empty, finfo, no_grad, zeros_like
from flambeau.distributions.utils import broadcast_all

__all__ = ["Geometric"]


class Geometric(OfProbability):
    """How many failures come before the first success of probability `probs`. Give `probs` or `logits`."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            raise ValueError(f"{self!r}: parameter probs must be positive, but found invalid values:\n{self.probs}")

    @property
    def mean(self) -> Any:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Any:
        return zeros_like(self.probs)

    @property
    def variance(self) -> Any:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            u = empty(self._extended_shape(sample_shape), dtype=self.probs.dtype)
            return (u.uniform_(finfo(u.dtype).tiny, 1).log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        value, probs = broadcast_all(value, self.probs)
        failures = value * (-probs.masked_fill((probs == 1) & (value == 0), 0)).log1p()
        return failures + self.probs.log()

    def entropy(self) -> Any:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
