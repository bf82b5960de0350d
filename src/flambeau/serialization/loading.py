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
from flambeau.errors import CheckpointError, EmptyCheckpointError
from flambeau.serialization import names
from flambeau.serialization.archive import ArchiveReader, is_zip
from flambeau.serialization.names import Storage
from flambeau.serialization.options import (
    MAP_SHARED,
    LoadEndianness,
    Options,
    StorageType,
    default_restore_location,
)
from flambeau.serialization.saving import LEGACY_MAGIC, LEGACY_PROTOCOL
from flambeau.serialization.unpickler import Unpickler, global_names, place_of

__all__ = ["check", "read", "unsafe_globals"]


#: Set to 1, this variable of the environment has `load` read nothing but data, whatever programs say.
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read(
    f: Any, map_location: Any, pickle_module: Any, weights_only: bool | None, mmap: bool | None, arguments: Any
) -> Any:
    """Do what `load` tells."""
    if os.environ.get(_FORCE, "0").lower() in ("1", "y", "yes", "true"):
        weights_only = True
    elif weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
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
    shared = bool(mmap) and Options.map_flags == MAP_SHARED
    with open(f, "r+b" if shared else "rb") if is_path else contextlib.nullcontext(f) as file:
        job = _Job(_restorer(map_location), weights_only, pickle_module or pickle, arguments)
        if is_zip(file):
            if mmap and not is_path:
                raise ValueError("f must be a path when mmap=True: only a file on disk can be mapped")
            return _load_zip(job, ArchiveReader(file, bool(mmap), shared, Options.checksums))
        if mmap:
            raise RuntimeError("mmap=True needs a file in the zip format; this one is older. Load it, and save it anew")
        return _load_legacy(job, file)


def _restorer(map_location: Any) -> Callable[[Storage, str], Any]:
    """What decides on which device a storage is restored; it fails for devices that are not here."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, bytes):
        map_location = map_location.decode("ascii")
    if isinstance(map_location, (str, devices.device)):
        target = str(devices.require(map_location))
        return lambda storage, location: default_restore_location(storage, target)
    if isinstance(map_location, dict):
        renamed = {str(k): str(v) for k, v in map_location.items()}
        return lambda storage, location: default_restore_location(storage, renamed.get(location, location))
    if not callable(map_location):
        raise TypeError(
            f"map_location: expected a device, its name, a dict or a function, got {type(map_location).__name__}"
        )

    def restore(storage: Storage, location: str) -> Any:
        found = map_location(storage, location)
        return default_restore_location(storage, location) if found is None else found

    return restore


class _Job:
    """One call of `load`: how it unpickles, and where storages go."""

    def __init__(
        self,
        restore: Callable[[Storage, str], Any],
        weights_only: bool,
        pickle_module: Any,
        arguments: dict[str, Any],
    ) -> None:
        self.restore = restore
        self.weights_only = weights_only
        self._module = pickle_module
        self._arguments = {"encoding": "utf-8", **arguments}

    def unpickle(self, file: BinaryIO, length: int, persistent_load: Callable[[Any], Any] | None = None) -> Any:
        """The object of the next pickle in `file`, which has at most `length` bytes."""
        if self.weights_only:
            return Unpickler(
                file,
                names.allowed,
                names.callables(),
                length,
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
                raise CheckpointError("the pickle refers to data outside of it, but there is none")
            return self._persistent_load(saved)

    return Trusting


def _ascii(text: Any) -> Any:
    return text.decode("ascii") if isinstance(text, bytes) else text


def _storage_id(saved: Any, parts: int) -> list[Any]:
    """Kind, key, location, count (and what follows) of a storage that a pickle refers to."""
    if type(saved) is not tuple or len(saved) != parts or _ascii(saved[0]) != "storage":
        raise CheckpointError("the file is damaged: the pickle refers to data outside of it that is no storage")
    kind, key, location, count = saved[1], _ascii(saved[2]), _ascii(saved[3]), saved[4]
    sound = isinstance(kind, StorageType) and type(key) is str and type(location) is str and type(count) is int
    if not sound or not 0 <= count < 2**63:
        raise CheckpointError("the file is damaged: a storage has no sound type, key, location or size")
    return [kind, key, location, count, *saved[5:]]


def _itemsize(kind: StorageType) -> int:
    return kind.dtype.itemsize if kind.dtype is not None else 1


def _load_zip(job: _Job, archive: ArchiveReader) -> Any:
    if "constants.pkl" in archive:
        raise CheckpointError(
            "this is a TorchScript program, not a file of torch.save: flambeau can't run it. "
            "Save the module's state_dict() instead"
        )
    order = archive.byte_order() or _DEFAULT_ORDER[Options.endianness]
    loaded: dict[str, Any] = {}

    def storage(saved: Any) -> Any:
        kind, key, location, count = _storage_id(saved, 5)
        if key not in loaded:
            data = archive.read_array(f"data/{key}", count * _itemsize(kind))
            loaded[key] = job.restore(Storage(data, kind.dtype, order != sys.byteorder), location)
        return loaded[key]

    data = archive.read("data.pkl")
    pickled = io.BytesIO(data)
    try:
        found = job.unpickle(pickled, len(data), storage)
    except CheckpointError as error:
        error.entry = error.entry or "data.pkl"
        if error.entry.startswith("data/"):
            key = error.entry.removeprefix("data/")
            error.tensor = place_of(data, key, names.allowed, names.callables())
        raise
    if job.weights_only and pickled.tell() != len(data):
        raise CheckpointError("the pickle goes on behind its end; the file is damaged", "data.pkl")
    return found


_DEFAULT_ORDER = {None: "little", LoadEndianness.NATIVE: sys.byteorder, LoadEndianness.LITTLE: "little",
                  LoadEndianness.BIG: "big"}  # fmt: skip


def _load_legacy(job: _Job, file: Any) -> Any:
    """The format before the zip archive: pickles one after another, then the storages in order."""
    here = file.tell()
    available = file.seek(0, os.SEEK_END) - here
    file.seek(here)
    if available == 0:
        raise EmptyCheckpointError("Ran out of input: there is nothing in the file")
    if job.unpickle(file, available) != LEGACY_MAGIC:
        raise CheckpointError(
            "the file is neither a zip archive nor in PyTorch's older format: torch.save did not write it"
        )
    version = job.unpickle(file, available)
    if version != LEGACY_PROTOCOL:
        raise CheckpointError(f"the file is of format {str(version)[:40]}; expected {LEGACY_PROTOCOL}")
    info = job.unpickle(file, available)
    swapped = isinstance(info, dict) and info.get("little_endian", True) != (sys.byteorder == "little")
    storages = _LegacyStorages(job, available)
    result = job.unpickle(file, available, storages)
    for key in job.unpickle(file, available):
        storages.fill(key, file, swapped)
    if storages.waiting:
        raise CheckpointError(f"the file was cut short: storage {min(storages.waiting)[:40]!r} is missing")
    return result


class _LegacyStorages:
    """Storages of the older format: tensors look into them before their bytes have come."""

    def __init__(self, job: _Job, available: int) -> None:
        self._job = job
        self._left = available
        self._blocks: dict[str, Storage] = {}
        self._given: dict[str, Any] = {}
        self.waiting: set[str] = set()

    def __call__(self, saved: Any) -> Any:
        if type(saved) is tuple and len(saved) > 1 and _ascii(saved[0]) == "module":
            return saved[1]
        kind, key, location, count, view = _storage_id(saved, 6)
        itemsize = _itemsize(kind)
        if key not in self._blocks:
            self._left -= count * itemsize
            if self._left < 0:
                raise CheckpointError(f"the file was cut short: a storage of {count * itemsize} bytes is missing")
            self._blocks[key] = Storage(np.zeros(count * itemsize, np.uint8), kind.dtype)
            self._given[key] = self._job.restore(self._blocks[key], location)
            self.waiting.add(key)
        if view is None:
            return self._given[key]
        sound = type(view) is tuple and len(view) == 3 and all(type(n) is int and n >= 0 for n in view[1:])
        if not sound or (view[1] + view[2]) * itemsize > self._blocks[key].bytes.size:
            raise CheckpointError("the file is damaged: a part of a storage does not lie in it")
        _, offset, size = view
        return Storage(self._blocks[key].bytes[offset * itemsize : (offset + size) * itemsize], kind.dtype)

    def fill(self, key: Any, file: Any, swapped: bool) -> None:
        """Read a storage's bytes into the memory that tensors already look into."""
        if type(key) is not str or key not in self.waiting:
            raise CheckpointError("the file is damaged: it has a storage that nothing uses, or one twice")
        self.waiting.remove(key)
        storage = self._blocks[key]
        header = file.read(8)
        if len(header) != 8 or struct.unpack("<q", header)[0] != len(storage):
            raise CheckpointError("the file is damaged: a storage is not as long as it was said to be", key)
        data = file.read(storage.bytes.size)
        if len(data) != storage.bytes.size:
            raise CheckpointError("the file was cut short: a storage is incomplete", key)
        storage.bytes[:] = np.frombuffer(data, np.uint8)
        if swapped:
            storage.unswap(storage.dtype.itemsize, storage.dtype.is_complex)


def check(path: Any) -> None:
    """Compare all of an archive with its checksums."""
    with open(path, "rb") as file:
        if not is_zip(file):
            raise CheckpointError("this is no file of torch.save's zip format: only that has checksums")
        ArchiveReader(file).check()


def unsafe_globals(f: Any) -> list[str]:
    """Do what `get_unsafe_globals_in_checkpoint` tells."""
    with open(f, "rb") if isinstance(f, (str, os.PathLike)) else contextlib.nullcontext(f) as file:
        if not is_zip(file):
            raise ValueError("expected a file that torch.save wrote in its zip format")
        archive = ArchiveReader(file)
        return sorted(name for name in global_names(archive.read("data.pkl")) if names.allowed(name) is None)
