"""``torch.multiprocessing``: Python's own, with PyTorch's additions.

A tensor that is sent to another process, through a queue or a pipe or as an argument, is moved to shared memory and
only told about: both processes then see what either writes to it. That holds for plain ``multiprocessing`` as well.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_sharer
from multiprocessing import *  # noqa: F403

from flambeau.multiprocessing import reductions as reductions
from flambeau.multiprocessing.processes import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = [  # noqa: PLE0604
    *multiprocessing.__all__,  # type: ignore[attr-defined]
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]

_STRATEGIES = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that ``set_sharing_strategy`` accepts."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The strategy that was set last."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose how PyTorch would share memory. Kept and reported; here it is always by file descriptor."""
    global _strategy
    if new_strategy not in _STRATEGIES:
        raise AssertionError(f"expected one of {sorted(_STRATEGIES)}, got {new_strategy!r}")
    _strategy = new_strategy
