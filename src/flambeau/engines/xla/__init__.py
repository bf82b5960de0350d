"""The XLA engine: kernels on JAX's arrays, for the devices `xla` (XLA's own CPU), `cuda` and `tpu`.

Importing this package imports JAX; nothing imports it before a program asks for one of these devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.devices import device
from flambeau.engines.arrays import ENGINES
from flambeau.engines.xla import functions  # noqa: F401  (enters NumPy's functions)
from flambeau.engines.xla.array import HOST_READS, XArray
from flambeau.engines.xla.calls import STEPWISE
from flambeau.engines.xla.kernels import XlaEngine
from flambeau.engines.xla.runtime import devices_of, lifting, put, require

__all__ = ["HOST_READS", "STEPWISE", "XArray", "devices_of", "move", "rebuilt", "require"]

ENGINES[XArray] = XlaEngine()


def move(array: Any, where: device, fresh: bool = False) -> Any:
    """An array of any engine as a new one on a device. `fresh`: nobody else has or will write the array."""
    if lifting.trace is not None:
        return _labelled(array, where)
    if array.__class__ is XArray:
        if where.type == "cpu":
            return np.array(array.host())
        if array.device == where:
            return array.copy(order="K")
        array, fresh = array.host(), False
    steps = array.strides
    if not array.flags.c_contiguous and array.ndim > 1:
        order = sorted(range(array.ndim), key=lambda d: (-steps[d], d))
        turned = array.transpose(order)
        if turned.flags.c_contiguous:
            view = XArray(put(turned, where, fresh), where).transpose(np.argsort(order))
            view.base = None
            return view
    return XArray(put(array, where, fresh), where)


def _labelled(array: Any, where: device) -> Any:
    """The same within a traced step: all of it runs on one device, and where tensors are is only told."""
    if array.__class__ is not XArray:
        return lifting.trace.constant(array, where)
    copied = array.copy(order="K")
    copied.store.device = where
    return copied


def rebuilt(array: np.ndarray, where: str) -> Any:
    """An unpickled array: on its device, if there is one, else in NumPy."""
    try:
        return move(array, require(device(where)), True)
    except NotImplementedError:
        return array
