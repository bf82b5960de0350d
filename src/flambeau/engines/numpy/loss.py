"""Losses on raw arrays: squared error, where the kernel beats a composition, and CTC, which is an algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.numpy.ordered import LIMIT, ordered

__all__ = [
    "ctc_alpha",
    "ctc_backward",
    "mse_loss",
    "mse_loss_backward",
]

Array = Any


# --- squared error ------------------------------------------------------------------------------------------------


def _sum_of_squares(d: Array) -> Array:
    """Sum of squares of a flat array, by dot products of pieces too short for BLAS to wake its threads."""
    n = d.size
    if n <= 8192:
        return np.dot(d, d)
    head = n - n % 4096
    pieces = d[:head].reshape(-1, 4096)
    return np.add.reduce(np.vecdot(pieces, pieces)) + np.dot(d[head:], d[head:])


def mse_loss(a: Array, b: Array, reduction: str) -> Array:
    """Squared differences, or their mean or sum."""
    d = np.subtract(a, b)
    if reduction == "none" or d.dtype.kind != "f":
        d = np.multiply(d, d)
        if reduction == "none":
            return d
        return np.add.reduce(d, None) if reduction == "sum" else np.mean(d)
    total = ordered(d * d, None) if d.size <= LIMIT and d.itemsize >= 4 else None
    if total is None:
        total = _sum_of_squares(d.reshape(-1))
    return total if reduction == "sum" else np.divide(total, d.size)


def mse_loss_backward(g: Array, a: Array, b: Array, reduction: str) -> Array:
    """`2 * (a - b) * g`, over the number of elements for a mean."""
    d = np.subtract(a, b)
    factor = np.multiply(g, 2 / d.size if reduction == "mean" and d.size else 2)
    return np.multiply(d, factor, out=d) if d.ndim else d * factor


# --- connectionist temporal classification ------------------------------------------------------------------------
# Labels with blanks between them make 2 S + 1 states. alpha[t, b, s] is the log-probability of the prefixes that end in
# state s at time t; transitions stay, move on by one, or skip a blank between two different labels.


def _states(targets: Array, blank: int) -> tuple[Array, Array]:
    """Labels of all states (batch, 2 S + 1), and where the skip from two states before is allowed."""
    batch, length = targets.shape
    labels = np.full((batch, 2 * length + 1), blank, np.int64)
    labels[:, 1::2] = targets
    skip = np.zeros(labels.shape, bool)
    skip[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    return labels, skip


def _log_add3(a: Array, b: Array, c: Array) -> Array:
    return np.logaddexp(np.logaddexp(a, b), c)


def _shift(a: Array, by: int) -> Array:
    out = np.full_like(a, -np.inf)
    if by > 0:
        out[:, by:] = a[:, :-by]
    else:
        out[:, :by] = a[:, -by:]
    return out


def ctc_alpha(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int
) -> tuple[Array, Array]:
    """The loss of each sequence and all alphas (T, N, 2 S + 1), for (T, N, C) log-probabilities, (N, S) targets.

    The alphas are sums over many alignments and in double precision: the gradient takes small differences of them.
    """
    kind, log_probs = log_probs.dtype, log_probs.astype(np.float64)
    steps, batch, _ = log_probs.shape
    labels, skip = _states(targets, blank)
    width = labels.shape[1]
    neg_inf = np.array(-np.inf, log_probs.dtype)
    alpha = np.full((steps, batch, width), neg_inf, log_probs.dtype)
    emit = np.take_along_axis(log_probs, np.broadcast_to(labels, (steps, batch, width)), 2)
    if steps:
        alpha[0, :, 0] = emit[0, :, 0]
        if width > 1:
            alpha[0, :, 1] = np.where(target_lengths > 0, emit[0, :, 1], neg_inf)
    for t in range(1, steps):
        before = alpha[t - 1]
        jump = np.where(skip, _shift(before, 2), neg_inf)
        alpha[t] = _log_add3(before, _shift(before, 1), jump) + emit[t]
    return _ctc_loss(alpha, input_lengths, target_lengths).astype(kind), alpha


def _ctc_loss(alpha: Array, input_lengths: Array, target_lengths: Array) -> Array:
    """The loss of each sequence, from its last alphas."""
    steps, batch, _ = alpha.shape
    rows = np.arange(batch)
    last = np.maximum(input_lengths - 1, 0)
    end = 2 * target_lengths
    loss = np.zeros(batch)
    if steps:
        final = alpha[last, rows, end]
        other = np.where(target_lengths > 0, alpha[last, rows, np.maximum(end - 1, 0)], -np.inf)
        loss = -np.logaddexp(final, other)
    # no step at all: the empty target is certain, any other impossible
    return np.where(input_lengths == 0, np.where(target_lengths == 0, 0, np.inf), loss)


def ctc_backward(
    g: Array,
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    blank: int,
    zero_infinity: bool,
    loss: Array,
    alpha: Array,
) -> Array:
    """Gradient with respect to the log-probabilities, in PyTorch's convention: that of their softmax's input."""
    kind, log_probs = log_probs.dtype, log_probs.astype(np.float64)
    loss = _ctc_loss(alpha, input_lengths, target_lengths)
    steps, batch, classes = log_probs.shape
    labels, skip = _states(targets, blank)
    width = labels.shape[1]
    emit = np.take_along_axis(log_probs, np.broadcast_to(labels, (steps, batch, width)), 2)
    neg_inf = np.array(-np.inf, log_probs.dtype)
    state, end = np.arange(width), 2 * target_lengths[:, None]
    is_end = (state == end) | ((state == end - 1) & (target_lengths[:, None] > 0))
    leave = _shift_bool(skip, -2)
    beta = np.full((batch, width), neg_inf, log_probs.dtype)
    grad = np.zeros_like(log_probs)
    rows = np.arange(batch)[:, None]
    shift = np.where(np.isinf(loss), 0, loss)
    for t in range(steps - 1, -1, -1):
        jump = np.where(leave, _shift(beta, -2), neg_inf)
        moved = _log_add3(beta, _shift(beta, -1), jump) + emit[t]
        first = np.where(is_end, emit[t], neg_inf)
        beta = np.where((input_lengths == t + 1)[:, None], first, moved)
        beta = np.where((input_lengths > t)[:, None] & (state <= end), beta, neg_inf)
        posterior = np.zeros((batch, classes), log_probs.dtype)
        both = np.exp(alpha[t] + beta - emit[t] + shift[:, None])
        np.add.at(posterior, (rows, labels), np.where(alpha[t] > -np.inf, both, 0))
        grad[t] = np.exp(log_probs[t]) - posterior
    alive = (np.arange(steps)[:, None] < input_lengths)[:, :, None]
    lost = np.isinf(loss)[None, :, None]
    grad = np.where(alive, np.where(lost, 0 if zero_infinity else np.nan, grad), 0)
    return (grad * g[None, :, None]).astype(kind)


def _shift_bool(a: Array, by: int) -> Array:
    out = np.zeros_like(a)
    out[:, :by] = a[:, -by:]
    return out
