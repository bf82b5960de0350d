"""Softmax, its logarithm, log-sum-exp."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.runtime import jnp, lax

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _largest(a: Any, dim: Any) -> Any:
    """Row maxima to subtract; where one is infinite nothing, since infinity minus infinity is NaN."""
    largest = lax.stop_gradient(jnp.max(a.real if a.dtype.kind == "c" else a, dim, keepdims=True))
    return largest


def softmax(a: Any, dim: int) -> Any:
    """`exp(a)` over its sum along `dim`."""
    if a.ndim == 0:
        return jnp.where(jnp.isfinite(a), 1, jnp.nan).astype(a.dtype)
    if not a.size:
        return a
    e = jnp.exp(a - _largest(a, dim))
    return e / jnp.sum(e, dim, keepdims=True)


def log_softmax(a: Any, dim: int) -> Any:
    """`a` minus the logarithm of the sum of its exponentials along `dim`."""
    if a.ndim == 0:
        return jnp.where(jnp.isfinite(a), 0, jnp.nan).astype(a.dtype)
    if not a.size:
        return a
    shifted = a - _largest(a, dim)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), dim, keepdims=True))


def logsumexp(a: Any, dim: Any, keepdim: bool = False) -> Any:
    """Logarithm of the sum of exponentials over `dim` (an int or a tuple), without overflow."""
    if a.ndim == 0:
        dim = None
    if not a.size:
        return jnp.log(jnp.sum(jnp.exp(a), dim, keepdims=keepdim))
    largest = _largest(a, dim)
    largest = jnp.where(jnp.isinf(largest), 0, largest).astype(largest.dtype)
    total = jnp.log(jnp.sum(jnp.exp(a - largest), dim, keepdims=True)) + largest
    return total if keepdim else jnp.squeeze(total, dim if a.ndim else None)
