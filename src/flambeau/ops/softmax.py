"""Softmax and its kin.

`softmax` and `log_softmax` are `torch.softmax` and `Tensor.softmax`; the forms of `nn.functional`, where `dim` may be
left out, are `functional_softmax` and so on.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import warnings
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.dtypes import dtype as dtype_class
from flambeau.errors import describe
from flambeau.ops.core import composite, op
from flambeau.ops.dims import kept_shape, reduce_dims, wrap_dim


def _floating(name: str, a: Any) -> None:
    if a.dtype.kind == "c" or (a.dtype.kind != "f" and a.size):
        raise NotImplementedError(
            f"{name}(): expected a floating-point tensor, got {describe(a)}; pass dtype=torch.float32 to convert it"
        )


@op(name="softmax")
def softmax_op(k, input: Tensor, dim):
    """`exp(x)` over its sum along `dim`."""
    _floating("softmax", input)
    return k.softmax(input, wrap_dim(dim, input.ndim))


@softmax_op.derivative("input")
def _(k, g, out, dim):
    return k.softmax_backward(g, out, dim)


@composite
def softmax_backward(k, g, out, dim):
    """The gradient of softmax, from its result."""
    return k.mul(out, k.sub(g, k.sum(k.mul(g, out), dim, True)))


@op(name="log_softmax")
def log_softmax_op(k, input: Tensor, dim):
    """`x - log(sum(exp(x)))` along `dim`."""
    _floating("log_softmax", input)
    return k.log_softmax(input, wrap_dim(dim, input.ndim))


@log_softmax_op.derivative("input")
def _(k, g, out, dim):
    return k.log_softmax_backward(g, out, dim)


@composite
def log_softmax_backward(k, g, out, dim):
    """The gradient of the logarithm of softmax, from its result."""
    return k.sub(g, k.mul(k.exp(out), k.sum(g, dim, True)))


def softmax(input: Any, dim: int, dtype: Any = None, *, out: Any = None) -> Any:
    """`exp(x)` over its sum along `dim`: positive numbers that add up to 1. Safe from overflow.

    `dtype` converts the input first. IndexError if there is no such `dim`, NotImplementedError for integers.

    >>> import flambeau as torch
    >>> torch.softmax(torch.tensor([0.0, 0.0, 0.0, 0.0]), dim=0)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if dtype is not None:
        input = input.to(dtype)
    return softmax_op(input, dim, out=out)


def log_softmax(input: Any, dim: int, dtype: Any = None, *, out: Any = None) -> Any:
    """The logarithm of `softmax`, computed without taking it of small numbers."""
    if dtype is not None:
        input = input.to(dtype)
    return log_softmax_op(input, dim, out=out)


def _implicit(name: str, input: Any, stacklevel: int) -> int:
    """The dimension that PyTorch once chose when none was given."""
    warnings.warn(
        f"{name}(): without dim a dimension is guessed, which is outdated; name it with dim=",
        UserWarning,
        stacklevel=stacklevel,
    )
    return 0 if input.ndim in (0, 1, 3) else 1


def _split_dtype(stacklevel: Any, dtype: Any) -> tuple[int, Any]:
    """`torch.softmax` has the dtype where `nn.functional.softmax` has the stack level."""
    return (3, stacklevel) if isinstance(stacklevel, dtype_class) else (stacklevel, dtype)


def functional_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """`exp(x)` over its sum along `dim`. Without `dim`, one is chosen by the number of dimensions, with a warning."""
    if dim is None:
        dim = _implicit("softmax", input, _stacklevel)
    if dtype is None and _stacklevel == 3:
        return softmax_op(input, dim)
    return softmax(input, dim, _split_dtype(_stacklevel, dtype)[1])


def functional_log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """The logarithm of `softmax`. Without `dim`, one is chosen by the number of dimensions, with a warning."""
    if dim is None:
        dim = _implicit("log_softmax", input, _stacklevel)
    if dtype is None and _stacklevel == 3:
        return log_softmax_op(input, dim)
    return log_softmax(input, dim, _split_dtype(_stacklevel, dtype)[1])


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """`softmax` of the negated input. Without `dim`, one is chosen by the number of dimensions, with a warning."""
    if dim is None:
        dim = _implicit("softmin", input, _stacklevel)
    return softmax(NS["OPS"].neg(input), dim, _split_dtype(_stacklevel, dtype)[1])


@op(name="logsumexp")
def logsumexp_op(k, input: Tensor, dim, keepdim=False):
    """`log(sum(exp(x)))` over `dim`."""
    return k.logsumexp(input, reduce_dims(dim, input.ndim), keepdim)


@logsumexp_op.derivative("input")
def _(k, g, input, out, dim, keepdim):
    kept = kept_shape(input.shape, dim)
    if not keepdim:
        g, out = k.reshape(g, kept), k.reshape(out, kept)
    return k.mul(g, k.exp(k.sub(input, out)))


def logsumexp(input: Any, dim: Any, keepdim: bool = False, *, out: Any = None) -> Any:
    """`log(sum(exp(x)))` over `dim` (an int or tuple), without overflow. Integers become the default float."""
    if input._a.dtype.kind in "biu":
        from flambeau.dtypes import get_default_dtype

        input = input.to(get_default_dtype())
    return logsumexp_op(input, dim, keepdim, out=out)
