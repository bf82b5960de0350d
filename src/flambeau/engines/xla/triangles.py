"""Upper and lower triangles, without a table for the size."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.runtime import jnp

__all__ = ["tril", "triu"]


def tril(a: Any, diagonal: int) -> Any:
    """Zeros above a diagonal."""
    return jnp.tril(a, diagonal)


def triu(a: Any, diagonal: int) -> Any:
    """Zeros below a diagonal."""
    return jnp.triu(a, diagonal)
