"""Schemas of operators: what they take and give, in text, as `name(Tensor x, int n=1, *, bool b=True) -> Tensor`."""

from __future__ import annotations

import functools
import inspect
import operator
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flambeau import devices, dtypes
from flambeau.tensor.tensor import Tensor

__all__ = ["Parameter", "Schema", "infer", "parse"]

_NAMES: dict[Any, str] = {
    Tensor: "Tensor", int: "SymInt", float: "float", bool: "bool", str: "str", complex: "complex",
    dtypes.dtype: "ScalarType", devices.device: "Device", typing.Any: "Any",
}  # fmt: skip
_PIECE = re.compile(r"^(?P<kind>[\w.]+(?:\([^)]*\))?[\w\[\]?!]*)\s+(?P<name>\w+)(?:=(?P<default>.*))?$")


class Parameter(NamedTuple):
    """One parameter: its kind as the schema has it, its name, its default as text (None: required)."""

    kind: str
    name: str
    default: str | None
    keyword: bool

    @property
    def written(self) -> bool:
        """Whether the operator writes into it."""
        return "!" in self.kind


class Schema(NamedTuple):
    """A whole schema."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: str

    def __str__(self) -> str:
        return f"{self.name}{text(self.parameters, self.returns)}"

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """One value for each parameter. RuntimeError for arguments that do not fit."""
        places = [p for p in self.parameters if not p.keyword]
        if len(args) > len(places):
            raise RuntimeError(f"{self.name}() takes {len(places)} positional arguments, got {len(args)}: {self}")
        given = {p.name: value for p, value in zip(places, args, strict=False)}
        for name, value in kwargs.items():
            if name in given or all(p.name != name for p in self.parameters):
                raise RuntimeError(f"{self.name}() got an argument '{name}' that it does not take, or twice: {self}")
            given[name] = value
        values = []
        for i, p in enumerate(self.parameters):
            if p.name not in given:
                if p.default is None:
                    raise RuntimeError(f"{self.name}() is missing value for argument '{p.name}': {self}")
                given[p.name] = _value(p.default)
            self._check(i, p, given[p.name])
            values.append(given[p.name])
        return values

    def _check(self, i: int, p: Parameter, value: Any) -> None:
        bare = re.sub(r"\([^)]*\)", "", p.kind)
        if bare == "Tensor" and not isinstance(value, Tensor):
            raise RuntimeError(
                f"{self.name}(): argument {i}, '{p.name}', must be a Tensor, got {type(value).__name__}; the schema is "
                f"{self}"
            )


def text(parameters: Sequence[Parameter], returns: str) -> str:
    """The part behind the name."""
    parts = []
    for p in parameters:
        if p.keyword and "*" not in parts:
            parts.append("*")
        parts.append(f"{p.kind} {p.name}" + ("" if p.default is None else f"={p.default}"))
    return f"({', '.join(parts)}) -> {returns}"


def _value(default: str) -> Any:
    """A default from its text."""
    default = default.strip()
    words: dict[str, Any] = {"None": None, "True": True, "False": False, "inf": float("inf")}
    if default in words:
        return words[default]
    known = getattr(dtypes, default.removeprefix("torch."), None)
    if isinstance(known, dtypes.dtype):
        return known
    import ast

    try:
        return ast.literal_eval(default)
    except (ValueError, SyntaxError):
        return default


def _split(inside: str) -> list[str]:
    """The pieces between commas that lie in no bracket."""
    pieces, depth, piece = [], 0, ""
    for c in inside:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and not depth:
            pieces.append(piece)
            piece = ""
        else:
            piece += c
    return [p.strip() for p in [*pieces, piece] if p.strip()]


def parse(schema: str) -> Schema:
    """A schema from its text. RuntimeError for what is none."""
    found = re.match(r"^\s*([\w:.]+)\s*\((.*)\)\s*->\s*(.+?)\s*$", schema, re.S)
    if not found:
        raise RuntimeError(f"not a schema, which looks like 'name(Tensor x, int n=1) -> Tensor': {schema!r}")
    name, inside, returns = found.groups()
    parameters, keyword = [], False
    for piece in _split(inside):
        if piece == "*":
            keyword = True
            continue
        one = _PIECE.match(piece)
        if not one:
            raise RuntimeError(f"not a parameter of a schema, which looks like 'Tensor x' or 'int n=1': {piece!r}")
        parameters.append(Parameter(one["kind"], one["name"], one["default"], keyword))
    return Schema(name, tuple(parameters), returns)


def _kind(annotation: Any) -> str | None:
    """The schema's word for an annotation; None where it has none."""
    if annotation in _NAMES:
        return _NAMES[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    options = [a for a in inner if a is not type(None)]
    union = origin is typing.Union or type(annotation).__name__ == "UnionType"
    if union and len(options) < len(inner):
        word = _kind(functools.reduce(operator.or_, options))
        return None if word is None else word + "?"
    if union and set(options) <= {int, float, bool, complex}:
        return "Scalar"
    if origin in (list, tuple, Sequence, typing.get_origin(typing.Sequence[int])) and inner:
        word = _kind(inner[0])
        return None if word is None else word + "[]"
    return None


def _refuse(function: Callable, what: str) -> ValueError:
    return ValueError(f"infer_schema(func): {what} Got func with signature {inspect.signature(function)})")


def infer(function: Callable, mutates_args: Any, op_name: str | None = None) -> str:
    """The schema of a function with type annotations.

    Args:
        mutates_args: the names of the tensors it writes into, or 'unknown' for all.

    Raises:
        ValueError: an annotation is missing, or no schema has a word for it.
    """
    hints = typing.get_type_hints(function)
    unknown = mutates_args == "unknown"
    parameters = []
    for i, (name, p) in enumerate(inspect.signature(function).parameters.items()):
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise _refuse(function, "We do not support *args or **kwargs.")
        if name not in hints:
            raise _refuse(function, f"Parameter {name} must have a type annotation.")
        kind = _kind(hints[name])
        if kind is None:
            raise _refuse(function, f"Parameter {name} has unsupported type {hints[name]}.")
        if kind.startswith("Tensor") and (unknown or name in mutates_args):
            kind = kind.replace("Tensor", f"Tensor(a{i}!)", 1)
        elif not unknown and name in mutates_args:
            raise _refuse(function, f"Parameter {name} is in mutates_args but only Tensors can be mutated.")
        parameters.append(Parameter(kind, name, _default(function, p), p.kind is p.KEYWORD_ONLY))
    if not unknown and (strange := set(mutates_args) - {p.name for p in parameters}):
        raise _refuse(function, f"mutates_args should contain the names of arguments, not {sorted(strange)}.")
    return f"{op_name or ''}{text(parameters, _returns(function, hints))}"


def _default(function: Callable, p: inspect.Parameter) -> str | None:
    value = p.default
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dtypes.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, devices.device):
        return f'"{value}"'
    if value is None or isinstance(value, (int, float, bool)):
        return str(value)
    raise _refuse(function, f"Parameter {p.name} has an unsupported default value type {type(value)}.")


def _returns(function: Callable, hints: dict[str, Any]) -> str:
    if "return" not in hints:
        raise _refuse(function, "No return type annotation was provided. Please add one.")
    kind = hints["return"]
    if kind is None or kind is type(None):
        return "()"
    if typing.get_origin(kind) is tuple and ... not in typing.get_args(kind):
        words = [_kind(a) for a in typing.get_args(kind)]
        if None in words:
            raise _refuse(function, f"Return has unsupported type {kind}.")
        return f"({', '.join(map(str, words))})"
    word = _kind(kind)
    if word is None:
        raise _refuse(function, f"Return has unsupported type {kind}.")
    return word
