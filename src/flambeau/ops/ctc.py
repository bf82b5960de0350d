"""Connectionist temporal classification."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.errors import describe
from flambeau.ops.core import composite, op
from flambeau.ops.dispatch import checks_values, one_call
from flambeau.ops.lossbase import floating, reduction_of


@op(name="ctc_loss_rows", outputs=2, hidden=1, grad_name="CtcLossBackward0")
def ctc_loss_op(
    k, log_probs: Tensor, targets: Index, input_lengths: Index, target_lengths: Index, blank=0, zero_infinity=False
):
    """The loss of each sequence, for (T, N, C) log-probabilities and (N, S) targets."""
    floating("ctc_loss", log_probs)
    return k.ctc_alpha(log_probs, targets, input_lengths, target_lengths, blank)


@ctc_loss_op.derivative("log_probs")
def _(k, g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, out, out1):
    return k.ctc_backward(g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, out, out1)


@composite
def ctc_backward(k, g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, loss, alpha):
    """The gradient as a function of the log-probabilities, whose sums over alignments are computed again.

    As PyTorch's it is the gradient with respect to what the log-probabilities are the log-softmax of.
    """
    states = _States(k, log_probs, targets, input_lengths, target_lengths, blank)
    alphas, total = states.forward()
    posteriors = states.posteriors(alphas, total)
    steps = range(log_probs.shape[0])
    frames = [
        k.where(states.counts(t), k.sub(k.exp(states.frame(t)), posteriors[t]), k.zeros_like(posteriors[t]))
        for t in steps
    ]
    result = k.mul(k.cat([k.unsqueeze(f, 0) for f in frames], 0), k.reshape(g, (1, -1, 1)))
    if not zero_infinity:
        return result
    possible = k.reshape(k.gt(total, _NEVER / 2), (1, -1, 1))
    return k.where(k.expand(possible, tuple(result.shape)), result, k.zeros_like(result))


_NEVER = -1e30  # stands for a log-probability of minus infinity, where differences must stay finite


class _States:
    """The lattice of labels with blanks between them, for a formula over kernels."""

    def __init__(
        self, k: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int
    ) -> None:
        self.k, self.log_probs = k, log_probs
        labels, given, wanted = (np.asarray(getattr(v, "_a", v)) for v in (targets, input_lengths, target_lengths))
        wrap: Any = np.asarray
        dtype = log_probs.dtype
        if isinstance(log_probs, NS["Tensor"]):  # on its device, since these also meet each other
            beside = log_probs.detach()
            wrap, dtype = partial(NS["BESIDE"], beside), beside._a.dtype
        batch, length = labels.shape
        self.width = 2 * length + 1
        full = np.full((batch, self.width), blank, np.int64)
        full[:, 1::2] = labels
        state, end = np.arange(self.width), 2 * wanted[:, None]
        skip = np.zeros(full.shape, bool)
        skip[:, 2:] = (full[:, 2:] != blank) & (full[:, 2:] != full[:, :-2])
        leave = np.zeros(full.shape, bool)
        leave[:, :-2] = skip[:, 2:]
        self.labels, self.skip, self.leave = wrap(full), wrap(skip), wrap(leave)
        self.start, self.inside = wrap((state < 2) & (state <= end)), wrap(state <= end)
        self.final = wrap((state <= end) & (state >= end - 1))
        steps, _, classes = log_probs.shape
        shape = (steps, batch, classes)
        self.alive = [wrap(np.broadcast_to(given[:, None] > t, shape[1:])) for t in range(steps)]
        self.ends = [wrap(np.broadcast_to(given[:, None] == t + 1, full.shape)) for t in range(steps)]
        self.never = wrap(np.full(full.shape, _NEVER, dtype))

    def frame(self, t: int) -> Any:
        return self.k.reshape(self.k.slice(self.log_probs, 0, t, t + 1), tuple(self.log_probs.shape[1:]))

    def counts(self, t: int) -> Any:
        return self.alive[t]

    def emitted(self, t: int) -> Any:
        return self.k.gather(self.frame(t), 1, self.labels)

    def moved(self, a: Any, by: int) -> Any:
        """States `by` further on (or back), nothing moving in."""
        k, n = self.k, min(abs(by), self.width)
        gap = k.slice(self.never, 1, 0, n)
        if by > 0:
            return k.cat([gap, k.slice(a, 1, 0, self.width - n)], 1)
        return k.cat([k.slice(a, 1, n, self.width), gap], 1)

    def step(self, a: Any, direction: int, jump: Any) -> Any:
        k = self.k
        near = k.logaddexp(a, self.moved(a, direction))
        return k.logaddexp(near, k.where(jump, self.moved(a, 2 * direction), self.never))

    def forward(self) -> tuple[list[Any], Any]:
        """Log-sums over the beginnings of alignments, and over all of them."""
        k = self.k
        a = k.where(self.start, self.emitted(0), self.never)
        alphas, total = [a], k.where(self.ends[0], a, self.never)
        for t in range(1, self.log_probs.shape[0]):
            a = k.add(self.step(a, 1, self.skip), self.emitted(t))
            alphas.append(a)
            total = k.where(self.ends[t], a, total)
        return alphas, k.logsumexp(k.where(self.final, total, self.never), 1)

    def posteriors(self, alphas: list[Any], total: Any) -> list[Any]:
        """Probability of each class in each frame, given the target."""
        k = self.k
        b, found = self.never, []
        for t in range(len(alphas) - 1, -1, -1):
            emit = self.emitted(t)
            b = k.add(self.step(b, -1, self.leave), emit)
            b = k.where(self.ends[t], k.where(self.final, emit, self.never), b)
            weight = k.exp(k.sub(k.sub(k.add(alphas[t], b), emit), k.unsqueeze(total, 1)))
            weight = k.where(self.inside, weight, k.zeros_like(weight))
            found.append(k.scatter_add_zeros(weight, tuple(self.frame(t).shape), 1, self.labels))
        return found[::-1]


def _lengths(name: str, value: Any, batch: int) -> np.ndarray:
    a = value._a if isinstance(value, NS["Tensor"]) else np.asarray(value)
    if a.dtype.kind not in "iu":
        raise RuntimeError(f"ctc_loss(): {name} must be integers, got {describe(value)}")
    if getattr(value, "_level", None) is not None:
        raise RuntimeError(f"ctc_loss(): {name} can't differ from example to example under vmap")
    a = a.reshape(-1).astype(np.int64)
    if a.size != batch:
        raise RuntimeError(f"ctc_loss(): expected {name} with one value for each of {batch} sequences, got {a.size}")
    _check_not_negative(name, a)
    return a


@checks_values
def _check_not_negative(name: str, a: np.ndarray) -> None:
    if a.size and a.min() < 0:
        raise RuntimeError(f"ctc_loss(): {name} must not be negative, got {a.min()}")


@checks_values
def _check_steps(given: np.ndarray, steps: int) -> None:
    if given.size and given.max() > steps:
        raise RuntimeError(
            f"ctc_loss(): input_lengths must be at most {steps}, the number of frames, got {given.max()}"
        )


@checks_values
def _check_targets(targets: np.ndarray, lengths: np.ndarray, batch: int) -> None:
    longest = lengths.max() if lengths.size else 0
    if targets.ndim == 1 and targets.size != lengths.sum():
        raise RuntimeError(
            f"ctc_loss(): expected {lengths.sum()} targets, the sum of target_lengths, got {targets.size}"
        )
    if targets.ndim != 1 and (targets.shape[0] != batch or targets.shape[1] < longest):
        raise RuntimeError(
            f"ctc_loss(): expected targets of size [{batch}, at least {longest}], got {list(targets.shape)}"
        )


def _padded(targets: np.ndarray, lengths: np.ndarray, batch: int) -> np.ndarray:
    """Targets as rows of (N, S), also when they come one after another in one dimension."""
    _check_targets(targets, lengths, batch)
    if NS["CAPTURE"] is not None:  # other targets may be longer
        longest = targets.shape[-1]
    else:
        longest = int(lengths.max()) if lengths.size else 0
    return _rows(targets, lengths, batch, longest)


@one_call
def _rows(targets: np.ndarray, lengths: np.ndarray, batch: int, longest: int) -> np.ndarray:
    if targets.ndim != 1:
        return targets[:, :longest].astype(np.int64)
    rows = np.zeros((batch, longest), np.int64)
    rows[np.arange(longest) < lengths[:, None]] = targets
    return rows


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Minus the log-probability that a sequence of frames spells its target, over all alignments with blanks.

    `log_probs` is (T, N, C) or (T, C) logarithms of probabilities; `targets` is (N, S), or all targets in a row;
    lengths are tensors or tuples of N ints. A mean is over the losses, each divided by its target's length.
    `zero_infinity` makes the loss of a target that is too long, and its gradient, 0. RuntimeError if sizes don't fit.
    Graves et al. 2006.
    """
    reduction = reduction_of(reduction)
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    if log_probs.ndim != 3:
        raise RuntimeError(f"ctc_loss(): expected log_probs of size (T, N, C) or (T, C), got {describe(log_probs)}")
    steps, batch, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss(): blank must be a class from 0 to {classes - 1}, got {blank}")
    given, wanted = _lengths("input_lengths", input_lengths, batch), _lengths("target_lengths", target_lengths, batch)
    _check_steps(given, steps)
    flat = targets._a.reshape(1, -1) if single and targets.ndim == 1 else targets._a
    wrap = NS["WRAP"]
    losses = ctc_loss_op(
        log_probs, wrap(_padded(flat, wanted, batch)), wrap(given), wrap(wanted), blank, bool(zero_infinity)
    )
    if zero_infinity:
        losses = NS["OPS"].where(losses == float("inf"), NS["OPS"].zeros_like(losses), losses)
    if reduction == "none":
        return losses.reshape(()) if single else losses
    if reduction == "sum":
        return losses.sum()
    return (losses / wrap(np.maximum(wanted, 1).astype(losses._a.dtype))).mean()
