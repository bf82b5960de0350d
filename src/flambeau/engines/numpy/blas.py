"""Direct access to the OpenBLAS inside NumPy's wheel: thread controls, products that accumulate in place, and LAPACK.

`np.matmul` can neither add to its output nor read a matrix at an arbitrary address with a row stride, which is what
convolution wants, and `np.linalg` keeps no factors. Where NumPy comes with another BLAS, `gemm_of` and `routine_of`
give None, and callers do with NumPy's functions.
"""

from __future__ import annotations

import ctypes
import glob
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..native import hooks

__all__ = [
    "ROW_MAJOR", "NO_TRANS", "TRANS", "WORD", "blend", "gemm_of", "get_threads", "routine_of", "set_threads",
    "single_blas",
]  # fmt: skip

ROW_MAJOR, NO_TRANS, TRANS = 101, 111, 112


def _open() -> tuple[Any, str, str]:
    root = os.path.dirname(np.__file__)
    patterns = (os.path.join(root + ".libs", "*openblas*"), os.path.join(root, ".dylibs", "*openblas*"))
    for path in (p for pattern in patterns for p in glob.glob(pattern)):
        try:
            lib = ctypes.CDLL(path)
        except OSError:
            continue
        for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
            if hasattr(lib, f"{prefix}openblas_set_num_threads{suffix}"):
                return lib, prefix, suffix
    return None, "", ""


_lib, _prefix, _suffix = _open()

#: The library's integers.
WORD: Any = ctypes.c_int64 if _suffix else ctypes.c_int


def _bind(name: str, result: Any, *args: Any) -> Callable[..., Any] | None:
    function = getattr(_lib, _prefix + name + _suffix, None) if _lib is not None else None
    if function is not None:
        function.restype, function.argtypes = result, args
    return function


def _bind_gemm(name: str, real: Any) -> Callable[..., Any] | None:
    word, flag, pointer = WORD, ctypes.c_int, ctypes.c_void_p
    sizes = (flag, flag, flag, word, word, word)
    return _bind(name, None, *sizes, real, pointer, word, pointer, word, real, pointer, word)


_set = _bind("openblas_set_num_threads", None, ctypes.c_int)
_get = _bind("openblas_get_num_threads", ctypes.c_int)
_gemms = {
    np.dtype(np.float32): _bind_gemm("cblas_sgemm", ctypes.c_float),
    np.dtype(np.float64): _bind_gemm("cblas_dgemm", ctypes.c_double),
}


def gemm_of(dtype: Any) -> Callable[..., Any] | None:
    """BLAS's product for `dtype`, to be called as
    `f(ROW_MAJOR, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)` with addresses as ints; None without one.
    """
    hooks.needs_sight()
    return _gemms.get(dtype)


def _bind_axpby(name: str, real: Any) -> Callable[..., Any] | None:
    return _bind(name, None, WORD, real, ctypes.c_void_p, WORD, real, ctypes.c_void_p, WORD)


_axpbys = {
    np.dtype(np.float32): _bind_axpby("cblas_saxpby", ctypes.c_float),
    np.dtype(np.float64): _bind_axpby("cblas_daxpby", ctypes.c_double),
}


def blend(alpha: float, x: Any, beta: float, y: Any) -> bool:
    """`y = alpha * x + beta * y` in one pass over contiguous arrays of one dtype; False, and nothing done, where it
    can't be.
    """
    hooks.needs_sight()
    function = _axpbys.get(y.dtype)
    if function is None or x.dtype is not y.dtype or not (x.flags.c_contiguous and y.flags.c_contiguous):
        return False
    if y.__class__ is not np.ndarray:  # on a device
        return False
    function(y.size, alpha, x.__array_interface__["data"][0], 1, beta, y.__array_interface__["data"][0], 1)
    return True


_LETTERS = {"f4": "s", "f8": "d", "c8": "c", "c16": "z"}


def routine_of(name: str, dtype: Any, arguments: int) -> Callable[..., Any] | None:
    """LAPACK's routine for `dtype`, its name without the letter of its type; None without one.

    It takes that many addresses (ints or `ctypes.byref`), and the length of each string among them at the end.
    """
    letter = _LETTERS.get(np.dtype(dtype).str[1:])
    return None if letter is None else _bind(f"{letter}{name}_", None, *[ctypes.c_void_p] * arguments)


def get_threads() -> int:
    """How many threads BLAS uses for one product; 0 where that cannot be known."""
    return _get() if _get is not None else 0


def set_threads(n: int) -> None:
    """Let BLAS use `n` threads for one product (no effect on a BLAS we do not know)."""
    if _set is not None:
        _set(n)


def _shorten_spin() -> None:
    """Idle BLAS threads spin for some 25 ms by default and take a core away from ours: make that two milliseconds,
    which still spans the gap between one layer's products and the next's.

    OpenBLAS reads the setting (a power of two, in clock cycles) when its threads start, so they are started anew.
    """
    if _lib is None or "OPENBLAS_THREAD_TIMEOUT" in os.environ or get_threads() < 2:
        return
    steps = [getattr(_lib, name, None) for name in ("openblas_read_env", "blas_thread_shutdown_", "blas_thread_init")]
    if None in steps:
        return
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = "22"
    try:
        for step in steps:
            step()  # type: ignore[misc]
    finally:
        del os.environ["OPENBLAS_THREAD_TIMEOUT"]


_shorten_spin()


class single_blas:
    """Context in which a BLAS product stays on the thread that calls it, so that tasks can call BLAS side by side."""

    __slots__ = ("before",)

    def __enter__(self) -> single_blas:
        self.before = get_threads()
        if self.before > 1:
            set_threads(1)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.before > 1:
            set_threads(self.before)
