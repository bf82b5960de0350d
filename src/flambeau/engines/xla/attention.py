"""Attention: softmax(q k^T) v and its gradients."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.products import matmul
from flambeau.engines.xla.runtime import jnp

__all__ = ["attention", "attention_backward"]


def _weights(q: Any, key: Any, mask: Any, causal: bool, scale: float) -> Any:
    """The probabilities; rows that may see nothing are zero."""
    scores = matmul(q, jnp.swapaxes(key, -1, -2)) * scale
    if causal:
        mask = jnp.tri(*scores.shape[-2:], dtype=bool)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask.astype(scores.dtype)
    largest = jnp.max(scores, -1, keepdims=True, initial=-jnp.inf)
    e = jnp.exp(scores - jnp.where(jnp.isneginf(largest), 0, largest))
    total = jnp.sum(e, -1, keepdims=True)
    return e / jnp.where(total == 0, 1, total)


def attention(q: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> tuple[Any, None]:
    """The weighted values; nothing is kept for backward."""
    return matmul(_weights(q, key, mask, causal, scale), value), None


def attention_backward(
    g: Any, q: Any, key: Any, value: Any, out: Any, stats: Any, mask: Any, causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    """Gradients of query, key and value."""
    weights = _weights(q, key, mask, causal, scale)
    gv = matmul(jnp.swapaxes(weights, -1, -2), g)
    gw = matmul(g, jnp.swapaxes(value, -1, -2))
    gs = weights * (gw - jnp.sum(gw * weights, -1, keepdims=True)) * scale
    return matmul(gs, key), matmul(jnp.swapaxes(gs, -1, -2), q), gv
