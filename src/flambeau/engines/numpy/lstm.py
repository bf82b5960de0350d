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

from ..native import recurrent as native
from .parallel import blocks_of, scratch
from .pipeline import Ahead, Behind, run_beside
from .recurrent import flat_time, inject, input_products, last_states, small_pieces, widened

__all__ = ["lstm_layer", "lstm_layer_backward"]

_CHUNK = 32768  # elements of gates that backward prepares at a time, to find them in cache
_JOINT = 128  # inputs up to this wide join the recurrent product; wider ones are multiplied for all steps at once
_ROWS = 256  # rows that a product for the weights has at least
_BESIDE = 1 << 18  # elements of tape from which another thread is worth its while


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
    if kind == dtype and w_hr is None and lengths is None and x.size and native.fits(h0, c0, w_hh, bias):
        return native.lstm(x, h0, c0, w_ih, w_hh, bias)
    joint = width <= _JOINT
    # states are kept doubled, which saves halving the output gate: the recurrent weights make up for it
    doubled = w_hr is None
    w = _lstm_weights(w_ih if joint else None, w_hh, bias if joint else None, 0.5 if doubled else 1.0)
    columns = scratch("lstm.columns", (steps + 1, w.shape[1], batch), dtype)
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
    if native.is_tape(tape, x.shape[1], w_hh.shape[1]):
        *gs, gb = native.lstm_backward(gy, gh, gc, x, w_ih, w_hh, tape)
        return *gs, None if b_ih is None else gb, None
    back = _Back(gy, gh, gc, x, h0, w_ih, w_hh, w_hr, y, tape, lengths)
    run_beside(back.loop, back.help, tape.size > _BESIDE)
    size, dtype = back.size, tape.dtype
    grads = back.sums[0]
    for more in back.sums[1:]:
        grads = [a + b for a, b in zip(grads, more, strict=True)]
    ordered = [np.empty_like(grad) for grad in grads]
    for (here, there, _), scale in zip(_gate_order(size), _SCALES, strict=True):
        for grad, to in zip(grads, ordered, strict=True):
            np.multiply(grad[here], scale, out=to[there])
    gw_hr = None
    if w_hr is not None:
        whole = (tape[:-1, size : 2 * size] + dtype.type(1)) * tape[:-1, :size]
        gw_hr = np.matmul(flat_time(back.outer), flat_time(whole).T) * dtype.type(0.5)
    gw_ih, gw_hh, gb = ordered
    gh0 = back.dh.T * dtype.type(1 / back.state_scale)
    results = back.gx, gh0, back.dc.T, gw_ih, gw_hh, None if b_ih is None else gb, gw_hr
    return results if kind == dtype else tuple(None if r is None else r.astype(kind) for r in results)


_SCALES = (0.5, 0.25, 0.5)  # what backward's loop leaves to be applied to the gradients of o, i-f, g


class _Back:
    """Backward through time in three parts: factors of all gates' gradients before the loop, the loop, and behind it
    the products for inputs and weights.
    """

    def __init__(self, gy, gh, gc, x, h0, w_ih, w_hh, w_hr, y, tape, lengths) -> None:
        self.x, self.h0, self.y, self.tape = x, h0, y, tape
        steps, batch, width = x.shape
        self.size, self.dtype = tape.shape[1] // 6, tape.dtype
        size, out_size, dtype = self.size, w_hh.shape[1], tape.dtype
        self.state_scale = 0.5 if w_hr is None else 1.0
        self.w_hr = w_hr
        self.weights = np.empty((4 * size, out_size), dtype)
        self.w_x = np.empty((4 * size, width), dtype)
        for (here, there, _), scale in zip(_gate_order(size), _SCALES, strict=True):
            np.multiply(w_hh[there], self.state_scale * scale, out=self.weights[here])
            np.multiply(w_ih[there], scale, out=self.w_x[here])
        self.dy = scratch("lstm.dy", (steps, out_size, batch), dtype)
        if gy is None:
            self.dy.fill(0)
        else:
            np.multiply(gy.transpose(0, 2, 1), self.state_scale, out=self.dy)
        if gh is not None:
            inject(self.dy, gh * dtype.type(self.state_scale), lengths)
        self.dc = np.zeros((size, batch), dtype)
        self.ends = None
        if gc is not None and lengths is None:
            self.dc += gc.T
        elif gc is not None:
            self.ends = np.zeros((steps, size, batch), dtype)
            inject(self.ends, gc, lengths)
        self.outer: Any = None if w_hr is None else np.empty((steps, out_size, batch), dtype)
        self.p = scratch("lstm.factors", (steps, 5 * size, batch), dtype)
        self.keep = scratch("lstm.keep", (steps, size, batch), dtype)
        self.gx = np.empty(x.shape, dtype)
        self.sums: list[list[np.ndarray]] = []
        chunk = max(1, min(steps, _CHUNK // (4 * size * batch)))
        self.chunks = blocks_of(steps, chunk)[::-1]
        self.ahead = Ahead(self.factors, len(self.chunks))
        self.behind = Behind(self.products)

    def help(self) -> None:
        """What another thread does meanwhile."""
        self.ahead.work(range(1, len(self.chunks)))
        self.behind.work([])

    def factors(self, i: int) -> None:
        """What d(h) or d(cell) is multiplied by to give, in `p`, the gradients of the cell through the output and of
        o, i, f, g; and in `keep`, of the cell before. The gates' are left to be scaled.
        """
        part, size = slice(*self.chunks[i]), self.size
        tape, p, keep = self.tape[part], self.p[part], self.keep[part]
        one, half = np.array(1, self.dtype), np.array(0.5, self.dtype)
        u = scratch("lstm.u", (len(p), 3 * size, p.shape[2]), self.dtype)
        multiply = np.multiply
        np.square(tape[:, : 5 * size], p)
        np.subtract(one, p, p)
        np.add(tape[:, size : 4 * size], one, u)
        p_if = p[:, 2 * size : 4 * size]
        multiply(p_if, tape[:, 4 * size :], p_if)
        for row, factor in ((0, u[:, :size]), (1, tape[:, :size]), (4, u[:, size : 2 * size])):
            some = p[:, row * size : (row + 1) * size]
            multiply(some, factor, some)
        multiply(u[:, 2 * size :], half, keep)

    def loop(self) -> None:
        """The loop back through time; turns the factors in `p` into gradients of the gates."""
        self.pieces = small_pieces(self.weights.shape[1], self.weights.shape[0], self.p.shape[2])
        self.back = np.ascontiguousarray(self.weights.T).reshape(self.pieces, -1, self.weights.shape[0])
        self.dh = self.dy[-1].copy()
        try:
            last = 0  # of the chunks that wait to be handed on together
            for i, (start, _) in enumerate(self.chunks):
                self.ahead.need(i)
                self.steps(*self.chunks[i])
                first, stop = start, self.chunks[last][1]
                if (stop - first) * self.p.shape[2] >= _ROWS or i == len(self.chunks) - 1:
                    self.behind.put((first, stop))
                    last = i + 1
        finally:
            self.behind.close()
        self.behind.work([])

    def steps(self, start: int, stop: int) -> None:
        """The steps of one chunk, last first."""
        size, batch, dh, dc, dy = self.size, self.p.shape[2], self.dh, self.dc, self.dy
        add, multiply, matmul, back = np.add, np.multiply, np.matmul, self.back
        pieced = dh.reshape(self.pieces, -1, batch)
        spread = None if self.w_hr is None else np.ascontiguousarray(self.w_hr.T) * self.dtype.type(0.5)
        inner = dh if spread is None else np.empty((size, batch), self.dtype)
        p = self.p[start:stop]
        by_output, by_cell = p[:, : 2 * size].reshape(-1, 2, size, batch), p[:, 2 * size :].reshape(-1, 3, size, batch)
        views = list(zip(by_output, by_cell, p[:, :size], p[:, size:], self.keep[start:stop], strict=True))
        for t in range(stop - 1, start - 1, -1):
            p_out, p_cell, through, gates, f = views[t - start]
            if spread is not None:
                self.outer[t] = dh
                matmul(spread, dh, inner)
            multiply(p_out, inner, p_out)
            add(dc, through, dc)
            if self.ends is not None:
                add(dc, self.ends[t], dc)
            multiply(p_cell, dc, p_cell)
            multiply(dc, f, dc)
            matmul(back, gates, pieced)
            if t:
                add(dh, dy[t - 1], dh)

    def products(self, part: tuple[int, int], sums: list[np.ndarray]) -> None:
        """Gradients of the inputs of some steps, and what these steps add to those of the weights."""
        start, stop = part
        size, batch = self.size, self.p.shape[2]
        d = scratch("lstm.gates", (stop - start, batch, 4 * size), self.dtype)
        np.copyto(d, self.p[start:stop, size:].transpose(0, 2, 1))
        d = d.reshape(-1, 4 * size)
        rows = len(d)
        np.matmul(d, self.w_x, out=self.gx[start:stop].reshape(rows, -1))
        before = scratch("lstm.before", (stop - start, batch, self.y.shape[2]), self.dtype)
        if start:
            before[...] = self.y[start - 1 : stop - 1]
        else:
            before[0], before[1:] = self.h0, self.y[: stop - 1]
        new = [
            np.matmul(d.T, self.x[start:stop].reshape(rows, -1)),
            np.matmul(d.T, before.reshape(rows, -1)),
            np.matmul(np.ones(rows, self.dtype), d),
        ]
        if sums:
            for total, more in zip(sums, new, strict=True):
                np.add(total, more, total)
        else:
            sums.extend(new)
            self.sums.append(sums)
