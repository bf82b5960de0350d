"""The numbers of an update rule as a straight-line function of its hyperparameters.

A rule computes with floats (`1 - beta1 ** step`) between its operations on arrays, and chooses its way by them. It is
run once on `Number`s, which write down what happens to them; the function made of that gives a step's numbers at once,
or None where one of the choices would turn out another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["Number", "Script", "numbers_of"]


class Script:
    """What has been written down: lines of code, each a value or a choice."""

    def __init__(self, hyper: Sequence[Any]) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.parameters = [f"h{i}" for i in range(len(hyper))]
        self.given = [self._given(name, value) for name, value in zip(self.parameters, hyper, strict=True)]

    def _given(self, text: str, value: Any) -> Any:
        """What stands for a hyperparameter: a number, a tuple of such, or the value itself, which is then a choice."""
        if value.__class__ is float or value.__class__ is int:
            return Number(self, text, value)
        if value.__class__ is tuple:
            self._choice(f"len({text}) == {len(value)}", True)
            return tuple(self._given(f"{text}[{i}]", v) for i, v in enumerate(value))
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        self._choice(f"{text} {'==' if value.__class__ is str else 'is'} {name}", True)
        return value

    def _choice(self, test: str, outcome: bool) -> None:
        self.lines.append(f"    if {'not ' if outcome else ''}({test}): return None")

    def value(self, text: str, value: Any) -> Number:
        name = f"t{len(self.lines)}"
        self.lines.append(f"    {name} = {text}")
        return Number(self, name, value)

    def choice(self, test: str, outcome: bool) -> bool:
        self._choice(test, outcome)
        return outcome

    def function(self, results: Sequence[Any]) -> Callable[..., list[float] | None]:
        """The function of the hyperparameters that gives these results."""
        listed = ", ".join(_text(r) for r in results)
        text = "\n".join([f"def numbers({', '.join(self.parameters)}):", *self.lines, f"    return [{listed}]"])
        scope: dict[str, Any] = {}
        exec(compile(text, "<flambeau numbers of a rule>", "exec"), {**self.constants, **_WORDS}, scope)
        return scope["numbers"]


_WORDS = {"inf": float("inf"), "nan": float("nan")}


def numbers_of(rule: Callable[..., Iterable[Any]], hyper: Sequence[Any]) -> Callable[..., list[float] | None] | None:
    """The numbers that `rule(*hyper)` gives, as a function of hyperparameters that has only the arithmetic: it returns
    None for those with which the rule would choose another way. None for a rule that does more with them.
    """
    script = Script(hyper)
    try:
        made = list(rule(*script.given))
    except (TypeError, AttributeError, ArithmeticError, ValueError):
        return None
    return script.function(made) if all(x.__class__ in (Number, float, int) for x in made) else None


def _text(x: Any) -> str:
    return x.text if x.__class__ is Number else f"({x!r})"


class Number:
    """A number of which it is written down what becomes of it."""

    __slots__ = ("script", "text", "value")

    def __init__(self, script: Script, text: str, value: Any) -> None:
        self.script, self.text, self.value = script, text, value

    def fixed(self) -> Any:
        """The value, which from now on belongs to the way that was chosen."""
        self.script.choice(f"{self.text} == {self.value!r}", True)
        return self.value

    def __neg__(self) -> Number:
        return self.script.value(f"-{self.text}", -self.value)

    def __bool__(self) -> bool:
        return self.script.choice(self.text, bool(self.value))

    __hash__: Any = None


def _arithmetic(sign: str, turned: bool) -> Callable:
    function = eval(f"lambda a, b: {'b' if turned else 'a'} {sign} {'a' if turned else 'b'}")

    def method(self: Number, other: Any) -> Number:
        value = function(self.value, other.value if other.__class__ is Number else other)
        parts = (_text(other), self.text) if turned else (self.text, _text(other))
        return self.script.value(f"{parts[0]} {sign} {parts[1]}", value)

    return method


def _comparison(sign: str) -> Callable:
    function = eval(f"lambda a, b: a {sign} b")

    def method(self: Number, other: Any) -> bool:
        outcome = function(self.value, other.value if other.__class__ is Number else other)
        return self.script.choice(f"{self.text} {sign} {_text(other)}", outcome)

    return method


for _name, _sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("pow", "**"), ("mod", "%"),
                     ("floordiv", "//")):  # fmt: skip
    setattr(Number, f"__{_name}__", _arithmetic(_sign, False))
    setattr(Number, f"__r{_name}__", _arithmetic(_sign, True))
for _name, _sign in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    setattr(Number, f"__{_name}__", _comparison(_sign))
