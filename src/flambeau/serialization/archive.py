"""Zip archives of named records, as PyTorch lays them out, written with checksums and read with suspicion.

Besides the CRC-32 that a zip archive has for each record, an archive of flambeau's has a record that lists all others
with their sizes and checksums: one that is missing, exchanged for another or rewritten is noticed, too. PyTorch pays
no attention to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from flambeau.errors import CheckpointError

__all__ = ["ArchiveReader", "ArchiveWriter", "is_zip"]

MANIFEST = ".data/checksums"

_ALIGNMENT = 64  # so that a mapped file gives aligned arrays
_PIECE = 1 << 20
_SATURATED = 0xFFFFFFFF
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_STREAMED, _UTF8 = 8, 0x800  # flags: sizes follow the data; names are UTF-8
_STORED, _DEFLATED = 0, 8
#: How far compressed records may swell in all: no file of PyTorch's is compressed, and zip bombs live of it.
_SWELL, _SWELL_FREE = 100, 64 << 20


def is_zip(file: BinaryIO) -> bool:
    """Whether what `file` stands at is a zip archive; it stands there again afterwards."""
    at = file.tell()
    magic = file.read(4)
    file.seek(at)
    return magic == b"PK\x03\x04"


class Record(NamedTuple):
    """What an archive's table of contents says of a record."""

    name: str
    method: int
    flags: int
    crc: int
    stored: int
    size: int
    offset: int


def _line(record: Record, digest: str = "-") -> str:
    return f"{record.crc:08x} {record.size} {digest} {record.name}\n"


class ArchiveWriter:
    """Writes records into a zip archive, uncompressed and aligned, below one folder.

    The file is only written to, in order. Records are copied piece by piece on the way, so that their checksums are
    right even if another thread changes them meanwhile.
    """

    #: From which size, and which number of records, on numbers take 64 bits.
    limit: ClassVar[int] = _SATURATED
    most: ClassVar[int] = 0xFFFF

    def __init__(self, file: BinaryIO, folder: str) -> None:
        self._file = file
        self._folder = folder
        self._at = 0
        self._records: list[Record] = []
        self._digests: list[str] = []

    def write(self, name: str, data: Any) -> None:
        """Add a record; `data` is bytes or a flat uint8 array."""
        full = f"{self._folder}/{name}".encode()
        view = memoryview(data)
        size, offset = view.nbytes, self._at
        extra = b"" if size < self.limit else struct.pack("<2H2Q", 1, 16, 0, 0)
        padding = -(offset + _LOCAL.size + len(full) + len(extra) + 4) % _ALIGNMENT
        extra += struct.pack("<2H", 0x4246, padding) + b"Z" * padding
        sizes = _SATURATED if size >= self.limit else 0
        flags = _STREAMED | _UTF8
        header = _LOCAL.pack(b"PK\3\4", 45, flags, _STORED, 0, 33, 0, sizes, sizes, len(full), len(extra))
        self._put(header + full + extra)
        crc, digest = 0, hashlib.sha256() if name == "data.pkl" else None
        for start in range(0, size, _PIECE):
            piece = bytes(view[start : start + _PIECE])
            crc = zlib.crc32(piece, crc)
            if digest is not None:
                digest.update(piece)
            self._put(piece)
        self._put(struct.pack("<4sIII" if size < self.limit else "<4sIQQ", b"PK\7\x08", crc, size, size))
        self._records.append(Record(full.decode(), _STORED, flags, crc, size, size, offset))
        self._digests.append(digest.hexdigest() if digest is not None else "-")

    def _put(self, data: bytes) -> None:
        self._at += len(data)
        written = self._file.write(data)
        while type(written) is int and written < len(data):  # raw files may take only a part
            data = data[written:]
            written = self._file.write(data)

    def close(self) -> None:
        """Write the list of checksums and the table of contents."""
        start = len(self._folder) + 1
        listed = (_line(r._replace(name=r.name[start:]), d) for r, d in zip(self._records, self._digests, strict=True))
        body = "".join(listed)
        self.write(MANIFEST, f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}".encode())
        begin = self._at
        for record in self._records:
            self._put(self._central(record))
        size, end, count = self._at - begin, self._at, len(self._records)
        if begin >= self.limit or size >= self.limit or count >= self.most:
            self._put(_END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, begin))
            self._put(_LOCATOR.pack(b"PK\6\7", 0, end, 1))
            count, size, begin = min(count, 0xFFFF), min(size, _SATURATED), _SATURATED
        self._put(_END.pack(b"PK\5\6", 0, 0, count, count, size, begin, 0))

    def _central(self, record: Record) -> bytes:
        name, size, offset = record.name.encode(), record.size, record.offset
        long = [n for n in (size, size, offset) if n >= self.limit]
        extra = struct.pack(f"<2H{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        size, offset = (n if n < self.limit else _SATURATED for n in (size, offset))
        what = (45, 45, record.flags, _STORED, 0, 33, record.crc, size, size)
        return _CENTRAL.pack(b"PK\1\2", *what, len(name), len(extra), 0, 0, 0, 0, offset) + name + extra


class ArchiveReader:
    """Reads the records of such an archive, whoever wrote it, from where `file` stands.

    Whatever the archive says of itself is checked before it is relied upon: no more memory is taken than the file is
    long, no two records overlap, all that it says twice agrees.

    Args:
        verify: compare records with their checksums. Archives that have none, as PyTorch writes them after
            `set_crc32_options(False)`, are taken as they are.
        map_file: give arrays that lie in the file itself; `shared` says that writes into the arrays go to the file.

    Raises:
        CheckpointError: if it is damaged, or no archive that `save` wrote.
    """

    def __init__(self, file: BinaryIO, map_file: bool = False, shared: bool = False, verify: bool = True) -> None:
        self._file: Any = file
        self._base = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        self._verify = verify
        self._unpacked = 0
        with _sound("the table of contents"):
            self._records = self._contents()
            self._check_order()
        pickles = sorted((name for name in self._records if name.endswith("/data.pkl")), key=len)
        if not pickles:
            raise CheckpointError("the zip archive holds no data.pkl: torch.save did not write this file")
        self._folder = pickles[0].removesuffix("data.pkl")
        self._bare = all(r.crc == 0 for r in self._records.values()) and self._records[pickles[0]].size > 0
        self._digests: dict[str, str] = {}
        with _sound("the list of checksums", MANIFEST):
            self._check_manifest()
        self._map = None
        if map_file:
            # of the file that is open: at its path there may be another by now
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY)

    # --- the table of contents ---------------------------------------------------------------------------------------

    def _at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, from `offset` in the file."""
        if offset < self._base or size < 0 or offset + size > self._end:
            raise ValueError("it points outside of the file")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise ValueError("the file ends too early")
        return data

    def _contents(self) -> dict[str, Record]:
        length = min(self._end - self._base, 0xFFFF + _END.size)
        tail = self._at(self._end - length, length)
        found = tail.rfind(b"PK\5\6")
        if found < 0 or len(tail) - found < _END.size:
            raise ValueError("there is none: the file was cut short")
        _, disk, first, here, count, size, begin, comment = _END.unpack_from(tail, found)
        end = self._end - len(tail) + found
        if disk or first or here != count or found + _END.size + comment > len(tail):
            raise ValueError("its end contradicts itself")
        table_end = end
        if end - _LOCATOR.size >= self._base and self._at(end - _LOCATOR.size, 4) == b"PK\6\7":
            table_end, count, size, begin = self._end64(end - _LOCATOR.size, count, size, begin)
        shift = table_end - size - begin  # an archive in the midst of a file counts from its own start, or the file's
        if size < 0 or shift not in (0, self._base):
            raise ValueError("it is not where it should be")
        self._shift, self._table = shift, table_end - size
        return self._parse(self._at(self._table, size), count)

    def _end64(self, locator: int, count: int, size: int, begin: int) -> tuple[int, int, int, int]:
        start = locator - _END64.size
        _, length, _, _, disk, first, here, total, size64, begin64 = _END64.unpack(self._at(start, _END64.size))
        _, disk2, offset, disks = _LOCATOR.unpack(self._at(locator, _LOCATOR.size))
        agree = all(
            narrow in (wide, full)
            for narrow, wide, full in ((count, total, 0xFFFF), (size, size64, _SATURATED), (begin, begin64, _SATURATED))
        )
        sound = self._at(start, 4) == b"PK\6\6" and length == _END64.size - 12 and here == total and agree
        if not sound or disk or first or disk2 or disks > 1 or start - offset not in (0, self._base):
            raise ValueError("its end contradicts itself")
        return start, total, size64, begin64

    def _parse(self, table: bytes, count: int) -> dict[str, Record]:
        records: dict[str, Record] = {}
        at = 0
        for _ in range(count):
            magic, *fixed = _CENTRAL.unpack_from(table, at)
            _, _, flags, method, _, _, crc, stored, size, name_length, extra_length, comment, disk, _, _, offset = fixed
            name_at = at + _CENTRAL.size
            extra_at = name_at + name_length
            at = extra_at + extra_length + comment
            if magic != b"PK\1\2" or at > len(table) or disk not in (0, 0xFFFF):
                raise ValueError("it is damaged")
            name = table[name_at:extra_at].decode("utf-8" if flags & _UTF8 else "cp437")
            wide = _zip64(table[extra_at : extra_at + extra_length])
            size, stored, offset = (n if n != _SATURATED or not wide else wide.pop(0) for n in (size, stored, offset))
            if name in records:
                raise ValueError(f"it lists {name[:80]!r} twice")
            if flags & ~(_STREAMED | _UTF8 | 6) or method not in (_STORED, _DEFLATED) or "\0" in name:
                raise ValueError(f"entry {name[:80]!r} is encrypted or packed in a way that torch.save does not use")
            if method == _STORED and stored != size:
                raise ValueError(f"entry {name[:80]!r} has two sizes")
            records[name] = Record(name, method, flags, crc, stored, size, offset + self._shift)
        if at != len(table):
            raise ValueError("it is longer than its entries")
        return records

    def _check_order(self) -> None:
        """No record reaches into another or into the table of contents."""
        at, previous = self._base, ""
        for record in sorted(self._records.values(), key=lambda record: record.offset):
            if record.offset < at:
                raise ValueError(f"entries {previous[:80]!r} and {record.name[:80]!r} overlap")
            at, previous = record.offset + _LOCAL.size + len(record.name) + record.stored, record.name
        if at > self._table:
            raise ValueError(f"entry {previous[:80]!r} ends behind the entries' end")

    def _check_manifest(self) -> None:
        if MANIFEST not in self:
            return
        digest, _, body = self.read(MANIFEST).decode().partition("\n")
        if hashlib.sha256(body.encode()).hexdigest() != digest:
            raise ValueError("it does not match its own checksum")
        listed = set()
        for line in body.splitlines(keepends=True):
            self._digests[line.rstrip("\n").split(" ", 3)[3]] = line.split(" ")[2]
            listed.add(line)
        start = len(self._folder)
        here = (r._replace(name=r.name[start:]) for r in self._records.values() if r.name.startswith(self._folder))
        wrong = {_line(r, self._digests.get(r.name, "-")) for r in here if r.name != MANIFEST} ^ listed
        if wrong:
            names = sorted({line.rstrip("\n").split(" ", 3)[-1] for line in wrong})
            raise CheckpointError("this record is not the one that was saved, or one is missing", names[0])

    # --- records -----------------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return self._folder + name in self._records

    def _find(self, name: str) -> tuple[Record, int]:
        """A record, and where its bytes begin."""
        record = self._records.get(self._folder + name)
        if record is None:
            raise CheckpointError("the archive lacks it; the file is damaged", name)
        return record, self._start(record, name)

    def _start(self, record: Record, name: str) -> int:
        """Where a record's bytes begin, once its own header agrees with the table of contents."""
        with _sound("its header", name):
            header = self._at(record.offset, _LOCAL.size)
            magic, _, flags, method, _, _, crc, stored, size, name_length, extra = _LOCAL.unpack(header)
            start = record.offset + _LOCAL.size
            own = self._at(start, name_length)
            start += name_length + extra
            numbers = (crc, stored, size)
            listed = (record.crc, record.stored, record.size)
            agree = flags & _STREAMED or all(a in (b, _SATURATED) for a, b in zip(numbers, listed, strict=True))
            same = own.decode("utf-8" if flags & _UTF8 else "cp437") == record.name and method == record.method
            if magic != b"PK\3\4" or not agree or not same or start + record.stored > self._table:
                raise ValueError("it is not what the table of contents says")
        return start

    def _check(self, name: str, record: Record, crc: int) -> None:
        if self._verify and not self._bare and crc != record.crc:
            raise CheckpointError("it does not match its checksum; the file is damaged", name)

    def read(self, name: str) -> bytes:
        """The bytes of a record."""
        record, start = self._find(name)
        with _sound("its data", name):
            data = self._at(start, record.stored)
            if record.method == _DEFLATED:
                data = self._unpack(record, data)
        self._check(name, record, zlib.crc32(data))
        digest = self._digests.get(name, "-")
        if digest != "-" and hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError("it does not match its SHA-256; the file was changed", name)
        return data

    def _unpack(self, record: Record, data: bytes) -> bytes:
        self._unpacked += record.size
        if self._unpacked > max(_SWELL_FREE, _SWELL * (self._end - self._base)):
            raise ValueError(f"unpacked, it would take {self._unpacked} bytes: it is a trap, no checkpoint")
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        unpacked = unpacker.decompress(data, record.size + 1)
        if len(unpacked) != record.size or not unpacker.eof:
            raise ValueError("unpacked, it does not have its size")
        return unpacked

    def read_array(self, name: str, size: int) -> np.ndarray:
        """The bytes of a record of known size as a writable uint8 array."""
        record, start = self._find(name)
        if record.size != size:
            raise CheckpointError(f"it has {record.size} bytes where {size} were expected; the file is damaged", name)
        if record.method != _STORED:
            return np.frombuffer(bytearray(self.read(name)), np.uint8)
        if self._map is not None:
            if self._verify and not self._bare:
                self._check(name, record, self._crc(start, size))
            return np.frombuffer(self._map, np.uint8, size, start)
        self._file.seek(start)
        found = _read_into(self._file, size)
        if found is None:
            raise CheckpointError("the file was cut short", name)
        if self._verify:
            self._check(name, record, zlib.crc32(found.data))
        return found

    def _crc(self, start: int, size: int) -> int:
        """The checksum of what a mapped file holds, read on the side so that the map stays untouched."""
        self._file.seek(start)
        crc, left = 0, size
        while left:
            piece = self._file.read(min(left, _PIECE))
            if not piece:
                break
            crc, left = zlib.crc32(piece, crc), left - len(piece)
        return crc

    def check(self) -> None:
        """Compare every record with its checksum."""
        for full in self._records:
            name, record = full.removeprefix(self._folder), self._records[full]
            start = self._start(record, name)
            if record.method == _STORED and name != "data.pkl":
                self._check(name, record, self._crc(start, record.size))
            elif name in self:
                self.read(name)

    def byte_order(self) -> str | None:
        """'little' or 'big'; None if the archive does not tell."""
        if "byteorder" not in self:
            return None
        order = self.read("byteorder")
        if order not in (b"little", b"big"):
            raise CheckpointError(f"expected 'little' or 'big', got {order[:20]!r}", "byteorder")
        return order.decode()


def _zip64(extra: bytes) -> list[int]:
    """The numbers of 64 bits among the extra fields of an entry."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            return list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    return []


@contextlib.contextmanager
def _sound(what: str, entry: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong inside into a CheckpointError."""
    try:
        yield
    except (ValueError, LookupError, struct.error, zlib.error, OverflowError) as error:
        raise CheckpointError(f"{what} can't be trusted: {error}; the file is damaged", entry) from error


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
