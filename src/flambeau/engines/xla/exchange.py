"""What the processes of a group exchange: programs over a mesh with one device of each, run in one line of order.

A program takes this process's array and gives this process's result; XLA's collectives are in it. All processes run
the same programs in the same order, in a thread of their own (`Line`), so that a program may go on meanwhile, and
whoever waits can be told that a process is gone.
"""

from __future__ import annotations

import functools
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.runtime import Tracer, jax, jax_device, jnp, lax, wide
from flambeau.engines.xla.world import World, quiet
from flambeau.errors import DistBackendError

__all__ = ["Exchange", "Line", "Pending"]

AXIS = "ranks"
#: What errors say that come from connections.
_BROKEN = re.compile("gloo|nccl|connection|unavailable|peer|socket", re.IGNORECASE)
_KINDS = {"cpu": "cpu", "xla": "cpu", "cuda": "gpu", "tpu": "tpu"}


class Pending:
    """A result that is under way."""

    def __init__(self, name: str, world: World, ranks: list[int], seconds: float) -> None:
        self._name, self._world, self._ranks, self._seconds = name, world, ranks, seconds
        self._ended = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self, work: Callable) -> None:
        """Does the work and keeps what comes of it."""
        try:
            self._value = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            self._error = error
        self._ended.set()

    def done(self) -> bool:
        """Whether it is there."""
        return self._ended.is_set()

    def get(self, seconds: float | None = None) -> Any:
        """The result, when it is there.

        Raises:
            DistBackendError: a process of the group is gone.
            RuntimeError: it took longer than the group's timeout.
        """
        limit = self._seconds if seconds is None else seconds
        start = time.monotonic()
        while not self._ended.wait(1.0):
            waited = time.monotonic() - start
            if waited > 2 and (gone := self._world.missing(self._ranks)):
                raise DistBackendError(f"{self._name}: {gone}; this is rank {self._world.rank}, which waits for it")
            if waited > limit:
                raise RuntimeError(
                    f"{self._name}: not all of ranks {self._ranks} took part within {limit:.0f} s; all processes have "
                    "to call the same collectives in the same order"
                )
        if self._error is None:
            return self._value
        text = str(self._error)
        if not _BROKEN.search(text):
            raise self._error
        gone = self._world.missing(self._ranks, 5.0)
        reason = f"{gone}; this is rank {self._world.rank}" if gone else text.strip().partition("\n")[0]
        raise DistBackendError(f"{self._name}: {reason}") from None


class Line:
    """The one thread in which a process runs its exchanges, in order."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="flambeau-exchange", daemon=True).start()

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            pending, work = task
            pending.run(work)
            del task, pending, work

    def add(self, pending: Pending, work: Callable) -> Pending:
        """Has `work` done after all that was added before."""
        self._tasks.put((pending, work))
        return pending

    def end(self) -> None:
        """Ends the thread when all is done."""
        self._tasks.put(None)


class Exchange:
    """The exchanges of one group."""

    def __init__(self, world: World, line: Line, ranks: list[int], seconds: float) -> None:
        self.world, self.ranks, self.seconds = world, ranks, seconds
        self._line = line
        self._meshes: dict[str, Mesh] = {}

    def mesh(self, kind: str) -> Mesh:
        """The mesh of these processes' first devices of a kind; made, and its connections with it, at first use."""
        platform = _KINDS[kind]
        found = self._meshes.get(platform)
        if found is None:
            first: dict[int, Any] = {}
            for device in jax.devices(platform):
                first.setdefault(device.process_index, device)
            found = self._meshes[platform] = Mesh(np.array([first[r] for r in self.ranks]), (AXIS,))
            with quiet:
                _run(found, "reduce", "sum", np.zeros(1, np.float32))
        return found

    def connect(self) -> None:
        """Connects the processes, all of which call this."""
        self._queue("connect", lambda: self.mesh("cpu")).get()

    def _queue(self, name: str, work: Callable) -> Pending:
        return self._line.add(Pending(name, self.world, self.ranks, self.seconds), work)

    def start(self, name: str, kind: str, how: Any, array: Any) -> Pending:
        """Starts the program of a `kind` (of `BODIES`) on this process's array."""
        if array.__class__ is not XArray:
            return self._queue(name, lambda: np.asarray(_run(self.mesh("cpu"), kind, how, array)))
        value, where = array.value, array.device
        if isinstance(value, Tracer):
            raise RuntimeError(f"{name}: a collective can't be part of a compiled step; call it outside")
        return self._queue(name, lambda: _on_device(self.mesh(where.type), kind, how, value, where))


def _on_device(mesh: Mesh, kind: str, how: Any, value: Any, where: Any) -> XArray:
    (device,) = (d for d in mesh.devices.flat if d.process_index == jax.process_index())
    result = _run(mesh, kind, how, jax.device_put(value, device))
    return XArray(jax.block_until_ready(jax.device_put(result, jax_device(where))), where)


def _run(mesh: Mesh, kind: str, how: Any, value: Any) -> Any:
    """This process's result of a program."""
    with wide(True):
        (device,) = (d for d in mesh.devices.flat if d.process_index == jax.process_index())
        sharding = NamedSharding(mesh, PartitionSpec(AXIS))
        piece = jax.device_put(value, device)[None]
        whole = jax.make_array_from_single_device_arrays((mesh.size, *value.shape), sharding, [piece])
        result = _program(mesh, kind, how)(whole).addressable_data(0)
        return result.reshape(result.shape[1:])


@functools.lru_cache(maxsize=1024)
def _program(mesh: Mesh, kind: str, how: Any) -> Any:
    def body(a: Any) -> Any:
        return BODIES[kind](a[0], how, mesh.size)[None]

    spec = PartitionSpec(AXIS)
    return jax.jit(jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=spec))


# the programs: each takes this process's array


def _pairwise(combine: Callable) -> Callable:
    return lambda parts: functools.reduce(combine, list(parts))


#: How the arrays of all processes, stacked, become one.
_COMBINE: dict[str, Callable] = {
    "sum": lambda parts: jnp.sum(parts, 0, dtype=parts.dtype),
    "avg": lambda parts: jnp.sum(parts, 0, dtype=parts.dtype),
    "product": lambda parts: jnp.prod(parts, 0, dtype=parts.dtype),
    "min": lambda parts: jnp.min(parts, 0),
    "max": lambda parts: jnp.max(parts, 0),
    "band": _pairwise(jnp.bitwise_and),
    "bor": _pairwise(jnp.bitwise_or),
    "bxor": _pairwise(jnp.bitwise_xor),
}
_DIRECT: dict[str, Callable] = {"sum": lax.psum, "avg": lax.psum, "min": lax.pmin, "max": lax.pmax}


def _averaged(total: Any, how: str, n: int) -> Any:
    if how != "avg":
        return total
    return total / n if jnp.issubdtype(total.dtype, jnp.inexact) else total // n


def _reduce(a: Any, how: str, n: int) -> Any:
    if a.dtype == bool:
        return _reduce(a.astype(np.int32), how, n) != 0
    if how in _DIRECT:
        return _averaged(_DIRECT[how](a, AXIS), how, n)
    return _COMBINE[how](lax.all_gather(a, AXIS))


def _reduce_parts(a: Any, how: str, n: int) -> Any:
    """`a` holds a part for each process; this one's, reduced."""
    if a.dtype == bool:
        return _reduce_parts(a.astype(np.int32), how, n) != 0
    if how in ("sum", "avg"):
        return _averaged(lax.psum_scatter(a, AXIS), how, n)
    return _COMBINE[how](lax.all_to_all(a, AXIS, 0, 0))


def _bits(a: Any) -> Any:
    """Numbers as integers of their size, which pass a sum with zeros unchanged."""
    if a.dtype == bool:
        return a.astype(np.uint8)
    if a.dtype.kind == "c":
        return lax.bitcast_convert_type(jnp.stack((a.real, a.imag)), f"u{a.dtype.itemsize // 2}")
    return lax.bitcast_convert_type(a, f"u{a.dtype.itemsize}")


def _broadcast(a: Any, source: int, n: int) -> Any:
    bits = _bits(a)
    total = lax.psum(jnp.where(lax.axis_index(AXIS) == source, bits, jnp.zeros_like(bits)), AXIS)
    if a.dtype == bool:
        return total != 0
    if a.dtype.kind == "c":
        parts = lax.bitcast_convert_type(total, np.dtype(f"f{a.dtype.itemsize // 2}"))
        return lax.complex(parts[0], parts[1])
    return lax.bitcast_convert_type(total, a.dtype)


BODIES: dict[str, Callable] = {
    "reduce": _reduce,
    "reduce parts": _reduce_parts,
    "gather": lambda a, how, n: lax.all_gather(a, AXIS),
    "turn": lambda a, how, n: lax.all_to_all(a, AXIS, 0, 0),
    "broadcast": _broadcast,
}
