"""GRU and plain recurrence over a whole sequence, as `recurrent.py` does LSTM: one call forward, one back through time.

A GRU's tape is (steps + 1, batch, 5 * hidden). Step t's row holds its gates r, z, n after their activations, `u`, the
state's part of n before it is gated, and the state it started from. A plain layer needs none: its output is enough.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .calls import Kernel, address
from .products import packed
from .records import run_loops
from .recurrent import any_product, from_the_end, output, pass_over, rows_contiguous, slices, times

__all__ = ["gru", "gru_backward", "is_tape", "rnn", "rnn_backward"]

_PARTS = 5
_NAMES = ("r", "z", "n", "u", "state")


def is_tape(tape: np.ndarray, steps: int, batch: int, size: int) -> bool:
    """Whether a tape is one of `gru`'s."""
    return tape.shape == (steps + 1, batch, _PARTS * size)


# --- GRU --------------------------------------------------------------------------------------------------------------


def _gates(k: Any, biased: bool) -> None:
    r, z = (k.sigmoid(k.load(name)) for name in "rz")
    u = k.load("u")
    if biased:
        u = u + k.load("own bias")
    n = k.tanh(k.load("n") + r * u)
    for name, value in zip("rzun", (r, z, u, n), strict=True):
        k.store(name, value)
    h = n + z * (k.load("state") - n)
    k.store("new state", h)
    k.store("out", h)


def _gates_backward(k: Any, given: bool) -> None:
    r, z, n, u = (k.load(name) for name in "rznu")
    dh = k.load("state.grad")
    if given:
        dh = dh + k.load("out.grad")
    dn = dh * (1.0 - z) * (1.0 - n * n)
    k.store("n.grad", dn)
    k.store("u.grad", dn * r)
    k.store("r.grad", dn * u * r * (1.0 - r))
    k.store("z.grad", dh * (k.load("state") - n) * z * (1.0 - z))
    k.store("state.grad", dh * z)


_FORWARD = {biased: Kernel(functools.partial(_gates, biased=biased), "gru_gates") for biased in (False, True)}
_BACKWARD = {
    given: Kernel(functools.partial(_gates_backward, given=given), "gru_gates_backward") for given in (False, True)
}


def gru(
    x: np.ndarray, h0: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray, b_ih: np.ndarray | None, b_hh: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output (steps, batch, hidden), in memory as the input lies, final state and tape."""
    steps, batch, width = x.shape
    size, dtype, item = w_hh.shape[1], x.dtype, x.itemsize
    tape, y = np.empty((steps + 1, batch, _PARTS * size), dtype), output(x, size)
    tape[0, :, 4 * size :] = h0
    bias = own_bias = None
    if b_ih is not None and b_hh is not None:
        bias = b_ih.copy()
        bias[: 2 * size] += b_hh[: 2 * size]
        own_bias = np.ascontiguousarray(b_hh[2 * size :])
    products = tape[:-1].reshape(steps * batch, -1)[:, : 3 * size]
    any_product(np.ascontiguousarray(x).reshape(-1, width), w_ih.T, products, bias)
    gates, own = packed(w_hh[: 2 * size].T), packed(w_hh[2 * size :].T)
    row, turn = _PARTS * size * item, batch * _PARTS * size * item
    loops = []
    for start, stop in slices(batch, steps * batch * w_hh.size):
        rows, first = stop - start, address(tape) + start * row
        part = {name: (first + at * size * item, row, turn) for at, name in enumerate(_NAMES)}
        part["new state"] = (part["state"][0] + turn, row, turn)
        part["out"] = (address(y) + start * y.strides[1], y.strides[1], y.strides[0])
        if own_bias is not None:
            part["own bias"] = (address(own_bias), 0, 0)
        loops.append([
            times(rows, 2 * size, part["state"], gates, part["r"], True),
            times(rows, size, part["state"], own, part["u"], False),
            pass_over(_FORWARD[own_bias is not None], dtype, rows, size, part),
        ])  # fmt: skip
    run_loops(steps, loops, len(loops) > 1)
    return y, tape[-1, :, 4 * size :].copy(), tape


def gru_backward(
    gy: np.ndarray | None, gh: np.ndarray | None, x: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray, tape: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Gradients of x, h0, w_ih, w_hh, b_ih and b_hh; those of output and final state may be None."""
    steps, batch, width = x.shape
    size, dtype, item = w_hh.shape[1], x.dtype, x.itemsize
    dh = np.zeros((batch, size), dtype) if gh is None else np.array(gh)
    grads = np.empty((steps, batch, 4 * size), dtype)  # of r, z, n and u
    gy = rows_contiguous(gy)
    gates, own = packed(w_hh[: 2 * size]), packed(w_hh[2 * size :])
    row, turn, one = _PARTS * size * item, batch * _PARTS * size * item, size * item
    loops = []
    for start, stop in slices(batch, steps * batch * w_hh.size):
        rows, first = stop - start, address(tape) + (steps - 1) * turn + start * row
        part = {name: (first + at * one, row, -turn) for at, name in enumerate(_NAMES)}
        last = address(grads) + (steps - 1) * batch * 4 * one + start * 4 * one
        for at, name in enumerate("rznu"):
            part[name + ".grad"] = (last + at * one, 4 * one, -batch * 4 * one)
        part["state.grad"] = (address(dh) + start * one, one, 0)
        if gy is not None:
            part["out.grad"] = from_the_end(gy, start)
        loops.append([
            pass_over(_BACKWARD[gy is not None], dtype, rows, size, part),
            times(rows, size, part["r.grad"], gates, part["state.grad"], True),
            times(rows, size, part["u.grad"], own, part["state.grad"], True),
        ])  # fmt: skip
    run_loops(steps, loops, len(loops) > 1)
    flat = grads.reshape(-1, 4 * size)
    before = tape[:-1].reshape(steps * batch, -1)[:, 4 * size :]
    of_input = flat[:, : 3 * size]
    gx = any_product(of_input, w_ih).reshape(x.shape)
    g_ih = any_product(of_input.T, np.ascontiguousarray(x).reshape(-1, width))
    g_hh = np.empty(w_hh.shape, dtype)
    any_product(flat[:, : 2 * size].T, before, g_hh[: 2 * size])
    any_product(flat[:, 3 * size :].T, before, g_hh[2 * size :])
    sums = np.ones(len(flat), dtype).dot(flat)
    return gx, dh, g_ih, g_hh, sums[: 3 * size].copy(), np.concatenate((sums[: 2 * size], sums[3 * size :]))


# --- plain recurrence -------------------------------------------------------------------------------------------------


def _activation(k: Any, relu: bool) -> None:
    x = k.load("new state")
    h = k.maximum(0.0, x) if relu else k.tanh(x)
    k.store("new state", h)


def _activation_backward(k: Any, relu: bool, given: bool) -> None:
    y, dh = k.load("state"), k.load("state.grad")
    if given:
        dh = dh + k.load("out.grad")
    k.store("grad", k.select(k.compare("gt", y, 0.0), dh, 0.0) if relu else dh * (1.0 - y * y))


_PLAIN = {relu: Kernel(functools.partial(_activation, relu=relu), "rnn_step") for relu in (False, True)}
_PLAIN_BACKWARD = {
    (relu, given): Kernel(functools.partial(_activation_backward, relu=relu, given=given), "rnn_step_backward")
    for relu in (False, True)
    for given in (False, True)
}


def rnn(
    x: np.ndarray, h0: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray, bias: np.ndarray | None, relu: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Output (steps, batch, hidden) and final state."""
    steps, batch, width = x.shape
    size, dtype = w_hh.shape[1], x.dtype
    states = np.empty((steps + 1, batch, size), dtype)
    states[0] = h0
    any_product(np.ascontiguousarray(x).reshape(-1, width), w_ih.T, states[1:].reshape(steps * batch, size), bias)
    weights = packed(w_hh.T)
    row, turn = states.strides[1], states.strides[0]
    loops = []
    for start, stop in slices(batch, steps * batch * w_hh.size):
        state = address(states) + start * row, row, turn
        new = state[0] + turn, row, turn
        loops.append([
            times(stop - start, size, state, weights, new, True),
            pass_over(_PLAIN[relu], dtype, stop - start, size, {"new state": new}),
        ])  # fmt: skip
    run_loops(steps, loops, len(loops) > 1)
    return states[1:], states[-1].copy()


def rnn_backward(
    gy: np.ndarray | None, gh: np.ndarray | None, x: np.ndarray, h0: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray,
    y: np.ndarray, relu: bool,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Gradients of x, h0, w_ih, w_hh and bias; those of output and final state may be None."""
    steps, batch, width = x.shape
    size, dtype, item = w_hh.shape[1], x.dtype, x.itemsize
    dh = np.zeros((batch, size), dtype) if gh is None else np.array(gh)
    grads = np.empty((steps, batch, size), dtype)
    gy, y = rows_contiguous(gy), rows_contiguous(y)
    weights, one = packed(w_hh), size * item
    kernel = _PLAIN_BACKWARD[relu, gy is not None]
    loops = []
    for start, stop in slices(batch, steps * batch * w_hh.size):
        part = {"state": from_the_end(y, start), "grad": from_the_end(grads, start)}
        part["state.grad"] = (address(dh) + start * one, one, 0)
        if gy is not None:
            part["out.grad"] = from_the_end(gy, start)
        loops.append([
            pass_over(kernel, dtype, stop - start, size, part),
            times(stop - start, size, part["grad"], weights, part["state.grad"], False),
        ])  # fmt: skip
    run_loops(steps, loops, len(loops) > 1)
    flat = grads.reshape(-1, size)
    before = np.empty((steps, batch, size), dtype)
    before[0], before[1:] = h0, y[:-1]
    gx = any_product(flat, w_ih).reshape(x.shape)
    g_ih = any_product(flat.T, np.ascontiguousarray(x).reshape(-1, width))
    return gx, dh, g_ih, any_product(flat.T, before.reshape(-1, size)), np.ones(len(flat), dtype).dot(flat)
