"""ONNX nodes for recurrent layers: one direction of one layer at a time, as the operations are.

ONNX has the gates in another order (LSTM: input, output, forget, cell; GRU: update, reset, new), so rows of weights are
picked in that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.onnx.graph import Graph, Operand, emits, is_fixed


def _reordered(g: Graph, weight: Operand, blocks: list[int]) -> Any:
    """Blocks of rows in another order."""
    size = weight.shape[0] // len(blocks)
    if blocks == sorted(blocks):
        return weight
    return g.node("Gather", weight, g.ints([b * size + i for b in blocks for i in range(size)]), axis=0)


def _layer(
    g: Graph, kind: str, blocks: list[int], x: Operand, states: list[Operand], w_ih: Operand, w_hh: Operand,
    b_ih: Any, b_hh: Any, lengths: Any, **attributes: Any,
) -> tuple[str, ...]:  # fmt: skip
    if lengths is not None:
        raise g.unsupported("a packed sequence")
    hidden = w_hh.shape[1]
    bias = None
    if b_ih is not None:
        bias = g.unsqueeze(g.node("Concat", _reordered(g, b_ih, blocks), _reordered(g, b_hh, blocks), axis=0), 0)
    operands = [
        x, g.unsqueeze(_reordered(g, w_ih, blocks), 0), g.unsqueeze(_reordered(g, w_hh, blocks), 0), bias, None,
        *(g.unsqueeze(s, 0) for s in states),
    ]  # fmt: skip
    made = g.node(kind, *operands, hidden_size=hidden, outputs=1 + len(states), **attributes)
    return g.squeeze(made[0], 1), *(g.squeeze(s, 0) for s in made[1:])


@emits("lstm_layer")
def _lstm(
    g: Graph, x: Operand, h0: Operand, c0: Operand, w_ih: Operand, w_hh: Operand, b_ih: Any = None, b_hh: Any = None,
    w_hr: Any = None, lengths: Any = None,
) -> tuple[str, ...]:  # fmt: skip
    if w_hr is not None:
        return _projected(g, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, lengths)
    return _layer(g, "LSTM", [0, 3, 1, 2], x, [h0, c0], w_ih, w_hh, b_ih, b_hh, lengths)


@emits("gru_layer")
def _gru(
    g: Graph, x: Operand, h0: Operand, w_ih: Operand, w_hh: Operand, b_ih: Any = None, b_hh: Any = None,
    lengths: Any = None,
) -> tuple[str, ...]:  # fmt: skip
    return _layer(g, "GRU", [1, 0, 2], x, [h0], w_ih, w_hh, b_ih, b_hh, lengths, linear_before_reset=1)


@emits("rnn_layer")
def _rnn(
    g: Graph, x: Operand, h0: Operand, w_ih: Operand, w_hh: Operand, b_ih: Any = None, b_hh: Any = None,
    relu: bool = False, lengths: Any = None,
) -> tuple[str, ...]:  # fmt: skip
    return _layer(g, "RNN", [0], x, [h0], w_ih, w_hh, b_ih, b_hh, lengths, activations=["Relu" if relu else "Tanh"])


def _projected(
    g: Graph, x: Operand, h0: Operand, c0: Operand, w_ih: Operand, w_hh: Operand, b_ih: Any, b_hh: Any, w_hr: Operand,
    lengths: Any,
) -> tuple[str, ...]:  # fmt: skip
    """An LSTM whose hidden state is projected, which ONNX does not have: step by step."""
    if lengths is not None or not is_fixed(x.shape[0]):
        raise g.unsupported("an LSTM with a projection over a sequence whose length may vary")
    h: Any = h0
    c: Any = c0
    into, back, out = (g.transpose(w, [1, 0]) for w in (w_ih, w_hh, w_hr))
    size = w_ih.shape[0] // 4
    outputs = []
    for t in range(x.shape[0]):
        step = g.node("Gather", x, g.number(t, np.int64), axis=0)
        gates = g.node("Add", g.node("MatMul", step, into), g.node("MatMul", h, back))
        for b in (b_ih, b_hh):
            gates = gates if b is None else g.node("Add", gates, b)
        i, f, n, o = (g.slice(gates, 1, k * size, (k + 1) * size) for k in range(4))
        kept = g.node("Mul", g.node("Sigmoid", f), c)
        c = g.node("Add", kept, g.node("Mul", g.node("Sigmoid", i), g.node("Tanh", n)))
        h = g.node("MatMul", g.node("Mul", g.node("Sigmoid", o), g.node("Tanh", c)), out)
        outputs.append(g.unsqueeze(h, 0))
    return g.node("Concat", *outputs, axis=0), h, c
