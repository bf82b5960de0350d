"""Attention: softmax(q k^T) v and its gradients in blocks of heads and rows, never all scores at once.

Blocks are sized to stay in cache and spread over the cores. Forward keeps two numbers for each row, from which
backward makes the probabilities of a block again. With `causal`, columns that a block of rows cannot see are not
computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native import attention as native
from ..native.calls import address
from ..native.hooks import finite, needs_sight
from .blas import single_blas
from .parallel import get_num_threads, run_tasks, scratch

__all__ = ["attention", "attention_backward"]

_SCORES = 131072  # scores that a block works on at a time
_CAUSAL = 64  # rows of a block that need not see all columns: the fewer, the less is computed in vain
_SMALL = 16384  # up to so many scores in all, one thread is quicker


def _heads(a: np.ndarray) -> np.ndarray:
    """(..., rows, features) as (batch, heads, rows, features), without a copy where strides allow."""
    if a.ndim == 4:
        return a
    if a.ndim < 4:
        return a.reshape((1,) * (4 - a.ndim) + a.shape)
    return a.reshape(-1, *a.shape[-3:])


def _bias(mask: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A mask for scores of `shape` as a 4-dim array to be added, with 1 for the dimensions it is the same along."""
    if mask is None:
        return None
    if mask.dtype == np.bool_:
        mask = np.where(mask, dtype.type(0), dtype.type(-np.inf))
    elif mask.dtype != dtype:
        mask = mask.astype(dtype)
    if mask.ndim < len(shape):
        mask = mask.reshape((1,) * (len(shape) - mask.ndim) + mask.shape)
    if mask.ndim > 4:
        mask = np.broadcast_to(mask, shape[:-2] + mask.shape[-2:])
    return _heads(mask)


def _seen(mask: Any, causal: bool, query: np.ndarray, *operands: np.ndarray) -> tuple[Any, bool]:
    """The mask, and whether columns may be passed over. With fewer than four dimensions PyTorch multiplies by all
    weights, those of columns that no row may see included: an infinity or NaN shows, however well hidden.
    """
    if not causal or query.ndim > 3:
        return mask, causal
    needs_sight()
    if all(map(finite, (query, *operands))):
        return mask, causal
    return np.tri(query.shape[-2], operands[0].shape[-2], dtype=np.bool_), False


def _tasks(batch: int, heads: int, rows: int, columns: int, causal: bool) -> list[tuple]:
    """(batch slice, head slice, row ranges): what one task computes."""
    height = min(rows, max(16, _SCORES // max(columns, 1)))
    if causal:
        height = min(height, _CAUSAL)
    together = max(1, _SCORES // max(height * columns, 1))
    if batch * heads * rows * columns > _SMALL:
        together = min(together, max(1, -(-batch * heads // (2 * get_num_threads()))))
    ranges = [(start, min(start + height, rows)) for start in range(0, rows, height)]
    if together >= heads:
        step = together // heads
        return [(slice(b, b + step), slice(None), ranges) for b in range(0, batch, step)]
    return [(slice(b, b + 1), slice(h, h + together), ranges) for b in range(batch) for h in range(0, heads, together)]


def _run(task: Any, tasks: list[tuple], scores: int) -> None:
    if len(tasks) == 1 or scores <= _SMALL or get_num_threads() == 1:
        for one in tasks:
            task(*one)
        return
    with single_blas():
        run_tasks(task, tasks)


def _part(bias: np.ndarray, b: slice, h: slice, rows: tuple[int, int], columns: int) -> np.ndarray:
    """The part of a mask that a block of scores needs."""
    return bias[
        b if bias.shape[0] > 1 else slice(None),
        h if bias.shape[1] > 1 else slice(None),
        slice(*rows) if bias.shape[2] > 1 else slice(None),
        :columns,
    ]


_hidden: dict[Any, np.ndarray] = {}


def _future(rows: int, dtype: Any) -> np.ndarray:
    """The square that hides each row's later columns: -inf above the diagonal."""
    key = rows, dtype
    if key not in _hidden:
        if len(_hidden) > 8:
            _hidden.clear()
        _hidden[key] = np.triu(np.full((rows, rows), -np.inf, dtype), 1)
    return _hidden[key]


def _like_torch(batch: int, heads: int, rows: int, features: int, dtype: Any) -> np.ndarray:
    """Memory in which heads lie side by side: joining them later moves nothing."""
    return np.empty((batch, rows, heads, features), dtype).swapaxes(1, 2)


def _of_one_projection(q: np.ndarray, keys: np.ndarray, values: np.ndarray) -> bool:
    """Whether queries, keys and values lie side by side, as one product for all three leaves them."""
    batch, heads, rows, features = q.shape
    if not (q.shape == keys.shape == values.shape and q.strides == keys.strides == values.strides):
        return False
    width = heads * features * q.itemsize
    if q.strides != (rows * 3 * width, features * q.itemsize, 3 * width, q.itemsize):
        return False
    return address(keys) - address(q) == address(values) - address(keys) == width


def _transposed(key: str, a: np.ndarray, extra: int = 0) -> np.ndarray:
    """(batch, heads, features + extra, rows) in scratch memory.

    BLAS is faster on it; rows beyond the features are ones.
    """
    batch, heads, rows, features = a.shape
    out = scratch(key, (batch, heads, features + extra, rows), a.dtype)
    np.copyto(out[:, :, :features], a.swapaxes(2, 3))
    if extra:
        out[:, :, features:] = 1
    return out


def _scaled(q: np.ndarray, factor: Any) -> np.ndarray:
    out = scratch("query", q.shape, q.dtype)
    return np.multiply(q, factor, out)


def _tame(q: np.ndarray, keys: np.ndarray) -> bool:
    """Whether no score can be so large that its exponential overflows.

    Then rows need not be shifted by their largest.
    """
    if q.size == 0 or keys.size == 0:
        return False
    longest = float(np.vecdot(q, q).max()) * float(np.vecdot(keys, keys).max())
    return longest < 2500.0  # scores within 50 of zero


class _Block:
    """A task's queries, scaled, and keys, transposed; makes the scores of its blocks of rows."""

    def __init__(self, q: Any, keys: Any, bias: Any, b: slice, h: slice, factor: Any, causal: bool) -> None:
        self.q = _scaled(q[b, h], factor)
        self.keys_t = _transposed("keys", keys[b, h])
        self.bias, self.b, self.h, self.causal = bias, b, h, causal

    def width(self, stop: int) -> int:
        """How many columns the rows before `stop` can see."""
        columns = self.keys_t.shape[3]
        return min(stop, columns) if self.causal else columns

    def scores(self, rows: tuple[int, int]) -> np.ndarray:
        """The masked scores of some rows, in scratch memory."""
        start, stop = rows
        columns = self.width(stop)
        s = scratch("scores", (*self.q.shape[:2], stop - start, columns), self.q.dtype)
        np.matmul(self.q[:, :, start:stop], self.keys_t[:, :, :, :columns], out=s)
        if self.bias is not None:
            s += _part(self.bias, self.b, self.h, rows, columns)
        if self.causal and columns > start:
            s[..., start:] += _future(stop - start, s.dtype)[:, : columns - start]
        return s


def attention(query, key, value, mask=None, causal=False, scale=1.0):
    """`softmax(query key^T * scale + mask) value` over (..., rows, features); a boolean mask says what may be seen.

    Rows that see nothing give zeros. Returns the output and, for backward, what each row was shifted by and summed to.
    """
    kind = query.dtype
    if kind.char not in "fd":
        query, key, value = (a.astype(np.float32) for a in (query, key, value))
    mask, causal = _seen(mask, causal, query, key, value)
    q, keys, values = _heads(query), _heads(key), _heads(value)
    batch, heads, rows, _ = q.shape
    columns, dtype = keys.shape[2], q.dtype
    bias = _bias(mask, (*query.shape[:-1], columns), dtype)
    factor = np.array(scale, dtype)
    out = _like_torch(batch, heads, rows, values.shape[3], dtype)
    if native.fits(q, keys, values):
        rest = native.attend(q, keys, values, bias, causal, float(scale), out)
        result = out.reshape(*query.shape[:-1], value.shape[-1])
        return (result if kind == dtype else result.astype(kind)), rest
    stats = np.zeros((2, batch, heads, rows, 1), dtype)
    shifts, totals = stats
    ones = np.ones((columns, 1), dtype)

    def task(b: slice, h: slice, ranges: list[tuple[int, int]]) -> None:
        block = _Block(q, keys, bias, b, h, factor, causal)
        tame = bias is None and _tame(block.q, keys[b, h])
        for part in ranges:
            r, width = slice(*part), block.width(part[1])
            s = block.scores(part)
            if not tame:
                top = s.max(axis=3, keepdims=True, initial=-np.inf)
                top[np.isneginf(top)] = 0
                shifts[b, h, r] = top
                np.subtract(s, top, s)
            np.exp(s, s)
            total = totals[b, h, r]
            np.matmul(s, ones[:width], out=total)
            if bias is not None:
                total[total == 0] = np.inf
            o = out[b, h, r]
            np.matmul(s, values[b, h, :width], out=o)
            np.divide(o, total, o)

    _run(task, _tasks(batch, heads, rows, columns, causal), batch * heads * rows * columns)
    result = out.reshape(*query.shape[:-1], value.shape[-1])
    return (result if kind == dtype else result.astype(kind)), stats


def attention_backward(g, query, key, value, out, stats, mask=None, causal=False, scale=1.0):
    """Gradients of `attention`'s query, key and value."""
    kind = query.dtype
    if kind.char not in "fd":
        g, query, key, value, out = (a.astype(np.float32) for a in (g, query, key, value, out))
    mask, causal = _seen(mask, causal, query, key, value, g)
    q, keys, values, go, o = map(_heads, (query, key, value, g, out))
    batch, heads, rows, features = q.shape
    columns, dtype, size = keys.shape[2], q.dtype, values.shape[3]
    bias = _bias(mask, (*query.shape[:-1], columns), dtype)
    factor = np.array(scale, dtype)
    if _of_one_projection(q, keys, values):
        whole = np.empty((batch, rows, 3, heads, features), dtype)  # where `split` will put them together
        gq, gk, gv = (whole[:, :, i].swapaxes(1, 2) for i in range(3))
    else:
        gq = _like_torch(batch, heads, rows, features, dtype)
        gk = _like_torch(batch, heads, columns, features, dtype)
        gv = _like_torch(batch, heads, columns, size, dtype)
    if stats.ndim == 3:
        go = go if go.strides[3] == go.itemsize else np.ascontiguousarray(go)
        native.attend_backward(go, q, keys, values, o, stats, bias, causal, float(scale), (gq, gk, gv))
        results = gq.reshape(query.shape), gk.reshape(key.shape), gv.reshape(value.shape)
        return results if kind == dtype else tuple(r.astype(kind) for r in results)
    shifts, totals = stats
    shifted = bool(shifts.any())

    def task(b: slice, h: slice, ranges: list[tuple[int, int]]) -> None:
        block = _Block(q, keys, bias, b, h, factor, causal)
        values_t = _transposed("values", values[b, h], 1)
        # with P = E / total and a further column -delta beside g: dS = E * ([g, -delta] / total) [v, 1]^T
        wide = scratch("wide", (*block.q.shape[:3], size + 1), dtype)
        g_scaled = wide[..., :size]
        np.divide(go[b, h], totals[b, h], out=g_scaled)
        np.negative(np.vecdot(g_scaled, o[b, h]), out=wide[..., size])
        whole = len(ranges) == 1 and block.width(rows) == columns
        if not whole:
            gk[b, h] = 0
            gv[b, h] = 0
        for part in ranges:
            r, width = slice(*part), block.width(part[1])
            p = block.scores(part)
            if shifted:
                np.subtract(p, shifts[b, h, r], p)
            np.exp(p, p)
            d = scratch("scores.grad", p.shape, dtype)
            np.matmul(wide[:, :, r], values_t[:, :, :, :width], out=d)
            np.multiply(d, p, d)
            np.matmul(d, keys[b, h, :width], out=gq[b, h, r])
            p, d = p.swapaxes(2, 3), d.swapaxes(2, 3)
            if whole:
                np.matmul(p, g_scaled[:, :, r], out=gv[b, h])
                np.matmul(d, block.q[:, :, r], out=gk[b, h])
            else:
                gv[b, h, :width] += np.matmul(p, g_scaled[:, :, r])
                gk[b, h, :width] += np.matmul(d, block.q[:, :, r])
        gq[b, h] *= factor

    _run(task, _tasks(batch, heads, rows, columns, causal), batch * heads * rows * columns)
    results = gq.reshape(query.shape), gk.reshape(key.shape), gv.reshape(value.shape)
    return results if kind == dtype else tuple(r.astype(kind) for r in results)
