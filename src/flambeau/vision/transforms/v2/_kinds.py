"""Conversions, and transforms put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau as torch
from flambeau.nn import Module, ModuleList
from flambeau.vision import tv_tensors
from flambeau.vision.transforms import functional as older
from flambeau.vision.transforms.v2 import functional as F
from flambeau.vision.transforms.v2._base import Transform, is_picture, plain

__all__ = ["ClampBoundingBoxes", "Compose", "ConvertBoundingBoxFormat", "ConvertImageDtype", "Identity", "Lambda",
           "PILToTensor", "RGB", "RandomApply", "RandomChoice", "RandomOrder", "ToDtype", "ToImage", "ToPILImage",
           "ToPureTensor", "ToTensor"]  # fmt: skip


class Identity(Transform):
    """Changes nothing."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The same."""
        return inpt


class Lambda(Transform):
    """A function of one's own, for things of the classes `types` (all, if none are named)."""

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        super().__init__()
        self.lambd = lambd
        self.types = types
        self._transformed_types = types or (object,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """What the function gives."""
        return self.lambd(inpt)


class ToImage(Transform):
    """Pictures, arrays and tensors become `Image`s."""

    _transformed_types = (lambda x: is_picture(x) or type(x).__name__ == "ndarray" or type(x) is torch.Tensor,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image."""
        return F.to_image(inpt)


class PILToTensor(Transform):
    """Pictures become tensors of bytes."""

    _transformed_types = (is_picture,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The tensor."""
        return older.pil_to_tensor(inpt)


class ToTensor(Transform):
    """Pictures and arrays become float tensors between 0 and 1. Newer programs use `ToImage` and `ToDtype`."""

    _transformed_types = (lambda x: is_picture(x) or type(x).__name__ == "ndarray",)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The tensor."""
        return older.to_tensor(inpt)


class ToPILImage(Transform):
    """Tensors and arrays become pictures."""

    _transformed_types = (lambda x: type(x) is torch.Tensor or isinstance(x, tv_tensors.Image)
                          or type(x).__name__ == "ndarray",)  # fmt: skip

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The picture."""
        return older.to_pil_image(plain(inpt), self.mode)


class ToPureTensor(Transform):
    """Images, masks and boxes become plain tensors."""

    _transformed_types = (tv_tensors.TVTensor,)

    def _again(self, value: Any, params: dict[str, Any]) -> Any:
        return plain(value)


class ToDtype(Transform):
    """To a dtype, or one for each class (a dictionary; under 'others' that of all else). With `scale`, images'
    values go from the old dtype's range to the new one's.
    """

    _transformed_types = (torch.Tensor,)

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        self.scale = scale

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The thing in its dtype."""
        if isinstance(self.dtype, dict):
            default = self.dtype.get("others")
            dtype = next(
                (d for kind, d in self.dtype.items() if isinstance(kind, type) and type(inpt) is kind), default
            )
        else:
            dtype = self.dtype if not isinstance(inpt, (tv_tensors.Mask, tv_tensors.BoundingBoxes)) else None
        return inpt if dtype is None else F.to_dtype(inpt, dtype, self.scale)


class ConvertImageDtype(Transform):
    """`ToDtype` with `scale`."""

    def __init__(self, dtype: Any = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image in that dtype."""
        return F.to_dtype(inpt, self.dtype, scale=True)


class RGB(Transform):
    """Images of one channel get three."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image with three channels."""
        if is_picture(inpt):
            return inpt.convert("RGB")
        values = plain(inpt)
        return values.expand(*values.shape[:-3], 3, *values.shape[-2:]) if values.shape[-3] == 1 else values


class ConvertBoundingBoxFormat(Transform):
    """Boxes in another format."""

    _transformed_types = (tv_tensors.BoundingBoxes,)

    def __init__(self, format: Any) -> None:
        super().__init__()
        self.format = format

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The boxes."""
        return F.convert_bounding_box_format(inpt, new_format=self.format)


class ClampBoundingBoxes(Transform):
    """Boxes cut off at the edges of the image."""

    _transformed_types = (tv_tensors.BoundingBoxes,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The boxes."""
        return F.clamp_bounding_boxes(inpt)


class _Several(Module):
    def __init__(self, transforms: Sequence[Callable]) -> None:
        super().__init__()
        if not isinstance(transforms, (Sequence, ModuleList)):
            raise TypeError(f"a sequence of transforms is needed, got {type(transforms).__name__}")
        self.transforms = transforms

    def _run(self, order: Sequence[int], inputs: tuple) -> Any:
        sample: Any = inputs if len(inputs) > 1 else inputs[0]
        spread = len(inputs) > 1
        for i in order:
            sample = self.transforms[i](*sample) if spread else self.transforms[i](sample)
        return sample

    def extra_repr(self) -> str:
        return "\n".join(f"    {t}" for t in self.transforms)


class Compose(_Several):
    """One after another."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        super().__init__(transforms)
        if not transforms:
            raise ValueError("Compose needs at least one transform")

    def forward(self, *inputs: Any) -> Any:
        """The sample after all of them."""
        return self._run(range(len(self.transforms)), inputs)


class RandomApply(_Several):
    """All of them, with probability `p`."""

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5) -> None:
        super().__init__(transforms)
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, *inputs: Any) -> Any:
        """The sample, changed or not."""
        if torch.rand(1).item() >= self.p:
            return inputs if len(inputs) > 1 else inputs[0]
        return self._run(range(len(self.transforms)), inputs)


class RandomChoice(_Several):
    """One of them, by the probabilities `p`."""

    def __init__(self, transforms: Sequence[Callable], p: list[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and len(p) != len(transforms):
            raise ValueError(f"p must have one number for each of {len(transforms)} transforms, got {len(p)}")
        weights = p or [1.0] * len(transforms)
        self.p = [w / sum(weights) for w in weights]

    def forward(self, *inputs: Any) -> Any:
        """The sample after one of them."""
        return self._run([int(torch.multinomial(torch.tensor(self.p), 1))], inputs)


class RandomOrder(_Several):
    """All of them, in any order."""

    def forward(self, *inputs: Any) -> Any:
        """The sample after all of them."""
        return self._run(torch.randperm(len(self.transforms)).tolist(), inputs)
