"""The half-Cauchy distribution."""

from __future__ import annotations

from math import inf
from typing import Any

from flambeau.distributions._core import full
from flambeau.distributions._over_base import Half
from flambeau.distributions.cauchy import Cauchy

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """|x| of a Cauchy x of median 0 and scale `scale`."""

    def __init__(self, scale: Any, validate_args: Any = None) -> None:
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return full(self._extended_shape(), inf, dtype=self.scale.dtype)

    @property
    def variance(self) -> Any:
        return self.base_dist.variance
