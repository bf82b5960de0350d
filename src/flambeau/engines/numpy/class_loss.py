"""Losses with class targets on raw arrays: negative log-likelihood, and softmax cross entropy in one go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native.calls import suits
from ..native.cross_entropy import exponentials, gradient_rows
from .chain import row_blocks
from .parallel import BLOCK, parallel_for
from .softmax import row_max, row_sum

__all__ = ["cross_entropy_rows", "cross_entropy_rows_backward", "nll_loss_backward", "nll_rows"]

Array = Any

_SAFE = 60.0  # log of the largest sum of exponentials that still leaves room to divide by
_LARGE = 1e26  # which is about this


# --- class targets ------------------------------------------------------------------------------------------------


def _places(shape: tuple[int, int, int], target: Array, ignore_index: int) -> tuple[Array, Array | None]:
    """Flat positions of the targets in an (N, C, L) array, and which of them count (None: all).

    IndexError for a class that is not in [0, C).
    """
    n, c, length = shape
    flat = target.reshape(-1)
    valid = None
    if flat.size:
        if flat.min() < 0 or flat.max() >= c:
            valid = flat != ignore_index
            bad = flat[valid & ((flat < 0) | (flat >= c))]
            if bad.size:
                raise IndexError(f"Target {bad[0]} is out of bounds: there are {c} classes, so 0 to {c - 1} are valid")
            flat = np.where(valid, flat, 0)
        elif 0 <= ignore_index < c:
            valid = flat != ignore_index
    if length == 1:
        return flat + np.arange(0, n * c, c), valid
    within = np.tile(np.arange(length), n) + np.repeat(np.arange(0, n * c * length, c * length), length)
    return flat * length + within, valid


def _shares(target: Array, valid: Array | None, weight: Array | None, reduction: str, dtype: np.dtype) -> Array:
    """The factor of each target's term in the result."""
    count = target.size
    if weight is None:
        share = np.ones(count, dtype) if valid is None else valid.astype(dtype)
    else:
        share = weight.take(np.where(valid, target.reshape(-1), 0) if valid is not None else target.reshape(-1))
        if valid is not None:
            share = share * valid
    total = np.add.reduce(share)
    if reduction == "mean":
        share = share / total
        if valid is not None:
            share[~valid] = 0
    return share


def nll_rows(
    a: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
) -> tuple[Array, Array, Array]:
    """Negative log-likelihood of (N, C, L) scores: the loss, the targets' flat places, the factor of each."""
    places, valid = _places(a.shape, target, ignore_index)
    share = _shares(target, valid, weight, reduction, a.dtype)
    terms = a.reshape(-1).take(places)
    np.negative(terms, out=terms)
    if valid is not None:
        terms[~valid] = 0
    if reduction == "none":
        return (terms * share).reshape(target.shape), places, share
    value = _dot(terms, share, valid)
    if reduction == "mean" and not (terms.size if valid is None else valid.any()):
        value = np.full((), np.nan, a.dtype)
    return value, places, share


def nll_loss_backward(g: Array, a: Array, places: Array, share: Array) -> Array:
    """Zeros with `-g * share` at the targets' places."""
    out = np.zeros(a.shape, a.dtype)
    out.reshape(-1)[places] = np.reshape(g, -1) * -share
    return out


def _dot(terms: Array, share: Array, valid: Array | None) -> Array:
    """Sum of `terms * share`, where a share of zero silences an infinite term that does not count."""
    if valid is not None:
        terms = np.where(valid, terms, 0).astype(terms.dtype)
    return np.add.reduce(terms * share)


def cross_entropy_rows(
    a: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
) -> tuple[Array, Array, Array, Array, Array]:
    """Softmax cross entropy of (N, C) scores with class targets.

    Returns the loss, exponentials of the scores and their row sums (relative to one pivot per row), the flat places
    of the targets and the factor of each. The pivot is the target's own score: the sum is then 1 plus what is wrong, so
    that small losses keep their digits, and no row needs a search for its maximum.
    """
    n, c = a.shape
    if c == 0 and n:
        raise IndexError("cross_entropy: expected scores of at least one class, got a tensor of shape [N, 0]")
    a = np.ascontiguousarray(a)
    if _is_usual(a, target, weight, ignore_index, reduction):
        made = np.empty(a.shape, a.dtype), np.empty(n, a.dtype), np.empty(n, np.int64)
        value = _Usual(a, target.reshape(-1), *made, reduction).run()
        if value is not None:
            return value, *made, np.full(n, 1 / n if reduction == "mean" else 1, a.dtype)
    places, valid = _places((n, c, 1), target, ignore_index)
    e, total, terms = _exponentials(a, places)
    if valid is None and weight is None and reduction != "none":
        value = np.add.reduce(terms)
        if reduction == "sum":
            return value, e, total, places, np.ones(n, a.dtype)
        value = value / n if n else value * np.nan
        return value.astype(a.dtype), e, total, places, np.full(n, 1 / n if n else 0, a.dtype)
    share = _shares(target, valid, weight, reduction, a.dtype)
    if reduction == "none":
        terms = terms * share
        if valid is not None:
            terms[~valid] = 0
        return terms, e, total, places, share
    value = _dot(terms, share, valid)
    if reduction == "mean" and valid is not None and not valid.any():
        value = np.full((), np.nan, a.dtype)
    return value, e, total, places, share


def _exponentials(a: Array, places: Array) -> tuple[Array, Array, Array]:
    """Exponentials of the scores relative to those at `places`, the sum of each row's, and each row's loss."""
    n, c = a.shape
    picked = a.reshape(-1).take(places)
    e, total = np.empty(a.shape, a.dtype), np.empty(n, a.dtype)

    def piece(i: int, j: int) -> None:
        block = e[i:j]
        np.subtract(a[i:j], picked[i:j, None], out=block)
        np.exp(block, out=block)
        total[i:j] = row_sum(block)

    native = exponentials(a, places, e, total)
    if native is not None:
        native()
    else:
        parallel_for(n, piece, grain=max(1, 4 * BLOCK // max(c, 1)), block=row_blocks(n, c))
    terms = np.log(total)
    if n and not np.maximum.reduce(terms) < _SAFE:
        pivot = row_max(a)
        e = np.exp(a - pivot[:, None])
        total = row_sum(e)
        terms = np.log(total) + (pivot - picked)
    return e, total, terms


# The usual case (no weights, every target counts, the sum or the mean) has a short way, which a compiled step prepares
# once. A loss that is NaN there is looked at again the long way: so is a sum of exponentials that grows too large.


def _is_usual(a: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str) -> bool:
    return (
        weight is None
        and reduction != "none"
        and target.dtype == np.int64
        and target.flags.c_contiguous
        and target.size > 0
        and not 0 <= ignore_index < a.shape[1]
        and suits(a)
    )


class _Usual:
    """The usual case on memory that stays: `run` writes exponentials, their sums and the targets' flat places."""

    def __init__(self, a: Array, target: Array, e: Array, total: Array, places: Array, reduction: str) -> None:
        n, self.classes = a.shape
        self.target, self.unsigned, self.starts = (
            target,
            target.view(np.uint64),
            np.arange(0, n * self.classes, self.classes),
        )
        self.places, self.total, self.count = places, total, n if reduction == "mean" else 1
        native = exponentials(a, places, e, total)
        assert native is not None  # `_is_usual`
        self.exponentials = native

    def run(self) -> Array | None:
        """The loss; None where it has to be found the long way."""
        if not np.maximum.reduce(self.unsigned) < self.classes:
            return None
        np.add(self.target, self.starts, out=self.places)
        self.exponentials()
        if not np.maximum.reduce(self.total) < _LARGE:
            return None
        value = np.add.reduce(np.log(self.total))
        return value / self.count if self.count > 1 else value


def _prepare(args: tuple, made: list[Array], long_way: Callable[[], None]) -> Callable[[], None] | None:
    """A compiled step's call: `cross_entropy_rows(*args)` written to `made`."""
    a, target, weight, ignore_index, reduction = args
    if not (a.flags.c_contiguous and _is_usual(a, target, weight, ignore_index, reduction)):
        return None
    value, e, total, places, share = made
    usual = _Usual(a, target.reshape(-1), e, total, places, reduction)
    each = 1 / usual.count

    def step() -> None:
        found = usual.run()
        if found is None:
            long_way()
        else:
            value[()] = found
            share.fill(each)

    return step


cross_entropy_rows.prepare = _prepare  # type: ignore[attr-defined]


def cross_entropy_rows_backward(g: Array, a: Array, e: Array, total: Array, places: Array, share: Array) -> Array:
    """`(softmax - onehot) * share * g` from what forward kept."""
    n, c = e.shape
    out = gradient_rows(g, e, total, places, share)
    if out is not None:
        return out
    factor = share * g
    scale = (factor / total)[:, None]
    out = np.empty(e.shape, e.dtype)
    if e.size <= BLOCK:
        np.multiply(e, scale, out=out)
    else:
        parallel_for(
            n,
            lambda i, j: np.multiply(e[i:j], scale[i:j], out=out[i:j]),
            grain=max(1, 4 * BLOCK // c),
            block=row_blocks(n, c),
        )
    flat = out.reshape(-1)
    flat[places] -= factor
    return out
