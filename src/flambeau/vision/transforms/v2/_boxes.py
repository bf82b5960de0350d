"""How boxes move with the image that they lie in."""

from __future__ import annotations

from typing import Any

import flambeau as torch
from flambeau.vision import tv_tensors
from flambeau.vision.transforms import _chance, _drawn, transforms
from flambeau.vision.transforms import functional as F

FORMAT = tv_tensors.BoundingBoxFormat


def convert(boxes: torch.Tensor, old: Any, new: Any) -> torch.Tensor:
    """Boxes (count, 4) in another format."""
    if old is new:
        return boxes
    a, b, c, d = boxes.unbind(-1)
    if old is FORMAT.XYWH:
        corners = (a, b, a + c, b + d)
    elif old is FORMAT.CXCYWH:
        if boxes.is_floating_point():
            corners = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)
        else:
            left, top = a - c.div(2, rounding_mode="floor"), b - d.div(2, rounding_mode="floor")
            corners = (left, top, left + c, top + d)
    else:
        corners = (a, b, c, d)
    x0, y0, x1, y1 = corners
    if new is FORMAT.XYWH:
        corners = (x0, y0, x1 - x0, y1 - y0)
    elif new is FORMAT.CXCYWH:
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        if not boxes.is_floating_point():
            middle = ((x0 + x1).div(2, rounding_mode="floor"), (y0 + y1).div(2, rounding_mode="floor"))
        corners = (*middle, x1 - x0, y1 - y0)
    return torch.stack(corners, -1)


def clamp(corners: torch.Tensor, canvas: tuple[int, int]) -> torch.Tensor:
    """Corners cut off at the edges of the image."""
    height, width = canvas
    x, y = corners[..., 0::2].clamp(0, width), corners[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def moved(transform: Any, boxes: Any) -> Any:
    """The boxes after a transform of the first generation, which draws as it does for an image. TypeError for one whose
    effect on boxes is not known.
    """
    canvas = boxes.canvas_size
    corners = convert(boxes.as_subclass(torch.Tensor), boxes.format, FORMAT.XYXY)
    corners, canvas = _move(transform, corners, canvas)
    made = convert(corners, FORMAT.XYXY, boxes.format)
    return tv_tensors.wrap(made, like=boxes, canvas_size=canvas)


def _move(transform: Any, c: torch.Tensor, canvas: tuple[int, int]) -> tuple[torch.Tensor, tuple[int, int]]:
    height, width = canvas
    picture = torch.empty(1, height, width)
    if isinstance(transform, _chance.RandomHorizontalFlip):
        flip = torch.rand(1).item() < transform.p
        return (torch.stack([width - c[:, 2], c[:, 1], width - c[:, 0], c[:, 3]], -1) if flip else c), canvas
    if isinstance(transform, _chance.RandomVerticalFlip):
        flip = torch.rand(1).item() < transform.p
        return (torch.stack([c[:, 0], height - c[:, 3], c[:, 2], height - c[:, 1]], -1) if flip else c), canvas
    if isinstance(transform, transforms.Resize):
        return _resized(c, canvas, tuple(F.get_dimensions(transform(picture))[1:]))
    if isinstance(transform, transforms.CenterCrop):
        th, tw = transform.size
        top, left = int(round((height - th) / 2.0)), int(round((width - tw) / 2.0))
        return _cropped(c, top, left, th, tw)
    if isinstance(transform, transforms.Pad):
        left, top, right, bottom = _sides(transform.padding)
        return c + torch.tensor([left, top, left, top], dtype=c.dtype), (height + top + bottom, width + left + right)
    if isinstance(transform, _drawn.RandomResizedCrop):
        top, left, h, w = transform.get_params(picture, transform.scale, transform.ratio)
        return _resized(*_cropped(c, top, left, h, w), tuple(transform.size))
    if isinstance(transform, _drawn.RandomCrop):
        if transform.padding is not None:
            c, (height, width) = _move(transforms.Pad(transform.padding), c, canvas)
        if transform.pad_if_needed:
            more = [max(transform.size[1] - width, 0), max(transform.size[0] - height, 0)]
            c, (height, width) = _move(transforms.Pad(more), c, (height, width))
        return _cropped(c, *transform.get_params(torch.empty(1, height, width), transform.size))
    raise TypeError(
        f"{type(transform).__name__} does not say where boxes go; apply it to images and masks only, or move the boxes "
        "yourself"
    )


def _sides(padding: Any) -> tuple[int, int, int, int]:
    values = [padding] if isinstance(padding, int) else list(padding)
    left, top, right, bottom = values if len(values) == 4 else (values * 4)[:4]
    return left, top, right, bottom


def _cropped(c: torch.Tensor, top: int, left: int, height: int, width: int) -> tuple[torch.Tensor, tuple[int, int]]:
    canvas = (height, width)
    return clamp(c - torch.tensor([left, top, left, top], dtype=c.dtype), canvas), canvas


def _resized(c: torch.Tensor, old: tuple[int, int], new: tuple[Any, ...]) -> tuple[torch.Tensor, tuple[int, int]]:
    sx, sy = new[1] / old[1], new[0] / old[0]
    scaled = c * torch.tensor([sx, sy, sx, sy])
    return (scaled if c.is_floating_point() else scaled.to(c.dtype)), (int(new[0]), int(new[1]))
