"""Softmax and log-softmax over contiguous rows, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import Kernel, address, kernel, suits

__all__ = ["log_softmax_rows", "log_softmax_rows_backward", "softmax_rows", "softmax_rows_backward"]


@kernel
def _softmax(k: Any) -> None:
    x = k.load("input")
    e = k.keep("out", k.exp(x - k.max(x)))
    k.store("out", e * (1.0 / k.sum(e)))


@kernel
def _softmax_backward(k: Any) -> None:
    g, out = k.load("grad"), k.load("input")
    k.store("out", (g - k.sum(g * out)) * out)


@kernel
def _log_softmax(k: Any) -> None:
    x = k.load("input")
    top = k.max(x)
    k.store("out", x - (top + k.log(k.sum(k.exp(x - top)))))


@kernel
def _log_softmax_backward(k: Any) -> None:
    g, out = k.load("grad"), k.load("input")
    k.store("out", g - k.exp(out) * k.sum(g))


def _rows(kernel: Kernel, *arrays: np.ndarray) -> np.ndarray | None:
    """The kernel over the rows of matrices of one shape, into a new one; None where it has to be NumPy's work."""
    if not suits(*arrays):
        return None
    first = arrays[0]
    rows, n = first.shape
    out = np.empty(first.shape, first.dtype)
    operands: list[int] = []
    for a in (*arrays, out):
        operands += (address(a), n * first.itemsize, 0)
    kernel.rows(first.dtype, rows, n, operands)
    return out


def softmax_rows(a: np.ndarray) -> np.ndarray | None:
    """`exp(a)` over its row's sum."""
    return _rows(_softmax, a)


def softmax_rows_backward(g: np.ndarray, out: np.ndarray) -> np.ndarray | None:
    """`out * (g - sum(g * out))`."""
    return _rows(_softmax_backward, g, out)


def log_softmax_rows(a: np.ndarray) -> np.ndarray | None:
    """`a` minus the logarithm of its row's sum of exponentials."""
    return _rows(_log_softmax, a)


def log_softmax_rows_backward(g: np.ndarray, out: np.ndarray) -> np.ndarray | None:
    """`g - exp(out) * sum(g)`."""
    return _rows(_log_softmax_backward, g, out)
