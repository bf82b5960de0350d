"""Objects from PyTorch's files, without running anything that they contain unless asked to."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from flambeau import devices
from flambeau.serialization import names
from flambeau.serialization.archive import ArchiveReader, is_zip
from flambeau.serialization.names import Storage, StorageType
from flambeau.serialization.saving import LEGACY_MAGIC, LEGACY_PROTOCOL
from flambeau.serialization.unpickler import Unpickler, global_names

__all__ = ["read", "unsafe_globals"]


def read(
    f: Any, map_location: Any, pickle_module: Any, weights_only: bool | None, mmap: bool | None, arguments: Any
) -> Any:
    """Do what `load` tells."""
    if weights_only is None:
        weights_only = pickle_module is None
    elif weights_only and pickle_module is not None:
        raise RuntimeError(
            "weights_only=True reads with flambeau's own unpickler: leave pickle_module out, or use "
            "weights_only=False if you trust the file"
        )
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path:
        for method in ("read", "seek", "tell"):
            if not hasattr(f, method):
                raise AttributeError(
                    f"load: expected a path or a file that can read and seek; this {type(f).__name__} "
                    f"has no '{method}'. Read it into an io.BytesIO first"
                )
    with open(f, "rb") if is_path else contextlib.nullcontext(f) as file:
        job = _Job(_restorer(map_location), weights_only, pickle_module or pickle, arguments)
        if is_zip(file):
            if mmap and not is_path:
                raise ValueError("f must be a path when mmap=True: only a file on disk can be mapped")
            return _load_zip(job, ArchiveReader(file, os.fspath(f) if is_path else None, bool(mmap)))
        if mmap:
            raise RuntimeError("mmap=True needs a file in the zip format; this one is older. Load it, and save it anew")
        return _load_legacy(job, file)


def _restorer(map_location: Any) -> Callable[[Storage, str], Storage]:
    """What decides on which device a storage is restored; it fails for devices that are not here."""
    if isinstance(map_location, (str, devices.device)):
        target = devices.require(map_location)
        return lambda storage, location: _place(storage, str(target))
    if isinstance(map_location, dict):
        renamed = {str(k): str(v) for k, v in map_location.items()}
        return lambda storage, location: _place(storage, renamed.get(location, location))
    if callable(map_location):

        def restore(storage: Storage, location: str) -> Storage:
            found = map_location(storage, location)
            return _place(storage, location) if found is None else found

        return restore
    if map_location is not None:
        raise TypeError(
            f"map_location: expected a device, its name, a dict or a function, got {type(map_location).__name__}"
        )
    return _place


def _place(storage: Storage, location: str) -> Storage:
    if location.partition(":")[0] != "cpu":
        raise RuntimeError(
            f"the file's tensors lie on '{location}', which is not here: load it with map_location='cpu'"
        )
    return storage


class _Job:
    """One call of `load`: how it unpickles, and where storages go."""

    def __init__(
        self,
        restore: Callable[[Storage, str], Storage],
        weights_only: bool,
        pickle_module: Any,
        arguments: dict[str, Any],
    ) -> None:
        self.restore = restore
        self.weights_only = weights_only
        self._module = pickle_module
        self._arguments = {"encoding": "utf-8", **arguments}

    def unpickle(self, file: BinaryIO, persistent_load: Callable[[Any], Any] | None = None) -> Any:
        """The object of the next pickle in `file`."""
        if self.weights_only:
            return Unpickler(
                file,
                names.allowed,
                names.callables(),
                names.user_classes(),
                persistent_load,
                self._arguments["encoding"],
            ).load()
        return _trusting(self._module)(file, persistent_load, **self._arguments).load()


def _trusting(module: Any) -> type:
    """An unpickler that takes any name, and finds PyTorch's here."""

    class Trusting(module.Unpickler):  # type: ignore[misc]
        def __init__(self, file: BinaryIO, persistent_load: Callable[[Any], Any] | None, **arguments: Any) -> None:
            super().__init__(file, **arguments)
            self._persistent_load = persistent_load

        def find_class(self, module_name: str, name: str) -> Any:
            if module_name.split(".")[0] == "torch":
                return names.resolve(module_name, name)
            return super().find_class(module_name, name)

        def persistent_load(self, saved: Any) -> Any:
            if self._persistent_load is None:
                raise pickle.UnpicklingError("the pickle refers to data outside of it, but there is none")
            return self._persistent_load(saved)

    return Trusting


def _ascii(text: Any) -> Any:
    return text.decode("ascii") if isinstance(text, bytes) else text


def _storage_id(saved: Any, parts: int) -> list[Any]:
    """Kind, key, location, count (and what follows) of a storage that a pickle refers to."""
    if type(saved) is not tuple or len(saved) != parts or _ascii(saved[0]) != "storage":
        raise pickle.UnpicklingError(f"the file is damaged: expected a storage's id, got {str(saved)[:80]}")
    kind, key, location, count = saved[1], _ascii(saved[2]), _ascii(saved[3]), saved[4]
    sound = isinstance(kind, StorageType) and type(key) is str and type(location) is str and type(count) is int
    if not sound or count < 0:
        raise pickle.UnpicklingError(f"the file is damaged: a storage's id reads {str(saved)[:80]}")
    return [kind, key, location, count, *saved[5:]]


def _load_zip(job: _Job, archive: ArchiveReader) -> Any:
    if "constants.pkl" in archive:
        raise RuntimeError(
            "this is a TorchScript program, not a file of torch.save: flambeau can't run it. "
            "Save the module's state_dict() instead"
        )
    swapped = archive.byteswapped()
    loaded: dict[str, Storage] = {}

    def storage(saved: Any) -> Storage:
        kind, key, location, count = _storage_id(saved, 5)
        if key not in loaded:
            size = count * (kind.dtype.itemsize if kind.dtype is not None else 1)
            data = archive.read_array(f"data/{key}", size)
            loaded[key] = job.restore(Storage(data, kind.dtype, swapped), location)
        return loaded[key]

    return job.unpickle(io.BytesIO(archive.read("data.pkl")), storage)


def _load_legacy(job: _Job, file: Any) -> Any:
    """The format before the zip archive: pickles one after another, then the storages in order."""
    if job.unpickle(file) != LEGACY_MAGIC:
        raise RuntimeError(
            "the file is neither a zip archive nor in PyTorch's older format: torch.save did not write it"
        )
    version = job.unpickle(file)
    if version != LEGACY_PROTOCOL:
        raise RuntimeError(f"the file is of format {version!r}; expected {LEGACY_PROTOCOL}")
    info = job.unpickle(file)
    swapped = isinstance(info, dict) and info.get("little_endian", True) != (sys.byteorder == "little")
    here = file.tell()
    available = file.seek(0, os.SEEK_END)
    file.seek(here)
    loaded: dict[str, Storage] = {}

    def storage(saved: Any) -> Any:
        if type(saved) is tuple and saved and _ascii(saved[0]) == "module":
            return saved[1]
        kind, key, location, count, view = _storage_id(saved, 6)
        itemsize = kind.dtype.itemsize if kind.dtype is not None else 1
        if key not in loaded:
            if count * itemsize > available:
                raise pickle.UnpicklingError(
                    f"the file was cut short: a storage of {count * itemsize} bytes is missing"
                )
            loaded[key] = job.restore(Storage(np.zeros(count * itemsize, np.uint8), kind.dtype), location)
        found = loaded[key]
        if view is not None:
            _, offset, size = view
            return Storage(found.bytes[offset * itemsize : (offset + size) * itemsize], kind.dtype)
        return found

    result = job.unpickle(file, storage)
    for key in job.unpickle(file):
        if key not in loaded:
            raise RuntimeError(f"the file is damaged: nothing uses its storage {key!r}")
        _fill(loaded[key], file, swapped)
    return result


def _fill(storage: Storage, file: Any, swapped: bool) -> None:
    """Read a storage's bytes into the memory that tensors already look into."""
    header = file.read(8)
    if len(header) != 8 or struct.unpack("<q", header)[0] != len(storage):
        raise RuntimeError("the file is damaged: a storage is not as long as it was said to be")
    data = file.read(storage.bytes.size)
    if len(data) != storage.bytes.size:
        raise RuntimeError("the file was cut short: a storage is incomplete")
    storage.bytes[:] = np.frombuffer(data, np.uint8)
    if swapped and storage.dtype is not None:
        part = storage.dtype.itemsize // (2 if storage.dtype.is_complex else 1)
        storage.bytes.reshape(-1, part)[:] = storage.bytes.reshape(-1, part)[:, ::-1].copy()


def unsafe_globals(f: Any) -> list[str]:
    """Do what `get_unsafe_globals_in_checkpoint` tells."""
    with open(f, "rb") if isinstance(f, (str, os.PathLike)) else contextlib.nullcontext(f) as file:
        if not is_zip(file):
            raise ValueError("expected a file that torch.save wrote in its zip format")
        archive = ArchiveReader(file)
        return sorted(name for name in global_names(archive.read("data.pkl")) if names.allowed(name) is None)
