"""Many small memories side by side in one array: XLA takes about a microsecond for each input and result of a call.

A program packs what it works on. The memories stay what they were for everybody else: one that is read is cut out of
the pack, one that is written keeps its own value until a program next asks for the pack.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.engines.xla.array import Store
from flambeau.engines.xla.runtime import Tracer, jax, jnp, lifting, wide

__all__ = ["Pack", "Packed", "suited"]

_LARGEST = 1 << 14  # elements of a memory that is packed
_TOTAL = 1 << 22
_FEWEST = 2

_version = Store.__dict__["version"]


class Packed(Store):
    """A memory in a pack. Its own `value` is None unless it was written since a program ran."""

    __slots__ = ()

    @property
    def version(self) -> int:  # type: ignore[override]
        return _version.__get__(self) + self.home.version

    @version.setter
    def version(self, number: int) -> None:
        _version.__set__(self, number - self.home.version)

    def read(self) -> Any:
        """The value."""
        if lifting.trace is not None:
            return lifting.trace.read(self)
        return self.home.part(self) if self.value is None else self.value

    def write(self, value: Any) -> None:
        """Replaces the value."""
        super().write(value)
        if lifting.trace is None:  # what a trace writes is taken back
            self.home.touched = True


class Pack:
    """The array of some memories of one dtype, one after the other."""

    made = 0  # how many there are: what a program knows of memories by themselves may be outdated by a new one

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = list(stores)
        self.places: dict[int, int] = {id(s): i for i, s in enumerate(stores)}
        self.shapes = tuple(s.shape for s in stores)
        self.version = 0
        self.parts: Any = None
        self.touched = False
        self.value: Any = None
        first = [s.value for s in stores]
        Pack.made += 1
        for s in stores:
            s.home = self
            s.__class__ = Packed
            s.value = None
        made = [isinstance(v, Tracer) for v in first]  # those that a program is about to make
        if not all(made):
            self._join([np.zeros(s.shape, s.dtype) if new else v for s, v, new in zip(stores, first, made)])

    def _join(self, values: Sequence[Any]) -> None:
        with wide(True):
            self.value = _joining(len(values))(*values)
        self.version += 1
        self.parts = None

    def settle(self) -> None:
        """Takes in what was written into single memories."""
        if self.touched:
            self.touched = False
            values = [self.part(s) if s.value is None else s.value for s in self.stores]
            for s in self.stores:
                s.value = None
            self._join(values)

    def replace(self, value: Any) -> None:
        """The value that a program has made, of all memories in the pack."""
        if self.touched:  # what was written into single ones before is gone
            self.touched = False
            for s in self.stores:
                s.value = None
        self.value = value
        self.version += 1
        self.parts = None

    def part(self, store: Store) -> Any:
        """The value of one of the memories."""
        if self.parts is None:
            with wide(True):
                self.parts = _cutting(self.shapes)(self.value)
        return self.parts[self.places[id(store)]]


def cut(shapes: tuple[tuple[int, ...], ...], flat: Any) -> list[Any]:
    """The parts of a flat array, in their shapes."""
    parts, start = [], 0
    for shape in shapes:
        stop = start + int(np.prod(shape))
        parts.append(flat[start:stop].reshape(shape))
        start = stop
    return parts


def join(values: Sequence[Any]) -> Any:
    """Values one after the other in a flat array."""
    return jnp.concatenate([v.reshape(-1) for v in values])


@functools.lru_cache(maxsize=256)
def _cutting(shapes: tuple[tuple[int, ...], ...]) -> Any:
    return jax.jit(functools.partial(cut, shapes))


@functools.lru_cache(maxsize=256)
def _joining(count: int) -> Any:
    return jax.jit(lambda *values: join(values))


def suited(stores: Sequence[Store]) -> list[list[Store]]:
    """Which of these memories go together into packs: small ones of one dtype, on one device."""
    groups: dict[Any, list[Store]] = {}
    for s in stores:
        size = int(np.prod(s.shape))
        if s.__class__ is not Store or not 0 < size <= _LARGEST:
            continue
        value = s.value
        if not isinstance(value, Tracer) and (not isinstance(value, jax.Array) or len(value.sharding.device_set) > 1):
            continue
        groups.setdefault((s.dtype, s.device), []).append(s)
    total = {key: sum(int(np.prod(s.shape)) for s in found) for key, found in groups.items()}
    return [found for key, found in groups.items() if len(found) >= _FEWEST and total[key] <= _TOTAL]
