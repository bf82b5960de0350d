"""The small types of `torch.distributed`: how to reduce, names of backends, work under way, errors."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from flambeau.errors import DistBackendError, DistError, DistNetworkError, DistStoreError

__all__ = ["Backend", "DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "P2POp", "ReduceOp",
           "Work"]  # fmt: skip


class ReduceOp(enum.Enum):
    """How the tensors of a group become one."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8

    def __str__(self) -> str:
        return f"RedOpType.{self.name}"


ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]


class Backend(str):
    """The name of a backend, in small letters."""

    UNDEFINED, GLOO, NCCL, MPI, UCC, XCCL = "undefined", "gloo", "nccl", "mpi", "ucc", "xccl"

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"a backend is named by a string, got {name!r}")
        return super().__new__(cls, name.lower())


class Work:
    """A collective that has been started: `wait()` for it, and its result is where it belongs.

    Args:
        pending: what is under way; None if all is done.
        finish: puts the result of it in its place, and returns it.
    """

    def __init__(self, pending: Any = None, finish: Callable = lambda value: value) -> None:
        self._pending, self._finish = pending, finish
        self._result: Any = None
        self._ended = False
        self._error: BaseException | None = None

    def wait(self, timeout: Any = None) -> bool:
        """Waits (a timedelta at the longest, by default the group's), and returns True. RuntimeError if it failed."""
        if not self._ended:
            try:
                value = None
                if self._pending is not None:
                    value = self._pending.get(None if timeout is None else timeout.total_seconds())
                self._result = self._finish(value)
            except BaseException as error:
                self._error = error
                raise
            self._ended = True
        return True

    def is_completed(self) -> bool:
        """Whether waiting would take no time."""
        return self._ended or self._pending is None or self._pending.done()

    done = is_completed

    def is_success(self) -> bool:
        """Whether it has ended well."""
        return self.is_completed() and self.exception() is None

    def exception(self) -> BaseException | None:
        """What it failed with."""
        if self._error is None and not self._ended and self.is_completed():
            try:
                self.wait()
            except Exception as error:  # noqa: BLE001 - it is the answer
                return error
        return self._error

    def result(self) -> Any:
        """What it gave: the tensors, after waiting for them."""
        self.wait()
        return self._result

    value = result

    def get_future(self) -> Work:
        """Itself: it has `wait`, `then`, `value` and `done`."""
        return self

    def then(self, callback: Callable) -> Work:
        """What `callback(self)` will return, as work."""
        return Work(None, lambda _: callback(self))

    def source_rank(self) -> int:
        """Where it came from, if it was received."""
        return self._result if isinstance(self._result, int) else -1


class P2POp:
    """A send (`op=isend`) or a receive (`irecv`), for `batch_isend_irecv`."""

    def __init__(self, op: Callable, tensor: Any, peer: int | None = None, group: Any = None, tag: int = 0,
                 group_peer: int | None = None) -> None:  # fmt: skip
        from flambeau.distributed.pairs import irecv, isend

        if op not in (isend, irecv):
            raise ValueError("P2POp: op should be torch.distributed.isend or torch.distributed.irecv")
        self.op, self.tensor, self.peer, self.group, self.tag, self.group_peer = (
            op,
            tensor,
            peer,
            group,
            tag,
            group_peer,
        )
