"""One parameter of a fully sharded module: how it lies, and how it is gathered for a forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.function import Function
from flambeau.autograd.runtime import is_grad_enabled
from flambeau.distributed.device_mesh import DeviceMesh, engine
from flambeau.distributed.tensor import layout
from flambeau.distributed.tensor.placement_types import Placement, Replicate, Shard

__all__ = ["ShardedParameter"]


class ShardedParameter:
    """A parameter in parts over the data dimensions of a mesh.

    Args:
        param: it stays the same object.
        owners: the modules that have it, with the name that it has there.
        mesh: one dimension (all in parts), or two (whole along the first, in parts along the second).
        dim: which of its dimensions is parted; None: the first that parts equally.
    """

    def __init__(self, param: Any, owners: list[tuple[Any, str]], mesh: DeviceMesh, dim: int | None) -> None:
        self.param, self.owners, self.mesh = param, owners, mesh
        self.home = param.device.type
        known = layout.declared(param)
        self.tensor_mesh: DeviceMesh | None = known[0] if known is not None else None
        self.tensor_placements: tuple[Placement, ...] = known[1] if known is not None else ()
        self.root = mesh._root
        if self.tensor_mesh is not None and self.tensor_mesh._root is not mesh._root:
            raise ValueError(
                "fully_shard: the parameter lies over another mesh already; take both meshes from one, as mesh['dp'] "
                "and mesh['tp']"
            )
        self.dim = self._chosen(dim)
        self.pending: Any = None
        if mesh.size() > 1:
            self._shard()

    # --- how it lies ----------------------------------------------------------------------------------------------

    def _tensor_spec(self) -> list[Any]:
        """How the dimensions are parted by a tensor parallel layout."""
        if self.tensor_mesh is None:
            return [None] * self.param.dim()
        return layout.spec_of(self.tensor_mesh, self.tensor_placements, self.param.shape)

    def _chosen(self, dim: int | None) -> int | None:
        """The dimension that is parted: the one asked for, the first, or the first that parts equally."""
        sizes = list(self.param.shape)
        for d, names in enumerate(self._tensor_spec()):
            for name in (names,) if isinstance(names, str) else names or ():
                assert self.tensor_mesh is not None
                sizes[d] //= self.tensor_mesh.size(name)
        order = range(len(sizes)) if dim is None else [dim % len(sizes), *range(len(sizes))]
        count = self.mesh.size(self.mesh.ndim - 1)
        return next((d for d in order if sizes[d] and sizes[d] % count == 0), None)

    @property
    def shard_axis(self) -> str:
        """The mesh's dimension along which it is in parts."""
        return self.mesh.axes[-1]

    def _spec(self) -> list[Any]:
        """How the dimensions are parted in all."""
        spec = self._tensor_spec()
        if self.dim is not None:
            before = spec[self.dim]
            names = () if before is None else (before,) if isinstance(before, str) else before
            spec[self.dim] = (*names, self.shard_axis) if names else self.shard_axis
        return spec

    def _where(self, spec: list[Any]) -> Any:
        from flambeau.engines.xla.layouts import sharding

        return sharding(self.root.jax, spec)

    def placements(self) -> tuple[Placement, ...]:
        """Its placements on the root of the meshes."""
        found: list[Placement] = [Replicate()] * self.root.ndim
        for d, names in enumerate(self._spec()):
            for name in (names,) if isinstance(names, str) else names or ():
                found[self.root.axes.index(name)] = Shard(d)
        return tuple(found)

    def _shard(self) -> None:
        meshes, p, where = engine(), self.param, self._where(self._spec())
        with_history = p.detach()
        if self.tensor_mesh is None:
            value = layout.raw(layout.lay(with_history, self.root, None))
            value = meshes.moved_to(value, where)
        elif self.tensor_mesh.jax == self.root.jax:
            value = meshes.moved_to(layout.raw(with_history), where)
        else:
            value = meshes.from_other(layout.raw(with_history), where, self._where(self._tensor_spec()))
        laid = layout.over_mesh(value, self.root, self.placements())
        p.data = laid
        p.__dict__["_layout"] = laid.__dict__["_layout"]

    # --- gathering ------------------------------------------------------------------------------------------------

    def gathered(self, state: Any) -> Any:
        """The parameter as forward uses it in this process: whole, or its tensor parallel part."""
        full = _Gathered.apply(self.param, self, state)
        if self.tensor_mesh is not None:
            full.__dict__["_layout"] = (self.tensor_mesh, self.tensor_placements)
        dtype = state.policy.param_dtype
        return full.to(dtype) if dtype is not None and full.is_floating_point() else full

    def whole(self) -> Any:
        """Its value without the parts along the data dimensions, for this process."""
        meshes = engine()
        spec = self._tensor_spec()
        value = meshes.moved_to(layout.raw(self.param), self._where(spec))
        if self.tensor_mesh is None:
            return layout.back(meshes.block_on_device(value) if self.home != "cpu" else value, self.home)
        if self.tensor_mesh.jax != self.root.jax:
            value = meshes.rehomed(value, layout.sharding_of(self.tensor_mesh, self.tensor_placements, value.shape),
                                   value.shape)  # fmt: skip
        return layout.over_mesh(value, self.tensor_mesh, self.tensor_placements)

    def averaged(self, grad: Any, state: Any) -> Any:
        """The gradient in parts as the parameter is: the mean over the processes along the data dimensions."""
        meshes = engine()
        if self.pending is not None:
            grad = grad + self.pending
            self.pending = None
        if not state.sync:
            self.pending = grad.detach()
            return None
        value = layout.raw(grad)
        if state.policy.reduce_dtype is not None:
            value = value.astype(state.policy.reduce_dtype.numpy)
        if self.tensor_mesh is not None:
            value = meshes.moved_to(value, layout.sharding_of(self.tensor_mesh, self.tensor_placements, value.shape))
            value = meshes.block_on_device(value) if not self.tensor_mesh.within else value
        axes = tuple(self.mesh.axes)
        total = meshes.total_of_blocks(value, self._where(self._spec()), axes, mean=True)
        if total.dtype != self.param._a.dtype:
            total = total.astype(np.dtype(self.param.dtype.numpy))
        return layout.over_mesh(total, self.root, self.placements())


class _Gathered(Function):
    """From the parts to what forward uses; back, the mean of all processes' gradients, in parts."""

    @staticmethod
    def forward(ctx: Any, param: Any, sharded: Any, state: Any) -> Any:
        ctx.sharded, ctx.state = sharded, state
        return sharded.whole()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.sharded.averaged(grad, ctx.state), None, None


def recording() -> bool:
    """Whether gradients will be wanted."""
    return is_grad_enabled()
