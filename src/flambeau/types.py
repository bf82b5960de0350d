"""Names for annotations: what PyTorch programs import from ``torch.types``."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import IO, Any, TypeAlias, Union

import flambeau

_int = builtins.int
_float = builtins.float
_bool = builtins.bool
_complex = builtins.complex
_str = builtins.str
_bytes = builtins.bytes
_dtype = flambeau.dtype
_device = flambeau.device
_layout = flambeau.layout

Tensor = flambeau.Tensor
Size = flambeau.Size
_size: TypeAlias = Union[flambeau.Size, list[builtins.int], tuple[builtins.int, ...]]  # type: ignore[name-defined]

Number: TypeAlias = Union[builtins.int, builtins.float, builtins.bool]
_Number = (builtins.int, builtins.float, builtins.bool)
Device: TypeAlias = Union[flambeau.device, builtins.str, builtins.int, None]  # type: ignore[name-defined]
FileLike: TypeAlias = Union[builtins.str, os.PathLike, IO[builtins.bytes]]
IntLikeType: TypeAlias = builtins.int
FloatLikeType: TypeAlias = builtins.float
BoolLikeType: TypeAlias = builtins.bool

_TensorOrTensors: TypeAlias = Union[flambeau.Tensor, Sequence[flambeau.Tensor]]  # type: ignore[name-defined]
_TensorOrOptionalTensors: TypeAlias = Union[Any, Sequence[Any]]
