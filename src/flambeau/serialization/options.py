"""How saving and loading go where a call does not say so, and PyTorch's smaller helpers around files."""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, ClassVar, TypeAlias

from flambeau.devices import device

__all__ = [
    "LoadEndianness",
    "SourceChangeWarning",
    "StorageType",
    "check_module_version_greater_or_equal",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "location_tag",
    "mkdtemp",
    "normalize_storage_type",
    "register_package",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
    "storage_to_tensor_type",
    "validate_cuda_device",
    "validate_hpu_device",
]

#: The version of the pickle format that `save` writes, and what `map_location` and `f` may be.
DEFAULT_PROTOCOL = 2
MAP_LOCATION: TypeAlias = Callable[[Any, str], Any] | device | str | dict[str, str] | None
FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
MAP_SHARED = getattr(mmap, "MAP_SHARED", 1)
MAP_PRIVATE = getattr(mmap, "MAP_PRIVATE", 2)


class SourceChangeWarning(Warning):
    """The source of a pickled class differs from what it was when it was saved. Nothing here warns so."""


class LoadEndianness(enum.Enum):
    """The byte order of files that do not tell theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class Options:
    """What the functions below set."""

    checksums: ClassVar[bool] = True
    endianness: ClassVar[LoadEndianness | None] = None
    map_flags: ClassVar[int] = MAP_PRIVATE
    skipping: ClassVar[bool] = False


def get_crc32_options() -> bool:
    """Whether `load` compares tensors with their checksums."""
    return Options.checksums


def set_crc32_options(compute_crc32: bool) -> None:
    """False lets `load` trust the tensors of a file without reading them over: a mapped file opens at once.

    Structure and pickle are verified all the same, and `save` always writes checksums.
    """
    Options.checksums = bool(compute_crc32)


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order assumed for files that do not tell theirs; None, the default, means little-endian."""
    return Options.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order assumed for files that do not tell theirs; TypeError for anything but a `LoadEndianness`."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError(f"set_default_load_endianness: expected a LoadEndianness or None, got {endianness!r}")
    Options.endianness = endianness


def get_default_mmap_options() -> int:
    """The flag with which `load(..., mmap=True)` maps files."""
    return Options.map_flags


class set_default_mmap_options:
    """Map files privately (`mmap.MAP_PRIVATE`, the default: writes stay in memory) or shared (writes go to the file).

    Called as a function it holds from then on; as a context manager, for its block. ValueError for other flags.
    """

    def __init__(self, flags: int) -> None:
        if flags not in (MAP_PRIVATE, MAP_SHARED):
            raise ValueError(f"set_default_mmap_options: expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, got {flags!r}")
        self._before = Options.map_flags
        Options.map_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        Options.map_flags = self._before


class skip_data:
    """A `with` block in which `save` writes zeros in the place of the tensors' numbers, which `load` then reads."""

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> None:
        self._before = Options.skipping
        Options.skipping = True

    def __exit__(self, *error: object) -> None:
        Options.skipping = self._before


# --- locations -------------------------------------------------------------------------------------------------------

_packages: list[tuple[int, Callable[[Any], str | None], Callable[[Any, str], Any]]] = []


def register_package(
    priority: int, tagger: Callable[[Any], str | None], deserializer: Callable[[Any, str], Any]
) -> None:
    """Have `deserializer(storage, location)` asked where storages of a location go; those of low priority first.

    Each returns a storage, or None to leave it to the next. `tagger(storage)` gives a storage's location when saving.
    """
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda package: package[0])


def location_tag(storage: Any) -> str:
    """The name under which a file notes where a storage lies."""
    for _, tagger, _ in _packages:
        tag = tagger(storage)
        if tag:
            return tag
    return str(getattr(storage, "device", "cpu"))


def default_restore_location(storage: Any, location: str) -> Any:
    """The storage at the place that a file names; RuntimeError if that place is not here."""
    from flambeau import devices

    for _, _, deserializer in _packages:
        found = deserializer(storage, location)
        if found is not None:
            return found
    if location.partition(":")[0] == "cpu":
        return storage
    try:
        place = devices.require(location)
    except (devices.DeviceError, RuntimeError) as error:
        raise RuntimeError(
            f"the file's tensors lie on '{location[:40]}', which is not here: load it with map_location='cpu'"
        ) from error
    storage.place = place
    return storage


def validate_cuda_device(location: str) -> int:
    """The number of the GPU that a location names; RuntimeError if it is not here."""
    return _validate("cuda", location)


def validate_hpu_device(location: str) -> int:
    """The number of the HPU that a location names; RuntimeError if it is not here."""
    return _validate("hpu", location)


def _validate(kind: str, location: str) -> int:
    from flambeau import devices

    index = devices.device(location).index or 0
    try:
        devices.require(f"{kind}:{index}")
    except devices.DeviceError as error:
        raise RuntimeError(f"the file wants '{location}', which is not here: use map_location='cpu'") from error
    return index


# --- helpers ---------------------------------------------------------------------------------------------------------


class StorageType:
    """The type of a storage as a pickle names it: `torch.FloatStorage`; `dtype` is None where it is untyped."""

    def __init__(self, name: str, dtype: Any) -> None:
        self.name = name
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"torch.{self.name}"


def normalize_storage_type(storage_type: Any) -> Any:
    """The type of storage as files name it."""
    return storage_type


def storage_to_tensor_type(storage: Any) -> type:
    """The class of the tensors that lie in a storage."""
    from flambeau.tensor.tensor import Tensor

    return Tensor


def check_module_version_greater_or_equal(
    module: Any, req_version_tuple: tuple[int, ...], error_if_malformed: bool = True
) -> bool:
    """Whether `module.__version__` is at least the version asked for.

    A version that can't be read is a RuntimeError, or, with `error_if_malformed=False`, good enough and a warning.
    """
    import warnings

    try:
        parts = module.__version__.split(".")
        found = tuple(type(n)(p) for n, p in zip(req_version_tuple, parts, strict=False))
    except Exception as error:
        message = f"'{module.__name__}' has the version {module.__version__!r}, which can't be compared"
        if error_if_malformed:
            raise RuntimeError(message) from error
        warnings.warn(message + "; it is taken to be new enough", stacklevel=2)
        return True
    return found >= tuple(req_version_tuple)


@contextlib.contextmanager
def mkdtemp() -> Iterator[str]:
    """A temporary directory for the length of a `with` block."""
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        yield os.fspath(path)
