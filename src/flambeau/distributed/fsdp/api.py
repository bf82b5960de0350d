"""The settings that `FullyShardedDataParallel` knows."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

__all__ = ["BackwardPrefetch", "CPUOffload", "FullOptimStateDictConfig", "FullStateDictConfig", "LocalStateDictConfig",
           "MixedPrecision", "OptimStateDictConfig", "OptimStateKeyType", "ShardedOptimStateDictConfig",
           "ShardedStateDictConfig", "ShardingStrategy", "StateDictConfig", "StateDictType"]  # fmt: skip


class ShardingStrategy(enum.Enum):
    """What is in parts: FULL_SHARD all, NO_SHARD nothing, HYBRID_SHARD all within the second dimension of a mesh."""

    FULL_SHARD = 1
    SHARD_GRAD_OP = 2
    NO_SHARD = 3
    HYBRID_SHARD = 4
    _HYBRID_SHARD_ZERO2 = 5


class BackwardPrefetch(enum.Enum):
    """Accepted: XLA orders its own work."""

    BACKWARD_PRE = 1
    BACKWARD_POST = 2


class StateDictType(enum.Enum):
    """How `state_dict()` gives parameters: whole, this process's blocks, or as tensors over the mesh."""

    FULL_STATE_DICT = 1
    LOCAL_STATE_DICT = 2
    SHARDED_STATE_DICT = 3


@dataclass
class MixedPrecision:
    """The dtypes of forward, averages and buffers; None leaves them as they are."""

    param_dtype: Any = None
    reduce_dtype: Any = None
    buffer_dtype: Any = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True


@dataclass
class CPUOffload:
    """Accepted."""

    offload_params: bool = False


@dataclass
class StateDictConfig:
    """How states are given."""

    offload_to_cpu: bool = False


@dataclass
class FullStateDictConfig(StateDictConfig):
    """Whole; with `rank0_only` the other processes get an empty dict."""

    rank0_only: bool = False


@dataclass
class LocalStateDictConfig(StateDictConfig):
    """This process's blocks."""


@dataclass
class ShardedStateDictConfig(StateDictConfig):
    """As tensors over the mesh."""


@dataclass
class OptimStateDictConfig:
    """How optimizers' states are given."""

    offload_to_cpu: bool = True


@dataclass
class FullOptimStateDictConfig(OptimStateDictConfig):
    """Whole."""

    rank0_only: bool = False


@dataclass
class ShardedOptimStateDictConfig(OptimStateDictConfig):
    """As tensors over the mesh."""


class OptimStateKeyType(enum.Enum):
    """By what an optimizer's state names parameters."""

    PARAM_NAME = enum.auto()
    PARAM_ID = enum.auto()
