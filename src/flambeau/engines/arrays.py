"""What all engines' arrays have in common: which classes there are, and how they meet NumPy's.

NumPy's own arrays are the CPU's. An engine whose arrays are of another class enters it here when it is loaded; these
follow NumPy's protocols (`__array_ufunc__`, `__array_function__`, `shape`, `dtype`, `strides`, `flags`), so that who
only calls NumPy need not know of them.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from flambeau.engines.native import hooks

#: The classes of arrays that are not NumPy's own.
FOREIGN: set[type] = set()
#: Those of them that have no values.
VALUELESS: set[type] = set()
#: For each of them its engine.
ENGINES: dict[type, Any] = {}


class Engine:
    """What an engine of foreign arrays offers to the rooms above it."""

    def run_op(self, op: Any, arrays: list[Any]) -> Any:
        """The body of `op` on these operands."""
        raise TypeError("an engine runs ops on its own arrays")

    def run_rule(self, op: Any, rule: Any, values: list[Any]) -> Any:
        """A derivative rule of `op` on these values."""
        raise TypeError("an engine runs rules on its own arrays")

    def run_update(self, kinds: Any, update: Any, arrays: tuple, hyper: tuple) -> None:
        """`update(kinds, *arrays, *hyper)`, which writes its arrays in place."""
        raise TypeError("an engine runs updates of its own arrays")


def as_array(value: Any) -> Any:
    """`value` itself if it is an engine's array, else as NumPy's."""
    return value if value.__class__ in FOREIGN or value.__class__ is hooks.traced else np.asarray(value)


def is_array(value: Any) -> bool:
    """Whether `value` is an array of some engine."""
    return isinstance(value, np.ndarray) or value.__class__ in FOREIGN


def move(array: Any, where: Any, fresh: bool = False) -> Any:
    """`array` as a new one on a device. `fresh`: nobody else has it, so that its memory may be used."""
    if where.type == "cpu" and array.__class__ not in FOREIGN:
        return array
    if where.type == "meta" or array.__class__ in VALUELESS:
        return importlib.import_module("flambeau.engines.meta").move(array, where)
    return importlib.import_module("flambeau.engines.xla").move(array, where, fresh)


def moved(array: Any, where: Any) -> Any:
    """A copy of `array` on a device."""
    if where.type == "cpu" and array.__class__ not in FOREIGN:
        return np.array(array)
    return move(array, where)


def host(array: Any) -> np.ndarray:
    """The elements as a NumPy array: itself, or read from the device (then not to be written)."""
    return array if array.__class__ is np.ndarray or array.__class__ not in FOREIGN else array.host()


def place_of(array: Any) -> np.ndarray:
    """A NumPy array with the strides, and the address relative to its base's, that `array` has."""
    return array if array.__class__ is np.ndarray or array.__class__ not in FOREIGN else array.shadow


def visible(array: Any) -> bool:
    """Whether values may be looked at for a check: on accelerators and in compiled steps nobody waits for them."""
    return array.__class__ not in FOREIGN or array.visible()


def need_values(array: Any) -> None:
    """NotImplementedError for an array that has no values."""
    if array.__class__ in VALUELESS:
        array.host()


def copied(array: Any) -> Any:
    """A copy of an array (or NumPy scalar) that keeps the order of its strides."""
    return array.copy("K") if array.__class__ in FOREIGN else np.array(array)


def window(array: Any, shape: tuple[int, ...], offset: int, steps: tuple[int, ...]) -> Any:
    """A view of the memory of `array`, which is C-contiguous: offset and steps in elements."""
    if array.__class__ in FOREIGN:
        return array.window(shape, offset, steps)
    size = array.itemsize
    view = np.ndarray(shape, array.dtype, array, offset * size, tuple(s * size for s in steps))
    return view if array.__class__ is np.ndarray else view.view(type(array))


def like(array: Any, made: np.ndarray) -> Any:
    """A new NumPy array, on the device of `array`."""
    return made if array.__class__ not in FOREIGN or made.__class__ in FOREIGN else array.moved_here(made)
