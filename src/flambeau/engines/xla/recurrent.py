"""Recurrent layers, one direction over a whole sequence, as scans; and back through time.

Arrays are (time, batch, features). `lengths`, where given, are the sequences' own: states stay as they are beyond.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.xla.products import matmul
from flambeau.engines.xla.runtime import jax, jnp, lax

__all__ = [
    "gru_layer", "gru_layer_backward", "lstm_layer", "lstm_layer_backward", "rnn_layer", "rnn_layer_backward",
]  # fmt: skip


def _widened(*arrays: Any) -> list[Any]:
    return [a if a is None or a.dtype.itemsize > 2 else a.astype(np.float32) for a in arrays]


def _as(results: tuple, dtype: Any) -> tuple:
    return tuple(None if r is None else r.astype(dtype) for r in results)


def _on(lengths: Any, steps: int) -> Any:
    """(time, batch, 1): whether a sequence is still on at each step; all are without lengths."""
    return None if lengths is None else (np.asarray(lengths) > np.arange(steps)[:, None])[:, :, None]


def _final(states: Any, lengths: Any) -> Any:
    """The state of each sequence after its last step, from the states after each."""
    if lengths is None:
        return states[-1]
    return states[np.asarray(lengths) - 1, np.arange(states.shape[1])]


def _zeros_for(g: Any, like: Any) -> Any:
    return jnp.zeros(like.shape, like.dtype) if g is None else g.astype(like.dtype)


def _with_last(gy: Any, g_last: Any, lengths: Any) -> Any:
    """The gradient of each step's output with that of the final state where each sequence ends."""
    if g_last is None:
        return gy
    if lengths is None:
        return gy.at[-1].add(g_last)
    return gy.at[np.asarray(lengths) - 1, np.arange(gy.shape[1])].add(g_last)


def _product_grads(d: Any, x: Any, before: Any, w_ih: Any, bias: Any) -> tuple[Any, Any, Any, Any]:
    """Gradients of input, both weights and the bias from the gates' (time, batch, gates)."""
    flat = d.reshape(-1, d.shape[2])
    rows = x.reshape(-1, x.shape[2])
    gx = matmul(flat, w_ih).reshape(x.shape)
    return gx, matmul(flat.T, rows), matmul(flat.T, before.reshape(flat.shape[0], -1)), flat.sum(0) if bias else None


def _before(first: Any, states: Any) -> Any:
    return jnp.concatenate([first[None], states[:-1]])


# --- LSTM -----------------------------------------------------------------------------------------------------------


def lstm_layer(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, lengths=None):
    """One LSTM layer: output, final h, final c, and for backward the gates i, f, g, o and the cells of each step."""
    kind = x.dtype
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr = _widened(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr)
    products = matmul(x, w_ih.T)
    if b_ih is not None:
        products = products + (b_ih + b_hh)

    def step(state: Any, product: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(product + matmul(h, w_hh.T), 4, 1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        c = f * c + i * g
        h = o * jnp.tanh(c)
        if w_hr is not None:
            h = matmul(h, w_hr.T)
        return (h, c), (h, jnp.concatenate([i, f, g, o, c], 1))

    _, (y, tape) = lax.scan(step, (h0, c0), products)
    size = c0.shape[1]
    return *_as((y, _final(y, lengths), _final(tape[:, :, 4 * size :], lengths)), kind), jnp.concatenate(
        [tape, jnp.broadcast_to(c0, (1, *c0.shape)).repeat(tape.shape[0], 0)], 2
    )


def lstm_layer_backward(gy, gh, gc, x, h0, w_ih, w_hh, b_ih, w_hr, y, tape, lengths=None):
    """Gradients of x, h0, c0, both weights, the bias (the same for both) and the projection."""
    kind = x.dtype
    gy, gh, gc, x, h0, w_ih, w_hh, w_hr, y = _widened(gy, gh, gc, x, h0, w_ih, w_hh, w_hr, y)
    size = tape.shape[2] // 6
    i, f, g, o, c, first = (tape[:, :, n * size : (n + 1) * size] for n in range(6))
    dy = _with_last(_zeros_for(gy, y), gh, lengths)
    dc_in = _with_last(jnp.zeros(c.shape, c.dtype), gc, lengths)
    c_before = _before(first[0], c)
    on = _on(lengths, x.shape[0])
    on = jnp.ones((x.shape[0], 1, 1), bool) if on is None else jnp.asarray(on)

    def step(carry: Any, now: Any) -> Any:
        dh, dc = carry
        dy, dc_in, i, f, g, o, c, c_before, on = now
        dh, dc = dh + dy, dc + dc_in
        inner = dh if w_hr is None else matmul(dh, w_hr)
        t = jnp.tanh(c)
        dc = dc + inner * o * (1 - t * t)
        d = jnp.concatenate(
            [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g * g), inner * t * o * (1 - o)], 1
        )
        d = jnp.where(on, d, 0)
        return (matmul(d, w_hh), jnp.where(on, dc * f, dc)), (d, jnp.where(on, dh, 0))

    start = (jnp.zeros(h0.shape, h0.dtype), jnp.zeros(c.shape[1:], c.dtype))
    (dh, dc), (d, dhs) = lax.scan(step, start, (dy, dc_in, i, f, g, o, c, c_before, on), reverse=True)
    gx, gwi, gwh, gb = _product_grads(d, x, _before(h0, y), w_ih, b_ih is not None)
    gwr = None
    if w_hr is not None:
        gwr = matmul(dhs.reshape(-1, dhs.shape[2]).T, (o * jnp.tanh(c)).reshape(-1, size))
    return _as((gx, dh, dc, gwi, gwh, gb, gwr), kind)


# --- GRU ------------------------------------------------------------------------------------------------------------


def gru_layer(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    """One GRU layer: output, final h, and for backward r, z, n and the state's part of n."""
    kind = x.dtype
    x, h0, w_ih, w_hh, b_ih, b_hh = _widened(x, h0, w_ih, w_hh, b_ih, b_hh)
    products = matmul(x, w_ih.T) if b_ih is None else matmul(x, w_ih.T) + b_ih

    def step(h: Any, product: Any) -> Any:
        u = matmul(h, w_hh.T) if b_hh is None else matmul(h, w_hh.T) + b_hh
        r, z, n = jnp.split(product, 3, 1)
        ur, uz, un = jnp.split(u, 3, 1)
        r, z = jax.nn.sigmoid(r + ur), jax.nn.sigmoid(z + uz)
        n = jnp.tanh(n + r * un)
        h = n + z * (h - n)
        return h, (h, jnp.concatenate([r, z, n, un], 1))

    _, (y, tape) = lax.scan(step, h0, products)
    return *_as((y, _final(y, lengths)), kind), tape


def gru_layer_backward(gy, gh, x, h0, w_ih, w_hh, b_ih, y, tape, lengths=None):
    """Gradients of x, h0, both weights and both biases."""
    kind = x.dtype
    gy, gh, x, h0, w_ih, w_hh, y = _widened(gy, gh, x, h0, w_ih, w_hh, y)
    size = h0.shape[1]
    r, z, n, un = (tape[:, :, i * size : (i + 1) * size] for i in range(4))
    dy = _with_last(_zeros_for(gy, y), gh, lengths)
    before = _before(h0, y)
    on = _on(lengths, x.shape[0])
    on = jnp.ones((x.shape[0], 1, 1), bool) if on is None else jnp.asarray(on)

    def step(dh: Any, now: Any) -> Any:
        dy, r, z, n, un, before, on = now
        dh = jnp.where(on, dh + dy, 0)
        dn = dh * (1 - z) * (1 - n * n)
        dz = dh * (before - n) * z * (1 - z)
        dr = dn * un * r * (1 - r)
        inner = jnp.concatenate([dr, dz, dn * r], 1)
        return matmul(inner, w_hh) + dh * z, (jnp.concatenate([dr, dz, dn], 1), inner)

    dh, (d_in, d_own) = lax.scan(step, jnp.zeros(h0.shape, h0.dtype), (dy, r, z, n, un, before, on), reverse=True)
    gx, gwi, _, gbi = _product_grads(d_in, x, before, w_ih, b_ih is not None)
    flat = d_own.reshape(-1, 3 * size)
    gwh = matmul(flat.T, before.reshape(-1, size))
    return _as((gx, dh, gwi, gwh, gbi, None if b_ih is None else flat.sum(0)), kind)


# --- plain recurrence -----------------------------------------------------------------------------------------------


def rnn_layer(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, relu=False, lengths=None):
    """One plain layer `h = tanh(W x + U h + b)` (or relu): output and final h."""
    kind = x.dtype
    x, h0, w_ih, w_hh, b_ih, b_hh = _widened(x, h0, w_ih, w_hh, b_ih, b_hh)
    products = matmul(x, w_ih.T) if b_ih is None else matmul(x, w_ih.T) + (b_ih + b_hh)

    def step(h: Any, product: Any) -> Any:
        total = product + matmul(h, w_hh.T)
        h = jnp.maximum(total, 0) if relu else jnp.tanh(total)
        return h, h

    _, y = lax.scan(step, h0, products)
    return _as((y, _final(y, lengths)), kind)


def rnn_layer_backward(gy, gh, x, h0, w_ih, w_hh, b_ih, y, relu=False, lengths=None):
    """Gradients of x, h0, both weights and the bias (the same for both)."""
    kind = x.dtype
    gy, gh, x, h0, w_ih, w_hh, y = _widened(gy, gh, x, h0, w_ih, w_hh, y)
    dy = _with_last(_zeros_for(gy, y), gh, lengths)
    on = _on(lengths, x.shape[0])
    on = jnp.ones((x.shape[0], 1, 1), bool) if on is None else jnp.asarray(on)

    def step(dh: Any, now: Any) -> Any:
        dy, y, on = now
        slope = (y > 0).astype(y.dtype) if relu else 1 - y * y
        d = jnp.where(on, (dh + dy) * slope, 0)
        return matmul(d, w_hh), d

    dh, d = lax.scan(step, jnp.zeros(h0.shape, h0.dtype), (dy, y, on), reverse=True)
    return _as((*(r := _product_grads(d, x, _before(h0, y), w_ih, b_ih is not None))[:1], dh, *r[1:]), kind)
