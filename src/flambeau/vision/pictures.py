"""Images: Pillow's where it is installed, else `ArrayImage`, which holds an array and stands in for the plain cases."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import numpy as np

from flambeau.tensor.tensor import Tensor

_HOW = "pip install 'flambeau[vision]'"
#: Bands of each mode, and what a pixel's band is stored as.
BANDS = {"1": 1, "L": 1, "P": 1, "I": 1, "F": 1, "I;16": 1, "LA": 2, "PA": 2, "RGB": 3, "YCbCr": 3, "HSV": 3, "LAB": 3,
         "RGBA": 4, "CMYK": 4, "RGBX": 4}  # fmt: skip
_STORED = {"I": np.int32, "F": np.float32, "I;16": np.int16}


def pillow(part: str = "Image") -> Any:
    """A module of Pillow. ImportError that says how to get it where it is not installed."""
    try:
        return importlib.import_module(f"PIL.{part}")
    except ImportError:
        raise ImportError(f"this needs Pillow, which is not installed: {_HOW}") from None


def has_pillow() -> bool:
    """Whether Pillow can be imported."""
    return "PIL.Image" in sys.modules or importlib.util.find_spec("PIL") is not None


def is_pillow(image: Any) -> bool:
    """Whether it is an image of Pillow's; asking does not import Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def is_picture(image: Any) -> bool:
    """Whether it is an image, Pillow's or ours."""
    return is_pillow(image) or isinstance(image, ArrayImage)


class ArrayImage:
    """An image where Pillow is not installed: an array of height, width and (but for one band) bands, and a mode.

    Transforms take it as they take Pillow's and give another; `np.asarray` gives its values. Resizing and rotating
    interpolate as for tensors, which may differ from Pillow in the last place.
    """

    def __init__(self, array: np.ndarray, mode: str) -> None:
        self.array, self.mode = array, mode

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.array.shape[1], self.array.shape[0]

    width = property(lambda self: self.size[0])
    height = property(lambda self: self.size[1])

    def getbands(self) -> tuple[str, ...]:
        """The bands' names."""
        return tuple(self.mode) if BANDS[self.mode] > 1 else (self.mode,)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayImage) and self.mode == other.mode and np.array_equal(self.array, other.array)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<flambeau.vision.ArrayImage mode={self.mode} size={self.width}x{self.height}>"

    def convert(self, mode: str) -> ArrayImage:
        """To 'L' or 'RGB'; ImportError for the rest, which need Pillow."""
        if mode == self.mode:
            return self
        if mode == "RGB" and self.mode == "L":
            return ArrayImage(np.stack([self.array] * 3, axis=-1), "RGB")
        if mode == "L" and self.mode == "RGB":  # ITU-R 601-2 luma in Pillow's fixed point
            r, g, b = (self.array[..., band].astype(np.uint32) for band in range(3))
            return ArrayImage(((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8), "L")
        raise ImportError(f"converting an image from {self.mode} to {mode} needs Pillow: {_HOW}")

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """Writes a PNG file; ImportError for other formats, which need Pillow."""
        from flambeau.utils.png import encode

        name = str(fp if isinstance(fp, str) else getattr(fp, "name", fp))
        if (format or name.rpartition(".")[2]).lower() != "png" or self.mode not in ("L", "LA", "RGB", "RGBA"):
            raise ImportError(f"saving this image as '{format or name}' needs Pillow (only PNG does not): {_HOW}")
        data = encode(self.array)
        if hasattr(fp, "write"):
            fp.write(data)
            return
        with open(fp, "wb") as file:
            file.write(data)


def bands(image: Any) -> int:
    """How many bands an image has."""
    return len(image.getbands())


def values(image: Any) -> np.ndarray:
    """An image's own copy of its values: height, width, bands."""
    array = np.array(image, _STORED.get(image.mode, np.uint8), copy=True)
    return array.reshape(image.size[1], image.size[0], bands(image))


def picture(array: np.ndarray, mode: str) -> Any:
    """The image with these values: height, width and, but for one band, bands."""
    if not has_pillow():
        return ArrayImage(array, mode)
    array = np.ascontiguousarray(array)
    return pillow().frombuffer(mode, (array.shape[1], array.shape[0]), array.tobytes(), "raw", mode, 0, 1)


def open_rgb(path: Any) -> Any:
    """The image in a file, as RGB."""
    if not has_pillow() and str(path).lower().endswith(".png"):
        from flambeau.utils.png import decode

        with open(path, "rb") as file:
            return to_array_image(decode(file.read())).convert("RGB")
    with open(path, "rb") as file:
        return pillow().open(file).convert("RGB")


def to_array_image(array: np.ndarray) -> ArrayImage:
    """An `ArrayImage` of height, width, bands; alpha is dropped."""
    kept = array[..., : 1 if array.shape[-1] < 3 else 3]
    return ArrayImage(kept[..., 0] if kept.shape[-1] == 1 else kept, "L" if kept.shape[-1] == 1 else "RGB")


def to_tensor(image: Any) -> Tensor:
    """An image's values as a tensor (bands, height, width), in the image's own dtype."""
    import flambeau

    return flambeau.from_numpy(values(image)).permute(2, 0, 1)


def like(image: Any, tensor: Tensor) -> ArrayImage:
    """An `ArrayImage` of the mode of `image`, or grey if only one band is left, with a tensor's values."""
    array = tensor.permute(1, 2, 0).numpy()
    mode = image.mode if array.shape[-1] == bands(image) else "L" if array.shape[-1] == 1 else "RGB"
    return ArrayImage(np.ascontiguousarray(array[..., 0] if array.shape[-1] == 1 else array), mode)
