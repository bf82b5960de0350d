"""Native kernels as Python calls: made when first needed, given arrays, spread over the cores.

    @kernel
    def softmax(k):
        x = k.load("input")
        ...

`softmax.rows(...)` and `softmax.flat(...)` take arrays whose layout the caller has checked: a native kernel believes
what it is told. `suits(a, ...)` is that check for the usual case.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import hooks, threads
from .machine import AVX512, LEVEL, install
from .rows import RowKernel

__all__ = ["ENABLED", "WIDE", "Kernel", "address", "function_of", "kernel", "pack_of", "suits", "weight_of"]

#: Whether there are native kernels on this machine.
ENABLED = LEVEL > 0
#: Whether vectors have 512 bits.
WIDE = LEVEL == AVX512

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_HEAD = object.__basicsize__  # of a Python object; an array's address of data comes next
_WORTH = 12_000.0  # nanoseconds of work from which a second thread is worth waking
_PIECE = 2048  # elements of a row of an operand without rows

if ENABLED:
    # all of memory as words: the quickest way from Python to an array's address
    _memory = (ctypes.c_int64 * (1 << 58)).from_address(0)

    def address(a: np.ndarray) -> int:
        """Where the array's first element lies."""
        if hooks.capture is not None:
            hooks.capture.meet(a)
        return _memory[(id(a) + _HEAD) >> 3]


else:

    def address(a: np.ndarray) -> int:
        """Where the array's first element lies."""
        return a.ctypes.data


def function_of(code: bytes) -> tuple[int, Callable]:
    """Machine code as an address, and as a function `f(table, start, stop)` that lets other threads run meanwhile."""
    place = install(code)
    return place, ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)(place)


def suits(*arrays: Any) -> bool:
    """Whether all are contiguous arrays of one type, float32 or float64, and there are native kernels."""
    if not ENABLED:
        return False
    dtype = arrays[0].dtype
    if dtype is not _F32 and dtype is not _F64:
        return False
    for a in arrays:
        if a.dtype is not dtype or not a.flags.c_contiguous:
            return False
        if a.__class__ is not np.ndarray and a.__class__ is not hooks.traced:
            return False
    return True


class Kernel:
    """A native kernel for float32 and float64; `write(k)` says what it computes."""

    def __init__(self, write: Callable[[RowKernel], None], name: str, unroll: int = 0) -> None:
        self.write, self.name, self.unroll = write, name, unroll
        self.made: dict[Any, _Made] = {}

    def of(self, dtype: np.dtype) -> _Made:
        """The kernel for this type of lanes."""
        found = self.made.get(dtype)
        if found is None:
            k = RowKernel(self.name, dtype is _F64, self.unroll)
            self.write(k)
            found = self.made[dtype] = _Made(k)
        return found

    def rows(
        self, dtype: np.dtype, rows: int, length: int, operands: Sequence[int], numbers: Sequence[float] = (),
        inner: int = 0, piece: int = 0,
    ) -> None:  # fmt: skip
        """Runs over `rows` rows of `length` elements.

        `operands`: address, row step and outer step (in bytes) of each operand in the order in which the kernel names
        them; `inner`: the rows of an outer step; `piece`: rows that one thread takes together.
        """
        self.of(dtype).run(rows, length, operands, numbers, inner, piece)

    def named(
        self, dtype: np.dtype, rows: int, length: int, operands: dict[str, tuple[int, int, int]],
        numbers: dict[str, float], inner: int = 0, piece: int = 0,
    ) -> None:  # fmt: skip
        """`rows` with operands and numbers by name."""
        made = self.of(dtype)
        made.run(rows, length, *made.words(operands, numbers), inner, piece)

    def prepared(
        self, dtype: np.dtype, rows: int, length: int, operands: dict[str, tuple[int, int, int]],
        numbers: dict[str, float],
    ) -> Callable[[], None]:  # fmt: skip
        """`named` with everything prepared but the call."""
        made = self.of(dtype)
        if not rows or not length:
            return _nothing
        table, piece = made.ready(rows, length, *made.words(operands, numbers), 0, 0)
        return lambda: threads.run(made.place, made.call, table, rows, piece)

    def flat(self, arrays: Sequence[np.ndarray], numbers: Sequence[float] = ()) -> None:
        """Runs over all elements of contiguous arrays of one size and type."""
        first = arrays[0]
        n = first.size
        made = self.of(first.dtype)
        if n <= _PIECE:
            operands: list[int] = []
            for a in arrays:
                operands += (address(a), 0, 0)
            made.run(1, n, operands, numbers, 0, 0)
            return
        whole = n // _PIECE
        step = _PIECE * first.itemsize
        places = [address(a) for a in arrays]
        operands = []
        for place in places:
            operands += (place, step, 0)
        made.run(whole, _PIECE, operands, numbers, 0, 0)
        rest = n - whole * _PIECE
        if rest:
            operands = []
            for place in places:
                operands += (place + whole * step, 0, 0)
            made.run(1, rest, operands, numbers, 0, 0)


def pack_of(k: RowKernel) -> Callable[..., bytes]:
    """What makes a kernel's table of its words."""
    real = "d" if k.double else "f4x"
    return struct.Struct("<2q" + "3q" * len(k.operands) + real * len(k.numbers)).pack


def weight_of(k: RowKernel) -> float:
    """A guess at a kernel's nanoseconds per element: instructions, and what goes to memory and back."""
    lanes = (16 if WIDE else 8) // (2 if k.double else 1)
    return len(k.order) * 0.2 / lanes + 0.04 * sum(k.operands.values())


class _Made:
    """A kernel's code for one type of lanes."""

    def __init__(self, k: RowKernel) -> None:
        self.place, self.call = function_of(k.compile(WIDE))
        hooks.writes[self.place] = frozenset(k.word(v.imm) for v in k.sinks)
        if not any(v.op == "second" for v in k.order):  # rows twice as long
            plain = {k.word(name): whole for name, whole in k.operands.items() if name not in k.indexed}
            hooks.rows[self.place] = 8 if k.double else 4, plain
        self.pack = pack_of(k)
        self.operands, self.numbers = list(k.operands), list(k.numbers)
        self.weight = weight_of(k)

    def words(self, operands: Mapping[str, Sequence[int]], numbers: dict[str, float]) -> tuple[list[int], list[float]]:
        """Operands and numbers in the kernel's order."""
        words: list[int] = []
        for name in self.operands:
            words += operands[name]
        return words, [numbers[name] for name in self.numbers]

    def run(
        self, rows: int, length: int, operands: Sequence[int], numbers: Sequence[float], inner: int, piece: int
    ) -> None:
        if rows and length:
            table, piece = self.ready(rows, length, operands, numbers, inner, piece)
            threads.run(self.place, self.call, table, rows, piece)

    def ready(
        self, rows: int, length: int, operands: Sequence[int], numbers: Sequence[float], inner: int, piece: int
    ) -> tuple[bytes, int]:
        """The call's table, and how many rows go together."""
        table = self.pack(length, inner or rows, *operands, *numbers)
        work = rows * length * self.weight
        if work < _WORTH or rows == 1 or threads.alone():
            piece = rows
        elif not piece:
            piece = max(1, min(-(-rows // (2 * threads.count())), int(rows * 200_000 / work) or 1))
        return table, piece


def _nothing() -> None:
    """What there is to do without elements."""


def kernel(write: Callable[[RowKernel], None]) -> Kernel:
    """Makes a native kernel of a function that says what it computes."""
    return Kernel(write, write.__name__)
