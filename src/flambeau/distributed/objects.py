"""Collectives of any Python objects, which travel as pickles."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from flambeau.distributed.collectives import _list, _root
from flambeau.distributed.groups import ProcessGroup, joined

__all__ = ["all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list"]


def _gathered(group: ProcessGroup, name: str, data: bytes) -> list[bytes]:
    """The bytes of every process."""
    start = group.exchange.start
    sizes = start(name, "gather", None, np.array([len(data)], np.int64)).get().reshape(-1)
    most = int(sizes.max())
    padded = np.frombuffer(data + bytes(most - len(data)), np.uint8)
    rows = start(name, "gather", None, padded).get()
    return [bytes(row[:size]) for row, size in zip(rows, sizes, strict=True)]


def _sent(group: ProcessGroup, name: str, data: bytes | None, root: int) -> bytes:
    """The bytes of one process, in all."""
    start = group.exchange.start
    size = int(start(name, "broadcast", root, np.array([len(data or b"")], np.int64)).get()[0])
    given = np.frombuffer(data, np.uint8) if data is not None else np.zeros(size, np.uint8)
    return bytes(start(name, "broadcast", root, given).get())


def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    """A copy of each process's object, into its place in `object_list`."""
    within = joined(group)
    _list(object_list, within, "all_gather_object", "object_list")
    object_list[:] = [pickle.loads(data) for data in _gathered(within, "all_gather_object", pickle.dumps(obj))]


def gather_object(obj: Any, object_gather_list: list | None = None, dst: int | None = None, group: Any = None,
                  group_dst: int | None = None) -> None:  # fmt: skip
    """As `all_gather_object`, for the process `dst`, which alone passes a list."""
    within = joined(group)
    root = _root(dst, group_dst, within, "gather_object", "dst")
    if within.rank() == root:
        _list(object_gather_list, within, "gather_object", "object_gather_list")
    elif object_gather_list:
        raise ValueError("gather_object: only the process that receives passes an object_gather_list")
    found = _gathered(within, "gather_object", pickle.dumps(obj))
    if object_gather_list is not None and within.rank() == root:
        object_gather_list[:] = [pickle.loads(data) for data in found]


def broadcast_object_list(object_list: list, src: int | None = None, group: Any = None, device: Any = None,
                          group_src: int | None = None) -> None:  # fmt: skip
    """Gives all processes the objects of `src`, in place."""
    within = joined(group)
    root = _root(src, group_src, within, "broadcast_object_list", "src")
    mine = pickle.dumps(list(object_list)) if within.rank() == root else None
    data = _sent(within, "broadcast_object_list", mine, root)
    if mine is None:
        found = pickle.loads(data)
        if len(found) != len(object_list):
            raise ValueError(
                f"broadcast_object_list: {len(found)} objects came, and there are {len(object_list)} places"
            )
        object_list[:] = found


def scatter_object_list(scatter_object_output_list: list, scatter_object_input_list: list | None = None,
                        src: int | None = None, group: Any = None, group_src: int | None = None) -> None:  # fmt: skip
    """Gives each process its object of the list of `src`, in the first place of `scatter_object_output_list`."""
    within = joined(group)
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("scatter_object_list: scatter_object_output_list should be a list with a place")
    root = _root(src, group_src, within, "scatter_object_list", "src")
    mine = None
    if within.rank() == root:
        given = _list(scatter_object_input_list, within, "scatter_object_list", "scatter_object_input_list")
        mine = pickle.dumps([pickle.dumps(o) for o in given])
    found = pickle.loads(_sent(within, "scatter_object_list", mine, root))
    scatter_object_output_list[0] = pickle.loads(found[within.rank()])
