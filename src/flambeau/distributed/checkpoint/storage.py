"""The folder of a checkpoint: its index, nested states as flat names, parts of tensors."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from typing import Any

from flambeau.distributed import groups
from flambeau.distributed.objects import all_gather_object
from flambeau.errors import CheckpointError
from flambeau.serialization.atomic import atomic_file
from flambeau.tensor.tensor import Tensor

__all__ = ["CheckpointException", "FileSystemReader", "FileSystemWriter"]

INDEX = "index.json"


class CheckpointException(RuntimeError):
    """A checkpoint could not be saved or loaded; `failures` says why, by rank."""

    def __init__(self, message: str, failures: dict[int, str]) -> None:
        super().__init__(message + "".join(f"\n  rank {r}: {text}" for r, text in sorted(failures.items())))
        self._failures = failures

    @property
    def failures(self) -> dict[int, str]:
        """Why, by rank."""
        return self._failures


class FileSystemWriter:
    """Writes a checkpoint into a folder, which is made if it is not there."""

    def __init__(self, path: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        self.path = os.fspath(path)


class FileSystemReader:
    """Reads a checkpoint from a folder."""

    def __init__(self, path: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        self.path = os.fspath(path)


def folder_of(checkpoint_id: Any, storage: Any, name: str) -> str:
    """The folder that was asked for."""
    if storage is not None:
        return storage.path
    if checkpoint_id is None:
        raise ValueError(f"{name}: say where, by checkpoint_id")
    return os.fspath(checkpoint_id)


class Team:
    """The processes that save or load together."""

    def __init__(self, group: Any, alone: bool) -> None:
        self.group = groups.joined(group) if groups.is_initialized() and not alone else None
        self.rank = self.group.rank() if self.group else 0
        self.size = self.group.size() if self.group else 1

    def everybody(self, value: Any) -> list[Any]:
        """What every process has."""
        if self.group is None:
            return [value]
        found: list[Any] = [None] * self.size
        all_gather_object(found, value, self.group)
        return found

    def together(self, what: str, work: Callable[[], Any]) -> list[Any]:
        """What the work gives in every process; CheckpointException everywhere if it fails anywhere."""
        try:
            mine: tuple[str | None, Any] = (None, work())
        except Exception as error:  # noqa: BLE001 - all are to know of it
            if self.group is None:
                raise
            mine = (f"{type(error).__name__}: {error}", None)
        found = self.everybody(mine)
        failures = {r: text for r, (text, _) in enumerate(found) if text is not None}
        if failures:
            raise CheckpointException(f"{what} failed", failures)
        return [value for _, value in found]


# --- the index --------------------------------------------------------------------------------------------------------


def write_index(folder: str, index: dict[str, Any]) -> None:
    """Writes the index in one step."""
    text = json.dumps(index, sort_keys=True)
    with atomic_file(os.path.join(folder, INDEX)) as file:
        file.write(json.dumps({"crc32": f"{zlib.crc32(text.encode()):08x}", "index": text}).encode())


def read_index(folder: str) -> dict[str, Any]:
    """The index. CheckpointError if it is damaged, FileNotFoundError if there is none."""
    path = os.path.join(folder, INDEX)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint in {folder!r}: there is no {INDEX}") from None
    try:
        outer = json.loads(data)
        text = outer["index"]
        if f"{zlib.crc32(text.encode()):08x}" != outer["crc32"]:
            raise ValueError("its checksum is wrong")
        return json.loads(text)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path!r} is damaged: {error}", INDEX) from error


# --- nested states ----------------------------------------------------------------------------------------------------


def is_stateful(value: Any) -> bool:
    """Whether a value is saved by its `state_dict()`."""
    return not isinstance(value, Tensor) and hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def flattened(state: Any) -> dict[str, Any]:
    """The leaves of nested dicts and lists, by names with dots."""
    found: dict[str, Any] = {}

    def visit(value: Any, name: str) -> None:
        if is_stateful(value):
            value = value.state_dict()
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                visit(inner, f"{name}.{_text(key)}" if name else _text(key))
        elif isinstance(value, (list, tuple)) and any(isinstance(v, (Tensor, dict, list)) for v in value):
            for i, inner in enumerate(value):
                visit(inner, f"{name}.{i}")
        elif name in found:
            raise ValueError(f"two values of the state are called {name!r}")
        else:
            found[name] = value

    visit(state, "")
    return found


def _text(key: Any) -> str:
    return str(key)


def fill(state: Any, values: dict[str, Any], name: str = "") -> Any:
    """A nested state with its leaves replaced by those of `values`; dicts are changed in place."""
    if is_stateful(state):
        inner = state.state_dict()
        state.load_state_dict(fill(inner, values, name))
        return state
    if isinstance(state, dict) and state:
        for key in list(state):
            state[key] = fill(state[key], values, f"{name}.{_text(key)}" if name else _text(key))
        return state
    if isinstance(state, (list, tuple)) and any(isinstance(v, (Tensor, dict, list)) for v in state):
        made = [fill(v, values, f"{name}.{i}") for i, v in enumerate(state)]
        return made if isinstance(state, list) else tuple(made)
    return values.get(name, state)
