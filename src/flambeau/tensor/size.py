"""`Size`: a tuple of lengths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Size(tuple):
    """The shape of a tensor: a tuple of ints that counts its elements.

    >>> import flambeau as torch
    >>> torch.Size([2, 3]).numel()
    6
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[Any] = ()) -> Size:
        return super().__new__(cls, [n if n.__class__ is int else _length(n, i) for i, n in enumerate(sizes)])

    def numel(self) -> int:
        """The product of the lengths."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Size:
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n: Any) -> Size:
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)


def _length(n: Any, i: int) -> int:
    if not hasattr(n, "__index__"):
        raise TypeError(f"torch.Size is made of ints, but item {i} is a {type(n).__name__}")
    return n.__index__()
