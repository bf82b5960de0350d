"""`torch.accelerator` on a machine without one: questions are answered, orders are refused."""

from __future__ import annotations

from typing import Any, NoReturn

_ORDERS = """
    current_device_idx current_device_index current_stream empty_cache get_memory_info max_memory_allocated
    max_memory_reserved memory_allocated memory_reserved memory_stats reset_accumulated_memory_stats
    reset_peak_memory_stats set_device_idx set_device_index set_stream synchronize
"""


def is_available() -> bool:
    """Whether there is an accelerator: no."""
    return False


def device_count() -> int:
    """The number of accelerators: 0."""
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """The accelerator's device: None."""


class device_index:
    """A context in which an accelerator is the current one; `None` changes nothing, anything else is refused."""

    def __init__(self, device: int | None) -> None:
        self.index = device

    def __enter__(self) -> None:
        if self.index is not None:
            _refuse("device_index")

    def __exit__(self, *exc: object) -> None:
        return None


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.accelerator.{name}: there is no accelerator here, tensors live on 'cpu'; "
        "guard the call with torch.accelerator.is_available()"
    )


def _refused(name: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        _refuse(name)

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = "Raises RuntimeError: there is no accelerator."
    return refuse


for _name in _ORDERS.split():
    globals()[_name] = _refused(_name)
