"""Winograd's minimal filtering for 3x3 kernels: its matrices, and code that applies them to vectors.

A tile of m x m results needs (m + 2)^2 multiplications per channel instead of 9 m^2: transform the (m + 2)^2 inputs by
B, the kernel by G, multiply element by element, and transform back by A (Lavin and Gray, "Fast algorithms for
convolutional neural networks", 2015). Summed over channels, the multiplications are one matrix product per element.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction

from .assembler import Assembler, Operand, Pool
from .emission import combine

__all__ = ["A", "B", "G", "apply", "interleave", "transposed"]

Matrix = tuple[tuple[Fraction, ...], ...]


def _matrix(text: str) -> Matrix:
    return tuple(tuple(Fraction(x) for x in row.split()) for row in text.split(","))


#: By the size m of a tile of results: y = A ((G g) * (B d)), in one dimension.
B = {
    2: _matrix("1 0 -1 0, 0 1 1 0, 0 -1 1 0, 0 1 0 -1"),
    4: _matrix("4 0 -5 0 1 0, 0 -4 -4 1 1 0, 0 4 -4 -1 1 0, 0 -2 -1 2 1 0, 0 2 -1 -2 1 0, 0 4 0 -5 0 1"),
}
G = {
    2: _matrix("1 0 0, 1/2 1/2 1/2, 1/2 -1/2 1/2, 0 0 1"),
    4: _matrix("1/4 0 0, -1/6 -1/6 -1/6, -1/6 1/6 -1/6, 1/24 1/12 1/6, 1/24 -1/12 1/6, 0 0 1"),
}
A = {
    2: _matrix("1 1 1 0, 0 1 -1 -1"),
    4: _matrix("1 1 1 1 1 0, 0 1 -1 2 -2 0, 0 1 1 4 4 0, 0 1 -1 8 -8 1"),
}


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _constant(asm: Assembler, number: Fraction) -> Pool:
    return Pool(struct.pack("<d" if asm.double else "<f", float(number)) * (asm.vector_bytes // asm.lane_bytes))


def apply(
    asm: Assembler, matrix: Matrix, load: Callable[[int], Operand], store: Callable[[int, int], None]
) -> None:  # fmt: skip
    """Vectors `load(j)` times a matrix: `store(i, register)` is asked to write each result. Takes the low registers."""
    inputs = len(matrix[0])
    for j in range(inputs):
        asm.load(j, load(j))
    for i, row in enumerate(matrix):
        terms = sorted(((c, j) for j, c in enumerate(row) if c), key=lambda term: (abs(term[0]) != 1, term[0] < 0))
        if len(terms) == 1 and terms[0][0] == 1:
            store(i, terms[0][1])
            continue
        _sum(asm, inputs, terms)
        store(i, inputs)


def _sum(asm: Assembler, to: int, terms: list[tuple[Fraction, int]]) -> None:
    """`to` = the sum of registers times numbers; plain ones first, positive before negative."""
    (first, reg), rest = terms[0], terms[1:]
    if first == 1 and rest and abs(rest[0][0]) == 1:
        combine(asm, "add" if rest[0][0] == 1 else "sub", to, reg, rest[0][1])
        rest = rest[1:]
    elif first == 1:
        asm.copy(to, reg)
    else:
        combine(asm, "mul", to, reg, _constant(asm, first))
    for number, other in rest:
        if abs(number) == 1:
            combine(asm, "add" if number == 1 else "sub", to, to, other)
        else:
            asm.fused(0xB8, to, other, _constant(asm, number))


def interleave(asm: Assembler, count: int, first: int) -> None:
    """The vectors in registers `first` to `first + count`, of 2 or 4, become as many whose elements alternate.

    Takes twice as many registers from `first` on.
    """
    if count == 2:
        _pair(asm, first, first + 1, first + 2, first + 3)
        asm.copy(first, first + 2)
        asm.copy(first + 1, first + 3)
        return
    a, b, c, d = range(first, first + 4)
    even, odd = (first + 4, first + 5), (first + 6, first + 7)
    _pair(asm, a, c, *even)
    _pair(asm, b, d, *odd)
    _pair(asm, even[0], odd[0], a, b)
    _pair(asm, even[1], odd[1], c, d)


def _pair(asm: Assembler, a: int, b: int, low: int, high: int) -> None:
    """`low` and `high`: elements of a and b in turn. They are other registers than a and b."""
    if asm.wide:
        lanes, letter = asm.vector_bytes // asm.lane_bytes, "q" if asm.double else "i"
        for to, start in ((low, 0), (high, lanes // 2)):
            order = [start + i // 2 + (lanes if i % 2 else 0) for i in range(lanes)]
            asm.load(to, Pool(struct.pack(f"<{lanes}{letter}", *order)))
            asm.vector("66", "38", 0x77, to, a, b, w=int(asm.double))  # vpermi2
        return
    asm.real(0x14, low, a, b)  # vunpckl, vunpckh: within halves
    asm.real(0x15, high, a, b)
    asm.vex("66", "3a", 0x06, a, low, high, b"\x31")  # vperm2f128
    asm.vex("66", "3a", 0x06, low, low, high, b"\x20")
    asm.copy(high, a)
