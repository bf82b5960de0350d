"""Which engine runs an op: where operands are, and tensors of arrays that flambeau's own code makes on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.devices import CPU
from flambeau.engines.arrays import ENGINES, FOREIGN, as_array, like
from flambeau.ops.declare import PLAIN, TENSORS, Op


def bare(array: Any) -> Any:
    """A new tensor that holds `array` and needs no gradient."""
    t = object.__new__(NS["Tensor"])
    t._a = array if array.__class__ is np.ndarray else as_array(array)
    return t


def wrap(array: Any) -> Any:
    """`bare`, for arrays that flambeau's own code makes on the way: those go to the device of what they meet."""
    t = object.__new__(NS["Tensor"])
    if array.__class__ is np.ndarray:
        t._a = array
        if FOREIGN:
            t._held = True
    else:
        t._a = as_array(array)
    return t


NS["WRAP"] = wrap


def beside(tensor: Any, array: Any) -> Any:
    """An array that an op has made as a tensor on the device of `tensor`."""
    return bare(like(tensor._a, as_array(array)))


NS["BESIDE"] = beside


def engine_of(op: Op, values: list[Any]) -> Any:
    """The engine that runs an op on these operands, None for NumPy's; RuntimeError for operands of two devices.

    What flambeau's own code has made in NumPy is moved to the others.
    """
    foreign: Any = None
    held: list[tuple[Any, Any]] = []
    other: Any = None
    numpys: list[tuple[Any, int]] = []
    for i, (value, kind) in enumerate(zip(values, op.kinds, strict=True)):
        if kind == PLAIN or value is None:
            continue
        for j, t in enumerate(value) if kind == TENSORS else ((i, value),):
            a = t._a
            if a.__class__ in FOREIGN:
                foreign = t if foreign is None else foreign
                other = a.device if a.device != foreign._a.device else other
            elif t._held:
                held.append((value if kind == TENSORS else values, j))
            elif a.ndim:
                numpys.append((value if kind == TENSORS else values, j))
    if foreign is None:
        return None
    if numpys and foreign._a.device is CPU:  # a traced step on the CPU
        held += numpys
    elif numpys:
        other = CPU
    if other is not None:
        raise _two_devices(op.name, foreign._a.device, other)
    for where, i in held:
        where[i] = beside(foreign, where[i]._a) if where[i]._a.ndim else where[i]
    return ENGINES[foreign._a.__class__]


def _two_devices(name: str, one: Any, other: Any) -> RuntimeError:
    return RuntimeError(
        f"{name}(): Expected all tensors to be on the same device, but found at least two devices, {one} and {other}! "
        "Move one with .to(device)"
    )
