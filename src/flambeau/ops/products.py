"""Matrix products."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.dtypes import UPCAST
from flambeau.errors import describe, outdated
from flambeau.ops.core import composite, op
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import deliver
from flambeau.ops.older import factors_in_front

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "dot",
    "ger",
    "inner",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
]


@op(grad_name="MmBackward0")
def mm(k, input: Tensor, mat2: Tensor):
    """The product of two matrices."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(f"mm(): expected two matrices, got {describe(input)} and {describe(mat2)}")
    if input.shape[1] != mat2.shape[0]:
        raise RuntimeError(
            f"mm(): a {input.shape[0]}x{input.shape[1]} matrix can't be multiplied by a "
            f"{mat2.shape[0]}x{mat2.shape[1]} one: the first's columns must be as many as the second's rows"
        )
    return k.matmul(input, mat2)


@mm.derivative("input")
def _(k, g, mat2):
    return k.matmul(g, k.transpose(mat2, 0, 1))


@mm.derivative("mat2")
def _(k, g, input):
    return k.matmul(k.transpose(input, 0, 1), g)


def _matmul_name(node: Any) -> str:
    """PyTorch takes products of vectors, matrices and batches apart into different operations."""
    a, b = len(node.sh_input), len(node.sh_other)
    if a > 2 or (a == 1 and b > 2):
        return "UnsafeViewBackward0"
    if b > 2:
        return "CloneBackward0"
    return (("DotBackward0", "SqueezeBackward4"), ("MvBackward0", "MmBackward0"))[a - 1][b - 1]


@op(grad_name="MmBackward0", shown_as=_matmul_name)
def matmul(k, input: Tensor, other: Tensor):
    """The product of vectors, matrices or batches of matrices, batches broadcast, as NumPy's `@`.

    Operands must agree in dtype. RuntimeError where the inner lengths differ.

    >>> import flambeau as torch
    >>> torch.matmul(torch.ones(2, 3), torch.ones(3)).shape
    torch.Size([2])
    """
    a, b = input.ndim, other.ndim
    if a == 2 and b == 2:
        if input.shape[1] != other.shape[0]:
            raise RuntimeError(
                f"matmul(): a {input.shape[0]}x{input.shape[1]} matrix can't be multiplied by a "
                f"{other.shape[0]}x{other.shape[1]} one: the first's columns must be as many as the second's rows"
            )
    elif a == 0 or b == 0:
        raise RuntimeError(
            f"matmul(): operands of at least one dimension are needed, got {a} and {b}; multiply numbers with *"
        )
    elif input.shape[-1] != other.shape[-2 if b > 1 else 0]:
        raise RuntimeError(
            f"matmul(): the inner lengths of {describe(input)} and {describe(other)} differ; they can't be multiplied"
        )
    return k.matmul(input, other)


@matmul.derivative("input")
def _(k, g, other, input_shape, other_shape):
    return k.matmul_input_grad(g, other, input_shape, other_shape)


@matmul.derivative("other")
def _(k, g, input, input_shape, other_shape):
    return k.matmul_other_grad(g, input, input_shape, other_shape)


@composite
def matmul_input_grad(k, g, other, input_shape, other_shape):
    """The gradient of a product's first operand, for all its forms."""
    a, b = len(input_shape), len(other_shape)
    if a == 2 and b == 2:
        return k.matmul(g, k.transpose(other, 0, 1))
    if b == 1:
        if a == 1:
            return k.mul(g, other)
        return k.mul(k.unsqueeze(g, len(g.shape)), other)
    if a == 1:  # (k) @ (..., k, n) = (..., n)
        return k.sum_to_shape(k.matmul(other, k.unsqueeze(g, len(g.shape)))[..., 0], input_shape)
    return k.sum_to_shape(k.matmul(g, k.transpose(other, -2, -1)), input_shape)


@composite
def matmul_other_grad(k, g, input, input_shape, other_shape):
    """The gradient of a product's second operand, for all its forms."""
    a, b = len(input_shape), len(other_shape)
    if a == 2 and b == 2:
        return k.matmul(k.transpose(input, 0, 1), g)
    if b <= 2 and a > 1:
        # all rows of the batch in one product
        rows = 1
        for n in input_shape[:-1]:
            rows *= n
        flat = k.transpose(k.reshape(input, (rows, input_shape[-1])), 0, 1)
        return k.matmul(flat, k.reshape(g, (rows, *other_shape[1:])))
    if a == 1 and b == 1:
        return k.mul(g, input)
    if a == 1:
        outer = k.mul(k.unsqueeze(input, 1), k.unsqueeze(g, len(g.shape) - 1))
        return k.sum_to_shape(outer, other_shape)
    return k.sum_to_shape(k.matmul(k.transpose(input, -2, -1), g), other_shape)


@op(grad_name="BmmBackward0")
def bmm(k, input: Tensor, mat2: Tensor):
    """The products of two batches of matrices, without broadcasting."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError(
            f"bmm(): two tensors of three dimensions are needed, got {describe(input)} and {describe(mat2)}"
        )
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            f"bmm(): with {describe(input)} the second operand must begin with {[input.shape[0], input.shape[2]]}, "
            f"got {describe(mat2)}"
        )
    return k.matmul(input, mat2)


@bmm.derivative("input")
def _(k, g, mat2):
    return k.matmul(g, k.transpose(mat2, 1, 2))


@bmm.derivative("mat2")
def _(k, g, input):
    return k.matmul(k.transpose(input, 1, 2), g)


def _linear_name(node: Any) -> str:
    """PyTorch multiplies matrices and gives other shapes back by a view."""
    biased, ndim = node.edges[2] is not None, len(node.sh_input)
    if ndim == 2:
        return "AddmmBackward0" if biased else "MmBackward0"
    return "ViewBackward0" if biased else "SqueezeBackward4" if ndim == 1 else "UnsafeViewBackward0"


@op(grad_name="AddmmBackward0", shown_as=_linear_name)
def linear(k, input: Tensor, weight: Tensor, bias: Tensor = None):
    """`input @ weight.T + bias`: input (..., in), weight (out, in) or (in), bias (out).

    Operands must agree in dtype. RuntimeError where lengths differ.
    """
    if weight.ndim == 2:
        if not input.ndim or input.shape[-1] != weight.shape[1]:
            rows = input.size // max(input.shape[-1], 1) if input.ndim else 1
            last = input.shape[-1] if input.ndim else 1
            raise RuntimeError(
                f"linear(): {rows} rows of {last} features came, but the weight ({weight.shape[0]}x{weight.shape[1]}) "
                f"takes {weight.shape[1]} features; the input is {describe(input)}"
            )
        if bias is not None and bias.ndim and bias.shape[-1] not in (1, weight.shape[0]):
            raise RuntimeError(
                f"linear(): the bias must have {weight.shape[0]} elements, one per row of the weight, got "
                f"{bias.shape[-1]}"
            )
    elif weight.ndim != 1:
        raise RuntimeError(f"linear(): weight must be of 1 or 2 dimensions, got {describe(weight)}")
    return k.linear(input, weight, bias)


@linear.derivative("input")
def _(k, g, weight, input_shape):
    return k.matmul(g, weight) if len(weight.shape) == 2 else k.mul(k.unsqueeze(g, len(g.shape)), weight)


@linear.derivative("weight")
def _(k, g, input, weight_shape):
    return (
        k.linear_weight(g, input)
        if len(weight_shape) == 2
        else k.matmul_other_grad(g, input, input.shape, weight_shape)
    )


@linear.derivative("bias")
def _(k, g, bias_shape):
    return k.sum_to_shape(g, bias_shape)


@composite
def linear_weight(k, g, a):
    """The gradient of `linear`'s weight."""
    flat = k.reshape(a, (-1, a.shape[-1]))
    return k.matmul(k.transpose(k.reshape(g, (-1, g.shape[-1])), 0, 1), flat)


def dot(input: Any, tensor: Any, *, out: Any = None) -> Any:
    """The product of two vectors of one length."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"dot(): two vectors are needed, got tensors of {input.ndim} and {tensor.ndim} dimensions")
    if input.shape != tensor.shape:
        raise RuntimeError(f"dot(): the vectors differ in length: {input.shape[0]} and {tensor.shape[0]}")
    return matmul(input, tensor, out=out)


def vdot(input: Any, other: Any, *, out: Any = None) -> Any:
    """The product of two vectors, the first conjugated."""
    product = dot(NS["OPS"].conj_physical(input) if input.is_complex() else input, other, out=out)
    return show_as(product, "VdotBackward0")


def inner(input: Any, other: Any, *, out: Any = None) -> Any:
    """Sums of products over the last dimensions of both."""
    if input.ndim == 0 or other.ndim == 0:
        return NS["OPS"].mul(input, other, out=out)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner(): the last dimensions must agree, got {describe(input)} and {describe(other)}")
    return deliver("inner", out, tensordot(input, other, dims=([-1], [-1])))


def mv(input: Any, vec: Any, *, out: Any = None) -> Any:
    """A matrix times a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(
            f"mv(): a matrix and a vector are needed, got tensors of {input.ndim} and {vec.ndim} dimensions"
        )
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"mv(): a {input.shape[0]}x{input.shape[1]} matrix needs a vector of {input.shape[1]} elements, got "
            f"{vec.shape[0]}"
        )
    return matmul(input, vec, out=out)


def outer(input: Any, vec2: Any, *, out: Any = None) -> Any:
    """The outer product of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer(): two vectors are needed, got tensors of {input.ndim} and {vec2.ndim} dimensions")
    return NS["OPS"].mul(input.unsqueeze(1), vec2, out=out)


ger = outer


def _blend(name: str, multiply: Any, input: Any, one: Any, two: Any, beta: Any, alpha: Any, out: Any) -> Any:
    ops = NS["OPS"]
    operands = (input, one, two)
    if all(isinstance(t, NS["Tensor"]) and t._a.dtype in UPCAST for t in operands) and input.dtype is one.dtype:
        floats = (input.float(), one.float(), two.float())
        wide = _blend(name, multiply, *floats, beta, alpha, None)  # rounded once, at the end
        return show_as(wide.to(input.dtype) if out is None else ops.add(wide.to(input.dtype), 0, out=out), name)
    product = multiply(one, two)
    if input._a.dtype.kind in "iu":
        alpha, beta = int(alpha), int(beta)
    if alpha != 1:
        product = ops.mul(product, alpha)
    if beta == 0:
        return product if out is None else ops.add(product, 0, out=out)
    return show_as(ops.add(input if beta == 1 else ops.mul(input, beta), product, out=out), name)


@factors_in_front
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * (mat1 @ mat2)`."""
    return _blend("AddmmBackward0", mm, input, mat1, mat2, beta, alpha, out)


@factors_in_front
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * (mat @ vec)`."""
    return _blend("AddmvBackward0", mv, input, mat, vec, beta, alpha, out)


@factors_in_front
def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * outer(vec1, vec2)`; of bools, `beta and input or alpha and outer`."""
    if input._a.dtype == vec1._a.dtype == vec2._a.dtype == bool:
        ops = NS["OPS"]
        both = ops.logical_and(ops.logical_and(vec1.unsqueeze(1), vec2), NS["WRAP"](np.array(bool(alpha))))
        kept = ops.logical_and(input, NS["WRAP"](np.array(bool(beta))))
        return deliver("addr", out, ops.logical_or(kept, both))
    if alpha != 1 and vec1._a.dtype.kind in "fc":  # this product first, as tiny numbers show
        vec1, alpha = NS["OPS"].mul(vec1, alpha), 1
    return _blend("AddrBackward0", outer, input, vec1, vec2, beta, alpha, out)


@factors_in_front
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * (batch1 @ batch2)`."""
    return _blend("BaddbmmBackward0", bmm, input, batch1, batch2, beta, alpha, out)


def _summed_bmm(batch1: Any, batch2: Any) -> Any:
    return bmm(batch1, batch2).sum(0, dtype=batch1.dtype)


@factors_in_front
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * sum(batch1 @ batch2)` over the batch."""
    return _blend("AddbmmBackward0", _summed_bmm, input, batch1, batch2, beta, alpha, out)


def chain_matmul(*matrices: Any, out: Any = None) -> Any:
    """The product of several matrices in the order that costs least."""
    outdated("torch.chain_matmul", "torch.linalg.multi_dot")
    if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)):
        matrices = tuple(matrices[0])
    result = matrices[0]
    for m in matrices[1:]:
        result = mm(result, m)
    return deliver("chain_matmul", out, result)


def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Sums of products over `dims`: the last of `a` with the first of `b`, or two lists of dimensions."""
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot(): dims must not be negative, got {dims}")
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    left = [wrap_dim(d, a.ndim) for d in left]
    right = [wrap_dim(d, b.ndim) for d in right]
    for x, y in zip(left, right, strict=True):
        if a.shape[x] == 1 or b.shape[y] == 1:  # a dimension of length 1 broadcasts: the other is summed
            a = a if a.shape[x] == 1 else a.sum(x, keepdim=True, dtype=a.dtype)
            b = b if b.shape[y] == 1 else b.sum(y, keepdim=True, dtype=b.dtype)
        elif a.shape[x] != b.shape[y]:
            raise RuntimeError(
                f"tensordot(): dimension {x} of the first has length {a.shape[x]}, dimension {y} of the second "
                f"{b.shape[y]}: summed dimensions must agree"
            )
    free_a = [d for d in range(a.ndim) if d not in left]
    free_b = [d for d in range(b.ndim) if d not in right]
    inner_size = 1
    for d in left:
        inner_size *= a.shape[d]
    rows, columns = [a.shape[d] for d in free_a], [b.shape[d] for d in free_b]
    n_rows = 1
    for n in rows:
        n_rows *= n
    n_columns = 1
    for n in columns:
        n_columns *= n
    flat_a = a.permute(free_a + left).reshape((n_rows, inner_size))
    flat_b = b.permute(right + free_b).reshape((inner_size, n_columns))
    return deliver("tensordot", out, mm(flat_a, flat_b).reshape((*rows, *columns)))
