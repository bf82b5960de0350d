"""Attention: softmax(q k^T) v and its gradients."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.products import matmul
from flambeau.engines.xla.runtime import jax, jnp, tracing

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


def _fused(q: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    """The device's own kernel as a function of query, key and value; None where it has none for these."""
    half = q.dtype in (jnp.float16, jnp.bfloat16) and q.dtype == key.dtype == value.dtype
    square = not causal or q.shape[-2] == key.shape[-2]
    if tracing.device is None or tracing.device.type != "cuda" or not half or mask is not None or not square:
        return None
    if q.ndim != 4 or q.shape[-1] % 8 or q.shape[-1] > 128 or key.shape[-1] != value.shape[-1]:
        return None
    kernel = dot_products(causal, scale, "cudnn")
    try:
        jax.eval_shape(kernel, q, key, value)
    except (RuntimeError, ValueError, NotImplementedError):  # no cuDNN that is new enough, or not for this GPU
        return None
    return kernel


def dot_products(causal: bool, scale: float, by: str) -> Any:
    """`jax.nn.dot_product_attention` with heads before positions, as PyTorch has them."""

    def kernel(q: Any, key: Any, value: Any) -> Any:
        turned = [jnp.swapaxes(a, 1, 2) for a in (q, key, value)]
        found = jax.nn.dot_product_attention(*turned, scale=scale, is_causal=causal, implementation=by)
        return jnp.swapaxes(found, 1, 2)

    return kernel


def attention(q: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> tuple[Any, None]:
    """The weighted values; nothing is kept for backward."""
    fused = _fused(q, key, value, mask, causal, scale)
    if fused is not None:
        # with what its backward needs, as there: XLA sees that both are one and computes it once
        return jax.vjp(fused, q, key, value)[0], None
    return matmul(_weights(q, key, mask, causal, scale), value), None


def attention_backward(
    g: Any, q: Any, key: Any, value: Any, out: Any, stats: Any, mask: Any, causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    """Gradients of query, key and value."""
    fused = _fused(q, key, value, mask, causal, scale)
    if fused is not None:
        return jax.vjp(fused, q, key, value)[1](g.astype(q.dtype))
    weights = _weights(q, key, mask, causal, scale)
    gv = matmul(jnp.swapaxes(weights, -1, -2), g)
    gw = matmul(g, jnp.swapaxes(value, -1, -2))
    gs = weights * (gw - jnp.sum(gw * weights, -1, keepdims=True)) * scale
    return matmul(gs, key), matmul(jnp.swapaxes(gs, -1, -2), q), gv
