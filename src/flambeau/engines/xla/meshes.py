"""Meshes of devices, in this process or in many, and what one process holds of an array that lies over one: its block.

`jax.sharding` says where the parts of an array are (`layouts.py`), and XLA's partitioner puts the collectives into each
program that meets one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.layouts import agreeing, assembled, moved_to, placed, settled, spread
from flambeau.engines.xla.runtime import Tracer, jax, jnp, lax, where_is, wide
from flambeau.engines.xla.world import quiet

_PLATFORMS = {"cpu": "cpu", "xla": "cpu", "cuda": "gpu", "tpu": "tpu"}
_connected: set[Any] = set()


def device_count(kind: str) -> int:
    """How many devices all processes have together."""
    return len(_devices(kind))


def own_devices(kind: str) -> list[int]:
    """The numbers of this process's devices among all."""
    return [i for i, d in enumerate(_devices(kind)) if d.process_index == jax.process_index()]


def owners(kind: str) -> list[int]:
    """The process that each device belongs to."""
    return [d.process_index for d in _devices(kind)]


def _devices(kind: str) -> list[Any]:
    return sorted(jax.devices(_PLATFORMS[kind]), key=lambda d: (d.process_index, d.id))


def mesh_of(kind: str, numbers: np.ndarray, names: tuple[str, ...]) -> Mesh:
    """JAX's mesh of these devices. All their processes call this."""
    devices = _devices(kind)
    mesh = Mesh(np.array([devices[n] for n in numbers.flat]).reshape(numbers.shape), names)
    if mesh not in _connected and jax.process_count() > 1:
        with quiet:  # what Gloo says when it first connects these processes, along each dimension
            for axes in (tuple(names), *((n,) for n in names)):
                _connect(mesh, axes)
        _connected.add(mesh)
    return mesh


def _connect(mesh: Mesh, axes: tuple[str, ...]) -> None:
    ones = assembled(lambda index: np.ones(1, np.float32), (1,), NamedSharding(mesh, PartitionSpec()))
    spec = PartitionSpec()
    jax.jit(jax.shard_map(lambda a: lax.psum(a, axes), mesh=mesh, in_specs=spec, out_specs=spec))(
        ones
    ).block_until_ready()


def _hull(value: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where this process's block begins, and its shape."""
    starts = [min(s.index[d].start or 0 for s in value.addressable_shards) for d in range(value.ndim)]
    stops = [
        max(n if s.index[d].stop is None else s.index[d].stop for s in value.addressable_shards)
        for d, n in enumerate(value.shape)
    ]
    return tuple(starts), tuple(b - a for a, b in zip(starts, stops))


def block(value: Any) -> np.ndarray:
    """What this process holds of an array, as one in NumPy."""
    shards = value.addressable_shards
    starts, shape = _hull(value)
    if shards[0].data.shape == shape:
        return np.asarray(shards[0].data)
    result = np.empty(shape, value.dtype)
    for s in shards:
        at = tuple(slice((i.start or 0) - a, (i.start or 0) - a + n) for i, a, n in zip(s.index, starts, s.data.shape))
        result[at] = np.asarray(s.data)
    return result


def block_on_device(value: Any) -> Any:
    """The same, on this process's first device where it lies in one piece there; on all of them if it has all."""
    if isinstance(value, Tracer) or value.is_fully_addressable:
        return value
    shards = value.addressable_shards
    if shards[0].data.shape == _hull(value)[1]:
        return shards[0].data
    return jax.device_put(block(value), shards[0].device)


def from_block(local: Any, where: NamedSharding, shape: tuple[int, ...]) -> Any:
    """The array over a mesh whose block in this process is `local`."""
    if isinstance(local, Tracer) or (where.is_fully_addressable and spread(local) is not None):
        return moved_to(local, where)
    if where.is_fully_addressable and not isinstance(local, np.ndarray):
        with wide(True):
            return jax.device_put(local, where)
    places = where.addressable_devices_indices_map(shape)
    starts = [min(index[d].start or 0 for index in places.values()) for d in range(len(shape))]

    def part(index: tuple[slice, ...]) -> Any:
        return local[tuple(
            slice((i.start or 0) - a, (n if i.stop is None else i.stop) - a) for i, a, n in zip(index, starts, shape)
        )]  # fmt: skip

    with wide(True):
        return assembled(part, shape, where)


def total_of_blocks(local: Any, where: NamedSharding, axes: tuple[str, ...], mean: bool) -> Any:
    """The sum (or mean) of arrays of one shape over the blocks along some of the mesh's dimensions, laid out so."""
    mesh = where.mesh
    if isinstance(local, Tracer) or where.is_fully_addressable:
        return placed(local, where)
    kept = _spec_without(where.spec, axes)
    stacked = NamedSharding(mesh, PartitionSpec(axes, *kept))
    n = int(np.prod([mesh.shape[a] for a in axes]))
    shape = _global_shape(local.shape, kept, mesh)
    inner = NamedSharding(mesh, PartitionSpec(*kept))
    places = inner.addressable_devices_indices_map(shape)
    starts = [min(index[d].start or 0 for index in places.values()) for d in range(len(shape))]

    def part(index: tuple[slice, ...]) -> Any:
        at = tuple(
            slice((i.start or 0) - a, (m if i.stop is None else i.stop) - a)
            for i, a, m in zip(index[1:], starts, shape)
        )
        return local[at][None]

    whole = assembled(part, (n, *shape), stacked)
    with wide(True):
        return settled(agreeing(_summed(where, mean), [whole]))


def _global_shape(shape: tuple[int, ...], spec: tuple, mesh: Any) -> tuple[int, ...]:
    """The whole's shape from a block's: only dimensions of the mesh that lie across processes multiply it."""
    return tuple(n * _processes_along(mesh, names) for n, names in zip(shape, (*spec, *[None] * len(shape))))


def _processes_along(mesh: Any, names: Any) -> int:
    """How many blocks, one after another, the dimensions of a mesh make of a dimension of an array."""
    count = 1
    for name in (names,) if isinstance(names, str) else names or ():
        axis = mesh.axis_names.index(name)
        line = np.moveaxis(mesh.devices, axis, 0).reshape(mesh.devices.shape[axis], -1)[:, 0]
        count *= len({d.process_index for d in line})
    return count


def _spec_without(spec: Any, axes: tuple[str, ...]) -> tuple:
    kept = []
    for names in spec:
        left = tuple(n for n in ((names,) if isinstance(names, str) else names or ()) if n not in axes)
        kept.append(left[0] if len(left) == 1 else left or None)
    return tuple(kept)


@functools.lru_cache(maxsize=1024)
def _summed(where: NamedSharding, mean: bool) -> Any:
    if mean:
        return jax.jit(lambda a: jnp.mean(a, 0).astype(a.dtype), out_shardings=where)
    return jax.jit(lambda a: jnp.sum(a, 0, dtype=a.dtype), out_shardings=where)


def block_shape_to_whole(shape: tuple[int, ...], spec: Sequence[Any], mesh: Mesh) -> tuple[int, ...]:
    """The whole's shape, when every process holds blocks of this shape."""
    return _global_shape(tuple(shape), tuple(spec), mesh)


def rehomed(value: Any, where: NamedSharding, shape: tuple[int, ...]) -> Any:
    """The same parts on the same devices, as an array of another mesh."""
    if isinstance(value, Tracer):
        return lax.with_sharding_constraint(value, where)
    data = {s.device: s.data for s in value.addressable_shards}
    parts = [data[d] for d in where.addressable_devices_indices_map(shape)]
    with wide(True):
        return jax.make_array_from_single_device_arrays(shape, where, parts)


def array(value: Any, like: Any = None) -> XArray:
    """An `XArray` of a value that lies over a mesh."""
    return XArray(value, like if like is not None else where_is(value))


def from_other(value: Any, where: NamedSharding, inner: NamedSharding) -> Any:
    """Of an array over a part of a mesh that each process of it has alike: the array over all of it, laid out so.
    `inner`: how the part lies in the whole mesh.
    """
    held = block(value)
    places = inner.addressable_devices_indices_map(value.shape)
    starts = [min(index[d].start or 0 for index in places.values()) for d in range(value.ndim)]

    def part(index: tuple[slice, ...]) -> Any:
        at = zip(index, starts, value.shape)
        return held[tuple(slice((i.start or 0) - a, (n if i.stop is None else i.stop) - a) for i, a, n in at)]

    return assembled(part, value.shape, where)
