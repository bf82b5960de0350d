"""Exceptions of flambeau's own, and the words that errors share.

Where PyTorch raises a class of Python's, so does flambeau; the classes here are the few that have no name in Python.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Iterable
from typing import Any


class OutOfMemoryError(RuntimeError):
    """An allocation on a device failed."""


class AcceleratorError(RuntimeError):
    """A device reported a failure."""


class CaptureError(RuntimeError):
    """A step that can't be compiled: it reads a value on the host, or does what no replay could repeat."""


def describe(value: object) -> str:
    """A short account of a value for an error message: dtype and shape of a tensor or array, else type and value."""
    array = getattr(value, "_a", value)
    shape = getattr(array, "shape", None)
    if shape is not None and hasattr(array, "dtype"):
        return f"{array.dtype}{list(shape)}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def need_tensor(function: str, value: Any, name: str = "input") -> Any:
    """`value` if it is a tensor, else a TypeError."""
    if not hasattr(value, "_a"):
        raise TypeError(f"{function}(): {name} must be a Tensor, got {type(value).__name__}")
    return value


_told: set[str] = set()


def warn_once(text: str) -> None:
    """A UserWarning at the program's line, the first time only, as PyTorch's core warns of what is outdated."""
    if text in _told:
        return
    _told.add(text)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


def outdated(name: str, instead: str) -> None:
    """Says once that a function is outdated, and what to call."""
    warn_once(f"{name} is outdated and may go away; use {instead}")


def describe_all(names: Iterable[str], values: Iterable[object]) -> str:
    """`name type[shape]` for each of an operation's operands."""
    pairs = zip(names, values, strict=False)
    return ", ".join(f"{name} {describe(value)}" for name, value in pairs if value is not None)


class LinAlgError(RuntimeError):
    """A matrix has no such inverse, factor or decomposition: it is singular, or not positive definite."""


LinAlgError.__name__ = LinAlgError.__qualname__ = "_LinAlgError"  # as PyTorch's class calls itself in messages
_LinAlgError = LinAlgError


class CheckpointError(RuntimeError, pickle.UnpicklingError):
    """A saved file is damaged, was cut short, or asks for what data may not ask for. Nothing of it was run or used.

    `entry` is the record of the archive that is at fault, where it is one; `tensor` is the place, in the saved
    containers, of the tensor that lies in it.
    """

    def __init__(self, problem: str, entry: str | None = None, tensor: str | None = None) -> None:
        self.problem = problem
        self.entry = entry
        self.tensor = tensor
        super().__init__(problem)

    def __str__(self) -> str:
        where = f"entry {self.entry}" if self.entry else ""
        if self.tensor:
            where += f" (tensor {self.tensor})" if where else f"tensor {self.tensor}"
        return f"{where}: {self.problem}" if where else self.problem

    def __reduce__(self) -> tuple:
        return type(self), (self.problem, self.entry, self.tensor)


class EmptyCheckpointError(CheckpointError, EOFError):
    """There is nothing left to read where a saved object should begin."""


class SaveError(RuntimeError, OSError):
    """A file could not be written; what was there before is still there, whole. `errno` is the system's reason."""


class DistError(RuntimeError):
    """What went wrong among processes."""


class DistBackendError(DistError):
    """What went wrong in a collective: most often, another process is gone."""


class DistNetworkError(DistError):
    """A process could not be reached."""


class DistStoreError(DistError):
    """The processes' common store failed."""


for _error in (DistError, DistBackendError, DistNetworkError, DistStoreError):
    _error.__module__ = "flambeau.distributed"  # where programs know them from
