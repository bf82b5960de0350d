"""Attention: softmax(q k^T) v and its gradients in blocks of heads and rows, never all scores at once.

Blocks are sized to stay in cache and spread over the cores. Forward keeps two numbers for each row, from which
backward makes the probabilities of a block again. With `causal`, columns that a block of rows cannot see are not computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .blas import single_blas
from .parallel import get_num_threads, run_tasks, scratch

__all__ = ["attention", "attention_backward"]

_SCORES = 131072  # scores that a block works on at a time
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


def _tasks(batch: int, heads: int, rows: int, columns: int) -> list[tuple]:
    """(batch slice, head slice, row ranges): what one task computes."""
    height = min(rows, max(16, _SCORES // max(columns, 1)))
    together = max(1, _SCORES // max(height * columns, 1))
    if batch * heads * rows * columns > _SMALL:
        together = min(together, max(1, -(-batch * heads // get_num_threads())))
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


def _hide(s: np.ndarray, rows: tuple[int, int], columns: int) -> None:
    """Causal masking of a block of rows whose columns are cut off at its last row."""
    start, stop = rows
    width = columns - start
    if width > 0:
        s[..., start:] += _future(stop - start, s.dtype)[:, :width]


def _scores(q: Any, keys_t: Any, bias: Any, b: slice, h: slice, rows: tuple[int, int], columns: int, causal: bool) -> Any:
    """The masked scores of a block, in scratch memory; `q` comes scaled, the keys transposed."""
    block = q[b, h, rows[0] : rows[1]]
    s = scratch("scores", (*block.shape[:3], columns), q.dtype)
    np.matmul(block, keys_t[b, h, :, :columns], out=s)
    if bias is not None:
        s += _part(bias, b, h, rows, columns)
    if causal:
        _hide(s, rows, columns)
    return s


def _like_torch(batch: int, heads: int, rows: int, features: int, dtype: Any) -> np.ndarray:
    """Memory in which heads lie side by side: joining them later moves nothing."""
    return np.empty((batch, rows, heads, features), dtype).swapaxes(1, 2)


def _transposed(a: np.ndarray, extra: int = 0) -> np.ndarray:
    """(batch, heads, features + extra, rows) in memory of its own: BLAS is faster on it; rows beyond the features are ones."""
    batch, heads, rows, features = a.shape
    out = np.empty((batch, heads, features + extra, rows), a.dtype)
    np.copyto(out[:, :, :features], a.swapaxes(2, 3))
    out[:, :, features:] = 1
    return out


def _tame(q: np.ndarray, keys: np.ndarray, bias: Any) -> bool:
    """Whether no score can be so large that its exponential overflows: then rows need not be shifted by their largest."""
    if bias is not None or q.size == 0 or keys.size == 0:
        return False
    longest = float(np.vecdot(q, q).max()) * float(np.vecdot(keys, keys).max())
    return longest < 2500.0  # scores within 50 of zero


def attention(query, key, value, mask=None, causal=False, scale=1.0):
    """`softmax(query key^T * scale + mask) value` over (..., rows, features); a boolean mask says what may be seen.

    Rows that see nothing give zeros. Returns the output and, for backward, what each row was shifted by and summed to.
    """
    kind = query.dtype
    if kind.char not in "fd":
        query, key, value = (a.astype(np.float32) for a in (query, key, value))
    q, keys, values = _heads(query), _heads(key), _heads(value)
    batch, heads, rows, _ = q.shape
    columns, dtype = keys.shape[2], q.dtype
    bias = _bias(mask, (*query.shape[:-1], columns), dtype)
    q = q * dtype.type(scale)
    tame = _tame(q, keys, bias)
    keys = _transposed(keys)
    out = _like_torch(batch, heads, rows, values.shape[3], dtype)
    stats = np.zeros((2, batch, heads, rows, 1), dtype)
    shifts, totals = stats
    ones = np.ones((columns, 1), dtype)

    def task(b: slice, h: slice, ranges: list[tuple[int, int]]) -> None:
        for part in ranges:
            r = slice(*part)
            width = min(part[1], columns) if causal else columns
            s = _scores(q, keys, bias, b, h, part, width, causal)
            if not tame:
                top = s.max(axis=3, keepdims=True, initial=-np.inf)
                top[np.isneginf(top)] = 0
                shifts[b, h, r] = top
                np.subtract(s, top, s)
            np.exp(s, s)
            total = totals[b, h, r]
            np.matmul(s, ones[:width], out=total)
            total[total == 0] = np.inf
            o = out[b, h, r]
            np.matmul(s, values[b, h, :width], out=o)
            np.divide(o, total, o)

    _run(task, _tasks(batch, heads, rows, columns), batch * heads * rows * columns)
    result = out.reshape(*query.shape[:-1], value.shape[-1])
    return (result if kind == dtype else result.astype(kind)), stats


def attention_backward(g, query, key, value, out, stats, mask=None, causal=False, scale=1.0):
    """Gradients of `attention`'s query, key and value."""
    kind = query.dtype
    if kind.char not in "fd":
        g, query, key, value, out = (a.astype(np.float32) for a in (g, query, key, value, out))
    q, keys, values, go = _heads(query), _heads(key), _heads(value), _heads(g)
    batch, heads, rows, features = q.shape
    columns, dtype, width_v = keys.shape[2], q.dtype, values.shape[3]
    bias = _bias(mask, (*query.shape[:-1], columns), dtype)
    factor = dtype.type(scale)
    q = q * factor
    keys_t, values_t = _transposed(keys), _transposed(values, 1)
    shifts, totals = stats
    shifted = bool(shifts.any())
    # with P = E / total and a further column -delta beside g: dS = E * ([g, -delta] / total) [v, 1]^T
    wide = np.empty((batch, heads, rows, width_v + 1), dtype)
    np.divide(go, totals, out=wide[..., :width_v])
    np.negative(np.vecdot(wide[..., :width_v], _heads(out)), out=wide[..., width_v])
    scaled = wide[..., :width_v]
    gq = _like_torch(batch, heads, rows, features, dtype)
    gk = _like_torch(batch, heads, columns, features, dtype)
    gv = _like_torch(batch, heads, columns, width_v, dtype)

    def task(b: slice, h: slice, ranges: list[tuple[int, int]]) -> None:
        whole = len(ranges) == 1 and not (causal and rows < columns)
        if not whole:
            gk[b, h] = 0
            gv[b, h] = 0
        for part in ranges:
            r = slice(*part)
            width = min(part[1], columns) if causal else columns
            p = _scores(q, keys_t, bias, b, h, part, width, causal)
            if shifted:
                np.subtract(p, shifts[b, h, r], p)
            np.exp(p, p)
            d = scratch("scores.grad", p.shape, dtype)
            np.matmul(wide[b, h, r], values_t[b, h, :, :width], out=d)
            np.multiply(d, p, d)
            np.matmul(d, keys[b, h, :width], out=gq[b, h, r])
            p, d = p.swapaxes(2, 3), d.swapaxes(2, 3)
            if whole:
                np.matmul(p, scaled[b, h, r], out=gv[b, h])
                np.matmul(d, q[b, h, r], out=gk[b, h])
            else:
                gv[b, h, :width] += np.matmul(p, scaled[b, h, r])
                gk[b, h, :width] += np.matmul(d, q[b, h, r])
        gq[b, h] *= factor

    _run(task, _tasks(batch, heads, rows, columns), batch * heads * rows * columns)
    results = gq.reshape(query.shape), gk.reshape(key.shape), gv.reshape(value.shape)
    return results if kind == dtype else tuple(r.astype(kind) for r in results)
