"""What every recorded operation touches: the clock, the grad mode, and the names that generated code sees.

`NS` is the globals dictionary of all generated wrappers (see `flambeau.ops.core`), so that a mode is one global load
for each of them. Higher rooms put their classes in it when they are imported.
"""

from __future__ import annotations

import functools
import gc
import inspect
import itertools
import threading
from collections.abc import Callable
from typing import Any

# A step's graph is thousands of objects that are gone by the next one. To look for cycles among every 700 of them, as
# Python does unless told otherwise, takes a tenth of a small model's step.
_young, *_older = gc.get_threshold()
if _young in (700, 2000):  # the defaults of Python's versions: nobody has chosen
    gc.set_threshold(5000, *_older)


class _Leaf:
    """Stands in `Tensor._node` for a leaf that requires a gradient."""

    def __repr__(self) -> str:
        return "LEAF"


LEAF = _Leaf()

#: The next number of the one clock that orders nodes and in-place writes.
tick: Callable[[], int] = itertools.count(1).__next__

NS: dict[str, Any] = {
    "__name__": "flambeau.ops.generated",
    "LEAF": LEAF,
    "TICK": tick,
    "NEW": object.__new__,
    # every thread records: the usual case, so that recording need not ask for the thread's own mode
    "RECORD": True,
    # nothing is looking over the operations' shoulders: no capture, no anomaly mode, no saved-tensor hooks
    "PLAIN": True,
    # torch.compile, for modules that compile themselves
    "COMPILE": None,
    # the capture of a compiled step, while there is one
    "CAPTURE": None,
    # some tensor or node has had a hook: backward must then look for them
    "HOOKED": False,
    # how many transforms that wrap tensors are running (vmap, jvp and forward mode; see flambeau.func.levels)
    "LEVELS": 0,
    # what is told of writes in place, while a program is recorded (see flambeau.export.recording)
    "WRITES": None,
    # a program has asked for a memory format, which operations now keep (see flambeau.ops.memory_formats)
    "FORMATS": False,
}


class _Thread(threading.local):
    grad = True
    inference = False
    task: Any = None  # the backward pass under way, while hooks may look


thread = _Thread()

#: Counts what is done to modules (attributes, registrations) and to hooks: who has looked at these looks again when it
#: moves.
CHANGES = [0]

_lock = threading.Lock()
_disabled = 0
_watchers = 0


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return thread.grad


NS["GRAD_ENABLED"] = is_grad_enabled


def _switch(enabled: bool) -> None:
    global _disabled
    if thread.grad is not enabled:
        thread.grad = enabled
        with _lock:
            _disabled += -1 if enabled else 1
            NS["RECORD"] = _disabled == 0


def watch(on: bool) -> None:
    """Sends every operation through the general path while at least one watcher is on."""
    global _watchers
    with _lock:
        _watchers += 1 if on else -1
        NS["PLAIN"] = _watchers == 0


class _Mode:
    """A context manager that is a decorator too, of functions and of generator functions."""

    def __enter__(self) -> Any:
        raise TypeError("a grad mode is one of no_grad, enable_grad, set_grad_enabled, inference_mode")

    def __exit__(self, *exc: object) -> None:
        raise TypeError("a grad mode is one of no_grad, enable_grad, set_grad_enabled, inference_mode")

    def clone(self) -> _Mode:
        return type(self)()

    def __call__(self, func: Callable) -> Callable:
        if inspect.isclass(func):
            func.__init__ = self(func.__init__)  # type: ignore[method-assign]
            return func
        if inspect.isgeneratorfunction(func):
            return self._wrap_generator(func)

        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return func(*args, **kwargs)

        return wrapper

    def _wrap_generator(self, func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            # the mode holds while the generator's own code runs, not while its consumer's does
            generator = func(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(next, generator)
            while True:
                try:
                    with self.clone():
                        value = step()
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield value
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as error:
                    step = functools.partial(generator.throw, error)
                else:
                    step = functools.partial(generator.send, sent)

        return wrapper


class no_grad(_Mode):
    """Operations inside are not recorded. A context manager and a decorator.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _target = False

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        self = super().__new__(cls)
        return self if orig_func is None else self(orig_func)  # used as a bare decorator: @no_grad

    def __enter__(self) -> None:
        self._previous = thread.grad
        _switch(self._target)

    def __exit__(self, *exc: object) -> None:
        _switch(self._previous)


class enable_grad(no_grad):
    """Operations inside are recorded, also within `no_grad`. A context manager and a decorator."""

    _target = True


class set_grad_enabled(_Mode):
    """Turns recording on or off: at once when called as a function, or for a block or function."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): argument 'mode' must be bool, not {type(mode).__name__}")
        self.mode = mode
        self._previous = thread.grad
        _switch(mode)

    def __call__(self, func: Callable) -> Callable:
        _switch(self._previous)  # a decorator only acts when the function runs
        return super().__call__(func)

    def __enter__(self) -> None:
        _switch(self.mode)

    def __exit__(self, *exc: object) -> None:
        _switch(self._previous)

    def clone(self) -> set_grad_enabled:
        return type(self)(self.mode)

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"


class inference_mode(_Mode):
    """Like `no_grad`, and what is made inside can never be recorded later (`Tensor.is_inference`)."""

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = mode
        return self

    def __enter__(self) -> None:
        self._previous = (thread.grad, thread.inference)
        _switch(thread.grad and not self.mode if self.mode else True)
        self._watching = self.mode
        if self.mode:
            watch(True)
        thread.inference = self.mode

    def __exit__(self, *exc: object) -> None:
        grad, thread.inference = self._previous
        if self._watching:
            watch(False)
        _switch(grad)

    def clone(self) -> inference_mode:
        return type(self)(self.mode)


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return thread.inference
