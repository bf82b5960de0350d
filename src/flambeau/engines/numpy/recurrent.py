"""What kernels of recurrent layers share, and those of GRU and plain layers: one layer and direction over a whole
sequence, forward and back through time.

Feature-major inside, like `lstm.py`; input products are made for all steps at once. Sequences of one length, in single
or double precision, are the native kernels' (`engines/native/gated.py`) where there are any.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native import gated
from ..native import recurrent as native

_SMALL = 1_000_000  # multiplications up to which OpenBLAS takes a product for small

__all__ = ["gru_layer", "gru_layer_backward", "rnn_layer", "rnn_layer_backward"]


def widened(*arrays: Any) -> list[Any]:
    """float16 and bfloat16 arrays as float32, everything else as it is."""
    return [a if a is None or a.dtype.char in "fd" else a.astype(np.float32) for a in arrays]


def last_states(states: np.ndarray, lengths: Any) -> np.ndarray:
    """From states (time, features, batch), row 0 the initial one: the final one of each sequence, (batch, features)."""
    if lengths is None:
        return states[-1].T.copy()
    return states[np.asarray(lengths), :, np.arange(states.shape[2])]


def inject(grads: np.ndarray, g_last: Any, lengths: Any) -> None:
    """Add the gradient of the final states (batch, features) where each sequence ends.

    `grads` is (time, features, batch).
    """
    if lengths is None:
        grads[-1] += g_last.T
    else:
        grads[np.asarray(lengths) - 1, :, np.arange(grads.shape[2])] += g_last


def small_pieces(rows: int, inner: int, columns: int) -> int:
    """Into how many blocks of rows to cut a product so that OpenBLAS takes its path for small matrices.

    That path packs nothing and wakes no threads: for the products of a recurrence it is the faster one.
    """
    for pieces in (1, 2, 4, 8):
        if rows % pieces == 0 and rows // pieces >= 16 and rows // pieces * inner * columns <= _SMALL:
            return pieces
    return 1


def flat_time(a: np.ndarray) -> np.ndarray:
    """(time, features, batch) as a matrix (features, time * batch)."""
    steps, features, batch = a.shape
    out = np.empty((features, steps, batch), a.dtype)
    np.copyto(out, a.transpose(1, 0, 2))
    return out.reshape(features, steps * batch)


def input_products(x: np.ndarray, w: np.ndarray, b: Any) -> np.ndarray:
    """`w @ x[t].T + b` for all steps in one product: (time, rows of w, batch)."""
    steps, batch, width = x.shape
    flat = np.matmul(w, x.reshape(steps * batch, width).T)
    if b is not None:
        flat += b[:, None]
    out = np.empty((steps, w.shape[0], batch), x.dtype)
    np.copyto(out.transpose(1, 0, 2), flat.reshape(w.shape[0], steps, batch))
    return out


def _parameter_grads(d: np.ndarray, x: np.ndarray, w_ih: np.ndarray, before: np.ndarray, bias: bool) -> tuple:
    """Gradients of input, input weight, recurrent weight and bias.

    `d` (gates, time * batch) is the gradient of the gates, `before` (time * batch, hidden) the state each step started
    from.
    """
    steps, batch, width = x.shape
    rows = x.reshape(steps * batch, width)
    gx = np.matmul(d.T, w_ih).reshape(x.shape)
    return gx, np.matmul(d, rows), np.matmul(d, before), np.matmul(d, np.ones(d.shape[1], d.dtype)) if bias else None


def _by_feature(g: Any, shape: tuple[int, int, int], dtype: Any) -> np.ndarray:
    """The gradient of the output, (time, batch, features), as (time, features, batch) of its own; zeros for None."""
    steps, batch, size = shape
    out = np.zeros((steps, size, batch), dtype) if g is None else np.empty((steps, size, batch), dtype)
    if g is not None:
        np.copyto(out, g.transpose(0, 2, 1))
    return out


def _flat(d: np.ndarray) -> np.ndarray:
    """(time, features, batch) as a matrix (time * batch, features)."""
    steps, features, batch = d.shape
    out = np.empty((steps, batch, features), d.dtype)
    np.copyto(out, d.transpose(0, 2, 1))
    return out.reshape(steps * batch, features)


def _outputs(states: np.ndarray, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """Output (time, batch, features) and final state (batch, features) from states (1 + time, features, batch)."""
    y = np.ascontiguousarray(states[1:].transpose(0, 2, 1))
    return y, last_states(states, lengths)


def _before(h0: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The states that the steps started from, as a matrix (time * batch, features)."""
    out = np.empty(y.shape, y.dtype)
    out[0] = h0
    out[1:] = y[:-1]
    return out.reshape(-1, y.shape[2])


def _cast(results: tuple, kind: Any, dtype: Any) -> tuple:
    return results if kind == dtype else tuple(None if r is None else r.astype(kind) for r in results)


# --- GRU ------------------------------------------------------------------------------------------------------------


def gru_layer(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    """One GRU layer over `x` (time, batch, input) from `h0` (batch, hidden), gates in PyTorch's order r, z, n.

    `n = tanh(W x + b + r * (U h + c))`, `h = (1 - z) * n + z * h`. Returns output, final h, and for backward the gates
    r, z, n and `U h + c` of n, as (time, 4 * hidden, batch).
    """
    kind = x.dtype
    x, h0, w_ih, w_hh, b_ih, b_hh = widened(x, h0, w_ih, w_hh, b_ih, b_hh)
    steps, batch, _ = x.shape
    size, dtype = w_hh.shape[1], x.dtype
    if kind == dtype and lengths is None and x.size and native.fits(h0, w_hh, b_ih, b_hh):
        return gated.gru(x, h0, w_ih, w_hh, b_ih, b_hh)
    bias, own = None, None
    if b_ih is not None:
        bias = b_ih.copy()
        bias[: 2 * size] += b_hh[: 2 * size]
        own = b_hh[2 * size :, None]
    products = input_products(x, w_ih, bias)
    products[:, : 2 * size] *= 0.5  # sigmoid(z) = (1 + tanh(z / 2)) / 2
    w = w_hh.copy()
    w[: 2 * size] *= 0.5
    tape = np.empty((steps, 4 * size, batch), dtype)
    states = np.empty((steps + 1, size, batch), dtype)
    states[0] = h0.T
    one, half = np.array(1, dtype), np.array(0.5, dtype)
    recurrent = np.empty((3 * size, batch), dtype)
    u_rz, u_n = recurrent[: 2 * size], recurrent[2 * size :]
    add, multiply, tanh = np.add, np.multiply, np.tanh
    for t in range(steps):
        h, gates, product = states[t], tape[t], products[t]
        rz, n, un = gates[: 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
        np.matmul(w, h, recurrent)
        add(u_rz, product[: 2 * size], rz)
        tanh(rz, rz)
        add(rz, one, rz)
        multiply(rz, half, rz)
        if own is None:
            un[...] = u_n
        else:
            add(u_n, own, un)
        multiply(rz[:size], un, n)
        add(n, product[2 * size :], n)
        tanh(n, n)
        new = states[t + 1]
        np.subtract(h, n, new)
        multiply(new, rz[size:], new)
        add(new, n, new)
    y, h = _outputs(states, lengths)
    return *_cast((y, h), kind, dtype), tape


def gru_layer_backward(gy, gh, x, h0, w_ih, w_hh, b_ih, y, tape, lengths=None):
    """Gradients of `gru_layer`'s x, h0, w_ih, w_hh, b_ih and b_hh; `gy` or `gh` may be None."""
    kind, dtype = x.dtype, tape.dtype
    gy, gh, x, h0, w_ih, w_hh, y = widened(gy, gh, x, h0, w_ih, w_hh, y)
    steps, batch, width = x.shape
    size = w_hh.shape[1]
    if gated.is_tape(tape, steps, batch, size):
        results = gated.gru_backward(gy, gh, x, w_ih, w_hh, tape)
        return results if b_ih is not None else (*results[:4], None, None)
    dy = _by_feature(gy, y.shape, dtype)
    if gh is not None:
        inject(dy, gh, lengths)
    before = _before(h0, y)
    r, z, n, un = (tape[:, i * size : (i + 1) * size] for i in range(4))
    d = np.empty((steps, 4 * size, batch), dtype)  # gradients of r, z, U h + c of n, and n
    d_r, d_z, d_un, d_n = (d[:, i * size : (i + 1) * size] for i in range(4))
    one = np.array(1, dtype)
    np.multiply((one - n * n), one - z, out=d_n)
    np.multiply(d_n, r, out=d_un)
    np.multiply(d_un, un * (one - r), out=d_r)
    np.subtract(before.reshape(y.shape).transpose(0, 2, 1), n, out=d_z)
    d_z *= z * (one - z)
    by_step = d.reshape(steps, 4, size, batch)
    back = np.ascontiguousarray(w_hh.T)
    dh, kept = dy[-1].copy(), np.empty((size, batch), dtype)
    for t in range(steps - 1, -1, -1):
        factors = by_step[t]
        np.multiply(factors, dh, factors)
        np.multiply(dh, z[t], kept)
        np.matmul(back, d[t, : 3 * size], dh)
        np.add(dh, kept, dh)
        if t:
            np.add(dh, dy[t - 1], dh)
    flat = _flat(d)
    g_hh = flat[:, : 3 * size]
    g_ih = np.concatenate((flat[:, : 2 * size], flat[:, 3 * size :]), axis=1)
    rows = x.reshape(steps * batch, width)
    biases = (None, None) if b_ih is None else (g_ih.sum(0), g_hh.sum(0))
    results = (g_ih @ w_ih).reshape(x.shape), dh.T, g_ih.T @ rows, g_hh.T @ before, *biases
    return _cast(results, kind, dtype)


# --- plain recurrence -----------------------------------------------------------------------------------------------


def rnn_layer(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, relu=False, lengths=None):
    """One plain layer `h = tanh(W x + U h + b)` (or relu) over `x` (time, batch, input) from `h0` (batch, hidden).

    Returns output and final h.
    """
    kind = x.dtype
    x, h0, w_ih, w_hh, b_ih, b_hh = widened(x, h0, w_ih, w_hh, b_ih, b_hh)
    steps, batch, _ = x.shape
    bias = None if b_ih is None else b_ih + b_hh
    if _plain_fits(kind, x, h0, w_hh, bias, lengths):
        return gated.rnn(x, h0, w_ih, w_hh, bias, relu)
    products = input_products(x, w_ih, bias)
    states = np.empty((steps + 1, w_hh.shape[1], batch), x.dtype)
    states[0] = h0.T
    zero = np.array(0, x.dtype)
    for t in range(steps):
        new = states[t + 1]
        np.matmul(w_hh, states[t], new)
        np.add(new, products[t], new)
        if relu:
            np.maximum(new, zero, out=new)
        else:
            np.tanh(new, new)
    return _cast(_outputs(states, lengths), kind, x.dtype)


def _plain_fits(kind: Any, x: Any, h0: Any, w_hh: Any, bias: Any, lengths: Any) -> bool:
    return kind == x.dtype and lengths is None and x.size > 0 and native.fits(h0, w_hh, bias)


def rnn_layer_backward(gy, gh, x, h0, w_ih, w_hh, b_ih, y, relu=False, lengths=None):
    """Gradients of `rnn_layer`'s x, h0, w_ih, w_hh and bias (the same for both); `gy` or `gh` may be None."""
    kind = x.dtype
    gy, gh, x, h0, w_ih, w_hh, y = widened(gy, gh, x, h0, w_ih, w_hh, y)
    steps, batch, width = x.shape
    dtype = x.dtype
    if _plain_fits(kind, x, h0, w_hh, None, lengths):
        results = gated.rnn_backward(gy, gh, x, h0, w_ih, w_hh, y, relu)
        return results if b_ih is not None else (*results[:4], None)
    dy = _by_feature(gy, y.shape, dtype)
    if gh is not None:
        inject(dy, gh, lengths)
    d = np.empty((steps, w_hh.shape[1], batch), dtype)
    np.copyto(d, y.transpose(0, 2, 1))
    if relu:
        np.greater(d, 0, out=d, casting="unsafe")
    else:
        np.multiply(d, d, d)
        np.subtract(np.array(1, dtype), d, d)
    back = np.ascontiguousarray(w_hh.T)
    dh = dy[-1].copy()
    for t in range(steps - 1, -1, -1):
        now = d[t]
        np.multiply(now, dh, now)
        np.matmul(back, now, dh)
        if t:
            np.add(dh, dy[t - 1], dh)
    flat = _flat(d)
    bias = None if b_ih is None else flat.sum(0)
    results = (
        (flat @ w_ih).reshape(x.shape),
        dh.T,
        flat.T @ x.reshape(steps * batch, width),
        flat.T @ _before(h0, y),
        bias,
    )
    return _cast(results, kind, dtype)
