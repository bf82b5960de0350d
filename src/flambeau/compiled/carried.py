"""Steps that read a tensor and put another one in its place: running means, hidden states, sums.

Such places are made explicit: what is there goes into the step as an argument, what the step leaves there comes out as
a result. So each call leaves another tensor, as the step itself does, and whoever has kept the old one still has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.autograd.runtime import NS

from .reach import Holder

__all__ = ["Carried", "Place", "can_be_carried"]

#: Where something is: whose, and by which name.
Place = tuple[Holder, Any]


def can_be_carried(x: Any) -> bool:
    """Whether something can go through a step as an argument."""
    if isinstance(x, (tuple, list)):
        return all(map(can_be_carried, x))
    if isinstance(x, dict):
        return all(map(can_be_carried, x.values()))
    return isinstance(x, NS["Tensor"])


class _Explicit:
    """The function with what lies in some places as its first argument, and as its last result."""

    def __init__(self, function: Callable, places: Sequence[Place]) -> None:
        self.__wrapped__ = function
        self.__qualname__ = getattr(function, "__qualname__", type(function).__name__)
        self.places = places

    def __call__(self, before: list[Any], args: tuple, kwargs: dict) -> tuple[Any, list[Any]]:
        _put(self.places, before)
        return self.__wrapped__(*args, **kwargs), [holder.get(name) for holder, name in self.places]


class Carried:
    """Calls a function through a compiled one to which some places are explicit."""

    def __init__(self, function: Callable, places: Sequence[Place], compiled: Callable[[Callable], Any]) -> None:
        self.places = places
        self.compiled = compiled(_Explicit(function, places))

    def __call__(self, args: tuple, kwargs: dict) -> Any:
        before = [holder.get(name) for holder, name in self.places]
        try:
            result, now = self.compiled(before, args, kwargs)
        except BaseException:
            _put(self.places, before)
            raise
        _put(self.places, now)
        return result


def _put(places: Sequence[Place], values: Sequence[Any]) -> None:
    for (holder, name), value in zip(places, values, strict=True):
        holder.put(name, value)
