"""Matrix products."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.errors import describe
from flambeau.ops.core import composite, op
from flambeau.ops.dims import wrap_dim

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
            f"mat1 and mat2 shapes cannot be multiplied ({input.shape[0]}x{input.shape[1]} and {mat2.shape[0]}x{mat2.shape[1]})"
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
                f"mat1 and mat2 shapes cannot be multiplied ({input.shape[0]}x{input.shape[1]} and {other.shape[0]}x{other.shape[1]})"
            )
    elif a == 0 or b == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a}D and {b}D")
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
        raise RuntimeError(f"batch1 must be a 3D tensor, and so batch2: got {describe(input)} and {describe(mat2)}")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: {[input.shape[0], input.shape[2]]} but got: {list(mat2.shape[:2])}."
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
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{last} and {weight.shape[1]}x{weight.shape[0]})"
            )
        if bias is not None and bias.ndim and bias.shape[-1] not in (1, weight.shape[0]):
            raise RuntimeError(
                f"The expanded size of the tensor ({weight.shape[0]}) must match the existing size ({bias.shape[-1]}) of the bias"
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
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input.shape != tensor.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor {list(input.shape)} and src {list(tensor.shape)} to have the same number of elements"
        )
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
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, dims=([-1], [-1]), out=out)


def mv(input: Any, vec: Any, *, out: Any = None) -> Any:
    """A matrix times a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}D and {vec.ndim}D")
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat ({input.shape[0]}x{input.shape[1]}), vec ({vec.shape[0]})"
        )
    return matmul(input, vec, out=out)


def outer(input: Any, vec2: Any, *, out: Any = None) -> Any:
    """The outer product of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D argument self and vec2, but got {input.ndim}-D and {vec2.ndim}-D")
    return NS["OPS"].mul(input.unsqueeze(1), vec2, out=out)


ger = outer


def _blend(name: str, input: Any, product: Any, beta: Any, alpha: Any, out: Any) -> Any:
    ops = NS["OPS"]
    if alpha != 1:
        product = ops.mul(product, alpha)
    if beta == 0:
        return product if out is None else ops.add(product, 0, out=out)
    return show_as(ops.add(input if beta == 1 else ops.mul(input, beta), product, out=out), name)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * (mat1 @ mat2)`."""
    return _blend("AddmmBackward0", input, mm(mat1, mat2), beta, alpha, out)


def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * (mat @ vec)`."""
    return _blend("AddmvBackward0", input, mv(mat, vec), beta, alpha, out)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * outer(vec1, vec2)`."""
    return _blend("AddrBackward0", input, outer(vec1, vec2), beta, alpha, out)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * (batch1 @ batch2)`."""
    return _blend("BaddbmmBackward0", input, bmm(batch1, batch2), beta, alpha, out)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """`beta * input + alpha * sum(batch1 @ batch2)` over the batch."""
    return _blend("AddbmmBackward0", input, bmm(batch1, batch2).sum(0), beta, alpha, out)


def chain_matmul(*matrices: Any, out: Any = None) -> Any:
    """The product of several matrices in the order that costs least."""
    if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)):
        matrices = tuple(matrices[0])
    result = matrices[0]
    for m in matrices[1:]:
        result = mm(result, m)
    return result


def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Sums of products over `dims`: the last of `a` with the first of `b`, or two lists of dimensions."""
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    left = [wrap_dim(d, a.ndim) for d in left]
    right = [wrap_dim(d, b.ndim) for d in right]
    for x, y in zip(left, right, strict=True):
        if a.shape[x] != b.shape[y]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[x]} in dim {x} and second has size {b.shape[y]} in dim {y}"
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
    return mm(flat_a, flat_b, out=out).reshape((*rows, *columns))
