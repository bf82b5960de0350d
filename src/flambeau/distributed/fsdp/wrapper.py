"""`FullyShardedDataParallel`: the older name of `fully_shard`, as a module around the module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from flambeau.autograd.runtime import no_grad
from flambeau.distributed import groups
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.fsdp.api import ShardingStrategy, StateDictType
from flambeau.distributed.fsdp.fully import FSDPModule, MixedPrecisionPolicy, default_mesh, fully_shard
from flambeau.distributed.fsdp.wrap import chosen
from flambeau.distributed.tensor import layout
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.clip_grad import clip_grad_norm_

__all__ = ["FullyShardedDataParallel"]

_INNER = "_fsdp_wrapped_module."


class FullyShardedDataParallel(Module):
    """Shards a module fully; its state dict is that of the module, whole by default.

    Args:
        module: whose forward is called.
        auto_wrap_policy: which submodules are gathered on their own.
        mixed_precision: dtypes for forward and averages.
        sharding_strategy: `NO_SHARD` keeps parameters whole and only averages; `HYBRID_SHARD` needs a mesh of two
            dimensions.
        device_mesh: by default all devices.
        process_group, cpu_offload, backward_prefetch, device_id, sync_module_states, use_orig_params, ...: accepted;
            all processes have the first one's parameters in any case.
    """

    def __init__(self, module: Any, process_group: Any = None, sharding_strategy: Any = None,
                 cpu_offload: Any = None, auto_wrap_policy: Any = None, backward_prefetch: Any = None,
                 mixed_precision: Any = None, ignored_modules: Any = None, param_init_fn: Any = None,
                 device_id: Any = None, sync_module_states: bool = False, forward_prefetch: bool = False,
                 limit_all_gathers: bool = True, use_orig_params: bool = False, ignored_states: Any = None,
                 device_mesh: DeviceMesh | None = None) -> None:  # fmt: skip
        super().__init__()
        mesh = device_mesh if device_mesh is not None else default_mesh(module)
        if sharding_strategy is ShardingStrategy.NO_SHARD and mesh.size() > 1:
            mesh = DeviceMesh(mesh.device_type, mesh.numbers.reshape(-1, 1), mesh_dim_names=("replicate", "shard"))
        policy = MixedPrecisionPolicy()
        if mixed_precision is not None:
            policy = MixedPrecisionPolicy(mixed_precision.param_dtype, mixed_precision.reduce_dtype)
        ignored = {p for m in ignored_modules or () for p in m.parameters()}
        ignored |= {p for p in ignored_states or () if hasattr(p, "_node")}
        for part in chosen(module, auto_wrap_policy):
            if not isinstance(part, FSDPModule):
                fully_shard(part, mesh=mesh, mp_policy=policy, ignored_params=ignored)
        if not isinstance(module, FSDPModule):
            fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=ignored)
        self._fsdp_wrapped_module = module
        self.__dict__["_given"] = (StateDictType.FULL_STATE_DICT, None)

    @property
    def module(self) -> Any:
        """The module inside."""
        return self._fsdp_wrapped_module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_fsdp_wrapped_module"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._fsdp_wrapped_module(*args, **kwargs)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """The module's parameters, under its own names."""
        for name, p in super().named_parameters(*args, **kwargs):
            yield name.replace(_INNER, ""), p

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The module's state, as `state_dict_type` has it; all processes call this."""
        kind, config = self.__dict__["_given"]
        found = self._fsdp_wrapped_module.state_dict(*args, **kwargs)
        if kind is StateDictType.FULL_STATE_DICT:
            cpu = getattr(config, "offload_to_cpu", False)
            for name, value in list(found.items()):
                full = layout.whole(value)
                found[name] = full.cpu() if cpu else full
            if getattr(config, "rank0_only", False) and groups.is_initialized() and groups.get_rank():
                found.clear()
        elif kind is StateDictType.LOCAL_STATE_DICT:
            for name, value in list(found.items()):
                found[name] = layout.to_local(value)
        return found

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Loads a state of whole tensors or of tensors over the mesh."""
        return self._fsdp_wrapped_module.load_state_dict(state_dict, strict, assign)

    @staticmethod
    @contextlib.contextmanager
    def state_dict_type(module: Any, state_dict_type: Any, state_dict_config: Any = None,
                        optim_state_dict_config: Any = None) -> Iterator[None]:  # fmt: skip
        """A context in which `state_dict()` gives parameters so."""
        parts = [m for m in module.modules() if isinstance(m, FullyShardedDataParallel)]
        before = [m.__dict__["_given"] for m in parts]
        for m in parts:
            m.__dict__["_given"] = (state_dict_type, state_dict_config)
        try:
            yield
        finally:
            for m, given in zip(parts, before, strict=True):
                m.__dict__["_given"] = given

    @staticmethod
    def set_state_dict_type(module: Any, state_dict_type: Any, state_dict_config: Any = None,
                            optim_state_dict_config: Any = None) -> None:  # fmt: skip
        """Has `state_dict()` give parameters so from now on."""
        for m in module.modules():
            if isinstance(m, FullyShardedDataParallel):
                m.__dict__["_given"] = (state_dict_type, state_dict_config)

    @staticmethod
    @contextlib.contextmanager
    def summon_full_params(module: Any, recurse: bool = True, writeback: bool = True, rank0_only: bool = False,
                           offload_to_cpu: bool = False, with_grads: bool = False) -> Iterator[None]:  # fmt: skip
        """A context in which parameters are whole; what is written into them is kept, with `writeback`."""
        parts = [m for m in module.modules() if isinstance(m, FSDPModule)]
        with no_grad():
            for m in parts:
                m.unshard()
            try:
                yield
            finally:
                wholes = [[mod._parameters[n] for mod, n in (s.owners[0],)] for m in parts for s in m._fsdp.params]
                for m in parts:
                    m.reshard()
                if writeback:
                    sharded = [s for m in parts for s in m._fsdp.params]
                    for s, (full,) in zip(sharded, wholes, strict=True):
                        s.param.copy_(full)

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Any:
        """Clips all gradients' common norm; returns what it was."""
        return clip_grad_norm_(self.parameters(), max_norm, norm_type)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """A context in which gradients stay in each process, to be averaged by a later backward."""
        inner = self._fsdp_wrapped_module
        inner.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            inner.set_requires_gradient_sync(True)
