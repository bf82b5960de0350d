"""Embedding tables: picking rows, and adding gradients back to them."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.runtime import jnp

__all__ = ["embedding", "embedding_backward", "row_counts"]


def embedding(weight: Any, indices: Any) -> Any:
    """The rows of `weight` (count, features) at `indices`, any shape."""
    return weight[indices]


def row_counts(indices: Any, count: int) -> Any:
    """How often each row is picked."""
    return jnp.zeros(count, jnp.int64).at[indices.reshape(-1)].add(1)


def embedding_backward(g: Any, indices: Any, count: int) -> Any:
    """A table of `count` rows with each row of `g` added to row `indices[...]`."""
    features = g.shape[indices.ndim :]
    rows = indices.reshape(-1)
    return jnp.zeros((count, *features), g.dtype).at[rows].add(g.reshape(rows.size, *features))
