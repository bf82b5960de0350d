"""`torch.distributed`: programs of several processes.

`flambeau torchrun --nproc_per_node 2 train.py` starts them; `init_process_group` joins them, over JAX (`pip install
'flambeau[xla]'`); collectives, `nn.parallel.DistributedDataParallel`, `fully_shard`, `DTensor` and tensor parallel
layers stand on that. A world of one needs nothing else.

| file | what it is |
|---|---|
| `groups`, `kinds` | groups, and joining them |
| `collectives`, `objects`, `pairs` | what processes tell each other |
| `stores` | small values that processes share |
| `nn` | collectives through which gradients go back |
| `launch` | starting the processes of one machine |
| `device_mesh`, `tensor`, `fsdp` | tensors and modules over a mesh of devices |
| `checkpoint` | saving them, and loading them over another mesh |
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flambeau.distributed.collectives import *
from flambeau.distributed.groups import (
    GroupMember,
    ProcessGroup,
    default_pg_timeout,
    destroy_process_group,
    get_backend,
    get_global_rank,
    get_group_rank,
    get_node_local_rank,
    get_pg_count,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_initialized,
    new_group,
    new_subgroups,
    new_subgroups_by_enumeration,
)
from flambeau.distributed.kinds import *
from flambeau.distributed.objects import *
from flambeau.distributed.pairs import *
from flambeau.distributed.stores import *

if TYPE_CHECKING:
    from flambeau.distributed import checkpoint, device_mesh, fsdp, launch, tensor
    from flambeau.distributed.device_mesh import DeviceMesh, init_device_mesh


def is_available() -> bool:
    """Whether process groups can be joined: yes."""
    return True


def is_torchelastic_launched() -> bool:
    """Whether an elastic launcher started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_gloo_available() -> bool:
    """Whether the backend 'gloo', that of CPUs, can be asked for: yes."""
    return True


def is_nccl_available() -> bool:
    """Whether the backend of NVIDIA's GPUs can be asked for: where there are GPUs."""
    import glob

    return bool(glob.glob("/dev/nvidia[0-9]*"))


def is_mpi_available() -> bool:
    """Whether MPI can be asked for: no."""
    return False


is_ucc_available = is_xccl_available = is_mpi_available


def is_backend_available(backend: str) -> bool:
    """Whether a backend can be asked for."""
    return backend.lower() == "gloo" or (backend.lower() == "nccl" and is_nccl_available())


def get_default_backend_for_device(device: Any) -> str:
    """The backend that a device's tensors use: 'gloo' for the CPU."""
    return "nccl" if str(device).startswith("cuda") else "gloo"
