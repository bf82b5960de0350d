"""Row kernels called on arrays, by either width of vectors."""

import ctypes

from flambeau.engines.native import machine
from flambeau.engines.native.calls import pack_of

__all__ = ["WIDTHS", "run"]

WIDTHS = [False] + [True] * (machine.LEVEL == machine.AVX512)


def run(k, wide, rows, n, operands, numbers=(), inner=0, start=0):
    """A row kernel on arrays: each operand as (array, row step, outer step), in bytes."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)(machine.install(k.compile(wide)))
    words = []
    for name in k.operands:
        a, *steps = operands[name]
        words += (a.ctypes.data, *steps)
    call(pack_of(k)(n, inner or rows, *words, *numbers), start, rows)
