"""Writing a file in one step or not at all, so that neither a crash nor a full disk costs the file that was there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from flambeau.errors import SaveError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can't be removed by others: the system itself keeps the lock
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_file"]

#: Names of files that are being written. Whoever writes one holds a lock on it; without its lock it is a leftover.
_TEMPORARY = re.compile(r"\.flambeau-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def atomic_file(path: Any) -> Iterator[BinaryIO]:
    """A file to write, which appears at `path` complete and on disk when the block ends, or not at all.

    If the block fails, whatever was at `path` before is still there, untouched. Leftovers of writers that were killed
    are removed from the folder. `SaveError`, which is a RuntimeError and an OSError, if the file can't be written.
    """
    target = os.path.realpath(os.fspath(path))
    parent = os.path.dirname(target)
    if not os.path.isdir(parent):
        raise SaveError(f"can't save to {os.fspath(path)!r}: its parent directory {parent} does not exist")
    if os.path.isdir(target):
        raise SaveError(f"can't save to {os.fspath(path)!r}: it is a directory")
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "wb") as device:  # a pipe or a device can't be replaced
                yield device
            return
        _remove_leftovers(parent)
        temporary, file = _create(parent)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if os.path.exists(target):
                    os.chmod(temporary, os.stat(target).st_mode & 0o7777)
                if fcntl is not None:
                    os.replace(temporary, target)  # while the lock is held: nobody takes it for a leftover
            if fcntl is None:
                os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(parent)
    except OSError as error:
        if isinstance(error, SaveError):
            raise
        failed = SaveError(
            f"can't save to {os.fspath(path)!r}: {error.strerror or error}. The file that was there before, if any, is "
            "untouched"
        )
        failed.errno = error.errno
        raise failed from error


def _create(parent: str) -> tuple[str, BinaryIO]:
    """A new temporary file and its name, locked where the system has locks."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        temporary = os.path.join(parent, f".flambeau-{os.urandom(8).hex()}.tmp")
        descriptor = os.open(temporary, flags, 0o666)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(temporary):
            return temporary, os.fdopen(descriptor, "w+b")
        os.close(descriptor)  # another process was quicker to take it for a leftover than this one to lock it


def _remove_leftovers(parent: str) -> None:
    """Remove the temporary files whose writers are gone."""
    with contextlib.suppress(OSError):
        for name in os.listdir(parent):
            if _TEMPORARY.fullmatch(name):
                _remove_if_left(os.path.join(parent, name))


def _remove_if_left(path: str) -> None:
    with contextlib.suppress(OSError):
        if fcntl is None:
            os.unlink(path)
            return
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _sync_directory(path: str) -> None:
    """Make the renaming itself durable, where the system lets directories be synced."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
