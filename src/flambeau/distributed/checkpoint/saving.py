"""Saving: each process writes the parts that it has, and the first one writes the index."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import Future
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.distributed.checkpoint.storage import INDEX, Team, flattened, folder_of, read_index, write_index
from flambeau.distributed.tensor.layout import spread_of
from flambeau.engines.arrays import host
from flambeau.errors import CheckpointError
from flambeau.ops.dispatch import wrap
from flambeau.serialization import save as save_objects
from flambeau.serialization.safetensors import save_file
from flambeau.tensor.tensor import Tensor

__all__ = ["async_save", "save", "save_state_dict"]


def _parts(tensor: Tensor) -> list[tuple[list[int], Any]]:
    """Where the parts of a tensor begin that this process is to save, and their values."""
    if spread_of(tensor) is None:
        return [([0] * tensor.dim(), host(tensor.detach()._a))]
    shards = tensor._a.value.addressable_shards  # type: ignore[attr-defined]
    return [([s.start or 0 for s in shard.index], np.asarray(shard.data)) for shard in shards if shard.replica_id == 0]


def _described(value: Any) -> dict[str, Any]:
    """What the others need to know of a leaf."""
    if not isinstance(value, Tensor):
        return {"kind": "object"}
    dtype = str(value.dtype).removeprefix("torch.").removeprefix("flambeau.")
    return {"kind": "tensor", "dtype": dtype, "shape": list(value.shape), "spread": spread_of(value) is not None}


def save(state_dict: dict[str, Any], *, checkpoint_id: Any = None, storage_writer: Any = None, planner: Any = None,
         process_group: Any = None, no_dist: bool = False, use_collectives: bool = True) -> dict[str, Any]:  # fmt: skip
    """Saves a nested state; all processes call this, and all return when it is whole on disk.

    Of a tensor over a mesh (`DTensor`) every process writes its own parts, each part once. Other values are written by
    the first process that has them. Values with `state_dict()` and `load_state_dict()` are saved by these.

    Args:
        checkpoint_id: the folder. A checkpoint that is there is replaced when the new one is whole.
        storage_writer: instead, a `FileSystemWriter`.
        no_dist: this process alone saves.

    Returns:
        the index: what was saved, and where.

    Raises:
        CheckpointException: it failed in some process; in a process alone, what it failed with.
    """
    team = Team(process_group, no_dist)
    folder = folder_of(checkpoint_id, storage_writer, "save")
    leaves = flattened(state_dict)
    plans = team.everybody(({name: _described(v) for name, v in leaves.items()}, uuid.uuid4().hex[:12]))
    token = plans[0][1]
    first: dict[str, int] = {}
    for rank, (plan, _) in enumerate(plans):
        for name in plan:
            first.setdefault(name, rank)
    mine = {name: v for name, v in leaves.items() if first[name] == team.rank or _described(v).get("spread")}
    written = team.together("saving the checkpoint", lambda: _write(folder, token, team, mine))
    index = _index(plans, written)

    def finish() -> None:
        if team.rank == 0:
            write_index(folder, index)
            _remove_others(folder, index)

    team.together("writing the checkpoint's index", finish)
    return index


save_state_dict = save


def _write(folder: str, token: str, team: Team, leaves: dict[str, Any]) -> dict[str, Any]:
    """Writes this process's parts; what and where, for the index."""
    os.makedirs(folder, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    objects: dict[str, Any] = {}
    parts: dict[str, list[Any]] = {}
    file = f"part-{token}-{team.rank:05d}-of-{team.size:05d}.safetensors"
    for name, value in leaves.items():
        if not isinstance(value, Tensor):
            objects[name] = value
            continue
        for start, data in _parts(value):
            label = f"{name}@{','.join(map(str, start))}"
            kind = dtypes.of_numpy(data.dtype).numpy
            tensors[label] = wrap(np.array(data, order="C").astype(kind, copy=False))
            parts.setdefault(name, []).append({"file": file, "label": label, "start": start, "shape": list(data.shape)})
    if tensors:
        save_file(tensors, os.path.join(folder, file))
    other = None
    if objects:
        other = f"objects-{token}-{team.rank:05d}-of-{team.size:05d}.pt"
        save_objects(objects, os.path.join(folder, other))
    return {"parts": parts, "objects": dict.fromkeys(objects, other)}


def _index(plans: list[Any], written: list[dict[str, Any]]) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for plan, _ in plans:
        for name, what in plan.items():
            if what["kind"] == "tensor" and name not in tensors:
                tensors[name] = {"dtype": what["dtype"], "shape": what["shape"], "parts": []}
    for found in written:
        objects.update(found["objects"])
        for name, parts in found["parts"].items():
            tensors[name]["parts"] += parts
    return {"format": "flambeau.distributed.checkpoint", "version": 1, "tensors": tensors, "objects": objects}


def files_of(index: dict[str, Any]) -> set[str]:
    """The files that an index speaks of."""
    parts = {p["file"] for t in index["tensors"].values() for p in t["parts"]}
    return parts | set(index["objects"].values())


def _remove_others(folder: str, index: dict[str, Any]) -> None:
    """Removes the files of the checkpoint that was there before, and of saves that were never finished."""
    needed = files_of(index)
    for name in os.listdir(folder):
        if name.startswith(("part-", "objects-")) and name.endswith((".safetensors", ".pt")) and name not in needed:
            os.unlink(os.path.join(folder, name))


def is_checkpoint(folder: str) -> bool:
    """Whether a folder has a checkpoint."""
    if not os.path.exists(os.path.join(folder, INDEX)):
        return False
    try:
        read_index(folder)
    except CheckpointError:
        return False
    return True


def async_save(state_dict: dict[str, Any], *, checkpoint_id: Any = None, storage_writer: Any = None,
               planner: Any = None, process_group: Any = None, **kwargs: Any) -> Future:  # fmt: skip
    """As `save`, and returns a future. The state is copied first, so training may go on.

    Of several processes the collectives would meet those of the training: they save before this returns.
    """
    future: Future = Future()
    copied = {name: v.detach().clone() if isinstance(v, Tensor) else v for name, v in flattened(state_dict).items()}

    def work() -> None:
        try:
            future.set_result(save(copied, checkpoint_id=checkpoint_id, storage_writer=storage_writer,
                                   process_group=process_group))  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - it is the future's
            future.set_exception(error)

    if Team(process_group, False).size > 1:
        work()
    else:
        threading.Thread(target=work, name="flambeau-save").start()
    return future
