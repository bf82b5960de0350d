"""Grids of images, files of images, boxes and masks drawn into images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.tensor.tensor import Tensor
from flambeau.vision.pictures import ArrayImage, has_pillow, pillow

__all__ = ["draw_bounding_boxes", "draw_segmentation_masks", "make_grid", "save_image"]


@torch.no_grad()
def make_grid(tensor: Any, nrow: int = 8, padding: int = 2, normalize: bool = False,
              value_range: tuple[float, float] | None = None, scale_each: bool = False,
              pad_value: float = 0.0) -> Tensor:  # fmt: skip
    """A batch of images (n, channels, height, width), or a list of images, side by side in one image.

    Args:
        nrow: images per row.
        padding, pad_value: the border around each, and its value.
        normalize: shift and scale to 0 to 1, from `value_range`, or from the least and greatest value, of each image
            with `scale_each`.

    TypeError for what is neither tensor nor list of tensors. Single-channel images become three equal channels.

    >>> import flambeau as torch
    >>> make_grid(torch.zeros(5, 3, 4, 4), nrow=3).shape
    torch.Size([3, 14, 20])
    """
    if not isinstance(tensor, Tensor):
        if not isinstance(tensor, list) or not all(isinstance(t, Tensor) for t in tensor):
            raise TypeError(f"make_grid takes a tensor or a list of tensors, got {type(tensor).__name__}")
        tensor = torch.stack(tensor)
    if tensor.dim() == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.dim() == 3:
        tensor = tensor.unsqueeze(0)
    if tensor.dim() == 4 and tensor.size(1) == 1:
        tensor = torch.cat([tensor] * 3, 1)
    if normalize:
        tensor = _normalized(tensor.clone(), value_range, scale_each)
    if tensor.size(0) == 1:
        return tensor.squeeze(0)
    count, channels = tensor.size(0), tensor.size(1)
    columns = min(nrow, count)
    height, width = tensor.size(2) + padding, tensor.size(3) + padding
    grid = tensor.new_full(
        (channels, height * math.ceil(count / columns) + padding, width * columns + padding), pad_value
    )
    for k in range(count):
        y, x = k // columns * height + padding, k % columns * width + padding
        grid[:, y : y + height - padding, x : x + width - padding] = tensor[k]
    return grid


def _normalized(tensor: Tensor, value_range: Any, scale_each: bool) -> Tensor:
    if value_range is not None and not isinstance(value_range, tuple):
        raise TypeError(f"value_range is a tuple (low, high), got {type(value_range).__name__}")
    images: Any = tensor if scale_each else [tensor]
    for t in images:
        low, high = value_range if value_range is not None else (float(t.min()), float(t.max()))
        t.clamp_(min=low, max=high).sub_(low).div_(max(high - low, 1e-5))
    return tensor


@torch.no_grad()
def save_image(tensor: Any, fp: Any, format: str | None = None, **kwargs: Any) -> None:
    """Writes an image, or several as `make_grid` arranges them, to a file; values from 0 to 1 become bytes.

    Args:
        fp: a path, whose ending tells the format, or a file, for which `format` does. PNG needs no Pillow.
        kwargs: those of `make_grid`.
    """
    grid = make_grid(tensor, **kwargs)
    array = grid.mul(255).add_(0.5).clamp_(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()
    if has_pillow():
        pillow().fromarray(np.ascontiguousarray(array)).save(fp, format=format)
    else:
        ArrayImage(array, {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[array.shape[2]]).save(fp, format=format)


def _colours(colors: Any, count: int) -> list:
    """One colour, a name or (red, green, blue), per object."""
    if colors is None:
        hues = [np.array([2**25 - 1, 2**15 - 1, 2**21 - 1]) * i % 255 for i in range(count)]
        return [tuple(int(v) for v in hue) for hue in hues]
    if isinstance(colors, list):
        if len(colors) < count:
            raise ValueError(f"{count} objects need as many colours, got {len(colors)}")
        return colors[:count]
    return [colors] * count


def _image_to_draw(image: Tensor) -> Any:
    if not isinstance(image, Tensor):
        raise TypeError(f"an image to draw into is a tensor, got {type(image).__name__}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ValueError(f"an image to draw into is uint8 or floating-point, got {image.dtype}")
    if image.dim() != 3 or image.size(0) not in (1, 3):
        raise ValueError(f"an image to draw into is (1 or 3, height, width), got {tuple(image.shape)}")
    from flambeau.vision.transforms.functional import convert_image_dtype

    return convert_image_dtype(torch.cat([image] * 3) if image.size(0) == 1 else image, torch.uint8)


@torch.no_grad()
def draw_bounding_boxes(image: Tensor, boxes: Tensor, labels: Sequence[str] | None = None, colors: Any = None,
                        fill: bool = False, width: int = 1, font: str | None = None,
                        font_size: int | None = None) -> Tensor:  # fmt: skip
    """The image (1 or 3, height, width) with boxes (n, 4: x1, y1, x2, y2) drawn, by Pillow, and labels beside them."""
    from flambeau.vision.transforms.functional import convert_image_dtype, pil_to_tensor, to_pil_image

    canvas = _image_to_draw(image)
    if len(boxes) == 0:
        warnings.warn("there are no boxes, so none is drawn")
        return image
    if (boxes[:, 0] > boxes[:, 2]).any() or (boxes[:, 1] > boxes[:, 3]).any():
        raise ValueError("boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2; see ops.box_convert")
    if labels is not None and len(labels) != len(boxes):
        raise ValueError(f"{len(boxes)} boxes need as many labels, got {len(labels)}")
    pillow()
    drawn = to_pil_image(canvas)
    draw = pillow("ImageDraw").Draw(drawn, "RGBA" if fill else None)
    fonts = pillow("ImageFont")
    letters = fonts.truetype(font, font_size or 10) if font else fonts.load_default()
    for i, (box, colour) in enumerate(zip(boxes.to(torch.int64).tolist(), _colours(colors, len(boxes)))):
        inner = None
        if fill:
            inner = (*(pillow("ImageColor").getrgb(colour) if isinstance(colour, str) else colour), 100)
        draw.rectangle(box, width=width, outline=colour, fill=inner)
        if labels is not None and labels[i] is not None:
            draw.text((box[0] + width + 1, box[1] + width + 1), labels[i], fill=colour, font=letters)
    return convert_image_dtype(pil_to_tensor(drawn), image.dtype)


@torch.no_grad()
def draw_segmentation_masks(image: Tensor, masks: Tensor, alpha: float = 0.8, colors: Any = None) -> Tensor:
    """The image (3, height, width) with boolean masks (n, height, width) laid over it in colours."""
    _image_to_draw(image)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.dtype != torch.bool or masks.shape[-2:] != image.shape[-2:]:
        raise ValueError(f"masks are boolean and as large as the image, got {masks.dtype} {tuple(masks.shape)}")
    painted = image.clone()
    for mask, colour in zip(masks, _colours(colors, len(masks))):
        value = torch.tensor(pillow("ImageColor").getrgb(colour) if isinstance(colour, str) else colour)
        painted[:, mask] = (value / 255 if image.is_floating_point() else value).to(image.dtype)[:, None]
    painted[:, masks.sum(0) > 1] = 0
    return (image * (1 - alpha) + painted * alpha).to(image.dtype)
