"""Comparisons, logic, bits, and choices between values."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import need_values
from flambeau.errors import describe, need_tensor
from flambeau.ops.arithmetic import where_op
from flambeau.ops.core import offer, op
from flambeau.ops.dispatch import by_example

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "masked_fill",
    "ne",
    "not_equal",
    "signbit",
    "where",
]


def _comparison(name: str, words: str, no_complex: Any = False, numbers: Any = "other") -> Any:
    def body(k: Any, input, other):  # type: ignore[no-untyped-def]
        return getattr(k, name)(input, other)

    body.__annotations__ = {"input": "Tensor", "other": "Tensor"}
    body.__name__ = name
    body.__doc__ = f"Whether {words}, elementwise, as a bool tensor."
    return op(
        body, elementwise=True, differentiable=False, upcast=False, name=name, no_complex=no_complex, numbers=numbers
    )


eq = _comparison("eq", "input equals other")
ne = _comparison("ne", "input differs from other")
lt = _comparison("lt", "input is less than other", NotImplementedError)
le = _comparison("le", "input is at most other", NotImplementedError)
gt = _comparison("gt", "input is greater than other", NotImplementedError)
ge = _comparison("ge", "input is at least other", NotImplementedError)
logical_and = _comparison("logical_and", "both are nonzero", numbers=False)
logical_or = _comparison("logical_or", "one of both is nonzero", numbers=False)
logical_xor = _comparison("logical_xor", "exactly one of both is nonzero", numbers=False)
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def _test(name: str, words: str, no_complex: Any = False) -> Any:
    def body(k: Any, input):  # type: ignore[no-untyped-def]
        return getattr(k, name)(input)

    body.__annotations__ = {"input": "Tensor"}
    body.__name__ = name
    body.__doc__ = f"Whether each element is {words}, as a bool tensor."
    return op(body, elementwise=True, differentiable=False, upcast=False, name=name, no_complex=no_complex)


logical_not = _test("logical_not", "zero")
isnan = _test("isnan", "not a number")
isinf = _test("isinf", "infinite")
isfinite = _test("isfinite", "finite")
isposinf = _test("isposinf", "positive infinity", RuntimeError)
isneginf = _test("isneginf", "negative infinity", RuntimeError)
isreal = _test("isreal", "real")
signbit = _test("signbit", "negative (or -0)")


@op(elementwise=True, differentiable=False)
def bitwise_and(k, input: Tensor, other: Tensor):
    """The bits set in both; for bools logical and."""
    return k.bitwise_and(input, other)


@op(elementwise=True, differentiable=False)
def bitwise_or(k, input: Tensor, other: Tensor):
    """The bits set in either; for bools logical or."""
    return k.bitwise_or(input, other)


@op(elementwise=True, differentiable=False)
def bitwise_xor(k, input: Tensor, other: Tensor):
    """The bits set in one of both."""
    return k.bitwise_xor(input, other)


@op(elementwise=True, differentiable=False)
def bitwise_not(k, input: Tensor):
    """The bits turned; for bools logical not."""
    return k.bitwise_not(input)


@op(elementwise=True, differentiable=False)
def bitwise_left_shift(k, input: Tensor, other: Tensor):
    """The bits shifted up."""
    return k.bitwise_left_shift(input, other)


@op(elementwise=True, differentiable=False)
def bitwise_right_shift(k, input: Tensor, other: Tensor):
    """The bits shifted down, with the sign."""
    return k.bitwise_right_shift(input, other)


@op(elementwise=True, grad_name="ClampBackward0")
def clamp_tensor(k, input: Tensor, min: Tensor = None, max: Tensor = None):
    """`input` limited by tensors."""
    return k.clamp(input, min, max)


@clamp_tensor.derivative("input")
def _(k, g, input, min, max):
    return k.where(_inside(k, input, min, max), g, k.zeros_like(g))


@clamp_tensor.derivative("min")
def _(k, g, input, min, max):
    below = k.lt(input, min)
    if max is not None:
        below = k.logical_and(below, k.lt(min, max))
    return k.where(below, g, k.zeros_like(g))


@clamp_tensor.derivative("max")
def _(k, g, input, min, max):
    above = k.gt(input, max)
    if min is not None:
        above = k.logical_or(above, k.gt(min, max))
    return k.where(above, g, k.zeros_like(g))


def _inside(k: Any, input: Any, min: Any, max: Any) -> Any:
    if min is None:
        return k.le(input, max)
    if max is None:
        return k.ge(input, min)
    return k.logical_and(k.ge(input, min), k.le(input, max))


@op(elementwise=True, grad_name="ClampBackward1")
def clamp_number(k, input: Tensor, min=None, max=None):
    """`input` limited by numbers."""
    if input.dtype.kind in "biu" and (isinstance(min, float) or isinstance(max, float)):
        input = input.astype(np.float32)
    return k.clamp(input, min, max)


@clamp_number.derivative("input")
def _(k, g, input, min, max):
    return k.where(_inside(k, input, min, max), g, k.zeros_like(g))


def clamp(input: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """Limits each element to [`min`, `max`], numbers or tensors; where min exceeds max the result is max.

    >>> import flambeau as torch
    >>> torch.clamp(torch.tensor([-2.0, 0.5, 3.0]), -1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    need_tensor("clamp", input, "input")
    if min is None and max is None:
        raise RuntimeError("clamp(): min and max are both None; give at least one bound")
    tensor = NS["Tensor"]
    if isinstance(min, np.generic):
        min = min.item()
    if isinstance(max, np.generic):
        max = max.item()
    for bound in (min, max):
        if isinstance(bound, (str, bytes, list, tuple)):
            raise TypeError(f"clamp(): a bound must be a number or a Tensor, got {type(bound).__name__}")
    if isinstance(min, tensor) or isinstance(max, tensor):
        return clamp_tensor(input, min, max, out=out)
    return clamp_number(input, min, max, out=out)


def clamp_min(input: Any, min: Any, *, out: Any = None) -> Any:
    """Limits each element from below."""
    result = clamp(input, min=min, out=out)
    return show_as(result, f"ClampMinBackward{int(isinstance(min, NS['Tensor']))}")


def clamp_max(input: Any, max: Any, *, out: Any = None) -> Any:
    """Limits each element from above."""
    result = clamp(input, max=max, out=out)
    return show_as(result, f"ClampMaxBackward{int(isinstance(max, NS['Tensor']))}")


clip = clamp
offer("clamp", clamp)


def where(condition: Any, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """`input` where `condition` (bool), elsewhere `other`; with `condition` alone, where it is nonzero."""
    if input is None and other is None:
        from flambeau.ops.sorting import nonzero

        return nonzero(condition, as_tuple=True)
    tensor = NS["Tensor"]
    need_tensor("where", condition, "condition")
    if not isinstance(input, tensor) and not isinstance(other, tensor):
        from flambeau.ops.dispatch import wrap

        value: Any = input
        if isinstance(other, (float, complex)) and not isinstance(input, (float, complex)):
            value = type(other)(value)
        kind = (
            np.float32
            if isinstance(value, float)
            else np.int64
            if isinstance(value, int) and not isinstance(value, bool)
            else None
        )
        input = wrap(np.array(value, dtype=kind))
    return where_op(condition, input, other, out=out)


def where_method(self: Any, condition: Any, other: Any) -> Any:
    """The tensor where `condition`, elsewhere `other`."""
    return where(condition, self, other)


@op(elementwise=True, shown_as=lambda node: f"MaskedFillBackward{int(node.edges[1] is not None)}")
def masked_fill_op(k, input: Tensor, value: Tensor, mask: Index):
    """`input` with `value` where `mask`."""
    return k.where(mask, value, input)


@masked_fill_op.derivative("input")
def _(k, g, mask):
    return k.where(mask, k.zeros_like(g), g)


@masked_fill_op.derivative("value")
def _(k, g, mask, value_shape):
    return k.sum_to_shape(k.where(mask, g, k.zeros_like(g)), value_shape)


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """`input` with `value`, a number or zero-dim tensor, where the bool `mask` is true."""
    if mask._a.dtype != bool:
        raise RuntimeError(f"masked_fill(): the mask must be of bools, got {mask.dtype}; convert it with .bool()")
    if isinstance(value, NS["Tensor"]):
        if value._a.ndim:
            raise RuntimeError(
                f"masked_fill(): the value must be a number or a tensor without dimensions, got {value._a.ndim} of them"
            )
        if value._a.dtype.kind == "c" and input._a.dtype.kind != "c":
            raise RuntimeError(f"masked_fill(): a complex value does not fit into {input.dtype}")
    elif isinstance(value, float) and input._a.dtype.kind in "iu" and not math.isfinite(value):
        raise RuntimeError(f"masked_fill(): the value {value} does not fit into {input.dtype}")
    elif isinstance(value, complex) and input._a.dtype.kind != "c":
        raise RuntimeError(f"masked_fill(): the complex value {value} does not fit into {input.dtype}")
    elif isinstance(value, float) and input._a.dtype.kind == "f" and math.isfinite(value):
        if abs(value) > float(np.finfo(input._a.dtype).max):
            raise RuntimeError(f"masked_fill(): the value {value} does not fit into {input.dtype}")
    if input._a.dtype.kind in "iu" and isinstance(value, float):
        value = int(value)
    result = masked_fill_op(input, value, mask)
    if result._a.dtype != input._a.dtype:
        result = NS["OPS"].to_numpy_dtype(result, input._a.dtype)
    return result


@by_example
def isclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """Whether |input - other| <= atol + rtol * |other|, elementwise."""
    for name, value in (("input", input), ("other", other)):
        if not isinstance(value, NS["Tensor"]):
            raise TypeError(f"isclose(): '{name}' must be a Tensor, got {type(value).__name__}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose(): tolerances must not be negative, got rtol={rtol}, atol={atol}")
    if input._a.dtype != other._a.dtype:
        raise RuntimeError(f"isclose(): both tensors must have one dtype, got {input.dtype} and {other.dtype}")
    from flambeau.ops.dispatch import wrap

    try:
        np.broadcast_shapes(input._a.shape, other._a.shape)
    except ValueError:
        raise RuntimeError(f"isclose(): {describe(input)} and {describe(other)} do not broadcast together") from None
    return wrap(np.isclose(input._a, other._a, rtol=rtol, atol=atol, equal_nan=equal_nan))


def allclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._a.all())


def equal(input: Any, other: Any) -> bool:
    """Whether both have the same shape and elements."""
    need_tensor("equal", other, "other")
    need_values(input._a)
    return input._a.shape == other._a.shape and bool(np.array_equal(input._a, other._a))
