"""Attention with many heads, their projections in and out included (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops.arithmetic import where_op
from flambeau.ops.attention import scaled_dot_product_attention
from flambeau.ops.dispatch import wrap
from flambeau.ops.dropout import dropout
from flambeau.ops.joining import cat
from flambeau.ops.pad import pad
from flambeau.ops.products import linear
from flambeau.ops.softmax import softmax

__all__ = ["multi_head_attention_forward"]


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Any, Any]:
    """Project query, key and value, attend in `num_heads` heads, project back; returns (output, weights).

    Shapes: query (L, N, E), key and value (S, N, E), or all without N; output like query. Weights are (N, L, S)
    averaged over heads, (N, num_heads, L, S) with `average_attn_weights=False`, None with `need_weights=False`. Masks:
    `key_padding_mask` (N, S), `attn_mask` (L, S) or (N * num_heads, L, S); True hides, floats are added to scores.
    `bias_k` and `bias_v` append a row to key and value, `add_zero_attn` a row of zeros. `is_causal` hints that
    `attn_mask` is the causal mask. `static_k` and `static_v` (N * num_heads, S, E / num_heads) replace the
    projections.

    AssertionError for shapes that do not fit the weights, RuntimeError for masks of a wrong shape.
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = key_padding_mask.unsqueeze(0) if key_padding_mask is not None else None
    length, batch, width = query.shape
    _check_widths(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if is_causal and attn_mask is None:
        raise RuntimeError("attention heads: is_causal is a hint about attn_mask, pass the mask too")
    padding = _additive(key_padding_mask, "key_padding_mask", query)
    if is_causal and padding is None and not need_weights:
        attn_mask = None
    else:
        attn_mask, is_causal = _additive(attn_mask, "attn_mask", query), is_causal and padding is None
    attn_mask = _mask_3d(attn_mask, length, key.shape[0], batch * num_heads)

    if use_separate_proj_weight:
        q, k, v = _separate(query, key, value, q_proj_weight, k_proj_weight, v_proj_weight, in_proj_bias)
    else:
        q, k, v = _together(query, key, value, in_proj_weight, in_proj_bias)
    q, k, v, extra = _as_heads(q, k, v, batch * num_heads, bias_k, bias_v, static_k, static_v, add_zero_attn)
    if extra:
        attn_mask = pad(attn_mask, (0, extra)) if attn_mask is not None else None
        padding = pad(padding, (0, extra)) if padding is not None else None
    attn_mask = _merged(attn_mask, padding, batch, num_heads, k.shape[1])

    p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        output, weights = _with_weights(q, k, v, attn_mask, p)
        output = output.transpose(0, 1)
        weights = weights.view(batch, num_heads, length, k.shape[1])
        weights = weights.mean(dim=1) if average_attn_weights else weights
    else:
        output = _without_weights(q, k, v, attn_mask, p, is_causal, batch, num_heads)
    output = linear(output.reshape(length * batch, width), out_proj_weight, out_proj_bias)
    output = output.view(length, batch, output.shape[1])
    if not batched:
        return output.squeeze(1), weights.squeeze(0) if weights is not None else None
    return output, weights


def _as_heads(
    q: Any, k: Any, v: Any, count: int, bias_k: Any, bias_v: Any, static_k: Any, static_v: Any, add_zeros: bool
) -> tuple[Any, Any, Any, int]:
    """Projections as (batch * heads, rows, width of a head), and how many rows were appended to keys and values."""
    batch, width = q.shape[1:]
    size = batch * width // count
    extra = 0
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("attention heads: bias_k and bias_v can't be added to static_k, static_v")
        k, v = cat([k, bias_k.repeat(1, batch, 1)]), cat([v, bias_v.repeat(1, batch, 1)])
        extra += 1
    elif bias_k is not None or bias_v is not None:
        raise AssertionError("attention heads: bias_k and bias_v come together or not at all")
    q = _split_heads(q, count)
    k = _split_heads(k, count) if static_k is None else _static(static_k, count, size)
    v = _split_heads(v, count) if static_v is None else _static(static_v, count, size)
    if add_zeros:
        zeros = k.new_zeros((count, 1, size))
        k, v = cat([k, zeros], 1), cat([v, zeros], 1)
        extra += 1
    return q, k, v, extra


def _is_batched(query: Any, key: Any, value: Any, padding: Any, mask: Any, heads: int) -> bool:
    """Whether inputs have a batch dimension; AssertionError unless all agree."""
    n = query.dim()
    if n not in (2, 3):
        raise AssertionError(f"attention heads: query must have 2 or 3 dimensions, got {n}")
    if key.dim() != n or value.dim() != n:
        raise AssertionError(
            f"attention heads: query has {n} dimensions, key and value must too, got {key.dim()} and {value.dim()}"
        )
    if padding is not None and padding.dim() != n - 1:
        raise AssertionError(
            f"attention heads: key_padding_mask must have {n - 1} dimensions here, got {padding.dim()}"
        )
    if mask is not None:
        if mask.dim() not in (2, 3):
            raise AssertionError(f"attention heads: attn_mask must have 2 or 3 dimensions, got {mask.dim()}")
        if n == 2 and mask.dim() == 3 and mask.shape != (heads, query.shape[0], key.shape[0]):
            want = (heads, query.shape[0], key.shape[0])
            raise AssertionError(f"attention heads: expected attn_mask of shape {want}, got {tuple(mask.shape)}")
    return n == 3


def _check_widths(query: Any, key: Any, value: Any, embed_dim: int, heads: int, separate: bool) -> None:
    width = query.shape[2]
    if width != embed_dim:
        raise AssertionError(f"attention heads: expected query of width {embed_dim}, got {width}")
    if width % heads:
        raise AssertionError(f"attention heads: width {width} is not divisible by {heads} heads")
    if (key.shape[:2] != value.shape[:2]) if separate else (key.shape != value.shape):
        raise AssertionError(
            f"attention heads: key and value do not go together: {list(key.shape)}, {list(value.shape)}"
        )


def _additive(mask: Any, name: str, query: Any) -> Any:
    """A mask in the form that is added to scores."""
    if mask is None:
        return None
    if mask.dtype == dtypes.bool_:
        zero, hidden = (wrap(np.array(v, query._a.dtype)) for v in (0.0, -np.inf))
        return where_op(mask, hidden, zero)
    if not mask.dtype.is_floating_point:
        raise AssertionError(f"attention heads: {name} must be bool or floating-point, got {mask.dtype}")
    return mask


def _mask_3d(mask: Any, length: int, columns: int, heads: int) -> Any:
    if mask is None:
        return None
    want = (length, columns) if mask.dim() == 2 else (heads, length, columns)
    if tuple(mask.shape) != want:
        raise RuntimeError(f"attention heads: expected attn_mask of shape {want}, got {tuple(mask.shape)}")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _together(query: Any, key: Any, value: Any, w: Any, b: Any) -> tuple[Any, Any, Any]:
    """Projections by one weight of three parts; the same tensor in several places is projected once."""
    if w is None:
        raise AssertionError("attention heads: use_separate_proj_weight is False, in_proj_weight is None")
    width = query.shape[2]
    if key is value:
        if query is key:
            return linear(query, w, b).chunk(3, -1)
        w_q, w_kv = w.split([width, 2 * width])
        b_q, b_kv = (None, None) if b is None else b.split([width, 2 * width])
        return (linear(query, w_q, b_q), *linear(key, w_kv, b_kv).chunk(2, -1))
    w_q, w_k, w_v = w.chunk(3)
    return _separate(query, key, value, w_q, w_k, w_v, b)


def _separate(query: Any, key: Any, value: Any, w_q: Any, w_k: Any, w_v: Any, b: Any) -> tuple[Any, Any, Any]:
    for name, w in (("q_proj_weight", w_q), ("k_proj_weight", w_k), ("v_proj_weight", w_v)):
        if w is None:
            raise AssertionError(f"attention heads: use_separate_proj_weight is True, {name} is None")
    b_q, b_k, b_v = (None, None, None) if b is None else b.chunk(3)
    return linear(query, w_q, b_q), linear(key, w_k, b_k), linear(value, w_v, b_v)


def _split_heads(t: Any, count: int) -> Any:
    """(rows, batch, width) as (batch * heads, rows, width of a head)."""
    rows, batch, width = t.shape
    return t.reshape(rows, count, batch * width // count).transpose(0, 1)


def _static(t: Any, heads: int, width: int) -> Any:
    if t.shape[0] != heads or t.shape[2] != width:
        raise AssertionError(
            f"attention heads: expected a static tensor of shape ({heads}, S, {width}), got {list(t.shape)}"
        )
    return t


def _merged(mask: Any, padding: Any, batch: int, heads: int, columns: int) -> Any:
    """One mask that broadcasts to (batch * heads, rows, columns), or None."""
    if padding is None:
        return mask
    if tuple(padding.shape) != (batch, columns):
        raise AssertionError(
            f"attention heads: expected key_padding_mask of shape {(batch, columns)}, got {tuple(padding.shape)}"
        )
    padding = padding.view(batch, 1, 1, columns).expand(-1, heads, -1, -1).reshape(batch * heads, 1, columns)
    return padding if mask is None else mask + padding


def _with_weights(q: Any, k: Any, v: Any, mask: Any, p: float) -> tuple[Any, Any]:
    scores = (q * math.sqrt(1.0 / q.shape[-1])).matmul(k.transpose(-2, -1))
    weights = softmax(scores if mask is None else scores + mask, -1)
    if p > 0.0:
        weights = dropout(weights, p, True)
    return weights.matmul(v), weights


def _without_weights(q: Any, k: Any, v: Any, mask: Any, p: float, causal: bool, batch: int, heads: int) -> Any:
    """The result as (rows, batch, heads, width of a head)."""
    if mask is not None:
        mask = mask.unsqueeze(0) if mask.shape[0] == 1 else mask.view(batch, heads, -1, k.shape[1])
    q, k, v = (t.view(batch, heads, t.shape[1], t.shape[2]) for t in (q, k, v))
    return scaled_dot_product_attention(q, k, v, mask, p, causal and mask is None).permute(2, 0, 1, 3)
