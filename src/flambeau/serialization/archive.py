"""Files: a zip archive of named records as PyTorch lays it out, and writing a file in one step or not at all."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np

__all__ = ["ArchiveReader", "ArchiveWriter", "atomic_file", "is_zip"]

_ALIGNMENT = 64  # so that a mapped file gives aligned arrays
_LOCAL_HEADER = 30
_ZIP64_EXTRA = 20


@contextlib.contextmanager
def atomic_file(path: Any) -> Iterator[BinaryIO]:
    """A file to write, which appears at `path` complete and on disk when the block ends, or not at all.

    If the block fails, whatever was at `path` before is still there, untouched. RuntimeError if it can't be written.
    """
    target = os.path.realpath(os.fspath(path))
    parent, name = os.path.split(target)
    if not os.path.isdir(parent):
        raise RuntimeError(f"can't save to {os.fspath(path)!r}: its parent directory {parent} does not exist")
    if os.path.isdir(target):
        raise RuntimeError(f"can't save to {os.fspath(path)!r}: it is a directory")
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as device:  # a pipe or a device can't be replaced
            yield device
        return
    temporary = os.path.join(parent, f".{name[:100]}.{os.urandom(4).hex()}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:
        raise RuntimeError(f"can't save to {os.fspath(path)!r}: {error.strerror} in {parent}") from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(parent)


def _sync_directory(path: str) -> None:
    """Make the renaming itself durable, where the system lets directories be synced."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_zip(file: BinaryIO) -> bool:
    """Whether what `file` stands at is a zip archive; it stands there again afterwards."""
    at = file.tell()
    magic = file.read(4)
    file.seek(at)
    return magic == b"PK\x03\x04"


class ArchiveWriter:
    """Writes records into a zip archive, uncompressed and aligned, below one folder."""

    def __init__(self, file: BinaryIO, folder: str) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._folder = folder

    def write(self, name: str, data: Any) -> None:
        """Add a record; `data` is bytes or a flat uint8 array."""
        info = zipfile.ZipInfo(f"{self._folder}/{name}", (1980, 1, 1, 0, 0, 0))
        size = len(data)
        start = cast(Any, self._zip.fp).tell() + _LOCAL_HEADER + len(info.filename.encode())
        if size * 1.05 > zipfile.ZIP64_LIMIT:
            start += _ZIP64_EXTRA
        padding = -(start + 4) % _ALIGNMENT
        info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        self._zip.writestr(info, data.data if isinstance(data, np.ndarray) else data)

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, error: Any, *rest: object) -> None:
        """Write the archive's table of contents; after an error leave the file alone, it will not be kept."""
        if error is not None:
            self._zip.fp = None
        self._zip.close()


class ArchiveReader:
    """Reads the records of such an archive.

    Raises:
        RuntimeError: if it is damaged, or no archive that `save` wrote.
    """

    def __init__(self, file: BinaryIO, path: str | None = None, map_file: bool = False) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
            names = self._zip.namelist()
        except (zipfile.BadZipFile, OSError, struct.error) as error:
            raise RuntimeError(f"failed reading the zip archive {path or ''}: {error}; the file is damaged") from error
        pickles = sorted((name for name in names if name.endswith("/data.pkl")), key=len)
        if not pickles:
            raise RuntimeError(f"the zip archive {path or ''} holds no data.pkl: torch.save did not write this file")
        self._folder = pickles[0].removesuffix("data.pkl")
        self._names = set(names)
        self._map = None
        if map_file:
            with open(cast(str, path), "rb") as mapped:
                self._map = mmap.mmap(mapped.fileno(), 0, access=mmap.ACCESS_COPY)

    def __contains__(self, name: str) -> bool:
        return self._folder + name in self._names

    def read(self, name: str) -> bytes:
        """The bytes of a record."""
        try:
            return self._zip.read(self._folder + name)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise RuntimeError(f"failed reading record {name}: {error}; the file is damaged") from error

    def read_array(self, name: str, size: int) -> np.ndarray:
        """The bytes of a record of known size as a writable uint8 array, checked against its checksum unless mapped."""
        try:
            info = self._zip.getinfo(self._folder + name)
        except KeyError:
            raise RuntimeError(f"the archive lacks record {name}; the file is damaged") from None
        if info.file_size != size:
            raise RuntimeError(
                f"record {name} has {info.file_size} bytes where {size} were expected; the file is damaged"
            )
        if info.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(bytearray(self.read(name)), np.uint8)
        file = cast(Any, self._zip.fp)
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise RuntimeError(f"record {name} is not where the archive says; the file is damaged")
        start = info.header_offset + _LOCAL_HEADER + sum(struct.unpack_from("<HH", header, 26))
        if self._map is not None:
            if start + size > len(self._map):
                raise RuntimeError(f"record {name} ends behind the file's end; the file is damaged")
            return np.frombuffer(self._map, np.uint8, size, start)
        file.seek(start)
        found = _read_into(file, size)
        if found is None or zlib.crc32(found.data) != info.CRC:
            raise RuntimeError(f"record {name} does not match its checksum; the file is damaged")
        return found

    def byteswapped(self) -> bool:
        """Whether numbers were written in the other byte order than this machine's."""
        order = self.read("byteorder").decode() if "byteorder" in self else "little"
        if order not in ("little", "big"):
            raise ValueError(f"the archive names an unknown byte order {order!r}; expected 'little' or 'big'")
        return order != sys.byteorder


def _read_into(file: Any, size: int) -> np.ndarray | None:
    """`size` bytes from where `file` stands, in memory of their own; None if there are fewer."""
    if not hasattr(file, "readinto"):
        data = file.read(size)
        return np.frombuffer(bytearray(data), np.uint8) if len(data) == size else None
    array = np.empty(size, np.uint8)
    view, done = array.data, 0
    while done < size:
        count = file.readinto(view[done:])
        if not count:
            return None
        done += count
    return array
