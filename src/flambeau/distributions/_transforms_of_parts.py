"""Transforms by a distribution function, and of the parts of a tensor."""

from __future__ import annotations

from typing import Any

from flambeau.distributions import constraints
from flambeau.distributions._core import cat, stack
from flambeau.distributions._transform import Transform, _Dependent
from flambeau.distributions.utils import _sum_rightmost, lazy_property


class CumulativeDistributionTransform(Transform):
    """y = F(x), the distribution function of `distribution`; the inverse is its `icdf`."""

    bijective = True
    codomain = constraints.unit_interval
    sign = +1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.distribution = distribution

    domain = property(lambda self: self.distribution.support)

    def _call(self, x: Any) -> Any:
        return self.distribution.cdf(x)

    def _inverse(self, y: Any) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return self.distribution.log_prob(x)

    def _copy(self, cache_size: int) -> Any:
        return CumulativeDistributionTransform(self.distribution, cache_size=cache_size)


class _Several(Transform):
    """Transforms of parts of a tensor along one dimension. Subclasses say how to split and join."""

    def __init__(self, tseq: Any, dim: int, cache_size: int) -> None:
        if not all(isinstance(t, Transform) for t in tseq):
            raise AssertionError("a sequence of Transforms is needed")
        super().__init__(cache_size=cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    bijective = property(lambda self: all(t.bijective for t in self.transforms))

    def _parts(self, x: Any) -> list[Any]:
        raise NotImplementedError

    def _joined(self, parts: list[Any], dim: int) -> Any:
        raise NotImplementedError

    def _check(self, x: Any, length: int) -> None:
        if not -x.dim() <= self.dim < x.dim():
            raise AssertionError(f"dim {self.dim} is out of range for a tensor of {x.dim()} dimensions")
        if x.size(self.dim) != length:
            raise AssertionError(f"dimension {self.dim} must have size {length}, got {x.size(self.dim)}")

    def _call(self, x: Any) -> Any:
        parts = zip(self.transforms, self._parts(x), strict=True)
        return self._joined([t(part) for t, part in parts], self.dim)

    def _inverse(self, y: Any) -> Any:
        parts = zip(self.transforms, self._parts(y), strict=True)
        return self._joined([t.inv(part) for t, part in parts], self.dim)

    def _jacobians(self, x: Any, y: Any) -> list[Any]:
        parts = zip(self.transforms, self._parts(x), self._parts(y), strict=True)
        return [t.log_abs_det_jacobian(a, b) for t, a, b in parts]


class CatTransform(_Several):
    """Transforms of slices of given lengths along `dim`."""

    def __init__(self, tseq: Any, dim: int = 0, lengths: Any = None, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise AssertionError(f"{len(self.transforms)} transforms need as many lengths, got {len(self.lengths)}")

    @lazy_property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @lazy_property
    def length(self) -> int:
        return sum(self.lengths)

    def _copy(self, cache_size: int) -> Any:
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _parts(self, x: Any) -> list[Any]:
        self._check(x, self.length)
        starts = [sum(self.lengths[:i]) for i in range(len(self.lengths))]
        return [x.narrow(self.dim, start, n) for start, n in zip(starts, self.lengths, strict=True)]

    def _joined(self, parts: list[Any], dim: int) -> Any:
        return cat(parts, dim=dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        jacobians = [
            _sum_rightmost(jacobian, max(self.event_dim - t.event_dim, 0))
            for t, jacobian in zip(self.transforms, self._jacobians(x, y), strict=True)
        ]
        dim = (self.dim - x.dim() if self.dim >= 0 else self.dim) + self.event_dim
        return self._joined(jacobians, dim) if dim < 0 else sum(jacobians)

    domain = _Dependent(lambda self: constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths))
    codomain = _Dependent(lambda self: constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths))


class StackTransform(_Several):
    """Transforms of the places along `dim`, one each."""

    def __init__(self, tseq: Any, dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    def _copy(self, cache_size: int) -> Any:
        return StackTransform(self.transforms, self.dim, cache_size)

    def _parts(self, x: Any) -> list[Any]:
        self._check(x, len(self.transforms))
        return [x.select(self.dim, i) for i in range(x.size(self.dim))]

    def _joined(self, parts: list[Any], dim: int) -> Any:
        return stack(parts, dim=dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return self._joined(self._jacobians(x, y), self.dim)

    domain = _Dependent(lambda self: constraints.stack([t.domain for t in self.transforms], self.dim))
    codomain = _Dependent(lambda self: constraints.stack([t.codomain for t in self.transforms], self.dim))
