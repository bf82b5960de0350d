"""Powers: of tensors and numbers, to the power of tensors and numbers."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.ops.core import offer, op

__all__ = ["float_power", "pow"]


@op(elementwise=True, grad_name="PowBackward0")
def pow_scalar(k, input: Tensor, exponent):
    """`input` to the power of a Python number."""
    return k.pow_scalar(input, exponent)


@pow_scalar.derivative("input")
def _(k, g, input, exponent):
    if exponent == 0:
        return k.zeros_like(g)
    if exponent == 1:
        return g
    if exponent == 2:
        return k.mul(g, k.mul(input, 2))
    return k.mul(g, k.mul(k.pow_scalar(input, exponent - 1), exponent))


@op(elementwise=True, grad_name="PowBackward1")
def pow_tensor(k, input: Tensor, exponent: Tensor):
    """`input` to the power of `exponent`, both tensors or a number to a tensor."""
    if exponent.dtype.kind == "i" and input.dtype.kind == "i":
        return k.integer_pow(input, exponent)
    return k.pow(input, exponent)


@pow_tensor.derivative("input")
def _(k, g, input, exponent):
    slope = k.mul(g, k.mul(exponent, k.pow_tensor(input, k.sub(exponent, 1))))
    return k.where(k.eq(exponent, 0), k.zeros_like(slope), slope)


@pow_tensor.derivative("exponent")
def _(k, g, input, exponent, out):
    slope = k.mul(g, k.mul(out, k.log(input)))
    flat = k.eq(exponent, 0) if k.is_complex(exponent) else k.ge(exponent, 0)
    return k.where(k.logical_and(k.eq(input, 0), flat), k.zeros_like(slope), slope)


@op(elementwise=True, grad_name="PowBackward2")
def pow_base(k, exponent: Tensor, base):
    """A Python number to the power of `exponent`."""
    return k.pow(exponent.dtype.type(base), exponent)


@pow_base.derivative("exponent")
def _(k, g, exponent, out, base):
    slope = k.mul(out, math.log(base) if base > 0 else -math.inf if base == 0 else math.nan)
    if base == 0:
        slope = k.where(k.ge(exponent, 0), k.zeros_like(slope), slope)
    return k.mul(g, slope)


def pow(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """`input` to the power `exponent`; either may be a number.

    Integers to a negative integer power are refused with a RuntimeError.
    """
    if exponent is True and isinstance(input, NS["Tensor"]) and input._a.dtype == bool:
        return NS["OPS"].clone_op(input)
    if exponent.__class__ in (int, float) and isinstance(input, NS["Tensor"]):
        kind = input._a.dtype.kind
        if kind in "fcV":
            return pow_scalar(input, exponent, out=out)
        if exponent.__class__ is int and kind != "b":
            if exponent < 0:
                raise RuntimeError(
                    "pow(): integers have no negative integer powers within the integers; convert the base with "
                    ".float()"
                )
            return pow_scalar(input, exponent, out=out)
    if input.__class__ in (int, float) and isinstance(exponent, NS["Tensor"]) and exponent._a.dtype.kind in "fV":
        return pow_base(exponent, input, out=out)
    result = pow_tensor(input, exponent, out=out)
    return result if isinstance(input, NS["Tensor"]) else show_as(result, "PowBackward2")


offer("pow", pow)


def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """`pow` computed in float64 (complex128 for complex operands)."""
    tensor = NS["Tensor"]
    complex_ = any(
        isinstance(x, complex) or (isinstance(x, tensor) and x._a.dtype.kind == "c") for x in (input, exponent)
    )
    to = dtypes.complex128 if complex_ else dtypes.float64
    values = [x.to(to) if isinstance(x, tensor) else x for x in (input, exponent)]
    return pow(*values, out=out)
