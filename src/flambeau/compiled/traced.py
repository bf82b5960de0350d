"""Arrays that tell what is done with them: how a step is captured.

While a step is captured, every tensor holds its array as a `Traced` one, a view of the same memory. The step runs for
real; NumPy hands each call that meets such an array to us, native kernels note their calls, and the capture keeps them
in order. What may not be captured is refused here: reading a value on the host, and shapes that depend on values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.native import hooks
from flambeau.errors import CaptureError

__all__ = ["HERE", "HostRead", "Traced", "plain", "user_line"]

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class HostRead(CaptureError):
    """A value was asked for on the host."""


#: What to do instead of picking elements by value.
MASKS = "Use masks of a fixed shape (torch.where, masked_fill, multiplication by a mask)"


class _Current:
    """The capture under way, and how deep it looks away for the moment: always, from what other threads do."""

    def __init__(self) -> None:
        self.capture: Any = None
        self.thread = 0
        self._off = 0

    @property
    def off(self) -> int:
        return self._off if get_ident() == self.thread else self._off + 1

    @off.setter
    def off(self, depth: int) -> None:
        self._off = depth


current = _Current()


def user_line() -> str:
    """Where the program is: its own line, not one of ours."""
    frame: Any = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename.startswith(HERE) or frame.f_code.co_filename.startswith("<flambeau")
    ):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}"


def plain(x: Any) -> Any:
    """The same with ordinary arrays, in any nesting of tuples, lists and dicts."""
    cls = x.__class__
    if cls is Traced:
        return x.view(np.ndarray)
    if cls is tuple:
        return tuple([plain(v) for v in x])
    if cls is list:
        return [plain(v) for v in x]
    if cls is dict:
        return {k: plain(v) for k, v in x.items()}
    return x


def refuse(what: str, remedy: str) -> bool:
    """A step does what can't be captured: raises the error that says so, or ends the capture and returns True, where
    the step is to go on without.
    """
    error = HostRead(
        f"a compiled step can't {what}: at {user_line()}. {remedy}, or compile with fallback=True to run such steps "
        "eagerly"
    )
    try:
        NS["CAPTURE"].refuse(error)
    finally:
        del error  # its traceback has this frame, and all those of the step: they would wait for the collector
    return True


def _host(name: str, what: str) -> Callable:
    def method(self: Any, *args: Any) -> Any:
        if not (current.capture is None or current.off):
            refuse(
                f"read a tensor's value on the host ({what})",
                "Return the tensor and read it after the step, or express the choice with torch.where",
            )
        return getattr(self.view(np.ndarray), name)(*args)

    return method


def _recorded(name: str) -> Callable:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = getattr(np.ndarray, name)
        if current.capture is None or current.off:
            return function(plain(self), *plain(args), **plain(kwargs))
        return current.capture.call(function, (self, *args), kwargs)

    return method


def _writing(name: str) -> Callable:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = getattr(np.ndarray, name)
        if current.capture is None or current.off:
            return function(plain(self), *plain(args), **plain(kwargs))
        return current.capture.call(function, (self, *args), kwargs, writes=(self,))

    return method


class Traced(np.ndarray):
    """A view of an array that reports to the capture under way."""

    #: The array that a tensor had before the capture, which it gets back.
    real_array: Any = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        out = kwargs.get("out")
        if current.capture is None or current.off:
            return function(*plain(inputs), **plain(kwargs))
        if method == "at":
            return current.capture.call(function, inputs, kwargs, writes=(inputs[0],))
        return current.capture.call(function, inputs, kwargs, writes=out or (), elementwise=method == "__call__")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        counted = function is np.repeat and any(a.__class__ is Traced for a in (*args[1:], *kwargs.values()))
        shaped = function in _SHAPES_BY_VALUE or counted or (function is np.where and len(args) == 1)
        if (
            current.capture is None
            or current.off
            or (shaped and refuse(f"have shapes that depend on values ({function.__name__})", MASKS))
        ):
            return function(*plain(args), **plain(kwargs))
        out = kwargs.get("out")
        if function is np.copyto:
            out = args[:1]
        elif function in (np.put, np.put_along_axis, np.place, np.putmask, np.fill_diagonal):
            out = args[:1]
        writes = () if out is None else out if isinstance(out, tuple) else (out,)
        return current.capture.call(function, args, kwargs, writes=writes)

    def __getitem__(self, key: Any) -> Any:
        whole = self.view(np.ndarray)
        if current.capture is None or current.off:
            return whole[plain(key)]
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(p, np.ndarray) and p.dtype == np.bool_ for p in parts):
            refuse("pick elements by a mask: how many there are depends on values", "Use torch.where or masked_fill")
            return whole[plain(key)]
        if any(isinstance(p, (np.ndarray, list)) for p in parts):
            return current.capture.call(np.ndarray.__getitem__, (self, key), {})
        result = whole[key]
        if not isinstance(result, np.ndarray):  # one element: a view of it, not its value
            result = whole[(*parts, ...)] if Ellipsis not in parts else whole[key]
            if not isinstance(result, np.ndarray):
                result = whole[(*[p for p in parts if p is not Ellipsis], ...)]
        return result.view(Traced)

    def __setitem__(self, key: Any, value: Any) -> None:
        if current.capture is None or current.off:
            self.view(np.ndarray)[plain(key)] = plain(value)
        else:
            current.capture.call(np.ndarray.__setitem__, (self, key, value), {}, writes=(self,))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        if current.capture is None or current.off:
            return self.view(np.ndarray).reshape(*shape, **kwargs)
        return current.capture.call(np.ndarray.reshape, (self, *shape), kwargs)

    @property
    def real(self) -> Any:  # type: ignore[override]
        return self.view(np.ndarray).real.view(Traced)

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> Any:  # type: ignore[override]
        if self.dtype.kind != "c":
            return np.zeros(self.shape, self.dtype).view(Traced)
        return self.view(np.ndarray).imag.view(Traced)

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    def __reduce__(self) -> Any:
        return self.view(np.ndarray).__reduce__()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()


hooks.traced = Traced

_SHAPES_BY_VALUE = {np.nonzero, np.argwhere, np.flatnonzero, np.unique, np.extract, np.compress, np.bincount}

for _name in (
    "astype", "copy", "take", "sum", "mean", "prod", "max", "min", "any", "all", "argmax", "argmin", "argsort",
    "cumsum", "cumprod", "dot", "repeat", "round", "clip", "conj", "conjugate", "std", "var", "trace", "choose",
    "searchsorted", "ravel", "flatten", "byteswap", "argpartition", "ptp",
):  # fmt: skip
    if hasattr(np.ndarray, _name):
        setattr(Traced, _name, _recorded(_name))
for _name in ("fill", "sort", "partition", "put", "itemset"):
    if hasattr(np.ndarray, _name):
        setattr(Traced, _name, _writing(_name))
for _name, _what in (
    ("item", ".item()"), ("tolist", ".tolist()"), ("tobytes", "its bytes"), ("__float__", "float()"),
    ("__int__", "int()"),
    ("__bool__", "a condition such as `if tensor`"), ("__index__", "an index"), ("__complex__", "complex()"),
    ("__contains__", "`in`"), ("__format__", "formatting"), ("__str__", "print"), ("__repr__", "print"),
    ("nonzero", "nonzero"), ("compress", "compress"),
):  # fmt: skip
    setattr(Traced, _name, _host(_name, _what))
