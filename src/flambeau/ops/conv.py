"""Convolutions and transposed convolutions over one, two and three spatial dimensions.

Three ops are closed under differentiation: `conv`, `conv_input` (its gradient for the input, which is the transposed
convolution) and `conv_weight` (its gradient for the weight). Each is linear in both of its operands, so the derivatives
of each are the others, at every order.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from flambeau.errors import describe, need_tensor
from flambeau.ops.core import composite, op
from flambeau.ops.pad import constant_pad_nd
from flambeau.ops.shape import squeeze, unsqueeze

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution",
]


# --- the closed set -----------------------------------------------------------------------------------------------


@op(name="conv", grad_name="ConvolutionBackward0")
def conv_op(k, input: Tensor, weight: Tensor, bias: Tensor = None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of `input` (N, C, ...) with `weight` (Co, C / groups, ...), plus `bias` (Co)."""
    return k.conv(input, weight, bias, stride, padding, dilation, groups)


@conv_op.derivative("input")
def _(k, g, weight, input_shape, stride, padding, dilation, groups):
    return k.conv_input(g, weight, None, input_shape, stride, padding, dilation, groups)


@conv_op.derivative("weight")
def _(k, g, input, weight_shape, stride, padding, dilation, groups):
    return k.conv_weight(g, input, weight_shape, stride, padding, dilation, groups)


@conv_op.derivative("bias")
def _(k, g):
    return k.conv_bias_grad(g)


@op(name="conv_input", grad_name="ConvolutionBackward0")
def conv_input_op(
    k, input: Tensor, weight: Tensor, bias: Tensor = None, shape=(), stride=1, padding=0, dilation=1, groups=1
):
    """The transposed convolution with a result of `shape`: `conv`'s gradient for its input, plus `bias`."""
    return k.conv_input(input, weight, bias, shape, stride, padding, dilation, groups)


@conv_input_op.derivative("input")
def _(k, g, weight, input_shape, stride, padding, dilation, groups):
    return _cropped(k, k.conv(g, weight, None, stride, padding, dilation, groups), input_shape)


@conv_input_op.derivative("weight")
def _(k, g, input, weight_shape, stride, padding, dilation, groups):
    return k.conv_weight(input, g, weight_shape, stride, padding, dilation, groups)


@conv_input_op.derivative("bias")
def _(k, g):
    return k.conv_bias_grad(g)


@op(name="conv_weight", grad_name="ConvolutionBackwardBackward0")
def conv_weight_op(k, grad: Tensor, input: Tensor, shape, stride, padding, dilation, groups):
    """The gradient of `conv`'s weight of `shape`, for the output's gradient `grad`."""
    return k.conv_weight(grad, input, shape, stride, padding, dilation, groups)


@conv_weight_op.derivative("grad")
def _(k, g, input, grad_shape, stride, padding, dilation, groups):
    return _cropped(k, k.conv(input, g, None, stride, padding, dilation, groups), grad_shape)


@conv_weight_op.derivative("input")
def _(k, g, grad, input_shape, stride, padding, dilation, groups):
    return k.conv_input(grad, g, None, input_shape, stride, padding, dilation, groups)


def _cropped(k, result, shape):
    """Output padding of a stride or more leaves `conv` with more positions than the transposed input had."""
    for dim in range(2, len(shape)):
        if result.shape[dim] != shape[dim]:
            result = k.slice(result, dim, 0, shape[dim])
    return result


@composite
def conv_bias_grad(k, g):
    """The sum over all but the channels."""
    return k.sum(g, (0, *range(2, len(g.shape))))


# --- arguments ----------------------------------------------------------------------------------------------------


def ints(name: str, argument: str, value: Any, count: int) -> tuple[int, ...]:
    """`value`, an int or a sequence of ints, as `count` ints. RuntimeError for another length, TypeError otherwise."""
    if value.__class__ is int:
        return (value,) * count
    if isinstance(value, Sequence) and not isinstance(value, str):
        try:
            values = tuple([v if v.__class__ is int else v.__index__() for v in value])
        except AttributeError:
            values = ()
        if len(values) == len(value):
            if len(values) == 1:
                return values * count
            if len(values) == count:
                return values
            raise RuntimeError(
                f"{name}(): {argument} must be one int or {count} of them, one per spatial dimension; got "
                f"{argument}={list(values)}"
            )
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        return (value.__index__(),) * count
    raise TypeError(f"{name}(): {argument} must be an int or a tuple of ints, got {_type(value)}")


def _type(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {', '.join(sorted({type(v).__name__ for v in value}))}"
    return type(value).__name__


def _check_operands(name: str, nd: int, input: Any, weight: Any, bias: Any, groups: Any, transposed: bool) -> None:
    """The errors of PyTorch for operands that don't fit each other. `input` is batched."""
    x, w = input.shape, weight.shape
    if len(w) != nd + 2:
        raise RuntimeError(f"{name}(): expected a weight of {nd + 2} dimensions, got {describe(weight)}")
    if groups.__class__ is not int and not hasattr(groups, "__index__"):
        raise TypeError(f"{name}(): groups must be an int, got {type(groups).__name__}")
    if groups <= 0:
        raise RuntimeError(f"{name}(): groups must be positive, got {groups}")
    if w[0] % groups or w[0] < groups:
        raise RuntimeError(
            f"{name}(): groups={groups} must divide the weight's first dimension, but the weight is {list(w)}"
        )
    channels = w[0] if transposed else w[1] * groups
    if x[1] != channels:
        raise RuntimeError(
            f"{name}(): with groups={groups} a weight {list(w)} takes an input with {channels} channels, but the "
            f"input {list(x)} has {x[1]}"
        )
    features = w[1] * groups if transposed else w[0]
    if bias is not None and tuple(bias.shape) != (features,):
        raise RuntimeError(
            f"{name}(): a weight {list(w)} takes a bias of {features} elements, got one of size {list(bias.shape)}"
        )
    dtype = input.dtype
    if weight.dtype is not dtype or (bias is not None and bias.dtype is not dtype):
        operands = [describe(t) for t in (input, weight, bias) if t is not None]
        raise RuntimeError(
            f"{name}(): input, weight and bias must have one dtype, got {', '.join(operands)}; convert one with "
            ".to(dtype)"
        )
    if input._a.dtype.kind == "b":
        raise NotImplementedError(f"{name}(): not implemented for bool; convert to a floating-point dtype")


def _check_sizes(name: str, stride: Any, padding: Any, dilation: Any, output_padding: Any = ()) -> None:
    limits = (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1))
    for what, values, least in (*limits, ("output_padding", output_padding, 0)):
        if values and min(values) < least:
            wanted = "positive" if least else "non-negative"
            raise RuntimeError(f"{name}(): {what} must be {wanted}, got {what}={tuple(values)}")


def _batched(name: str, nd: int, input: Any) -> bool:
    if input.ndim == nd + 2:
        return True
    if input.ndim == nd + 1:
        return False
    raise RuntimeError(
        f"{name}(): an input of {nd + 1} (unbatched) or {nd + 2} dimensions is needed, got size {list(input.shape)}"
    )


# --- convolution --------------------------------------------------------------------------------------------------


def _convolve(
    name: str, nd: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    need_tensor(name, input, "input")
    need_tensor(name, weight, "weight")
    if bias is not None:
        need_tensor(name, bias, "bias")
    batched = _batched(name, nd, input)
    if not batched:
        input = unsqueeze(input, 0)
    _check_operands(name, nd, input, weight, bias, groups, False)
    stride, dilation = ints(name, "stride", stride, nd), ints(name, "dilation", dilation, nd)
    kernel = weight.shape[2:]
    if isinstance(padding, str):
        _check_sizes(name, stride, (), dilation)
        input, padding = _named_padding(name, padding, input, kernel, stride, dilation)
    else:
        padding = ints(name, "padding", padding, nd)
        _check_sizes(name, stride, padding, dilation)
    for n, k, p, d in zip(input.shape[2:], kernel, padding, dilation):
        if n + 2 * p < d * (k - 1) + 1 or k < 1:
            padded = [m + 2 * q for m, q in zip(input.shape[2:], padding)]
            raise RuntimeError(
                f"{name}(): the kernel {list(kernel)} with dilation {list(dilation)} is larger than the padded input "
                f"{padded}, or empty; a larger padding or a smaller kernel would fit"
            )
    if 0 in input.shape[2:]:
        raise RuntimeError(f"{name}(): only batch and channels may be empty, got an input of {list(input.shape)}")
    out = conv_op(input, weight, bias, stride, padding, dilation, groups)
    return out if batched else squeeze(out, 0)


def _named_padding(name: str, padding: str, input: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[Any, Any]:
    """The input and the symmetric padding that 'valid' and 'same' stand for; 'same' may need one more at the end."""
    nd = len(kernel)
    if padding == "valid":
        return input, (0,) * nd
    if padding != "same":
        raise RuntimeError(f"{name}(): padding as text must be 'valid' or 'same', got '{padding}'")
    if any(s != 1 for s in stride):
        raise RuntimeError(f"{name}(): padding='same' needs stride 1, got stride={list(stride)}")
    total = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if any(t % 2 for t in total):
        warnings.warn(
            "padding='same' with an even kernel length and an odd dilation copies the input to pad it on one side",
            stacklevel=4,
        )
        input = constant_pad_nd(input, [side for t in reversed(total) for side in (0, t % 2)], 0)
    return input, tuple(t // 2 for t in total)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Cross-correlates `input` (N, C, L) or (C, L) with `weight` (Co, C / groups, k).

    The result is (N, Co, Lo) with `Lo = (L + 2 padding - dilation (k - 1) - 1) // stride + 1`. `padding` may be
    'valid' (none) or 'same' (`Lo = L`, for stride 1). All operands share a dtype.
    RuntimeError for shapes that do not fit.

    >>> import flambeau as torch
    >>> torch.conv1d(torch.ones(1, 1, 5), torch.ones(2, 1, 3)).shape
    torch.Size([1, 2, 3])
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Cross-correlates `input` (N, C, H, W) or (C, H, W) with `weight` (Co, C / groups, kh, kw); as `conv1d`.

    >>> import flambeau as torch
    >>> torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Cross-correlates `input` (N, C, D, H, W) or (C, D, H, W) with `weight` (Co, C / groups, kd, kh, kw).

    As `conv1d`.
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


# --- transposed convolution ---------------------------------------------------------------------------------------


def _convolve_transposed(
    name: str, nd: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: Any,
    dilation: Any,
) -> Any:  # fmt: skip
    need_tensor(name, input, "input")
    need_tensor(name, weight, "weight")
    if bias is not None:
        need_tensor(name, bias, "bias")
    batched = _batched(name, nd, input)
    if not batched:
        input = unsqueeze(input, 0)
    _check_operands(name, nd, input, weight, bias, groups, True)
    stride, padding = ints(name, "stride", stride, nd), ints(name, "padding", padding, nd)
    output_padding, dilation = ints(name, "output_padding", output_padding, nd), ints(name, "dilation", dilation, nd)
    _check_sizes(name, stride, padding, dilation, output_padding)
    size = []
    for n, k, s, p, o, d in zip(input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation):
        if o >= s and o >= d and input.shape[0]:
            raise RuntimeError(
                f"{name}(): each output_padding must be below its stride or its dilation, got "
                f"output_padding={list(output_padding)}, stride={list(stride)}, dilation={list(dilation)}"
            )
        size.append((n - 1) * s - 2 * p + d * (k - 1) + o + 1)
    if min(size) < (1 if input.shape[0] else 0):
        raise RuntimeError(
            f"{name}(): an input of {list(input.shape[2:])} per channel would give an output of {size}: nothing is left"
        )
    shape = (input.shape[0], weight.shape[1] * groups, *size)
    out = conv_input_op(input, weight, bias, shape, stride, padding, dilation, groups)
    return out if batched else squeeze(out, 0)


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The transposed convolution of `input` (N, C, L) or (C, L) with `weight` (C, Co / groups, k).

    It is the gradient of `conv1d` for its input. The result is (N, Co, Lo) with
    `Lo = (L - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1`. RuntimeError for shapes that do not fit.

    >>> import flambeau as torch
    >>> torch.conv_transpose1d(torch.ones(1, 1, 2), torch.ones(1, 1, 2), stride=2)
    tensor([[[1., 1., 1., 1.]]])
    """
    return _convolve_transposed(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The transposed convolution of `input` (N, C, H, W) or (C, H, W); as `conv_transpose1d`."""
    return _convolve_transposed(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The transposed convolution of `input` (N, C, D, H, W) or (C, D, H, W); as `conv_transpose1d`."""
    return _convolve_transposed(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


# --- others -------------------------------------------------------------------------------------------------------


def convolution(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    """Any of the convolutions above, by the number of dimensions of `weight` and by `transposed`."""
    need_tensor("convolution", weight, "weight")
    nd = weight.ndim - 2
    if not 1 <= nd <= 3:
        raise RuntimeError(f"convolution(): expected a weight of 3 to 5 dimensions, got {describe(weight)}")
    if transposed:
        return _convolve_transposed(
            "convolution", nd, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return _convolve("convolution", nd, input, weight, bias, stride, padding, dilation, groups)


def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    """A convolution over time: `input` (T, N, C), `weight` (k, C, Co), `bias` (Co); the result is (To, N, Co)."""
    for argument, value in (("input", input), ("weight", weight), ("bias", bias)):
        need_tensor("conv_tbc", value, argument)
    if input.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise RuntimeError(
            f"conv_tbc(): expected input (time, batch, channels), weight (width, in, out) and bias (out), got "
            f"{describe(input)}, {describe(weight)} and {describe(bias)}"
        )
    out = _convolve("conv_tbc", 1, input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, int(pad), 1, 1)
    return out.permute(2, 0, 1)
