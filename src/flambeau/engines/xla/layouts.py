"""How arrays lie over several devices: JAX's shardings, and operands of one program brought to one mesh."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.engines.xla.runtime import Tracer, jax, lax, wide

#: Why programs can't just be called: "cpu" when arrays lie over several CPU devices of this process, "processes" when
#: over those of others.
crowded: set[str] = set()
_ran: set[Any] = set()


def _note(where: jax.sharding.NamedSharding) -> None:
    if len(where.addressable_devices) > 1 and next(iter(where.addressable_devices)).platform == "cpu":
        crowded.add("cpu")
    if not where.is_fully_addressable:
        crowded.add("processes")


def sharding(mesh: jax.sharding.Mesh, spec: Sequence[Any]) -> jax.sharding.NamedSharding:
    """Where the parts are: for each dimension the names of the mesh's dimensions that part it."""
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def spread(value: Any) -> jax.sharding.NamedSharding | None:
    """How an array lies over a mesh; None for one that is on one device, or is being traced."""
    found = None if isinstance(value, Tracer) else getattr(value, "sharding", None)
    return found if isinstance(found, jax.sharding.NamedSharding) else None


def assembled(part: Any, shape: tuple[int, ...], where: jax.sharding.NamedSharding) -> Any:
    """The array of a shape whose part at an index (a tuple of slices) is `part(index)`, for this process's devices."""
    _note(where)
    with wide(True):
        places = where.addressable_devices_indices_map(shape)
        parts = [jax.device_put(part(index), d) for d, index in places.items()]
        return jax.make_array_from_single_device_arrays(shape, where, parts)


def placed(value: Any, where: jax.sharding.NamedSharding) -> Any:
    """An array that every process has whole, laid over a mesh."""
    if isinstance(value, Tracer):
        return lax.with_sharding_constraint(value, where)
    if spread(value) is not None:
        return moved_to(value, where)
    if where.is_fully_addressable:
        _note(where)
        with wide(True):
            return jax.device_put(value, where)
    whole = np.asarray(value)
    return assembled(lambda index: whole[index], whole.shape, where)


def moved_to(value: Any, where: jax.sharding.NamedSharding) -> Any:
    """An array of a mesh in another layout: all its processes call this."""
    if isinstance(value, Tracer):
        return lax.with_sharding_constraint(value, where)
    if value.sharding == where:
        return value
    with wide(True):
        if where.is_fully_addressable and value.is_fully_addressable:
            return jax.device_put(value, where)
        return settled(agreeing(_identity(where), [value]))


@functools.lru_cache(maxsize=1024)
def _identity(where: jax.sharding.NamedSharding) -> Any:
    return jax.jit(lambda value: value, out_shardings=where)


def agreed(values: Sequence[Any]) -> list[Any]:
    """Operands of one program, some of which lie over a mesh: the others are laid over it whole."""
    meshes = [s.mesh for v in values if (s := spread(v)) is not None]
    if not meshes:
        return list(values)
    mesh = max(meshes, key=lambda m: m.size)
    result = []
    for v in values:
        found = spread(v)
        if found is not None and found.mesh == mesh:
            result.append(v)
        elif found is None:
            result.append(placed(v, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())))
        elif found.mesh.devices.size == mesh.size and set(found.mesh.devices.flat) == set(mesh.devices.flat):
            result.append(v)
        else:
            result.append(moved_to(v, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())))
    return result


def settled(results: Any) -> Any:
    """Results of a program on several of XLA's CPU devices, when they are there. Its parts wait for each other, in
    threads of which there are as many as devices: two such programs at once could wait for ever.
    """
    return jax.block_until_ready(results)


def agreeing(program: Any, values: Sequence[Any]) -> Any:
    """A program's results; where operands lie apart, those that are on one device are laid over the others' mesh."""
    if "processes" in crowded:
        key = (program, *[(getattr(v, "shape", ()), getattr(v, "sharding", None)) for v in values])
        if key not in _ran:  # the first run may connect processes
            _ran.add(key)
            from flambeau.engines.xla.world import quiet

            with quiet:
                return jax.block_until_ready(_agreeing(program, values))
    results = _agreeing(program, values)
    return settled(results) if "cpu" in crowded else results


def _agreeing(program: Any, values: Sequence[Any]) -> Any:
    try:
        return program(*values)
    except ValueError as error:
        if "incompatible devices" not in str(error):
            raise
    return program(*agreed(values))


def kept(new: Any, old: Any) -> Any:
    """The new value of a memory, where the old one lies: over its mesh, or on its one device."""
    if isinstance(old, Tracer):
        return new
    where = old.sharding
    if isinstance(new, Tracer):
        several = isinstance(where, jax.sharding.NamedSharding) and where.num_devices > 1
        return lax.with_sharding_constraint(new, where) if several else new
    found = new.sharding
    if found is where or found == where:
        return new
    if spread(old) is not None:
        return placed(new, where)
    if spread(new) is None:
        return new
    return gathered(new)


def gathered(value: Any) -> Any:
    """An array of a mesh whole, on this process's first device: all the mesh's processes call this."""
    if not value.sharding.is_fully_replicated:
        value = moved_to(value, jax.sharding.NamedSharding(value.sharding.mesh, jax.sharding.PartitionSpec()))
    return value.addressable_data(0)
