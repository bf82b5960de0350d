"""Boxes: tensors (n, 4) of x1, y1, x2, y2."""

from __future__ import annotations

import math

import numpy as np

import flambeau as torch
from flambeau.tensor.tensor import Tensor

__all__ = ["batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou",
           "distance_box_iou", "generalized_box_iou", "masks_to_boxes", "nms", "remove_small_boxes"]  # fmt: skip


def box_area(boxes: Tensor) -> Tensor:
    """The areas of boxes (n, 4)."""
    wide = boxes if boxes.dtype in (torch.float64, torch.int64) else _wider(boxes)
    return (wide[:, 2] - wide[:, 0]) * (wide[:, 3] - wide[:, 1])


def _wider(t: Tensor) -> Tensor:
    """In a type in which areas do not overflow."""
    if t.is_floating_point():
        return t if t.dtype in (torch.float32, torch.float64) else t.float()
    return t if t.dtype in (torch.int32, torch.int64) else t.int()


def _overlaps(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union of each of one with each of the other."""
    low = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    high = torch.min(boxes1[:, None, 2:], boxes2[:, 2:])
    sides = _wider(high - low).clamp(min=0)
    inter = sides[..., 0] * sides[..., 1]
    return inter, box_area(boxes1)[:, None] + box_area(boxes2) - inter


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """Intersection over union of each of n boxes with each of m: (n, m).

    >>> import flambeau as torch
    >>> a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> box_iou(a, torch.tensor([[1.0, 1.0, 3.0, 3.0]]))
    tensor([[0.1429]])
    """
    if fmt != "xyxy":
        boxes1, boxes2 = (box_convert(b, fmt, "xyxy") for b in (boxes1, boxes2))
    inter, union = _overlaps(boxes1, boxes2)
    return inter / union


def _hull(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Sides of the smallest boxes around two each."""
    low = torch.min(boxes1[:, None, :2], boxes2[:, :2])
    high = torch.max(boxes1[:, None, 2:], boxes2[:, 2:])
    return _wider(high - low).clamp(min=0)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU less the share of the hull that neither covers (Rezatofighi et al. 2019, arXiv:1902.09630): (n, m)."""
    inter, union = _overlaps(boxes1, boxes2)
    sides = _hull(boxes1, boxes2)
    area = sides[..., 0] * sides[..., 1]
    return inter / union - (area - union) / area


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU less the squared distance of the centres over that of the hull's corners (Zheng et al. 2019,
    arXiv:1911.08287): (n, m).
    """
    boxes1, boxes2 = _wider(boxes1), _wider(boxes2)
    diagonal = (_hull(boxes1, boxes2) ** 2).sum(-1) + eps
    centres1, centres2 = ((b[:, :2] + b[:, 2:]) / 2 for b in (boxes1, boxes2))
    return box_iou(boxes1, boxes2) - ((centres1[:, None] - centres2[None]) ** 2).sum(-1) / diagonal


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """`distance_box_iou` less a term for differing proportions: (n, m)."""
    boxes1, boxes2 = _wider(boxes1), _wider(boxes2)
    angles = [torch.atan((b[:, 2] - b[:, 0]) / (b[:, 3] - b[:, 1])) for b in (boxes1, boxes2)]
    v = (4 / math.pi**2) * (angles[0][:, None] - angles[1][None]) ** 2
    iou = box_iou(boxes1, boxes2)
    with torch.no_grad():
        alpha = v / (1 - iou + v + eps)
    return distance_box_iou(boxes1, boxes2, eps) - alpha * v


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: the indices of the boxes, best score first, that overlap no better one by more than
    `iou_threshold`.

    RuntimeError unless boxes are (n, 4) and scores (n).
    """
    if boxes.dim() != 2 or boxes.size(1) != 4 or scores.dim() != 1 or len(scores) != len(boxes):
        raise RuntimeError(f"nms takes boxes (n, 4) and scores (n), got {tuple(boxes.shape)} and {tuple(scores.shape)}")
    corners = boxes.detach().numpy()
    left = torch.argsort(scores.detach(), descending=True, stable=True).numpy()
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(corners[best, 2:], corners[left, 2:]) - np.maximum(corners[best, :2], corners[left, :2])
        inter = np.prod(np.maximum(sides, 0), axis=1)
        left = left[~(inter / (areas[best] + areas[left] - inter) > iou_threshold)]
    return torch.tensor(np.array(kept, np.int64))


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """`nms` within each category of `idxs` on its own."""
    if boxes.numel() == 0:
        return torch.empty((0,), dtype=torch.int64)
    apart = idxs.to(boxes) * (boxes.max() + torch.tensor(1).to(boxes))  # categories are moved so that none overlap
    return nms(boxes + apart[:, None], scores, iou_threshold)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """The indices of the boxes with both sides at least `min_size`."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return torch.where((width >= min_size) & (height >= min_size))[0]


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut to an image of `size` (height, width)."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(min=0, max=width), boxes[..., 1::2].clamp(min=0, max=height)
    return torch.stack((x, y), dim=boxes.dim()).reshape(boxes.shape)


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """From one of 'xyxy', 'xywh' (corner and size), 'cxcywh' (centre and size) to another. ValueError for others."""
    known = ("xyxy", "xywh", "cxcywh")
    if in_fmt not in known or out_fmt not in known:
        raise ValueError(f"box formats are {known}, got {in_fmt!r} and {out_fmt!r}")
    if in_fmt == out_fmt:
        return boxes.clone()
    first, second = boxes[..., :2], boxes[..., 2:]
    if in_fmt == "xywh":
        first, second = first, first + second
    elif in_fmt == "cxcywh":
        first, second = first - 0.5 * second, first + 0.5 * second
    if out_fmt == "xywh":
        second = second - first
    elif out_fmt == "cxcywh":
        first, second = (first + second) / 2, second - first
    return torch.cat((first, second), dim=-1)


def masks_to_boxes(masks: Tensor) -> Tensor:
    """The boxes (n, 4) around masks (n, height, width)."""
    boxes = torch.zeros((len(masks), 4), dtype=torch.float32)
    for i, mask in enumerate(masks):
        y, x = torch.where(mask != 0)
        boxes[i] = torch.stack((x.min(), y.min(), x.max(), y.max())).float()
    return boxes
