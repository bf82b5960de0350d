"""`torch.distributed.device_mesh`: devices in rows and columns, with a name for each dimension.

A mesh counts the devices of all processes: process 0's first, then process 1's, ... So with one device per process the
numbers are ranks, and in a single process with eight devices (`XLA_FLAGS=--xla_force_host_platform_device_count=8`
makes XLA's CPU eight) they are the devices' own. "This process's place" in a mesh is that of its first device.

The kind 'cpu' means tensors in NumPy's memory: what is laid over such a mesh lies on XLA's CPU devices, and what a
process gets back of it is on 'cpu'. With 'xla' it stays there, as on 'cuda' and 'tpu'.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import weakref
from typing import Any

import numpy as np

from flambeau.distributed import groups
from flambeau.distributed.groups import ProcessGroup
from flambeau.tensor.tensor import Tensor

__all__ = ["DeviceMesh", "init_device_mesh"]

#: Meshes by JAX's, so that a tensor's mesh is found again from where it lies.
_known: weakref.WeakValueDictionary[Any, DeviceMesh] = weakref.WeakValueDictionary()


def engine() -> Any:
    """The engine's side of meshes. RuntimeError where JAX is missing."""
    if importlib.util.find_spec("jax") is None:
        raise RuntimeError("a mesh of several devices is JAX's, which is not installed: pip install 'flambeau[xla]'")
    return importlib.import_module("flambeau.engines.xla.meshes")


def _count(kind: str) -> int:
    """How many devices there are, without loading JAX for a single process that has not done so."""
    if groups.is_initialized() or importlib.util.find_spec("jax") is not None:
        if groups.is_initialized() and groups.get_world_size() == 1 and importlib.util.find_spec("jax") is None:
            return 1
        return engine().device_count(kind)
    return 1


class DeviceMesh:
    """Devices of one kind in an array of any dimensions.

    Args:
        device_type: 'cpu', 'xla', 'cuda' or 'tpu'.
        mesh: the devices' numbers, nested as the mesh is.
        mesh_dim_names: a name for each dimension, to pick parts by: `mesh["dp"]`.

    Raises:
        RuntimeError: there are not so many devices.
    """

    def __init__(self, device_type: str, mesh: Any, *, mesh_dim_names: tuple[str, ...] | None = None,
                 backend_override: Any = None, _init_backend: bool = True) -> None:  # fmt: skip
        self.device_type = str(device_type).partition(":")[0]
        numbers = np.asarray(mesh._a if isinstance(mesh, Tensor) else mesh, np.int64)
        if numbers.ndim == 0:
            numbers = numbers.reshape(1)
        names = tuple(mesh_dim_names) if mesh_dim_names else None
        _check(numbers, names, _count(self.device_type), self.device_type)
        self._set_up(numbers, names, self, tuple(range(numbers.ndim)), numbers)

    def _set_up(self, numbers: np.ndarray, names: tuple[str, ...] | None, root: DeviceMesh, dims: tuple[int, ...],
                laid: np.ndarray) -> None:  # fmt: skip
        """`numbers`: the mesh as shown. `laid`: what arrays lie over; `dims`: which of its dimensions are shown."""
        self.numbers, self.mesh_dim_names = numbers, names
        self._root, self._dims, self._laid = root, dims, laid
        self._axes = tuple((names or root.mesh_dim_names or ())[: numbers.ndim]) or tuple(
            f"dim{i}" for i in range(numbers.ndim)
        )
        self._groups: dict[int, ProcessGroup] = {}
        self._jax: Any = None
        if numbers.size > 1:
            _known.setdefault(self.jax, self)

    # what it is

    @property
    def mesh(self) -> Tensor:
        """The devices' numbers as a tensor."""
        from flambeau.tensor.creation import from_numpy

        return from_numpy(self.numbers)

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return self.numbers.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """How many devices along each."""
        return self.numbers.shape

    def size(self, mesh_dim: int | str | None = None) -> int:
        """How many devices, in all or along a dimension."""
        return self.numbers.size if mesh_dim is None else self.shape[self._dim(mesh_dim)]

    @property
    def axes(self) -> tuple[str, ...]:
        """A name for each dimension, given or made up."""
        return self._axes

    @property
    def jax(self) -> Any:
        """JAX's mesh."""
        if self._jax is None:
            names = [f"_{i}" for i in range(self._laid.ndim)]
            for shown, name in zip(self._dims, self.axes):
                names[shown] = name
            self._jax = engine().mesh_of(self.device_type, self._laid, tuple(names))
        return self._jax

    @property
    def within(self) -> bool:
        """Whether all its devices are this process's."""
        return self.size() == 1 or set(self._laid.flat) <= set(engine().own_devices(self.device_type))

    # where this process is

    def get_rank(self) -> int:
        """The number of this process's first device."""
        if self.size() == 1 and not groups.is_initialized():
            return 0
        return engine().own_devices(self.device_type)[0] if self.size() > 1 else groups.get_rank()

    def get_coordinate(self) -> list[int] | None:
        """The place of this process's first device in the mesh; None if it has none there."""
        if self.size() == 1:
            return [0] * self.ndim
        own = set(engine().own_devices(self.device_type))
        places = [place for place in np.ndindex(self.shape) if int(self.numbers[place]) in own]
        return list(places[0]) if places else None

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's place along a dimension."""
        if mesh_dim is None and self.ndim > 1:
            raise RuntimeError(f"get_local_rank: which of the {self.ndim} dimensions? Name it by mesh_dim")
        place = self.get_coordinate()
        if place is None:
            raise RuntimeError("get_local_rank: this process has no device in the mesh")
        return place[0 if mesh_dim is None else self._dim(mesh_dim)]

    def get_group(self, mesh_dim: int | str | None = None) -> ProcessGroup:
        """The processes along a dimension through this one's place; all of them call this."""
        if mesh_dim is None and self.ndim > 1:
            raise RuntimeError(f"get_group: which of the {self.ndim} dimensions? Name it by mesh_dim")
        dim = 0 if mesh_dim is None else self._dim(mesh_dim)
        if dim not in self._groups:
            self._groups[dim] = self._group_along(dim)
        return self._groups[dim]

    def _group_along(self, dim: int) -> ProcessGroup:
        place = self.get_coordinate()
        if place is None:
            raise RuntimeError("get_group: this process has no device in the mesh")
        line = self.numbers[tuple(slice(None) if d == dim else n for d, n in enumerate(place))]
        if self.size() == 1:
            return groups.joined() if groups.is_initialized() else ProcessGroup(groups.Backend("gloo"))
        owners = engine().owners(self.device_type)
        return groups.group_of(sorted({owners[n] for n in line}))

    def get_all_groups(self) -> list[ProcessGroup]:
        """`get_group` of each dimension."""
        return [self.get_group(d) for d in range(self.ndim)]

    # parts

    def _dim(self, which: int | str) -> int:
        if isinstance(which, int):
            if not -self.ndim <= which < self.ndim:
                raise IndexError(f"a mesh of {self.ndim} dimensions has no dimension {which}")
            return which % self.ndim
        if which not in (self.mesh_dim_names or ()):
            raise KeyError(f"no dimension of the mesh is called {which!r}; there are {self.mesh_dim_names}")
        return (self.mesh_dim_names or ()).index(which)

    def __getitem__(self, names: str | tuple[str, ...]) -> DeviceMesh:
        """The part along the dimensions named, through this process's place."""
        if not self.mesh_dim_names:
            raise RuntimeError("a mesh is parted by the names of its dimensions, and this one has none")
        chosen = (names,) if isinstance(names, str) else tuple(names)
        dims = [self._dim(n) for n in chosen]
        if dims != sorted(dims):
            raise KeyError(f"the dimensions {chosen} should come in the order of {self.mesh_dim_names}")
        if len(dims) == self.ndim:
            return self
        found = object.__new__(DeviceMesh)
        found.device_type = self.device_type
        place = self.get_coordinate() or [0] * self.ndim
        shown = self.numbers[tuple(slice(None) if d in dims else place[d] for d in range(self.ndim))]
        if self.size() > 1 and self._root is self and self.within:  # other devices than those shown follow along
            found._set_up(shown, chosen, self._root, tuple(dims), self._laid)
        else:
            found._set_up(shown, chosen, self._root, tuple(range(shown.ndim)), shown)
        return found

    def _flatten(self, mesh_dim_name: str | None = None) -> DeviceMesh:
        """All its devices in one dimension."""
        name = mesh_dim_name or "_".join(self.axes)
        return DeviceMesh(self.device_type, self.numbers.reshape(-1), mesh_dim_names=(name,))

    @staticmethod
    def from_group(group: Any, device_type: str, mesh: Any = None, *, mesh_dim_names: Any = None,
                   **kwargs: Any) -> DeviceMesh:  # fmt: skip
        """The mesh of a group's processes."""
        if isinstance(group, list):
            return DeviceMesh(device_type, mesh, mesh_dim_names=mesh_dim_names)
        return DeviceMesh(device_type, groups.get_process_group_ranks(group), mesh_dim_names=mesh_dim_names)

    def __enter__(self) -> DeviceMesh:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing was changed."""

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, DeviceMesh) and self.device_type == other.device_type
            and self.mesh_dim_names == other.mesh_dim_names and np.array_equal(self.numbers, other.numbers)
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.device_type, self.mesh_dim_names, self.numbers.tobytes()))

    def __repr__(self) -> str:
        names = f", {self.mesh_dim_names}" if self.mesh_dim_names else ""
        return f"DeviceMesh({self.device_type!r}, {self.numbers.tolist()}{names})"


def _check(numbers: np.ndarray, names: tuple[str, ...] | None, there: int, kind: str) -> None:
    if names is not None and len(names) != numbers.ndim:
        raise RuntimeError(f"a mesh of {numbers.ndim} dimensions needs as many names, got {names}")
    if names is not None and len(set(names)) != len(names):
        raise RuntimeError(f"the dimensions of a mesh need different names, got {names}")
    if len(set(numbers.flat)) != numbers.size:
        raise RuntimeError(f"a device comes twice in the mesh {numbers.tolist()}")
    if numbers.size and (numbers.max() >= there or numbers.min() < 0):
        raise RuntimeError(
            f"a mesh of {numbers.size} '{kind}' devices, and there {'is' if there == 1 else 'are'} {there}: start more "
            "processes (flambeau torchrun --nproc_per_node N) and join them with init_process_group(), or have XLA "
            "make more of one CPU (XLA_FLAGS=--xla_force_host_platform_device_count=N)"
        )


def mesh_known(jax_mesh: Any) -> DeviceMesh | None:
    """The mesh that JAX's was made for."""
    return _known.get(jax_mesh)


def init_device_mesh(
    device_type: str, mesh_shape: tuple[int, ...], *, mesh_dim_names: tuple[str, ...] | None = None,
    backend_override: Any = None,
) -> DeviceMesh:  # fmt: skip
    """The mesh of the first devices in this shape.

    If the environment names several processes and they have not been joined, this joins them.

    >>> from flambeau.distributed.device_mesh import init_device_mesh
    >>> init_device_mesh("cpu", (1,), mesh_dim_names=("dp",))
    DeviceMesh('cpu', [0], ('dp',))

    Raises:
        RuntimeError: there are not so many devices, or names are wrong.
    """
    import os

    if not groups.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        groups.init_process_group()
    shape = tuple(mesh_shape)
    if mesh_dim_names is not None and len(mesh_dim_names) != len(shape):
        raise RuntimeError(f"a mesh of {len(shape)} dimensions needs as many names, got {tuple(mesh_dim_names)}")
    if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
        raise RuntimeError(f"mesh_shape should be a tuple of sizes, got {mesh_shape!r}")
    return DeviceMesh(device_type, np.arange(math.prod(shape)).reshape(shape), mesh_dim_names=mesh_dim_names)
