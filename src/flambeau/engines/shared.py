"""Memory that several processes map: arrays over anonymous files, which no name anywhere points to.

A `Block` is such a file mapped into this process. It lives as long as somebody maps it or holds its descriptor, in
whichever process, and the system frees it when the last of them ends, however that ends: nothing is left in /dev/shm.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import weakref
from typing import Any

import numpy as np

__all__ = ["AVAILABLE", "Block", "adopt", "allocate", "anonymous_file", "block_of", "write_all"]

_ALIGN = 64


def anonymous_file() -> int:
    """The descriptor of a new, empty file without a name, in memory.

    Raises OSError where the system has none to give.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("flambeau", os.MFD_CLOEXEC)
    import _posixshmem  # type: ignore[import-not-found]

    name = f"/flambeau-{os.getpid()}-{next(_numbers)}"
    fd = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
    _posixshmem.shm_unlink(name)
    return fd


_numbers = itertools.count()
_libc: Any = None

#: Whether processes of this system can hand each other memory.
AVAILABLE = os.name == "posix"


def _c() -> Any:
    global _libc
    if _libc is None:
        library = ctypes.CDLL(None, use_errno=True)
        library.mmap.restype = ctypes.c_void_p
        library.mmap.argtypes = (
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
        )  # fmt: skip
        library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        _libc = library
    return _libc


class Block:
    """A shared file, mapped. NumPy arrays over it (`array()`) keep it; with the last of them it is unmapped.

    `fd` is its descriptor, None if this process has not kept one: then it can't be handed on. `token` names it in all
    processes. Python's own `mmap` would hold a descriptor per mapping, of which a process has few.
    """

    __slots__ = ("__weakref__", "address", "fd", "size", "token")

    def __init__(self, fd: int, size: int, token: bytes, keep: bool) -> None:
        libc = _c()
        address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            error = ctypes.get_errno()
            os.close(fd)
            raise OSError(error, f"can't map {size} bytes of shared memory: {os.strerror(error)}")
        self.address, self.size, self.token = address, size, token
        self.fd: int | None = fd
        if not keep:
            os.close(fd)
            self.fd = None

    @property
    def __array_interface__(self) -> dict:
        return {"version": 3, "shape": (self.size,), "typestr": "|u1", "data": (self.address, False)}

    def array(self) -> np.ndarray:
        """All of it, as bytes."""
        return np.asarray(self)

    def __del__(self, close: Any = os.close) -> None:
        if getattr(self, "address", None) is not None and _libc is not None:
            _libc.munmap(self.address, self.size)
            if self.fd is not None:
                close(self.fd)


#: Blocks that can be handed on, by token: what comes back is mapped only once.
_known: weakref.WeakValueDictionary[bytes, Block] = weakref.WeakValueDictionary()


def allocate(size: int) -> Block:
    """A new block of `size` bytes, zero, that can be handed to other processes.

    Raises OSError if there is not that much memory, or the process has too many descriptors.
    """
    fd = anonymous_file()
    try:
        os.ftruncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    block = Block(fd, size, os.urandom(12), keep=True)
    _known[block.token] = block
    return block


def adopt(fd: int, size: int, token: bytes) -> Block:
    """The block that another process allocated, given a descriptor of it, which is taken over."""
    known = _known.get(token)
    if known is not None:
        os.close(fd)
        return known
    block = _known[token] = Block(fd, size, token, keep=True)
    return block


def block_of(array: Any) -> Block | None:
    """The block whose memory an array shows, if it does."""
    owner = array
    while owner is not None:
        if isinstance(owner, Block):
            return owner
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return None


def write_all(fd: int, parts: list[Any]) -> list[int]:
    """Write the parts (whatever is contiguous bytes) into a file, each where a cache line begins; their offsets."""
    places, position = [], 0
    for part in parts:
        position = -(-position // _ALIGN) * _ALIGN
        places.append(position)
        view = memoryview(part).cast("B")
        while view:
            done = os.pwrite(fd, view, position)
            position += done
            view = view[done:]
    return places
