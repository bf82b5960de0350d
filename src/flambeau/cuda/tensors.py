"""The legacy classes of tensors on a GPU: no tensor is one, and none can be made."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor",
]  # fmt: skip


class _Absent(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return False

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"type torch.cuda.{cls.__name__} is not available: there is no GPU; use torch.{cls.__name__}")

    def __repr__(cls) -> str:
        return f"<class 'torch.cuda.{cls.__name__}'>"


def _absent(name: str) -> Any:
    return _Absent(name, (), {"__module__": "torch.cuda", "__doc__": "A tensor on a GPU."})


BFloat16Tensor, BoolTensor, ByteTensor = _absent("BFloat16Tensor"), _absent("BoolTensor"), _absent("ByteTensor")
CharTensor, DoubleTensor, FloatTensor = _absent("CharTensor"), _absent("DoubleTensor"), _absent("FloatTensor")
HalfTensor, IntTensor, LongTensor = _absent("HalfTensor"), _absent("IntTensor"), _absent("LongTensor")
ShortTensor = _absent("ShortTensor")
