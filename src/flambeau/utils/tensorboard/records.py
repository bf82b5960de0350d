"""TensorBoard's event files: protocol buffers in records with checksums. Facts from the formats' definitions."""

from __future__ import annotations

import struct
import time
from typing import Any

import numpy as np


def _castagnoli() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _castagnoli()


def checksum(data: bytes) -> int:
    """CRC-32C, masked as records have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A record: its length, the data, a checksum of each."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", checksum(length)) + data + struct.pack("<I", checksum(data))


# --- protocol buffers ------------------------------------------------------------------------------------------------


def _varint(n: int) -> bytes:
    n &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def whole(field: int, value: int) -> bytes:
    """A field that holds an integer."""
    return _varint(field << 3) + _varint(value)


def double(field: int, value: float) -> bytes:
    """A field that holds a number of 64 bits."""
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def single(field: int, value: float) -> bytes:
    """A field that holds a number of 32 bits."""
    return _varint(field << 3 | 5) + np.float32(value).tobytes()


def nested(field: int, data: bytes | str) -> bytes:
    """A field that holds text, bytes or another message."""
    data = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def event(step: int | None, wall_time: float | None, body: bytes) -> bytes:
    """An event: when, at which step, and what."""
    moment = double(1, time.time() if wall_time is None else wall_time)
    return moment + (b"" if step is None else whole(2, int(step))) + body


def version() -> bytes:
    """The event that begins a file."""
    return event(None, None, nested(3, "brain.Event:2"))


def _summary(tag: str, content: bytes, plugin: str | None = None) -> bytes:
    metadata = nested(9, nested(1, nested(1, plugin))) if plugin else b""
    return nested(5, nested(1, nested(1, tag) + content + metadata))


def scalar(tag: str, value: float) -> bytes:
    """One number."""
    return _summary(tag, single(2, value))


def image(tag: str, png: bytes, height: int, width: int, bands: int) -> bytes:
    """An image in the bytes of a PNG file."""
    return _summary(tag, nested(4, whole(1, height) + whole(2, width) + whole(3, bands) + nested(4, png)))


def text(tag: str, content: str) -> bytes:
    """Some text, in Markdown."""
    tensor = whole(1, 7) + nested(2, nested(2, whole(1, 1))) + nested(8, content)
    return _summary(f"{tag}/text_summary", nested(8, tensor), "text")


def _default_limits() -> np.ndarray:
    steps = 1e-12 * 1.1 ** np.arange(int(np.ceil(np.log(1e20 / 1e-12) / np.log(1.1))))
    return np.concatenate([-steps[::-1], [0.0], steps])


def histogram(tag: str, values: Any, bins: Any = "tensorflow", max_bins: int | None = None) -> bytes:
    """How often values lie between limits; `bins` as in `numpy.histogram`, or TensorFlow's exponential ones.

    ValueError for no values.
    """
    values = np.asarray(values, np.float64).reshape(-1)
    if values.size == 0:
        raise ValueError("a histogram needs at least one value")
    exponential = isinstance(bins, str) and bins == "tensorflow"
    counts, limits = np.histogram(values, bins=_default_limits() if exponential else bins)
    if max_bins is not None and len(counts) > max_bins:
        group = -(-len(counts) // max_bins)
        counts = np.add.reduceat(counts, np.arange(0, len(counts), group))
        limits = np.concatenate([limits[:-1:group], limits[-1:]])
    used = np.flatnonzero(counts)
    first, last = (used[0], used[-1] + 1) if used.size else (0, len(counts))
    counts, limits = np.concatenate([[0], counts[first:last]]), limits[first : last + 1]
    body = double(1, values.min()) + double(2, values.max()) + double(3, values.size)
    body += double(4, values.sum()) + double(5, float(values @ values))
    body += nested(6, limits.astype("<f8").tobytes()) + nested(7, counts.astype("<f8").tobytes())
    return _summary(tag, nested(5, body))
