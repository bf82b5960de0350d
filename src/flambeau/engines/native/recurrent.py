"""LSTM over a whole sequence: one call forward, one back through time.

The batch is cut into slices, one for each thread: a recurrence ties steps together, not sequences. Each thread runs
all steps of its slice, a product with the packed recurrent weights and a pass over the gates, without coming back to
Python. The input's part of the gates is one product for all steps, and so are the gradients of input and weights.

The tape is (steps + 1, batch, 7 * hidden). Step t's row holds its gates i, f, g, o after their activations, the cell
it started from, the tanh of the cell it made, and the state it started from.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import threads
from .calls import Kernel, address, suits
from .gemm import Word
from .products import packed, packed_product_table, product
from .records import Step, run_loops

__all__ = [
    "any_product",
    "fits",
    "from_the_end",
    "is_tape",
    "lstm",
    "lstm_backward",
    "output",
    "pass_over",
    "rows_contiguous",
    "slices",
    "times",
]

_PARTS = 7
_NAMES = ("i", "f", "g", "o", "cell", "tanh")
_WORTH = 300_000  # multiply-adds of all steps from which another thread is worth waking


def fits(*arrays: np.ndarray | None) -> bool:
    """Whether a layer with these states and weights can be done here."""
    return suits(*(np.ascontiguousarray(a) for a in arrays if a is not None))


def is_tape(tape: np.ndarray, batch: int, size: int) -> bool:
    """Whether a tape is one of `lstm`'s."""
    return tape.shape[1:] == (batch, _PARTS * size)


def _cell(k: Any) -> None:
    i, f, o = (k.sigmoid(k.load(name)) for name in "ifo")
    g = k.tanh(k.load("g"))
    for name, value in zip("ifgo", (i, f, g, o), strict=True):
        k.store(name, value)
    cell = f * k.load("cell") + i * g
    k.store("new cell", cell)
    t = k.tanh(cell)
    k.store("tanh", t)
    h = o * t
    k.store("new state", h)
    k.store("out", h)


def _cell_backward(k: Any, given: bool) -> None:
    i, f, g, o, t = (k.load(name) for name in ("i", "f", "g", "o", "tanh"))
    dh = k.load("state.grad")
    if given:
        dh = dh + k.load("out.grad")
    dc = k.load("cell.grad") + dh * o * (1.0 - t * t)
    k.store("o.grad", dh * t * o * (1.0 - o))
    k.store("i.grad", dc * g * i * (1.0 - i))
    k.store("f.grad", dc * k.load("cell") * f * (1.0 - f))
    k.store("g.grad", dc * i * (1.0 - g * g))
    k.store("cell.grad", dc * f)


_FORWARD = Kernel(_cell, "lstm_cell")
_BACKWARD = {
    given: Kernel(functools.partial(_cell_backward, given=given), "lstm_cell_backward") for given in (False, True)
}


def slices(batch: int, work: int) -> list[tuple[int, int]]:
    """The batch cut for the threads."""
    parts = 1 if work < _WORTH or threads.alone() else max(1, min(threads.count(), batch // 4))
    step = -(-batch // parts)
    return [(start, min(start + step, batch)) for start in range(0, batch, step)]


def pass_over(kernel: Kernel, dtype: np.dtype, rows: int, size: int, operands: dict[str, tuple[int, int, int]]) -> Step:
    """A pass over the gates: each operand an address, a row step, and a growth from turn to turn."""
    made = kernel.of(dtype)
    words: list[int] = []
    growth = [0, 0]
    for name in made.operands:
        place, step, grows = operands[name]
        words += (place, step, 0)
        growth += (grows, 0, 0)
    return made.place, made.pack(size, rows, *words), 0, rows, growth


def times(rows: int, columns: int, a: tuple[int, int, int], b: np.ndarray, c: tuple[int, int, int], add: bool) -> Step:
    """A product with packed `b`; `a` and `c` as address, row step, growth."""
    place, table, tasks = packed_product_table(rows, columns, a[:2], b, c[:2], add)
    growth = [0] * Word.COUNT
    growth[Word.A], growth[Word.C] = a[2], c[2]
    return place, table, 0, tasks, growth


def output(x: np.ndarray, size: int) -> np.ndarray:
    """Memory for an output, in the order of the input's: batch first, if that is what the program works with."""
    steps, batch, _ = x.shape
    if x.strides[1] > x.strides[0]:
        return np.empty((batch, steps, size), x.dtype).swapaxes(0, 1)
    return np.empty((steps, batch, size), x.dtype)


def rows_contiguous(a: Any) -> Any:
    """(steps, batch, hidden), or None, as it lies where each row can be read from a step, else a copy."""
    if a is not None and (a.strides[2] != a.itemsize or min(a.strides) <= 0):
        return np.ascontiguousarray(a)
    return a


def from_the_end(a: np.ndarray, start: int) -> tuple[int, int, int]:
    """(steps, batch, hidden) as an operand that goes back through time: address, row step, growth."""
    turn, row, _ = a.strides
    return address(a) + (len(a) - 1) * turn + start * row, row, -turn


def lstm(
    x: np.ndarray, h0: np.ndarray, c0: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Output (steps, batch, hidden), final state, final cell and tape.

    The output's memory is in the order of the input's: batch first, if that is what the program works with.
    """
    steps, batch, width = x.shape
    size, dtype, item = w_hh.shape[1], x.dtype, x.itemsize
    tape = np.empty((steps + 1, batch, _PARTS * size), dtype)
    y = output(x, size)
    tape[0, :, 4 * size : 5 * size], tape[0, :, 6 * size :] = c0, h0
    gates = tape[:-1].reshape(steps * batch, -1)[:, : 4 * size]
    any_product(np.ascontiguousarray(x).reshape(-1, width), w_ih.T, gates, bias)
    weights = packed(w_hh.T)
    row, turn = _PARTS * size * item, batch * _PARTS * size * item
    loops = []
    for start, stop in slices(batch, steps * batch * w_hh.size):
        rows, first = stop - start, address(tape) + start * row
        part = {name: (first + at * size * item, row, turn) for at, name in enumerate(_NAMES)}
        part["new cell"] = (first + turn + 4 * size * item, row, turn)
        part["new state"] = (first + turn + 6 * size * item, row, turn)
        part["out"] = (address(y) + start * y.strides[1], y.strides[1], y.strides[0])
        state = first + 6 * size * item, row, turn
        loops.append([
            times(rows, 4 * size, state, weights, part["i"], True),
            pass_over(_FORWARD, dtype, rows, size, part),
        ])  # fmt: skip
    run_loops(steps, loops, len(loops) > 1)
    return y, tape[-1, :, 6 * size :].copy(), tape[-1, :, 4 * size : 5 * size].copy(), tape


def lstm_backward(
    gy: np.ndarray | None, gh: np.ndarray | None, gc: np.ndarray | None, x: np.ndarray, w_ih: np.ndarray,
    w_hh: np.ndarray, tape: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Gradients of x, h0, c0, w_ih, w_hh and bias; those of output, final state and final cell may be None."""
    steps, batch, width = x.shape
    size, dtype, item = w_hh.shape[1], x.dtype, x.itemsize
    dh, dc = (np.zeros((batch, size), dtype) if g is None else np.array(g) for g in (gh, gc))
    gates = np.empty((steps, batch, 4 * size), dtype)
    gy = rows_contiguous(gy)
    weights = packed(w_hh)
    row, turn, own = _PARTS * size * item, batch * _PARTS * size * item, size * item
    loops = []
    for start, stop in slices(batch, steps * batch * w_hh.size):
        rows, first = stop - start, address(tape) + (steps - 1) * turn + start * row
        part = {name: (first + at * own, row, -turn) for at, name in enumerate(_NAMES)}
        last = address(gates) + (steps - 1) * batch * 4 * own + start * 4 * own
        for at, name in enumerate("ifgo"):
            part[name + ".grad"] = (last + at * own, 4 * own, -batch * 4 * own)
        part["state.grad"] = (address(dh) + start * own, own, 0)
        part["cell.grad"] = (address(dc) + start * own, own, 0)
        if gy is not None:
            part["out.grad"] = from_the_end(gy, start)
        loops.append([
            pass_over(_BACKWARD[gy is not None], dtype, rows, size, part),
            times(rows, size, part["i.grad"], weights, part["state.grad"], False),
        ])  # fmt: skip
    run_loops(steps, loops, len(loops) > 1)
    flat = gates.reshape(-1, 4 * size)
    before = tape[:-1].reshape(steps * batch, -1)[:, 6 * size :]
    gx = any_product(flat, w_ih).reshape(x.shape)
    g_ih = any_product(flat.T, np.ascontiguousarray(x).reshape(-1, width))
    return gx, dh, dc, g_ih, any_product(flat.T, before), np.ones(len(flat), dtype).dot(flat)


def any_product(a: np.ndarray, b: np.ndarray, out: Any = None, bias: Any = None) -> np.ndarray:
    """A product that NumPy does where the native one is not made for the shape."""
    result = product(a, b, out, bias)
    if result is None:
        result = np.matmul(a, b, out=out)
        if bias is not None:
            result += bias
    return result
