"""Padding layers: constant, zero, reflection, replication, circular."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple, _pair, _quadruple

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

_sextuple = _ntuple(6, "_sextuple")


class _PadNd(Module):
    """Pads by `padding`: a number, or one before and one after each dimension, the last dimension first."""

    __constants__ = ["padding"]
    _mode: str
    _ntuple: Any  # a staticmethod: how a single number is repeated
    padding: tuple[int, ...]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = type(self)._ntuple(padding)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"
    _dims: tuple[int, ...]

    def _check_input_dim(self, input: Any) -> None:
        if input.dim() not in self._dims:
            raise ValueError(
                f"{type(self).__name__}: expected {self._dims[0]} or {self._dims[1]} dimensions, got {input.dim()}"
            )

    def forward(self, input):
        self._check_input_dim(input)
        return F.pad(input, self.padding, self._mode)


class CircularPad1d(_CircularPadNd):
    """Continues a signal (N, C, L) or (C, L) periodically. ValueError for other numbers of dimensions."""

    _ntuple = staticmethod(_pair)
    _dims = (2, 3)


class CircularPad2d(_CircularPadNd):
    """Continues an image (N, C, H, W) or (C, H, W) periodically. ValueError for other numbers of dimensions."""

    _ntuple = staticmethod(_quadruple)
    _dims = (3, 4)


class CircularPad3d(_CircularPadNd):
    """Continues a volume (N, C, D, H, W) or (C, D, H, W) periodically. ValueError for other numbers of dimensions."""

    _ntuple = staticmethod(_sextuple)
    _dims = (4, 5)


class _ConstantPadNd(_PadNd):
    __constants__ = ["padding", "value"]

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads the last dimension with `value`; a negative padding cuts off."""

    _ntuple = staticmethod(_pair)


class ConstantPad2d(_ConstantPadNd):
    """Pads the last two dimensions with `value`: (left, right, top, bottom)."""

    _ntuple = staticmethod(_quadruple)


class ConstantPad3d(_ConstantPadNd):
    """Pads the last three dimensions with `value`: (left, right, top, bottom, front, back)."""

    _ntuple = staticmethod(_sextuple)


class _Zero:
    """A constant padding whose value is 0."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)  # type: ignore[call-arg]

    def extra_repr(self: Any) -> str:
        return f"{self.padding}"


class ZeroPad1d(_Zero, ConstantPad1d):
    """Pads the last dimension with zeros."""


class ZeroPad2d(_Zero, ConstantPad2d):
    """Pads the last two dimensions with zeros."""


class ZeroPad3d(_Zero, ConstantPad3d):
    """Pads the last three dimensions with zeros."""


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Continues a signal by its mirror image, without repeating the edge; the padding is smaller than the signal."""

    _ntuple = staticmethod(_pair)


class ReflectionPad2d(_ReflectionPadNd):
    """Continues an image by its mirror image, without repeating the edge."""

    _ntuple = staticmethod(_quadruple)


class ReflectionPad3d(_ReflectionPadNd):
    """Continues a volume by its mirror image, without repeating the edge."""

    _ntuple = staticmethod(_sextuple)


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Continues a signal by its edge values."""

    _ntuple = staticmethod(_pair)


class ReplicationPad2d(_ReplicationPadNd):
    """Continues an image by its edge values."""

    _ntuple = staticmethod(_quadruple)


class ReplicationPad3d(_ReplicationPadNd):
    """Continues a volume by its edge values."""

    _ntuple = staticmethod(_sextuple)
