"""From one process to another: `send` and `recv`, which need no third to take part.

Tensors travel through the service that joins the processes, which keeps them until they are asked for: so `send` never
waits for `recv`, and no order of calls blocks. For much data, collectives are faster.
"""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import no_grad
from flambeau.distributed.collectives import _array
from flambeau.distributed.groups import ProcessGroup, joined
from flambeau.distributed.kinds import P2POp, Work
from flambeau.engines.arrays import host
from flambeau.ops.dispatch import wrap
from flambeau.tensor.tensor import Tensor

__all__ = ["batch_isend_irecv", "irecv", "isend", "recv", "recv_object_list", "send", "send_object_list"]


def _peer(rank: int | None, in_group: int | None, name: str, word: str, group: ProcessGroup) -> int:
    """The number in the group of the other process."""
    if (rank is None) == (in_group is None):
        raise ValueError(f"{name}: say which process, by {word} or by group_{word}")
    if group.size() == 1:
        raise ValueError(f"torch.distributed.{name}: there is no other process in a group of one")
    peer = group.local(rank, name) if rank is not None else in_group
    if peer == group.rank():
        raise ValueError(f"{name}: rank {group.ranks[peer]} is this process itself")
    assert peer is not None
    return peer


def _key(group: ProcessGroup, source: int, target: int, tag: int, count: int) -> str:
    return f"flambeau/pair/{group.group_name}/{source}-{target}/{tag}/{count}"


def _post(group: ProcessGroup, peer: int, tag: int, data: bytes) -> None:
    count = group.next(("sent", peer, tag))
    group.world.post(_key(group, group.rank(), peer, tag, count), data)


class _Arriving:
    """Bytes that another process sends, or has sent."""

    def __init__(self, group: ProcessGroup, name: str, peer: int | None, tag: int) -> None:
        self._group, self._name = group, name
        self._tag = tag
        others = [r for r in range(group.size()) if r != group.rank()] if peer is None else [peer]
        self._any = peer is None
        self._counts = {r: group._counts.get(("got", r, tag), -1) + 1 for r in others}
        if peer is not None:  # from any: it is only known later whose turn it was
            group.next(("got", peer, tag))

    def _key_of(self, source: int) -> str:
        count = self._counts[source]
        if self._any:
            count = self._group._counts.get(("got", source, self._tag), -1) + 1
        return _key(self._group, source, self._group.rank(), self._tag, count)

    def done(self) -> bool:
        """Whether they are there."""
        return any(self._group.world.posted(self._key_of(r)) for r in self._counts)

    def get(self, seconds: float | None = None) -> tuple[int, bytes]:
        """Who sent them, and the bytes, when they are there."""
        group, start, pause = self._group, time.monotonic(), 0.0005
        limit = group.seconds if seconds is None else seconds
        checked = start
        while True:
            for source in self._counts:
                key = self._key_of(source)
                if group.world.posted(key):
                    if self._any:
                        group.next(("got", source, self._tag))
                    return source, group.world.fetch(key)
            now = time.monotonic()
            if now - start > limit:
                raise RuntimeError(f"{self._name}: nothing came from {self._sources()} within {limit:.0f} s")
            if now - checked > 2:
                checked = now
                if gone := group.world.missing([group.ranks[r] for r in self._counts]):
                    raise RuntimeError(f"{self._name}: {gone}; this is rank {group.ranks[group.rank()]}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _sources(self) -> str:
        return "rank " + " or ".join(str(self._group.ranks[r]) for r in self._counts)


def isend(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
          group_dst: int | None = None) -> Work:  # fmt: skip
    """Starts sending a tensor to the process `dst`. The tensor may be changed at once."""
    within = joined(group)
    peer = _peer(dst, group_dst, "isend", "dst", within)
    array = np.ascontiguousarray(host(_array(tensor, within, "isend")))
    _post(within, peer, tag, array.reshape(-1).view(np.uint8).tobytes())
    return Work()


def irecv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
          group_src: int | None = None) -> Work:  # fmt: skip
    """Starts receiving into a tensor, from the process `src` or, without one, from any. After `wait()` it is there, and
    `result()` is the rank that it came from.

    Raises:
        RuntimeError: at `wait()`: what came has another size, or the other process is gone.
    """
    within = joined(group)
    peer = None
    if src is not None or group_src is not None or within.size() == 1:
        peer = _peer(src, group_src, "irecv", "src", within)
    array = _array(tensor, within, "irecv")

    def finish(arrived: tuple[int, bytes]) -> int:
        source, data = arrived
        if len(data) != array.size * array.itemsize:
            raise RuntimeError(
                f"recv: {len(data)} bytes came from rank {within.ranks[source]}, and the tensor of shape "
                f"{tuple(tensor.shape)} and {dtypes.of_numpy(array.dtype)} has {array.size * array.itemsize}"
            )
        with no_grad():
            tensor.copy_(wrap(np.frombuffer(data, np.uint8).view(_plain(array.dtype)).reshape(array.shape)))
        return within.ranks[source]

    return Work(_Arriving(within, "recv", peer, tag), finish)


def _plain(dtype: np.dtype) -> np.dtype:
    return dtypes.of_numpy(dtype).numpy


def send(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> None:
    """Sends a tensor to the process `dst`."""
    _peer(dst, group_dst, "send", "dst", joined(group))
    isend(tensor, dst, group, tag, group_dst).wait()


def recv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> int:
    """Receives into a tensor, from the process `src` or, without one, from any. Returns the rank that it came from."""
    return irecv(tensor, src, group, tag, group_src).result()


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Starts all of these sends and receives."""
    if not p2p_op_list or not all(isinstance(p, P2POp) for p in p2p_op_list):
        raise ValueError("batch_isend_irecv: a list of P2POp is needed")
    works = []
    for p in p2p_op_list:
        where = {"group_dst" if p.op is isend else "group_src": p.group_peer}
        works.append(p.op(p.tensor, p.peer, p.group, p.tag, **where))
    return works


def send_object_list(object_list: list, dst: int | None = None, group: Any = None, device: Any = None,
                     group_dst: int | None = None, **kwargs: Any) -> None:  # fmt: skip
    """Sends objects to the process `dst`, as a pickle."""
    within = joined(group)
    _post(within, _peer(dst, group_dst, "send_object_list", "dst", within), -1, pickle.dumps(list(object_list)))


def recv_object_list(object_list: list, src: int | None = None, group: Any = None, device: Any = None,
                     group_src: int | None = None, **kwargs: Any) -> int:  # fmt: skip
    """Receives objects into a list, of as many places as were sent. Returns the rank that they came from."""
    within = joined(group)
    peer = None
    if src is not None or group_src is not None or within.size() == 1:
        peer = _peer(src, group_src, "recv_object_list", "src", within)
    source, data = _Arriving(within, "recv_object_list", peer, -1).get()
    found = pickle.loads(data)
    if len(found) != len(object_list):
        raise RuntimeError(f"recv_object_list: {len(found)} objects came, and there are {len(object_list)} places")
    object_list[:] = found
    return within.ranks[source]
