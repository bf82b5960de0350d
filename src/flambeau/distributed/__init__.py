"""`torch.distributed` for a group of one process.

Programs written for many processes run as they are with a world of one, as `torchrun --nproc_per_node=1` starts them:
the group is joined, collectives give what they give there, `DistributedDataParallel` averages over one. A larger world
is refused with an error, never faked.
"""

from __future__ import annotations

import datetime
import enum
import os
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

from flambeau.tensor.tensor import Tensor

__all__ = [
    "Backend", "GroupMember", "P2POp", "ProcessGroup", "ReduceOp", "Work", "all_gather", "all_gather_into_tensor",
    "all_gather_object", "all_reduce", "all_to_all", "all_to_all_single", "barrier", "broadcast",
    "broadcast_object_list", "destroy_process_group", "gather", "gather_object", "get_backend", "get_global_rank",
    "get_group_rank", "get_process_group_ranks", "get_rank", "get_world_size", "group", "init_process_group", "irecv",
    "is_available", "is_backend_available", "is_gloo_available", "is_initialized", "is_mpi_available",
    "is_nccl_available", "is_torchelastic_launched", "isend", "monitored_barrier", "new_group", "recv", "reduce",
    "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
]  # fmt: skip

default_pg_timeout = datetime.timedelta(minutes=30)
DistError = DistNetworkError = DistStoreError = RuntimeError


class ReduceOp(enum.Enum):
    """How the tensors of a group become one."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8

    def __str__(self) -> str:
        return f"RedOpType.{self.name}"


class Backend(str):
    """The name of a backend, in small letters."""

    UNDEFINED, GLOO, NCCL, MPI, UCC, XCCL = "undefined", "gloo", "nccl", "mpi", "ucc", "xccl"

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"a backend is named by a string, got {name!r}")
        return super().__new__(cls, name.lower())


class ProcessGroup:
    """Processes that work together: this one alone."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def rank(self) -> int:
        """This process's number: 0."""
        return 0

    def size(self) -> int:
        """How many processes there are: 1."""
        return 1

    def name(self) -> str:
        """The backend's name."""
        return str(self.backend)


class Work:
    """A collective that has been started; here it is done at once."""

    def __init__(self, result: Any = None) -> None:
        self._result = result

    def wait(self, timeout: Any = None) -> bool:
        """True: it is done."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True

    is_success = is_completed

    def result(self) -> Any:
        """What the collective gave."""
        return self._result

    def get_future(self) -> Work:
        """Itself."""
        return self

    value = result


class _Group:
    """`group.WORLD`: the group of all, None before it is joined."""

    WORLD: ProcessGroup | None = None


group = GroupMember = _Group
GroupMember.NON_GROUP_MEMBER = -100  # type: ignore[attr-defined]


class P2POp:
    """A send or a receive for `batch_isend_irecv`; a group of one has nobody to send to."""

    def __init__(self, op: Callable, tensor: Tensor, peer: int | None = None, group: Any = None, tag: int = 0,
                 group_peer: int | None = None) -> None:  # fmt: skip
        _alone("P2POp")


def is_available() -> bool:
    """Whether process groups can be joined: yes, of one process."""
    return True


def is_initialized() -> bool:
    """Whether this process has joined a group."""
    return group.WORLD is not None


def is_torchelastic_launched() -> bool:
    """Whether an elastic launcher started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_gloo_available() -> bool:
    """Whether the backend 'gloo', that of CPUs, can be asked for: yes."""
    return True


def is_nccl_available() -> bool:
    """Whether the backend of NVIDIA's GPUs can be asked for: no."""
    return False


def is_mpi_available() -> bool:
    """Whether MPI can be asked for: no."""
    return False


is_ucc_available = is_xccl_available = is_mpi_available


def is_backend_available(backend: str) -> bool:
    """Whether a backend can be asked for."""
    return backend.lower() == "gloo"


def get_default_backend_for_device(device: Any) -> str:
    """The backend that a device's tensors use: 'gloo' for the CPU."""
    return "nccl" if str(device).startswith("cuda") else "gloo"


def _world(init_method: str | None, world_size: int, rank: int) -> tuple[int, int]:
    """Rank and number of processes, from the arguments or, as `env://` says, from the environment."""
    found = []
    for name, given in (("RANK", rank), ("WORLD_SIZE", world_size)):
        if given < 0 and (init_method is None or init_method.startswith("env://")):
            if name not in os.environ:
                raise ValueError(
                    f"init_process_group reads {name} from the environment and it is not set: set RANK=0 and "
                    "WORLD_SIZE=1, or pass rank and world_size"
                )
            given = int(os.environ[name])
        found.append(given)
    return found[0], found[1]


def init_process_group(backend: str | None = None, init_method: str | None = None, timeout: Any = None,
                       world_size: int = -1, rank: int = -1, store: Any = None, group_name: str = "",
                       pg_options: Any = None, device_id: Any = None) -> None:  # fmt: skip
    """Join the group of all processes, of which there is one.

    Args:
        backend: any; tensors stay where they are. By default 'gloo'.
        world_size, rank: 1 and 0; by default what the environment says in `WORLD_SIZE` and `RANK`.

    Raises:
        ValueError: the group is joined already, or the environment says nothing.
        RuntimeError: more than one process, or a backend that needs GPUs.
    """
    if is_initialized():
        raise ValueError("the process group is joined already: call destroy_process_group() first")
    number, size = _world(init_method, world_size, rank)
    if size > 1 or number > 0:
        raise RuntimeError(
            f"init_process_group: rank {number} of {size} processes, and flambeau joins no processes: it runs a group "
            "of one. Start the program once, with WORLD_SIZE=1"
        )
    name = Backend(backend or "gloo")
    if name in ("nccl", "xccl", "mpi", "ucc"):
        raise RuntimeError(f"init_process_group: the backend '{name}' is not here; ask for 'gloo'")
    group.WORLD = ProcessGroup(name)


def destroy_process_group(group: Any = None) -> None:
    """Leave the group."""
    if group is None or group is _Group.WORLD:
        _Group.WORLD = None


def _joined(which: Any = None) -> ProcessGroup:
    if isinstance(which, ProcessGroup):
        return which
    if _Group.WORLD is None:
        raise ValueError("the default process group has not been joined: call init_process_group() first")
    return _Group.WORLD


def get_rank(group: Any = None) -> int:
    """This process's number in its group, 0. ValueError before a group is joined."""
    return _joined(group).rank()


def get_world_size(group: Any = None) -> int:
    """The number of processes in the group, 1. ValueError before a group is joined."""
    return _joined(group).size()


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This process's number on its machine, from `LOCAL_RANK`."""
    return int(os.environ.get("LOCAL_RANK", 0 if fallback_rank is None else fallback_rank))


def get_backend(group: Any = None) -> str:
    """The name that `init_process_group` was given. ValueError before a group is joined."""
    return _joined(group).backend


def get_process_group_ranks(group: Any) -> list[int]:
    """The numbers of a group's processes: [0]."""
    _joined(group)
    return [0]


def get_global_rank(group: Any, group_rank: int) -> int:
    """The number among all of a group's process."""
    return _peer(group_rank, group, "get_global_rank")


def get_group_rank(group: Any, global_rank: int) -> int:
    """The number in a group of a process."""
    return _peer(global_rank, group, "get_group_rank")


def new_group(ranks: Any = None, timeout: Any = None, backend: str | None = None, pg_options: Any = None,
              **kwargs: Any) -> ProcessGroup:  # fmt: skip
    """A group of some of the processes: again this one alone."""
    world = _joined()
    for r in ranks or ():
        _peer(r, None, "new_group")
    return ProcessGroup(Backend(backend) if backend else world.backend)


def _peer(rank: int | None, which: Any, name: str) -> int:
    _joined(which)
    if rank not in (0, None):
        raise RuntimeError(f"{name}: rank {rank} is not in a group of one process")
    return 0


def _done(async_op: bool, result: Any = None) -> Work | None:
    return Work(result) if async_op else None


def _one(tensors: Any, name: str) -> None:
    if not isinstance(tensors, (list, tuple)) or len(tensors) != 1:
        raise ValueError(f"{name}: a list with a tensor per process, that is of one, is needed")


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Reduces the tensors of all processes, in place: over one it stays as it is."""
    _joined(group)
    return _done(async_op, [tensor])


def reduce(tensor: Tensor, dst: int | None = None, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False,
           group_dst: int | None = None) -> Work | None:  # fmt: skip
    """As `all_reduce`, for the process `dst`."""
    _peer(dst, group, "reduce")
    return _done(async_op, [tensor])


def broadcast(tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False,
              group_src: int | None = None) -> Work | None:  # fmt: skip
    """Gives all processes the tensor of `src`, in place."""
    _peer(src, group, "broadcast")
    return _done(async_op, [tensor])


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Copies the tensor of each process into its place in `tensor_list`."""
    _joined(group)
    _one(tensor_list, "all_gather")
    tensor_list[0].copy_(tensor)
    return _done(async_op, tensor_list)


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: Any = None,
                           async_op: bool = False) -> Work | None:  # fmt: skip
    """Copies the tensors of all processes into one."""
    _joined(group)
    output_tensor.copy_(input_tensor.reshape(output_tensor.shape))
    return _done(async_op, [output_tensor])


def gather(tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None, group: Any = None,
           async_op: bool = False, group_dst: int | None = None) -> Work | None:  # fmt: skip
    """As `all_gather`, for the process `dst`."""
    _peer(dst, group, "gather")
    return all_gather(gather_list or [], tensor, group, async_op)


def scatter(tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None, group: Any = None,
            async_op: bool = False, group_src: int | None = None) -> Work | None:  # fmt: skip
    """Gives each process its tensor of the list of `src`."""
    _peer(src, group, "scatter")
    _one(scatter_list, "scatter")
    tensor.copy_(scatter_list[0])  # type: ignore[index]
    return _done(async_op, [tensor])


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None,
                   async_op: bool = False) -> Work | None:  # fmt: skip
    """Reduces lists of tensors, and gives each process its place of the result."""
    return scatter(output, input_list, 0, group, async_op)


def reduce_scatter_tensor(output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None,
                          async_op: bool = False) -> Work | None:  # fmt: skip
    """Reduces tensors, and gives each process its part of the result."""
    return all_gather_into_tensor(output, input, group, async_op)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None,
               async_op: bool = False) -> Work | None:  # fmt: skip
    """Each process sends a tensor to each, itself included."""
    _one(input_tensor_list, "all_to_all")
    return all_gather(output_tensor_list, input_tensor_list[0], group, async_op)


def all_to_all_single(output: Tensor, input: Tensor, output_split_sizes: Any = None, input_split_sizes: Any = None,
                      group: Any = None, async_op: bool = False) -> Work | None:  # fmt: skip
    """Each process sends a part of a tensor to each, itself included."""
    return all_gather_into_tensor(output, input, group, async_op)


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # what other processes would get: an object of their own


def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    """A copy of each process's object, into its place in `object_list`."""
    _joined(group)
    _one(object_list, "all_gather_object")
    object_list[0] = _copy(obj)


def gather_object(obj: Any, object_gather_list: list | None = None, dst: int | None = None, group: Any = None,
                  group_dst: int | None = None) -> None:  # fmt: skip
    """As `all_gather_object`, for the process `dst`."""
    _peer(dst, group, "gather_object")
    all_gather_object(object_gather_list or [], obj, group)


def broadcast_object_list(object_list: list, src: int | None = None, group: Any = None, device: Any = None,
                          group_src: int | None = None) -> None:  # fmt: skip
    """Gives all processes the objects of `src`."""
    _peer(src, group, "broadcast_object_list")


def scatter_object_list(scatter_object_output_list: list, scatter_object_input_list: list | None = None,
                        src: int | None = None, group: Any = None, group_src: int | None = None) -> None:  # fmt: skip
    """Gives each process its object of the list of `src`."""
    _peer(src, group, "scatter_object_list")
    _one(scatter_object_input_list, "scatter_object_list")
    scatter_object_output_list[0] = _copy(scatter_object_input_list[0])  # type: ignore[index]


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Waits until all processes are here: they are."""
    _joined(group)
    return _done(async_op)


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """As `barrier`."""
    barrier(group)


def _alone(name: str) -> NoReturn:
    _joined()
    raise ValueError(f"torch.distributed.{name}: there is no other process in a group of one")


def send(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> None:
    """ValueError: there is nobody to send to."""
    _alone("send")


def recv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> int:
    """ValueError: there is nobody to receive from."""
    _alone("recv")


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """ValueError: there is no other process."""
    _alone("batch_isend_irecv")


def send_object_list(object_list: list, dst: int | None = None, group: Any = None, **kwargs: Any) -> None:
    """ValueError: there is nobody to send to."""
    _alone("send_object_list")


def recv_object_list(object_list: list, src: int | None = None, group: Any = None, **kwargs: Any) -> int:
    """ValueError: there is nobody to receive from."""
    _alone("recv_object_list")


def isend(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
          group_dst: int | None = None) -> Work:  # fmt: skip
    """ValueError: there is nobody to send to."""
    _alone("isend")


def irecv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
          group_src: int | None = None) -> Work:  # fmt: skip
    """ValueError: there is nobody to receive from."""
    _alone("irecv")
