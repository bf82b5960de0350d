"""The PNG format (ISO/IEC 15948) for 8 bits per band: enough to write what programs save, and to read it back."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_BANDS = {0: 1, 2: 3, 4: 2, 6: 4}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(array: np.ndarray, level: int = 6) -> bytes:
    """A PNG file of bytes in height, width and, but for one band, bands. ValueError for other dtypes or shapes."""
    array = np.ascontiguousarray(array[..., None] if array.ndim == 2 else array)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in _COLOUR_TYPE:
        raise ValueError(f"PNG: expected uint8 in (height, width, 1 to 4 bands), got {array.dtype} {array.shape}")
    height, width, bands = array.shape
    lines = np.zeros((height, 1 + width * bands), np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = array.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[bands], 0, 0, 0)
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(lines.tobytes(), level))
        + _chunk(b"IEND", b"")
    )


def decode(data: bytes) -> np.ndarray:
    """The bytes of a PNG file in (height, width, bands). ValueError for what is no PNG, is damaged, or has palettes,
    interlacing or other depths than 8 bits, which need Pillow.
    """
    if data[:8] != _SIGNATURE:
        raise ValueError("these bytes are no PNG file")
    header, packed, at = b"", b"", 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4 or zlib.crc32(kind + body) != struct.unpack(">I", check)[0]:
            raise ValueError(f"PNG: the chunk {kind!r} is damaged")
        header = body if kind == b"IHDR" else header
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 8 or colour not in _BANDS or interlaced:
        raise ValueError("PNG: only 8 bits, without palette or interlacing, can be read without Pillow")
    bands = _BANDS[colour]
    raw = np.frombuffer(zlib.decompress(packed), np.uint8)
    if raw.size != height * (1 + width * bands):
        raise ValueError("PNG: the image data has not the size that its header says")
    return _unfilter(raw.reshape(height, -1), bands).reshape(height, width, bands)


def _unfilter(lines: np.ndarray, bands: int) -> np.ndarray:
    """Undo the filters of the lines: each byte was stored as a difference to what stands left of it or above."""
    out = np.zeros((len(lines), lines.shape[1] - 1), np.uint8)
    above = np.zeros(lines.shape[1] - 1, np.uint8)
    for line, row in zip(lines, out):
        kind, row[:] = line[0], line[1:]
        if kind == 1:
            row[:] = np.cumsum(row.reshape(-1, bands), axis=0, dtype=np.uint8).reshape(-1)
        elif kind == 2:
            row += above
        elif kind in (3, 4):
            _unfilter_both(row, above, bands, kind)
        above = row
    return out


def _unfilter_both(row: np.ndarray, above: np.ndarray, bands: int, kind: int) -> None:
    for i in range(len(row)):
        a, b, c = (int(row[i - bands]), int(above[i]), int(above[i - bands])) if i >= bands else (0, int(above[i]), 0)
        if kind == 3:
            guess = (a + b) // 2
        else:
            p = a + b - c
            guess = min((a, b, c), key=lambda v: abs(p - v))
        row[i] = (int(row[i]) + guess) & 255
