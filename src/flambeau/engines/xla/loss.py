"""Losses with class targets, and squared error; their gradients are the formulas that the ops have."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.runtime import jnp

__all__ = ["cross_entropy_rows", "mse_loss", "nll_rows"]


def _picked(a: Any, target: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """The scores of (N, C, L) at the targets, flat; their flat places; and which of them count."""
    n, c, length = a.shape
    flat = target.reshape(-1)
    valid = (flat != ignore_index) & (flat >= 0) & (flat < c)
    safe = jnp.where(valid, flat, 0).astype(jnp.int64)
    row = jnp.repeat(jnp.arange(n), length)
    column = jnp.tile(jnp.arange(length), n)
    places = (row * c + safe) * length + column
    return a.reshape(-1)[places] if c else jnp.zeros(flat.shape, a.dtype), places, valid


def _shares(target: Any, valid: Any, weight: Any, reduction: str, dtype: Any) -> Any:
    """The factor of each target's term in the result."""
    share = valid.astype(dtype)
    if weight is not None:
        share = share * weight[jnp.where(valid, target.reshape(-1), 0)]
    if reduction == "mean":
        total = jnp.sum(share)
        share = jnp.where(valid, share / total, 0).astype(dtype)
    return share


def _reduced(terms: Any, share: Any, valid: Any, reduction: str, shape: Any) -> Any:
    terms = jnp.where(valid, terms, 0).astype(terms.dtype)
    if reduction == "none":
        return (terms * share).reshape(shape)
    value = jnp.sum(terms * share)
    return value if reduction == "sum" else jnp.where(jnp.any(valid), value, jnp.nan).astype(terms.dtype)


def nll_rows(a: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> tuple[Any, Any, Any]:
    """Negative log-likelihood of (N, C, L) scores: the loss, the targets' flat places, the factor of each."""
    picked, places, valid = _picked(a, target, ignore_index)
    share = _shares(target, valid, weight, reduction, a.dtype)
    return _reduced(-picked, share, valid, reduction, target.shape), places, share


def cross_entropy_rows(
    a: Any, target: Any, weight: Any, ignore_index: int, reduction: str
) -> tuple[Any, None, None, Any, Any]:
    """Softmax cross entropy of (N, C) scores with class targets; also the targets' flat places and factors."""
    if a.shape[1] == 0 and a.shape[0]:
        raise IndexError("cross_entropy: expected scores of at least one class, got a tensor of shape [N, 0]")
    picked, places, valid = _picked(a[:, :, None], target, ignore_index)
    others = a - picked[:, None]
    largest = jnp.max(others, 1, keepdims=True, initial=0)
    # relative to the target's own score the sum is 1 plus what is wrong: small losses keep their digits
    total = jnp.sum(jnp.exp(others - largest), 1)
    terms = jnp.where(largest[:, 0] == 0, jnp.log(total), jnp.log(total) + largest[:, 0])
    share = _shares(target, valid, weight, reduction, a.dtype)
    return _reduced(terms, share, valid, reduction, target.shape), None, None, places, share


def mse_loss(a: Any, b: Any, reduction: str) -> Any:
    """Squared differences, or their mean or sum."""
    d = a - b
    d = d * d
    return d if reduction == "none" else jnp.sum(d) if reduction == "sum" else jnp.mean(d)
