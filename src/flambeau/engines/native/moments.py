"""What normalisation by channels or groups needs of rows: moments, sums of products, linear maps with factors per row.

Each function returns None, and does nothing, where it has to be NumPy's work. A factor's array may have fewer elements
than there are rows: it starts again when it is used up, as channels do from sample to sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import Kernel, address, kernel, suits

__all__ = ["centred_rows", "linear_rows", "map_rows", "row_moments", "row_products"]

_SHORT = 8  # elements of a row below which a row's own cost outweighs its work


@kernel
def _moments(k: Any) -> None:
    x = k.load("input")
    mean = k.sum(x) * k.number("one over n")
    k.store_row("mean", mean)
    centred = x - mean
    k.store_row("squares", k.sum(centred * centred))


@kernel
def _products(k: Any) -> None:
    g = k.load("grad")
    k.store_row("plain", k.sum(g))
    k.store_row("weighted", k.sum(g * (k.load("input") - k.load_row("centre"))))


@kernel
def _map(k: Any) -> None:
    k.store("out", k.fma(k.load("input"), k.load_row("scale"), k.load_row("shift")))


@kernel
def _linear(k: Any) -> None:
    x = k.load("input") - k.load_row("centre")
    rest = k.fma(x, k.load_row("slope"), k.load_row("rest"))
    k.store("out", k.fma(k.load("grad"), k.load_row("scale"), rest))


@kernel
def _centred(k: Any) -> None:
    x = k.load("input") - k.load_row("centre")
    rest = k.load("grad") + k.load_row("rest")
    k.store("out", k.fma(x, k.load_row("slope"), rest) * k.load_row("scale"))


def _run(made: Kernel, matrices: dict[str, np.ndarray], rows: dict[str, np.ndarray], numbers: Any = {}) -> bool:  # noqa: B006
    """Runs a kernel over the rows of matrices, with one number per row for each of the others."""
    first = next(iter(matrices.values()))
    count, n = first.shape
    if n < _SHORT or not first.size or not suits(*matrices.values(), *rows.values()):
        return False
    inner = min(v.size for v in rows.values())
    size = first.itemsize
    operands = {name: (address(a), n * size, inner * n * size) for name, a in matrices.items()}
    for name, v in rows.items():
        operands[name] = (address(v), size, 0 if v.size == inner else inner * size)
    made.named(first.dtype, count, n, operands, numbers, inner)
    return True


def row_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The mean of each row of a matrix, and the sum of squared distances from it."""
    mean, squares = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    done = _run(_moments, {"input": x}, {"mean": mean, "squares": squares}, {"one over n": 1 / max(1, x.shape[1])})
    return (mean, squares) if done else None


def row_products(g: np.ndarray, x: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """For each row the sums of `g` and of `g * (x - centre)`."""
    plain, weighted = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    rows = {"plain": plain, "weighted": weighted, "centre": centre}
    return (plain, weighted) if _run(_products, {"grad": g, "input": x}, rows) else None


def map_rows(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray | None:
    """`x * scale + shift`, row by row."""
    out = np.empty(x.shape, x.dtype)
    return out if _run(_map, {"input": x, "out": out}, {"scale": scale, "shift": shift}) else None


def linear_rows(
    g: np.ndarray, x: np.ndarray, centre: np.ndarray, scale: np.ndarray, slope: np.ndarray, rest: np.ndarray
) -> np.ndarray | None:
    """`g * scale + (x - centre) * slope + rest`, row by row."""
    out = np.empty(x.shape, x.dtype)
    rows = {"centre": centre, "scale": scale, "slope": slope, "rest": rest}
    return out if _run(_linear, {"grad": g, "input": x, "out": out}, rows) else None


def centred_rows(
    g: np.ndarray, x: np.ndarray, centre: np.ndarray, slope: np.ndarray, rest: np.ndarray, scale: np.ndarray
) -> np.ndarray | None:
    """`(g + (x - centre) * slope + rest) * scale`, row by row."""
    out = np.empty(x.shape, x.dtype)
    rows = {"centre": centre, "slope": slope, "rest": rest, "scale": scale}
    return out if _run(_centred, {"grad": g, "input": x, "out": out}, rows) else None
