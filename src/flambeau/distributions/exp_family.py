"""`ExponentialFamily`: distributions whose density is exp(t(x) . theta - F(theta) + k(x))."""

from __future__ import annotations

from typing import Any

from flambeau.distributions._core import grad
from flambeau.distributions.distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """A family given by its natural parameters and its log normalizer F, of which entropy and divergence follow by
    differentiation (Nielsen and Nock 2010, arXiv:1112.4221).

    Subclasses give `_natural_params`, `_log_normalizer` and `_mean_carrier_measure`, the mean of k.
    """

    @property
    def _natural_params(self) -> Any:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Any) -> Any:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError

    def _mean_statistics(self) -> tuple[list[Any], Any, Any]:
        """The natural parameters, F of them, and its gradient: the mean of the sufficient statistics."""
        parameters = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*parameters)
        return parameters, normalizer, grad(normalizer.sum(), parameters, create_graph=True)

    def entropy(self) -> Any:
        """The entropy: F(theta) - theta . F'(theta) less the mean of k."""
        parameters, normalizer, means = self._mean_statistics()
        result = -self._mean_carrier_measure + normalizer
        for parameter, mean in zip(parameters, means, strict=True):
            result = result - (parameter * mean).reshape(self._batch_shape + (-1,)).sum(-1)
        return result
