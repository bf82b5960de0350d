"""Ways to damage a file: its bytes, the structure of its zip archive, the instructions of its pickle."""

from __future__ import annotations

import io
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]

# --- bytes -----------------------------------------------------------------------------------------------------------


def flip_bit(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 16)):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def cut_short(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _part(data: bytes, rng: random.Random, longest: int = 4096) -> tuple[int, int]:
    size = min(len(data), 2 ** rng.randint(0, longest.bit_length() - 1))
    at = rng.randrange(len(data) - size + 1)
    return at, at + size


def drop_part(data: bytes, rng: random.Random) -> bytes:
    start, end = _part(data, rng)
    return data[:start] + data[end:]


def double_part(data: bytes, rng: random.Random) -> bytes:
    start, end = _part(data, rng)
    return data[:end] + data[start:]


def zero_part(data: bytes, rng: random.Random) -> bytes:
    start, end = _part(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def noise_part(data: bytes, rng: random.Random) -> bytes:
    start, end = _part(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def swap_parts(data: bytes, rng: random.Random) -> bytes:
    """Two blocks of a disk exchanged."""
    size = max(1, min(2 ** rng.randint(4, 10), len(data) // 2))
    a, b = sorted(rng.randrange(len(data) // size) * size for _ in range(2))
    return (
        data if a == b else data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]
    )


def append_noise(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randint(1, 300))


def old_tail(data: bytes, rng: random.Random) -> bytes:
    """A write that was interrupted over an older file: its end is another's."""
    at = rng.randrange(len(data))
    return data[:at] + bytes(b ^ 0x5A for b in data[at:])


BYTES: list[Mutation] = [
    flip_bit, flip_bit, change_bytes, cut_short, drop_part, double_part, zero_part, noise_part, swap_parts,
    append_noise, old_tail,
]  # fmt: skip

# --- the zip archive -------------------------------------------------------------------------------------------------


def _records(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _packed(records: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with right checksums of the given records."""
    import warnings

    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name may be there twice
        for name, contents in records:
            archive.writestr(zipfile.ZipInfo(name), contents, method)
    return file.getvalue()


def lose_record(data: bytes, rng: random.Random) -> bytes:
    records = _records(data)
    del records[rng.choice([i for i, (name, _) in enumerate(records) if "data" in name])]
    return _packed(records)


def exchange_records(data: bytes, rng: random.Random) -> bytes:
    """Two records under each other's names, with right checksums."""
    records = _records(data)
    a, b = rng.sample(range(len(records)), 2)
    (name, one), (other, two) = records[a], records[b]
    records[a], records[b] = (name, two), (other, one)
    return _packed(records)


def rewrite_record(data: bytes, rng: random.Random) -> bytes:
    """A record that was changed by a program which put the checksum right again."""
    records = _records(data)
    at = rng.choice([i for i, (_, contents) in enumerate(records) if contents])
    name, contents = records[at]
    records[at] = (name, rng.choice(BYTES)(contents, rng))
    return _packed(records)


def name_twice(data: bytes, rng: random.Random) -> bytes:
    records = _records(data)
    name, contents = rng.choice(records)
    records.insert(rng.randrange(len(records)), (name, rng.randbytes(len(contents))))
    return _packed(records)


def rename(data: bytes, rng: random.Random) -> bytes:
    records = _records(data)
    at = rng.randrange(len(records))
    name, contents = records[at]
    other = rng.choice([name.upper(), "../" + name, "/" + name, name + "\0", name.replace("/", "\\"), "x", name + "x"])
    records[at] = (other, contents)
    return _packed(records)


def compress(data: bytes, rng: random.Random) -> bytes:
    """The same records, compressed; and some damage to them."""
    packed = _packed(_records(data), zipfile.ZIP_DEFLATED)
    return rng.choice(BYTES)(packed, rng)


def _central(data: bytes) -> list[int]:
    at, found = data.rfind(b"PK\5\6"), []
    at = struct.unpack_from("<I", data, at + 16)[0]
    while data[at : at + 4] == b"PK\1\2":
        found.append(at)
        lengths = struct.unpack_from("<3H", data, at + 28)
        at += 46 + sum(lengths)
    return found


#: Fields of an entry in the table of contents, of a record's own header, and of the archive's end: offset and layout.
_ENTRY = [(4, "H"), (6, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (30, "H"),
          (32, "H"), (34, "H"), (36, "H"), (38, "I"), (42, "I")]  # fmt: skip
_HEADER = [(0, "I"), (4, "H"), (6, "H"), (8, "H"), (10, "I"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H")]
_END = [(4, "H"), (6, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H")]


def _strange(old: int, most: int, rng: random.Random) -> int:
    return (
        rng.choice([0, 1, old + 1, old - 1, old ^ 8, most, most - 1, most // 2, rng.randint(0, most), old * 2]) & most
    )


def change_field(data: bytes, rng: random.Random) -> bytes:
    """A field of the archive's structure set to something else."""
    changed = bytearray(data)
    entries = _central(data)
    for _ in range(rng.randint(1, 2)):
        kind = rng.randrange(3)
        if kind == 0:
            at, fields = rng.choice(entries), _ENTRY
        elif kind == 1:
            at, fields = struct.unpack_from("<I", data, rng.choice(entries) + 42)[0], _HEADER
        else:
            at, fields = data.rfind(b"PK\5\6"), _END
        offset, layout = rng.choice(fields)
        old = struct.unpack_from("<" + layout, changed, at + offset)[0]
        new = _strange(old, 0xFFFF if layout == "H" else 0xFFFFFFFF, rng)
        struct.pack_into("<" + layout, changed, at + offset, new)
    return bytes(changed)


def lie_about_record(data: bytes, rng: random.Random) -> bytes:
    """A record's place, size and checksum exchanged for another's in the table of contents."""
    changed = bytearray(data)
    a, b = rng.sample(_central(data), 2)
    for start, end in ((16, 28), (42, 46)):
        changed[a + start : a + end], changed[b + start : b + end] = (
            data[b + start : b + end],
            data[a + start : a + end],
        )
    return bytes(changed)


def overlap(data: bytes, rng: random.Random) -> bytes:
    """All entries on one record: small files that read as huge ones are made so."""
    changed = bytearray(data)
    entries = _central(data)
    one = rng.choice(entries)
    for entry in entries:
        if rng.random() < 0.5:
            changed[entry + 16 : entry + 28], changed[entry + 42 : entry + 46] = (
                data[one + 16 : one + 28],
                data[one + 42 : one + 46],
            )
    return bytes(changed)


def bomb(data: bytes, rng: random.Random) -> bytes:
    """A record that unpacks to gigabytes, under the size that is expected of it or another."""
    records = _records(data)
    name, contents = rng.choice(records)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    swollen = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    claimed = rng.choice([len(contents), 64 << 20, 4 << 30, 1 << 60])
    packed = bytearray(_packed([*((n, c) for n, c in records if n != name), (name, swollen)]))
    entry = _central(bytes(packed))[-1]
    struct.pack_into("<H", packed, entry + 10, 8)
    struct.pack_into("<I", packed, entry + 24, min(claimed, 0xFFFFFFFF))
    return bytes(packed)


STRUCTURE: list[Mutation] = [
    lose_record, exchange_records, rewrite_record, rewrite_record, name_twice, rename, compress, change_field,
    change_field, change_field, lie_about_record, overlap, bomb,
]  # fmt: skip

# --- the pickle ------------------------------------------------------------------------------------------------------

_CODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
_GLOBALS = [b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nexec\n", b"creliability_canary\ntouch\n",
            b"csubprocess\nPopen\n", b"cbuiltins\ngetattr\n", b"ctorch.storage\n_load_from_bytes\n",
            b"ctorch\nload\n", b"cnumpy\nload\n", b"ccollections\nOrderedDict\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nTensor\n", b"ctorch\nSize\n",
            b"ctorch\nFloatStorage\n"]  # fmt: skip
_CALLS = [b"(S'true'\ntR", b")R", b"(tR", b")\x81", b"}b", b"(K\x01tb", b"R", b"\x81", b"b", b"Q", b"0", b"a", b"s",
          b"u", b"i" + b"os\nsystem\n", b"o", b"\x82\x01", b"h\x00", b"2", b"(", b"1", b"t"]  # fmt: skip


def _steps(pickled: bytes) -> list[bytes]:
    """The instructions of a pickle, each with its argument."""
    places = [at for _, _, at in pickletools.genops(pickled)]
    return [pickled[a:b] for a, b in zip(places, [*places[1:], len(pickled)], strict=True)]


def mutate_pickle(pickled: bytes, rng: random.Random) -> bytes:
    steps = _steps(pickled)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(steps))
        step = steps[at]
        way = rng.randrange(9)
        if way == 0:
            steps[at] = rng.choice(_CODES) + step[1:]
        elif way == 1:
            steps[at] = b""
        elif way == 2:
            steps.insert(at, step)
        elif way == 3:
            other = rng.randrange(len(steps))
            steps[at], steps[other] = steps[other], step
        elif way == 4:
            steps.insert(at, rng.choice(_GLOBALS) + rng.choice(_CALLS))
        elif way == 5:
            steps.insert(at, rng.choice(_CALLS))
        elif way == 6 and len(step) > 1:
            steps[at] = step[:1] + rng.randbytes(len(step) - 1)
        elif way == 7:
            named = [i for i, s in enumerate(steps) if s[:1] == b"c"]
            if named:
                steps[rng.choice(named)] = rng.choice(_GLOBALS)
        else:
            numbers = [i for i, s in enumerate(steps) if s[:1] in (b"K", b"M", b"J", b"\x8a")]
            if numbers:
                huge = rng.choice([-1, 0, 1, 255, 2**31 - 1, 2**31, 2**62, 2**63, -(2**40), rng.randrange(100)])
                steps[rng.choice(numbers)] = b"\x8a\x09" + huge.to_bytes(9, "little", signed=True)
    return b"".join(steps)


def change_pickle(data: bytes, rng: random.Random) -> bytes:
    """An archive whose pickle has other instructions, and checksums of a zip program that are right for them."""
    records = _records(data)
    at = next(i for i, (name, _) in enumerate(records) if name.endswith("/data.pkl"))
    name, contents = records[at]
    records[at] = (name, mutate_pickle(contents, rng))
    return _packed(records)


def forge_pickle(data: bytes, rng: random.Random) -> bytes:
    """The same by someone who also takes away the list of checksums: no reader can tell that it was changed."""
    records = [(name, c) for name, c in _records(change_pickle(data, rng)) if not name.endswith("/.data/checksums")]
    return _packed(records)
