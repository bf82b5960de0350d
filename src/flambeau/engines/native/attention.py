"""Attention by native products and passes: some heads' scores at a time, and of causal ones only what can be seen.

Forward keeps one number per row, the logarithm of its sum of exponentials, from which backward makes the probabilities
again, as in FlashAttention (Dao et al. 2022).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .calls import ENABLED, Kernel, address, kernel
from .products import product

__all__ = ["attend", "attend_backward", "fits"]

_SCORES = 1 << 18  # how many scores are made at a time: they stay in the second-level caches
_ROWS = 128  # rows of causal scores made at a time

Array = np.ndarray


def fits(*arrays: Array) -> bool:
    """Whether these queries, keys and values (batch, heads, rows, features) can be worked on here."""
    first = arrays[0]
    return (
        ENABLED
        and first.dtype.char in "fd"
        and all(a.dtype == first.dtype and a.size and a.strides[3] == a.itemsize for a in arrays)
    )


@functools.cache
def _softmax(masked: bool) -> Kernel:
    def write(k: Any) -> None:
        s = k.load("scores") * k.number("scale")
        if masked:
            s = s + k.load("mask")
        top = k.max(s)
        top = k.select(k.compare("eq", top, float("-inf")), 0.0, top)
        e = k.keep("scores", k.exp(s - top))
        total = k.sum(e)
        blind = k.compare("eq", total, 0.0)
        k.store_row("rest", k.select(blind, float("inf"), top + k.log(total)))
        k.store("scores", e * k.select(blind, 0.0, 1.0 / total))

    return Kernel(write, "attention_softmax")


@functools.cache
def _again(masked: bool) -> Kernel:
    def write(k: Any) -> None:
        s = k.load("scores") * k.number("scale")
        if masked:
            s = s + k.load("mask")
        k.store("scores", k.exp(s - k.load_row("rest")))

    return Kernel(write, "attention_again")


@kernel
def _slope(k: Any) -> None:
    g = k.load("grad")
    k.store("grad", k.load("scores") * (g - k.load_row("delta")) * k.number("scale"))


@functools.cache
def _future(rows: int, columns: int, first: int, dtype: np.dtype) -> Array:
    """What is added to causal scores: -inf where a row would look ahead."""
    return np.triu(np.full((rows, columns), -np.inf, dtype), first + 1)


class _Part:
    """Some batches' heads, and some rows of them against the columns that they can see."""

    def __init__(self, b: slice, r: slice, columns: int, mask: Array | None, heads: int) -> None:
        self.b, self.r, self.columns, self.heads = b, r, columns, heads
        self.mask = mask
        self.steps = (0, 0)
        if mask is not None:
            outer = mask.strides[1] if mask.ndim == 4 and mask.shape[1] > 1 else 0
            self.steps = (mask.strides[-2] if mask.shape[-2] > 1 else 0, outer)

    def run(self, kernel: Kernel, scores: Array, scale: float, **more: Array) -> None:
        """The kernel over all rows of the scores, in place; further arrays have one number per row."""
        batch, heads, rows, n = scores.shape
        size = scores.itemsize
        at = {"scores": (address(scores), n * size, rows * n * size)}
        if self.mask is not None:
            at["mask"] = (address(self.mask), *self.steps)
        for name, a in more.items():
            step = size if a.ndim == 3 else n * size
            at[name] = (address(a), step, rows * step)
        kernel.named(scores.dtype, batch * heads * rows, n, at, {"scale": scale}, rows)


def _parts(shape: tuple[int, int, int], columns: int, mask: Array | None, causal: bool, dtype: Any) -> Iterator[_Part]:
    batch, heads, rows = shape
    height = min(rows, _ROWS) if causal else min(rows, max(_ROWS, _SCORES // max(columns * heads, 1)))
    whole = max(1, _SCORES // (heads * height * columns)) if mask is None else 1
    for b in range(0, batch, whole):
        for start in range(0, rows, height):
            stop = min(start + height, rows)
            seen = min(stop, columns) if causal else columns
            own = None
            if mask is not None:
                own = mask[b if mask.shape[0] > 1 else 0][None]
                own = own[:, :, start:stop] if own.shape[2] > 1 else own
                if own.shape[3] == 1 or own.strides[3] != own.itemsize:
                    own = np.ascontiguousarray(np.broadcast_to(own, (*own.shape[:3], columns)))
            elif causal:
                own = _future(stop - start, seen, start, dtype)
            yield _Part(slice(b, b + whole), slice(start, stop), seen, own, heads)


def _times(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    result = product(a, b, out, add=add)
    if result is None:
        if add:
            out += np.matmul(a, b)  # type: ignore[operator, misc]
            return out  # type: ignore[return-value]
        return np.matmul(a, b, out=out)
    return result


def attend(q: Array, keys: Array, values: Array, mask: Array | None, causal: bool, scale: float, out: Array) -> Array:
    """Fills `out` with `softmax(q keys^T * scale + mask) values`; returns each row's logarithm of the sum."""
    batch, heads, rows, _ = q.shape
    rest = np.empty((batch, heads, rows), q.dtype)
    for part in _parts(q.shape[:3], keys.shape[2], mask, causal, q.dtype):
        b, r, c = part.b, part.r, part.columns
        scores = _times(q[b, :, r], keys[b, :, :c].swapaxes(2, 3))
        own = np.empty(scores.shape[:3], q.dtype)
        part.run(_softmax(part.mask is not None), scores, scale, rest=own)
        rest[b, :, r] = own
        _times(scores, values[b, :, :c], out[b, :, r])
    return rest


def attend_backward(
    g: Array, q: Array, keys: Array, values: Array, out: Array, rest: Array, mask: Array | None, causal: bool,
    scale: float, grads: tuple[Array, Array, Array],
) -> None:  # fmt: skip
    """Fills `grads` with the gradients of queries, keys and values."""
    gq, gk, gv = grads
    if causal and q.shape[2] < keys.shape[2]:  # what no row sees
        gk[:, :, q.shape[2] :], gv[:, :, q.shape[2] :] = 0, 0
    whole = not causal or q.shape[2] <= _ROWS
    seen: set[int] = set()
    for part in _parts(q.shape[:3], keys.shape[2], mask, causal, q.dtype):
        b, r, c = part.b, part.r, part.columns
        first = b.start not in seen
        seen.add(b.start)
        if first and not whole:
            gk[b], gv[b] = 0, 0
        own_q, own_g = q[b, :, r], g[b, :, r]
        p = _times(own_q, keys[b, :, :c].swapaxes(2, 3))
        part.run(_again(part.mask is not None), p, scale, rest=np.ascontiguousarray(rest[b, :, r]))
        add = not first or not whole
        _times(p.swapaxes(2, 3), own_g, gv[b, :, :c], add)
        d = _times(own_g, values[b, :, :c].swapaxes(2, 3))
        delta = np.vecdot(own_g, out[b, :, r])
        bare = _Part(b, r, c, None, part.heads)
        bare.run(_slope, p, scale, grad=d, delta=np.ascontiguousarray(delta))
        _times(d, keys[b, :, :c], gq[b, :, r])
        _times(d.swapaxes(2, 3), own_q, gk[b, :, :c], add)
