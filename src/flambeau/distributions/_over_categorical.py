"""What distributions share that are made of a categorical one."""

from __future__ import annotations

from typing import Any

from flambeau.distributions.distribution import Distribution

__all__ = ["OverCategorical"]


class OverCategorical(Distribution):
    """Shows the parameters of its `_categorical`; an event is a vector over the categories."""

    _parts: tuple[str, ...] = ("_categorical",)
    _categorical: Any

    def _new(self, *args: Any, **kwargs: Any) -> Any:
        return self._categorical._new(*args, **kwargs)

    @property
    def _param(self) -> Any:
        return self._categorical._param

    @property
    def logits(self) -> Any:
        """The logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def probs(self) -> Any:
        """The probabilities."""
        return self._categorical.probs

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter."""
        return self._categorical.param_shape

    def _shapes(self) -> tuple[Any, Any]:
        return self._categorical.batch_shape, self._categorical.param_shape[-1:]
