"""Activation functions made of straight and curved pieces: hard gates and shrinkage."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.errors import describe
from flambeau.ops.actbase import floating, write_into
from flambeau.ops.core import composite, op
from flambeau.ops.elementwise import abs, tanh


@op(name="hardsigmoid", elementwise=True)
def hardsigmoid_op(k, input: Tensor):
    """`clip(x + 3, 0, 6) / 6`."""
    floating("hardsigmoid", input)
    return k.hard_gate(input, False)


@hardsigmoid_op.derivative("input")
def _(k, g, input):
    return k.hard_gate_backward(g, input, False)


@op(name="hardswish", elementwise=True)
def hardswish_op(k, input: Tensor):
    """`x * clip(x + 3, 0, 6) / 6`."""
    floating("hardswish", input)
    return k.hard_gate(input, True)


@hardswish_op.derivative("input")
def _(k, g, input):
    return k.hard_gate_backward(g, input, True)


@composite
def hard_gate(k, a, times_input):
    """`clip(a + 3, 0, 6) / 6`, times `a` if asked."""
    gate = k.div(k.clamp(k.add(a, 3), 0, 6), 6)
    return k.mul(a, gate) if times_input else gate


@composite
def hard_gate_backward(k, g, a, times_input):
    """The gradient of `hard_gate`."""
    zero = k.zeros_like(g)
    if times_input:
        return k.where(k.le(a, -3), zero, k.where(k.ge(a, 3), g, k.mul(g, k.add(k.div(a, 3), 0.5))))
    return k.where(k.logical_and(k.gt(a, -3), k.lt(a, 3)), k.div(g, 6), zero)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """`clip(x + 3, 0, 6) / 6` of each element."""
    return write_into(hardsigmoid_op, input) if inplace else hardsigmoid_op(input)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """`x * clip(x + 3, 0, 6) / 6` of each element. Howard et al. 2019, arXiv:1905.02244."""
    return write_into(hardswish_op, input) if inplace else hardswish_op(input)


@op(elementwise=True)
def hardshrink(k, input: Tensor, lambd=0.5):
    """Elements outside `[-lambd, lambd]` as they are, 0 for the others."""
    floating("hardshrink", input)
    return k.where(k.le(k.abs(input), lambd), k.zeros_like(input), input)


@hardshrink.derivative("input")
def _(k, g, input, lambd):
    return k.where(k.gt(k.abs(input), lambd), g, k.zeros_like(g))


@op(elementwise=True)
def softshrink(k, input: Tensor, lambd=0.5):
    """Elements moved towards 0 by `lambd`, 0 for those that would cross it. RuntimeError if `lambd` is negative."""
    floating("softshrink", input)
    if not lambd >= 0:
        raise RuntimeError(f"softshrink(): lambd must not be negative, got {lambd}")
    return k.sub(input, k.clamp(input, -lambd, lambd))


@softshrink.derivative("input")
def _(k, g, input, lambd):
    return k.where(k.gt(k.abs(input), lambd), g, k.zeros_like(g))


def tanhshrink(input: Any) -> Any:
    """`x - tanh(x)` of each element. Not for bool tensors."""
    if input._a.dtype.kind == "b":
        raise RuntimeError(f"tanhshrink(): bool tensors can't be subtracted from, got {describe(input)}")
    return NS["OPS"].sub(input, tanh(input))


def softsign(input: Any) -> Any:
    """`x / (1 + |x|)` of each element."""
    ops = NS["OPS"]
    return ops.div(input, ops.add(abs(input), 1))
