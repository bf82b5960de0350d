"""Chains of ufuncs as native kernels: a chain is called once on symbols, which note what NumPy is asked to compute.

So each activation is written once, for NumPy; where there are native kernels the same text becomes one pass over
memory. A chain that asks for something the compiler does not know stays a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import hooks
from .calls import ENABLED, Kernel, suits
from .values import Value, Values

__all__ = ["Symbol", "native_chain"]


class Unsupported(Exception):
    """The chain computes what native kernels can't."""


class Symbol(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for an array in a chain, and holds its value so far."""

    def __init__(self, k: Values, value: Value | None = None) -> None:
        self.k, self.value, self.written = k, value, False
        self.dtype = np.dtype(np.float64 if k.double else np.float32)

    def set(self, value: Value) -> None:
        self.value, self.written = value, True

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        rule = UFUNCS.get(ufunc.__name__)
        if rule is None or method != "__call__" or kwargs:
            raise Unsupported(ufunc.__name__)
        values = [_value(self.k, x) for x in inputs]
        result = rule(self.k, *values)
        if out is None:
            return Symbol(self.k, result)
        out[0].set(result)
        return out[0]


def _value(k: Values, x: Any) -> Any:
    if isinstance(x, Symbol):
        if x.value is None:
            raise Unsupported("memory read before it is written")
        return x.value
    if isinstance(x, (int, float, np.floating, np.integer)):
        return k.const(float(x))
    raise Unsupported(type(x).__name__)


def _is_constant(x: Any) -> bool:
    return isinstance(x, Value) and x.op == "const"


def maximum(k: Values, a: Any, b: Any) -> Value:
    """The larger one; NaN where either is."""
    if _is_constant(b):
        a, b = b, a
    result = k.maximum(a, b)
    return result if _is_constant(a) else k.select(k.compare("eq", a, a), result, a)


def minimum(k: Values, a: Any, b: Any) -> Value:
    """The smaller one; NaN where either is."""
    if _is_constant(b):
        a, b = b, a
    result = k.minimum(a, b)
    return result if _is_constant(a) else k.select(k.compare("eq", a, a), result, a)


def _compare(how: str) -> Callable[..., Value]:
    return lambda k, a, b: k.compare(how, a, b)


#: What each ufunc computes, by its name.
UFUNCS: dict[str, Callable[..., Value]] = {
    "add": lambda k, a, b: k.add(a, b),
    "subtract": lambda k, a, b: k.sub(a, b),
    "multiply": lambda k, a, b: k.mul(a, b),
    "divide": lambda k, a, b: k.div(a, b),
    "negative": lambda k, a: k.neg(a),
    "absolute": lambda k, a: k.abs(a),
    "reciprocal": lambda k, a: k.div(1.0, a),
    "square": lambda k, a: k.mul(a, a),
    "sqrt": lambda k, a: k.sqrt(a),
    "exp": lambda k, a: k.exp(a),
    "expm1": lambda k, a: k.expm1(a),
    "log": lambda k, a: k.log(a),
    "log1p": lambda k, a: k.log1p(a),
    "tanh": lambda k, a: k.tanh(a),
    "floor": lambda k, a: k.floor(a),
    "ceil": lambda k, a: k.ceil(a),
    "trunc": lambda k, a: k.trunc(a),
    "rint": lambda k, a: k.round(a),
    "maximum": maximum,
    "minimum": minimum,
    "greater": _compare("gt"),
    "greater_equal": _compare("ge"),
    "less": _compare("lt"),
    "less_equal": _compare("le"),
    "equal": _compare("eq"),
    "not_equal": _compare("ne"),
    "logical_and": lambda k, a, b: k.both(a, b),
    "logical_or": lambda k, a, b: k.either(a, b),
    "logical_not": lambda k, a: k.negate(a),
    "invert": lambda k, a: k.negate(a),
}


def _key(chain: Callable) -> Any:
    """What tells one chain from another: its code and what it closes over."""
    cells = chain.__closure__
    return chain.__code__ if cells is None else (chain.__code__, *(c.cell_contents for c in cells))


_chains: dict[Any, tuple[Kernel, tuple[int, ...]] | None] = {}


def native_chain(chain: Callable, arrays: tuple, temps: int) -> bool:
    """Runs the chain natively on contiguous arrays of one size; False, and nothing done, where it can't be."""
    if not ENABLED or not suits(*arrays):
        return False
    try:
        key = (_key(chain), len(arrays), arrays[0].dtype)
        found = _chains.get(key, _chains)
    except TypeError:
        return False
    if found is _chains:
        if len(_chains) > 1024:
            _chains.clear()
        found = _chains[key] = _traced(chain, len(arrays), temps, arrays[0].dtype)
    if found is None:
        return False
    if hooks.capture is not None and hooks.capture.chain(chain, arrays, temps):
        with hooks.capture.paused():
            return native_chain(chain, arrays, temps)
    kernel, used = found  # type: ignore[misc]
    kernel.flat([arrays[i] for i in used])
    return True


def _traced(chain: Callable, count: int, temps: int, dtype: np.dtype) -> tuple[Kernel, tuple[int, ...]] | None:
    names = [f"a{i}" for i in range(count)]

    def write(k: Any) -> None:
        symbols = [Symbol(k, k.make("load", imm=name)) for name in names]
        chain(*symbols, *(Symbol(k) for _ in range(temps)))
        for name, symbol in zip(names, symbols, strict=True):
            if symbol.written:
                k.store(name, symbol.value)
        for name in names:  # operands in the order of the arrays, only those in use
            if any(v.op == "load" and v.imm == name and _used(k, v) for v in k.order):
                k.load(name)

    made = Kernel(write, getattr(chain, "__name__", "chain"))
    try:
        operands = made.of(dtype).operands
    except Unsupported:
        return None
    return made, tuple(names.index(name) for name in operands)


def _used(k: Any, value: Value) -> bool:
    return any(value in v.args for v in k.order)
