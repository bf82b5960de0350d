"""Records of a `.pt` file by name, for packages that read tensors of it one by one."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import numpy as np

from flambeau.tensor.creation import from_numpy

__all__ = ["PyTorchFileReader"]


class PyTorchFileReader:
    """The records of an archive that `save` has written: a path, or a file that is open for reading.

    Reading a record checks its checksum; RuntimeError where there is no such record or no archive.
    """

    def __init__(self, file: Any) -> None:
        try:
            self._archive = zipfile.ZipFile(os.fspath(file) if isinstance(file, (str, os.PathLike)) else file)
        except zipfile.BadZipFile as error:
            raise RuntimeError(f"PyTorchFileReader: the file is no archive of records: {error}") from None
        names = self._archive.namelist()
        self._prefix = names[0].partition("/")[0] + "/" if names else ""

    def has_record(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return self._prefix + name in self._archive.NameToInfo

    def get_all_records(self) -> list[str]:
        """The names of all records."""
        return [name.removeprefix(self._prefix) for name in self._archive.namelist()]

    def get_record(self, name: str) -> bytes:
        """The bytes of a record."""
        if not self.has_record(name):
            raise RuntimeError(f"PyTorchFileReader: there is no record {name!r}")
        try:
            return self._archive.read(self._prefix + name)
        except zipfile.BadZipFile as error:
            raise RuntimeError(f"PyTorchFileReader: record {name!r} is damaged: {error}") from None

    def get_record_size(self, name: str) -> int:
        """The length of a record in bytes."""
        if not self.has_record(name):
            raise RuntimeError(f"PyTorchFileReader: there is no record {name!r}")
        return self._archive.getinfo(self._prefix + name).file_size

    def get_storage_from_record(self, name: str, numel: int, dtype: Any) -> Any:
        """A tensor of bytes over a record's `numel` bytes, or elements of a dtype."""
        data = np.frombuffer(bytearray(self.get_record(name)), np.uint8)
        whole = from_numpy(data)
        return whole[:numel] if isinstance(dtype, type) else whole.view(dtype)[:numel]
