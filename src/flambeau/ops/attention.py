"""Attention: scaled dot products, and many heads with their projections."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.engines.arrays import is_array
from flambeau.errors import describe
from flambeau.ops.arithmetic import where_op
from flambeau.ops.core import composite, op
from flambeau.ops.dispatch import wrap
from flambeau.ops.dropout import dropout
from flambeau.ops.joining import broadcast_shapes
from flambeau.ops.placing import beside
from flambeau.ops.recompute import gradients
from flambeau.ops.softmax import softmax

__all__ = ["scaled_dot_product_attention"]


@op(name="attention", outputs=2, hidden=1, grad_name="ScaledDotProductFlashAttentionForCpuBackward0")
def attention_op(k, query: Tensor, key: Tensor, value: Tensor, mask: Index = None, causal=False, scale=1.0):
    """softmax(query key^T * scale + mask) value."""
    return k.attention(query, key, value, mask, causal, scale)


@attention_op.derivative("query", "key", "value")
def _(k, g, query, key, value, mask, out, out1, causal, scale, needs):
    return k.attention_rule(g, query, key, value, mask, out, out1, causal, scale, needs)


@composite
def attention_rule(k, g, query, key, value, mask, out, stats, causal, scale, needs):
    """Gradients of attention: the engine's on arrays, by recomputation on tensors."""
    if is_array(query):
        grads = k.attention_backward(g, query, key, value, out, stats, mask, causal, scale)
        return tuple(found if need else None for need, found in zip(needs, grads, strict=True))

    def formula(q, keys, values):
        return (attention_by_steps(q, keys, values, mask, causal, scale, 0.0)[0],)

    return gradients(formula, (query, key, value), (g,), needs)


def attention_by_steps(
    q: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float, p: float
) -> tuple[Any, Any]:
    """Attention by ordinary operations: for dropout, gradients of masks, and derivatives of derivatives."""
    root = math.sqrt(scale) if scale >= 0 else None
    if root is None:
        scores = (q * scale).matmul(key.transpose(-2, -1))
    else:
        scores = (q * root).matmul(key.transpose(-2, -1) * root)
    if causal:
        mask = beside(q, np.tri(scores.shape[-2], scores.shape[-1], dtype=bool))
    if mask is not None and mask.dtype == dtypes.bool_:
        zero, never = (wrap(np.array(v, scores._a.dtype)) for v in (0.0, -np.inf))
        mask = where_op(mask, zero, never)
    if mask is not None:
        scores = scores + mask
    weights = softmax(scores, -1)
    if mask is not None:
        weights = weights.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0.0)
    if p > 0.0:
        weights = dropout(weights, p, True)
    return weights.matmul(value), weights


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`softmax(query key^T * scale + mask) value` (Vaswani et al. 2017), by default with `scale = 1 / sqrt(E)`.

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev), result (..., L, Ev); leading dimensions broadcast.
    `attn_mask` broadcasts to (..., L, S): a bool mask says where attention may go, a float one is added to the scores.
    `is_causal` lets row i see columns up to i. `enable_gqa` repeats heads of key and value (dimension -3) to the number
    of query's. Rows that may see nothing give zeros. Works in blocks and never holds all scores, unless there is
    dropout.

    RuntimeError for shapes or dtypes that do not fit, or for `attn_mask` together with `is_causal`.
    """
    _check(query, key, value, attn_mask, is_causal)
    if enable_gqa:
        key, value = _repeated_heads(query, key), _repeated_heads(query, value)
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    batch = query.shape[:-2]
    if key.shape[:-2] != batch or value.shape[:-2] != batch:
        batch = broadcast_shapes(batch, key.shape[:-2], value.shape[:-2])
        query, key, value = (t.expand(*batch, *t.shape[-2:]) for t in (query, key, value))
    if dropout_p > 0.0 or (attn_mask is not None and attn_mask.requires_grad):
        kind = query.dtype
        if kind.itemsize < 4:  # nothing is rounded on the way
            query, key, value = query.float(), key.float(), value.float()
            attn_mask = attn_mask if attn_mask is None or attn_mask.dtype == dtypes.bool_ else attn_mask.float()
        return attention_by_steps(query, key, value, attn_mask, is_causal, scale, dropout_p)[0].to(kind)
    result = attention_op(query, key, value, attn_mask, is_causal, scale)
    return result if query.ndim == 4 else show_as(result, "UnsafeViewBackward0" if query.ndim > 2 else "MmBackward0")


def _check(query: Any, key: Any, value: Any, mask: Any, causal: bool) -> None:
    name = "scaled_dot_product_attention"
    for what, t in (("query", query), ("key", key), ("value", value)):
        if t.dim() < 2:
            raise RuntimeError(f"{name}(): {what} needs at least 2 dimensions, got {describe(t)}")
        if not t.dtype.is_floating_point:
            raise RuntimeError(f"{name}(): expected floating-point tensors, {what} is {describe(t)}")
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            f"{name}(): query, key and value must have one dtype, got {query.dtype}, {key.dtype} and {value.dtype}"
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"{name}(): expected query (..., L, E), key (..., S, E) and value (..., S, Ev), "
            f"got {list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
        )
    if mask is None:
        return
    if causal:
        raise RuntimeError(f"{name}(): is_causal=True makes its own mask, attn_mask must be None then")
    if mask.dtype != dtypes.bool_ and mask.dtype != query.dtype:
        raise RuntimeError(f"{name}(): attn_mask must be bool or {query.dtype} like query, got {mask.dtype}")


def _repeated_heads(query: Any, t: Any) -> Any:
    heads, have = query.shape[-3], t.shape[-3]
    if have == heads:
        return t
    if have == 0 or heads % have:
        raise RuntimeError(
            f"scaled_dot_product_attention(): with enable_gqa query's {heads} heads must be a multiple of {have}"
        )
    return t.repeat_interleave(heads // have, -3)
