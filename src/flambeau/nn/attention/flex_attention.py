"""Attention with a rule of one's own for scores, and one for who sees whom."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau.tensor.tensor import Tensor

__all__ = ["AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention",
           "noop_mask", "or_masks"]  # fmt: skip

_DEFAULT_SPARSE_BLOCK_SIZE = 128


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Everybody sees everybody."""
    return torch.ones((), dtype=torch.bool)


def _identity(score: Tensor, b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
    return score


def and_masks(*mask_mods: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The mask of what all of them let through."""
    _all_callable(mask_mods)

    def mask(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        result = torch.ones((), dtype=torch.bool)
        for mod in mask_mods:
            result = result & mod(b, h, q, kv)
        return result

    return mask


def or_masks(*mask_mods: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The mask of what at least one of them lets through."""
    _all_callable(mask_mods)

    def mask(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        result = torch.zeros((), dtype=torch.bool)
        for mod in mask_mods:
            result = result | mod(b, h, q, kv)
        return result

    return mask


def _all_callable(mods: tuple) -> None:
    if not all(callable(mod) for mod in mods):
        raise RuntimeError(f"all inputs must be callable mask functions, got {mods}")


def _places(sizes: tuple[int, ...]) -> list[Tensor]:
    """The index of each of four dimensions, shaped so that they broadcast against each other."""
    return [torch.arange(n).view([-1 if d == i else 1 for d in range(len(sizes))]) for i, n in enumerate(sizes)]


def create_mask(
    mod_fn: Callable[..., Tensor], B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None
) -> Tensor:
    """The mask (B, H, Q_LEN, KV_LEN) that `mod_fn` describes: bools of a mask function of (b, h, q, kv), or the scores
    that a score function of (score, b, h, q, kv) makes of zeros.
    """
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    places = _places(sizes)
    if len(inspect.signature(mod_fn).parameters) == 5:
        return mod_fn(torch.zeros(sizes), *places).expand(sizes)
    return mod_fn(*places).expand(sizes)


def _ordered(dense: Tensor) -> tuple[Tensor, Tensor]:
    counts = dense.sum(-1).to(torch.int32)
    return counts, torch.argsort(dense.to(torch.int32), dim=-1, descending=True, stable=True).to(torch.int32)


class BlockMask:
    """A mask by blocks: which blocks of keys each block of queries sees in part (`kv_num_blocks`, `kv_indices`) and
    which as a whole (`full_kv_num_blocks`, `full_kv_indices`). `create_block_mask` makes one.
    """

    def __init__(self, dense: Tensor, lengths: tuple[int, int], block: tuple[int, int], mask_mod: Callable) -> None:
        self.seq_lengths = lengths
        self.BLOCK_SIZE = block
        self.mask_mod = mask_mod
        self._batch = tuple(dense.shape[:2])
        rows, columns = (math.ceil(n / size) for n, size in zip(lengths, block, strict=True))
        padded = torch.zeros(*self._batch, rows * block[0], columns * block[1], dtype=torch.bool)
        padded[..., : lengths[0], : lengths[1]] = dense
        parts = padded.view(*self._batch, rows, block[0], columns, block[1]).permute(0, 1, 2, 4, 3, 5)
        count = parts.sum(dim=(-2, -1))
        full = count == block[0] * block[1]
        partial = (count > 0) & ~full
        self.kv_num_blocks, self.kv_indices = _ordered(partial)
        self.full_kv_num_blocks, self.full_kv_indices = _ordered(full)
        self.q_num_blocks, self.q_indices = _ordered(partial.transpose(-2, -1))
        self.full_q_num_blocks, self.full_q_indices = _ordered(full.transpose(-2, -1))
        self._seen = partial | full

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch, heads, queries, keys."""
        return (*self._batch, *self.seq_lengths)

    def numel(self) -> int:
        """The number of pairs of a query and a key."""
        return math.prod(self.shape)

    def to_dense(self) -> Tensor:
        """The blocks that are seen, as zeros and ones."""
        return self._seen.to(torch.int32)

    def sparsity(self) -> float:
        """How many percent of all pairs lie in blocks that are not seen."""
        computed = int(self._seen.sum()) * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1]
        return 100.0 * (1.0 - computed / self.numel())

    def to(self, device: Any) -> BlockMask:
        """The same: masks are computed where the queries are."""
        return self

    def __repr__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%)"

    __str__ = __repr__


def create_block_mask(
    mask_mod: Callable[..., Tensor],
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE,
    _compile: bool = False,
) -> BlockMask:
    """The mask of a function of (b, h, q, kv), which gets index tensors that broadcast against each other and gives
    bools. Without `B` or `H` it is the same for all batches or heads.

    >>> import flambeau as torch
    >>> from flambeau.nn.attention.flex_attention import create_block_mask
    >>> create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 256, 256).to_dense()
    tensor([[[[1, 0],
              [1, 1]]]], dtype=torch.int32)
    """
    block = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
    dense = create_mask(mask_mod, B, H, Q_LEN, KV_LEN)
    return BlockMask(dense, (Q_LEN, KV_LEN), block, mask_mod)  # type: ignore[arg-type]


class AuxRequest:
    """What `flex_attention` is to give besides its result."""

    def __init__(self, lse: bool = False, max_scores: bool = False) -> None:
        self.lse, self.max_scores = lse, max_scores


class AuxOutput:
    """What it gave: None for what was not asked for."""

    def __init__(self, lse: Tensor | None = None, max_scores: Tensor | None = None) -> None:
        self.lse, self.max_scores = lse, max_scores


def _check(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> None:
    for name, t in (("query", query), ("key", key), ("value", value)):
        if t.dim() != 4:
            raise NotImplementedError(
                f"flex_attention(): {name} has 4 dimensions (batch, heads, tokens, width), got {t.dim()}"
            )
    if query.dtype != key.dtype or query.dtype != value.dtype:
        raise ValueError(f"flex_attention(): the dtypes differ: {query.dtype}, {key.dtype}, {value.dtype}")
    if not enable_gqa and query.shape[1] != key.shape[1]:
        raise ValueError(
            f"flex_attention(): {query.shape[1]} heads of queries and {key.shape[1]} of keys: pass enable_gqa=True"
        )
    if query.shape[1] % key.shape[1]:
        raise ValueError(f"flex_attention(): {key.shape[1]} heads of keys do not divide {query.shape[1]} of queries")


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: dict[str, Any] | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """Attention (batch, heads, queries, width) whose scores go through `score_mod(score, b, h, q, kv)` and which sees
    what `block_mask` says. The rule gets all scores at once and index tensors that broadcast against them, so it is
    written with functions of tensors. A query that sees nobody gets zeros.

    Args:
        scale: factor of the scores; by default one over the square root of the width.
        enable_gqa: several heads of queries may share one of keys.
        return_lse: gives the logarithm of each row's sum of exponentials as well.

    >>> import flambeau as torch
    >>> from flambeau.nn.attention.flex_attention import flex_attention
    >>> q = torch.ones(1, 1, 2, 4)
    >>> flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score - (i - j).abs()).shape
    torch.Size([1, 1, 2, 4])
    """
    _check(query, key, value, enable_gqa)
    heads = query.shape[1] // key.shape[1]
    if heads > 1:
        key, value = key.repeat_interleave(heads, dim=1), value.repeat_interleave(heads, dim=1)
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.transpose(-2, -1)) * factor
    places = _places(tuple(scores.shape))
    if query.is_floating_point() and query.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    if score_mod is not None:
        scores = score_mod(scores, *places).to(scores.dtype).expand(scores.shape)
    if block_mask is not None:
        if block_mask.seq_lengths != tuple(scores.shape[-2:]):
            raise ValueError(
                f"flex_attention(): block_mask was created for lengths {block_mask.seq_lengths}, but queries and keys "
                f"have {tuple(scores.shape[-2:])}"
            )
        seen = block_mask.mask_mod(*places)
        scores = torch.where(seen, scores, torch.tensor(-math.inf, dtype=scores.dtype))
    lse = torch.logsumexp(scores, dim=-1)
    blind = torch.isneginf(lse)
    weights = torch.softmax(scores.masked_fill(blind.unsqueeze(-1), 0.0), dim=-1)
    weights = weights.masked_fill(blind.unsqueeze(-1), 0.0)
    result = (weights.to(value.dtype) @ value).to(query.dtype)
    if return_aux is not None:
        most = scores.amax(-1) if return_aux.max_scores else None
        return result, AuxOutput(lse if return_aux.lse else None, most)
    return (result, lse) if return_lse else result
