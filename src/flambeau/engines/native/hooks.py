"""Who listens to native calls: the capture of a compiled step, while there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

#: The capture under way; its `native(...)` hears of each native call, its `chain(...)` of each chain of ufuncs.
capture: Any = None


class Unseen(Exception):
    """What comes next can't be noted call by call: the kernel is to be noted as a whole."""


def needs_sight() -> None:
    """For code that works on memory in ways of its own: raises Unseen where a capture would miss it."""
    if capture is not None and capture.looking():
        raise Unseen


def finite(a: Any) -> bool:
    """Whether no element is infinite or NaN: for code that `look` calls, or that comes after `needs_sight`."""
    if a.dtype.char in "fd":
        flat = a.reshape(-1)
        if math.isfinite(np.dot(flat, flat)):  # a quick product; it may overflow, too
            return True
    return bool(np.isfinite(a).all())


def look(mend: Callable[..., None], result: Any, *operands: Any) -> None:
    """Has `mend(result, *operands)`, which looks at values, put a result right: now, and in every replay of a step."""
    if capture is not None and capture.looking():
        capture.again(mend, (result, *operands), (result,))
    else:
        mend(result, *operands)


#: The class of arrays that report to it: native kernels take them as they take NumPy's own.
traced: Any = None


#: By the address of a native function: the words of its table through which it writes. Of others nothing is known.
writes: dict[int, frozenset[int]] = {}

#: By the address of a kernel over rows: the bytes of an element; and where in its table each operand's three words
#: begin, and whether that is a row of elements, else a number per row. Without operands that find rows by number.
rows: dict[int, tuple[int, dict[int, bool]]] = {}
