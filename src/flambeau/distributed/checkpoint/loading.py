"""Loading: each process reads the parts that it needs, wherever and in whatever parts they were saved."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import no_grad
from flambeau.distributed.checkpoint.storage import Team, fill, flattened, folder_of, read_index
from flambeau.distributed.tensor.layout import declared, over_mesh, spread_of
from flambeau.errors import CheckpointError
from flambeau.ops.dispatch import wrap
from flambeau.serialization import load as load_objects
from flambeau.serialization.safetensors import load_file
from flambeau.tensor.tensor import Tensor

__all__ = ["load", "load_state_dict"]


class _Folder:
    """A checkpoint's files, each read and verified once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.index = read_index(path)
        self._files: dict[str, Any] = {}

    def _file(self, name: str) -> Any:
        if name not in self._files:
            path = os.path.join(self.path, os.path.basename(name))
            if not os.path.exists(path):
                raise CheckpointError(f"the checkpoint in {self.path!r} is incomplete: {name} is missing", name)
            self._files[name] = load_file(path) if name.endswith(".safetensors") else load_objects(path)
        return self._files[name]

    def value(self, name: str) -> Any:
        """What is no tensor."""
        return self._file(self.index["objects"][name])[name]

    def region(self, name: str, at: tuple[slice, ...]) -> np.ndarray:
        """A region of a tensor, put together from the parts that were saved."""
        entry = self.index["tensors"][name]
        shape = entry["shape"]
        starts = [s.start or 0 for s in at]
        stops = [n if s.stop is None else s.stop for s, n in zip(at, shape)]
        result = np.empty([b - a for a, b in zip(starts, stops)], getattr(dtypes, _attribute(entry["dtype"])).numpy)
        left = result.size
        for part in entry["parts"]:
            low = [max(a, p) for a, p in zip(starts, part["start"])]
            high = [min(b, p + n) for b, p, n in zip(stops, part["start"], part["shape"])]
            if any(a >= b for a, b in zip(low, high)):
                continue
            data = self._file(part["file"])[part["label"]]._a
            source = data[tuple(slice(a - p, b - p) for a, b, p in zip(low, high, part["start"]))]
            result[tuple(slice(a - s, b - s) for a, b, s in zip(low, high, starts))] = source
            left -= source.size
        if left:
            raise CheckpointError(f"the checkpoint in {self.path!r} lacks a part of {name!r}", name)
        return result


def _attribute(dtype: str) -> str:
    return {"bool": "bool_"}.get(dtype, dtype)


def load(state_dict: dict[str, Any], *, checkpoint_id: Any = None, storage_reader: Any = None, planner: Any = None,
         process_group: Any = None, no_dist: bool = False) -> None:  # fmt: skip
    """Loads a checkpoint into a nested state, in place; all processes call this.

    Tensors are written into, wherever they lie now: over another mesh than they were saved from, on fewer devices, in
    one process. Other values are replaced. What the state does not name is not loaded.

    Args:
        checkpoint_id: the folder.
        storage_reader: instead, a `FileSystemReader`.
        no_dist: this process alone loads.

    Raises:
        CheckpointException: it failed in some process; in a process alone, what it failed with: FileNotFoundError,
            `CheckpointError` for a damaged file, RuntimeError for a name that is missing or another shape.
    """
    team = Team(process_group, no_dist)
    folder = folder_of(checkpoint_id, storage_reader, "load")
    leaves = flattened(state_dict)

    def read() -> dict[str, Any]:
        saved = _Folder(folder)
        _check(leaves, saved)
        return {name: _loaded(name, v, saved) for name, v in leaves.items()}

    values: dict[str, Any] = {}
    team.together("loading the checkpoint", lambda: values.update(read()))
    with no_grad():
        for name, old in leaves.items():
            if isinstance(old, Tensor):
                old.copy_(values[name])
                values[name] = old
    fill(state_dict, values)


def load_state_dict(state_dict: dict[str, Any], storage_reader: Any, process_group: Any = None,
                    coordinator_rank: int = 0, no_dist: bool = False, planner: Any = None) -> None:  # fmt: skip
    """As `load`, under its older name."""
    load(state_dict, storage_reader=storage_reader, process_group=process_group, no_dist=no_dist)


def _check(leaves: dict[str, Any], saved: _Folder) -> None:
    tensors, objects = saved.index["tensors"], saved.index["objects"]
    missing = [n for n, v in leaves.items() if n not in (tensors if isinstance(v, Tensor) else {**objects, **tensors})]
    if missing:
        shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise RuntimeError(f"Missing key in checkpoint state_dict: {shown}")
    for name, v in leaves.items():
        if isinstance(v, Tensor) and list(v.shape) != tensors[name]["shape"]:
            raise ValueError(
                f"Size mismatch: {name!r} was saved with shape {tensors[name]['shape']}, and is to be loaded into a "
                f"tensor of shape {list(v.shape)}"
            )


def _loaded(name: str, old: Any, saved: _Folder) -> Any:
    if not isinstance(old, Tensor):
        if name in saved.index["objects"]:
            return saved.value(name)
        return wrap(saved.region(name, _everything(saved.index["tensors"][name]["shape"])))
    where = spread_of(old)
    if where is None:
        return wrap(saved.region(name, _everything(old.shape)))
    from flambeau.engines.xla.layouts import assembled

    known = declared(old)
    value = assembled(lambda at: saved.region(name, at), tuple(old.shape), where)
    if value.dtype != old._a.dtype:
        raise ValueError(f"{name!r} was saved as {saved.index['tensors'][name]['dtype']}, not as {old.dtype}")
    assert known is not None
    return over_mesh(value, *known)


def _everything(shape: Any) -> tuple[slice, ...]:
    return tuple(itertools.repeat(slice(None), len(shape)))
