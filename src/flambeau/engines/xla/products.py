"""Matrix products, in full precision."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.protocol import PRECISE
from flambeau.engines.xla.runtime import jnp

__all__ = ["dot", "linear", "linear_weight", "matmul", "outer"]


def matmul(a: Any, b: Any) -> Any:
    """PyTorch's `matmul`: vectors, matrices, batches with broadcasting."""
    if a.ndim and b.ndim and a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(
            f"a {a.shape[-2] if a.ndim > 1 else 1}x{a.shape[-1]} matrix can't be multiplied by a "
            f"{b.shape[-2] if b.ndim > 1 else b.shape[0]}x{b.shape[-1] if b.ndim > 1 else 1} one: the first's "
            "columns must be as many as the second's rows"
        )
    if a.dtype == bool:
        return jnp.matmul(a, b)
    return jnp.matmul(a, b, precision=PRECISE)


dot = matmul


def linear(a: Any, weight: Any, bias: Any = None) -> Any:
    """`a @ weight.T + bias`."""
    result = matmul(a, weight.T)
    return result if bias is None else result + bias


def linear_weight(g: Any, a: Any) -> Any:
    """The gradient of `linear`'s weight."""
    if a.ndim != 2:
        rows = a.size // a.shape[-1] if a.shape[-1] else 1
        a = a.reshape(rows, a.shape[-1])
        g = g.reshape(rows, -1)
    return matmul(g.T, a)


def outer(a: Any, b: Any) -> Any:
    """The outer product of two vectors."""
    return a[:, None] * b
