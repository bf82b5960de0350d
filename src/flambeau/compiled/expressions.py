"""Arithmetic that is noted while it is done: a function of numbers as one expression of Python, to be evaluated again.

What the function asks about its numbers on its way (`if weight_decay:`, `lr > 0`) becomes a condition under which the
expression holds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Term", "evaluator"]

_NAMES = {"inf": float("inf"), "nan": float("nan"), "__builtins__": {}}


class Term:
    """A number that knows how it comes from others."""

    __slots__ = ("conditions", "text", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: float, text: str, conditions: list[str]) -> None:
        self.value, self.text, self.conditions = value, text, conditions

    def fixed(self) -> float:
        """The value, which the expression's holding depends on from now on."""
        self.conditions.append(f"{self.text} == {self.value!r}")
        return self.value

    def __neg__(self) -> Term:
        return Term(-self.value, f"(-{self.text})", self.conditions)

    def __bool__(self) -> bool:
        return self._asked(self.text, bool(self.value))

    def __float__(self) -> float:
        raise TypeError("a function of the host's, of which the expression would not know")

    def _asked(self, text: str, answer: bool) -> bool:
        self.conditions.append(text if answer else f"not {text}")
        return answer


def _number(x: Any) -> tuple[Any, str] | None:
    if x.__class__ is Term:
        return x.value, x.text
    return (x, repr(x)) if x.__class__ in (int, float) else None


def _arithmetic(sign: str, function: Callable, swapped: bool) -> Callable:
    def method(self: Term, other: Any) -> Any:
        given = _number(other)
        if given is None:
            return NotImplemented
        (a, left), (b, right) = ((self.value, self.text), given)[:: -1 if swapped else 1]
        return Term(function(a, b), f"({left} {sign} {right})", self.conditions)

    return method


def _comparison(sign: str, function: Callable) -> Callable:
    def method(self: Term, other: Any) -> Any:
        given = _number(other)
        if given is None:
            return NotImplemented
        return self._asked(f"({self.text} {sign} {given[1]})", function(self.value, given[0]))

    return method


_SIGNS = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "**": "pow", "//": "floordiv", "%": "mod"}
for _sign, _name in _SIGNS.items():
    setattr(Term, f"__{_name}__", _arithmetic(_sign, getattr(operator, _name), False))
    setattr(Term, f"__r{_name}__", _arithmetic(_sign, getattr(operator, _name), True))
for _sign, _name in {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}.items():
    setattr(Term, f"__{_name}__", _comparison(_sign, getattr(operator, _name)))


def evaluator(function: Callable[..., Iterable[Any]], given: tuple[Any, ...]) -> Callable[..., Any] | None:
    """The numbers that `function(*given)` returns, as a function of its own of numbers like these.

    It returns None for numbers that `function` would take another course for. None where the numbers do not come from
    arithmetic alone.
    """
    conditions: list[str] = []
    terms = [Term(x, f"x{i}", conditions) if x.__class__ is float else x for i, x in enumerate(given)]
    try:
        made = [_number(x) for x in function(*terms)]
    except (TypeError, AttributeError, ArithmeticError, ValueError):
        return None
    if None in made:
        return None
    names = ", ".join(f"x{i}" for i in range(len(given)))
    # what is no float is part of the course, as it is
    fixed = [f"x{i} is f{i}" for i, x in enumerate(given) if x.__class__ is not float]
    held = " and ".join(dict.fromkeys([*fixed, *conditions])) or "True"
    texts = "".join(f"{text}, " for _, text in made)  # type: ignore[misc]
    known = _NAMES | {f"f{i}": x for i, x in enumerate(given)}
    return eval(f"lambda {names}: ({texts}) if {held} else None", known)  # noqa: S307 - of our own making
