"""Sizes that follow from the sizes of the inputs, and how they are found: from what several runs had in their place.

A function is recorded at several sizes. A number that differs from run to run must be a polynomial of the sizes: its
coefficients come from as many runs as it has, the other runs confirm it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

Monomial = tuple[str, ...]


class Extent:
    """A polynomial of named sizes: `terms` has the coefficient of each product of names, () for the constant."""

    __slots__ = ("terms",)

    def __init__(self, terms: dict[Monomial, Fraction]) -> None:
        self.terms = {m: Fraction(c) for m, c in sorted(terms.items()) if c}

    def at(self, sizes: dict[str, int]) -> int:
        """Its value; a RuntimeError if that is no whole number."""
        total = Fraction(0)
        for monomial, coefficient in self.terms.items():
            for name in monomial:
                coefficient *= sizes[name]
            total += coefficient
        if total.denominator != 1:
            raise RuntimeError(f"a size of {self} is needed, which is no whole number for {sizes}")
        return int(total)

    def real(self, sizes: dict[str, int]) -> float:
        """Its value, which need be no whole number."""
        total = 0.0
        for monomial, coefficient in self.terms.items():
            value = float(coefficient)
            for name in monomial:
                value *= sizes[name]
            total += value
        return total

    @property
    def name(self) -> str | None:
        """The name, where the extent is simply one of the sizes."""
        if len(self.terms) == 1:
            ((monomial, coefficient),) = self.terms.items()
            return monomial[0] if len(monomial) == 1 and coefficient == 1 else None
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extent) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(tuple(self.terms.items()))

    def __repr__(self) -> str:
        parts = ["*".join((*([str(c)] if c != 1 or not m else []), *m)) for m, c in self.terms.items()]
        return " + ".join(reversed(parts)) or "0"


#: What a number can be of an extent: how it is made, and how the extent is found from it.
FORMS: dict[str, tuple[Any, Any]] = {
    "{}": (lambda n: n, lambda v: v),
    "1 / {}": (lambda n: 1 / n, lambda v: 1 / v),
    "1 + 1 / {}": (lambda n: 1 + 1 / n, lambda v: 1 / (v - 1)),
    "sqrt({})": (lambda n: n**0.5, lambda v: v * v),
    "1 / sqrt({})": (lambda n: 1 / n**0.5, lambda v: 1 / (v * v)),
}


class Real:
    """A number that follows the sizes: a polynomial of them, or its reciprocal or root; see `FORMS`."""

    __slots__ = ("extent", "form")

    def __init__(self, extent: Extent, form: str) -> None:
        self.extent = extent
        self.form = form

    def at(self, sizes: dict[str, int]) -> float:
        """Its value."""
        return float(FORMS[self.form][0](self.extent.real(sizes)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Real) and (self.extent, self.form) == (other.extent, other.form)

    def __hash__(self) -> int:
        return hash((self.extent, self.form))

    def __repr__(self) -> str:
        return self.form.format(f"({self.extent})")


def fitted_real(numbers: Sequence[float], points: Sequence[dict[str, int]], tolerance: float = 1e-12) -> Real | None:
    """The number as one of the forms of an extent, to within rounding; None if it is none."""
    for form, (make, find) in FORMS.items():
        try:
            values = [Fraction(find(v)).limit_denominator(1 << (20 if tolerance < 1e-9 else 8)) for v in numbers]
        except (ZeroDivisionError, OverflowError, ValueError):
            continue
        extent = fitted(values, points)  # type: ignore[arg-type]
        if isinstance(extent, Extent):
            made = [make(extent.real(p)) for p in points]
            if all(abs(a - b) <= tolerance * abs(b) for a, b in zip(made, numbers, strict=True)):
                return Real(extent, form)
    return None


class Unknown:
    """A number that differs from run to run and is no polynomial of the sizes."""

    def __init__(self, seen: Sequence[Any]) -> None:
        self.seen = tuple(seen)

    def __repr__(self) -> str:
        return f"<one of {', '.join(map(str, self.seen))}>"


def fitted(numbers: Sequence[int], points: Sequence[dict[str, int]]) -> Any:
    """The extent that has these values at these sizes; the number where all are equal; `Unknown` if there is none."""
    if all(n == numbers[0] for n in numbers):
        return numbers[0]
    names = sorted(points[0])
    # the simplest explanation first: one product of names, then sums of names, then sums with products of two
    products: list[Monomial] = [
        m for degree in (1, 2, 3) for m in itertools.combinations_with_replacement(names, degree)
    ]
    bases = [[m, ()] for m in products]
    bases.append([*((n,) for n in names), ()])
    bases.append([*(m for m in products if len(m) < 3), ()])
    for basis in bases:
        terms = _solved(basis, numbers, points)
        if terms is not None:
            return Extent(terms)
    return Unknown(numbers)


def _solved(basis: list, numbers: Sequence[int], points: Sequence[dict[str, int]]) -> dict | None:
    """Coefficients of the basis that give the numbers at all points, with at least one point to spare."""
    if len(points) <= len(basis):
        return None
    rows = []
    for number, sizes in zip(numbers, points, strict=True):
        row = []
        for monomial in basis:
            product = Fraction(1)
            for name in monomial:
                product *= sizes[name]
            row.append(product)
        rows.append([*row, Fraction(number)])
    rank = 0
    for column in range(len(basis)):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            return None
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        rows[rank] = [v / rows[rank][column] for v in rows[rank]]
        for r in range(len(rows)):
            if r != rank and rows[r][column]:
                factor = rows[r][column]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    if any(row[-1] for row in rows[rank:]):
        return None
    return {monomial: rows[i][-1] for i, monomial in enumerate(basis)}
