"""Losses that compare element by element: regression, probabilities, and sides of a margin."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import visible
from flambeau.errors import describe, need_tensor
from flambeau.ops.activation import log_sigmoid
from flambeau.ops.core import composite, op
from flambeau.ops.dispatch import checks_values
from flambeau.ops.lossbase import (
    floating,
    reduce_tensor,
    reduced,
    reduction_of,
    refuse_weight_grad,
    share,
    warn_broadcast,
    weighted,
)

# --- regression ---------------------------------------------------------------------------------------------------


@op(name="mse_loss", elementwise=True)
def mse_loss_op(k, input: Tensor, target: Tensor, reduction="mean"):
    """Squared differences."""
    if input.dtype.kind != "f":
        floating("mse_loss", input)
    return k.mse_loss(input, target, reduction)


@mse_loss_op.derivative("input")
def _(k, g, input, target, reduction):
    return k.mse_loss_backward(g, input, target, reduction)


@mse_loss_op.derivative("target")
def _(k, g, input, target, reduction):
    return k.mse_loss_backward(g, target, input, reduction)


@composite
def mse_loss_backward(k, g, input, target, reduction):
    """The gradient of squared differences."""
    d = k.sub(input, target)
    return k.mul(k.mul(d, 2), share(k, g, reduction, d))


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """Squared differences between `input` and `target`, of one shape: their mean, sum, or with 'none' each of them.

    >>> import flambeau as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    warn_broadcast(input, target)
    if weight is not None:
        return weighted(mse_loss_op(input, target, "none"), weight, reduction, input)
    return mse_loss_op(input, target, reduction)


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """Absolute differences between `input` and `target`: their mean, sum, or with 'none' each of them."""
    reduction = reduction_of(reduction, size_average, reduce)
    warn_broadcast(input, target)
    terms = NS["OPS"].abs(NS["OPS"].sub(input, target))
    return reduce_tensor(terms, reduction) if weight is None else weighted(terms, weight, reduction, input)


@op(name="smooth_l1_loss", elementwise=True, grad_name="SmoothL1LossBackward0")
def smooth_l1_loss_op(k, input: Tensor, target: Tensor, reduction="mean", beta=1.0):
    """Squares near zero, absolute values away from it."""
    floating("smooth_l1_loss", input)
    size = k.abs(k.sub(input, target))
    near = k.mul(k.mul(size, size), 0.5 / beta)
    return reduced(k, k.where(k.lt(size, beta), near, k.sub(size, 0.5 * beta)), reduction)


@smooth_l1_loss_op.derivative("input")
def _(k, g, input, target, reduction, beta):
    return k.smooth_l1_loss_backward(g, input, target, reduction, beta)


@smooth_l1_loss_op.derivative("target")
def _(k, g, input, target, reduction, beta):
    return k.smooth_l1_loss_backward(g, target, input, reduction, beta)


@composite
def smooth_l1_loss_backward(k, g, input, target, reduction, beta):
    """The gradient of the smooth absolute difference."""
    d = k.sub(input, target)
    return k.mul(k.where(k.ge(k.abs(d), beta), k.sign(d), k.div(d, beta)), share(k, g, reduction, d))


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """`0.5 * d ** 2 / beta` where the difference `d` is under `beta`, else `|d| - 0.5 * beta`.

    RuntimeError for a negative `beta`; 0 is `l1_loss`. Girshick 2015, arXiv:1504.08083.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    warn_broadcast(input, target)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss(): beta must not be negative, got {beta}")
    if beta == 0:
        return reduce_tensor(NS["OPS"].abs(NS["OPS"].sub(input, target)), reduction)
    return smooth_l1_loss_op(input, target, reduction, float(beta))


@op(name="huber_loss", elementwise=True)
def huber_loss_op(k, input: Tensor, target: Tensor, reduction="mean", delta=1.0):
    """Squares near zero, straight lines of slope `delta` away from it."""
    floating("huber_loss", input)
    size = k.abs(k.sub(input, target))
    far = k.mul(k.sub(size, 0.5 * delta), delta)
    return reduced(k, k.where(k.le(size, delta), k.mul(k.mul(size, size), 0.5), far), reduction)


@huber_loss_op.derivative("input")
def _(k, g, input, target, reduction, delta):
    return k.huber_loss_backward(g, input, target, reduction, delta)


@huber_loss_op.derivative("target")
def _(k, g, input, target, reduction, delta):
    return k.huber_loss_backward(g, target, input, reduction, delta)


@composite
def huber_loss_backward(k, g, input, target, reduction, delta):
    """The gradient of the Huber loss: the difference, limited to `delta`."""
    d = k.sub(input, target)
    inner = k.where(k.gt(k.abs(d), delta), k.mul(k.sign(d), delta), d)
    return k.mul(inner, share(k, g, reduction, d))


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """`0.5 * d ** 2` where the difference `d` is at most `delta`, else `delta * (|d| - 0.5 * delta)`.

    RuntimeError for a `delta` that is not positive. Huber 1964.
    """
    reduction = reduction_of(reduction)
    warn_broadcast(input, target)
    if not isinstance(delta, (int, float)):
        raise TypeError(f"huber_loss(): delta must be a float or an int, got {type(delta).__name__}")
    if not delta > 0:
        raise RuntimeError(f"huber_loss(): delta must be positive, got {delta}")
    if target._a.dtype != input._a.dtype and input._a.dtype.kind == "f":
        target = target.to(input.dtype)
    if weight is not None:
        terms = weighted(huber_loss_op(input, target, "none", float(delta)), weight, "none", input)
        return reduce_tensor(terms, reduction)
    return huber_loss_op(input, target, reduction, float(delta))


# --- probabilities ------------------------------------------------------------------------------------------------


@checks_values
def _in_unit(name: str, what: str, a: Any) -> None:
    # written so that NaN is refused, as PyTorch does
    if a.size and visible(a) and not ((a >= 0) & (a <= 1)).all():
        raise RuntimeError(f"{name}(): every element of {what} must lie between 0 and 1, got {a.min()} to {a.max()}")


@op(name="binary_cross_entropy")
def binary_cross_entropy_op(k, input: Tensor, target: Tensor, weight: Index = None, reduction="mean"):
    """Cross entropy of probabilities, their logarithms limited to -100."""
    _in_unit("binary_cross_entropy", "input", input)
    _in_unit("binary_cross_entropy", "target", target)
    no, yes = k.clamp(k.log1p(k.neg(input)), -100.0), k.clamp(k.log(input), -100.0)
    terms = k.sub(k.mul(k.sub(target, 1), no), k.mul(target, yes))
    if weight is not None:
        terms = k.mul(terms, k.to_dtype(weight, terms))
    return reduced(k, terms, reduction)


@binary_cross_entropy_op.derivative("input")
def _(k, g, input, target, weight, reduction):
    spread = k.clamp(k.mul(input, k.sub(1, input)), 1e-12)
    slope = k.div(k.sub(input, target), spread)
    if weight is not None:
        slope = k.mul(slope, k.to_dtype(weight, slope))
    return k.mul(slope, share(k, g, reduction, input))


@binary_cross_entropy_op.derivative("target")
def _(k, g, input, weight, reduction):
    slope = k.sub(k.log1p(k.neg(input)), k.log(input))  # without the limits of forward, as in PyTorch
    if weight is not None:
        slope = k.mul(slope, k.to_dtype(weight, slope))
    return k.mul(slope, share(k, g, reduction, input))


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`-(t * log(x) + (1 - t) * log(1 - x))` for probabilities `x` and `t`; logarithms are limited to -100.

    `weight` is broadcast. ValueError if sizes differ, RuntimeError if dtypes do or values are outside [0, 1].
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target._a.shape != input._a.shape:
        raise ValueError(
            f"binary_cross_entropy(): expected target of input's size {list(input.shape)}, got {describe(target)}"
        )
    if weight is not None:
        refuse_weight_grad("binary_cross_entropy", weight)
        weight = weight.expand(input.shape)
    return binary_cross_entropy_op(input, target, weight, reduction)


@op(name="binary_cross_entropy_with_logits", elementwise=True)
def bce_with_logits_op(
    k, input: Tensor, target: Tensor, weight: Index = None, pos_weight: Index = None, reduction="mean"
):
    """Cross entropy of the sigmoid of scores."""
    floating("binary_cross_entropy_with_logits", input)
    yes = k.log_sigmoid(input)
    if pos_weight is not None:
        yes = k.mul(k.add(k.mul(k.sub(k.to_dtype(pos_weight, input), 1), target), 1), yes)
    terms = k.sub(k.mul(k.sub(1, target), input), yes)
    if weight is not None:
        terms = k.mul(terms, k.to_dtype(weight, terms))
    return reduced(k, terms, reduction)


@bce_with_logits_op.derivative("input")
def _(k, g, input, target, weight, pos_weight, reduction):
    s = k.sigmoid(input)
    if pos_weight is None:
        slope = k.sub(s, target)
    else:
        up = k.mul(k.to_dtype(pos_weight, input), target)
        slope = k.sub(k.mul(k.add(up, k.sub(1, target)), s), up)
    if weight is not None:
        slope = k.mul(slope, k.to_dtype(weight, slope))
    return k.mul(slope, share(k, g, reduction, slope))


@bce_with_logits_op.derivative("target")
def _(k, g, input, weight, pos_weight, reduction):
    if pos_weight is None:
        slope = k.neg(input)
    else:
        yes = k.mul(k.to_dtype(pos_weight, input), k.log_sigmoid(input))
        slope = k.sub(k.log_sigmoid(k.neg(input)), yes)
    if weight is not None:
        slope = k.mul(slope, k.to_dtype(weight, slope))
    return k.mul(slope, share(k, g, reduction, slope))


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """`binary_cross_entropy` of `sigmoid(input)`, without overflow; `pos_weight` multiplies positive targets' terms.

    `weight` and `pos_weight` are broadcast. ValueError if the sizes of input and target differ.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target._a.shape != input._a.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits(): expected target of size {list(input.shape)}, got {describe(target)}"
        )
    if target._a.dtype.kind in "biu":
        raise RuntimeError(
            f"binary_cross_entropy_with_logits(): expected a floating-point target, got {describe(target)}; "
            "convert it with .to(torch.float32)"
        )
    refuse_weight_grad("binary_cross_entropy_with_logits", weight)
    refuse_weight_grad("binary_cross_entropy_with_logits", pos_weight)
    return bce_with_logits_op(input, target, weight, pos_weight, reduction)


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """Kullback-Leibler divergence from log-probabilities `input` to probabilities `target`, term by term or reduced.

    With `log_target` the target is logarithms too. 'batchmean' is the sum over the size of dimension 0: the divergence.
    """
    reduction = reduction_of(reduction, size_average, reduce, also="batchmean")
    if size_average is None and reduce is None and reduction == "mean":
        warnings.warn(
            "kl_div: reduction='mean' divides by the number of elements; the divergence itself is "
            "reduction='batchmean', which 'mean' is going to be",
            UserWarning,
            stacklevel=2,
        )
    ops = NS["OPS"]
    for what, t in (("input", input), ("target", target)):
        need_tensor("kl_div", t, what)
        if t._a.dtype.kind in "biu":
            raise RuntimeError(f"kl_div(): expected floating-point {what}, got {describe(t)}")
    if log_target:
        terms = ops.mul(ops.exp(target), ops.sub(target, input))
    else:
        terms = ops.sub(ops.xlogy(target, target), ops.mul(target, input))
    if reduction == "batchmean":
        return terms.sum() / input.shape[0] if input.ndim else terms.sum()
    return reduce_tensor(terms, reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`exp(x) - t * x` for the logarithm of a Poisson rate; without `log_input`, `x - t * log(x + eps)` for the rate.

    `full` adds Stirling's approximation of `log(t!)` for targets above 1.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    for what, t in (("input", input), ("target", target)):
        need_tensor("poisson_nll_loss", t, what)
    terms = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        terms = terms + stirling.masked_fill(target <= 1, 0)
    return reduce_tensor(terms, reduction)


def _variance(input: Any, var: Any) -> Any:
    """`var` as a tensor that broadcasts to `input`; ValueError if it can't or has a negative entry."""
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError(f"gaussian_nll_loss(): var must not be negative, got {var}")
        return NS["BESIDE"](input, np.full(input._a.shape, var, input._a.dtype))
    have, want = var._a.shape, input._a.shape
    apart = [h for h, w in zip(have, want) if h != w]
    if have != want and not (len(have) == len(want) and apart == [1]):  # one dimension of length 1 may broadcast
        if have != want[:-1]:
            raise ValueError(
                f"gaussian_nll_loss(): var must be of size {list(want)}, that with one length 1, or "
                f"{list(want[:-1])}, got {list(have)}"
            )
        var = var.unsqueeze(-1)
    _not_negative(var)
    return var


@checks_values
def _not_negative(var: Any) -> None:
    if var._level is None and (var._a < 0).any():
        raise ValueError(f"gaussian_nll_loss(): var must not be negative, its least element is {var._a.min()}")


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """`0.5 * (log(var) + (input - target) ** 2 / var)` for means and variances (at least `eps`) of normal variables.

    `var` is a number or a tensor, of the input's size or with a last dimension less. `full` adds `0.5 * log(2 * pi)`.
    ValueError for a negative variance or a size that does not fit. Nix and Weigend 1994.
    """
    var = _variance(input, var)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    if var._a.dtype.kind not in "fV":
        raise RuntimeError(f"gaussian_nll_loss(): variances must be floating-point, got {var.dtype}")
    var = var.clone()
    # the limit is no part of the graph: the gradient passes it as if it were not there
    if var._level is None:
        np.maximum(var._a, eps, out=var._a)
    else:
        var = var + (var.clamp(min=eps) - var).detach()
    terms = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        terms = terms + 0.5 * math.log(2 * math.pi)
    return reduce_tensor(terms, reduction)


# --- sides of a margin --------------------------------------------------------------------------------------------


@op(name="soft_margin_loss", elementwise=True)
def soft_margin_loss_op(k, input: Tensor, target: Tensor, reduction="mean"):
    """`log(1 + exp(-target * input))`."""
    floating("soft_margin_loss", input)
    return reduced(k, k.softplus(k.neg(k.mul(target, input)), 1.0, math.inf), reduction)


@soft_margin_loss_op.derivative("input")
def _(k, g, input, target, reduction):
    t = k.neg(target)
    z = k.exp(k.mul(t, input))
    slope = k.mul(t, k.div(z, k.add(z, 1)))
    return k.mul(slope, share(k, g, reduction, slope))


@soft_margin_loss_op.derivative("target")
def _(k, g, input, target, reduction):
    x = k.neg(input)
    z = k.exp(k.mul(x, target))
    slope = k.mul(x, k.div(z, k.add(z, 1)))
    return k.mul(slope, share(k, g, reduction, slope))


def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """`log(1 + exp(-t * x))` for scores `x` and targets `t` of 1 or -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    need_tensor("soft_margin_loss", target, "target")
    if input._a.dtype.kind in "biu":
        raise RuntimeError(f"soft_margin_loss(): expected floating-point input, got {describe(input)}")
    if target._a.dtype != input._a.dtype:
        target = target.to(input.dtype)
    if input._a.dtype.kind == "c":
        terms = (-target.detach() * input).exp().add(1).log()
        return terms if reduction == "none" else terms.mean() if reduction == "mean" else terms.sum()
    return soft_margin_loss_op(input, target.detach(), reduction)


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`x` where the target is 1, `max(0, margin - x)` where it is -1, for distances `x`."""
    reduction = reduction_of(reduction, size_average, reduce)
    zero = NS["OPS"].zeros_like(input)
    apart = NS["OPS"].where(target != 1, (margin - input).clamp_min(0), zero)
    together = NS["OPS"].where(target != -1, input, zero)
    return reduce_tensor(apart + together, reduction)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`max(0, -t * (x1 - x2) + margin)`: a target of 1 wants `x1` above `x2`, -1 below.

    RuntimeError if the numbers of dimensions differ.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss(): expected operands with the same number of dimensions, got "
            f"input1 {describe(input1)}, input2 {describe(input2)}, target {describe(target)}"
        )
    return reduce_tensor((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Binary cross entropy of the sigmoid of scores, averaged over the classes (the last dimension)."""
    reduction = reduction_of(reduction, size_average, reduce)
    terms = -(target * log_sigmoid(input) + (1 - target) * log_sigmoid(-input))
    if weight is not None:
        terms = terms * weight
    return reduce_tensor(terms.sum(dim=input.ndim - 1) / input.shape[-1] if input.ndim else terms, reduction)
