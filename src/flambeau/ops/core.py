"""`@op`: how an operation is declared, and the code that runs and records it.

An op's body computes on raw arrays with a set of kernels `k`; its derivative rules stand beside it and name what they
need. From both, the first call generates a wrapper for the op's own signature: a straight path for float32 and float64
tensors, and `dispatch.general` for all else. `docs/architecture.md` tells the contract.
"""

from __future__ import annotations

import inspect
import linecache
import types
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np

from flambeau.autograd.graph import Node, Pick
from flambeau.autograd.runtime import NS
from flambeau.engines.kernels import CPU_KERNELS, FORMULAS, Kernels

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
        self.joint = len(inputs) > 1


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


def op(compute: Callable | None = None, **options: Any) -> Any:
    """Declares an operation; see the module's text and `docs/architecture.md`."""
    if compute is None:
        return lambda function: op(function, **options)
    declared = Op(compute, options)
    REGISTRY[declared.name] = declared
    FORMULAS[declared.name] = compute
    return _public(declared)


def composite(formula: Callable) -> Callable:
    """Declares a formula over kernels, which engines may replace by a kernel of the same name."""
    FORMULAS[formula.__name__] = formula
    return formula


def _trampoline() -> None:
    raise AssertionError("replaced when the function is made")


def _public(declared: Op) -> OpFunction:
    """The public function: at first a stub that generates its own code when it is called."""
    key = "BUILD_" + declared.name
    parameters = _parameter_list(declared)
    arguments = ", ".join([*declared.passed(declared.parameters), "out=out"])
    source = f"def {declared.name}({parameters}):\n    return {key}()({arguments})\n"
    function = _define(source, declared.name, f"<flambeau stub {declared.name}>")

    def build() -> Callable:
        from flambeau.ops.generate import wrapper_source

        text = wrapper_source(declared, NS)
        filename = f"<flambeau op {declared.name}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        function.__code__ = _define(text, declared.name, filename).__code__
        return function

    NS[key] = build
    function.__doc__ = declared.compute.__doc__
    function.__module__ = declared.compute.__module__
    function.__qualname__ = declared.name
    out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    function.__signature__ = declared.signature.replace(  # type: ignore[attr-defined]
        parameters=[*declared.signature.parameters.values(), out]
    )
    result = cast(Any, function)
    result.op = declared
    result.derivative = declared.derivative
    declared.function = result  # type: ignore[attr-defined]
    return cast(OpFunction, result)


def operator_of(function: OpFunction) -> Any:
    """The op as one of Python's operators: foreign operands make it return NotImplemented."""
    declared = function.op
    key = "BUILD_OPERATOR_" + declared.name
    names = ", ".join([*declared.passed(declared.parameters), "out=out"])
    source = f"def {declared.name}({_parameter_list(declared)}):\n    return {key}()({names})\n"
    method = _define(source, declared.name, f"<flambeau stub {declared.name}>")

    def build() -> Callable:
        from flambeau.ops.generate import wrapper_source

        text = wrapper_source(declared, NS, "OPERATOR")
        method.__code__ = _define(text, declared.name, f"<flambeau operator {declared.name}>").__code__
        return method

    NS[key] = build
    method.__doc__ = declared.compute.__doc__
    return method


def _define(source: str, name: str, filename: str) -> types.FunctionType:
    scope: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), NS, scope)
    return scope[name]


def _parameter_list(declared: Op) -> str:
    """The text of the parameters; defaults are taken from the namespace of generated code."""
    parts = []
    starred = False
    for p in declared.signature.parameters.values():
        if p.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        if p.default is inspect.Parameter.empty:
            parts.append(p.name)
        else:
            key = f"DEFAULT_{declared.name}_{p.name}"
            NS[key] = p.default
            parts.append(f"{p.name}={key}")
    if not starred:
        parts.append("*")
    parts.append("out=None")
    return ", ".join(parts)


#: Functions on Tensors that stand in for kernels which are no op of their own.
OFFERED: dict[str, Callable] = {}


def offer(name: str, function: Callable) -> None:
    """Lets recorded rules call `function` as `k.name`."""
    OFFERED[name] = function


class OpKernels(Kernels):
    """The ops themselves as a set of kernels: what rules run on when the backward pass is recorded."""

    def find(self, name: str) -> Any:
        offered = OFFERED.get(name)
        if offered is not None:
            return offered
        found = REGISTRY.get(name) or REGISTRY.get(name + "_op")
        return None if found is None else found.function  # type: ignore[attr-defined]


OPS = OpKernels()
NS["OPS"] = OPS
NS["K"] = CPU_KERNELS
NS["Node"] = Node
NS["Pick"] = Pick
NS["SUM_TO_SHAPE"] = lambda a, shape: CPU_KERNELS.sum_to_shape(a, shape)
NS["ndarray"] = np.ndarray
NS["asarray"] = np.asarray
NS["F32"] = np.dtype(np.float32)
NS["F64"] = np.dtype(np.float64)
