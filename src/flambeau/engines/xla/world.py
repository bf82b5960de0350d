"""Processes that work together: joined by `jax.distributed`, whose service also carries small messages.

One process hosts the service (rank 0, at the address that all are given). JAX's heartbeats go there: when one stays
away, or a connection breaks, whoever waits for that process gets an error that names it (`missing`).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from typing import Any

from flambeau.engines.xla import runtime
from flambeau.engines.xla.array import Store
from flambeau.engines.xla.calls import forget
from flambeau.engines.xla.runtime import jax, put, wide
from flambeau.errors import DistBackendError, DistNetworkError

__all__ = ["World", "quiet"]

#: Seconds without a sign of life after which a process counts as lost.
HEARTBEAT = int(os.environ.get("FLAMBEAU_HEARTBEAT_SECONDS", "30"))
_PIECE = 3 << 20  # the service takes messages of up to 4 MB


class World:
    """All processes, seen from one of them."""

    def __init__(self, address: str, size: int, rank: int, seconds: float, gpu: int | None = None) -> None:
        """Joins. `gpu`: the one GPU that this process uses."""
        self.rank, self.size, self.address = rank, size, address
        self.who: list[str] = []
        who = f"init_process_group: rank {rank}"
        self._waiting = f"{who} waited {seconds:.0f} s at {address} for {size} processes, and not all came"
        self._abort = _when_aborted(self._explain_abort)
        kept = _leave_devices()
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        with contextlib.suppress(AttributeError):  # it would keep SIGTERM from ending the process
            jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                address, size, rank, [gpu] if gpu is not None else None, initialization_timeout=max(1, int(seconds)),
                heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=max(300, int(seconds)),
                **({"cluster_detection_method": "deactivate"} if gpu is None else {}),
            )  # fmt: skip
        except RuntimeError as error:
            raise DistNetworkError(f"{self._waiting} ({_first_line(error)})") from None
        from jax._src import distributed

        self.client: Any = distributed.global_state.client
        if gpu is not None:
            runtime.own_gpu(gpu)
        self.tell("who", _identity())
        self.who = [self.ask(f"who/{r}", seconds) for r in range(size)]
        _return_to_devices(kept)
        atexit.register(self.at_exit)
        self._in_children()

    def leave(self) -> None:
        """Leaves when all others do."""
        atexit.unregister(self.at_exit)
        self.tell("left", "it has left the process group")
        jax.distributed.shutdown()

    # messages

    def tell(self, kind: str, text: str) -> None:
        """Writes down what others may ask this process."""
        self.client.key_value_set(f"flambeau/{kind}/{self.rank}", text, allow_overwrite=True)

    def ask(self, key: str, seconds: float) -> str:
        """What somebody has written down, when it is there."""
        return self.client.blocking_key_value_get(f"flambeau/{key}", int(seconds * 1000))

    def told(self, kind: str) -> dict[int, str]:
        """What the processes have written down, by rank."""
        return {int(key.rpartition("/")[2]): text for key, text in self.client.key_value_dir_get(f"flambeau/{kind}/")}

    def post(self, key: str, data: bytes) -> None:
        """Leaves bytes for another process, in pieces; the count comes last."""
        pieces = [data[i : i + _PIECE] for i in range(0, len(data), _PIECE)]
        for i, piece in enumerate(pieces):
            self.client.key_value_set_bytes(f"{key}/{i}", piece)
        self.client.key_value_set(f"{key}/n", str(len(pieces)))

    def posted(self, key: str) -> bool:
        """Whether bytes lie there."""
        try:
            self.client.key_value_try_get(f"{key}/n")
        except RuntimeError as error:
            if "NOT_FOUND" in str(error):
                return False
            raise
        return True

    def fetch(self, key: str) -> bytes:
        """The bytes that lie there, which are taken away."""
        count = int(self.client.key_value_try_get(f"{key}/n"))
        data = b"".join(self.client.key_value_try_get_bytes(f"{key}/{i}") for i in range(count))
        self.client.key_value_delete(f"{key}/n")
        for i in range(count):
            self.client.key_value_delete(f"{key}/{i}")
        return data

    def gather_at(self, name: str, ranks: list[int], seconds: float) -> None:
        """Waits until all of these processes are here; DistBackendError names those that are not."""
        self.tell(f"at/{name}", "here")
        try:
            self.client.wait_at_barrier(f"flambeau/{name}", int(seconds * 1000), ranks)
        except RuntimeError as error:
            here = self.told(f"at/{name}")
            away = [r for r in ranks if r not in here]
            raise DistBackendError(
                f"{name}: after {seconds:.0f} s {_ranks(away)} had not come ({_first_line(error)})"
            ) from None

    # who is gone

    def missing(self, ranks: list[int], seconds: float = 0.0) -> str:
        """Which of the processes are gone, in words; "" if that can't be told. Waits so long for signs of life."""
        others = [r for r in ranks if r != self.rank]
        found = {r: "its process has ended" for r in others if _ended(self.who[r])}
        try:
            found.update({r: text for r, text in self.told("left").items() if r in others})
            if not found and seconds:
                found = self._silent(others, seconds)
        except RuntimeError:
            found.setdefault(0, "the service that it hosts does not answer")
        return "; ".join(f"rank {r}: {text}" for r, text in sorted(found.items()))

    def _silent(self, others: list[int], seconds: float) -> dict[int, str]:
        self.tell("alive", "yes")
        end = time.monotonic() + seconds
        while True:
            dead = {r: "its process has ended" for r in others if _ended(self.who[r])}
            if dead:
                return dead
            silent = [r for r in others if r not in self.told("alive")]
            if not silent or time.monotonic() > end:
                return dict.fromkeys(silent, "it gives no sign of life")
            time.sleep(0.2)

    # the end of the program

    def _explain_abort(self, number: int) -> None:
        """JAX aborts the process when its service says that another is gone, or never came: a last word on that."""
        text = self._waiting
        if self.who:
            gone = [f"rank {r}: its process has ended" for r, who in enumerate(self.who) if _ended(who)]
            text = f"flambeau: rank {self.rank} of {self.size} can't go on: {'; '.join(gone)}"
            if not gone:
                return
        sys.stdout.flush()
        os.write(2, f"{text}\n".encode())
        os._exit(1)

    def at_exit(self) -> None:
        """A program that ends well waits for the others; one that failed ends at once, so that they learn of it."""
        atexit.unregister(self.at_exit)
        error = getattr(sys, "last_value", None) or sys.exc_info()[1]
        code = getattr(error, "code", 1)  # of SystemExit, or of any other exception
        if error is None or code in (None, 0):
            with contextlib.suppress(RuntimeError):
                self.leave()
            return
        with contextlib.suppress(RuntimeError):
            self.tell("left", "it has failed")
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(
            code if isinstance(code, int) else 1
        )  # the service's own farewell would wait for the others, and they for this process

    def _in_children(self) -> None:
        """Processes of `multiprocessing` end without `atexit`."""
        util = sys.modules.get("multiprocessing.util")
        process = sys.modules.get("multiprocessing.process")
        if util is not None and process is not None and process.parent_process() is not None:  # type: ignore[attr-defined]
            util.Finalize(None, self.at_exit, exitpriority=0)  # type: ignore[attr-defined]


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _ranks(numbers: list[int]) -> str:
    return ("rank " if len(numbers) == 1 else "ranks ") + ", ".join(map(str, numbers))


def _when_aborted(handler: Any) -> Any:
    """Has the handler called, in whatever thread, before an abort ends the process. Keep what is returned."""
    import ctypes
    import signal

    libc = ctypes.CDLL(None)
    kept = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(int(signal.SIGABRT), ctypes.cast(kept, ctypes.c_void_p))
    return kept


def _identity() -> str:
    """Which process this is, for those that can look whether it still runs."""
    return "|".join((_machine(), str(os.getpid()), _started(os.getpid()) or ""))


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{socket.gethostname()} {file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "unknown"


def _started(pid: int) -> str | None:
    """When a process of this machine was started; None if it does not run any more."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZXx" else fields[19]


def _ended(identity: str) -> bool:
    machine, pid, started = identity.split("|")
    return machine == _machine() and machine != "unknown" and _started(int(pid)) != started


# Joining changes which devices there are: JAX makes them anew.


def _leave_devices() -> list[tuple[Store, Any]]:
    """If JAX has its devices already: what lies there, in NumPy, to be put back."""
    from jax._src import xla_bridge

    if not xla_bridge.backends_are_initialized():
        return []
    stores = [s for s in gc.get_objects() if type(s) is Store and isinstance(s.value, jax.Array)]
    import numpy as np

    kept = [(s, np.array(s.value)) for s in stores]
    for s in stores:
        s.value = None
    forget()
    runtime.forget_devices()
    jax.clear_caches()
    from jax.extend import backend

    backend.clear_backends()
    return kept


def _return_to_devices(kept: list[tuple[Store, Any]]) -> None:
    for store, array in kept:
        with wide(True):
            store.write(put(array, store.device, True))


class _Quiet:
    """Keeps out of the program's output what Gloo prints when it connects; several threads may be inside at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = -1
        self._aside: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            sys.stdout.flush()
            self._aside = tempfile.TemporaryFile()
            try:
                self._before = os.dup(1)
                os.dup2(self._aside.fileno(), 1)
            except OSError:  # there is no such stream
                self._before = -1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            if self._before >= 0:
                sys.stdout.flush()
                os.dup2(self._before, 1)
                os.close(self._before)
                self._aside.seek(0)
                for line in self._aside.read().splitlines(keepends=True):
                    if not line.startswith(b"[Gloo]"):
                        os.write(1, line)
            self._aside.close()


quiet = _Quiet()
