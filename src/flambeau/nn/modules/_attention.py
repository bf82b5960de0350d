"""Multi-head attention as a module."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn._core import Tensor, empty
from flambeau.nn.init import constant_, xavier_normal_, xavier_uniform_
from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter


class MultiheadAttention(Module):
    """Attention of `num_heads` heads over projections of query, key and value (Vaswani et al. 2017).

    Shapes: query (L, N, E), key (S, N, kdim), value (S, N, vdim); with `batch_first` (N, L, E) and so on; without a
    batch
    (L, E). Returns `(output, weights)`: output as query, weights (N, L, S) averaged over heads, (N, num_heads, L, S)
    with `average_attn_weights=False`, None with `need_weights=False` (which is quicker).

    Masks: `key_padding_mask` (N, S) and `attn_mask` (L, S) or (N * num_heads, L, S), either bool (True hides) or added
    to the scores. `is_causal` says that `attn_mask` is the causal one, which must be given too.

    ValueError unless `num_heads` divides `embed_dim` and both are positive.
    """

    __constants__ = ["batch_first"]
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"MultiheadAttention: embed_dim and num_heads must be positive, got embed_dim={embed_dim}, "
                f"num_heads={num_heads}"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"MultiheadAttention: num_heads={num_heads} must divide embed_dim={embed_dim}")
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        if self._qkv_same_embed_dim:
            self.in_proj_weight = Parameter(empty((3 * embed_dim, embed_dim), **how))
            self.register_parameter("q_proj_weight", None)
            self.register_parameter("k_proj_weight", None)
            self.register_parameter("v_proj_weight", None)
        else:
            self.q_proj_weight = Parameter(empty((embed_dim, embed_dim), **how))
            self.k_proj_weight = Parameter(empty((embed_dim, self.kdim), **how))
            self.v_proj_weight = Parameter(empty((embed_dim, self.vdim), **how))
            self.register_parameter("in_proj_weight", None)
        if bias:
            self.in_proj_bias = Parameter(empty(3 * embed_dim, **how))
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **how)
        self.bias_k = Parameter(empty((1, 1, embed_dim), **how)) if add_bias_kv else None
        self.bias_v = Parameter(empty((1, 1, embed_dim), **how)) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        if self._qkv_same_embed_dim:
            xavier_uniform_(self.in_proj_weight)
        else:
            xavier_uniform_(self.q_proj_weight)
            xavier_uniform_(self.k_proj_weight)
            xavier_uniform_(self.v_proj_weight)
        if self.in_proj_bias is not None:
            constant_(self.in_proj_bias, 0.0)
            constant_(self.out_proj.bias, 0.0)
        if self.bias_k is not None:
            xavier_normal_(self.bias_k)
        if self.bias_v is not None:
            xavier_normal_(self.bias_v)

    def __setstate__(self, state: dict) -> None:
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        """Attend; see the class for shapes, masks and results."""
        batched = query.dim() == 3
        if self.batch_first and batched:
            # Equal inputs stay the same object, so that their projection remains one product.
            if key is value:
                swapped = query.transpose(1, 0)
                key = swapped if key is query else key.transpose(1, 0)
                query, value = swapped, key
            else:
                query, key, value = (x.transpose(1, 0) for x in (query, key, value))
        separate: dict[str, Any] = {}
        if not self._qkv_same_embed_dim:
            separate = {
                "use_separate_proj_weight": True,
                "q_proj_weight": self.q_proj_weight,
                "k_proj_weight": self.k_proj_weight,
                "v_proj_weight": self.v_proj_weight,
            }
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            **separate,
        )
        return (output.transpose(1, 0) if self.batch_first and batched else output), weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """Both masks as one of shape (N, num_heads, L, S), with its kind (0: attention only, 1: padding only, 2:
        both).
        """
        if key_padding_mask is None and attn_mask is None:
            return None, None
        if attn_mask is None:
            return key_padding_mask, 1
        batch, seq_len, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, seq_len, seq_len)
        else:
            merged = attn_mask.view(1, 1, seq_len, seq_len).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            hidden = key_padding_mask.view(batch, 1, 1, seq_len).expand(-1, self.num_heads, -1, -1)
            merged = merged + hidden
        return merged, (2 if key_padding_mask is not None else 0)
