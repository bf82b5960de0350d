"""Attention by native products and passes: one head's scores at a time, and of causal ones only what can be seen.

Forward keeps one number per row, the logarithm of its sum of exponentials, from which backward makes the probabilities
again, as in FlashAttention (Dao et al. 2022). A thread takes all heads of a batch (or all batches of a head) one after
the other and does all calls of each, so scores never leave its cache. The calls depend on shapes and strides alone and
are put together once (`records.Loops`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import threads
from .calls import ENABLED, Kernel, address, kernel
from .gemm import Word
from .products import plan_product
from .records import Loops, Step

__all__ = ["attend", "attend_backward", "fits"]

_SCORES = 1 << 16  # how many scores are made at a time: they stay in the second-level cache
_ROWS = 64  # rows of causal scores made at a time, at most
_WORTH = 200_000  # multiply-adds from which another thread is worth waking

Array = np.ndarray
#: A matrix within an array: which array, the offset of the matrix, its shape and strides, its growth from turn to turn.
Matrix = tuple[int, int, tuple[int, int], tuple[int, int], int]


def fits(*arrays: Array) -> bool:
    """Whether these queries, keys and values (batch, heads, rows, features) can be worked on here."""
    first = arrays[0]
    return (
        ENABLED
        and first.dtype.char in "fd"
        and all(
            a.dtype == first.dtype and a.size and a.strides[3] == a.itemsize and min(a.strides) >= 0 for a in arrays
        )
    )


@functools.cache
def _softmax(masked: bool) -> Kernel:
    def write(k: Any) -> None:
        s = k.load("scores") * k.number("scale")
        if masked:
            s = s + k.load("mask")
        top = k.max(s)
        top = k.select(k.compare("eq", top, float("-inf")), 0.0, top)
        e = k.keep("scores", k.exp(s - top))
        total = k.sum(e)
        blind = k.compare("eq", total, 0.0)
        k.store_row("rest", k.select(blind, float("inf"), top + k.log(total)))
        k.store("scores", e * k.select(blind, 0.0, 1.0 / total))

    return Kernel(write, "attention_softmax")


@functools.cache
def _again(masked: bool) -> Kernel:
    def write(k: Any) -> None:
        s = k.load("scores") * k.number("scale")
        if masked:
            s = s + k.load("mask")
        k.store("scores", k.exp(s - k.load_row("rest")))

    return Kernel(write, "attention_again")


@kernel
def _hide(k: Any) -> None:
    k.store("scores", k.load("scores") + k.load("mask"))


@kernel
def _delta(k: Any) -> None:
    k.store_row("delta", k.sum(k.load("grad") * k.load("out")))


@kernel
def _slope(k: Any) -> None:
    g = k.load("grad")
    k.store("grad", k.load("scores") * (g - k.load_row("delta")) * k.number("scale"))


@functools.cache
def _future(rows: int, dtype: np.dtype) -> Array:
    """What is added to the causal scores of some rows against the columns of the same numbers."""
    return np.triu(np.full((rows, rows), -np.inf, dtype), 1)


class _Writer:
    """Writes the calls for one loop's turn: products and passes over matrices within arrays."""

    def __init__(self, dtype: np.dtype, numbers: dict[str, float]) -> None:
        self.dtype, self.numbers = dtype, numbers
        self.steps: list[Step] = []
        self.holes: list[dict[int, int]] = []

    def product(self, a: Matrix, b: Matrix, c: Matrix, add: bool = False) -> None:
        like_a, like_b, like_c = (np.lib.stride_tricks.as_strided(_nothing(self.dtype), m[2], m[3]) for m in (a, b, c))
        plan = plan_product(like_a, like_b, like_c, add, whole=True)
        assert plan is not None  # `fits` has seen to it
        growth = [0] * Word.COUNT
        for word, m in zip((Word.A, Word.B, Word.C), (a, b, c), strict=True):
            growth[word] = m[4]
        head = np.array([a[1], b[1], c[1], 0], np.int64).tobytes()
        self.steps.append((plan.place, head + plan.tail, 0, plan.tasks, growth))
        self.holes.append({Word.A: a[0], Word.B: b[0], Word.C: c[0]})

    def rows(self, kernel: Kernel, shape: tuple[int, int], **operands: tuple[int, int, int, int]) -> None:
        """A pass; each operand as the array, the offset, the step from row to row, the growth from turn to turn."""
        made = kernel.of(self.dtype)
        words: list[int] = []
        growth, holes = [0, 0], {}
        for name in made.operands:
            array, offset, step, grows = operands[name]
            holes[2 + len(words)] = array
            words += (offset, step, 0)
            growth += (grows, 0, 0)
        table = made.pack(shape[1], shape[0], *words, *(self.numbers[name] for name in made.numbers))
        growth += [0] * (len(table) // 8 - len(growth))
        self.steps.append((made.place, table, 0, shape[0], growth))
        self.holes.append(holes)


@functools.cache
def _nothing(dtype: np.dtype) -> Array:
    return np.empty(1, dtype)


class _Layout:
    """Where the matrices of a head lie in an array (batch, heads, rows, features), for each loop and turn."""

    def __init__(self, number: int, a: Array, by_batch: bool) -> None:
        self.number, self.shape, self.strides = number, a.shape, a.strides
        steps = [0 if n == 1 else step for n, step in zip(a.shape[:2], a.strides[:2], strict=True)]
        self.loop, self.turn = steps if by_batch else reversed(steps)

    def rows(self, loop: int, start: int, stop: int) -> Matrix:
        """Some rows."""
        _, _, _, width = self.shape
        down, along = self.strides[2:]
        return self.number, loop * self.loop + start * down, (stop - start, width), (down, along), self.turn

    def row(self, loop: int, start: int) -> tuple[int, int, int, int]:
        """The same as the operand of a pass: from a row on."""
        step = 0 if self.shape[2] == 1 else self.strides[2]
        return self.number, loop * self.loop + start * self.strides[2] * (step != 0), step, self.turn


def _turned(m: Matrix) -> Matrix:
    array, offset, (rows, columns), (down, along), grows = m
    return array, offset, (columns, rows), (along, down), grows


class _Heads:
    """How the heads are gone through: loops and turns, and the parts of a head's rows."""

    def __init__(self, shape: tuple[int, ...], columns: int, causal: bool) -> None:
        batch, heads, rows, _ = shape
        self.by_batch = batch >= heads or batch >= 2 * threads.count()
        self.loops, self.turns = (batch, heads) if self.by_batch else (heads, batch)
        self.rows, self.columns, self.causal = rows, columns, causal
        height = max(16, _SCORES // columns // 16 * 16)
        self.height = min(rows, height, _ROWS if causal else height)
        self.shared = self.loops > 1 and not threads.alone() and batch * heads * rows * columns * shape[3] > _WORTH

    def parts(self) -> Iterator[tuple[int, int, int]]:
        """First row, the one behind the last, and how many columns they see; the last part, which sees most, first."""
        for start in reversed(range(0, self.rows, self.height)):
            stop = min(start + self.height, self.rows)
            yield start, stop, min(stop, self.columns) if self.causal else self.columns

    def scratch(self, number: int, loop: int, size: int, start: int, stop: int, columns: int) -> Matrix:
        """A loop's own memory, as scores."""
        whole = self.height * self.columns * size
        return number, loop * whole, (stop - start, columns), (columns * size, size), 0

    def hide(self, w: _Writer, scores: Matrix, start: int, stop: int, mask: int) -> None:
        """Takes from causal scores what lies in the future."""
        array, offset, (_, columns), (down, size), _ = scores
        if start < columns - 1:
            width, own = columns - start, min(stop - start, columns - start)
            w.rows(_hide, (own, width), scores=(array, offset + start * size, down, 0), mask=(
                mask, 0, self.height * size, 0))  # fmt: skip


_plans: dict[Any, tuple[Loops, _Heads]] = {}
threads.ON_CHANGE.append(_plans.clear)


def _planned(write: Any, arrays: Sequence[Array | None], causal: bool, scale: float) -> tuple[Loops, _Heads]:
    key = (write, causal, scale, arrays[0].dtype, *[None if a is None else (a.shape, a.strides) for a in arrays])  # type: ignore[union-attr]
    found = _plans.get(key)
    if found is None:
        if len(_plans) > 256:
            _plans.clear()
        q, keys = arrays[0], arrays[1]
        heads = _Heads(q.shape, keys.shape[2], causal)  # type: ignore[union-attr]
        layouts = [None if a is None else _Layout(i, a, heads.by_batch) for i, a in enumerate(arrays)]
        writers = []
        for loop in range(heads.loops):
            w = _Writer(q.dtype, {"scale": scale})  # type: ignore[union-attr]
            write(w, heads, loop, *layouts)
            writers.append(w)
        loops = Loops(heads.turns, [w.steps for w in writers], [w.holes for w in writers])
        found = _plans[key] = loops, heads
    return found


def _forward(w: _Writer, heads: _Heads, loop: int, q: _Layout, keys: _Layout, values: _Layout, out: _Layout,
             rest: _Layout, mask: _Layout | None) -> None:  # fmt: skip
    size, scratch, future = w.dtype.itemsize, 6, 7
    for start, stop, columns in heads.parts():
        scores = heads.scratch(scratch, loop, size, start, stop, columns)
        w.product(q.rows(loop, start, stop), _turned(keys.rows(loop, 0, columns)), scores)
        if heads.causal:
            heads.hide(w, scores, start, stop, future)
        lies = scratch, scores[1], columns * size, 0
        own = {} if mask is None else {"mask": mask.row(loop, start)}
        w.rows(_softmax(mask is not None), scores[2], scores=lies, rest=rest.row(loop, start), **own)
        w.product(scores, values.rows(loop, 0, columns), out.rows(loop, start, stop))


def _backward(w: _Writer, heads: _Heads, loop: int, q: _Layout, keys: _Layout, values: _Layout, out: _Layout,
              rest: _Layout, mask: _Layout | None, g: _Layout, gq: _Layout, gk: _Layout, gv: _Layout,
              delta: _Layout) -> None:  # fmt: skip
    size, scratch, future = w.dtype.itemsize, 11, 12
    w.rows(_delta, (heads.rows, g.shape[3]), grad=g.row(loop, 0), out=out.row(loop, 0), delta=delta.row(loop, 0))
    for i, (start, stop, columns) in enumerate(heads.parts()):
        p = heads.scratch(scratch, loop, size, start, stop, columns)
        d = heads.scratch(scratch, heads.loops + loop, size, start, stop, columns)
        own_q, own_g = q.rows(loop, start, stop), g.rows(loop, start, stop)
        w.product(own_q, _turned(keys.rows(loop, 0, columns)), p)
        if heads.causal:
            heads.hide(w, p, start, stop, future)
        scores, grad = ((scratch, m[1], columns * size, 0) for m in (p, d))
        own = {} if mask is None else {"mask": mask.row(loop, start)}
        w.rows(_again(mask is not None), p[2], scores=scores, rest=rest.row(loop, start), **own)
        w.product(_turned(p), own_g, gv.rows(loop, 0, columns), add=i > 0)
        w.product(own_g, _turned(values.rows(loop, 0, columns)), d)
        w.rows(_slope, p[2], scores=scores, grad=grad, delta=delta.row(loop, start))
        w.product(d, keys.rows(loop, 0, columns), gq.rows(loop, start, stop))
        w.product(_turned(d), own_q, gk.rows(loop, 0, columns), add=i > 0)


def _run(write: Any, arrays: list[Array | None], causal: bool, scale: float, scores: int) -> None:
    """Runs the calls on these arrays and on so many scores in scratch memory."""
    loops, heads = _planned(write, arrays, causal, scale)
    first: Any = arrays[0]
    scratch = np.empty(scores * heads.loops * heads.height * heads.columns, first.dtype)
    own = [scratch, _future(heads.height, first.dtype)] if causal else [scratch]
    places = [0 if a is None else address(a) for a in (*arrays, *own)]
    loops.run(places, heads.shared)


def _by_row(a: Array) -> Array:
    return a[..., None]


def _seen(mask: Array | None, causal: bool, scale: float, q: Array, keys: Array) -> tuple[Array | None, bool]:
    """The mask with whole rows; and whether what is causal is hidden before scores are scaled."""
    columns = keys.shape[2]
    if causal and scale <= 0:
        future = np.triu(np.full((1, 1, q.shape[2], columns), -np.inf, q.dtype), 1)
        return (future if mask is None else mask + future), False
    if mask is None or (mask.shape[3] == columns and mask.strides[3] == mask.itemsize):
        return mask, causal
    return np.ascontiguousarray(np.broadcast_to(mask, (*mask.shape[:3], columns))), causal


def attend(q: Array, keys: Array, values: Array, mask: Array | None, causal: bool, scale: float, out: Array) -> Array:
    """Fills `out` with `softmax(q keys^T * scale + mask) values`; returns each row's logarithm of the sum."""
    rest = np.empty(q.shape[:3], q.dtype)
    mask, causal = _seen(mask, causal, scale, q, keys)
    _run(_forward, [q, keys, values, out, _by_row(rest), mask], causal, scale, 1)
    return rest


def attend_backward(
    g: Array, q: Array, keys: Array, values: Array, out: Array, rest: Array, mask: Array | None, causal: bool,
    scale: float, grads: tuple[Array, Array, Array],
) -> None:  # fmt: skip
    """Fills `grads` with the gradients of queries, keys and values."""
    _, gk, gv = grads
    mask, causal = _seen(mask, causal, scale, q, keys)
    if causal and q.shape[2] < keys.shape[2]:  # what no row sees
        gk[:, :, q.shape[2] :], gv[:, :, q.shape[2] :] = 0, 0
    delta = np.empty_like(rest)
    arrays = [q, keys, values, out, _by_row(rest), mask, g, *grads, _by_row(delta)]
    _run(_backward, arrays, causal, scale, 2)
