"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import Size, log_softmax, no_grad
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """One of K components, each with its probability; the components are the last batch dimension of one distribution.

    Args:
        mixture_distribution: a `Categorical` over the K components.
        component_distribution: a distribution whose batch shape ends in K.

    Raises:
        ValueError: they are no such distributions, or do not fit each other.
    """

    arg_constraints: Any = {}
    has_rsample = False
    _parts = ("_component_distribution", "_mixture_distribution")
    _same = ("_num_component", "_event_ndims")

    def __init__(self, mixture_distribution: Any, component_distribution: Any, validate_args: Any = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(f"the mixture must be a Categorical, got {type(mixture_distribution).__name__}")
        if not isinstance(component_distribution, Distribution):
            raise ValueError(f"the components must be a Distribution, got {type(component_distribution).__name__}")
        mixture, components = mixture_distribution.batch_shape, component_distribution.batch_shape
        if any(i not in (1, j) and j != 1 for i, j in zip(mixture[::-1], components[-2::-1], strict=False)):
            raise ValueError(f"the mixture's batch shape {mixture} does not fit that of the components {components}")
        count = mixture_distribution.logits.shape[-1]
        if count != components[-1]:
            raise ValueError(f"the mixture is over {count} components, but there are {components[-1]}")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        self._num_component = count
        event_shape = component_distribution.event_shape
        self._event_ndims = len(event_shape)
        super().__init__(components[:-1], event_shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Any:
        """The distribution over components."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Any:
        """The components."""
        return self._component_distribution

    def _average(self, values: Any) -> Any:
        """The mean of the components' values."""
        return (self._pad_mixture_dimensions(self.mixture_distribution.probs) * values).sum(-1 - self._event_ndims)

    @property
    def mean(self) -> Any:
        return self._average(self.component_distribution.mean)

    @property
    def variance(self) -> Any:
        between = (self.component_distribution.mean - self._pad(self.mean)).pow(2.0)
        return self._average(self.component_distribution.variance) + self._average(between)

    def cdf(self, x: Any) -> Any:
        return (self.component_distribution.cdf(self._pad(x)) * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Any) -> Any:
        self._check(x)
        weights = log_softmax(self.mixture_distribution.logits, dim=-1)
        return (self.component_distribution.log_prob(self._pad(x)) + weights).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        sample_shape = Size(sample_shape)
        with no_grad():
            chosen = self.mixture_distribution.sample(sample_shape)
            all_of_them = self.component_distribution.sample(sample_shape)
            dim = len(sample_shape) + len(self.batch_shape)
            events = self.event_shape
            place = chosen.reshape(chosen.shape + Size([1] * (len(events) + 1)))
            place = place.repeat(Size([1] * len(chosen.shape)) + Size([1]) + events)
            return all_of_them.gather(dim, place).squeeze(dim)

    def _pad(self, x: Any) -> Any:
        return x.unsqueeze(-1 - self._event_ndims)

    def _pad_mixture_dimensions(self, x: Any) -> Any:
        mixture = len(self.mixture_distribution.batch_shape)
        missing = 0 if mixture == 1 else len(self.batch_shape) - mixture
        return x.reshape(x.shape[:-1] + Size([1] * missing) + x.shape[-1:] + Size([1] * self._event_ndims))

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
