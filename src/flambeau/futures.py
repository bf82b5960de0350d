"""``torch.futures``: results that are not there yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")


class Future(Generic[T]):
    """A result that somebody will set, from whichever thread.

    >>> import flambeau as torch
    >>> later = torch.futures.Future()
    >>> doubled = later.then(lambda f: 2 * f.wait())
    >>> later.set_result(21)
    >>> doubled.wait()
    42
    """

    def __init__(self, *, devices: list | None = None) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable] = []
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it is there."""
        return self._set.is_set()

    def wait(self) -> T:
        """Wait for it, and return it, or raise the exception that was set."""
        self._set.wait()
        return self.value()

    def value(self) -> T:
        """What has been set. RuntimeError if nothing has."""
        if not self.done():
            raise RuntimeError("this Future has no value yet; wait() for it")
        if self._error is not None:
            raise self._error
        return self._value

    def _finish(self, value: Any, error: BaseException | None) -> None:
        with self._lock:
            if self.done():
                raise RuntimeError("this Future has its result already, and can't be given another")
            self._value, self._error = value, error
            self._set.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def set_result(self, result: T) -> None:
        """Set the value, once; what waits for it goes on. RuntimeError if there is one."""
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Set an exception, which `wait` raises. AssertionError if it is none."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result!r} is of type {type(result).__name__}, not an Exception")
        self._finish(None, result)

    def add_done_callback(self, callback: Callable[[Future], None]) -> None:
        """Call ``callback(self)`` once it is there."""
        with self._lock:
            if not self.done():
                self._callbacks.append(callback)
                return
        callback(self)

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """A Future of what ``callback(self)`` returns once this one is there."""
        after: Future = Future()

        def run(done: Future) -> None:
            try:
                result = callback(done)
            except Exception as error:
                after.set_exception(error)
            else:
                after.set_result(result)

        self.add_done_callback(run)
        return after


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """A Future of all of them, once all are there."""
    together: Future = Future()
    left = len(futures)
    lock = threading.Lock()
    if not futures:
        together.set_result([])

    def one_more(_: Future) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            together.set_result(list(futures))

    for future in futures:
        future.add_done_callback(one_more)
    return together


def wait_all(futures: list[Future]) -> list[Any]:
    """The values of all of them; raises the first exception that one of them has."""
    return [future.wait() for future in collect_all(futures).wait()]
