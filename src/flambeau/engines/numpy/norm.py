"""Normalisations and their gradients on raw arrays: statistics and the affine map per block, while it is in the cache.

Forward keeps the centred input and the reciprocal standard deviation; backward works from those.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native.moments import centred_rows, linear_rows, map_rows, row_moments, row_products
from ..native.normalize import norm_rows, norm_rows_backward
from .chain import row_blocks
from .parallel import BLOCK, parallel_for, scratch, single_blas
from .softmax import _ones_of, row_sum

__all__ = [
    "batch_norm_apply",
    "batch_norm_backward",
    "batch_norm_stats",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]

Array = Any

_TILE = 1024  # row vectors shorter than this are repeated, so that broadcasting runs long inner loops


def _repeat(vector: Array | None, rows: int) -> Array | None:
    """`vector` repeated a number of times that divides `rows` (and every block of them)."""
    if vector is None:
        return None
    n = vector.size
    times = 1
    while rows % (2 * times) == 0 and 2 * times * n <= _TILE and times < 16:
        times *= 2
    if times == 1 or rows * n <= 8192:
        return vector
    tiled = np.empty((times, n), vector.dtype)
    tiled[:] = vector
    return tiled.reshape(-1)


def _by_row_vector(ufunc: Any, a: Array, vector: Array, out: Array) -> None:
    """`ufunc(a, vector, out=out)` for matrices whose rows `vector` covers one or several times."""
    ufunc(a.reshape(-1, vector.size), vector, out=out.reshape(-1, vector.size))


def _normalized(a: Array, normalized_shape: tuple[int, ...]) -> tuple[int, int]:
    """Number of rows and their width."""
    width = 1
    for s in normalized_shape:
        width *= s
    return (a.size // width if width else 0), width


def _blocks(rows: int, width: int) -> int:
    if rows * width <= _ONE_BLOCK:
        return rows
    block = row_blocks(rows, width)
    return block if block < 16 else block - block % 16


def _flat(vector: Array | None) -> Array | None:
    return None if vector is None else vector.reshape(-1)


# --- layer_norm, rms_norm -----------------------------------------------------------------------------------------

_SMALL = 8192  # elements up to which a straight line of calls, without scratch memory and tiling, is quickest
_ONE_BLOCK = 4 * BLOCK  # elements up to which cutting into blocks costs more than the cache gives back


def layer_norm(
    a: Array, normalized_shape: tuple[int, ...], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Rows with mean 0 and variance 1, times `weight`, plus `bias`; then the rows' means and `1 / std`."""
    rows, n = _normalized(a, normalized_shape)
    x = a.reshape(rows, n)
    done = norm_rows(x, _flat(weight), _flat(bias), eps, True)
    if done is not None:
        return done[0].reshape(a.shape), done[1], done[2]
    if a.size <= _SMALL:
        out, mean, rstd = _layer_norm_rows(x, None, n, eps)
        if weight is not None:
            np.multiply(out, weight.reshape(-1), out=out)
        if bias is not None:
            np.add(out, bias.reshape(-1), out=out)
        return out.reshape(a.shape), mean, rstd
    out = np.empty(a.shape, a.dtype)
    mean, rstd, res = np.empty(rows, a.dtype), np.empty(rows, a.dtype), out.reshape(rows, n)
    w, b = _repeat(_flat(weight), rows), _repeat(_flat(bias), rows)

    def piece(i: int, j: int) -> None:
        o = res[i:j]
        _, mean[i:j], rstd[i:j] = _layer_norm_rows(x[i:j], o, n, eps)
        if w is not None:
            _by_row_vector(np.multiply, o, w, o)
        if b is not None:
            _by_row_vector(np.add, o, b, o)

    parallel_for(rows, piece, grain=max(1, 4 * BLOCK // n), block=_blocks(rows, n))
    return out, mean, rstd


def _layer_norm_rows(x: Array, out: Array | None, n: int, eps: float) -> tuple[Array, Array, Array]:
    mean = row_sum(x)
    np.divide(mean, n, out=mean)
    out = np.subtract(x, mean[:, None], out=out)
    rstd = _rstd(out, n, eps)
    np.multiply(out, rstd[:, None], out=out)
    return out, mean, rstd


def _rstd(x: Array, n: int, eps: float) -> Array:
    """One over the root of the mean square of each row, plus `eps`."""
    r = np.vecdot(x, x)
    np.divide(r, n, out=r)
    np.add(r, eps, out=r)
    np.sqrt(r, out=r)
    return np.reciprocal(r, out=r)


def layer_norm_backward(
    g: Array,
    a: Array,
    mean: Array | None,
    rstd: Array,
    weight: Array | None,
    bias: Array | None,
    needs: tuple[bool, bool, bool],
    normalized_shape: Any = None,
    eps: float = 0.0,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of input, weight and bias. Without `mean` it is the gradient of `rms_norm`.

    The last two parameters are for the formula of the same name, which computes the statistics again.
    """
    a, g = np.ascontiguousarray(a), np.ascontiguousarray(g)
    rows = rstd.size
    n = a.size // rows if rows else 1
    grads, x = g.reshape(rows, n), a.reshape(rows, n)
    need_w, need_b = weight is not None and needs[1], bias is not None and needs[2]
    done = norm_rows_backward(grads, x, mean, rstd, _flat(weight), (needs[0], need_w, need_b))
    if done is not None:
        shapes = a, weight, bias
        return tuple(None if d is None else d.reshape(v.shape) for d, v in zip(done, shapes))  # type: ignore[return-value]
    res = np.empty(a.shape, a.dtype) if needs[0] else None
    flat = None if res is None else res.reshape(rows, n)
    small = a.size <= _SMALL
    w = _flat(weight) if small else _repeat(_flat(weight), rows)
    for_weight: list[Array] = []
    for_bias: list[Array] = []

    def piece(i: int, j: int) -> None:
        gr, xr, r = grads[i:j], x[i:j], rstd[i:j]
        m = None if mean is None else mean[i:j]
        t = np.empty(gr.shape, gr.dtype) if small else scratch("norm", gr.shape, gr.dtype)
        if flat is not None:
            _norm_slope(gr, xr, m, r, w, flat[i:j], t)
        if need_w:
            np.multiply(gr, xr, out=t)
            part = np.dot(r, t)
            if m is not None:
                part -= np.dot(m * r, gr)
            for_weight.append(part)
        if need_b:
            for_bias.append(np.dot(_ones_of(j - i, gr.dtype), gr))

    if small:
        piece(0, rows)
    else:
        with single_blas():
            parallel_for(rows, piece, grain=max(1, 4 * BLOCK // n), block=_blocks(rows, n))
    return res, _total(for_weight, weight) if need_w else None, _total(for_bias, bias) if need_b else None


def _norm_slope(g: Array, x: Array, mean: Array | None, r: Array, w: Array | None, out: Array, t: Array) -> None:
    """`out = r * (gw - mean(gw) - xhat * mean(gw * xhat))` with `gw = g * w`, as a linear map of `gw` and `x`."""
    n = x.shape[1]
    gw = g
    if w is not None:
        _by_row_vector(np.multiply, g, w, t)
        gw = t
    slope = np.vecdot(gw, x)
    if mean is not None:
        total = row_sum(gw)
        slope -= total * mean
    slope *= r
    slope *= r
    slope *= r
    slope /= n
    np.multiply(x, slope[:, None], out=out)
    if mean is not None:
        total *= r
        total /= n
        total -= slope * mean
        np.add(out, total[:, None], out=out)
    np.multiply(gw, r[:, None], out=t)
    np.subtract(t, out, out=out)


def _total(parts: list[Array], like: Array) -> Array:
    """The sum of blocks' column sums in the shape of the parameter."""
    if not parts or parts[0].size != like.size:  # no rows
        return np.zeros_like(like)
    total = parts[0] if len(parts) == 1 else np.add.reduce(np.stack(parts), 0)
    return total.reshape(like.shape)


def rms_norm(a: Array, normalized_shape: tuple[int, ...], weight: Array | None, eps: float) -> tuple[Array, Array]:
    """Rows over their root mean square, times `weight`; and the reciprocal root mean squares."""
    rows, n = _normalized(a, normalized_shape)
    x = a.reshape(rows, n)
    done = norm_rows(x, _flat(weight), None, eps, False)
    if done is not None:
        return done[0].reshape(a.shape), done[2]
    if a.size <= _SMALL:
        rstd = _rstd(x, n, eps)
        out = x * rstd[:, None]
        if weight is not None:
            np.multiply(out, weight.reshape(-1), out=out)
        return out.reshape(a.shape), rstd
    out, rstd = np.empty(a.shape, a.dtype), np.empty(rows, a.dtype)
    res = out.reshape(rows, n)
    w = _repeat(_flat(weight), rows)

    def piece(i: int, j: int) -> None:
        o = res[i:j]
        r = rstd[i:j] = _rstd(x[i:j], n, eps)
        np.multiply(x[i:j], r[:, None], out=o)
        if w is not None:
            _by_row_vector(np.multiply, o, w, o)

    parallel_for(rows, piece, grain=max(1, 4 * BLOCK // n), block=_blocks(rows, n))
    return out, rstd


def rms_norm_backward(
    g: Array, a: Array, rstd: Array, weight: Array | None, needs: tuple[bool, bool], normalized_shape: Any, eps: float
) -> tuple[Array | None, Array | None]:
    """Gradients of input and weight."""
    return layer_norm_backward(g, a, None, rstd, weight, None, (needs[0], needs[1], False))[:2]


# --- group_norm ---------------------------------------------------------------------------------------------------


def _row_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each row."""
    rows, n = x.shape
    done = row_moments(x)
    if done is not None:
        return done[0], done[1] / n
    mean, var = np.empty(rows, x.dtype), np.empty(rows, x.dtype)

    def piece(i: int, j: int) -> None:
        m = mean[i:j] = row_sum(x[i:j]) / n
        square = m * m
        v = np.vecdot(x[i:j], x[i:j]) / n - square
        if not (square <= 16 * v).all():  # the difference lost digits
            centred = np.subtract(x[i:j], m[:, None], out=scratch("norm", (j - i, n), x.dtype))
            v = np.vecdot(centred, centred) / n
        var[i:j] = v

    _pieces(x, piece)
    return mean, var


def _affine_rows(a: Array, scale: Array, shift: Array) -> Array:
    """`a * scale + shift`, with a factor and a term for each sample's channel."""
    n, c, length = _sizes(a)
    done = map_rows(a.reshape(n * c, length), scale.reshape(-1), shift.reshape(-1))
    if done is not None:
        return done.reshape(a.shape)
    out = np.empty(a.shape, a.dtype)
    x, res, s, t = a.reshape(n * c, length), out.reshape(n * c, length), scale.reshape(-1, 1), shift.reshape(-1, 1)

    def piece(i: int, j: int) -> None:
        np.multiply(x[i:j], s[i:j], out=res[i:j])
        np.add(res[i:j], t[i:j], out=res[i:j])

    _pieces(x, piece)
    return out


def group_norm(
    a: Array, num_groups: int, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Groups of channels with mean 0 and variance 1, times `weight` plus `bias` by channel; means and `1 / std`."""
    n, c, _ = _sizes(a)
    if a.size == 0:
        empty = np.zeros(n * num_groups, a.dtype)
        return np.empty(a.shape, a.dtype), empty, empty
    mean, var = _row_moments(a.reshape(n * num_groups, -1))
    rstd = 1 / np.sqrt(var + eps)
    scale = np.repeat(rstd, c // num_groups).reshape(n, c)
    if weight is not None:
        scale = scale * weight
    shift = -np.repeat(mean, c // num_groups).reshape(n, c) * scale
    if bias is not None:
        shift = shift + bias
    return _affine_rows(a, scale, shift), mean, rstd


def group_norm_backward(
    g: Array,
    a: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    bias: Array | None,
    needs: tuple[bool, bool, bool],
    num_groups: int,
    eps: float,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of input, weight and bias."""
    n, c, length = _sizes(a)
    if a.size == 0:
        return np.zeros_like(a), *(None if v is None else np.zeros_like(v) for v in (weight, bias))
    split, per = (n, num_groups, c // num_groups), c // num_groups
    grads, x = g.reshape(n * c, length), a.reshape(n * c, length)
    centre = np.repeat(mean, per)
    m, r = mean.reshape(n, num_groups, 1), rstd.reshape(n, num_groups, 1)
    plain, weighted = (v.reshape(split) for v in row_products(grads, x, centre) or _row_sums(grads, x, centre))
    gb = np.add.reduce(plain, 0).reshape(c) if needs[2] and bias is not None else None
    gw = np.add.reduce(weighted * r, 0).reshape(c) if needs[1] and weight is not None else None
    if not needs[0]:
        return None, gw, gb
    w = np.ones((), a.dtype) if weight is None else weight.reshape(1, num_groups, per)
    count = per * length
    slope = np.add.reduce(weighted * w, 2, keepdims=True) * (r * r * r / count)
    rest = np.add.reduce(plain * w, 2, keepdims=True) * r / count
    factors = (w * r, -slope, -rest, m * slope)
    p, q, t, u = (np.ascontiguousarray(np.broadcast_to(v, split)).reshape(-1) for v in factors)
    done = linear_rows(grads, x, centre, p, q, t)
    if done is None:
        done = _combine_rows(grads, x, *(v.reshape(-1, 1) for v in (p, q, t + u)))
    return done.reshape(a.shape), gw, gb


def _row_sums(g: Array, x: Array, centre: Array) -> tuple[Array, Array]:
    """For each row the sums of `g` and of `g * (x - centre)`."""
    plain, weighted = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)

    def piece(i: int, j: int) -> None:
        plain[i:j] = row_sum(g[i:j])
        t = np.subtract(x[i:j], centre[i:j, None], out=scratch("norm", (j - i, x.shape[1]), x.dtype))
        np.vecdot(g[i:j], t, out=weighted[i:j])

    _pieces(x, piece)
    return plain, weighted


def _combine_rows(g: Array, x: Array, p: Array, q: Array, r: Array) -> Array:
    """`g * p + x * q + r`, row by row."""
    out = np.empty(x.shape, x.dtype)

    def piece(i: int, j: int) -> None:
        t = scratch("norm", (j - i, x.shape[1]), x.dtype)
        np.multiply(x[i:j], q[i:j], out=t)
        np.add(t, r[i:j], out=t)
        np.multiply(g[i:j], p[i:j], out=out[i:j])
        np.add(out[i:j], t, out=out[i:j])

    _pieces(x, piece)
    return out


# --- batch_norm ---------------------------------------------------------------------------------------------------
# Channels are dim 1. Where what follows it is long, a (sample, channel) pair is a row; where it is short, a sample is,
# and each channel's value is repeated along it.

_LONG = 64


def _sizes(a: Array) -> tuple[int, int, int]:
    n, c = a.shape[0], a.shape[1]
    return n, c, (a.size // (n * c) if n * c else 0)


def _pieces(a: Array, work: Any) -> None:
    """Call `work(i, j)` for blocks of rows of `a`, a matrix."""
    rows, width = a.shape
    parallel_for(rows, work, grain=max(1, 4 * BLOCK // width), block=row_blocks(rows, width))


def batch_norm_stats(a: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel."""
    n, c, length = _sizes(a)
    count = n * length
    if not count:
        return np.zeros(c, a.dtype), np.zeros(c, a.dtype)
    done = row_moments(a.reshape(n * c, length))
    if done is not None:
        means, squares = (v.reshape(n, c).astype(np.float64) for v in done)
        mean = np.add.reduce(means, 0) / n
        means -= mean
        var = (np.add.reduce(squares, 0) + length * np.add.reduce(means * means, 0)) / count
        return mean.astype(a.dtype), var.astype(a.dtype)
    if length == 1 and a.size <= _SMALL:
        x = a.reshape(n, c)
        mean = np.add.reduce(x, 0) / n
        x = x - mean
        return mean, np.einsum("ij,ij->j", x, x) / n
    plain, squares = _sums(a, a)
    mean = plain / count
    var = squares / count - mean * mean
    # Where the mean outweighs the spread, that difference has lost digits: a second pass over centred values.
    if not (mean * mean <= 16 * var).all():
        _, squares = _sums(a, a, mean.astype(a.dtype))
        var = squares / count
    return mean.astype(a.dtype), var.astype(a.dtype)


def _sums(g: Array, a: Array, mean: Array | None = None) -> tuple[Array, Array]:
    """Per channel, sums of `g` and of `g * (a - mean)`, in double precision; if `g` is `a`, of `(a - mean) ** 2`."""
    n, c, length = _sizes(a)
    shape = (n * c, length) if length >= _LONG else (n, c * length)
    x, grads = a.reshape(shape), g.reshape(shape)
    same = g is a
    if length >= _LONG:
        centre = None if mean is None else np.tile(mean, n)[:, None]
        plain, weighted = np.empty(n * c, a.dtype), np.empty(n * c, a.dtype)

        def rows(i: int, j: int) -> None:
            gr, xr = grads[i:j], x[i:j]
            plain[i:j] = row_sum(gr)
            if centre is not None:
                xr = np.subtract(xr, centre[i:j], out=scratch("norm", xr.shape, a.dtype))
            np.vecdot(xr if same else gr, xr, out=weighted[i:j])

        _pieces(x, rows)
        return (
            np.add.reduce(plain.reshape(n, c), 0, np.float64),
            np.add.reduce(weighted.reshape(n, c), 0, np.float64),
        )
    centre = None if mean is None else np.repeat(mean, length)
    first: list[Array] = []
    second: list[Array] = []

    def samples(i: int, j: int) -> None:
        gr, xr = grads[i:j], x[i:j]
        first.append(np.add.reduce(gr, 0))
        t = scratch("norm", xr.shape, a.dtype)
        if centre is not None:
            xr = np.subtract(xr, centre, out=t)
        np.multiply(xr if same else gr, xr, out=t)
        second.append(np.add.reduce(t, 0))

    _pieces(x, samples)
    return _per_channel(first, c, length), _per_channel(second, c, length)


def _per_channel(parts: list[Array], c: int, length: int) -> Array:
    """Sums over samples, in blocks, to sums per channel in double precision."""
    total = parts[0].astype(np.float64) if len(parts) == 1 else np.add.reduce(np.stack(parts), 0, np.float64)
    return total if length == 1 else np.add.reduce(total.reshape(c, length), 1)


def batch_norm_apply(a: Array, scale: Array, shift: Array) -> Array:
    """`a * scale + shift`, channel by channel."""
    n, c, length = _sizes(a)
    done = map_rows(a.reshape(n * c, length), scale, shift) if a.size else None
    if done is not None:
        return done.reshape(a.shape)
    out = np.empty(a.shape, a.dtype)
    if out.size == 0:
        return out
    if length >= _LONG:
        x, res = a.reshape(n * c, length), out.reshape(n * c, length)
        s, b = np.tile(scale, n)[:, None], np.tile(shift, n)[:, None]

        def rows(i: int, j: int) -> None:
            np.multiply(x[i:j], s[i:j], out=res[i:j])
            np.add(res[i:j], b[i:j], out=res[i:j])

        _pieces(x, rows)
        return out
    x, res = a.reshape(n, c * length), out.reshape(n, c * length)
    s, b = (scale, shift) if length == 1 else (np.repeat(scale, length), np.repeat(shift, length))

    def samples(i: int, j: int) -> None:
        np.multiply(x[i:j], s, out=res[i:j])
        np.add(res[i:j], b, out=res[i:j])

    _pieces(x, samples)
    return out


def _gradient_sums(g: Array, a: Array, mean: Array, rstd: Array) -> tuple[Array, Array]:
    """Per channel, the sum of `g` and of `g * (a - mean)`."""
    n, c, length = _sizes(a)
    done = row_products(g.reshape(n * c, length), a.reshape(n * c, length), mean)
    if done is not None:
        plain, weighted = (np.add.reduce(v.reshape(n, c), 0, np.float64) for v in done)
        return plain.astype(a.dtype), weighted.astype(a.dtype)
    if (np.abs(mean) * rstd <= 4).all():
        plain, weighted = _sums(g, a)
        weighted -= plain * mean
    else:
        plain, weighted = _sums(g, a, mean)
    return plain.astype(a.dtype), weighted.astype(a.dtype)


def _input_slope(g: Array, a: Array, mean: Array, q: Array, r: Array, scale: Array) -> Array:
    """`(g + (a - mean) * q + r) * scale`, channel by channel: in this order an infinite weight gives what PyTorch's
    gives.
    """
    n, c, length = _sizes(a)
    done = centred_rows(g.reshape(n * c, length), a.reshape(n * c, length), mean, q, r, scale)
    if done is not None:
        return done.reshape(a.shape)
    r = r - mean * q
    long = length >= _LONG
    shape = (n * c, length) if long else (n, c * length)
    x, grads, out = a.reshape(shape), g.reshape(shape), np.empty(shape, a.dtype)
    if long:
        q, r, scale = (np.tile(v, n)[:, None] for v in (q, r, scale))
    else:
        q, r, scale = (np.repeat(v, length) for v in (q, r, scale))

    def piece(i: int, j: int) -> None:
        rows = slice(i, j) if long else slice(None)
        o = out[i:j]
        np.multiply(x[i:j], q[rows], out=o)
        np.add(o, r[rows], out=o)
        np.add(o, grads[i:j], out=o)
        np.multiply(o, scale[rows], out=o)

    _pieces(x, piece)
    return out.reshape(a.shape)


def batch_norm_backward(
    g: Array,
    a: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    var: Array,
    training: bool,
    eps: float,
    needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of input, weight and bias; in training the statistics are functions of the input."""
    rstd = 1 / np.sqrt(var + eps)
    if a.size == 0:
        return np.zeros_like(a), *(None if v is None else np.zeros_like(v) for v in (weight, bias))
    scale = rstd if weight is None else weight * rstd
    gx = gw = gb = None
    if training or needs[1] or needs[2]:
        plain, weighted = _gradient_sums(g, a, mean, rstd)
        gw = weighted * rstd if weight is not None and needs[1] else None
        gb = plain if bias is not None and needs[2] else None
    if needs[0] and training:
        count = a.size // a.shape[1]
        gx = _input_slope(g, a, mean, -rstd * rstd * weighted / count, -plain / count, scale)
    elif needs[0]:
        gx = batch_norm_apply(g, scale, np.zeros_like(scale))
    return gx, gw, gb
