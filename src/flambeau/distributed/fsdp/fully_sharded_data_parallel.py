"""``torch.distributed.fsdp.fully_sharded_data_parallel``: the file in which PyTorch has the wrapper."""

from __future__ import annotations

from flambeau.distributed.fsdp.api import *  # noqa: F403
from flambeau.distributed.fsdp.wrapper import FullyShardedDataParallel as FullyShardedDataParallel
