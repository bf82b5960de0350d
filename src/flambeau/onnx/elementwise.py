"""ONNX nodes for what works element by element: arithmetic, comparison, choice, activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.onnx.graph import EMITTERS, Graph, Operand, emits

_ONE_NODE = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "sgn": "Sign", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin",
    "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "sigmoid": "Sigmoid", "erf": "Erf",
    "reciprocal": "Reciprocal", "relu": "Relu",
}  # fmt: skip
_TWO_OPERANDS = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min"}
_COMPARED = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


def _one(kind: str) -> Any:
    return lambda g, x: g.node(kind, g.as_type(x, g.dtype))


def _two(kind: str) -> Any:
    return lambda g, x, y: g.node(kind, g.operand(x, g.dtype), g.operand(y, g.dtype))


def _compared(kind: str) -> Any:
    def emit(g: Graph, x: Any, y: Any) -> str:
        _, (a, b) = g.promoted(x, y)
        return g.node(kind, a, b)

    return emit


for _name, _kind in _ONE_NODE.items():
    EMITTERS[_name] = _one(_kind)
for _name, _kind in _TWO_OPERANDS.items():
    EMITTERS[_name] = _two(_kind)
for _name, _kind in _COMPARED.items():
    EMITTERS[_name] = _compared(_kind)


class Formula:
    """Arithmetic on names in one dtype, for what takes several nodes."""

    def __init__(self, g: Graph, dtype: Any) -> None:
        self.g = g
        self.dtype = dtype

    def __call__(self, kind: str, *operands: Any, **attributes: Any) -> Any:
        """A node; numbers are constants of the dtype."""
        given = [self.g.number(o, self.dtype) if isinstance(o, (bool, int, float)) else o for o in operands]
        return self.g.node(kind, *given, **attributes)


def begun(g: Graph, x: Operand) -> tuple[Any, Formula]:
    """An operand in the result's dtype, and a formula in that."""
    return g.as_type(x, g.dtype), Formula(g, g.dtype)


@emits("floor")
def _floor(g: Graph, x: Operand) -> Any:
    return g.node("Floor" if x.dtype.kind in "fV" else "Identity", x)


@emits("ceil")
def _ceil(g: Graph, x: Operand) -> Any:
    return g.node("Ceil" if x.dtype.kind in "fV" else "Identity", x)


@emits("trunc")
def _trunc(g: Graph, x: Operand) -> Any:
    return _truncated(g, x) if x.dtype.kind in "fV" else g.node("Identity", x)


def _truncated(g: Graph, x: Any) -> str:
    return g.node("Mul", g.node("Sign", x), g.node("Floor", g.node("Abs", x)))


@emits("frac")
def _frac(g: Graph, x: Operand) -> str:
    return g.node("Sub", x, _truncated(g, x))


@emits("round")
def _round(g: Graph, x: Operand, decimals: int = 0) -> Any:
    if x.dtype.kind not in "fV":
        return g.node("Identity", x)
    if not decimals:
        return g.node("Round", x)
    f = Formula(g, x.dtype)
    return f("Div", f("Round", f("Mul", x, 10.0**decimals)), 10.0**decimals)


@emits("deg2rad")
def _deg2rad(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Mul", a, math.pi / 180)


@emits("rad2deg")
def _rad2deg(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Mul", a, 180 / math.pi)


@emits("rsqrt")
def _rsqrt(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Reciprocal", f("Sqrt", a))


@emits("square")
def _square(g: Graph, x: Operand) -> str:
    return g.node("Mul", x, x)


@emits("exp2")
def _exp2(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Pow", 2.0, a)


@emits("expm1")
def _expm1(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)  # 2 tanh(x/2) / (1 - tanh(x/2)), exact near 0
    half = f("Tanh", f("Mul", a, 0.5))
    near = f("Div", f("Mul", half, 2.0), f("Sub", 1.0, half))
    return f("Where", f("Less", f("Abs", a), 0.5), near, f("Sub", f("Exp", a), 1.0))


@emits("log2")
def _log2(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Div", f("Log", a), math.log(2))


@emits("log10")
def _log10(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Div", f("Log", a), math.log(10))


@emits("log1p")
def _log1p(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)  # log(u) x / (u - 1) for u = 1 + x makes up for the rounding of u
    u = f("Add", a, 1.0)
    same = f("Equal", u, 1.0)
    apart = f("Where", same, 1.0, f("Sub", u, 1.0))
    return f("Where", same, a, f("Div", f("Mul", f("Log", u), a), apart))


@emits("erfc")
def _erfc(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    return f("Sub", 1.0, f("Erf", a))


@emits("logit")
def _logit(g: Graph, x: Operand, eps: float | None = None) -> str:
    a, f = begun(g, x)
    if eps is not None:
        a = f("Clip", a, eps, 1 - eps)
    return f("Log", f("Div", a, f("Sub", 1.0, a)))


@emits("sinc")
def _sinc(g: Graph, x: Operand) -> str:
    a, f = begun(g, x)
    zero = f("Equal", a, 0.0)
    angle = f("Mul", f("Where", zero, 1.0, a), math.pi)
    return f("Where", zero, 1.0, f("Div", f("Sin", angle), angle))


@emits("isnan")
def _isnan(g: Graph, x: Operand) -> str:
    return g.node("IsNaN", x)


@emits("isinf")
def _isinf(g: Graph, x: Operand) -> str:
    return g.node("IsInf", x)


@emits("isfinite")
def _isfinite(g: Graph, x: Operand) -> str:
    return g.node("Not", g.node("Or", g.node("IsNaN", x), g.node("IsInf", x)))


@emits("nan_to_num")
def _nan_to_num(g: Graph, x: Operand, nan: Any = None, posinf: Any = None, neginf: Any = None) -> str:
    f, limits = Formula(g, x.dtype), np.finfo(x.dtype)
    a = f("Where", f("IsNaN", x), float(nan or 0.0), x)
    low, high = (float(limits.min) if neginf is None else neginf), (float(limits.max) if posinf is None else posinf)
    a = f("Where", f("Equal", a, math.inf), float(high), a)
    return f("Where", f("Equal", a, -math.inf), float(low), a)


@emits("conj_physical", "real")
def _same(g: Graph, x: Operand) -> str:
    if x.dtype.kind == "c":
        raise g.unsupported("a complex number")
    return g.node("Identity", x)


# --- two operands ---------------------------------------------------------------------------------------------------


@emits("rsub")
def _rsub(g: Graph, x: Any, y: Any) -> str:
    return g.node("Sub", g.operand(y, g.dtype), g.operand(x, g.dtype))


@emits("floor_divide")
def _floor_divide(g: Graph, x: Any, y: Any) -> str:
    a, b = g.operand(x, g.dtype), g.operand(y, g.dtype)
    if g.dtype.kind in "fV":
        return g.node("Floor", g.node("Div", a, b))
    return g.node("Div", g.node("Sub", a, g.node("Mod", a, b)), b)


@emits("trunc_divide")
def _trunc_divide(g: Graph, x: Any, y: Any) -> str:
    quotient = g.node("Div", g.operand(x, g.dtype), g.operand(y, g.dtype))
    return _truncated(g, quotient) if g.dtype.kind in "fV" else quotient


@emits("remainder")
def _remainder(g: Graph, x: Any, y: Any) -> str:
    a, b = g.operand(x, g.dtype), g.operand(y, g.dtype)
    if g.dtype.kind in "fV":
        return g.node("Sub", a, g.node("Mul", g.node("Floor", g.node("Div", a, b)), b))
    return g.node("Mod", a, b)


@emits("fmod")
def _fmod(g: Graph, x: Any, y: Any) -> str:
    return g.node("Mod", g.operand(x, g.dtype), g.operand(y, g.dtype), fmod=1)


@emits("pow_scalar", "pow_tensor")
def _pow(g: Graph, x: Any, exponent: Any) -> str:
    a = g.operand(x, g.dtype)
    if exponent.__class__ in (int, float) and exponent == 2:
        return g.node("Mul", a, a)
    return g.node("Pow", a, g.operand(exponent, g.dtype))


@emits("pow_base")
def _pow_base(g: Graph, exponent: Any, base: Any) -> str:
    return g.node("Pow", g.operand(base, g.dtype), g.operand(exponent, g.dtype))


@emits("lerp")
def _lerp(g: Graph, x: Any, end: Any, weight: Any) -> str:
    a, b, w = (g.operand(v, g.dtype) for v in (x, end, weight))
    return g.node("Add", a, g.node("Mul", w, g.node("Sub", b, a)))


@emits("addcmul")
def _addcmul(g: Graph, x: Any, one: Any, two: Any, value: Any) -> str:
    a, b, c, v = (g.operand(t, g.dtype) for t in (x, one, two, value))
    return g.node("Add", a, g.node("Mul", v, g.node("Mul", b, c)))


@emits("addcdiv")
def _addcdiv(g: Graph, x: Any, one: Any, two: Any, value: Any) -> str:
    a, b, c, v = (g.operand(t, g.dtype) for t in (x, one, two, value))
    return g.node("Add", a, g.node("Div", g.node("Mul", v, b), c))


@emits("drop", "rrelu_with_noise")
def _times(g: Graph, x: Operand, noise: Operand) -> str:
    return g.node("Mul", x, g.as_type(noise, x.dtype))


# --- comparison, logic, choice --------------------------------------------------------------------------------------


@emits("ne")
def _ne(g: Graph, x: Any, y: Any) -> str:
    return g.node("Not", EMITTERS["eq"](g, x, y))


def _logical(kind: str) -> Any:
    return lambda g, x, y: g.node(kind, g.operand(x, np.bool_), g.operand(y, np.bool_))


def _bitwise(plain: str, wide: str) -> Any:
    def emit(g: Graph, x: Any, y: Any) -> str:
        a, b = g.operand(x, g.dtype), g.operand(y, g.dtype)
        if g.dtype != np.bool_ and g.opset < 18:
            raise g.unsupported(f"{wide} of integers before opset 18")
        return g.node(plain if g.dtype == np.bool_ else wide, a, b)

    return emit


for _word in ("And", "Or", "Xor"):
    EMITTERS["logical_" + _word.lower()] = _logical(_word)
    EMITTERS["bitwise_" + _word.lower()] = _bitwise(_word, "Bitwise" + _word)


@emits("logical_not")
def _not(g: Graph, x: Operand) -> str:
    return g.node("Not", g.as_type(x, np.bool_))


@emits("bitwise_not")
def _bitwise_not(g: Graph, x: Operand) -> str:
    if x.dtype != np.bool_ and g.opset < 18:
        raise g.unsupported("bitwise_not of integers before opset 18")
    return g.node("Not" if x.dtype == np.bool_ else "BitwiseNot", x)


@emits("where_op")
def _where(g: Graph, condition: Operand, x: Any, y: Any) -> str:
    return g.node("Where", g.as_type(condition, np.bool_), g.operand(x, g.dtype), g.operand(y, g.dtype))


@emits("masked_fill_op")
def _masked_fill(g: Graph, x: Operand, value: Any, mask: Operand) -> str:
    return g.node("Where", g.as_type(mask, np.bool_), g.operand(value, g.dtype), g.as_type(x, g.dtype))


@emits("clamp_number", "clamp_tensor")
def _clamp(g: Graph, x: Any, low: Any, high: Any) -> Any:
    a = g.operand(x, g.dtype)
    if low is not None:
        a = g.node("Max", a, g.operand(low, g.dtype))
    return a if high is None else g.node("Min", a, g.operand(high, g.dtype))


# --- activations ----------------------------------------------------------------------------------------------------


@emits("hardtanh")
def _hardtanh(g: Graph, x: Operand, low: Any, high: Any) -> str:
    return _clamp(g, x, low, high)


@emits("hardsigmoid")
def _hardsigmoid(g: Graph, x: Operand) -> str:
    f = Formula(g, x.dtype)
    return f("Div", f("Clip", f("Add", x, 3.0), 0.0, 6.0), 6.0)


@emits("hardswish")
def _hardswish(g: Graph, x: Operand) -> str:
    return g.node("Mul", x, _hardsigmoid(g, x))


@emits("hardshrink")
def _hardshrink(g: Graph, x: Operand, lambd: float) -> str:
    f = Formula(g, x.dtype)
    return f("Where", f("LessOrEqual", f("Abs", x), float(lambd)), 0.0, x)


@emits("softshrink")
def _softshrink(g: Graph, x: Operand, lambd: float) -> str:
    f = Formula(g, x.dtype)
    return f("Mul", f("Sign", x), f("Relu", f("Sub", f("Abs", x), float(lambd))))


@emits("threshold")
def _threshold(g: Graph, x: Operand, threshold: float, value: float) -> str:
    f = Formula(g, x.dtype)
    return f("Where", f("Greater", x, float(threshold)), x, float(value))


@emits("leaky_relu")
def _leaky_relu(g: Graph, x: Operand, slope: float) -> str:
    return g.node("LeakyRelu", x, alpha=float(slope))


@emits("prelu_kernel")
def _prelu(g: Graph, x: Operand, weight: Operand) -> str:
    f = Formula(g, x.dtype)
    return f("Where", f("Greater", x, 0.0), x, f("Mul", x, weight))


@emits("elu")
def _elu(g: Graph, x: Operand, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> str:
    f = Formula(g, x.dtype)
    low = f("Sub", f("Exp", f("Mul", f("Min", x, 0.0), float(input_scale))), 1.0)
    return f("Where", f("Greater", x, 0.0), f("Mul", x, float(scale)), f("Mul", low, float(alpha * scale)))


@emits("celu")
def _celu(g: Graph, x: Operand, alpha: float = 1.0) -> str:
    return _elu(g, x, alpha, 1.0, 1 / alpha)


@emits("gelu")
def _gelu(g: Graph, x: Operand, approximate: str = "none") -> str:
    f = Formula(g, x.dtype)
    if approximate == "tanh":
        cubic = f("Mul", f("Mul", x, f("Mul", x, x)), 0.044715)
        share = f("Tanh", f("Mul", f("Add", x, cubic), math.sqrt(2 / math.pi)))
    else:
        share = f("Erf", f("Mul", x, math.sqrt(0.5)))
    return f("Mul", f("Mul", x, 0.5), f("Add", share, 1.0))


@emits("silu")
def _silu(g: Graph, x: Operand) -> str:
    return g.node("Mul", x, g.node("Sigmoid", x))


@emits("softplus")
def _softplus(g: Graph, x: Operand, beta: float = 1.0, threshold: float = 20.0) -> str:
    f = Formula(g, x.dtype)
    scaled = f("Mul", x, float(beta))
    return f("Where", f("Greater", scaled, float(threshold)), x, f("Div", f("Softplus", scaled), float(beta)))


@emits("mish")
def _mish(g: Graph, x: Operand) -> str:
    return g.node("Mul", x, g.node("Tanh", g.node("Softplus", x)))


@emits("log_sigmoid")
def _log_sigmoid(g: Graph, x: Operand) -> str:
    return g.node("Neg", g.node("Softplus", g.node("Neg", x)))


@emits("glu")
def _glu(g: Graph, x: Operand, dim: int = -1) -> str:
    half = x.shape[dim] // 2 if x.shape[dim].__class__ is int else None
    if half is None or half < 0:
        raise g.unsupported("glu along a dimension whose size may vary")
    axis = dim % x.rank
    return g.node("Mul", g.slice(x, axis, 0, half), g.node("Sigmoid", g.slice(x, axis, half, None)))


@emits("softmax")
def _softmax(g: Graph, x: Operand, dim: int) -> str:
    return g.node("Softmax", x, axis=dim)


@emits("log_softmax")
def _log_softmax(g: Graph, x: Operand, dim: int) -> str:
    return g.node("LogSoftmax", x, axis=dim)
