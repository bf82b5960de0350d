"""``torch.cuda`` on a machine without CUDA: every question is answered, every order is refused.

Programs ask ``is_available()`` and go on without; they seed "all GPUs", of which there are none. What would need one
raises the class that PyTorch's CPU build raises.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NoReturn

from flambeau.cuda.tensors import *

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


def _refuse(name: str, error: type[Exception] = AssertionError) -> NoReturn:
    raise error(
        f"torch.cuda.{name} needs a CUDA device, and flambeau's tensors live on 'cpu' here; "
        "guard the call with torch.cuda.is_available()"
    )


def is_available() -> bool:
    """Whether a CUDA device can be used: no."""
    return False


def is_initialized() -> bool:
    """Whether CUDA has been set up in this process: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current CUDA device computes in bfloat16: there is none."""
    return False


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def get_arch_list() -> list[str]:
    """The GPU architectures that kernels were compiled for: none."""
    return []


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator, when there is one; accepted everywhere, so that programs need not ask."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all GPUs, of which there are none."""
    int(seed)


def seed() -> None:
    """Seed the current GPU's generator randomly: nothing to do."""


def seed_all() -> None:
    """Seed the generators of all GPUs randomly: nothing to do."""


def empty_cache() -> None:
    """Give cached device memory back: there is none."""


def get_rng_state_all() -> list:
    """The generator states of all GPUs: an empty list."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Restore the states that ``get_rng_state_all`` returned: an empty list is restored by doing nothing."""
    if len(list(new_states)):
        _refuse("set_rng_state_all")


def memory_allocated(device: Any = None) -> int:
    """Bytes of device memory that tensors hold: 0."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes of device memory that tensors held: 0."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """Bytes of device memory that the allocator holds: 0."""
    return 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes of device memory that the allocator held: 0."""
    return 0


def memory_stats(device: Any = None) -> dict[str, Any]:
    """The allocator's statistics: none."""
    return OrderedDict()


def set_device(device: Any) -> None:
    """Choose the current GPU. A negative number means "leave it", which is the one choice there is."""
    index = device if isinstance(device, int) else getattr(device, "index", None)
    if index is None or index >= 0:
        _refuse("set_device")


def _refusing(name: str, error: type[Exception] = AssertionError):
    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        _refuse(name, error)

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = f"Needs a CUDA device: raises {error.__name__} here."
    return refused


init = _refusing("init")
current_device = _refusing("current_device")
synchronize = _refusing("synchronize")
initial_seed = _refusing("initial_seed")
get_device_name = _refusing("get_device_name")
get_device_properties = _refusing("get_device_properties")
get_device_capability = _refusing("get_device_capability")
mem_get_info = _refusing("mem_get_info")
memory_summary = _refusing("memory_summary")
reset_peak_memory_stats = _refusing("reset_peak_memory_stats")
current_stream = _refusing("current_stream")
default_stream = _refusing("default_stream")
set_stream = _refusing("set_stream")
get_rng_state = _refusing("get_rng_state")
set_rng_state = _refusing("set_rng_state")
ipc_collect = _refusing("ipc_collect")
can_device_access_peer = _refusing("can_device_access_peer")


class Stream:
    """A queue of work on a GPU. There is none here: making one raises RuntimeError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("Stream", RuntimeError)


class Event:
    """A marker in a stream. There is none here: making one raises RuntimeError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("Event", RuntimeError)


class device:
    """A context in which the GPU of that number is the current one; a negative number leaves everything as it is."""

    def __init__(self, device: Any) -> None:
        self.index = device if isinstance(device, int) else getattr(device, "index", None)

    def __enter__(self) -> None:
        if self.index is None or self.index >= 0:
            _refuse("device", RuntimeError)

    def __exit__(self, *exc: Any) -> None:
        return None


class device_of(device):
    """A context in which the GPU that holds a tensor is the current one; a tensor on the CPU changes nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(-1)


class stream:
    """A context in which work is queued on a stream; with ``None`` it changes nothing."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            _refuse("stream")

    def __exit__(self, *exc: Any) -> None:
        return None
