"""Layer norm and RMS norm over contiguous rows, forward and backward, each in one call."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import threads
from .calls import Kernel, address, suits

__all__ = ["norm_rows", "norm_rows_backward"]


@functools.cache
def _forward(centred: bool, weight: bool, bias: bool) -> Kernel:
    def write(k: Any) -> None:
        x, one = k.load("input"), k.number("one over n")
        out = x
        if centred:
            mean = k.sum(x) * one
            k.store_row("mean", mean)
            out = x - mean
        rstd = 1.0 / k.sqrt(k.sum(out * out) * one + k.number("eps"))
        k.store_row("rstd", rstd)
        out = out * rstd
        if weight:
            out = out * k.load("weight")
        if bias:
            out = out + k.load("bias")
        k.store("out", out)

    return Kernel(write, "layer_norm")


def norm_rows(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float, centred: bool
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray] | None:
    """Rows of a matrix over their standard deviation (or root mean square), and the means and reciprocals; None where
    it has to be NumPy's work. `weight` and `bias` have as many elements as a row.
    """
    given = [v for v in (weight, bias) if v is not None]
    if not x.size or not suits(x, *given):
        return None
    rows, n = x.shape
    step = n * x.itemsize
    out, rstd = np.empty(x.shape, x.dtype), np.empty(rows, x.dtype)
    mean = np.empty(rows, x.dtype) if centred else None
    kernel = _forward(centred, weight is not None, bias is not None)
    operands = {"input": (address(x), step, 0), "rstd": (address(rstd), x.itemsize, 0), "out": (address(out), step, 0)}
    if mean is not None:
        operands["mean"] = (address(mean), x.itemsize, 0)
    for name, v in (("weight", weight), ("bias", bias)):
        if v is not None:
            operands[name] = (address(v), 0, 0)
    kernel.named(x.dtype, rows, n, operands, {"one over n": 1 / n, "eps": eps})
    return out, mean, rstd


@functools.cache
def _backward(centred: bool, weight: bool, for_input: bool, for_weight: bool, for_bias: bool) -> Kernel:
    def write(k: Any) -> None:
        g, one, rstd = k.load("grad"), k.number("one over n"), k.load_row("rstd")
        x = k.load("input")
        unit = (x - k.load_row("mean") if centred else x) * rstd
        if for_weight:
            k.store("weight.grad", k.fma(g, unit, k.load("weight.grad")))
        if for_bias:
            k.store("bias.grad", g + k.load("bias.grad"))
        if not for_input:
            return
        gw = g * k.load("weight") if weight else g
        slope = k.sum(gw * unit) * one
        out = gw - unit * slope
        if centred:
            out = out - k.sum(gw) * one
        k.store("out", out * rstd)

    return Kernel(write, "layer_norm_backward")


def norm_rows_backward(
    g: np.ndarray, x: np.ndarray, mean: np.ndarray | None, rstd: np.ndarray, weight: np.ndarray | None,
    needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] | None:  # fmt: skip
    """Gradients of rows, weight and bias (those that are needed); None where it has to be NumPy's work."""
    given = [v for v in (mean, weight) if v is not None]
    if not x.size or not suits(g, x, rstd, *given):
        return None
    (rows, n), size = x.shape, x.itemsize
    for_input, for_weight, for_bias = needs
    # each piece of rows adds to a sum of its own
    pieces = 1 if x.size < 20_000 else min(rows, 2 * threads.count())
    piece = -(-rows // pieces)
    pieces = -(-rows // piece)
    operands = {"grad": (address(g), n * size, 0), "rstd": (address(rstd), size, 0), "input": (address(x), n * size, 0)}
    for name in ("grad", "rstd", "input"):
        place, step, _ = operands[name]
        operands[name] = (place, step, piece * step)
    if mean is not None:
        operands["mean"] = (address(mean), size, piece * size)
    if weight is not None:
        operands["weight"] = (address(weight), 0, 0)
    out = np.empty(x.shape, x.dtype) if for_input else None
    if out is not None:
        operands["out"] = (address(out), n * size, piece * n * size)
    sums = {}
    for name, wanted in (("weight.grad", for_weight), ("bias.grad", for_bias)):
        if wanted:
            sums[name] = total = np.zeros((pieces, n), x.dtype)
            operands[name] = (address(total), 0, n * size)
    kernel = _backward(mean is not None, weight is not None, for_input, for_weight, for_bias)
    kernel.named(x.dtype, rows, n, operands, {"one over n": 1 / n}, piece, piece)
    gw, gb = (
        None if t is None else t[0] if pieces == 1 else np.add.reduce(t, 0)
        for t in (sums.get("weight.grad"), sums.get("bias.grad"))
    )
    return out, gw, gb
