"""``torch.cuda``: NVIDIA GPUs, as JAX sees them.

Without a GPU (or without JAX) every question is answered and every order refused, with the class that PyTorch's CPU
build raises. Programs ask ``is_available()`` and go on without; they seed "all GPUs", of which there may be none.

Work on a GPU runs in order and on its own; ``synchronize`` waits for it. Streams are accepted and all are that one
order. Random numbers are drawn by the CPU's generator whatever the device, so that programs give the same numbers.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections import OrderedDict
from typing import Any, NoReturn

from flambeau.cuda.tensors import *

from ..devices import device as _device
from ..errors import AcceleratorError, OutOfMemoryError

__all__ = [
    "AcceleratorError", "Event", "OutOfMemoryError", "Stream", "can_device_access_peer", "current_device",
    "current_stream", "default_stream", "device", "device_count", "device_of", "empty_cache", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state", "get_rng_state_all", "init",
    "initial_seed", "ipc_collect", "is_available", "is_bf16_supported", "is_initialized", "manual_seed",
    "manual_seed_all", "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_reserved", "memory_stats", "memory_summary", "reset_peak_memory_stats", "seed", "seed_all", "set_device",
    "set_rng_state", "set_rng_state_all", "set_stream", "stream", "synchronize",
]  # fmt: skip

has_half = True
has_magma = False
_KIND = "cuda"
_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin", "jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")


def _refuse(name: str, error: type[Exception] = AssertionError) -> NoReturn:
    raise error(
        f"torch.cuda.{name} needs a CUDA device, and there is none: flambeau reaches GPUs through JAX (pip install "
        "'flambeau[xla]' 'jax[cuda12]'); guard the call with torch.cuda.is_available()"
    )


def _engine() -> Any:
    return importlib.import_module("flambeau.engines.xla.runtime")


def _found() -> list[Any]:
    """JAX's devices; JAX itself is only imported where it has come with support for GPUs."""
    if importlib.util.find_spec("jax") is None:
        return []
    if _KIND == "cuda" and not any(_installed(name) for name in _PLUGINS):
        return []
    return _engine().devices_of(_KIND)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _index(where: Any) -> int:
    """The number of a device given as None, a number, a string or a device."""
    if where is None:
        return _engine().current(_KIND)
    if isinstance(where, int):
        return where
    index = _device(where).index
    return _engine().current(_KIND) if index is None else index


def _one(name: str, where: Any) -> Any:
    """JAX's device of that number."""
    found = _found()
    if not found:
        _refuse(name)
    index = _index(where)
    if not 0 <= index < len(found):
        raise AssertionError(f"torch.cuda.{name}: no device {index}, there are {len(found)}, numbered from 0")
    return found[index]


def is_available() -> bool:
    """Whether a CUDA device can be used."""
    return bool(_found())


def is_initialized() -> bool:
    """Whether CUDA has been set up in this process: it is as soon as a device was found."""
    return is_available()


def init() -> None:
    """Sets up CUDA; AssertionError where there is no device."""
    _one("init", 0)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current CUDA device computes in bfloat16."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def device_count() -> int:
    """The number of CUDA devices."""
    return len(_found())


def current_device() -> int:
    """The number of the device that is meant where none is given."""
    _one("current_device", 0)
    return _index(None)


def set_device(device: Any) -> None:
    """Chooses the device that is meant where none is given. A negative number means "leave it"."""
    index = device if isinstance(device, int) else getattr(device, "index", None)
    if isinstance(device, str):
        index = _device(device).index
    if index is None or index >= 0:
        _one("set_device", index)
        _engine().make_current(_KIND, index or 0)


def synchronize(device: Any = None) -> None:
    """Waits until the device has done all that was asked of it."""
    where = _one("synchronize", device)
    jax = _engine().jax
    jax.jit(jax.numpy.negative)(jax.device_put(0.0, where)).block_until_ready()  # work runs in order


def get_device_name(device: Any = None) -> str:
    """The device's model."""
    return _one("get_device_name", device).device_kind


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The device's CUDA capability, major and minor."""
    text = str(getattr(_one("get_device_capability", device), "compute_capability", "0.0"))
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


class _Properties:
    """What ``get_device_properties`` tells of a device."""

    def __init__(self, name: str, capability: tuple[int, int], total_memory: int, count: int) -> None:
        self.name = name
        self.major, self.minor = capability
        self.total_memory = total_memory
        self.multi_processor_count = count

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory >> 20}MB, multi_processor_count={self.multi_processor_count})"
        )


def get_device_properties(device: Any = None) -> _Properties:
    """The device's name, capability, memory and number of multiprocessors."""
    found = _one("get_device_properties", device)
    total = (found.memory_stats() or {}).get("bytes_limit", 0)
    return _Properties(found.device_kind, get_device_capability(device), total, getattr(found, "core_count", 0))


def get_arch_list() -> list[str]:
    """The GPU architectures that kernels can be compiled for: those that are here."""
    return sorted({"sm_%d%d" % get_device_capability(i) for i in range(device_count())})


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one device reaches the memory of another; JAX moves arrays between any two."""
    _one("can_device_access_peer", device)
    _one("can_device_access_peer", peer_device)
    return _index(device) != _index(peer_device)


# --- memory ---------------------------------------------------------------------------------------------------------


def _figure(name: str, device: Any) -> int:
    return int((_one(name, device).memory_stats() or {}).get(name, 0)) if _found() else 0


def memory_allocated(device: Any = None) -> int:
    """Bytes of device memory that arrays hold; 0 without a device."""
    return _figure("bytes_in_use", device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes of device memory that arrays held since the process began; 0 without a device."""
    return _figure("peak_bytes_in_use", device)


def memory_reserved(device: Any = None) -> int:
    """Bytes of device memory that the allocator has taken; 0 without a device."""
    return _figure("pool_bytes", device) or _figure("bytes_reserved", device) or memory_allocated(device)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes of device memory that the allocator had taken; 0 without a device."""
    return _figure("peak_pool_bytes", device) or max_memory_allocated(device)


def memory_stats(device: Any = None) -> dict[str, Any]:
    """The allocator's own statistics; none without a device."""
    return OrderedDict(_one("memory_stats", device).memory_stats() or {}) if _found() else OrderedDict()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes of device memory that are free, and all of them."""
    stats = _one("mem_get_info", device).memory_stats() or {}
    total = int(stats.get("bytes_limit", 0))
    return total - int(stats.get("bytes_in_use", 0)), total


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The allocator's statistics as a text."""
    stats = _one("memory_summary", device).memory_stats() or {}
    return "\n".join([f"device {_index(device)}", *(f"{name:<32} {value:>16}" for name, value in stats.items())])


def reset_peak_memory_stats(device: Any = None) -> None:
    """Accepted: the allocator keeps its peaks since the process began."""
    _one("reset_peak_memory_stats", device)


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def empty_cache() -> None:
    """Nothing to do: the allocator gives memory out again by itself."""


def ipc_collect() -> None:
    """Nothing to collect; AssertionError without a device."""
    _one("ipc_collect", None)


# --- random numbers -------------------------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Accepted: numbers come from the CPU's generator on every device, which ``torch.manual_seed`` seeds."""
    int(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Accepted, as ``manual_seed`` is."""


seed_all = seed


def initial_seed() -> int:
    """The seed of the generator that numbers come from."""
    from ..random import default_generator

    _one("initial_seed", None)
    return default_generator.initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the generator that numbers come from."""
    from .. import random

    _one("get_rng_state", None)
    return random.get_rng_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Restores what ``get_rng_state`` returned."""
    from .. import random

    _one("set_rng_state", None)
    random.set_rng_state(new_state)


def get_rng_state_all() -> list:
    """The generator's state for each device."""
    return [get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Restores what ``get_rng_state_all`` returned."""
    for state in list(new_states):
        set_rng_state(state)


# --- streams --------------------------------------------------------------------------------------------------------


class Stream:
    """A queue of work on a GPU. All of them are the device's one order. RuntimeError without a device."""

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        if not _found():
            _refuse("Stream", RuntimeError)
        self.device = _device(_KIND, _index(device))
        self.priority = priority

    def synchronize(self) -> None:
        """Waits for the device."""
        synchronize(self.device)

    def query(self) -> bool:
        """Whether all work is done: it is after waiting."""
        self.synchronize()
        return True

    def wait_stream(self, stream: Any) -> None:
        """Nothing to do: work runs in order."""

    wait_event = wait_stream

    def record_event(self, event: Any = None) -> Event:
        """An event that is recorded now."""
        event = Event() if event is None else event
        event.record(self)
        return event


class Event:
    """A marker in a device's order of work, with the time at which it was reached. RuntimeError without a device."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        if not _found():
            _refuse("Event", RuntimeError)
        self._time: float | None = None

    def record(self, stream: Any = None) -> None:
        """Waits for the work before, and notes the time."""
        synchronize()
        self._time = time.perf_counter()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another."""
        if self._time is None or end_event._time is None:
            raise RuntimeError("elapsed_time(): both events must have been recorded before")
        return 1e3 * (end_event._time - self._time)

    def synchronize(self) -> None:
        """Nothing to do: recording has waited."""

    wait = record_event = synchronize

    def query(self) -> bool:
        """Whether the event was reached."""
        return True


def current_stream(device: Any = None) -> Stream:
    """The stream that work goes to."""
    _one("current_stream", device)
    return Stream(device)


def default_stream(device: Any = None) -> Stream:
    """The stream that work goes to."""
    _one("default_stream", device)
    return Stream(device)


def set_stream(stream: Any) -> None:
    """Accepted: all streams are one."""
    if stream is not None:
        _one("set_stream", None)


class device:
    """A context in which the GPU of that number is the current one; a negative number leaves everything as it is."""

    def __init__(self, device: Any) -> None:
        self.index = device if isinstance(device, int) else getattr(device, "index", None)
        if isinstance(device, str):
            self.index = _device(device).index or 0

    def __enter__(self) -> None:
        self._before: int | None = None
        if self.index is None or self.index >= 0:
            if not _found():
                _refuse("device", RuntimeError)
            self._before = current_device()
            set_device(self.index or 0)

    def __exit__(self, *exc: Any) -> None:
        if self._before is not None:
            set_device(self._before)


class device_of(device):
    """A context in which the GPU that holds a tensor is the current one; a tensor on the CPU changes nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if getattr(obj, "is_cuda", False) else -1)


class StreamContext:
    """A context in which work is queued on a stream; with ``None`` it changes nothing."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            _one("stream", None)

    def __exit__(self, *exc: Any) -> None:
        return None


stream = StreamContext
