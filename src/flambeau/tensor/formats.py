"""Names that go with tensors: layouts, memory formats, the legacy typed constructors."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.devices import require
from flambeau.tensor.tensor import Tensor, legacy_array


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return "torch." + self.name

    def __reduce__(self) -> str:
        return self.name


class layout(_Named):
    """How a tensor's elements are stored."""


class memory_format(_Named):
    """In which order a tensor's dimensions lie in memory."""


class qscheme(_Named):
    """A scheme of quantization."""


strided = layout("strided")
jagged = layout("jagged")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
preserve_format = memory_format("preserve_format")

_WORDS = {
    "FloatTensor": dtypes.float32,
    "DoubleTensor": dtypes.float64,
    "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16,
    "LongTensor": dtypes.int64,
    "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16,
    "CharTensor": dtypes.int8,
    "ByteTensor": dtypes.uint8,
    "BoolTensor": dtypes.bool_,
}


class _TypedMeta(type(Tensor)):  # type: ignore[misc]
    """`isinstance(t, torch.FloatTensor)` asks for the dtype."""

    _dtype: dtypes.dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls._dtype

    def __call__(cls, *args: Any, device: Any = None) -> Any:
        if device is not None:
            require(device)
        made: Any = object.__new__(Tensor)
        made._a = legacy_array(args, cls._dtype)
        return made

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"

    @property
    def dtype(cls) -> dtypes.dtype:
        """The dtype that this constructor makes."""
        return cls._dtype


def _typed(name: str, d: dtypes.dtype) -> Any:
    return _TypedMeta(name, (), {"_dtype": d, "__module__": "torch", "__doc__": f"Makes {d} tensors; see `Tensor`."})


FloatTensor, DoubleTensor, HalfTensor = (_typed(n, _WORDS[n]) for n in ("FloatTensor", "DoubleTensor", "HalfTensor"))
BFloat16Tensor, LongTensor, IntTensor = (_typed(n, _WORDS[n]) for n in ("BFloat16Tensor", "LongTensor", "IntTensor"))
ShortTensor, CharTensor = (_typed(n, _WORDS[n]) for n in ("ShortTensor", "CharTensor"))
ByteTensor, BoolTensor = (_typed(n, _WORDS[n]) for n in ("ByteTensor", "BoolTensor"))


def type_name(tensor: Any) -> str:
    """The legacy name of a tensor's type, such as 'torch.FloatTensor'."""
    for name, d in _WORDS.items():
        if d is tensor.dtype:
            return "torch." + name
    return f"torch.{tensor.dtype.name.capitalize()}Tensor"


def dtype_of_type(type_: Any) -> dtypes.dtype:
    """The dtype of a legacy type, its name, or a dtype itself."""
    if isinstance(type_, dtypes.dtype):
        return type_
    name = type_ if isinstance(type_, str) else getattr(type_, "__name__", str(type_))
    name = name.removeprefix("torch.").removeprefix("cuda.")
    if name == "Tensor":
        return dtypes.get_default_dtype()
    if name not in _WORDS:
        raise ValueError(f"type(): there is no tensor type '{type_}'")
    return _WORDS[name]
