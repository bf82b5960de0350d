"""Tensors that say what they are: images, videos, masks, boxes. Transforms of `transforms.v2` look at their class."""

from __future__ import annotations

import enum
from typing import Any

from flambeau.tensor.creation import as_tensor
from flambeau.tensor.tensor import Tensor

__all__ = ["BoundingBoxFormat", "BoundingBoxes", "Image", "Mask", "TVTensor", "Video", "set_return_type", "wrap"]

_kept = False


class TVTensor(Tensor):
    """Base of all of them. Operations give plain tensors, except those that return the same thing elsewhere (`to`,
    `clone`, `detach`, `requires_grad_`).
    """

    @classmethod
    def _made(cls, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        tensor = as_tensor(data, dtype=dtype, device=device)
        if requires_grad is None:
            requires_grad = data.requires_grad if isinstance(data, Tensor) else False
        return tensor.detach().requires_grad_(requires_grad).as_subclass(cls)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        from flambeau.tensor.subclass import DisableTorchFunctionSubclass

        with DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        same = getattr(func, "__name__", "") in ("clone", "to", "detach", "requires_grad_", "pin_memory")
        first = args[0] if args else None
        if isinstance(result, Tensor) and isinstance(first, TVTensor) and (same or _kept):
            return wrap(result, like=first)
        if isinstance(result, TVTensor) and result is not first:
            return result.as_subclass(Tensor)
        return result

    def to(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """The same thing in another dtype or place."""
        return wrap(self.as_subclass(Tensor).to(*args, **kwargs), like=self)

    def _metadata(self) -> str:
        return ""

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[assignment, unused-ignore]
        name = type(self).__name__
        inner = repr(self.as_subclass(Tensor)).removeprefix("tensor(")[:-1]
        more = self._metadata()
        aligned = inner.replace("\n" + " " * 7, "\n" + " " * (len(name) + 1))
        return f"{name}({aligned}{', ' if more else ''}{more})"

    def __str__(self) -> str:
        return repr(self)

    def __deepcopy__(self, memo: dict) -> Any:
        return wrap(self.as_subclass(Tensor).detach().clone().requires_grad_(self.requires_grad), like=self)


class Image(TVTensor):
    """An image (..., channels, height, width), made of a tensor, an array or a picture of Pillow's."""

    def __new__(cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        if type(data).__module__.startswith("PIL"):
            from flambeau.vision.transforms.functional import pil_to_tensor

            data = pil_to_tensor(data)
        tensor = as_tensor(data, dtype=dtype, device=device)
        if tensor.ndim < 2:
            raise ValueError(f"an Image has at least 2 dimensions, got {tensor.ndim}")
        return cls._made(tensor.unsqueeze(0) if tensor.ndim == 2 else tensor, requires_grad=requires_grad)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class Video(TVTensor):
    """A video (..., frames, channels, height, width)."""

    def __new__(cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        tensor = as_tensor(data, dtype=dtype, device=device)
        if tensor.ndim < 4:
            raise ValueError(f"a Video has at least 4 dimensions, got {tensor.ndim}")
        return cls._made(tensor, requires_grad=requires_grad)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class Mask(TVTensor):
    """A mask (..., height, width), or several."""

    def __new__(cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        if type(data).__module__.startswith("PIL"):
            from flambeau.vision.transforms.functional import pil_to_tensor

            data = pil_to_tensor(data)
        return cls._made(data, dtype, device, requires_grad)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class BoundingBoxFormat(enum.Enum):
    """What the four numbers of a box are: corners, a corner and a size, or the centre and a size."""

    XYXY = "XYXY"
    XYWH = "XYWH"
    CXCYWH = "CXCYWH"


class BoundingBoxes(TVTensor):
    """Boxes (count, 4) in an image of `canvas_size` (height, width)."""

    format: BoundingBoxFormat
    canvas_size: tuple[int, int]
    clamping_mode = "soft"

    def __new__(
        cls, data: Any, *, format: Any, canvas_size: tuple[int, int], clamping_mode: str = "soft", dtype: Any = None,
        device: Any = None, requires_grad: bool | None = None,
    ) -> Any:  # fmt: skip
        tensor = as_tensor(data, dtype=dtype, device=device)
        if tensor.ndim > 2:
            raise ValueError(f"boxes have the shape (count, 4), got {tuple(tensor.shape)}")
        made = cls._made(tensor.unsqueeze(0) if tensor.ndim == 1 else tensor, requires_grad=requires_grad)
        made.format = BoundingBoxFormat[format.upper()] if isinstance(format, str) else format
        made.canvas_size = tuple(canvas_size)
        made.clamping_mode = clamping_mode
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _metadata(self) -> str:
        return f"format={self.format}, canvas_size={self.canvas_size}, clamping_mode={self.clamping_mode}"


def wrap(wrappee: Tensor, *, like: Any, **kwargs: Any) -> Any:
    """A plain tensor as one of the class of `like`, with its metadata."""
    plain = wrappee.as_subclass(Tensor)
    made = plain.as_subclass(type(like))
    if isinstance(like, BoundingBoxes):
        made.format = kwargs.get("format", like.format)
        made.canvas_size = tuple(kwargs.get("canvas_size", like.canvas_size))
        made.clamping_mode = kwargs.get("clamping_mode", like.clamping_mode)
    return made


class set_return_type:
    """Whether operations give 'Tensor' or 'TVTensor'; as a context, until its end."""

    def __init__(self, return_type: str) -> None:
        global _kept
        known = {"tensor": False, "tvtensor": True}
        if return_type.lower() not in known:
            raise ValueError(f"return_type must be one of {sorted(known)}, got {return_type}")
        self._before = _kept
        _kept = known[return_type.lower()]

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        global _kept
        _kept = self._before
