"""Names that files may use besides those that all may, and the names that PyTorch has for things of flambeau's."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["PUBLIC", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "safe_globals", "torch_name", "user"]

user: dict[str, Any] = {}
_user_list: list[Any] = []


def add_safe_globals(safe_globals: Iterable[Any]) -> None:
    """Let files name further classes or functions under `load(..., weights_only=True)`.

    Each is the thing itself, or a pair of it and the full name that files use for it. Allow only what does no harm when
    it is called with arguments of a stranger's choosing. TypeError for anything else.
    """
    things = list(safe_globals)
    for thing in things:
        _names_of(thing)
    _user_list.extend(things)
    for thing in things:
        user.update(_names_of(thing))


def _names_of(thing: Any) -> dict[str, Any]:
    if isinstance(thing, tuple) and len(thing) == 2 and isinstance(thing[1], str):
        return {thing[1]: thing[0]}
    if not callable(thing) or not hasattr(thing, "__qualname__"):
        raise TypeError(f"add_safe_globals: expected a class, a function or a pair with its full name, got {thing!r}")
    names = {f"{thing.__module__}.{thing.__qualname__}": thing}
    if thing.__module__.split(".")[0] == "flambeau":
        names["torch" + thing.__module__.removeprefix("flambeau") + "." + thing.__qualname__] = thing
        names[".".join(torch_name(thing))] = thing
    return names


def get_safe_globals() -> list[Any]:
    """What `add_safe_globals` was given so far."""
    return list(_user_list)


def clear_safe_globals() -> None:
    """Take back everything that `add_safe_globals` allowed."""
    _user_list.clear()
    user.clear()


class safe_globals:
    """Allow further names, as `add_safe_globals` does, for the length of a `with` block."""

    def __init__(self, safe_globals: Iterable[Any]) -> None:
        self._things = list(safe_globals)

    def __enter__(self) -> None:
        self._before = (list(_user_list), dict(user))
        add_safe_globals(self._things)

    def __exit__(self, *error: object) -> None:
        clear_safe_globals()
        _user_list.extend(self._before[0])
        user.update(self._before[1])


PUBLIC = (
    "flambeau.nn",
    "flambeau.nn.functional",
    "flambeau.optim",
    "flambeau.optim.lr_scheduler",
    "flambeau.utils.data",
    "flambeau",
)


def torch_name(thing: Any) -> tuple[str, str]:
    """PyTorch's module and name for a class or function of flambeau's: its public place where it has one."""
    name = thing.__qualname__
    bare = inspect.unwrap(thing)
    for place in PUBLIC:
        found = getattr(sys.modules.get(place), name, None)
        if found is thing or (found is not None and inspect.unwrap(found) is bare):
            return "torch" + place.removeprefix("flambeau"), name
    return "torch" + thing.__module__.removeprefix("flambeau"), name
