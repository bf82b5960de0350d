"""Distances and similarities of vectors, normalisation to unit length, and products of pairs."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS, no_grad
from flambeau.engines.arrays import visible
from flambeau.ops.core import op
from flambeau.ops.dispatch import wrap
from flambeau.ops.norms import norm_of_differences
from flambeau.ops.placing import beside


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along `dim`, of shapes that broadcast.

    >>> import flambeau as torch
    >>> torch.nn.functional.cosine_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([0.6000])
    """
    if not (x1.is_floating_point() or x1.is_complex()) or not (x2.is_floating_point() or x2.is_complex()):
        raise RuntimeError(f"cosine_similarity: expected floating point tensors, got {x1.dtype} and {x2.dtype}")
    from flambeau.ops.joining import broadcast_tensors

    x1, x2 = broadcast_tensors(x1, x2)
    return ((x1 / _at_least(x1.norm(2, dim, True), eps)) * (x2 / _at_least(x2.norm(2, dim, True), eps))).sum(dim)


def _at_least(norm: Any, eps: float) -> Any:
    """`norm`, raised to `eps` behind autograd's back: its gradient goes on below `eps` too."""
    norm = norm.clone()
    with no_grad():
        norm.clamp_min_(eps)
    return norm


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The p-norm of x1 - x2 + eps along the last dimension."""
    return show_as((x1 - x2 + eps).norm(p, -1, keepdim), "NormBackward1")


def pdist(input: Any, p: float = 2.0) -> Any:
    """The p-norms of the differences of all pairs of rows: (N, M) to (N * (N - 1) / 2).

    RuntimeError unless the input is a floating point matrix and p is not negative.
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist: expected 2 dimensions, got {input.dim()}")
    if not input.is_floating_point() or p < 0:
        raise RuntimeError(f"pdist: expected a floating point tensor and p >= 0, got {input.dtype} and p={p}")
    first, second = (beside(input, i) for i in np.triu_indices(input.shape[0], 1))
    rows = input.index_select(0, first) - input.index_select(0, second)
    return show_as(norm_of_differences(rows, float(p)), "PdistBackward0")


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """Divide by the p-norm along `dim`, or by `eps` where that is larger."""
    length = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    if out is None:
        return input / length
    from flambeau.ops.arithmetic import div

    return div(input, length, out=out)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Rows of zeros with a 1 at the class: int64 (*) to int64 (*, num_classes); -1 takes the largest class + 1.

    RuntimeError for another dtype, negative classes, classes that are too large, or an empty input without num_classes.

    >>> import flambeau as torch
    >>> torch.nn.functional.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if str(tensor.dtype) != "torch.int64":
        raise RuntimeError(f"one_hot: expected int64 classes, got {tensor.dtype}: convert with .long()")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("one_hot: an empty tensor does not tell the number of classes: give num_classes")
        return beside(tensor, np.zeros((*tensor.shape, num_classes), np.int64))
    unseen = tensor._level is not None or NS["WRITES"] is not None or not visible(tensor._a)
    if num_classes > 0 and unseen:  # a batch does not show its values, nor does a device
        return (tensor.unsqueeze(-1) == wrap(np.arange(num_classes))).long()
    low, high = int(tensor.min()), int(tensor.max())
    if low < 0:
        raise RuntimeError(f"one_hot: classes must not be negative, got {low}")
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes < 1 or high >= num_classes:
        raise RuntimeError(f"one_hot: num_classes must be positive and above every class, got {num_classes} for {high}")
    return wrap((tensor._a[..., None] == np.arange(num_classes)).astype(np.int64))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y_k = x1 @ weight_k @ x2 + bias_k: (*, I) and (*, J) with weight (K, I, J) to (*, K).

    RuntimeError for shapes that do not fit.
    """
    if weight.dim() != 3 or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear: expected inputs (*, I) and (*, J) and a weight (K, I, J), got {tuple(input1.shape)}, "
            f"{tuple(input2.shape)} and {tuple(weight.shape)}"
        )
    k, i, j = weight.shape
    if input1.shape[-1] != i or input2.shape[-1] != j or (bias is not None and tuple(bias.shape) != (k,)):
        raise RuntimeError(
            f"bilinear: a weight {tuple(weight.shape)} takes inputs (*, {i}) and (*, {j}) and a bias ({k},), got "
            f"{tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    batch = tuple(input1.shape[:-1])
    result = trilinear(input1.reshape(-1, i), weight, input2.reshape(-1, j)).reshape(*batch, k)
    return result if bias is None else result + bias


@op(name="trilinear")
def trilinear(k, input1: Tensor, weight: Tensor, input2: Tensor):
    """x1 @ weight_k @ x2 for each row x1 of a matrix and x2 of another."""
    return k.reshape(k.matmul(_rows(k, input1, weight), k.unsqueeze(input2, 2)), (len(input1), len(weight)))


@trilinear.derivative("input1", "weight", "input2")
def _(k, g, input1, weight, input2, weight_shape, needs):
    """In the order of PyTorch's products: where some are infinite and others vanish, another one shows."""
    co, i, j = weight_shape
    rows = input1.shape[0]
    g1 = gw = g2 = None
    if needs[0]:
        wide = k.reshape(k.matmul(g, k.reshape(weight, (co, i * j))), (rows, i, j))
        g1 = k.reshape(k.matmul(wide, k.unsqueeze(input2, 2)), (rows, i))
    if needs[1]:
        pairs = k.reshape(k.mul(k.unsqueeze(g, 2), k.unsqueeze(input1, 1)), (rows, co * i))
        gw = k.reshape(k.matmul(k.transpose(pairs, 0, 1), input2), (co, i, j))
    if needs[2]:
        g2 = k.reshape(k.matmul(k.unsqueeze(g, 1), _rows(k, input1, weight)), (rows, j))
    return g1, gw, g2


def _rows(k: Any, input1: Any, weight: Any) -> Any:
    """The rows of one matrix times each weight: (rows, K, J)."""
    co, i, j = weight.shape
    return k.reshape(k.matmul(input1, k.reshape(k.permute(weight, (1, 0, 2)), (i, co * j))), (input1.shape[0], co, j))
