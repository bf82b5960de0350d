"""Kullback-Leibler divergences: `kl_divergence(p, q)`, by formulas registered for pairs of families.

The formulas are in `_kl_same` (a family with itself), `_kl_cross` (two families) and `_kl_normal` (multivariate normal
distributions), which importing the package loads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.distributions.distribution import Distribution

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}
_KL_MEMOIZE: dict[tuple[type, type], Any] = {}


def register_kl(type_p: Any, type_q: Any) -> Callable:
    """A decorator: use the function for `kl_divergence(p, q)` where p and q are of these classes, or of subclasses.

    TypeError for what is no class. Classes outside of Distribution may be named: packages have families of their own.
    """
    for kind in (type_p, type_q):
        if not isinstance(kind, type):
            raise TypeError(f"register_kl() takes subclasses of Distribution, got {kind!r}")

    def decorator(fun: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = fun
        _KL_MEMOIZE.clear()  # a more fitting formula may have come
        return fun

    return decorator


def _closest(candidates: list[tuple[type, ...]]) -> tuple[type, ...]:
    """The most specific of some tuples of classes, the first of them weighing most."""

    def before(one: tuple[type, ...], other: tuple[type, ...]) -> bool:
        for x, y in zip(one, other, strict=True):
            if not issubclass(x, y):
                return False
            if x is not y:
                break
        return True

    best = candidates[0]
    for candidate in candidates[1:]:
        if before(candidate, best):
            best = candidate
    return best


def _dispatch_kl(type_p: type, type_q: type) -> Any:
    matches = [(p, q) for p, q in _KL_REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)]
    if not matches:
        return NotImplemented
    left = _closest(matches)  # type: ignore[arg-type]
    right = _closest([m[::-1] for m in matches])[::-1]
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:  # type: ignore[index]
        warnings.warn(
            f"kl_divergence({type_p.__name__}, {type_q.__name__}) is ambiguous: the formulas for "
            f"({left[0].__name__}, {left[1].__name__}) and ({right[0].__name__}, {right[1].__name__}) fit equally; use "
            f"register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[left]  # type: ignore[index]


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """The divergence of q from p: the mean of log(p(x) / q(x)) under p, of their common batch shape.

    NotImplementedError if no formula is registered for their classes.

    >>> import flambeau as torch
    >>> from flambeau.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(torch.tensor([0.0]), 1.0), Normal(torch.tensor([1.0]), 1.0))
    tensor([0.5000])
    """
    key = type(p), type(q)
    if key not in _KL_MEMOIZE:
        _KL_MEMOIZE[key] = _dispatch_kl(*key)
    fun = _KL_MEMOIZE[key]
    if fun is NotImplemented:
        raise NotImplementedError(
            f"there is no formula for kl_divergence({type(p).__name__}, {type(q).__name__}); add one with register_kl"
        )
    return fun(p, q)
