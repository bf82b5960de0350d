"""``torch.multiprocessing``: Python's own, with PyTorch's few additions. Tensors travel between processes pickled."""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403
from typing import Any

_STRATEGIES = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that ``set_sharing_strategy`` accepts."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The strategy that was set last."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose how PyTorch would share memory. Kept and reported; tensors are copied between processes here."""
    global _strategy
    if new_strategy not in _STRATEGIES:
        raise AssertionError(f"expected one of {sorted(_STRATEGIES)}, got {new_strategy!r}")
    _strategy = new_strategy


def spawn(fn: Any, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
          start_method: str = "spawn") -> Any:  # fmt: skip
    """Run ``fn(i, *args)`` in ``nprocs`` processes; with ``join`` wait for them.

    Raises:
        RuntimeError: a process ended with an error.
    """
    context = multiprocessing.get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]  # type: ignore
    for process in processes:
        process.start()
    if not join:
        return processes
    for process in processes:
        process.join()
    failed = [(i, p.exitcode) for i, p in enumerate(processes) if p.exitcode]
    if failed:
        raise RuntimeError("processes ended with errors: " + ", ".join(f"{i} (exit code {code})" for i, code in failed))
    return None
