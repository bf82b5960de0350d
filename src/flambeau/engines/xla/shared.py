"""Kernels that both engines have: those of `engines/numpy` over another array namespace.

A module there calls `np` and a few helpers that spread work over cores. A second instance of it, whose `np` makes
device arrays and whose helpers do the work at once, is this engine's: what it computes is written down once.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.protocol import fitted
from flambeau.engines.xla.runtime import jax_device, jnp, tracing, wide

_FOLDER = Path(__file__).parent.parent / "numpy"


class _AnyArray(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, (np.ndarray, XArray))


class AnyArray(metaclass=_AnyArray):
    """NumPy's arrays and the device's, for `isinstance`."""


def _made(make: Any, shape: Any, dtype: Any) -> Any:
    device = tracing.device
    if device is None:
        return getattr(np, make.__name__)(shape, dtype)
    with wide(True):
        where = None if tracing.depth else jax_device(device)
        return XArray(make(shape, np.dtype(dtype), device=where), device)


class Namespace(ModuleType):
    """`numpy` whose new arrays are made on the device."""

    ndarray = AnyArray

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def zeros(shape: Any, dtype: Any = float) -> Any:
        """Zeros."""
        return _made(jnp.zeros, shape, dtype)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> Any:
        """An array to be written."""
        return _made(jnp.zeros, shape, dtype)

    @staticmethod
    def ones(shape: Any, dtype: Any = float) -> Any:
        """Ones."""
        return _made(jnp.ones, shape, dtype)

    @staticmethod
    def full(shape: Any, value: Any, dtype: Any = None) -> Any:
        """An array of one value."""
        if tracing.device is None:
            return np.full(shape, value, dtype)
        d = np.dtype(dtype if dtype is not None else getattr(value, "dtype", np.asarray(value).dtype))
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        return XArray(fitted(value, shape, d, tracing.device), tracing.device)

    @staticmethod
    def array(value: Any, dtype: Any = None, order: Any = "K", copy: Any = True) -> Any:
        """A copy."""
        if value.__class__ is XArray:
            d = value.dtype if dtype is None else np.dtype(dtype)
            return value.copy("C" if order == "C" else "K") if d == value.dtype else value.astype(d)
        return np.array(value, dtype, order=order)

    @staticmethod
    def asarray(value: Any, dtype: Any = None) -> Any:
        """The array itself, in a dtype if one is given."""
        if value.__class__ is XArray:
            return value if dtype is None else value.astype(dtype, copy=False)
        return np.asarray(value, dtype)

    @staticmethod
    def ascontiguousarray(value: Any, dtype: Any = None) -> Any:
        """The array itself where it is contiguous."""
        if value.__class__ is XArray:
            return value if value.flags.c_contiguous else value.copy()
        return np.ascontiguousarray(value, dtype)


NAMESPACE = Namespace("flambeau.engines.xla.namespace")


def _at_once(n: int, work: Any, **kwargs: Any) -> None:
    if n:
        work(0, n)


def _scratch(key: Any, shape: Any, dtype: Any) -> Any:
    return Namespace.empty(shape, dtype)


def _occurs(mask: Any, unknown: bool) -> bool:
    return unknown if tracing.whole and mask.__class__ is XArray else bool(np.any(mask))


class _Native:
    """Native kernels take memory of the CPU's: none of them does anything here, as on a machine without a compiler."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


_HELPERS = {
    "pooling": _Native(),
    "np": NAMESPACE,
    "parallel_for": _at_once,
    "scratch": _scratch,
    "occurs": _occurs,
    "choose": lambda mask, a, b: np.where(mask, a, b),
    "ordered": lambda a, axes: None,
}


_REPLACED = ("layout",)
_NEIGHBOUR = "flambeau.engines.numpy.pool"  # the one whose kernels another module calls


def instance(name: str) -> ModuleType:
    """This engine's instance of a module of NumPy's engine."""
    full = f"flambeau.engines.numpy.{name}@xla"
    found = sys.modules.get(full)
    if found is None:
        spec = importlib.util.spec_from_file_location(full, _FOLDER / f"{name}.py")
        assert spec is not None and spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        found.__package__ = "flambeau.engines.numpy"
        sys.modules[full] = found
        spec.loader.exec_module(found)
        replaced = {id(getattr(found, helper)): mine for helper, mine in _HELPERS.items() if hasattr(found, helper)}
        for key, value in list(vars(found).items()):  # also under other names
            if id(value) in replaced:
                setattr(found, key, replaced[id(value)])
        for key, value in list(vars(found).items()):
            if getattr(value, "__module__", None) == _NEIGHBOUR and full != _NEIGHBOUR + "@xla":
                mine = importlib.import_module("flambeau.engines.xla.pooling")
                setattr(found, key, getattr(mine, key, None) or getattr(instance("pool"), key))
        if name in _REPLACED:  # what a module here does its own way its neighbours there use too
            mine = importlib.import_module(f"flambeau.engines.xla.{name}")
            found.__dict__.update({kernel: getattr(mine, kernel) for kernel in mine.__all__})
    return found
