"""What an operation declares: its body, its derivative rules, its parameters and their kinds."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flambeau.autograd.runtime import NS
from flambeau.engines.kernels import Kernels

TENSOR, INDEX, TENSORS, PLAIN = "tensor", "index", "tensors", "plain"
_KINDS = {"Tensor": TENSOR, "Index": INDEX, "Tensors": TENSORS}

#: Every declared operation by name.
REGISTRY: dict[str, Op] = {}


class OpFunction(Protocol):
    """What `@op` returns: the public function, to which derivatives can be added."""

    op: Op
    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def derivative(self, *inputs: str) -> Callable[[Callable], Callable]: ...


class Rule:
    """A derivative: the function, the inputs it serves, and the names of what it takes."""

    def __init__(self, function: Callable, inputs: tuple[str, ...]) -> None:
        self.function = function
        self.inputs = inputs
        self.takes = tuple(inspect.signature(function).parameters)[1:]


class Op:
    """A declared operation."""

    def __init__(self, compute: Callable, options: dict[str, Any]) -> None:
        self.compute = compute
        self.name: str = options.get("name") or compute.__name__
        self.elementwise: bool | str = options.get("elementwise", False)
        self.view: bool = options.get("view", False)
        self.holomorphic: bool = options.get("holomorphic", True)
        self.outputs: int = options.get("outputs", 1)
        self.hidden: int = options.get("hidden", 0)
        self.nondiff: tuple[int, ...] = options.get("nondiff", ())
        self.any_dtype: bool = options.get("any_dtype", self.view)
        self.grad_name: str = options.get("grad_name") or _camel(self.name.removesuffix("_op")) + "Backward0"
        self.shown_as: Any = options.get("shown_as")
        self.no_bool: bool = options.get("no_bool", False)
        self.no_complex: Any = options.get("no_complex", False)
        self.numbers: bool | str = options.get("numbers", bool(self.elementwise))
        self.exact_out: bool = options.get("exact_out", False)
        self.upcast: bool = options.get("upcast", not self.any_dtype)
        self.differentiable: bool = options.get("differentiable", True)
        signature = inspect.signature(compute)
        parameters = list(signature.parameters.values())[1:]
        self.signature = signature.replace(parameters=parameters)
        self.parameters = tuple(p.name for p in parameters)
        self.kinds = tuple(_KINDS.get(str(p.annotation).removesuffix(" | None"), PLAIN) for p in parameters)
        self.optional = tuple(p.default is not inspect.Parameter.empty for p in parameters)
        self.tensors = tuple(
            n for n, kind in zip(self.parameters, self.kinds, strict=True) if kind in (TENSOR, TENSORS)
        )
        self.rules: list[Rule] = []
        self.rule_of: dict[str, Rule] = {}
        self.visible = self.outputs - self.hidden
        self.keywords = tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
        self.node_class: Any = None
        self.slow_class: Any = None

    def derivative(self, *inputs: str) -> Callable[[Callable], Callable]:
        """Declares the gradient for `inputs` (all tensor parameters by default)."""

        def declare(function: Callable) -> Callable:
            rule = Rule(function, inputs or self.tensors)
            for name in rule.inputs:
                if name not in self.tensors:
                    raise TypeError(f"{self.name} has no tensor parameter '{name}'; it has {self.tensors}")
                self.rule_of[name] = rule
            self._check_names(rule)
            self.rules.append(rule)
            return function

        return declare

    def _check_names(self, rule: Rule) -> None:
        known = {"g", "out", "needs", *self.parameters}
        known.update(f"{t}_{what}" for t in self.tensors for what in ("shape", "dtype"))
        known.update(f"{stem}{i}" for i in range(max(self.outputs, 1)) for stem in ("g", "out"))
        unknown = [name for name in rule.takes if name not in known]
        if unknown:
            raise TypeError(f"the derivative of {self.name} takes unknown names {unknown}; there are {sorted(known)}")

    def passed(self, values: Sequence[str]) -> list[str]:
        """The text of a call's arguments with these values: `name=value` for the keyword-only parameters."""
        pairs = zip(self.parameters, values, strict=True)
        return [f"{name}={value}" if name in self.keywords else value for name, value in pairs]

    def run(self, kernels: Kernels, values: Sequence[Any]) -> Any:
        """The body on these operands, one per parameter."""
        if not self.keywords:
            return self.compute(kernels, *values)
        named = dict(zip(self.parameters, values, strict=True))
        keywords = {name: named.pop(name) for name in self.keywords}
        return self.compute(kernels, *named.values(), **keywords)

    def saves(self) -> tuple[str, ...]:
        """The tensor parameters and outputs that some rule keeps."""
        names: dict[str, None] = {}
        for rule in self.rules:
            for name in rule.takes:
                if name in self.parameters or name.startswith("out"):
                    names[name] = None
        return tuple(names)


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.strip("_").split("_"))


def define(source: str, name: str, filename: str) -> types.FunctionType:
    scope: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), NS, scope)
    return scope[name]


#: NumPy's names for parameters, which every function takes as well.
NUMPY_NAMES = {"dim": "axis", "keepdim": "keepdims"}


class _Absent:
    """Stands for a required argument that may come under NumPy's name instead."""

    def __repr__(self) -> str:
        return "<required>"


NS["ABSENT"] = _Absent()


def other_names(parameters: Sequence[str]) -> dict[str, str]:
    """NumPy's names for those of the parameters that have one: `{'axis': 'dim'}`."""
    return {name: p for p, name in NUMPY_NAMES.items() if p in parameters and name not in parameters}


def renaming(declared: Op) -> list[str]:
    """Lines that take arguments which came under NumPy's names, and refuse a call without a required one."""
    found = other_names(declared.parameters)
    lines = [f"    if {name} is not None:\n        {p} = {name}" for name, p in found.items()]
    late = _after_dim(declared)
    if late:
        NS["NEEDS"] = _needs
        test = " or ".join(f"{name} is ABSENT" for name in late)
        lines.append(f"    if {test}:\n        raise NEEDS({declared.name!r}, {late!r}, ({', '.join(late)},))")
    return lines


def _needs(name: str, parameters: Sequence[str], values: Sequence[Any]) -> TypeError:
    missing = [p for p, value in zip(parameters, values, strict=True) if value is NS["ABSENT"]]
    return TypeError(f"{name}() missing {len(missing)} required argument: {', '.join(map(repr, missing))}")


def _after_dim(declared: Op) -> list[str]:
    """`dim`, where it is required, and the required parameters that follow it."""
    if not other_names(declared.parameters):
        return []
    found: list[str] = []
    for p in declared.signature.parameters.values():
        if p.kind is not inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty:
            if found or p.name in NUMPY_NAMES:
                found.append(p.name)
    return found


def parameter_list(declared: Op) -> str:
    """The text of the parameters; defaults are taken from the namespace of generated code."""
    parts = []
    starred = False
    late = _after_dim(declared)
    for p in declared.signature.parameters.values():
        if p.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        if p.default is inspect.Parameter.empty:
            parts.append(f"{p.name}=ABSENT" if p.name in late else p.name)
        else:
            key = f"DEFAULT_{declared.name}_{p.name}"
            NS[key] = p.default
            parts.append(f"{p.name}={key}")
    if not starred:
        parts.append("*")
    parts.append("out=None")
    parts += [f"{name}=None" for name in other_names(declared.parameters)]
    return ", ".join(parts)
