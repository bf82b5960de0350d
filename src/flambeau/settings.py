"""Process-wide settings: threads, determinism, precision, the default device."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.devices import default, device, make_default
from flambeau.engines.numpy import parallel

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_default_device",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "get_num_threads",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled",
    "set_default_device",
    "set_default_tensor_type",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_num_threads",
    "set_warn_always",
    "use_deterministic_algorithms",
]

_settings: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "matmul": "highest",
    "warn_always": False,
    "interop": 1,
}


def get_num_threads() -> int:
    """How many threads a kernel may use."""
    return parallel.get_num_threads()


def set_num_threads(threads: int) -> None:
    """Sets how many threads a kernel and BLAS may use: at least one."""
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"set_num_threads(): an int is needed, got {type(threads).__name__}")
    if threads <= 0:
        raise RuntimeError(f"set_num_threads(): the number must be positive, got {threads}")
    parallel.set_num_threads(threads)


def get_num_interop_threads() -> int:
    """How many operations run at a time: what `set_num_interop_threads` set, 1 at first."""
    return _settings["interop"]


def set_num_interop_threads(threads: int) -> None:
    """Accepted for programs that set it: operations run one after another."""
    if threads <= 0:
        raise RuntimeError(f"set_num_interop_threads(): the number must be positive, got {threads}")
    _settings["interop"] = threads


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Notes the wish for determinism, which all kernels here fulfil anyway."""
    _settings.update(deterministic=bool(mode), warn_only=warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told."""
    return _settings["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was told of `warn_only`."""
    return _settings["warn_only"]


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same wish in three steps: 'default' (0), 'warn' (1), 'error' (2)."""
    words = {"default": 0, "warn": 1, "error": 2}
    level = words.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if level not in (0, 1, 2):
        raise RuntimeError(f"debug_mode must be 'default', 'warn' or 'error', got {debug_mode!r}")
    _settings.update(deterministic=level > 0, warn_only=level == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as `set_deterministic_debug_mode` counts."""
    return 0 if not _settings["deterministic"] else 1 if _settings["warn_only"] else 2


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: products of float32 are computed in float32, which every setting allows."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"float32 matmul precision must be 'highest', 'high' or 'medium', got {precision!r}")
    _settings["matmul"] = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told."""
    return _settings["matmul"]


def set_flush_denormal(mode: bool) -> bool:
    """Whether subnormal numbers can be flushed to zero here: no."""
    return False


def set_warn_always(b: bool) -> None:
    """Whether warnings that usually come once come every time."""
    _settings["warn_always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was told."""
    return _settings["warn_always"]


def set_default_device(device: Any) -> None:
    """Where factory functions create tensors; RuntimeError where that device is absent."""
    make_default(device)


def get_default_device() -> device:
    """Where factory functions create tensors."""
    return default()


def set_default_tensor_type(t: Any) -> None:
    """Makes a legacy floating-point type, or its name, the default dtype."""
    from flambeau.errors import outdated
    from flambeau.tensor.formats import dtype_of_type

    outdated("torch.set_default_tensor_type", "torch.set_default_dtype and torch.set_default_device")

    dtypes.set_default_dtype(dtype_of_type(t))
