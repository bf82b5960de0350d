"""What distributions share whose parameter is a probability, given as such or as its logit."""

from __future__ import annotations

from typing import Any

from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits

__all__ = ["OfProbability"]


def one_of(probs: Any, logits: Any) -> None:
    """Raise ValueError unless exactly one of both is given."""
    if (probs is None) == (logits is None):
        raise ValueError("exactly one of `probs` and `logits` must be given")


class OfProbability(Distribution):
    """Keeps `probs` or `logits`, whichever is given; the other one is computed when asked for.

    `_param` is the one that was given.
    """

    _tensors: tuple[str, ...] = ("probs", "logits", "_param")
    _param: Any

    def _take(self, probs: Any, logits: Any, *beside: Any) -> tuple[Any, ...]:
        """Store the parameter broadcast with other values, which are returned."""
        one_of(probs, logits)
        *others, self._param = broadcast_all(*beside, probs if logits is None else logits)
        setattr(self, "probs" if logits is None else "logits", self._param)
        return tuple(others)

    def _take_with_count(self, total_count: Any, probs: Any, logits: Any) -> None:
        (count,) = self._take(probs, logits, total_count)
        self.total_count = count.type_as(self._param)

    def _new(self, *args: Any, **kwargs: Any) -> Any:
        return self._param.new(*args, **kwargs)

    @lazy_property
    def logits(self) -> Any:
        """log(p / (1 - p))."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Any:
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter."""
        return self._param.size()
