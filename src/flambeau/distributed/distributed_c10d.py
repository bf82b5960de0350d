"""``torch.distributed.distributed_c10d``: the file in which PyTorch has groups and collectives."""

from __future__ import annotations

from typing import Any

from flambeau.distributed.collectives import *  # noqa: F403
from flambeau.distributed.constants import default_pg_timeout as default_pg_timeout
from flambeau.distributed.groups import *  # noqa: F403
from flambeau.distributed.groups import ProcessGroup, get_rank, group, is_initialized
from flambeau.distributed.kinds import *  # noqa: F403
from flambeau.distributed.objects import *  # noqa: F403
from flambeau.distributed.pairs import *  # noqa: F403


def _get_default_group() -> ProcessGroup:
    """The group of all processes. ValueError before it is joined."""
    if not is_initialized() or group.WORLD is None:
        raise ValueError("the default process group has not been joined: call init_process_group() first")
    return group.WORLD


def _rank_not_in_group(group: Any) -> bool:
    """Whether this process is outside of a group."""
    return group is not None and get_rank(group) < 0
