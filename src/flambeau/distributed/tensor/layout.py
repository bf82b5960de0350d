"""Tensors laid over meshes, and back: what `DTensor`'s methods and the parallel modules stand on.

A tensor over a mesh is an ordinary tensor whose array is JAX's, with a sharding: all operations, derivatives and
optimizers work on it as they are, and XLA puts in the communication. What one process holds of it is its block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.autograd.function import Function
from flambeau.distributed import groups
from flambeau.distributed.collectives import broadcast
from flambeau.distributed.device_mesh import DeviceMesh, engine, mesh_known
from flambeau.distributed.tensor.placement_types import Partial, Placement, Replicate, Shard
from flambeau.engines.arrays import move
from flambeau.ops.dispatch import wrap
from flambeau.tensor.tensor import Tensor

Placements = tuple[Placement, ...]


# --- placements and specs ---------------------------------------------------------------------------------------------


def checked(mesh: DeviceMesh, placements: Any, ndim: int, default: Placement = Replicate()) -> Placements:
    """One placement for each dimension of the mesh, dimensions counted from the front."""
    given = [default] * mesh.ndim if placements is None else list(placements)
    if len(given) != mesh.ndim:
        raise ValueError(f"a mesh of {mesh.ndim} dimensions needs as many placements, got {given}")
    result: list[Placement] = []
    for p in given:
        if not isinstance(p, Placement):
            raise RuntimeError(f"a placement is Shard, Replicate or Partial, got {p!r}")
        if isinstance(p, Shard) and not -ndim <= p.dim < ndim:
            raise RuntimeError(f"{p!r}: the tensor has {ndim} dimensions")
        result.append(Shard(p.dim % ndim) if isinstance(p, Shard) else p)
    return tuple(result)


def spec_of(mesh: DeviceMesh, placements: Placements, shape: Sequence[int]) -> list[Any]:
    """For each dimension of a tensor the names of the mesh's dimensions that part it; where the parts would not be
    equal, none does: every device then has the whole.
    """
    names: list[list[str]] = [[] for _ in shape]
    left = list(shape)
    for axis, size, p in zip(mesh.axes, mesh.shape, placements):
        if isinstance(p, Shard) and left[p.dim] % size == 0 and left[p.dim] > 0:
            names[p.dim].append(axis)
            left[p.dim] //= size
    return [tuple(n) if len(n) > 1 else n[0] if n else None for n in names]


def sharding_of(mesh: DeviceMesh, placements: Placements, shape: Sequence[int]) -> Any:
    """JAX's sharding for a tensor of that shape."""
    from flambeau.engines.xla.layouts import sharding

    return sharding(mesh.jax, spec_of(mesh, placements, shape))


def spread_of(tensor: Any) -> Any:
    """JAX's sharding of a tensor over several devices, else None."""
    array = tensor._a
    if array.__class__ is np.ndarray or not hasattr(array, "store"):
        return None
    from flambeau.engines.xla.layouts import spread

    found = spread(array.store.read())
    return found if found is not None and found.num_devices > 1 else None


def declared(tensor: Any) -> tuple[DeviceMesh, Placements] | None:
    """The mesh and placements of a tensor; None for one that is on one device."""
    noted = tensor.__dict__.get("_layout")
    if noted is not None:
        return noted
    found = spread_of(tensor)
    if found is None:
        return None
    mesh = mesh_known(found.mesh)
    if mesh is None:
        return None
    placements: list[Placement] = [Replicate()] * mesh.ndim
    for dim, names in enumerate(found.spec):
        for name in (names,) if isinstance(names, str) else names or ():
            if name in mesh.axes:
                placements[mesh.axes.index(name)] = Shard(dim)
    return mesh, tuple(placements)


def over_mesh(value: Any, mesh: DeviceMesh, placements: Placements) -> Tensor:
    """The tensor of JAX's value, which says how it lies."""
    result = wrap(engine().array(value, None if hasattr(value, "sharding") and not _traced(value) else _place(mesh)))
    result.__dict__["_layout"] = (mesh, placements)
    return result


def _traced(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return False
    from flambeau.engines.xla.runtime import Tracer

    return isinstance(value, Tracer)


def _place(mesh: DeviceMesh) -> Any:
    from flambeau.devices import device

    return device("xla" if mesh.device_type == "cpu" else mesh.device_type, 0)


def raw(tensor: Tensor) -> Any:
    """NumPy's array, or JAX's value."""
    array = tensor._a
    return array if isinstance(array, np.ndarray) else array.value


def home_of(mesh: DeviceMesh) -> str:
    """The kind of device on which blocks of a mesh are given back."""
    return mesh.device_type


def back(value: Any, kind: str) -> Tensor:
    """A block as an ordinary tensor on a kind of device."""
    meshes = engine()
    if kind == "cpu" and not _traced(value):
        block = meshes.block(value) if hasattr(value, "addressable_shards") else np.asarray(value)
        return wrap(np.array(block))
    return wrap(meshes.array(value, None if not _traced(value) else _of_kind(kind)))


def _of_kind(kind: str) -> Any:
    from flambeau.devices import device

    return device("xla" if kind == "cpu" else kind, 0)


# --- the ways, each with its derivative -------------------------------------------------------------------------------


def _with_whole(local: Any, mesh: DeviceMesh, placements: Placements, shape: tuple[int, ...] | None = None) -> Any:
    """JAX's value over the mesh whose block here is `local`."""
    meshes = engine()
    plain = tuple(Replicate() if isinstance(p, Partial) else p for p in placements)
    if shape is None:
        shape = whole_shape(tuple(local.shape), mesh, plain)
    where = sharding_of(mesh, plain, shape)
    partial = [i for i, p in enumerate(placements) if isinstance(p, Partial)]
    if partial and not mesh.within:
        means = placements[partial[0]].is_partial("avg")
        axes = tuple(mesh.axes[i] for i in partial)
        return meshes.total_of_blocks(local, where, axes, means)
    uneven = not _is_even(mesh, plain, shape)
    if uneven and not mesh.within:
        raise ValueError(
            f"from_local: blocks of shape {tuple(local.shape)} with {list(placements)} are not equal parts of {shape}"
        )
    return meshes.from_block(local, where, shape)


def whole_shape(shape: tuple[int, ...], mesh: DeviceMesh, placements: Placements) -> tuple[int, ...]:
    """The shape of the whole, from a block's."""
    if mesh.size() == 1:
        return shape
    names: list[list[str]] = [[] for _ in shape]
    for axis, p in zip(mesh.axes, placements):
        if isinstance(p, Shard):
            names[p.dim].append(axis)
    return engine().block_shape_to_whole(shape, [tuple(n) or None for n in names], mesh.jax)


def _is_even(mesh: DeviceMesh, placements: Placements, shape: Sequence[int]) -> bool:
    left = list(shape)
    for size, p in zip(mesh.shape, placements):
        if isinstance(p, Shard):
            if left[p.dim] % size:
                return False
            left[p.dim] //= size
    return True


def _chunk(block: Any, mesh: DeviceMesh, placements: Placements) -> Any:
    """Of a tensor that could not be parted equally, and lies whole everywhere: this process's part."""
    place = mesh.get_coordinate() or [0] * mesh.ndim
    for at, size, p in zip(place, mesh.shape, placements):
        if isinstance(p, Shard) and not mesh.within:
            step = -(-block.shape[p.dim] // size)
            begin, end = min(at * step, block.shape[p.dim]), min((at + 1) * step, block.shape[p.dim])
            block = block[tuple(slice(begin, end) if d == p.dim else slice(None) for d in range(block.ndim))]
    return block


def _local_value(value: Any, mesh: DeviceMesh, placements: Placements, kind: str) -> Tensor:
    meshes = engine()
    if kind != "cpu" or _traced(value):
        local = meshes.block_on_device(value)
    else:
        local = meshes.block(value)
    if not _is_even(mesh, placements, value.shape):
        local = _chunk(local, mesh, placements)
    return back(local, kind)


class _Laid(Function):
    """A tensor that every process has, laid over a mesh."""

    @staticmethod
    def forward(ctx: Any, tensor: Any, mesh: Any, placements: Any) -> Any:
        from flambeau.engines.xla.layouts import placed

        ctx.kind, ctx.mesh = tensor.device.type, mesh
        return over_mesh(placed(raw(tensor), sharding_of(mesh, placements, tensor.shape)), mesh, placements)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return gathered(grad, ctx.mesh, ctx.kind), None, None


class _FromLocal(Function):
    """The tensor whose blocks the processes have."""

    @staticmethod
    def forward(ctx: Any, local: Any, mesh: Any, placements: Any, shape: Any) -> Any:
        ctx.kind, ctx.mesh = local.device.type, mesh
        ctx.placements = tuple(Replicate() if isinstance(p, Partial) else p for p in placements)
        return over_mesh(_with_whole(raw(local), mesh, placements, shape), mesh, ctx.placements)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        value = _relaid(raw(grad), ctx.mesh, ctx.placements)
        return _local_value(value, ctx.mesh, ctx.placements, ctx.kind), None, None, None


class _ToLocal(Function):
    """This process's block."""

    @staticmethod
    def forward(ctx: Any, tensor: Any, mesh: Any, placements: Any, back_placements: Any, kind: str) -> Any:
        ctx.mesh, ctx.placements, ctx.shape = mesh, back_placements or placements, tuple(tensor.shape)
        return _local_value(_relaid(raw(tensor), mesh, placements), mesh, placements, kind)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        plain = tuple(Replicate() if isinstance(p, Partial) else p for p in ctx.placements)
        if not _is_even(ctx.mesh, plain, ctx.shape) and not ctx.mesh.within:
            raise RuntimeError("to_local: a tensor in unequal parts has no gradient; redistribute it before")
        value = _with_whole(raw(grad), ctx.mesh, ctx.placements, ctx.shape)
        return over_mesh(value, ctx.mesh, plain), None, None, None, None


class _Relaid(Function):
    """The same tensor in another layout."""

    @staticmethod
    def forward(ctx: Any, tensor: Any, mesh: Any, before: Any, after: Any) -> Any:
        ctx.mesh, ctx.before = mesh, before
        return over_mesh(_relaid(raw(tensor), mesh, after), mesh, after)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return over_mesh(_relaid(raw(grad), ctx.mesh, ctx.before), ctx.mesh, ctx.before), None, None, None


def _relaid(value: Any, mesh: DeviceMesh, placements: Placements) -> Any:
    from flambeau.engines.xla.layouts import placed

    return placed(value, sharding_of(mesh, placements, value.shape))


def gathered(tensor: Tensor, mesh: DeviceMesh, kind: str) -> Tensor:
    """The whole tensor, as an ordinary one."""
    from flambeau.engines.xla.layouts import gathered as whole

    value = raw(tensor)
    if kind != "cpu" and (_traced(value) or spread_of(tensor) is None):
        return wrap(engine().array(value, tensor._a.device))
    if spread_of(tensor) is not None:
        value = whole(value)
    return wrap(np.array(value)) if kind == "cpu" else wrap(engine().array(value))


# --- what the surroundings call ---------------------------------------------------------------------------------------


def lay(tensor: Tensor, mesh: DeviceMesh, placements: Any = None, src_data_rank: int | None = 0) -> Tensor:
    """See `distribute_tensor`."""
    chosen = checked(mesh, placements, tensor.dim())
    if any(isinstance(p, Partial) for p in chosen):
        raise RuntimeError("distribute_tensor: a whole tensor can be laid out by Shard and Replicate, not by Partial")
    known = declared(tensor)
    if known is not None:
        if known[0] != mesh:
            raise ValueError(f"distribute_tensor: the tensor lies over {known[0]} already, not over {mesh}")
        return relay(tensor, mesh, chosen)
    if mesh.size() == 1 and mesh.device_type == "cpu":
        result = tensor.view_as(tensor)
        result.__dict__["_layout"] = (mesh, chosen)
        return result
    if src_data_rank is not None and not mesh.within and not _traced(raw(tensor)):
        owners = engine().owners(mesh.device_type)
        group = groups.group_of(sorted({owners[n] for n in mesh.numbers.flat}))
        sent = tensor.detach().clone()
        broadcast(sent, group=group, group_src=src_data_rank)
        tensor = sent if tensor._node is None else tensor + (sent - tensor.detach())
    return _Laid.apply(_moved(tensor, mesh), mesh, chosen)


def _moved(tensor: Tensor, mesh: DeviceMesh) -> Tensor:
    kind = tensor.device.type
    if kind == "cpu" or kind == _place(mesh).type:
        return tensor
    return tensor.to(_place(mesh))


def from_local(local: Tensor, mesh: DeviceMesh, placements: Any = None, shape: Any = None) -> Tensor:
    """See `DTensor.from_local`."""
    chosen = checked(mesh, placements, local.dim())
    if mesh.size() == 1 and mesh.device_type == "cpu":
        return lay(local, mesh, [Replicate() if isinstance(p, Partial) else p for p in chosen])
    return _FromLocal.apply(_moved(local, mesh), mesh, chosen, None if shape is None else tuple(shape))


def to_local(tensor: Tensor, grad_placements: Any = None, kind: str | None = None) -> Tensor:
    """See `DTensor.to_local`."""
    known = declared(tensor)
    if known is None:
        return tensor
    mesh, placements = known
    if spread_of(tensor) is None and not _traced(raw(tensor)):
        return tensor.view_as(tensor)
    if grad_placements is not None:
        grad_placements = checked(mesh, grad_placements, tensor.dim())
    return _ToLocal.apply(tensor, mesh, placements, grad_placements, kind or home_of(mesh))


def relay(tensor: Tensor, mesh: DeviceMesh, placements: Placements) -> Tensor:
    """See `DTensor.redistribute`."""
    known = declared(tensor)
    before = known[1] if known is not None else placements
    if spread_of(tensor) is None and not _traced(raw(tensor)):
        return tensor
    if before == placements and known is not None and not _traced(raw(tensor)):
        return tensor
    return _Relaid.apply(tensor, mesh, before, placements)


def whole(tensor: Tensor, kind: str | None = None) -> Tensor:
    """See `DTensor.full_tensor`."""
    known = declared(tensor)
    if known is None:
        return tensor
    mesh = known[0]
    tensor = relay(tensor, mesh, tuple([Replicate()] * mesh.ndim))
    kind = kind or home_of(mesh)
    if kind == "cpu" or not mesh.within:
        return to_local(tensor, kind=kind)
    return _OneDevice.apply(tensor, mesh)


class _OneDevice(Function):
    """A tensor that is whole on each device of this process, on the first alone."""

    @staticmethod
    def forward(ctx: Any, tensor: Any, mesh: Any) -> Any:
        ctx.mesh = mesh
        return gathered(tensor, mesh, "xla")

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        everywhere = tuple([Replicate()] * ctx.mesh.ndim)
        return over_mesh(_relaid(raw(grad), ctx.mesh, everywhere), ctx.mesh, everywhere), None


def moved_home(tensor: Tensor, where: Any) -> Tensor:
    """A tensor on another device, without history."""
    return wrap(move(tensor._a, where))
