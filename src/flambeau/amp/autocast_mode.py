"""`autocast`, and the decorators by which a custom `Function` goes along with it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.dtypes import bfloat16, dtype_of, float16, float64
from flambeau.ops.autocast import DEFAULTS, close_context, open_context, state

__all__ = ["autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "is_autocast_available"]


def _known(device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise ValueError(f"autocast expects the device type as a string such as 'cpu', got {device_type!r}")
    if device_type not in DEFAULTS:
        raise RuntimeError(f"autocast knows the device types {', '.join(DEFAULTS)}; got '{device_type}'")
    return device_type


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast(device_type)` is accepted. Only on the CPU does it cast."""
    return device_type in DEFAULTS


class autocast:
    """``with torch.autocast("cpu"):`` matrix products and convolutions compute in lower precision.

    Their operands are cast to `dtype`, losses and decompositions are cast to float32, other operations take what comes.
    The lists are PyTorch's. Gradients arrive in the dtype of what was cast. Also a decorator. Contexts nest; one with
    `enabled=False` inside leaves everything alone.

    Args:
        device_type: ``'cpu'``. With ``'cuda'``, absent here, there is a warning and nothing is cast.
        dtype: bfloat16 (the default) or float16; for others there is a warning and nothing is cast.
        cache_enabled: keep the copy of a parameter until the outermost context ends.

    Raises:
        RuntimeError: the kind of device is unknown. ValueError: it is no string.

    >>> import flambeau as torch
    >>> with torch.autocast("cpu"):
    ...     y = torch.ones(2, 2) @ torch.ones(2, 2)
    >>> y.dtype
    torch.bfloat16
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device = _known(device_type)
        self.fast_dtype = state.dtypes[device_type] if dtype is None else dtype_of(dtype)
        self._cache_enabled = state.cache_enabled if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda":
            warnings.warn("autocast: 'cuda' is not available, so nothing is cast", UserWarning, stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in (bfloat16, float16):
            warnings.warn(
                f"autocast: the dtype on '{device_type}' is bfloat16 or float16; for {self.fast_dtype} nothing is cast",
                UserWarning,
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._before: list[tuple[bool, Any, bool]] = []

    def __enter__(self) -> autocast:
        self._before.append((state.enabled[self.device], state.dtypes[self.device], state.cache_enabled))
        open_context()
        state.nesting += 1
        state.enabled[self.device], state.dtypes[self.device] = self._enabled, self.fast_dtype
        state.cache_enabled = self._cache_enabled
        return self

    def __exit__(self, *exc: Any) -> None:
        state.nesting -= 1
        if state.nesting == 0:
            state.casts.clear()
        state.enabled[self.device], state.dtypes[self.device], state.cache_enabled = self._before.pop()
        close_context()

    def __call__(self, func: Callable) -> Callable:
        if not callable(func):
            raise TypeError(f"autocast(...) decorates functions, got {type(func).__name__}; for a block use `with`")
        return autocast_decorator(self, func)


def autocast_decorator(autocast_instance: autocast, func: Callable) -> Callable:
    """`func`, run inside the context."""

    @functools.wraps(func)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast_instance:
            return func(*args, **kwargs)

    return decorated


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    """Floating-point tensors on that device, wherever in a structure, in `dtype`; float64 stays."""
    if isinstance(value, NS["Tensor"]):
        wanted = value.is_floating_point() and value.device.type == device_type and value.dtype is not float64
        return value.to(dtype) if wanted else value
    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        parts = (_cast(v, device_type, dtype) for v in value)
        return type(value)(parts) if isinstance(value, (list, tuple)) else parts  # type: ignore[call-arg]
    return value


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorates the `forward` of a `Function`: with `cast_inputs`, under autocast, its floating-point operands are cast
    to that dtype and it runs with autocasting off; else it runs as it is called.

    Use `custom_bwd` on `backward`, which then runs as `forward` did.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"custom_fwd expects the device type as a string, got {device_type!r}")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        ctx, active = args[0], state.enabled[device_type]
        ctx._dtype = state.dtypes[device_type]
        ctx._fwd_used_autocast = active and cast_inputs is None
        if cast_inputs is None or not active:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Any:
    """Decorates the `backward` of a `Function` whose `forward` has `custom_fwd`: autocasting is as it was there."""
    if not isinstance(device_type, str):
        raise ValueError(f"custom_bwd expects the device type as a string, got {device_type!r}")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        with autocast(device_type=device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(*args, **kwargs)

    return decorated


# --- the state as functions of `torch` --------------------------------------------------------------------------------


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether operations on that kind of device autocast in this thread."""
    return state.enabled[_known(device_type)]


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocasting on or off in this thread; a context does it better."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    kind = _known(device_type)
    if bool(enabled) and not state.enabled[kind]:
        open_context()
    elif not enabled and state.enabled[kind]:
        close_context()
    state.enabled[kind] = bool(enabled)


def get_autocast_dtype(device_type: str) -> Any:
    """The lower precision on that kind of device."""
    return state.dtypes[_known(device_type)]


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Choose the lower precision on that kind of device, in this thread."""
    state.dtypes[_known(device_type)] = dtype_of(dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether casts of parameters are kept."""
    return state.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Keep casts of parameters, or not."""
    state.cache_enabled = bool(enabled)


def clear_autocast_cache() -> None:
    """Forget the casts of parameters."""
    state.casts.clear()


def autocast_increment_nesting() -> int:
    """Count one more context; returns how many there are."""
    state.nesting += 1
    return state.nesting


def autocast_decrement_nesting() -> int:
    """Count one context less; returns how many are left."""
    state.nesting -= 1
    return state.nesting


# --- older names of the same ----------------------------------------------------------------------------------------


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """`set_autocast_enabled("cpu", enabled)`."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> Any:
    """`get_autocast_dtype("cpu")`."""
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: Any) -> None:
    """`set_autocast_dtype("cpu", dtype)`."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> Any:
    """`get_autocast_dtype("cuda")`."""
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: Any) -> None:
    """`set_autocast_dtype("cuda", dtype)`."""
    set_autocast_dtype("cuda", dtype)
