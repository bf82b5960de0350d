"""The dictionaries in which a module keeps its parameters, buffers and children."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from flambeau.autograd.runtime import CHANGES

__all__ = ["Registry"]


class Registry(dict):
    """A dictionary that counts in `CHANGES` whatever is done to it, so that a compiled step need not look at every one
    before every call.

    It is copied as itself and pickled as a plain dictionary.
    """

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: dict) -> Registry:
        made = Registry()
        memo[id(self)] = made
        for name, value in self.items():
            made[name] = deepcopy(value, memo)
        return made


def _counted(name: str) -> Callable:
    change = getattr(dict, name)

    def method(self: Registry, *args: Any, **kwargs: Any) -> Any:
        CHANGES[0] += 1
        return change(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, change.__doc__
    return method


for _name in ("__setitem__", "__delitem__", "__ior__", "pop", "popitem", "clear", "update", "setdefault"):
    setattr(Registry, _name, _counted(_name))
