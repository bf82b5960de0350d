"""`DistributedDataParallel`: every process has the whole module and a part of each batch; gradients are averaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from flambeau import distributed
from flambeau.autograd.runtime import is_grad_enabled
from flambeau.distributed.algorithms.join import Join, Joinable, JoinHook, _JoinConfig
from flambeau.nn._core import tensor as torch_tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.parallel._reducer import Reducer, broadcast_all

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module, Joinable):
    """Wraps `module`, whose state is then under 'module.'; calls go on to it.

    All processes get the first one's parameters and buffers. In a backward pass gradients are averaged over the
    processes, in buckets that are sent while backward goes on; so optimizers take the same step everywhere.

    Args:
        module: with at least one parameter that requires a gradient (RuntimeError otherwise).
        device_ids, output_device: the device that the module is on, or none.
        broadcast_buffers: give all processes the first one's buffers at each training forward.
        init_sync: do so with parameters and buffers now.
        process_group: by default the one that `torch.distributed.init_process_group` joined; ValueError if none is.
        bucket_cap_mb: how much is sent at once; 25 by default.
        find_unused_parameters: look at each forward which parameters take part; the others then count as zero.
        gradient_as_bucket_view, static_graph, check_reduction: accepted.
        device_mesh: instead of `process_group`, a mesh of one dimension.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0,
                 broadcast_buffers: bool = True, init_sync: bool = True, process_group: Any = None,
                 bucket_cap_mb: float | None = None, find_unused_parameters: bool = False,
                 check_reduction: bool = False, gradient_as_bucket_view: bool = False, static_graph: bool = False,
                 delay_all_reduce_named_params: Any = None, param_to_hook_all_reduce: Any = None,
                 mixed_precision: Any = None, device_mesh: Any = None,
                 skip_all_reduce_unused_params: bool = False) -> None:  # fmt: skip
        super().__init__()
        if device_mesh is not None:
            if process_group is not None:
                raise RuntimeError("DistributedDataParallel: give process_group or device_mesh, not both")
            process_group = device_mesh.get_group()
        size = distributed.get_world_size(process_group)
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        params = {name: p for name, p in module.named_parameters() if name not in ignored}
        if not any(p.requires_grad for p in params.values()):
            raise RuntimeError("DistributedDataParallel: no parameter of this module requires a gradient")
        _check_devices(params, device_ids)
        self.module = module
        self.process_group = process_group or distributed.group.WORLD
        self.dim, self.device_ids, self.output_device = dim, device_ids, output_device
        self.device = next(iter(params.values())).device
        self.broadcast_buffers, self.find_unused_parameters = broadcast_buffers, find_unused_parameters
        self.gradient_as_bucket_view, self.static_graph = gradient_as_bucket_view, static_graph
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        self._ignored = ignored
        self.reducer: Reducer | None = None
        self._joining: tuple[bool, bool] | None = None
        self._by_all = True
        self._join_config = _JoinConfig()
        if size == 1:
            return
        if init_sync:
            self._check_alike(params)
            broadcast_all([*params.values(), *self._buffers_to_send()], self.process_group)
        trained = [p for p in params.values() if p.requires_grad]
        names = {id(p): name for name, p in params.items()}
        capacity = int((25 if bucket_cap_mb is None else bucket_cap_mb) * 2**20)
        self.reducer = Reducer(trained, names, self.process_group, capacity, find_unused_parameters)

    def _buffers_to_send(self) -> list:
        return [b for name, b in self.module.named_buffers() if name not in self._ignored]

    def _check_alike(self, params: dict[str, Any]) -> None:
        """RuntimeError if another process's parameters have other shapes."""
        mine = [(name, tuple(p.shape), str(p.dtype)) for name, p in params.items()]
        all_: list = [None] * distributed.get_world_size(self.process_group)
        distributed.all_gather_object(all_, mine, self.process_group)
        for number, theirs in enumerate(all_):
            if theirs != all_[0]:
                unlike = next((a for a, b in zip(theirs, all_[0], strict=False) if a != b), f"{len(theirs)} parameters")
                raise RuntimeError(
                    f"DistributedDataParallel: rank {number} has other parameters than rank 0: {unlike}; all processes "
                    "should build the same module"
                )

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        reducer = self.reducer
        if reducer is None:
            return self.module(*inputs, **kwargs)
        averages = is_grad_enabled() and self.require_backward_grad_sync
        if averages:
            reducer.check_finished()
            if self._joining is not None:
                self._active(1)
            elif (work := Join.notify_join_context(self)) is not None and not self._by_all:
                (active,) = work.result()
                reducer.scale = distributed.get_world_size(self.process_group) / active.item()
        if self.broadcast_buffers and self.training and self.require_forward_param_sync:
            if buffers := self._buffers_to_send():
                broadcast_all(buffers, self.process_group)
        result = self.module(*inputs, **kwargs)
        if averages:
            reducer.begin(result)
            self.require_forward_param_sync = True
        else:
            reducer.armed = False
            self.require_forward_param_sync = not is_grad_enabled()
        return result

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """A context in which gradients only accumulate in each process; the next backward outside averages them."""
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    @contextlib.contextmanager
    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True,
             throw_on_early_termination: bool = False) -> Iterator[DistributedDataParallel]:  # fmt: skip
        """A context for processes with different numbers of batches: one that is through takes part in the others'
        averages with zeros, until all are.

        Args:
            divide_by_initial_world_size: averages are over all processes; else over those that have batches left.
            enable: False: all have the same number, nothing is done.
            throw_on_early_termination: RuntimeError in all processes as soon as one is through.
        """
        reducer = self.reducer
        if reducer is None or not enable:
            yield self
            return
        self._joining = (divide_by_initial_world_size, throw_on_early_termination)
        try:
            yield self
            while self._active(0):
                self._shadow()
        finally:
            self._joining = None
            reducer.scale = 1.0

    def _shadow(self) -> None:
        """Takes part in another process's iteration."""
        if self.broadcast_buffers and self.training and (buffers := self._buffers_to_send()):
            broadcast_all(buffers, self.process_group)
        self.reducer.shadow()  # type: ignore[union-attr]

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """For `torch.distributed.algorithms.join.Join`, which takes `divide_by_initial_world_size`."""
        self._by_all = kwargs.get("divide_by_initial_world_size", True)
        if self.reducer is not None:
            self.reducer.scale = 1.0
        return _Shadow(self)

    @property
    def join_device(self) -> Any:
        """The device of the module."""
        return self.device

    @property
    def join_process_group(self) -> Any:
        """The group."""
        return self.process_group

    def _active(self, mine: int) -> int:
        """How many processes have a batch; 0 when none has."""
        assert self._joining is not None and self.reducer is not None
        by_all, raises = self._joining
        count = torch_tensor([mine])
        distributed.all_reduce(count, group=self.process_group)
        active, size = int(count.item()), distributed.get_world_size(self.process_group)
        if raises and 0 < active < size:
            raise RuntimeError(f"join: {size - active} of {size} processes are through with their batches")
        self.reducer.scale = 1.0 if by_all or not active else size / active
        return active

    def register_comm_hook(self, state: object, hook: Callable) -> None:
        """Has gradients sent by `hook(state, bucket)`, which returns a future (or `Work`) of the flat tensor that takes
        their place: see `torch.distributed.algorithms.ddp_comm_hooks`.

        Raises:
            TypeError: the hook can't be called.
            RuntimeError: there is one already.
        """
        if not callable(hook):
            raise TypeError(f"the hook must be callable, got {type(hook).__name__}")
        if self.reducer is not None:
            if self.reducer.hook is not None:
                raise RuntimeError("register_comm_hook: there is a hook already, and there can be only one")
            self.reducer.hook, self.reducer.state = hook, state


class _Shadow(JoinHook):
    """What a process that is through does: it averages zeros with the others' gradients."""

    def __init__(self, ddp: DistributedDataParallel) -> None:
        self.ddp = ddp

    def main_hook(self) -> None:
        """Takes part in one iteration."""
        self.ddp._shadow()


def _check_devices(params: dict[str, Any], device_ids: Any) -> None:
    kinds = {p.device.type for p in params.values()}
    if not device_ids:
        return
    if len(device_ids) > 1:
        raise ValueError("DistributedDataParallel: device_ids names one device, that of this process")
    for d in device_ids:
        kind = "cuda" if isinstance(d, int) else str(d).partition(":")[0]
        if kinds != {kind}:
            raise ValueError(
                f"DistributedDataParallel: the module is on {', '.join(sorted(kinds))}, device_ids are {device_ids}"
            )
