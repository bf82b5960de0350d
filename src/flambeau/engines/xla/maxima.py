"""What follows from where windows found their maxima: the gradient of max pooling, and that of the gradient.

Tap by tap: what a tap won is spread over the input with strides, which XLA fuses into one pass; nothing is scattered.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.engines.xla.runtime import jnp, lax

__all__ = ["max_pool_scatter", "max_pool_select"]

Sizes = Sequence[int]


def _extent(n: int, out: int, k: int, s: int, p: int, d: int) -> int:
    """The length of a padded axis that all windows lie in."""
    return max(n + 2 * p, (out - 1) * s + d * (k - 1) + 1)


def _taps(kernel: Sizes) -> Iterator[tuple[int, tuple[int, ...]]]:
    return enumerate(itertools.product(*(range(k) for k in kernel)))


def max_pool_scatter(
    g: Any, taps: Any, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Any:
    """`g` added where each window found its maximum, in an input of spatial `size`."""
    nd = len(kernel)
    out = g.shape[g.ndim - nd :]
    zero = np.zeros((), g.dtype)
    lead = [(0, 0, 0)] * (g.ndim - nd)
    whole = [_extent(*v) for v in zip(size, out, kernel, stride, padding, dilation, strict=True)]
    total: Any = None
    for number, tap in _taps(kernel):
        won = jnp.where(taps == number, g, zero)
        spread = []
        for t, s, d, o, e in zip(tap, stride, dilation, out, whole, strict=True):
            spread.append((t * d, e - t * d - ((o - 1) * s + 1), s - 1))
        part = lax.pad(won, zero, [*lead, *spread])
        total = part if total is None else total + part
    starts = [0] * len(lead) + list(padding)
    stops = [*g.shape[: len(lead)], *(p + n for p, n in zip(padding, size, strict=True))]
    return lax.slice(total, starts, stops)


def max_pool_select(x: Any, taps: Any, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Any:
    """The element of `x` that each window found to be its maximum."""
    nd = len(kernel)
    out, size = taps.shape[taps.ndim - nd :], x.shape[x.ndim - nd :]
    zero = np.zeros((), x.dtype)
    lead = x.shape[: x.ndim - nd]
    whole = [_extent(*v) for v in zip(size, out, kernel, stride, padding, dilation, strict=True)]
    pads = [(p, e - n - p, 0) for p, e, n in zip(padding, whole, size, strict=True)]
    filled = lax.pad(x, zero, [*[(0, 0, 0)] * len(lead), *pads])
    total: Any = None
    for number, tap in _taps(kernel):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        stops = [a + (o - 1) * s + 1 for a, o, s in zip(starts, out, stride, strict=True)]
        window = lax.slice(filled, [*[0] * len(lead), *starts], [*lead, *stops], [*[1] * len(lead), *stride])
        part = jnp.where(taps == number, window, zero)
        total = part if total is None else total + part
    return total
