"""Image files as tensors of bytes: (bands, height, width)."""

from __future__ import annotations

import enum
import io as _files
from typing import Any

import numpy as np

from flambeau.tensor.tensor import Tensor
from flambeau.utils import png
from flambeau.vision.pictures import has_pillow, pillow

__all__ = ["ImageReadMode", "decode_image", "decode_jpeg", "decode_png", "encode_jpeg", "encode_png", "read_file",
           "read_image", "write_file", "write_jpeg", "write_png"]  # fmt: skip


class ImageReadMode(enum.Enum):
    """How many bands a file is read into; UNCHANGED: as many as it has."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


_MODES = {ImageReadMode.GRAY: "L", ImageReadMode.GRAY_ALPHA: "LA", ImageReadMode.RGB: "RGB",
          ImageReadMode.RGB_ALPHA: "RGBA"}  # fmt: skip


def _bytes(data: np.ndarray) -> Tensor:
    import flambeau

    return flambeau.from_numpy(np.ascontiguousarray(data))


def read_file(path: Any) -> Tensor:
    """A file's bytes as a tensor of one dimension."""
    return _bytes(np.fromfile(path, np.uint8))


def write_file(filename: Any, data: Tensor) -> None:
    """Writes a tensor of bytes, of one dimension, to a file."""
    with open(filename, "wb") as file:
        file.write(data.numpy().tobytes())


def decode_image(
    input: Tensor | str, mode: Any = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """The image in a file, or in the bytes of one, as a uint8 tensor (bands, height, width).

    RuntimeError if the bytes are no image; ImportError for formats other than PNG without Pillow.
    """
    if not isinstance(input, Tensor):
        input = read_file(input)
    mode = ImageReadMode[mode.upper()] if isinstance(mode, str) else mode
    data = input.numpy().tobytes()
    if not has_pillow() and mode is ImageReadMode.UNCHANGED and data[1:4] == b"PNG":
        return _bytes(png.decode(data).transpose(2, 0, 1))
    try:
        image = pillow().open(_files.BytesIO(data))
        image.load()
    except OSError as error:
        raise RuntimeError(f"decode_image: these bytes are no image that can be read: {error}") from None
    if apply_exif_orientation:
        image = pillow("ImageOps").exif_transpose(image)
    wanted = _MODES.get(mode) or (image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB")
    array = np.array(image.convert(wanted))
    return _bytes(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def read_image(
    path: Any, mode: ImageReadMode = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """The image in a file as a uint8 tensor (bands, height, width)."""
    return decode_image(read_file(path), mode, apply_exif_orientation)


def decode_png(input: Tensor, mode: Any = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False) -> Tensor:
    """As `decode_image`."""
    return decode_image(input, mode, apply_exif_orientation)


def decode_jpeg(
    input: Tensor, mode: Any = ImageReadMode.UNCHANGED, device: Any = "cpu", apply_exif_orientation: bool = False
) -> Tensor:
    """As `decode_image`."""
    return decode_image(input, mode, apply_exif_orientation)


def _rows(input: Tensor) -> np.ndarray:
    if input.dim() != 3 or input.size(0) not in (1, 3) or str(input.dtype) != "torch.uint8":
        raise RuntimeError(
            f"expected a uint8 tensor of 1 or 3 bands (bands, height, width), got {input.dtype} {tuple(input.shape)}"
        )
    return input.numpy().transpose(1, 2, 0)


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """The bytes of a PNG file with the image (1 or 3 bands, uint8)."""
    return _bytes(np.frombuffer(png.encode(_rows(input), compression_level), np.uint8).copy())


def write_png(input: Tensor, filename: Any, compression_level: int = 6) -> None:
    """Writes the image (1 or 3 bands, uint8) to a PNG file."""
    write_file(filename, encode_png(input, compression_level))


def encode_jpeg(input: Tensor, quality: int = 75) -> Tensor:
    """The bytes of a JPEG file with the image (1 or 3 bands, uint8), by Pillow."""
    rows, target = _rows(input), _files.BytesIO()
    pillow().fromarray(rows[..., 0] if rows.shape[2] == 1 else np.ascontiguousarray(rows)).save(
        target, format="JPEG", quality=quality
    )
    return _bytes(np.frombuffer(target.getvalue(), np.uint8).copy())


def write_jpeg(input: Tensor, filename: Any, quality: int = 75) -> None:
    """Writes the image (1 or 3 bands, uint8) to a JPEG file."""
    write_file(filename, encode_jpeg(input, quality))
