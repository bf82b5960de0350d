"""Stores: small values under names that several processes read and write, as `init_process_group(store=...)` takes.

`HashStore` is for the threads of one process, `FileStore` for processes that see one file, `TCPStore` for those that
reach one address: there, the standard library's XML-RPC serves a `HashStore` of the process that hosts it.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flambeau.errors import DistNetworkError, DistStoreError

__all__ = ["FileStore", "HashStore", "PrefixStore", "Store", "TCPStore"]

_PATIENCE = datetime.timedelta(minutes=5)


# What stores do with values, by name.


def _set(values: dict[str, bytes], key: str, data: bytes) -> None:
    values[key] = data


def _add(values: dict[str, bytes], key: str, amount: int) -> int:
    number = int(values.get(key, b"0")) + amount
    values[key] = str(number).encode()
    return number


def _append(values: dict[str, bytes], key: str, data: bytes) -> None:
    values[key] = values.get(key, b"") + data


def _compare_set(values: dict[str, bytes], key: str, expected: bytes, desired: bytes) -> bytes:
    found = values.get(key)
    if (found or b"") == expected:
        values[key] = desired
        return desired
    return expected if found is None else found


_DOINGS: dict[str, Callable] = {
    "set": _set,
    "get": lambda values, key: values.get(key, b""),
    "add": _add,
    "append": _append,
    "compare_set": _compare_set,
    "check": lambda values, keys: all(k in values for k in keys),
    "delete": lambda values, key: values.pop(key, None) is not None,
    "names": lambda values: list(values),
}


class Store:
    """What all stores do. Values are bytes; strings are kept in UTF-8."""

    def __init__(self) -> None:
        self.timeout = _PATIENCE

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, bytes]]:
        """The values, which nobody else changes meanwhile; what is changed inside stays."""
        raise NotImplementedError(f"{type(self).__name__} is no store of values: use HashStore, FileStore or TCPStore")
        yield {}

    def _do(self, what: str, *args: Any) -> Any:
        with self._opened() as values:
            return _DOINGS[what](values, *args)

    def set(self, key: str, value: str | bytes) -> None:
        """Puts a value under a name."""
        self._do("set", key, _bytes(value))

    def get(self, key: str) -> bytes:
        """The value under a name, when it is there. DistStoreError if it does not come within `timeout`."""
        self.wait([key])
        return self._do("get", key)

    def add(self, key: str, amount: int) -> int:
        """Adds to the number under a name, which begins at 0, and returns it."""
        return self._do("add", key, amount)

    def append(self, key: str, value: str | bytes) -> None:
        """Puts a value behind the one that is there."""
        self._do("append", key, _bytes(value))

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """Puts a value in the place of the one that is expected; returns what is there then.

        Where nothing is, nothing ("") has to be expected; else what was expected comes back.
        """
        return self._do("compare_set", key, _bytes(expected_value), _bytes(desired_value))

    def check(self, keys: Sequence[str]) -> bool:
        """Whether there are values under all of these names."""
        return self._do("check", list(keys))

    def wait(self, keys: Sequence[str], timeout: datetime.timedelta | None = None) -> None:
        """Waits for values under all of these names. DistStoreError if they do not come in time."""
        seconds = (self.timeout if timeout is None else timeout).total_seconds()
        end = time.monotonic() + seconds
        pause = 0.001
        while not self.check(keys):
            if time.monotonic() > end:
                missing = [k for k in keys if not self.check([k])]
                raise DistStoreError(f"wait timeout after {seconds * 1000:.0f} ms, keys: {', '.join(missing)}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def delete_key(self, key: str) -> bool:
        """Takes a value away; whether there was one."""
        return self._do("delete", key)

    def num_keys(self) -> int:
        """How many values there are."""
        return len(self._do("names"))

    def list_keys(self) -> list[str]:
        """The names under which there are values."""
        return self._do("names")

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """`set` for each pair."""
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """`get` for each name."""
        return [self.get(key) for key in keys]

    def set_timeout(self, timeout: datetime.timedelta) -> None:
        """How long `get` and `wait` wait."""
        self.timeout = timeout

    def has_extended_api(self) -> bool:
        """Whether there are `append`, `multi_get` and `multi_set`: yes."""
        return True


class HashStore(Store):
    """Values in this process's memory, for its threads.

    >>> from flambeau import distributed as dist
    >>> store = dist.HashStore()
    >>> store.set("name", "value"); store.add("count", 2); store.get("name")
    2
    b'value'
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._values: dict[str, bytes] = {}

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, bytes]]:
        with self._lock:
            yield self._values


class FileStore(Store):
    """Values in a file that all processes see. It stays when they are gone, and has to be new for each run.

    Args:
        file_name: the file, made if there is none.
        world_size: how many processes use it; nothing depends on it here.
    """

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        super().__init__()
        self.path = os.fspath(file_name)
        open(self.path, "a").close()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, bytes]]:
        import fcntl

        with open(self.path, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
            text = file.read()
            values = {k: base64.b64decode(v) for k, v in json.loads(text or "{}").items()}
            before = dict(values)
            yield values
            if values != before:
                file.seek(0)
                file.write(json.dumps({k: base64.b64encode(v).decode() for k, v in values.items()}))
                file.truncate()
                file.flush()


class TCPStore(Store):
    """Values in the memory of one process, which the others reach over the network. For networks that one trusts.

    Args:
        host_name, port: where it is hosted; port 0 takes a free one, which `port` says then.
        world_size: how many processes will use it, if that is known.
        is_master: whether this process hosts it.
        timeout: how long to wait for the host, for values and, with `wait_for_workers`, for all others.

    Raises:
        DistNetworkError: the host can't be reached, or the port is taken.
    """

    def __init__(self, host_name: str, port: int, world_size: int | None = None, is_master: bool = False,
                 timeout: datetime.timedelta = _PATIENCE, wait_for_workers: bool = True, multi_tenant: bool = False,
                 master_listen_fd: int | None = None, use_libuv: bool = True) -> None:  # fmt: skip
        super().__init__()
        self.timeout = timeout
        self.host, self.port, self.libuvBackend = host_name, port, use_libuv
        self._server = _Server(port) if is_master else None
        if self._server is not None:
            self.port = self._server.port
        self._local = threading.local()
        end = time.monotonic() + timeout.total_seconds()
        while True:
            try:
                here = self.add("flambeau/here", 1)
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise DistNetworkError(f"TCPStore: no store answers at {host_name}:{self.port} ({error})") from None
                time.sleep(0.1)
        if wait_for_workers and world_size is not None and is_master and here < world_size:
            while self.add("flambeau/here", 0) < world_size:
                if time.monotonic() > end:
                    raise DistStoreError(f"TCPStore: not all of {world_size} processes came to port {self.port}")
                time.sleep(0.02)

    def _do(self, what: str, *args: Any) -> Any:
        if self._server is not None:
            return self._server.store._do(what, *args)
        proxy = getattr(self._local, "proxy", None)
        if proxy is None:
            from xmlrpc.client import ServerProxy

            proxy = self._local.proxy = ServerProxy(f"http://{self.host}:{self.port}")
        return json.loads(str(proxy.do(json.dumps(_sent((what, *args))))), object_hook=_received)

    def close(self) -> None:
        """Ends the service, where it is hosted. It ends with the process at the latest."""
        if self._server is not None:
            self._server.close()


class _Server:
    """The service of a `TCPStore`, in threads that end with the process."""

    def __init__(self, port: int) -> None:
        from socketserver import ThreadingMixIn
        from xmlrpc.server import SimpleXMLRPCServer

        class Server(ThreadingMixIn, SimpleXMLRPCServer):
            daemon_threads = True
            allow_reuse_address = True

        self.store = HashStore()
        try:
            self._server = Server(("", port), logRequests=False)
        except OSError as error:
            raise DistNetworkError(f"TCPStore: port {port} can't be used: {error}") from None
        self.port = self._server.server_address[1]
        self._server.register_function(self.do)
        threading.Thread(target=self._server.serve_forever, daemon=True, name="TCPStore").start()

    def do(self, text: Any) -> Any:
        """Does what a client asks for."""
        return json.dumps(_sent(self.store._do(*json.loads(text, object_hook=_received))))

    def close(self) -> None:
        """Ends the service."""
        self._server.shutdown()
        self._server.server_close()


def _sent(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return [_sent(v) for v in value] if isinstance(value, (list, tuple)) else value


def _received(value: dict) -> bytes:
    return base64.b64decode(value["bytes"])


class PrefixStore(Store):
    """Another store's values whose names begin with `prefix/`."""

    def __init__(self, prefix: str, store: Store) -> None:
        self.prefix, self.underlying_store = prefix, store

    @property
    def timeout(self) -> datetime.timedelta:  # type: ignore[override]
        """How long `get` and `wait` wait."""
        return self.underlying_store.timeout

    def set_timeout(self, timeout: datetime.timedelta) -> None:
        self.underlying_store.set_timeout(timeout)

    def _do(self, what: str, *args: Any) -> Any:
        start = self.prefix + "/"
        if what == "names":
            names = self.underlying_store._do(what)
            return [n.removeprefix(start) for n in names if n.startswith(start)]
        key, *rest = args
        return self.underlying_store._do(what, [start + k for k in key] if what == "check" else start + key, *rest)


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, (str, bytes)):
        return value.encode() if isinstance(value, str) else value
    raise TypeError(f"a store keeps str and bytes, got {type(value).__name__}")


def meeting_place(store: Store, rank: int) -> str:
    """An address that rank 0 has chosen, told through a store."""
    if rank:
        return store.get("flambeau/address").decode()
    host = getattr(store, "host", None) or socket.gethostbyname(socket.gethostname())
    with socket.socket() as probe:
        probe.bind(("", 0))
        address = f"{host}:{probe.getsockname()[1]}"
    store.set("flambeau/address", address)
    return address
