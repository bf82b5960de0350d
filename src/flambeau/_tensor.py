"""``torch._tensor``: where some programs look for the class, and for how old pickles rebuild its subclasses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.tensor.tensor import Tensor

__all__ = ["Tensor"]


def _rebuild_from_type_v2(func: Callable, new_type: type, args: tuple, state: Any) -> Any:
    """A tensor made by `func(*args)`, as an instance of a subclass, with the attributes in `state`."""
    made = func(*args)
    if type(made) is not new_type:
        made = made.as_subclass(new_type)
    if isinstance(state, tuple):
        values = {**(state[0] or {}), **(state[1] or {})}
    else:
        values = state or {}
    for name, value in values.items():
        setattr(made, name, value)
    return made
