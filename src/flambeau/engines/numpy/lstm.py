"""Kernels of LSTM: one layer and direction over a whole sequence, forward and backward through time.

Everything inside runs feature-major: a step's state is a matrix (features, batch), so that the gates are contiguous
blocks of rows, and BLAS gets its products in the shape it is fastest at. Sigmoids are computed as `(1 + tanh(z / 2)) /
2`, with the halving folded into the weights, so that one call of tanh serves all gates. What backward needs
elementwise is prepared for a few steps at once; the loop over time keeps one product and a handful of small calls per
step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .parallel import scratch
from .recurrent import flat_time, small_pieces, inject, input_products, last_states, widened

__all__ = ["lstm_layer", "lstm_layer_backward"]

_CHUNK = 32768  # elements of gates that backward prepares at a time, to find them in cache
_JOINT = 128  # inputs up to this wide join the recurrent product; wider ones are multiplied for all steps at once


# --- LSTM -----------------------------------------------------------------------------------------------------------
#
# Each step has a block of six rows of (hidden, batch) matrices: tanh(cell), o, i, f, g, and the cell it started from.
# In this order what is done alike lies side by side, and one call does it. The sigmoid gates o, i, f are kept as t =
# tanh(z / 2): the sigmoid is (1 + t) / 2, its derivative (1 - t^2) / 4. Halves are folded into weights wherever they
# can be.


def _gate_order(size: int) -> list[tuple[slice, slice, float]]:
    """For each of o, i-f, g: its rows here, its rows in PyTorch's order i, f, g, o, and the scale of its weights."""
    return [
        (slice(0, size), slice(3 * size, 4 * size), 0.5),
        (slice(size, 3 * size), slice(0, 2 * size), 0.5),
        (slice(3 * size, 4 * size), slice(2 * size, 3 * size), 1.0),
    ]


def _lstm_weights(w_ih: Any, w_hh: Any, bias: Any, state_scale: float) -> np.ndarray:
    """The matrix of the recurrent product, `w_ih`, `w_hh` and `bias` (any but `w_hh` may be None) side by side."""
    rows, hidden = w_hh.shape
    width = 0 if w_ih is None else w_ih.shape[1]
    w = np.empty((rows, width + hidden + (bias is not None)), w_hh.dtype)
    for here, there, scale in _gate_order(rows // 4):
        if w_ih is not None:
            np.multiply(w_ih[there], scale, out=w[here, :width])
        np.multiply(w_hh[there], scale * state_scale, out=w[here, width : width + hidden])
        if bias is not None:
            np.multiply(bias[there], scale, out=w[here, -1])
    return w


def lstm_layer(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, lengths=None):
    """One LSTM layer over `x` (time, batch, input) from `h0` (batch, output), `c0` (batch, hidden).

    Gates in PyTorch's order i, f, g, o. `w_hr` projects the output; `lengths` ends sequences early (what comes after is
    computed all the same and means nothing). Returns output, final h, final c, and the tape that backward needs.
    """
    kind = x.dtype
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr = widened(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr)
    steps, batch, width = x.shape
    size, out_size, dtype = w_hh.shape[0] // 4, w_hh.shape[1], x.dtype
    bias = None if b_ih is None else b_ih + b_hh
    joint = width <= _JOINT
    # states are kept doubled, which saves halving the output gate: the recurrent weights make up for it
    doubled = w_hr is None
    w = _lstm_weights(w_ih if joint else None, w_hh, bias if joint else None, 0.5 if doubled else 1.0)
    columns = np.empty((steps + 1, w.shape[1], batch), dtype)
    products = None
    if joint:
        np.copyto(columns[:-1, :width], x.transpose(0, 2, 1))
        if bias is not None:
            columns[:-1, -1] = 1
    else:
        wide = _lstm_weights(None, w_ih, bias, 1.0)
        products = input_products(x, wide if bias is None else wide[:, :-1], None if bias is None else wide[:, -1])
    first = width if joint else 0
    states = columns[:, first : first + out_size]
    np.multiply(h0.T, 2.0 if doubled else 1.0, out=states[0])
    tape = np.empty((steps + 1, 6 * size, batch), dtype)
    tape[0, 5 * size :] = c0.T
    _lstm_steps(w, columns, states, tape, products, None if doubled else w_hr * 0.5)
    y = np.empty((steps, batch, out_size), dtype)
    np.multiply(states[1:].transpose(0, 2, 1), 0.5 if doubled else 1.0, out=y)
    h = y[-1].copy() if lengths is None else y[np.asarray(lengths) - 1, np.arange(batch)]
    c = last_states(tape[:, 5 * size :], lengths)
    if kind != dtype:
        y, h, c = y.astype(kind), h.astype(kind), c.astype(kind)
    return y, h, c, tape


def _lstm_steps(w, columns, states, tape, products, projection):
    """The loop over time; fills `states` and `tape`."""
    one, half = np.array(1, w.dtype), np.array(0.5, w.dtype)
    size, batch = tape.shape[1] // 6, tape.shape[2]
    matmul, tanh, add, multiply = np.matmul, np.tanh, np.add, np.multiply
    pieces = small_pieces(*w.shape, batch)
    w = w.reshape(pieces, -1, w.shape[1])
    u = np.empty((3 * size, batch), w.dtype)
    u_o, u_if = u[:size], u[size:]
    terms = np.empty((2 * size, batch), w.dtype)
    term_i, term_f = terms[:size], terms[size:]
    whole = None if projection is None else np.empty((size, batch), w.dtype)
    todo = zip(
        columns[:-1],
        tape[:, :size],
        tape[:, size : 5 * size],
        tape[:, size : 5 * size].reshape(len(tape), pieces, -1, batch),
        tape[:, size : 4 * size],
        tape[:, 4 * size :],
        tape[1:, 5 * size :],
        states[1:],
        columns[:-1] if products is None else products,
        strict=False,
    )
    for column, tc, gates, pieced, sigmoids, g_and_cell, new_cell, h, product in todo:
        matmul(w, column, pieced)
        if products is not None:
            add(gates, product, gates)
        tanh(gates, gates)
        add(sigmoids, one, u)
        multiply(u_if, g_and_cell, terms)
        add(term_i, term_f, new_cell)
        multiply(new_cell, half, new_cell)
        tanh(new_cell, tc)
        if whole is None:
            multiply(u_o, tc, h)
        else:
            multiply(u_o, tc, whole)
            matmul(projection, whole, h)


def lstm_layer_backward(gy, gh, gc, x, h0, w_ih, w_hh, b_ih, w_hr, y, tape, lengths=None):
    """Gradients of `lstm_layer`'s x, h0, c0, w_ih, w_hh, bias (the same for both) and w_hr.

    `gy`, `gh`, `gc` are those of output, final h and final c; any may be None.
    """
    kind = x.dtype
    gy, gh, gc, x, h0, w_ih, w_hh, w_hr, y = widened(gy, gh, gc, x, h0, w_ih, w_hh, w_hr, y)
    steps, batch, width = x.shape
    size, out_size, dtype = w_hh.shape[0] // 4, w_hh.shape[1], tape.dtype
    state_scale = 0.5 if w_hr is None else 1.0
    dy = scratch("rnn.dy", (steps, out_size, batch), dtype)
    if gy is None:
        dy.fill(0)
    else:
        np.multiply(gy.transpose(0, 2, 1), state_scale, out=dy)
    if gh is not None:
        inject(dy, gh * dtype.type(state_scale), lengths)
    scales = (0.5, 0.25, 0.5)  # what the loop leaves to be applied to the gradients of o, i-f, g
    back = np.empty((4 * size, out_size), dtype)
    scaled = np.empty((4 * size, width), dtype)
    for (here, there, _), scale in zip(_gate_order(size), scales, strict=True):
        np.multiply(w_hh[there], state_scale * scale, out=back[here])
        np.multiply(w_ih[there], scale, out=scaled[here])
    flat = scratch("rnn.gates", (steps, batch, 4 * size), dtype)
    dh, dc, outer = _lstm_back_steps(tape, dy, gc, back, w_hr, lengths, flat)
    before = scratch("rnn.before", (steps, batch, out_size), dtype)
    before[0] = h0
    before[1:] = y[:-1]
    flat = flat.reshape(steps * batch, 4 * size)
    gx = np.matmul(flat, scaled).reshape(x.shape)
    grads = [np.matmul(flat.T, x.reshape(steps * batch, width)), np.matmul(flat.T, before.reshape(-1, out_size))]
    if b_ih is not None:
        grads.append(np.matmul(np.ones(steps * batch, dtype), flat))
    ordered = [np.empty_like(grad) for grad in grads]
    for (here, there, _), scale in zip(_gate_order(size), scales, strict=True):
        for grad, to in zip(grads, ordered, strict=True):
            np.multiply(grad[here], scale, out=to[there])
    gw_hr = None
    if w_hr is not None:
        whole = (tape[:-1, size : 2 * size] + dtype.type(1)) * tape[:-1, :size]
        gw_hr = np.matmul(flat_time(outer), flat_time(whole).T) * dtype.type(0.5)
    results = gx, dh.T * dtype.type(1 / state_scale), dc.T, *ordered, *([None] if b_ih is None else []), gw_hr
    return results if kind == dtype else tuple(None if r is None else r.astype(kind) for r in results)


def _lstm_factors(tape, p, u, keep):
    """For a few steps at once: what d(h) or d(cell) is multiplied by to give, in `p`, the gradients of the cell
    through the output and of o, i, f, g; and in `keep`, of the cell before. The gates' are left to be scaled.
    """
    size = keep.shape[1]
    one, half = np.array(1, p.dtype), np.array(0.5, p.dtype)
    multiply = np.multiply
    np.square(tape[:, : 5 * size], p)
    np.subtract(one, p, p)
    np.add(tape[:, size : 4 * size], one, u)
    p_if = p[:, 2 * size : 4 * size]
    multiply(p_if, tape[:, 4 * size :], p_if)
    for row, factor in ((0, u[:, :size]), (1, tape[:, :size]), (4, u[:, size : 2 * size])):
        part = p[:, row * size : (row + 1) * size]
        multiply(part, factor, part)
    multiply(u[:, 2 * size :], half, keep)


def _lstm_back_steps(tape, dy, gc, back, w_hr, lengths, flat):
    """The loop back through time; fills `flat` (time, batch, gates) with the gates' gradients.

    Returns the gradients of h0 and c0 and, for a projected LSTM, of each output.
    """
    steps, out_size, batch = dy.shape
    size, dtype = tape.shape[1] // 6, tape.dtype
    add, multiply, matmul = np.add, np.multiply, np.matmul
    pieces = small_pieces(out_size, 4 * size, batch)
    back = np.ascontiguousarray(back.T).reshape(pieces, -1, 4 * size)
    dc = np.zeros((size, batch), dtype)
    dh = dy[-1].copy()
    pieced = dh.reshape(pieces, -1, batch)
    ends = None
    if gc is not None and lengths is None:
        dc += gc.T
    elif gc is not None:
        ends = np.zeros((steps, size, batch), dtype)
        inject(ends, gc, lengths)
    outer = None if w_hr is None else np.empty((steps, out_size, batch), dtype)
    spread = None if w_hr is None else np.ascontiguousarray(w_hr.T) * dtype.type(0.5)
    inner = dh if w_hr is None else np.empty((size, batch), dtype)
    chunk = max(1, min(steps, _CHUNK // (4 * size * batch)))
    p = np.empty((chunk, 5 * size, batch), dtype)
    u, keep = np.empty((chunk, 3 * size, batch), dtype), np.empty((chunk, size, batch), dtype)
    by_output, by_cell = (
        p[:, : 2 * size].reshape(chunk, 2, size, batch),
        p[:, 2 * size :].reshape(chunk, 3, size, batch),
    )
    views = list(zip(by_output, by_cell, p[:, :size], p[:, size:], keep, strict=True))
    for stop in range(steps, 0, -chunk):
        start = max(0, stop - chunk)
        n = stop - start
        _lstm_factors(tape[start:stop], p[:n], u[:n], keep[:n])
        for t in range(stop - 1, start - 1, -1):
            p_out, p_cell, through, gates, f = views[t - start]
            if spread is not None:
                outer[t] = dh
                matmul(spread, dh, inner)
            multiply(p_out, inner, p_out)
            add(dc, through, dc)
            if ends is not None:
                add(dc, ends[t], dc)
            multiply(p_cell, dc, p_cell)
            multiply(dc, f, dc)
            matmul(back, gates, pieced)
            if t:
                add(dh, dy[t - 1], dh)
        np.copyto(flat[start:stop], p[:n, size:].transpose(0, 2, 1))
    return dh, dc, outer
