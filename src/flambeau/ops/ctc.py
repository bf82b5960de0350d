"""Connectionist temporal classification."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.errors import describe
from flambeau.ops.core import composite, op
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
    """A recorded backward, which PyTorch has not either."""
    raise RuntimeError(
        "ctc_loss(): its gradient is not differentiable itself; call backward or grad with create_graph=False"
    )


def _lengths(name: str, value: Any, batch: int) -> np.ndarray:
    a = value._a if isinstance(value, NS["Tensor"]) else np.asarray(value)
    if a.dtype.kind not in "iu":
        raise RuntimeError(f"ctc_loss(): {name} must be integers, got {describe(value)}")
    a = a.reshape(-1).astype(np.int64)
    if a.size != batch:
        raise RuntimeError(f"ctc_loss(): expected {name} with one value for each of {batch} sequences, got {a.size}")
    if a.size and a.min() < 0:
        raise RuntimeError(f"ctc_loss(): {name} must not be negative, got {a.min()}")
    return a


def _padded(targets: np.ndarray, lengths: np.ndarray, batch: int) -> np.ndarray:
    """Targets as rows of (N, S), also when they come one after another in one dimension."""
    longest = int(lengths.max()) if lengths.size else 0
    if targets.ndim == 1:
        if targets.size != lengths.sum():
            raise RuntimeError(
                f"ctc_loss(): expected {lengths.sum()} targets, the sum of target_lengths, got {targets.size}"
            )
        rows = np.zeros((batch, longest), np.int64)
        rows[np.arange(longest) < lengths[:, None]] = targets
        return rows
    if targets.shape[0] != batch or targets.shape[1] < longest:
        raise RuntimeError(f"ctc_loss(): expected targets of size [{batch}, at least {longest}], got {list(targets.shape)}")
    return targets[:, :longest].astype(np.int64)


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

    `log_probs` is (T, N, C) or (T, C) logarithms of probabilities; `targets` is (N, S), or all targets one after another;
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
    if given.size and given.max() > steps:
        raise RuntimeError(f"ctc_loss(): input_lengths must be at most {steps}, the number of frames, got {given.max()}")
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
