"""`fully_shard`: a module's parameters, gradients and optimizer state in parts over a mesh."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flambeau.distributed import groups
from flambeau.distributed.device_mesh import DeviceMesh, init_device_mesh
from flambeau.distributed.fsdp._state import ShardedParameter
from flambeau.distributed.tensor import DTensor, layout
from flambeau.distributed.tensor.placement_types import Shard
from flambeau.pytree import tree_leaves, tree_map
from flambeau.tensor.tensor import Tensor

__all__ = ["CPUOffloadPolicy", "FSDPModule", "MixedPrecisionPolicy", "OffloadPolicy", "UnshardHandle", "fully_shard",
           "register_fsdp_forward_method"]  # fmt: skip


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """The dtypes in which parameters are used, gradients averaged and results given; None leaves them as they are."""

    param_dtype: Any = None
    reduce_dtype: Any = None
    output_dtype: Any = None
    cast_forward_inputs: bool = True


@dataclass
class OffloadPolicy:
    """Parameters stay on the mesh's devices."""


@dataclass
class CPUOffloadPolicy(OffloadPolicy):
    """Accepted; parts lie on the mesh's devices, which on a CPU are in its memory."""

    pin_memory: bool = True


class UnshardHandle:
    """What `unshard(async_op=True)` returns."""

    def wait(self) -> None:
        """Nothing is under way."""


class _State:
    """What a fully sharded module knows beyond being a module."""

    def __init__(self, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
        self.mesh, self.policy = mesh, policy
        self.params: list[ShardedParameter] = []
        self.sync = True
        self.root = True
        self.held = 0  # how many forwards are under way, or unshard() was called

    def local(self, args: tuple, kwargs: dict) -> bool:
        """Whether forward works on this process's own data, with gathered parameters: unless its inputs lie over the
        mesh, or this process has all devices and tensors there.
        """
        if self.mesh.size() == 1 or not self.params:
            return False
        values = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        laid = [known[0] for v in values if (known := layout.declared(v)) is not None]
        if any(m._root is self.mesh._root and set(m.axes) & set(self.mesh.axes) for m in laid):
            return False
        return not (self.mesh.within and self.params[0].home != "cpu")

    def spread(self, value: Any) -> Any:
        """Data of one device over the mesh, its first dimension in parts."""
        count = self.mesh.size()
        if not isinstance(value, Tensor) or isinstance(value, DTensor) or value.dim() == 0 or value.shape[0] % count:
            return value
        return layout.from_local(value, self.mesh, [Shard(0)] * self.mesh.ndim)

    def cast(self, value: Any) -> Any:
        """Inputs in the dtype of the parameters."""
        dtype = self.policy.param_dtype
        if dtype is not None and isinstance(value, Tensor) and value.is_floating_point():
            return value.to(dtype)
        return value


class FSDPModule:
    """What `fully_shard` makes of a module's class: the same, and these methods."""

    _fsdp: _State

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own forward, with its parameters gathered."""
        return _forward(self, super().forward, args, kwargs)  # type: ignore[misc]

    def unshard(self, async_op: bool = False) -> UnshardHandle | None:
        """Gathers the parameters now; they stay whole until `reshard()`."""
        if self._fsdp.held == 0:
            _swap(self._fsdp, gather=True)
        self._fsdp.held += 1
        return UnshardHandle() if async_op else None

    def reshard(self) -> None:
        """Puts the parameters back into parts."""
        if self._fsdp.held:
            self._fsdp.held = 0
            _swap(self._fsdp, gather=False)

    def set_requires_gradient_sync(self, requires_gradient_sync: bool, *, recurse: bool = True) -> None:
        """Whether the next backward averages gradients, or keeps them in each process for a later one."""
        for module in self.modules() if recurse else [self]:  # type: ignore[attr-defined]
            if isinstance(module, FSDPModule):
                module._fsdp.sync = requires_gradient_sync

    def set_is_last_backward(self, is_last_backward: bool) -> None:
        """Accepted."""

    def set_reshard_after_forward(self, reshard_after_forward: bool, recurse: bool = True) -> None:
        """Accepted: what backward needs is kept by the tape."""

    def set_reshard_after_backward(self, reshard_after_backward: bool, *, recurse: bool = True) -> None:
        """Accepted."""

    def set_requires_all_reduce(self, requires_all_reduce: bool, *, recurse: bool = True) -> None:
        """As `set_requires_gradient_sync`."""
        self.set_requires_gradient_sync(requires_all_reduce, recurse=recurse)

    def set_modules_to_forward_prefetch(self, modules: list) -> None:
        """Accepted."""

    def set_modules_to_backward_prefetch(self, modules: list) -> None:
        """Accepted."""


def _swap(state: _State, gather: bool) -> None:
    for sharded in state.params:
        value = sharded.gathered(state) if gather else sharded.param
        for module, name in sharded.owners:
            module._parameters[name] = value


@contextlib.contextmanager
def _gathered(state: _State, needed: bool) -> Iterator[None]:
    """Inside, the modules have their parameters whole."""
    if not needed or state.held:
        yield
        return
    state.held = 1
    _swap(state, gather=True)
    try:
        yield
    finally:
        state.held = 0
        _swap(state, gather=False)


def _forward(module: Any, forward: Callable, args: tuple, kwargs: dict) -> Any:
    state: _State = module._fsdp
    local = state.local(args, kwargs)
    if state.policy.param_dtype is not None and state.policy.cast_forward_inputs:
        args, kwargs = tree_map(state.cast, (args, kwargs))
    if not local and state.root and state.mesh.size() > 1 and state.mesh.within:
        args, kwargs = tree_map(state.spread, (args, kwargs))
    with _gathered(state, local), _cast_parameters(state, not local):
        result = forward(*args, **kwargs)
    dtype = state.policy.output_dtype
    if dtype is not None:
        result = tree_map(lambda v: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v, result)
    return result


@contextlib.contextmanager
def _cast_parameters(state: _State, needed: bool) -> Iterator[None]:
    """Inside, parameters that are used as they lie have the policy's dtype."""
    dtype = state.policy.param_dtype
    if not needed or dtype is None:
        yield
        return
    for s in state.params:
        for module, name in s.owners:
            module._parameters[name] = s.param.to(dtype) if s.param.is_floating_point() else s.param
    try:
        yield
    finally:
        for s in state.params:
            for module, name in s.owners:
                module._parameters[name] = s.param


@functools.cache
def _sharded_class(cls: type) -> type:
    return type(f"FSDP{cls.__name__}", (FSDPModule, cls), {"__module__": cls.__module__})


def default_mesh(module: Any) -> DeviceMesh:
    """All devices in one dimension."""
    kind = next((p.device.type for p in module.parameters()), "cpu")
    if not groups.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        groups.init_process_group()
    from flambeau.distributed.device_mesh import _count

    return init_device_mesh(kind, (_count(kind),), mesh_dim_names=("fsdp",))


def _owners(modules: list[Any]) -> dict[int, tuple[Any, list[tuple[Any, str]]]]:
    """Each parameter once, with all places where it is."""
    found: dict[int, tuple[Any, list[tuple[Any, str]]]] = {}
    for part in modules:
        for name, p in part._parameters.items():
            if p is not None:
                found.setdefault(id(p), (p, []))[1].append((part, name))
    return found


def _below(module: Any) -> list[Any]:
    """The module and its submodules, but for those that are sharded on their own."""
    found = [module]
    for child in module.children():
        if not isinstance(child, FSDPModule):
            found += [m for m in _below(child) if m not in found]
    return found


def fully_shard(module: Any, *, mesh: DeviceMesh | None = None, reshard_after_forward: bool | int | None = None,
                shard_placement_fn: Callable | None = None, mp_policy: MixedPrecisionPolicy = MixedPrecisionPolicy(),
                offload_policy: OffloadPolicy = OffloadPolicy(), ignored_params: set | None = None,
                dp_mesh_dims: Any = None) -> Any:  # fmt: skip
    """Keeps a module's parameters in parts over a mesh, in place; returns the module.

    Called on the inner modules first and on the whole last, each call takes what no earlier one has. Parameters become
    tensors over the mesh (`DTensor`): an optimizer's state then is in parts too. In programs of several processes each
    forward gathers the parameters of its module, works on the process's own data, and backward averages the gradients
    into parts. In one process that has all devices, batches are parted over the mesh along their first dimension and
    XLA does the same within its programs.

    Args:
        mesh: one dimension; or two, then parameters are whole along the first. By default all devices.
        shard_placement_fn: says for a parameter the `Shard(dim)` to use, or None; the first dimension otherwise. If
            that does not part equally, another is taken; a parameter of which none does stays whole everywhere.
        mp_policy: dtypes for forward, averages and results.
        reshard_after_forward, offload_policy: accepted.
        ignored_params: parameters to leave as they are.

    Raises:
        ValueError: a mesh of more than two dimensions, or a list or dict of modules, which has no forward.
    """
    if isinstance(module, (list, tuple)):
        for m in module:
            fully_shard(m, mesh=mesh, shard_placement_fn=shard_placement_fn, mp_policy=mp_policy,
                        ignored_params=ignored_params)  # fmt: skip
        return module
    if type(module).__name__ in ("ModuleList", "ModuleDict"):
        raise ValueError(f"fully_shard: a {type(module).__name__} has no forward; shard the modules in it")
    if isinstance(module, FSDPModule):
        raise AssertionError("fully_shard: the module is fully sharded already")
    mesh = mesh if mesh is not None else default_mesh(module)
    if mesh.ndim > 2:
        raise ValueError(f"fully_shard: a mesh of one or two dimensions is needed, got {mesh}")
    state = _State(mesh, mp_policy)
    ignored = {id(p) for p in ignored_params or ()}
    for p, owners in _owners(_below(module)).values():
        if id(p) in ignored:
            continue
        chosen = shard_placement_fn(p) if shard_placement_fn is not None else None
        state.params.append(ShardedParameter(p, owners, mesh, None if chosen is None else chosen.dim))
    for child in module.modules():
        if isinstance(child, FSDPModule):
            child._fsdp.root = False
    _lay_gradients(state)
    module.__class__ = _sharded_class(type(module))  # type: ignore[arg-type]
    module.__dict__["_fsdp"] = state
    return module


def _lay_gradients(state: _State) -> None:
    """Gradients that XLA has computed as it likes are kept as the parameters are."""
    if state.mesh.size() == 1 or not state.mesh.within:
        return

    def hook(param: Any) -> None:
        known = layout.declared(param)
        if param._grad is not None and known is not None:
            param._grad = layout.relay(param._grad, *known).detach()

    for sharded in state.params:
        if sharded.param.requires_grad:
            sharded.param.register_post_accumulate_grad_hook(hook)


def register_fsdp_forward_method(module: Any, method_name: str) -> None:
    """Has another method than `forward` gather the parameters while it runs."""
    if not isinstance(module, FSDPModule):
        return
    method = getattr(module, method_name)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _forward(module, method, args, kwargs)

    module.__dict__[method_name] = wrapped
