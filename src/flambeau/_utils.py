"""``torch._utils``: errors on their way from one process or thread to another."""

from __future__ import annotations

import sys
import traceback
from typing import Any, NoReturn

__all__ = ["ExceptionWrapper", "KeyErrorMessage"]


class KeyErrorMessage(str):
    """A message that a `KeyError` shows as it is, line breaks included."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class ExceptionWrapper:
    """An exception's class and printed traceback, which can be pickled, for `reraise` elsewhere.

    Made inside an `except` block, or of `sys.exc_info()`.
    """

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        info = sys.exc_info() if exc_info is None else exc_info
        self.exc_type: Any = info[0]
        self.exc_msg = "".join(traceback.format_exception(*info))
        self.where = where

    def reraise(self) -> NoReturn:
        """Raise an exception of that class whose message is where it came from and the original traceback.

        RuntimeError with that message if the class can't be made from a message alone.
        """
        text = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if self.exc_type is KeyError:
            raise KeyError(KeyErrorMessage(text))
        try:
            if getattr(self.exc_type, "message", None):
                error = self.exc_type(message=text)
            else:
                error = self.exc_type(text)
        except Exception:
            error = RuntimeError(text)
        raise error from None


def _element_size(dtype: Any) -> int:
    """The bytes of one element."""
    return dtype.itemsize


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """The index of a device: an integer as it is; -1 for the CPU where that is allowed.

    Without an index, the current device's (0) if `optional`. Raises ValueError otherwise.
    """
    from flambeau.devices import device as Device

    if isinstance(device, int):
        return device
    if device is None:
        if optional:
            return 0
    else:
        where = Device(device) if isinstance(device, str) else device
        if where.type == "cpu" and not allow_cpu:
            raise ValueError(f"Expected a non cpu device, but got: {where}")
        if where.index is not None:
            return where.index
        if where.type == "cpu":
            return -1
        if optional:
            return 0
    raise ValueError(f"Expected a device with an index or an integer, but got: {device}")


def _get_available_device_type() -> str | None:
    """The type of the accelerator that is here: None for none."""
    return None


def _get_device_module(device_type: str) -> Any:
    """The module of a type of devices, such as `torch.cuda`."""
    import importlib

    return importlib.import_module(f"flambeau.{device_type}")
