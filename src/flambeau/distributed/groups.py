"""Process groups: joining all processes, and groups of some of them.

A group of one needs nothing but this process. More are joined by `jax.distributed` (`engines/xla/world.py`), over
Gloo between CPUs and NCCL between NVIDIA's GPUs.
"""

from __future__ import annotations

import datetime
import glob
import importlib
import importlib.util
import os
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np

from flambeau.distributed.kinds import Backend
from flambeau.distributed.stores import meeting_place

default_pg_timeout = datetime.timedelta(minutes=30)


class Done:
    """A result that is there."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def done(self) -> bool:
        """True."""
        return True

    def get(self, seconds: float | None = None) -> Any:
        """The result."""
        return self._value


class Alone:
    """The exchanges of a group of one: what comes back is what was given. (`engines.xla.exchange` has the others.)"""

    ranks = (0,)

    def start(self, name: str, kind: str, how: Any, array: Any) -> Done:
        """The result for the only process."""
        if kind == "gather":
            return Done(array.reshape(1, *array.shape))
        return Done(array[0] if kind == "reduce parts" else array)

    def connect(self) -> None:
        """There is nobody to connect to."""


class ProcessGroup:
    """Processes that work together.

    Args:
        backend: its name.
        ranks: the numbers of its processes among all, in order.
        exchange: how they reach each other.
        number: which of them this process is.
    """

    def __init__(self, backend: Backend, ranks: Sequence[int] = (0,), exchange: Any = None, number: int = 0,
                 name: str = "0", seconds: float = 1800.0) -> None:  # fmt: skip
        self.backend = backend
        self.ranks = list(ranks)
        self.exchange = exchange or Alone()
        self.group_name = name
        self.group_desc = "default_pg" if name == "0" else "undefined"
        self.seconds = seconds
        self._number = number
        self._counts: dict[Any, int] = {}
        self.bound_device_id: Any = None

    def rank(self) -> int:
        """This process's number in the group."""
        return self._number

    def size(self) -> int:
        """How many processes there are."""
        return len(self.ranks)

    def name(self) -> str:
        """The backend's name."""
        return str(self.backend)

    @property
    def world(self) -> Any:
        """All processes; None in a group of one."""
        return getattr(self.exchange, "world", None)

    def next(self, what: Any) -> int:
        """0, 1, 2, ... for each `what`: numbers on which all processes of the group agree."""
        count = self._counts[what] = self._counts.get(what, -1) + 1
        return count

    def local(self, rank: int, name: str) -> int:
        """The number in this group of a process. RuntimeError if it is not in it."""
        if rank not in self.ranks:
            raise RuntimeError(f"{name}: rank {rank} is not in a group of {_described(self.ranks)}")
        return self.ranks.index(rank)

    def check_device(self, array: Any, name: str) -> None:
        """RuntimeError for a tensor on the CPU in a group that only reaches GPUs, and the other way round."""
        kind = "cpu" if isinstance(array, np.ndarray) else array.device.type
        backend = str(self.backend)
        if ":" not in backend and backend == "nccl" and kind != "cuda":
            raise RuntimeError(
                f"{name}: No backend type associated with device type {kind}: this group's is 'nccl', for tensors on "
                "GPUs; move the tensor, or join with backend='gloo' or 'cpu:gloo,cuda:nccl'"
            )

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.backend!s}: rank {self.rank()} of {self.size()}>"


def _described(ranks: list[int]) -> str:
    return "one process" if len(ranks) == 1 else f"the ranks {', '.join(map(str, ranks))}"


class _Group:
    """`group.WORLD`: the group of all, None before it is joined."""

    WORLD: ProcessGroup | None = None
    NON_GROUP_MEMBER = -100


group = GroupMember = _Group

#: What the group of several processes stands on, to be left with it.
_held: dict[str, Any] = {}


# --- joining ----------------------------------------------------------------------------------------------------------


def is_initialized() -> bool:
    """Whether this process has joined a group."""
    return group.WORLD is not None


def _number(name: str, given: int, found: dict[str, str], reads: bool) -> int:
    if given >= 0:
        return given
    if name.lower() in found:
        return int(found[name.lower()])
    if reads and name not in os.environ:
        raise ValueError(
            f"init_process_group reads {name} from the environment and it is not set: start the program with "
            "`flambeau torchrun`, set RANK=0 and WORLD_SIZE=1, or pass rank and world_size"
        )
    if not reads:
        raise ValueError(f"init_process_group: {name.lower()} is needed with this init_method")
    return int(os.environ[name])


def _environment(name: str) -> str:
    if name not in os.environ:
        raise ValueError(
            f"init_process_group reads {name} from the environment and it is not set: it and its kin (MASTER_ADDR, "
            "MASTER_PORT, RANK, WORLD_SIZE) are what `flambeau torchrun` sets"
        )
    return os.environ[name]


def _meeting(method: str | None, rank: int, size: int, seconds: float) -> tuple[str, int, int]:
    """The address at which the processes meet ("" for a group of one), rank, and their number."""
    method = method or "env://"
    parts = urlparse(method)
    asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
    reads = parts.scheme == "env"
    rank, size = (_number(name, given, asked, reads) for name, given in (("RANK", rank), ("WORLD_SIZE", size)))
    if not 0 <= rank < size:
        raise ValueError(f"init_process_group: rank {rank} is not one of {size} processes, numbered from 0")
    if parts.scheme == "tcp":
        if not parts.hostname or not parts.port:
            raise ValueError(f"init_process_group: {method!r} should be tcp://HOST:PORT")
        address = f"{parts.hostname}:{parts.port}"
    elif parts.scheme == "file":
        address = _from_file(parts.netloc + parts.path, rank, seconds) if size > 1 else ""
    elif reads:
        address = f"{_environment('MASTER_ADDR')}:{_environment('MASTER_PORT')}" if size > 1 else ""
    else:
        raise RuntimeError(f"init_process_group: {method!r} should begin with env://, tcp:// or file://")
    return address, rank, size


def _from_file(path: str, rank: int, seconds: float) -> str:
    """The address that rank 0 has written into a file that all see."""
    if rank == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            address = f"{socket.gethostbyname(socket.gethostname())}:{probe.getsockname()[1]}"
        with open(path + ".new", "w") as file:
            file.write(address)
        os.replace(path + ".new", path)
        return address
    end = time.monotonic() + seconds
    while True:
        try:
            with open(path) as file:
                if address := file.read().strip():
                    return address
        except FileNotFoundError:
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"init_process_group: rank 0 did not write its address into {path} in {seconds:.0f} s")
        time.sleep(0.05)


def _need_jax(size: int) -> None:
    try:
        found = importlib.util.find_spec("jax")
    except ValueError:  # a module without a description stands in its place
        found = None
    if found is None:
        raise RuntimeError(
            f"init_process_group: {size} processes are joined through JAX, which is not installed: pip install "
            "'flambeau[xla]'. (A group of one, WORLD_SIZE=1, needs nothing.)"
        )


def _gpu(name: str, rank: int, device_id: Any) -> int | None:
    """The GPU of this process, if it is to have one to itself."""
    if "nccl" not in name:
        return None
    count = len(glob.glob("/dev/nvidia[0-9]*"))
    if count == 0:
        raise RuntimeError(
            f"init_process_group: the backend '{name}' is for GPUs, and there are none; ask for 'gloo', or guard with "
            "torch.cuda.is_available()"
        )
    index = getattr(device_id, "index", device_id)
    if index is None:
        index = int(os.environ.get("LOCAL_RANK", rank % count))
    return int(index)


def _checked(name: Backend) -> Backend:
    for part in name.split(","):
        if part.partition(":")[2] not in ("gloo", "nccl") and part not in ("gloo", "nccl"):
            raise RuntimeError(
                f"init_process_group: the backend '{part}' is not here; ask for 'gloo', or 'nccl' on GPUs"
            )
    return name


def init_process_group(backend: str | None = None, init_method: str | None = None, timeout: Any = None,
                       world_size: int = -1, rank: int = -1, store: Any = None, group_name: str = "",
                       pg_options: Any = None, device_id: Any = None, **kwargs: Any) -> None:  # fmt: skip
    """Join the group of all processes; returns when all are there.

    Args:
        backend: 'gloo' (tensors on 'cpu' and 'xla'), 'nccl' (on 'cuda'), or both, 'cpu:gloo,cuda:nccl'. By default
            both where there are GPUs.
        init_method: where they meet: 'env://' (the default: MASTER_ADDR and MASTER_PORT in the environment, and RANK
            and WORLD_SIZE if not given), 'tcp://HOST:PORT' or 'file:///PATH'.
        timeout: a timedelta: how long to wait for the others, here and in collectives; by default 30 minutes.
        world_size, rank: how many processes there are, and which this one is.
        store: instead of `init_method`, with `world_size` and `rank`: rank 0 writes there where they meet.
        device_id: the GPU of this process; by default LOCAL_RANK says.

    Raises:
        ValueError: the group is joined already, or the environment does not say what is needed.
        RuntimeError: the others did not come in time, JAX is needed and missing, or there is no such backend.
    """
    if is_initialized():
        raise ValueError("the process group is joined already: call destroy_process_group() first")
    seconds = (timeout or default_pg_timeout).total_seconds()
    if store is None:
        address, number, size = _meeting(init_method, rank, world_size, seconds)
    else:
        if init_method is not None or not 0 <= rank < world_size:
            raise ValueError("init_process_group: a store takes the place of init_method, with rank and world_size")
        number, size = rank, world_size
        address = meeting_place(store, rank) if size > 1 else ""
    name = _checked(Backend(backend or "gloo"))
    if size == 1:
        _gpu(name, number, device_id)
        group.WORLD = ProcessGroup(name, seconds=seconds)
        return
    _need_jax(size)
    if backend is None and glob.glob("/dev/nvidia[0-9]*"):
        name = Backend("cpu:gloo,cuda:nccl")
    engine = importlib.import_module("flambeau.engines.xla.world")
    exchange = importlib.import_module("flambeau.engines.xla.exchange")
    world = engine.World(address, size, number, seconds, _gpu(name, number, device_id))
    line = exchange.Line()
    group.WORLD = ProcessGroup(
        name, range(size), exchange.Exchange(world, line, list(range(size)), seconds), number, seconds=seconds
    )
    _held.update(world=world, line=line, made=0)
    group.WORLD.exchange.connect()


def destroy_process_group(group: Any = None) -> None:
    """Leave the group; of the group of all, when the others leave it too."""
    if _Group.WORLD is None:
        raise AssertionError("there is no process group to leave: call init_process_group() first")
    if group is not None and group is not _Group.WORLD:
        return
    _Group.WORLD = None
    if "world" in _held:
        _held["line"].end()
        _held["world"].leave()
    _held.clear()


def joined(which: Any = None) -> ProcessGroup:
    """The group given, or that of all. ValueError if none is joined, or this process is not in it."""
    if isinstance(which, ProcessGroup):
        return which
    if which == _Group.NON_GROUP_MEMBER and which is not None:
        raise ValueError("this process is not in the group")
    if _Group.WORLD is None:
        raise ValueError("the default process group has not been joined: call init_process_group() first")
    return _Group.WORLD


def _outside(which: Any) -> bool:
    return isinstance(which, int) and which == _Group.NON_GROUP_MEMBER


# --- questions --------------------------------------------------------------------------------------------------------


def get_rank(group: Any = None) -> int:
    """This process's number in its group; -1 if it is not in it. ValueError before a group is joined."""
    return -1 if _outside(group) else joined(group).rank()


def get_world_size(group: Any = None) -> int:
    """The number of processes in the group; -1 if this one is not in it. ValueError before a group is joined."""
    return -1 if _outside(group) else joined(group).size()


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This process's number on its machine, from `LOCAL_RANK`; else the one given. RuntimeError if there is neither."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is None:
        raise RuntimeError("LOCAL_RANK is not set, which says a process's number on its machine; pass fallback_rank")
    return int(fallback_rank)


def get_backend(group: Any = None) -> str:
    """The name that `init_process_group` was given. ValueError before a group is joined."""
    return joined(group).backend


def get_process_group_ranks(group: Any) -> list[int]:
    """The numbers among all of a group's processes."""
    return list(joined(group).ranks)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The number among all of a group's process."""
    ranks = joined(group).ranks
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"get_global_rank: a group of {len(ranks)} has no rank {group_rank}")
    return ranks[group_rank]


def get_group_rank(group: Any, global_rank: int) -> int:
    """The number in a group of a process."""
    ranks = joined(group).ranks
    if global_rank not in ranks:
        raise ValueError(f"get_group_rank: rank {global_rank} is not in a group of {_described(ranks)}")
    return ranks.index(global_rank)


def get_pg_count() -> int:
    """How many groups there are."""
    return (group.WORLD is not None) + _held.get("made", 0)


# --- groups of some ---------------------------------------------------------------------------------------------------


def new_group(ranks: Any = None, timeout: Any = None, backend: str | None = None, pg_options: Any = None,
              use_local_synchronization: bool = False, group_desc: str | None = None, device_id: Any = None,
              **kwargs: Any) -> Any:  # fmt: skip
    """A group of some of the processes. All processes call it, with the same ranks.

    Returns the group, or in a process that is not in it `GroupMember.NON_GROUP_MEMBER`.
    """
    world = joined()
    chosen = list(world.ranks) if ranks is None else list(ranks)
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"new_group: a rank comes twice in {chosen}")
    for r in chosen:
        world.local(r, "new_group")
    chosen.sort()
    name = world.next("groups") + 1
    _held["made"] = _held.get("made", 0) + 1
    me = world.ranks[world.rank()]
    if me not in chosen:
        return _Group.NON_GROUP_MEMBER
    seconds = world.seconds if timeout is None else timeout.total_seconds()
    kind = Backend(backend) if backend else world.backend
    exchange = None
    if len(chosen) > 1:
        module = importlib.import_module("flambeau.engines.xla.exchange")
        exchange = module.Exchange(_held["world"], _held["line"], chosen, seconds)
        exchange.connect()
    made = ProcessGroup(kind, chosen, exchange, chosen.index(me), str(name), seconds)
    made.group_desc = group_desc or "undefined"
    return made


def new_subgroups(group_size: int | None = None, group: Any = None, timeout: Any = None, backend: str | None = None,
                  pg_options: Any = None, group_desc: str | None = None) -> tuple[Any, list]:  # fmt: skip
    """All processes in groups of `group_size` neighbours. Returns this process's group and the list of all."""
    world = joined(group)
    size = group_size or int(os.environ.get("LOCAL_WORLD_SIZE", world.size()))
    if size < 1 or world.size() % size:
        raise ValueError(f"new_subgroups: {world.size()} processes do not make groups of {size}")
    lists = [world.ranks[i : i + size] for i in range(0, world.size(), size)]
    return new_subgroups_by_enumeration(lists, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: list, timeout: Any = None, backend: str | None = None, pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list]:  # fmt: skip
    """Groups of these lists of ranks, which have none in common. Returns this process's group and the list of all."""
    flat = [r for ranks in ranks_per_subgroup_list for r in ranks]
    if len(set(flat)) != len(flat):
        raise ValueError("new_subgroups_by_enumeration: a rank is in two groups")
    mine, made = None, []
    for ranks in ranks_per_subgroup_list:
        made.append(new_group(ranks, timeout, backend, pg_options, group_desc=group_desc))
        if get_rank() in ranks:
            mine = made[-1]
    return mine, made


def group_of(ranks: list[int]) -> ProcessGroup:
    """The group of these processes, this one among them: only they call this, and it is made once."""
    if not is_initialized() and ranks == [0]:  # a process that drives all devices needs no group
        return ProcessGroup(Backend("gloo"))
    world = joined()
    if ranks == world.ranks:
        return world
    made = _held.setdefault("of", {})
    if tuple(ranks) not in made:
        exchange = None
        if len(ranks) > 1:
            module = importlib.import_module("flambeau.engines.xla.exchange")
            exchange = module.Exchange(_held["world"], _held["line"], ranks, world.seconds)
            exchange.connect()
        name = "of " + ",".join(map(str, ranks))
        number = ranks.index(world.ranks[world.rank()])
        made[tuple(ranks)] = ProcessGroup(world.backend, ranks, exchange, number, name, world.seconds)
    return made[tuple(ranks)]
