"""``torch.distributed``: one process. Programs ask ``is_available()`` and go on alone."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["get_rank", "get_world_size", "init_process_group", "is_available", "is_initialized"]


def is_available() -> bool:
    """Whether processes can be joined into a group: no."""
    return False


def is_initialized() -> bool:
    """Whether this process has joined a group: no."""
    return False


def is_torchelastic_launched() -> bool:
    """Whether an elastic launcher started this process: no."""
    return False


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.distributed.{name}: flambeau has no process groups; ask torch.distributed.is_available() first"
    )


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there are no process groups."""
    _refuse("init_process_group")


def get_rank(group: Any = None) -> int:
    """This process's number in its group. Raises RuntimeError, as it does in PyTorch before a group is joined."""
    _refuse("get_rank")


def get_world_size(group: Any = None) -> int:
    """The number of processes in the group. Raises RuntimeError, as it does in PyTorch before a group is joined."""
    _refuse("get_world_size")
