"""What a loader and its workers tell each other: small messages through a pipe, arrays through shared memory.

A message that holds more than a little is written to an anonymous file in memory, and only that file's descriptor
goes through the pipe. So no side ever waits for the other to read, no array is copied through a pipe, and nothing has
a name that could be left behind when a process is killed.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
from multiprocessing import reduction
from typing import Any

import numpy as np

from flambeau.engines import shared

__all__ = ["BOUND", "receive", "send", "widen"]

_INLINE = 2048
_IN_BAND = 1024

#: How many messages may be under way to one side. With a descriptor each they always fit into a pipe's buffer.
BOUND = 32 if shared.AVAILABLE else 1

_NUMBERS = struct.Struct("<QQ")


def widen(connection: Any) -> None:
    """Give a pipe room for `BOUND` messages where the system starts out with less."""
    if shared.AVAILABLE:
        with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
            if end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < 200_000:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)


def send(connection: Any, message: Any) -> None:
    """Pickle a message and send it. Raises what pickling raises (then nothing is sent), or OSError."""
    large: list[Any] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _IN_BAND:
            return True
        large.append(raw)
        return False

    payload = pickle.dumps(message, protocol=5, buffer_callback=keep if shared.AVAILABLE else None)
    if not shared.AVAILABLE or (not large and len(payload) <= _INLINE):
        connection.send_bytes(b"\0" + payload)
        return
    sizes = np.array([len(payload), *(part.nbytes for part in large)], np.int64)
    fd = shared.anonymous_file()
    try:
        table = np.zeros(2 * len(sizes), np.int64)  # where each part begins and ends; written last
        places = shared.write_all(fd, [table, payload, *large])
        table[0::2] = places[1:]
        table[1::2] = table[0::2] + sizes
        os.pwrite(fd, table.tobytes(), 0)
        connection.send_bytes(b"\1" + _NUMBERS.pack(int(table[-1]), len(sizes)))
        reduction.send_handle(connection, fd, None)  # type: ignore[attr-defined]
    finally:
        os.close(fd)


def receive(connection: Any) -> Any:
    """The next message. Arrays in it live in memory that is shared with nobody else any more.

    Raises EOFError or OSError when the other side is gone.
    """
    received = connection.recv_bytes()
    if received[:1] == b"\0":
        return pickle.loads(received[1:])
    size, count = _NUMBERS.unpack(received[1:])
    fd = reduction.recv_handle(connection)  # type: ignore[attr-defined]
    memory = shared.Block(fd, size, b"", keep=False).array()
    table = memory[: 16 * count].view(np.int64).reshape(count, 2).tolist()
    (first, last), *buffers = table
    return pickle.loads(memory[first:last].data, buffers=[memory[a:b] for a, b in buffers])
