"""`torch.ops.aten`: operations by PyTorch's names for their overloads, such as `torch.ops.aten.mm.default`.

Every overload of a name is the same operation here. Programs use them to name operations, in selective checkpointing
for instance; called, they are the public functions.
"""

from __future__ import annotations

import functools
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.ops.declare import REGISTRY


class Overload:
    """One operation by name. Equal names are one object."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name

    def __repr__(self) -> str:
        return f"aten.{self.name}.default"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        op = REGISTRY.get(self.name) or REGISTRY.get(self.name + "_op")
        if op is not None:
            return op.function(*args, **kwargs)  # type: ignore[attr-defined]
        return getattr(NS["Tensor"], self.name)(*args, **kwargs)

    def __reduce__(self) -> tuple:
        return overload, (self.name,)


@functools.cache
def overload(name: str) -> Overload:
    """The operation of that name."""
    return Overload(name)


class Packet:
    """All overloads of a name: `default`, `Tensor`, `dim_IntList`, ..."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, kind: str) -> Overload:
        if kind.startswith("_"):
            raise AttributeError(kind)
        return overload(self._name)

    def __repr__(self) -> str:
        return f"aten.{self._name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return overload(self._name)(*args, **kwargs)


@functools.cache
def packet(name: str) -> Packet:
    """The overloads of that name: one object, however often it is asked for."""
    return Packet(name)


def __getattr__(name: str) -> Packet:
    known = name in REGISTRY or name + "_op" in REGISTRY or hasattr(NS.get("Tensor"), name)
    if name.startswith("__") or not known:
        raise AttributeError(f"torch.ops.aten has no operation '{name}'")
    return packet(name)
