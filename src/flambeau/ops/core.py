"""`@op`: how an operation is declared, and the code that runs and records it.

An op's body computes on raw arrays with a set of kernels `k`; its derivative rules stand beside it and name what they
need. From both, the first call generates a wrapper for the op's own signature: a straight path for float32 and float64
tensors, and `dispatch.general` for all else. `docs/architecture.md` tells the contract.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from flambeau.autograd.graph import Node, Pick
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import ENGINES, FOREIGN, as_array
from flambeau.engines.kernels import CPU_KERNELS, FORMULAS, Kernels
from flambeau.ops.declare import REGISTRY, Op, OpFunction, define, other_names, parameter_list
from flambeau.ops.generate import wrapper_source

__all__ = ["OPS", "REGISTRY", "Op", "OpFunction", "composite", "offer", "op", "operator_of"]


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


def _public(declared: Op) -> OpFunction:
    """The public function: at first a stub that generates its own code when it is called."""
    key = "BUILD_" + declared.name
    parameters = parameter_list(declared)
    arguments = ", ".join(_handed_on(declared))
    source = f"def {declared.name}({parameters}):\n    return {key}()({arguments})\n"
    function = define(source, declared.name, f"<flambeau stub {declared.name}>")

    def build() -> Callable:
        text = wrapper_source(declared, NS)
        filename = f"<flambeau op {declared.name}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        function.__code__ = define(text, declared.name, filename).__code__
        return function

    NS[key] = build
    function.__doc__ = declared.compute.__doc__
    function.__module__ = declared.compute.__module__
    function.__qualname__ = function.__name__ = declared.name.removesuffix("_op")
    out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    function.__signature__ = declared.signature.replace(  # type: ignore[attr-defined]
        parameters=[*declared.signature.parameters.values(), out]
    )
    result = cast(Any, function)
    result.op = declared
    result.derivative = declared.derivative
    declared.function = result  # type: ignore[attr-defined]
    return cast(OpFunction, result)


def _handed_on(declared: Op) -> list[str]:
    """The arguments of a call with the caller's own."""
    return [*declared.passed(declared.parameters), "out=out", *(f"{n}={n}" for n in other_names(declared.parameters))]


def operator_of(function: OpFunction) -> Any:
    """The op as one of Python's operators: foreign operands make it return NotImplemented."""
    declared = function.op
    key = "BUILD_OPERATOR_" + declared.name
    names = ", ".join(_handed_on(declared))
    source = f"def {declared.name}({parameter_list(declared)}):\n    return {key}()({names})\n"
    method = define(source, declared.name, f"<flambeau stub {declared.name}>")

    def build() -> Callable:
        text = wrapper_source(declared, NS, "OPERATOR")
        method.__code__ = define(text, declared.name, f"<flambeau operator {declared.name}>").__code__
        return method

    NS[key] = build
    method.__doc__ = declared.compute.__doc__
    return method


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


def kernels_of(array: Any) -> Kernels:
    """The kernels for an array."""
    return ENGINES[array.__class__].kernels if array.__class__ in FOREIGN else NS["K"]


OPS = OpKernels()
NS["OPS"] = OPS
NS["K"] = CPU_KERNELS
NS["Node"] = Node
NS["Pick"] = Pick
NS["SUM_TO_SHAPE"] = lambda a, shape: CPU_KERNELS.sum_to_shape(a, shape)
NS["KERNELS_OF"] = kernels_of
NS["ndarray"] = np.ndarray
NS["asarray"] = as_array
NS["F32"] = np.dtype(np.float32)
NS["F64"] = np.dtype(np.float64)
