"""Devices by name. The CPU is always there; of the others their engine knows, which is loaded when one is asked for."""

from __future__ import annotations

import importlib
import threading
from typing import Any

_TYPES = ("cpu", "cuda", "tpu", "xla", "mps", "meta", "xpu", "hpu", "privateuseone")


class device:
    """A place where tensors live: `device('cpu')`, `device('cuda', 0)`, `device('cuda:0')`.

    Naming a device never fails for a known kind; creating a tensor on one that is absent does. As a context manager
    it makes factory functions inside create their tensors there.
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, int):
            type, index = "cuda", type
        if not isinstance(type, str):
            raise TypeError(f"device(): a device is given as str or int, got {type.__class__.__name__}")
        name, _, number = type.partition(":")
        if number:
            if index is not None:
                raise RuntimeError(
                    f"device(): '{type}' names an index, and another index came besides; give one of them"
                )
            if not number.isdigit():
                raise RuntimeError(f"device(): '{type}' names no device; write for example 'cpu' or 'cuda:0'")
            index = int(number)
        if name not in _TYPES:
            raise RuntimeError(f"device(): '{type}' does not begin with a device type: {', '.join(_TYPES)}")
        self.type = name
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (")" if self.index is None else f", index={self.index})")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple:
        return device, (str(self),)

    def __enter__(self) -> device:
        _entered.stack.append(require(self))
        return self

    def __exit__(self, *exc: object) -> None:
        _entered.stack.pop()


CPU = device("cpu")
META = device("meta")
_ACCELERATED = ("xla", "cuda", "tpu")


class _Entered(threading.local):
    """The devices that `with` blocks of this thread have entered, and the default beneath them."""

    def __init__(self) -> None:
        self.stack: list[device] = []


_entered = _Entered()
_default = [CPU]


def default() -> device:
    """Where factory functions make tensors: the innermost `with` block's device, else the default."""
    stack = _entered.stack
    return stack[-1] if stack else _default[0]


def make_default(where: Any) -> None:
    """Sets the default device; None is the CPU again."""
    _default[0] = CPU if where is None else require(where)


class DeviceError(NotImplementedError, AssertionError):
    """A device that is not here: all of the classes that PyTorch raises for that."""


def require(where: Any) -> device:
    """The device named, if it is here; otherwise an error that says what is here and how to get the other."""
    found = where if isinstance(where, device) else device(where)
    if found.type == "cpu":
        return CPU
    if found.type in _ACCELERATED:
        return importlib.import_module("flambeau.engines.xla.runtime").require(found)
    if found.type == "meta":
        importlib.import_module("flambeau.engines.meta")
        return META
    raise DeviceError(f"no device '{found}' on this machine: tensors live on 'cpu' here")
