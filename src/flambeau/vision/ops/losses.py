"""Losses of detection."""

from __future__ import annotations

import math

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.tensor.tensor import Tensor

__all__ = ["complete_box_iou_loss", "distance_box_iou_loss", "generalized_box_iou_loss", "sigmoid_focal_loss"]


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is 'none', 'mean' or 'sum', got {reduction!r}")
    if reduction == "sum":
        return loss.sum()
    return loss.mean() if loss.numel() > 0 else 0.0 * loss.sum()


def sigmoid_focal_loss(inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2,
                       reduction: str = "none") -> Tensor:  # fmt: skip
    """Binary cross-entropy of logits in which what is already right counts little (Lin et al. 2017, arXiv:1708.02002).

    Args:
        alpha: the weight of positives, 1 - alpha that of negatives; below 0 no weights.
        gamma: the power of the probability of being wrong.
    """
    if alpha >= 0 and not alpha <= 1:
        raise ValueError(f"alpha lies between 0 and 1, or is negative for no weights; got {alpha}")
    p = torch.sigmoid(inputs)
    right = p * targets + (1 - p) * (1 - targets)
    loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none") * ((1 - right) ** gamma)
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduced(loss, reduction)


def _pairs(boxes1: Tensor, boxes2: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of boxes pairwise: union, intersection over union, width and height of the hull."""
    boxes1, boxes2 = (b if b.dtype == torch.float64 else b.float() for b in (boxes1, boxes2))
    low, high = torch.max(boxes1[..., :2], boxes2[..., :2]), torch.min(boxes1[..., 2:], boxes2[..., 2:])
    apart = ((high - low) <= 0).any(-1)
    inter = torch.where(apart, torch.zeros_like(low[..., 0]), (high - low).prod(-1))
    union = (boxes1[..., 2:] - boxes1[..., :2]).prod(-1) + (boxes2[..., 2:] - boxes2[..., :2]).prod(-1) - inter
    hull = torch.max(boxes1[..., 2:], boxes2[..., 2:]) - torch.min(boxes1[..., :2], boxes2[..., :2])
    return union, inter / (union + eps), hull[..., 0], hull[..., 1]


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 less the generalized IoU of boxes (n, 4) with their partners (Rezatofighi et al. 2019)."""
    union, iou, width, height = _pairs(boxes1, boxes2, eps)
    area = width * height
    return _reduced(1 - (iou - (area - union) / (area + eps)), reduction)


def _distance(boxes1: Tensor, boxes2: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    _, iou, width, height = _pairs(boxes1, boxes2, eps)
    centres = [(b[..., :2] + b[..., 2:]) / 2 for b in (boxes1, boxes2)]
    return 1 - iou + ((centres[0] - centres[1]) ** 2).sum(-1) / (width**2 + height**2 + eps), iou


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 less IoU, more for distant centres (Zheng et al. 2019, arXiv:1911.08287)."""
    return _reduced(_distance(boxes1, boxes2, eps)[0], reduction)


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """`distance_box_iou_loss`, more for differing proportions."""
    loss, iou = _distance(boxes1, boxes2, eps)
    one, two = (torch.atan((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1])) for b in (boxes1, boxes2))
    v = (4 / math.pi**2) * (two - one) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + eps)
    return _reduced(loss + alpha * v, reduction)
