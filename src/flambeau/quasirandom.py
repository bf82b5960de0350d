"""Sobol sequences: points that fill a cube more evenly than random ones.

Direction numbers after Joe and Kuo 2008 (doi:10.1137/070709359), in `quasirandom.npz`: primitive polynomials over two
elements, as the bits of numbers, and the first numbers of their recurrences. Scrambling after Matousek 1998 by random
lower triangular matrices over two elements and a random shift.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.dtypes import get_default_dtype
from flambeau.ops.dispatch import deliver
from flambeau.ops.placing import bare
from flambeau.ops.random_ops import randint
from flambeau.random import Generator

__all__ = ["SobolEngine"]


@functools.cache
def _direction_numbers() -> tuple[np.ndarray, np.ndarray]:
    with np.load(Path(__file__).with_name("quasirandom.npz")) as tables:
        return tables["polynomials"].astype(np.int64), tables["first"].astype(np.int64)


def _directions(dimension: int, bits: int) -> np.ndarray:
    """The direction numbers of each dimension, by recurrences over primitive polynomials."""
    polynomials, first = _direction_numbers()
    v = np.ones((dimension, bits), np.int64)
    for d in range(1, dimension):
        polynomial = int(polynomials[d])
        degree = polynomial.bit_length() - 1
        v[d, :degree] = first[d, :degree]
        taps = [k for k in range(1, degree + 1) if polynomial >> (degree - k) & 1]
        for j in range(degree, bits):
            value = int(v[d, j - degree])
            for k in taps:
                value ^= int(v[d, j - k]) << k
            v[d, j] = value
    return v << np.arange(bits - 1, -1, -1)


class SobolEngine:
    """Draws points of a Sobol sequence in `dimension` dimensions (at most 21201), each coordinate in [0, 1).

    `scramble` randomizes the sequence, by `seed` if given, and keeps its evenness. ValueError for other dimensions.

    >>> import flambeau as torch
    >>> torch.quasirandom.SobolEngine(2).draw(3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [0.7500, 0.2500]])
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(f"SobolEngine: dimension must be from 1 to {self.MAXDIM}, got {dimension}")
        self.dimension = dimension
        self.scramble = scramble
        self.seed = seed
        state = _directions(dimension, self.MAXBIT)
        shift = np.zeros(dimension, np.int64)
        if scramble:
            state, shift = self._scrambled(state)
        self.sobolstate = bare(state)
        self.shift = bare(shift)
        self.quasi = bare(shift.copy())
        self.num_generated = 0

    def _scrambled(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        source = None if self.seed is None else Generator().manual_seed(self.seed)
        bits = self.MAXBIT
        powers = np.int64(1) << np.arange(bits)
        shift = randint(2, (self.dimension, bits), generator=source)._a @ powers
        matrices = np.tril(randint(2, (self.dimension, bits, bits), generator=source)._a)
        matrices[:, range(bits), range(bits)] = 1
        rows = matrices @ powers[::-1]  # each row as a number whose highest bit is its first column
        common = rows[:, :, None] & state[:, None, :]
        parity = np.zeros_like(common)
        for k in range(bits):
            parity ^= common >> k & 1
        return (parity * powers[::-1, None]).sum(1), shift

    def _advance(self, n: int) -> np.ndarray:
        """The next `n` points as integers; of the first, which is the shift itself, only the place is left behind."""
        start = self.num_generated
        self.num_generated += n
        points = [self.quasi._a[None].copy()] if start == 0 and n else []
        steps = np.arange(max(start - 1, 0), max(start + n - 1, 0))
        if len(steps):
            lowest_zero = np.log2(~steps & (steps + 1)).astype(np.int64)
            changes = self.sobolstate._a[:, lowest_zero].T
            later = np.bitwise_xor.accumulate(np.concatenate([self.quasi._a[None], changes]), 0)[1:]
            self.quasi._a[...] = later[-1]
            points.append(later)
        return np.concatenate(points) if points else np.zeros((0, self.dimension), np.int64)

    def draw(self, n: int = 1, out: Any = None, dtype: Any = None) -> Any:
        """The next `n` points: (n, dimension)."""
        kind = (dtype or get_default_dtype()).numpy
        points = bare(self._advance(n).astype(kind) * kind.type(2.0**-self.MAXBIT))
        if out is not None:
            out.resize_(points.shape)
        return deliver("draw", out, points)

    def draw_base2(self, m: int, out: Any = None, dtype: Any = None) -> Any:
        """The next `2**m` points. ValueError where the number of points that were drawn would be no power of 2."""
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                f"draw_base2: the points of a Sobol sequence are balanced if their number is a power of 2, but "
                f"{self.num_generated} were drawn before and n=2**{m} more come to {total}; use draw() to have them"
            )
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Back to the first point."""
        self.quasi._a[...] = self.shift._a
        self.num_generated = 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Leaves out the next `n` points."""
        self._advance(n)
        return self

    def __repr__(self) -> str:
        parts = [f"dimension={self.dimension}"]
        parts += ["scramble=True"] if self.scramble else []
        parts += [f"seed={self.seed}"] if self.seed is not None else []
        return f"SobolEngine({', '.join(parts)})"
