"""Losses for classes and for pairs and triples of samples."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.errors import describe
from flambeau.ops.core import composite, op
from flambeau.ops.dispatch import checks_values
from flambeau.ops.distance import pairwise_distance
from flambeau.ops.lossbase import floating, reduce_tensor, reduced, reduction_of, refuse_weight_grad, share
from flambeau.ops.softmax import log_softmax_op

# --- class indices ------------------------------------------------------------------------------------------------


@op(name="nll_loss", outputs=3, hidden=2)
def nll_loss_op(k, input: Tensor, target: Index, weight: Index = None, ignore_index=-100, reduction="mean"):
    """Minus the scores at the targets, for (N, C) scores."""
    return _nll(k, input, target, weight, ignore_index, reduction)


@op(name="nll_loss2d", outputs=3, hidden=2, grad_name="NllLoss2DBackward0")
def nll_loss2d_op(k, input: Tensor, target: Index, weight: Index = None, ignore_index=-100, reduction="mean"):
    """Minus the scores at the targets, for (N, C, ...) scores."""
    return _nll(k, input, target, weight, ignore_index, reduction)


def _nll(k: Any, input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    floating("nll_loss", input)
    n, c = input.shape[:2]
    rows = k.reshape(input, (n, c, input.size // (n * c) if n * c else 0))
    return k.nll_rows(rows, target, weight, ignore_index, reduction)


@composite
def nll_loss_backward(k, g, input, places, share):
    """Puts minus the gradient at the targets' places."""
    at = k.neg(k.mul(k.reshape(g, (-1,)), share))
    return _placed(k, at, places, input.shape)


def _placed(k: Any, values: Any, places: Any, shape: Any) -> Any:
    """Zeros of `shape` with `values` at flat `places`."""
    size = 1
    for n in shape:
        size *= n
    return k.reshape(k.scatter_add_zeros(values, (size,), 0, places), tuple(shape))


@nll_loss_op.derivative("input")
def _(k, g, input, out1, out2):
    return k.nll_loss_backward(g, input, out1, out2)


@nll_loss2d_op.derivative("input")
def _(k, g, input, out1, out2):
    return k.nll_loss_backward(g, input, out1, out2)


@op(name="cross_entropy_rows", outputs=5, hidden=4, grad_name="NllLossBackward0")
def cross_entropy_op(k, input: Tensor, target: Index, weight: Index = None, ignore_index=-100, reduction="mean"):
    """`nll_loss` of `log_softmax` of (N, C) scores, in one go."""
    return k.cross_entropy_rows(input, target, weight, ignore_index, reduction)


@cross_entropy_op.derivative("input")
def _(k, g, input, out1, out2, out3, out4):
    return k.cross_entropy_rows_backward(g, input, out1, out2, out3, out4)


@composite
def cross_entropy_rows_backward(k, g, input, e, total, places, share):
    """Softmax minus one at the targets, times the gradient. `e` and `total`, kept by forward, are for kernels."""
    factor = k.mul(g, share)
    return k.sub(k.mul(k.softmax(input, 1), k.unsqueeze(factor, 1)), _placed(k, factor, places, input.shape))


def _check_classes(name: str, input: Any, target: Any, weight: Any) -> None:
    a, t = input._a, target._a
    if t.dtype != np.int64 and t.dtype != np.uint8:
        raise RuntimeError(
            f"{name}(): expected a target of class indices in torch.int64 or torch.uint8, got {describe(target)}"
        )
    if a.ndim > 1 and t.ndim and a.shape[0] != t.shape[0]:
        raise ValueError(f"{name}(): expected one target for each of {a.shape[0]} samples, got a batch of {t.shape[0]}")
    if weight is not None:
        refuse_weight_grad(name, weight)
        classes = a.shape[min(a.ndim - 1, 1)]
        if weight._a.shape != (classes,):
            raise RuntimeError(
                f"{name}(): expected weight with a value for each of {classes} classes, got {describe(weight)}"
            )
        if weight._a.dtype != a.dtype:
            raise RuntimeError(
                f"{name}(): expected weight of input's dtype, got {describe(input)} and weight {describe(weight)}"
            )


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood: minus the log-probability of each target class.

    `input` is (C), (N, C) or (N, C, d1, ...), `target` the same without C, of class indices; those equal to
    `ignore_index` don't count. `weight` has a factor per class; a mean is over the sum of the factors. IndexError for a
    class out of range, ValueError or RuntimeError if shapes or dtypes don't fit.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    a, t = input._a, target._a
    if a.ndim == 0:
        raise ValueError("nll_loss(): expected at least 1 dimension (C), got a tensor without dimensions")
    if t.ndim > 1 and a.ndim <= 2:
        raise RuntimeError(
            f"nll_loss(): expected a target of at most one dimension for {describe(input)}, got {describe(target)}"
        )
    _check_classes("nll_loss", input, target, weight)
    if a.ndim == 1:
        out = nll_loss_op(input.unsqueeze(0), target.reshape((1,)), weight, ignore_index, reduction)
        return out.reshape(()) if reduction == "none" else out
    if a.ndim == 2:
        return nll_loss_op(input, target, weight, ignore_index, reduction)
    if t.shape != (a.shape[0], *a.shape[2:]):
        raise RuntimeError(f"nll_loss(): expected target size {[a.shape[0], *a.shape[2:]]}, got {list(t.shape)}")
    out = nll_loss2d_op(input, target, weight, ignore_index, reduction)
    return out.view(t.shape) if reduction == "none" and a.ndim != 4 else out


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross entropy between the softmax of scores and targets.

    `input` is (C), (N, C) or (N, C, d1, ...). `target` is either class indices, the shape without C, of which those
    equal to `ignore_index` don't count, or probabilities of input's shape. `weight` has a factor per class;
    `label_smoothing` mixes that much of the uniform distribution into the targets. Errors as `nll_loss`.

    >>> import flambeau as torch
    >>> torch.nn.functional.cross_entropy(torch.zeros(2, 4), torch.tensor([1, 3]))
    tensor(1.3863)
    """
    if size_average is not None or reduce is not None or reduction != "mean":
        reduction = reduction_of(reduction, size_average, reduce)
    a, t = input._a, target._a
    if a.ndim == 2 and t.ndim == 1 and label_smoothing == 0 and a.dtype.kind in "fV":
        if weight is not None or t.dtype != np.int64 or t.shape[0] != a.shape[0]:
            _check_classes("cross_entropy", input, target, weight)
        return cross_entropy_op(input, target, weight, ignore_index, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"cross_entropy(): label_smoothing must be between 0 and 1, got {label_smoothing}")
    if a.shape == t.shape:
        if t.dtype.kind not in "fV":
            raise RuntimeError(
                f"cross_entropy(): a target of input's shape is probabilities, floating-point, got {describe(target)}"
            )
        if ignore_index >= 0:
            raise RuntimeError("cross_entropy(): ignore_index is for class indices, the target is probabilities")
        return _soft_targets(input, target, weight, reduction, label_smoothing)
    scores = log_softmax_op(input, 1 if a.ndim > 1 else 0)
    if label_smoothing == 0:
        return nll_loss(scores, target, weight, None, ignore_index, None, reduction)
    return _smoothed(scores, target, weight, ignore_index, reduction, label_smoothing)


def _per_class(weight: Any, scores: Any) -> Any:
    """Class weights in the shape that broadcasts to `scores`."""
    return weight.reshape((1, -1) + (1,) * (scores.ndim - 2)) if scores.ndim > 1 else weight


def _soft_targets(input: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    """Cross entropy with probabilities for targets; a mean is over the samples."""
    dim = 1 if input.ndim > 1 else 0
    if weight is not None and weight._a.shape != (input.shape[dim],):
        raise RuntimeError(
            f"cross_entropy(): expected a weight for each of {input.shape[dim]} classes, got {describe(weight)}"
        )
    scores = log_softmax_op(input, dim)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / input.shape[dim]
    terms = scores * target if weight is None else scores * target * _per_class(weight, scores)
    if reduction == "none":
        return -terms.sum(dim=dim)
    total = -terms.sum()
    if reduction != "mean":
        return total
    return show_as(total / (input.numel() // input.shape[dim] if input.shape[dim] else 1), "DivBackward1")


def _smoothed(scores: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float) -> Any:
    """A mix of the loss at the targets and its average over all classes."""
    dim = 1 if scores.ndim > 1 else 0
    at_target = nll_loss(scores, target, weight, None, ignore_index, None, reduction)
    everywhere = -(scores if weight is None else scores * _per_class(weight, scores)).sum(dim=dim)
    ignored = target == ignore_index
    everywhere = everywhere.masked_fill(ignored.reshape(everywhere.shape), 0.0)
    if reduction == "mean":
        if weight is None:
            count: Any = (target != ignore_index).sum()
            count = count if ignored._level is not None or NS["CAPTURE"] is not None else int(count._a)
        else:
            safe = target.masked_fill(ignored, 0)
            count = (weight[safe].masked_fill(ignored, 0.0)).sum()
        everywhere = (
            everywhere.sum() / count if isinstance(count, NS["Tensor"]) or count else everywhere.sum() * float("nan")
        )
    elif reduction == "sum":
        everywhere = everywhere.sum()
    return at_target * (1 - smoothing) + everywhere * (smoothing / scores.shape[dim])


# --- margins between classes --------------------------------------------------------------------------------------


@op(name="multi_margin_loss")
def multi_margin_loss_op(k, input: Tensor, target: Index, p=1, margin=1.0, weight: Index = None, reduction="mean"):
    """How far other classes come within the margin of the target's."""
    floating("multi_margin_loss", input)
    over, factor, _ = _multi_margin(k, input, target, margin, weight)
    terms = k.mul(over if p == 1 else k.mul(over, over), factor)
    return reduced(k, k.sum(terms, 1), reduction)


def _multi_margin(k: Any, input: Any, target: Any, margin: float, weight: Any) -> tuple[Any, Any, Any]:
    """What is over the margin, the factor of each term (0 for the target, else weight / classes), target places."""
    at = k.unsqueeze(target, 1)
    own = k.scatter_add_zeros(k.ones_like(k.gather(input, 1, at)), tuple(input.shape), 1, at)
    over = k.add(k.sub(margin, k.gather(input, 1, at)), input)
    over = k.where(k.logical_and(k.gt(over, 0), k.eq(own, 0)), over, k.zeros_like(over))
    factor = k.div(k.sub(1, own), input.shape[1])
    if weight is not None:
        factor = k.mul(factor, k.unsqueeze(k.gather(k.to_dtype(weight, input), 0, target), 1))
    return over, factor, at


@multi_margin_loss_op.derivative("input")
def _(k, g, input, target, p, margin, weight, reduction):
    over, factor, at = _multi_margin(k, input, target, margin, weight)
    slope = k.to_dtype(k.gt(over, 0), input) if p == 1 else k.mul(over, 2)
    g = share(k, g, reduction, input[:, 0])
    slope = k.mul(k.mul(slope, factor), k.unsqueeze(g, 1) if reduction == "none" else g)
    return k.sub(slope, k.scatter_add_zeros(k.sum(slope, 1, True), tuple(input.shape), 1, at))


@checks_values
def _classes_exist(name: str, target: Any, least: int, classes: int) -> None:
    a = target._a
    if a.size and target._level is None and (a.min() < least or a.max() >= classes):
        none = ", or -1 for none" if least < 0 else ""
        raise RuntimeError(f"{name}(): a target is out of range: the classes are 0 to {classes - 1}{none}")


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`sum(max(0, margin - x[y] + x[j]) ** p) / C` over the classes `j` other than the target `y`.

    `input` is (C) or (N, C), `target` class indices, `p` 1 or 2. ValueError for another `p`, RuntimeError if sizes do
    not fit or a class is out of range.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss(): p must be 1 or 2, got {p}")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"multi_margin_loss(): weight must have one dimension, got {describe(weight)}")
    if target._a.dtype != np.int64:
        raise RuntimeError(f"multi_margin_loss(): expected a target in torch.int64, got {describe(target)}")
    flat = input.ndim < 2
    if flat:
        input, target = input.reshape((1, -1)), target.reshape((-1,))
    n, c = input.shape
    if tuple(target.shape) != (n,):
        raise RuntimeError(
            f"multi_margin_loss(): expected {n} targets for input {describe(input)}, got {describe(target)}"
        )
    if weight is not None and weight.numel() != c:
        raise RuntimeError(f"multi_margin_loss(): expected {c} weights, one per class, got {describe(weight)}")
    _classes_exist("multi_margin_loss", target, 0, c)
    out = multi_margin_loss_op(input, target, p, margin, weight, reduction)
    return out.reshape(()) if flat and reduction == "none" else out


@op(name="multilabel_margin_loss", outputs=2, hidden=1)
def multilabel_margin_loss_op(k, input: Tensor, target: Index, reduction="mean"):
    """How far classes that are not targets come within 1 of those that are."""
    floating("multilabel_margin_loss", input)
    listed = np.cumprod(target >= 0, axis=1).astype(bool)
    is_target = np.any(listed[:, :, None] & (target[:, :, None] == np.arange(input.shape[1])), axis=1)
    pairs = (listed[:, :, None] & ~is_target[:, None, :]).astype(input.dtype)
    labels = np.where(listed, target, 0)
    over = _multilabel_over(k, input, labels)
    terms = k.div(k.sum(k.where(k.ne(pairs, 0), over, k.zeros_like(over)), (1, 2)), input.shape[1])
    return reduced(k, terms, reduction), pairs


def _multilabel_over(k: Any, input: Any, labels: Any) -> Any:
    """`max(0, 1 - x[label] + x[j])` for all labels and classes of each row, 0 for NaN."""
    over = k.add(k.sub(1, k.unsqueeze(k.gather(input, 1, labels), 2)), k.unsqueeze(input, 1))
    return k.where(k.gt(over, 0), over, k.zeros_like(over))


@multilabel_margin_loss_op.derivative("input")
def _(k, g, input, target, reduction, out1):
    labels = k.clamp(target, 0)
    active = k.mul(k.to_dtype(k.gt(_multilabel_over(k, input, labels), 0), input), k.div(out1, input.shape[1]))
    g = share(k, g, reduction, input[:, 0])
    active = k.mul(active, k.reshape(g, (-1, 1, 1)) if reduction == "none" else g)
    return k.sub(k.sum(active, 1), k.scatter_add_zeros(k.sum(active, 2), tuple(input.shape), 1, labels))


def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """`sum(max(0, 1 - x[y] + x[j])) / C` over the target classes `y` of a sample and all its other classes `j`.

    `input` and `target` are (C) or (N, C); a row of `target` lists class indices up to the first negative number.
    RuntimeError if sizes differ or a class is out of range.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target._a.dtype != np.int64:
        raise RuntimeError(f"multilabel_margin_loss(): expected a target in torch.int64, got {describe(target)}")
    if target._a.shape != input._a.shape:
        raise RuntimeError(
            f"multilabel_margin_loss(): expected a target of input's size {list(input.shape)}, got {describe(target)}"
        )
    flat = input.ndim < 2
    if flat:
        input, target = input.reshape((1, -1)), target.reshape((1, -1))
    c = input.shape[1]
    _classes_exist("multilabel_margin_loss", target, -1, c)
    out = multilabel_margin_loss_op(input, target, reduction)
    return out.reshape(()) if flat and reduction == "none" else out


# --- pairs and triples --------------------------------------------------------------------------------------------


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`1 - cos` where the target is 1, `max(0, cos - margin)` where it is -1, for the angles between rows.

    Inputs are (D) or (N, D), the target has the size without D. RuntimeError if sizes don't fit.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target.ndim > 1:
        raise RuntimeError(
            f"cosine_embedding_loss(): expected a target of at most one dimension, got {describe(target)}"
        )
    if target.ndim + 1 != input1.ndim or target.ndim + 1 != input2.ndim:
        raise RuntimeError(
            "cosine_embedding_loss(): expected inputs with one dimension more than the target, got "
            f"input1 {describe(input1)}, input2 {describe(input2)}, target {describe(target)}"
        )
    dim, ops = target.ndim, NS["OPS"]
    tiny = 1e-12
    size1, size2 = (input1 * input1).sum(dim=dim) + tiny, (input2 * input2).sum(dim=dim) + tiny
    cos = (input1 * input2).sum(dim=dim) / (size1 * size2).sqrt()
    zero = ops.zeros_like(cos)
    together = ops.where(target == 1, 1 - cos, zero)
    apart = ops.where(target == -1, (cos - margin).clamp_min(0), zero)
    return reduce_tensor(together + apart, reduction)


def _check_triplet(name: str, anchor: Any, positive: Any, negative: Any, margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"{name}(): margin must be positive, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"{name}(): expected operands with the same number of dimensions, got anchor {describe(anchor)}, "
            f"positive {describe(positive)}, negative {describe(negative)}"
        )


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """`max(0, d(anchor, positive) - d(anchor, negative) + margin)` with `d` the distance in the p-norm.

    With `swap` the negative's distance from the positive counts where it is smaller. ValueError unless `margin` is
    positive, RuntimeError if dimensions differ. Balntas et al. 2016.
    """

    def distance(a: Any, b: Any) -> Any:
        return pairwise_distance(a, b, p, eps)

    reduction = reduction_of(reduction, size_average, reduce)
    _check_triplet("triplet_margin_loss", anchor, positive, negative, margin)
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """`triplet_margin_loss` with a distance of one's own; by default the Euclidean one."""
    reduction = reduction_of(reduction)
    _check_triplet("triplet_margin_with_distance_loss", anchor, positive, negative, margin)
    return _triplet(anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)


def _triplet(anchor: Any, positive: Any, negative: Any, d: Callable, margin: float, swap: bool, reduction: str) -> Any:
    near, far = d(anchor, positive), d(anchor, negative)
    if swap:
        far = NS["OPS"].minimum(far, d(positive, negative))
    return reduce_tensor((near - far + margin).clamp_min(0), reduction)
