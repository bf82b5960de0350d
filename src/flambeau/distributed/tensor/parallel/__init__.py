"""Tensor parallel modules: each device computes a part of a layer.

A style says how a module's parameters lie over a mesh, and which layouts its inputs and outputs have. In programs of
several processes modules see their own blocks between such layers (`use_local_output=True`), as PyTorch's do: a column
parallel layer gives the columns of its own. In one process that has all devices there are no blocks: tensors keep the
shape of the whole, lie over the mesh, and XLA parts the work.
"""

from flambeau.distributed.tensor.parallel.api import parallelize_module
from flambeau.distributed.tensor.parallel.loss import loss_parallel
from flambeau.distributed.tensor.parallel.style import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleInputOutput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
)

__all__ = ["ColwiseParallel", "ParallelStyle", "PrepareModuleInput", "PrepareModuleInputOutput", "PrepareModuleOutput",
           "RowwiseParallel", "SequenceParallel", "loss_parallel", "parallelize_module"]  # fmt: skip
