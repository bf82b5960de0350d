"""`DistributedDataParallel`: gradients averaged over processes, of which there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from flambeau import distributed
from flambeau.nn.modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """Wraps `module`, whose state is then under 'module.'; calls go on to it.

    Args:
        module: with at least one parameter that requires a gradient (RuntimeError otherwise).
        device_ids, output_device: none, or those of the CPU.
        process_group: by default the one that `torch.distributed.init_process_group` joined; ValueError if none is.
        find_unused_parameters, static_graph, gradient_as_bucket_view, bucket_cap_mb, broadcast_buffers: accepted;
            over one process nothing is sent.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0,
                 broadcast_buffers: bool = True, init_sync: bool = True, process_group: Any = None,
                 bucket_cap_mb: float | None = None, find_unused_parameters: bool = False,
                 check_reduction: bool = False, gradient_as_bucket_view: bool = False, static_graph: bool = False,
                 delay_all_reduce_named_params: Any = None, param_to_hook_all_reduce: Any = None,
                 mixed_precision: Any = None, device_mesh: Any = None,
                 skip_all_reduce_unused_params: bool = False) -> None:  # fmt: skip
        super().__init__()
        distributed.get_world_size(process_group)
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError("DistributedDataParallel: no parameter of this module requires a gradient")
        if any(str(d) not in ("cpu", "cpu:0") for d in device_ids or ()):
            raise ValueError(f"DistributedDataParallel: the module is on the CPU, device_ids are {device_ids}")
        self.module = module
        self.process_group = process_group or distributed.group.WORLD
        self.dim, self.device_ids, self.output_device = dim, device_ids, output_device
        self.broadcast_buffers, self.find_unused_parameters = broadcast_buffers, find_unused_parameters
        self.gradient_as_bucket_view, self.static_graph = gradient_as_bucket_view, static_graph
        self.require_backward_grad_sync = True

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """A context in which gradients only accumulate; over one process they do in any case."""
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    @contextlib.contextmanager
    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True,
             throw_on_early_termination: bool = False) -> Iterator[DistributedDataParallel]:  # fmt: skip
        """A context for processes with different numbers of batches; one has the same as itself."""
        yield self

    def register_comm_hook(self, state: object, hook: Callable) -> None:
        """Accepted: nothing is sent that a hook could change."""
        if not callable(hook):
            raise TypeError(f"the hook must be callable, got {type(hook).__name__}")
