"""Mixed precision. Programs written for GPUs use it with ``'cuda'``, absent here: it is then switched off, with a
warning, as PyTorch does. Autocasting on the CPU is refused, because doing nothing would give other numbers."""

from __future__ import annotations

import functools
import warnings
from typing import Any

__all__ = ["GradScaler", "autocast", "is_autocast_available"]

_KINDS = ("cpu", "cuda", "xla", "xpu", "mps", "hpu")


def is_autocast_available(device_type: str) -> bool:
    """Whether operations on that kind of device can be autocast here: none can."""
    return False


class autocast:
    """``with torch.autocast(device_type):`` lets operations choose a lower precision on that device.

    Args:
        device_type: ``'cuda'`` and other absent devices: a warning, and everything stays as it is.
            ``'cpu'``: only ``enabled=False`` is accepted.
        dtype, cache_enabled: accepted; nothing is cast.

    Raises:
        RuntimeError: the kind of device is unknown, or autocasting on the CPU is asked for.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"autocast expects the device type as a string such as 'cuda', got {device_type!r}")
        if device_type not in _KINDS:
            raise RuntimeError(f"autocast knows the device types {', '.join(_KINDS)}; got '{device_type}'")
        if enabled and device_type == "cpu":
            raise RuntimeError(
                "autocast('cpu') is not in flambeau yet: pass enabled=False, or convert with .to(torch.bfloat16)"
            )
        if enabled:
            warnings.warn(f"autocast: '{device_type}' is not available, so nothing is cast", UserWarning, stacklevel=2)
        self.device = device_type
        self.fast_dtype = dtype

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exc: Any) -> None:
        return None

    def __call__(self, func: Any) -> Any:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return wrapper


class GradScaler:
    """Scales losses so that float16 gradients do not vanish. Without a GPU it is disabled, as in PyTorch: ``scale``
    returns the loss as it is, ``step`` steps, ``update`` does nothing.

    >>> scaler = GradScaler("cuda", enabled=False)
    >>> scaler.is_enabled(), scaler.get_scale()
    (False, 1.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device == "cpu":
            raise RuntimeError("GradScaler('cpu') is not in flambeau yet: pass enabled=False")
        if enabled:
            warnings.warn(f"GradScaler: '{device}' is not available, so it is disabled", UserWarning, stacklevel=2)
        self._device = device

    def is_enabled(self) -> bool:
        """Whether losses are scaled: no."""
        return False

    def get_scale(self) -> float:
        """The factor in use: 1."""
        return 1.0

    def scale(self, outputs: Any) -> Any:
        """Return ``outputs`` times the factor: as they are."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of ``optimizer`` by the factor: nothing to do."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)``."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Adjust the factor: nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """The state of a disabled scaler: empty."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Accepts any state, as a disabled scaler does."""
