"""Random numbers drawn within a program, on accelerators: as many as one likes, at no cost to the host.

The functions are those of `engines/numpy/draws.py` with a key of JAX's in the place of the generator. They give other
numbers than the host's generator, of the same distributions; the same seed gives the same ones again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.xla.runtime import jax, jnp

__all__ = ["IN_PROGRAM", "fold"]


def fold(root: Any, count: int) -> Any:
    """The key of a program's draw of that number."""
    return jax.random.fold_in(root, count)


def bernoulli(key: Any, n: int, p: float) -> Any:
    """`n` bools, True with probability `p`."""
    return jax.random.bernoulli(key, p, (n,))


def uniform(key: Any, n: int, dtype: np.dtype, low: float = 0.0, high: float = 1.0) -> Any:
    """`n` numbers uniform in [low, high)."""
    return jax.random.uniform(key, (n,), dtype, low, high)


def doubles(key: Any, n: int) -> Any:
    """`n` float64 numbers in [0, 1)."""
    return jax.random.uniform(key, (n,), np.float64)


def normal(key: Any, n: int, dtype: np.dtype, mean: float = 0.0, std: float = 1.0, blocks: bool = True) -> Any:
    """`n` normal numbers."""
    return (jax.random.normal(key, (n,), dtype) * std + mean).astype(dtype)


def exponential(key: Any, n: int, dtype: np.dtype, rate: float = 1.0) -> Any:
    """`n` exponential numbers."""
    return (jax.random.exponential(key, (n,), dtype) / rate).astype(dtype)


def integers(key: Any, n: int, dtype: np.dtype, low: int, span: int) -> Any:
    """`n` integers from `low` on, of `span` different ones."""
    return jax.random.randint(key, (n,), low, low + span, np.int64).astype(dtype)


def permutation(key: Any, n: int) -> Any:
    """The integers below `n` in random order."""
    return jax.random.permutation(key, jnp.arange(n))


#: By the name of the host's function.
IN_PROGRAM = {f.__name__: f for f in (bernoulli, uniform, doubles, normal, exponential, integers, permutation)}
