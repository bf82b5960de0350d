"""Functions of images for the second generation: the first generation's, and conversions by their newer names."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau as torch
from flambeau.vision import tv_tensors
from flambeau.vision.transforms.functional import *
from flambeau.vision.transforms.functional import convert_image_dtype, get_dimensions, hflip, vflip
from flambeau.vision.transforms.functional import pil_to_tensor as pil_to_tensor
from flambeau.vision.transforms.functional import to_pil_image as to_pil_image
from flambeau.vision.transforms.v2 import _boxes

horizontal_flip, vertical_flip = hflip, vflip


def to_image(inpt: Any) -> tv_tensors.Image:
    """A picture, an array (height, width, channels) or a tensor as an `Image`."""
    if isinstance(inpt, np.ndarray):
        array = np.atleast_3d(inpt)
        return tv_tensors.Image(torch.from_numpy(array).permute(2, 0, 1).contiguous())
    if isinstance(inpt, torch.Tensor) or type(inpt).__module__.startswith("PIL"):
        return tv_tensors.Image(inpt)
    raise TypeError(f"to_image(): a picture, an array or a tensor is needed, got {type(inpt).__name__}")


def to_dtype(inpt: Any, dtype: Any = torch.float, scale: bool = False) -> Any:
    """In another dtype; with `scale`, values of the old one's range become those of the new one's."""
    plain = inpt.as_subclass(torch.Tensor) if isinstance(inpt, tv_tensors.TVTensor) else inpt
    pictures = not isinstance(inpt, (tv_tensors.Mask, tv_tensors.BoundingBoxes))
    result = convert_image_dtype(plain, dtype) if scale and pictures else plain.to(dtype)
    return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else result


def get_size(inpt: Any) -> list[int]:
    """Height and width."""
    if isinstance(inpt, tv_tensors.BoundingBoxes):
        return list(inpt.canvas_size)
    if isinstance(inpt, tv_tensors.Mask):
        return list(inpt.shape[-2:])
    return get_dimensions(inpt)[1:]


def get_num_channels(inpt: Any) -> int:
    """The number of channels."""
    return get_dimensions(inpt)[0]


def convert_bounding_box_format(
    inpt: Any, old_format: Any = None, new_format: Any = None, inplace: bool = False
) -> Any:
    """Boxes in another format; `old_format` is needed for boxes that do not know theirs."""
    named = [tv_tensors.BoundingBoxFormat[f.upper()] if isinstance(f, str) else f for f in (old_format, new_format)]
    if isinstance(inpt, tv_tensors.BoundingBoxes):
        made = _boxes.convert(inpt.as_subclass(torch.Tensor), inpt.format, named[1])
        return tv_tensors.wrap(made, like=inpt, format=named[1])
    return _boxes.convert(inpt, *named)


def clamp_bounding_boxes(inpt: Any, format: Any = None, canvas_size: Any = None, **options: Any) -> Any:
    """Boxes cut off at the edges of the image."""
    kind = format or inpt.format
    corners = _boxes.convert(inpt.as_subclass(torch.Tensor), kind, _boxes.FORMAT.XYXY)
    made = _boxes.convert(_boxes.clamp(corners, canvas_size or inpt.canvas_size), _boxes.FORMAT.XYXY, kind)
    return tv_tensors.wrap(made, like=inpt) if isinstance(inpt, tv_tensors.BoundingBoxes) else made
