"""Functions of several tensors, element by element, with broadcasting."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.errors import need_tensor
from flambeau.ops.core import op
from flambeau.ops.older import nothing_times_nan, number_in_front, value_in_front

__all__ = [
    "addcdiv",
    "addcmul",
    "arctan2",
    "atan2",
    "copysign",
    "divide",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "hypot",
    "lerp",
    "logaddexp",
    "logaddexp2",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "remainder",
    "rsub",
    "subtract",
    "true_divide",
    "xlogy",
]


@op(elementwise=True)
def add(k, input: Tensor, other: Tensor):
    """`input + other`."""
    return k.add(input, other)


@add.derivative("input")
def _(k, g):
    return g


@add.derivative("other")
def _(k, g):
    return g


@op(elementwise=True, no_bool=True)
def sub(k, input: Tensor, other: Tensor):
    """`input - other`. Not for bool tensors."""
    return k.sub(input, other)


@sub.derivative("input")
def _(k, g):
    return g


@sub.derivative("other")
def _(k, g):
    return k.neg(g)


@op(elementwise=True, no_bool=True, shown_as=lambda node: f"RsubBackward{int(node.edges[1] is None)}")
def rsub(k, input: Tensor, other: Tensor):
    """`other - input`."""
    return k.sub(other, input)


@rsub.derivative("input")
def _(k, g):
    return k.neg(g)


@rsub.derivative("other")
def _(k, g):
    return g


def scaled_add(input: Any, other: Any, *older: Any, alpha: Any = 1, out: Any = None) -> Any:
    """`input + alpha * other`, elementwise with broadcasting and type promotion.

    >>> import flambeau as torch
    >>> torch.add(torch.tensor([1, 2]), 10, alpha=2)
    tensor([21, 22])
    """
    if older:
        other, alpha = number_in_front("add", other, older), other
    if alpha.__class__ is int and alpha == 1:
        return add(input, other, out=out)
    return add(input, _scaled(input, other, alpha, "add"), out=out)


def scaled_sub(input: Any, other: Any, *older: Any, alpha: Any = 1, out: Any = None) -> Any:
    """`input - alpha * other`, elementwise with broadcasting and type promotion."""
    if older:
        other, alpha = number_in_front("sub", other, older), other
    if alpha.__class__ is int and alpha == 1:
        return sub(input, other, out=out)
    return sub(input, _scaled(input, other, alpha, "sub"), out=out)


def scaled_rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """`other - alpha * input`, elementwise with broadcasting and type promotion."""
    need_tensor("rsub", input)
    return rsub(input, other) if alpha == 1 else rsub(_scaled(other, input, alpha, "rsub"), other)


def _scaled(input: Any, other: Any, alpha: Any, name: str) -> Any:
    floating = [dtypes.of_numpy(t._a.dtype).kind in "fc" for t in (input, other) if isinstance(t, NS["Tensor"])]
    if isinstance(alpha, float) and not any(floating) and not isinstance(other, (float, complex)):
        raise RuntimeError(f"{name}(): a fractional alpha can't scale integers; pass an int, or convert with .float()")
    if not isinstance(other, NS["Tensor"]):
        return other * alpha
    if other._a.dtype == bool and isinstance(input, NS["Tensor"]) and input._a.dtype == bool:
        return mul(other, bool(alpha))
    wide = other._a.ndim and isinstance(input, NS["Tensor"]) and input._a.ndim and input._a.dtype is not other._a.dtype
    return mul(other.to(dtypes.promote_types(input.dtype, other.dtype)) if wide else other, alpha)


@op(elementwise=True)
def mul(k, input: Tensor, other: Tensor):
    """`input * other`."""
    return k.mul(input, other)


@mul.derivative("input")
def _(k, g, other):
    return k.mul(g, other)


@mul.derivative("other")
def _(k, g, input):
    return k.mul(g, input)


@op(elementwise="float", grad_name="DivBackward0")
def div(k, input: Tensor, other: Tensor):
    """`input / other`."""
    return k.div(input, other)


@div.derivative("input")
def _(k, g, other):
    return k.div(g, other)


@div.derivative("other")
def _(k, g, input, other):
    return k.mul(k.neg(g), k.div(k.div(input, other), other))


def divide(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """`input / other`; `rounding_mode='trunc'` rounds towards 0 and `'floor'` down, and keep integers integers."""
    if rounding_mode is None:
        return div(input, other, out=out)
    if rounding_mode == "floor":
        return floor_divide(input, other, out=out)
    if rounding_mode == "trunc":
        return trunc_divide(input, other, out=out)
    raise RuntimeError(f"div(): rounding_mode must be None, 'trunc' or 'floor', got '{rounding_mode}'")


@op(elementwise=True, grad_name="DivBackward2")
def floor_divide(k, input: Tensor, other: Tensor):
    """The quotient rounded down; ZeroDivisionError's RuntimeError for integers by zero."""
    return k.floor_divide(input, other)


@floor_divide.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@floor_divide.derivative("other")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise=True, grad_name="DivBackward2")
def trunc_divide(k, input: Tensor, other: Tensor):
    """The quotient rounded towards 0."""
    return k.trunc_divide(input, other)


@trunc_divide.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@trunc_divide.derivative("other")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise=True, shown_as=lambda node: f"RemainderBackward{int(node.edges[1] is not None)}")
def remainder(k, input: Tensor, other: Tensor):
    """The remainder with the sign of `other`, as Python's `%`."""
    return k.remainder(input, other)


@remainder.derivative("input")
def _(k, g):
    return g


@remainder.derivative("other")
def _(k, g, input, other):
    return k.neg(k.mul(g, k.floor_divide(input, other)))


@op(elementwise=True, numbers="other", shown_as=lambda node: f"FmodBackward{int(node.edges[1] is not None)}")
def fmod(k, input: Tensor, other: Tensor):
    """The remainder with the sign of `input`, as C's fmod."""
    return k.fmod_checked(input, other)


@fmod.derivative("input")
def _(k, g):
    return g


@fmod.derivative("other")
def _(k, g, input, other):
    return k.neg(k.mul(g, k.trunc_divide(input, other)))


@op(elementwise="float", numbers=False)
def atan2(k, input: Tensor, other: Tensor):
    """The angle of the point (other, input)."""
    return k.atan2(input, other)


def _inverse_square(k, input, other):
    """1 / (input^2 + other^2), and 0 at the origin."""
    square = k.add(k.mul(input, input), k.mul(other, other))
    zero = k.eq(square, 0)
    return k.where(zero, k.zeros_like(square), k.reciprocal(k.where(zero, k.ones_like(square), square)))


@atan2.derivative("input")
def _(k, g, input, other):
    return k.mul(k.mul(g, other), _inverse_square(k, input, other))


@atan2.derivative("other")
def _(k, g, input, other):
    return k.neg(k.mul(k.mul(g, input), _inverse_square(k, input, other)))


def _winner(k, g, mine, theirs, wins):
    """The gradient of the larger (or smaller) operand; a tie is shared."""
    half = k.where(k.eq(mine, theirs), k.div(g, 2), g)
    return k.where(wins(mine, theirs), k.zeros_like(half), half)


@op(elementwise=True, no_complex=RuntimeError, numbers=False)
def maximum(k, input: Tensor, other: Tensor):
    """The larger of each pair; NaN wins."""
    return k.maximum(input, other)


@maximum.derivative("input")
def _(k, g, input, other):
    return _winner(k, g, input, other, k.lt)


@maximum.derivative("other")
def _(k, g, input, other):
    return _winner(k, g, other, input, k.lt)


@op(elementwise=True, no_complex=RuntimeError, numbers=False)
def minimum(k, input: Tensor, other: Tensor):
    """The smaller of each pair; NaN wins."""
    return k.minimum(input, other)


@minimum.derivative("input")
def _(k, g, input, other):
    return _winner(k, g, input, other, k.gt)


@minimum.derivative("other")
def _(k, g, input, other):
    return _winner(k, g, other, input, k.gt)


@op(elementwise=True, no_complex=RuntimeError, numbers=False)
def fmax(k, input: Tensor, other: Tensor):
    """The larger of each pair; a number wins over NaN."""
    return k.fmax(input, other)


@fmax.derivative("input")
def _(k, g, input, other):
    mine = k.logical_or(k.ge(input, other), k.isnan(other))
    return k.where(mine, g, k.zeros_like(g))


@fmax.derivative("other")
def _(k, g, input, other):
    mine = k.logical_or(k.ge(input, other), k.isnan(other))
    return k.where(mine, k.zeros_like(g), g)


@op(elementwise=True, no_complex=RuntimeError, numbers=False)
def fmin(k, input: Tensor, other: Tensor):
    """The smaller of each pair; a number wins over NaN."""
    return k.fmin(input, other)


@fmin.derivative("input")
def _(k, g, input, other):
    mine = k.logical_or(k.le(input, other), k.isnan(other))
    return k.where(mine, g, k.zeros_like(g))


@fmin.derivative("other")
def _(k, g, input, other):
    mine = k.logical_or(k.le(input, other), k.isnan(other))
    return k.where(mine, k.zeros_like(g), g)


@op(elementwise=True)
def where_op(k, condition: Index, input: Tensor, other: Tensor):
    """`input` where `condition`, elsewhere `other`."""
    if condition.dtype.kind not in "bu":
        raise RuntimeError(
            f"where(): the condition must be of bools, got {condition.dtype}; compare, or convert it with .bool()"
        )
    return k.where(k.ne(condition, 0) if condition.dtype.kind == "u" else condition, input, other)


@where_op.derivative("input")
def _(k, g, condition):
    return k.where(condition, g, k.zeros_like(g))


@where_op.derivative("other")
def _(k, g, condition):
    return k.where(condition, k.zeros_like(g), g)


@op(elementwise="float", numbers=False)
def hypot(k, input: Tensor, other: Tensor):
    """The length of the hypotenuse over each pair of legs."""
    return k.hypot(input, other)


@hypot.derivative("input")
def _(k, g, input, out):
    return k.div(k.mul(g, input), out)


@hypot.derivative("other")
def _(k, g, other, out):
    return k.div(k.mul(g, other), out)


@op(elementwise="float", numbers="other")
def copysign(k, input: Tensor, other: Tensor):
    """The magnitude of `input` with the sign of `other`."""
    return k.copysign(input, other)


@copysign.derivative("input")
def _(k, g, input, out):
    ratio = k.div(out, input)
    return k.mul(g, k.where(k.eq(input, 0), k.zeros_like(ratio), ratio))


@copysign.derivative("other")
def _(k, g):
    return k.zeros_like(g)


@op(elementwise="float", numbers=False)
def logaddexp(k, input: Tensor, other: Tensor):
    """log(exp(input) + exp(other)) without overflow."""
    return k.logaddexp(input, other)


@logaddexp.derivative("input")
def _(k, g, input, other):
    return k.div(g, k.add(k.exp(k.sub(other, input)), 1))


@logaddexp.derivative("other")
def _(k, g, input, other):
    return k.div(g, k.add(k.exp(k.sub(input, other)), 1))


@op(elementwise="float", numbers=False)
def logaddexp2(k, input: Tensor, other: Tensor):
    """log2(2**input + 2**other) without overflow."""
    return k.logaddexp2(input, other)


@logaddexp2.derivative("input")
def _(k, g, input, other):
    return k.div(g, k.add(k.exp2(k.sub(other, input)), 1))


@logaddexp2.derivative("other")
def _(k, g, input, other):
    return k.div(g, k.add(k.exp2(k.sub(input, other)), 1))


@op(elementwise=True, shown_as=lambda node: f"LerpBackward{int(node.edges[2] is not None)}")
def lerp(k, input: Tensor, end: Tensor, weight: Tensor):
    """`input + weight * (end - input)`; exact at both ends."""
    low = k.add(input, k.mul(weight, k.sub(end, input)))
    high = k.sub(end, k.mul(k.sub(end, input), k.sub(1, weight)))
    return k.where(k.lt(k.abs(weight), 0.5), low, high)


@lerp.derivative("input")
def _(k, g, weight):
    return k.mul(g, k.sub(1, weight))


@lerp.derivative("end")
def _(k, g, weight):
    return k.mul(g, weight)


@lerp.derivative("weight")
def _(k, g, input, end):
    return k.mul(g, k.sub(end, input))


@op(elementwise=True)
def addcmul(k, input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value=1):
    """`input + value * tensor1 * tensor2`."""
    product = k.mul(tensor1, tensor2)
    if value != 1:
        product = k.mul(product, int(value) if product.dtype.kind in "biu" else value)
    return k.add(input, product)


@addcmul.derivative("input")
def _(k, g):
    return g


@addcmul.derivative("tensor1")
def _(k, g, tensor2, value):
    return k.mul(g, k.mul(tensor2, value))


@addcmul.derivative("tensor2")
def _(k, g, tensor1, value):
    return k.mul(g, k.mul(tensor1, value))


@op(elementwise=True)
def addcdiv(k, input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value=1):
    """`input + value * tensor1 / tensor2`, for floating-point tensors."""
    if tensor2.dtype.kind in "biu" and tensor1.dtype.kind in "biu":
        raise RuntimeError(
            "addcdiv(): integers are not divided here; convert with .float(), or use torch.div with a rounding_mode "
            "and add"
        )
    return k.add(input, k.mul(k.div(tensor1, tensor2), value))


@addcdiv.derivative("input")
def _(k, g):
    return g


@addcdiv.derivative("tensor1")
def _(k, g, tensor2, value):
    return k.mul(g, k.div(value, tensor2))


@addcdiv.derivative("tensor2")
def _(k, g, tensor1, tensor2, value):
    return k.neg(k.mul(g, k.div(k.mul(tensor1, value), k.mul(tensor2, tensor2))))


@op(elementwise="float")
def xlogy(k, input: Tensor, other: Tensor):
    """`input * log(other)`, 0 where input is 0 (and other is not NaN)."""
    return k.xlogy(input, other)


@xlogy.derivative("input")
def _(k, g, input, other):
    masked = k.logical_and(k.eq(input, 0), k.le(other, 0))
    slope = k.mul(g, k.log(other))
    return k.where(masked, k.zeros_like(slope), slope)


@xlogy.derivative("other")
def _(k, g, input, other):
    return k.div(k.mul(g, input), other)


for _function, _name in ((scaled_add, "add"), (scaled_sub, "sub"), (divide, "div"), (scaled_rsub, "rsub")):
    _function.__name__ = _name  # what messages and `help` call it

addcmul, addcdiv = value_in_front(addcmul), value_in_front(addcdiv)
xlogy = nothing_times_nan(xlogy)
true_divide = div
multiply = mul
subtract = scaled_sub
arctan2 = atan2
