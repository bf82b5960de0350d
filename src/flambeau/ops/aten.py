"""`torch.ops.aten`: operations by PyTorch's names for their overloads, such as `torch.ops.aten.mm.default`.

Every overload of a name is the same operation here. Programs use them to name operations, in selective checkpointing
for instance; called, they are the public functions.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.ops.declare import REGISTRY


def _public() -> Any:
    """The package's namespace, which has the functions that make tensors of no tensor."""
    return sys.modules[__package__.partition(".")[0]]


def _sliced(self: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return self[(slice(None),) * (dim % self.dim()) + (slice(start, end, step),)]


def _copied(self: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None, **options: Any) -> Any:
    chosen = {} if memory_format is None else {"memory_format": memory_format}
    return self.to(device or self.device, dtype or self.dtype, copy=True, **chosen)


#: Operations that programs know as methods, or not at all.
_PLAIN: dict[str, Callable] = {
    "_to_copy": _copied,
    "alias": lambda self: self.view(self.shape),
    "_unsafe_view": lambda self, size: self.reshape(size),
    "_reshape_alias": lambda self, size, stride: self.reshape(size),
    "_local_scalar_dense": lambda self: self.item(),
    "_pin_memory": lambda self, device=None: self.pin_memory(),
    "_sparse_addmm": lambda self, mat1, mat2, **scales: _public().addmm(self, mat1, mat2, **scales),
    "_sparse_mm_reduce_impl": lambda self, other, reduce: _public().sparse.mm(self, other, reduce),
    "lift_fresh": lambda self: self,
    "slice": _sliced,
    "sym_size": lambda self, *dim: self.size(*dim),
    "sym_stride": lambda self, *dim: self.stride(*dim),
    "sym_numel": lambda self: self.numel(),
    "sym_storage_offset": lambda self: self.storage_offset(),
}


class Overload:
    """One operation by name. Equal names are one object."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name

    def __repr__(self) -> str:
        return f"aten.{self.name}.default"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.name in _PLAIN:
            return _PLAIN[self.name](*args, **kwargs)
        op = REGISTRY.get(self.name) or REGISTRY.get(self.name + "_op")
        if op is not None:
            return op.function(*args, **kwargs)  # type: ignore[attr-defined]
        method = getattr(NS["Tensor"], self.name, None) or getattr(_public(), self.name)
        return method(*args, **kwargs)

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
    known = name in REGISTRY or name + "_op" in REGISTRY or name in _PLAIN or hasattr(NS.get("Tensor"), name)
    known = known or (not name.startswith("__") and callable(getattr(_public(), name, None)))
    if name.startswith("__") or not known:
        raise AttributeError(f"torch.ops.aten has no operation '{name}'")
    return packet(name)
