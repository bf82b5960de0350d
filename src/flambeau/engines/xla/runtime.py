"""JAX, when it is first needed: 64-bit types, devices, and the way to and from NumPy."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any

import numpy as np

from flambeau.devices import DeviceError, device

try:
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.core import Tracer
    from jax.errors import (
        ConcretizationTypeError,
        NonConcreteBooleanIndexError,
        TracerArrayConversionError,
        TracerIntegerConversionError,
    )
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] not in ("jax", "jaxlib"):
        raise
    raise DeviceError(
        "the devices 'xla', 'cuda' and 'tpu' are JAX's, and JAX is not installed: pip install 'flambeau[xla]' "
        "(for an NVIDIA GPU: pip install 'jax[cuda12]' besides)"
    ) from None

__all__ = ["Tracer", "UNTRACEABLE", "devices_of", "jax", "jnp", "lax", "lifting", "tracing", "where_is", "wide"]


class NeedsHost(Exception):
    """A kernel that runs on the host asks for a value while an op is traced."""


#: What is raised where a traced program asks for a value.
UNTRACEABLE = (
    ConcretizationTypeError,
    NonConcreteBooleanIndexError,
    TracerArrayConversionError,
    TracerIntegerConversionError,
    NeedsHost,
)
#: JAX's names of platforms for ours; its CPU is our 'xla', since 'cpu' is NumPy.
_PLATFORMS = {"cpu": "cpu", "xla": "cpu", "cuda": "gpu", "tpu": "tpu"}
_found: dict[str, list[Any]] = {}

#: 64-bit types, which JAX leaves out unless asked: on for flambeau's own calls, in this thread, and for nobody else's.
wide = jax.enable_x64 if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental").enable_x64


class _Thread(threading.local):
    """What runs in this thread."""

    depth = 0  # how many programs are being traced, one within the other
    device: Any = None  # the device of what runs
    whole = False  # a program's own compiled step is being traced, not one op


tracing = _Thread()


class _Lifting:
    """The trace of a program's own step, while there is one (`whole`): it sees to memory that is read and written."""

    trace: Any = None


lifting = _Lifting()


def devices_of(kind: str) -> list[Any]:
    """JAX's devices of one of our kinds; none where there is no such platform."""
    found = _found.get(kind)
    if found is None:
        try:
            found = jax.local_devices(backend=_PLATFORMS[kind])
        except RuntimeError:
            found = []
        if kind == "cuda" and _own_gpu:  # the others belong to other processes of a group
            found = [None] * _own_gpu + found[:1]
        _found[kind] = found
    return found


def forget_devices() -> None:
    """Asks JAX again which devices there are."""
    _found.clear()


def own_gpu(number: int) -> None:
    """This process has one of the machine's GPUs, which keeps its number."""
    global _own_gpu
    _own_gpu = number
    _current["cuda"] = number


def require(where: device) -> device:
    """The device with its number, if it is there."""
    found = devices_of(where.type)
    index = (where.index or 0) if where.index is not None else _current.get(where.type, 0)
    if not found:
        raise DeviceError(
            f"no device '{where}': JAX sees no {_NAMES[where.type]} on this machine, only "
            f"{', '.join(sorted({d.platform for d in jax.devices()}))}; guard with torch.cuda.is_available()"
        )
    if index < len(found) and found[index] is None:
        raise DeviceError(f"device '{where}' belongs to another process of the group; this one has 'cuda:{_own_gpu}'")
    if index >= len(found):
        raise DeviceError(f"no device '{where}': there are {len(found)} of that kind, numbered from 0")
    return device(where.type, index)


_NAMES = {"xla": "CPU", "cuda": "NVIDIA GPU", "tpu": "TPU"}
_current: dict[str, int] = {}
_own_gpu = 0


def make_current(kind: str, index: int) -> None:
    """Makes the device of that number the one that is meant where no number is given."""
    _current[kind] = index


def current(kind: str) -> int:
    """The number of the device that is meant where none is given."""
    return _current.get(kind, 0)


def jax_device(where: device) -> Any:
    """JAX's device for ours."""
    return devices_of(where.type)[where.index or 0]


def where_is(value: Any) -> device:
    """Our device for that of a JAX array."""
    found = min(value.sharding.addressable_devices, key=lambda d: d.id)
    kind = {"cpu": "xla", "gpu": "cuda", "cuda": "cuda", "rocm": "cuda"}.get(found.platform, found.platform)
    return device(kind, devices_of(kind).index(found))


def put(array: np.ndarray, where: device, fresh: bool = False) -> Any:
    """A NumPy array on a device. `fresh`: nobody will write into it, so that XLA's CPU may use its memory."""
    if where.type == "xla" and not fresh:
        array = aligned(array)
    with wide(True):
        return jax.device_put(array, jax_device(where))


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy in C order that XLA's CPU can use where it is: its memory begins at a multiple of 64 bytes."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.__array_interface__["data"][0] % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(copy, array)
    return copy
