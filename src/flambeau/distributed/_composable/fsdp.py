"""``torch.distributed._composable.fsdp``: `fully_shard` and what belongs to it."""

from __future__ import annotations

from flambeau.distributed.fsdp import *  # noqa: F403
