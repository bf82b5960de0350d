"""Max, average and power-average pooling over one, two and three spatial dimensions.

Max pooling keeps the winning tap of each window (hidden); `max_pool_scatter` and `max_pool_select` are each other's
derivatives, as are `avg_pool` and `avg_pool_input`, so every order follows.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

from flambeau.errors import describe, need_tensor
from flambeau.ops.conv import ints
from flambeau.ops.core import op
from flambeau.ops.shape import squeeze, unsqueeze

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
]


# --- the ops ------------------------------------------------------------------------------------------------------


def _declare_max(nd: int) -> tuple[Any, Any]:
    """Max pooling over `nd` dimensions, without and with indices."""

    def compute(k, input: Tensor, kernel, stride, padding, dilation, size):
        return k.max_pool_taps(input, kernel, stride, padding, dilation, size)

    def compute_indices(k, input: Tensor, kernel, stride, padding, dilation, size):
        out, taps = k.max_pool_taps(input, kernel, stride, padding, dilation, size)
        return out, k.max_pool_indices(taps, input.shape[-nd:], kernel, stride, padding, dilation), taps

    grad_name = f"MaxPool{nd}DWithIndicesBackward0"
    plain = op(compute, name=f"max_pool{nd}d_op", outputs=2, hidden=1, grad_name=grad_name)
    both = op(
        compute_indices, name=f"max_pool{nd}d_with_indices_op", outputs=3, hidden=1, nondiff=(1,), grad_name=grad_name
    )

    @plain.derivative("input")
    def _(k, g, out1, input_shape, kernel, stride, padding, dilation):
        return k.max_pool_scatter(g, out1, input_shape[-nd:], kernel, stride, padding, dilation)

    @both.derivative("input")
    def _(k, g0, out2, input_shape, kernel, stride, padding, dilation):
        return k.max_pool_scatter(g0, out2, input_shape[-nd:], kernel, stride, padding, dilation)

    return plain, both


_max2, _max2_indices = _declare_max(2)
_max3, _max3_indices = _declare_max(3)


@op(name="max_pool_scatter", grad_name="MaxPoolWithIndicesBackwardBackward0")
def _max_pool_scatter(k, grad: Tensor, taps: Index, size, kernel, stride, padding, dilation):
    """`grad` put where each window found its maximum, in an input of spatial `size`."""
    return k.max_pool_scatter(grad, taps, size, kernel, stride, padding, dilation)


@_max_pool_scatter.derivative("grad")
def _(k, g, taps, kernel, stride, padding, dilation):
    return k.max_pool_select(g, taps, kernel, stride, padding, dilation)


@op(name="max_pool_select", grad_name="MaxPoolWithIndicesBackwardBackward0")
def _max_pool_select(k, input: Tensor, taps: Index, kernel, stride, padding, dilation):
    """The element that each window found to be its maximum."""
    return k.max_pool_select(input, taps, kernel, stride, padding, dilation)


@_max_pool_select.derivative("input")
def _(k, g, taps, input_shape, kernel, stride, padding, dilation):
    return k.max_pool_scatter(g, taps, input_shape[-len(kernel) :], kernel, stride, padding, dilation)


def _declare_avg(name: str, grad_name: str) -> Any:
    def compute(k, input: Tensor, kernel, stride, padding, size, include_pad, divisor):
        return k.avg_pool(input, kernel, stride, padding, size, include_pad, divisor)

    function = op(compute, name=name, grad_name=grad_name)

    @function.derivative("input")
    def _(k, g, input_shape, kernel, stride, padding, include_pad, divisor):
        return k.avg_pool_input(g, input_shape[-len(kernel) :], kernel, stride, padding, include_pad, divisor)

    return function


_declare_avg("avg_pool", "AvgPoolBackward0")
_avg2 = _declare_avg("avg_pool2d_op", "AvgPool2DBackward0")
_avg3 = _declare_avg("avg_pool3d_op", "AvgPool3DBackward0")


@op(name="avg_pool_input", grad_name="AvgPoolBackwardBackward0")
def _avg_pool_input(k, grad: Tensor, size, kernel, stride, padding, include_pad, divisor):
    """Each window's share for all of its elements, in an input of spatial `size`."""
    return k.avg_pool_input(grad, size, kernel, stride, padding, include_pad, divisor)


@_avg_pool_input.derivative("grad")
def _(k, g, grad_shape, kernel, stride, padding, include_pad, divisor):
    return k.avg_pool(g, kernel, stride, padding, grad_shape[-len(kernel) :], include_pad, divisor)


# --- arguments ----------------------------------------------------------------------------------------------------


def check_pool_input(name: str, nd: int, input: Any, integers: bool = True) -> None:
    """The errors of PyTorch for an input that has no windows. NotImplementedError for dtypes that are not pooled."""
    need_tensor(name, input, "input")
    if input.ndim not in (nd + 1, nd + 2):
        raise RuntimeError(
            f"{name}(): expected an input of {nd + 1} (unbatched) or {nd + 2} dimensions, got {describe(input)}"
        )
    if 0 in input.shape[1 if input.ndim == nd + 2 else 0 :]:
        raise RuntimeError(f"{name}(): only the batch may be empty, got an input of size {list(input.shape)}")
    check_pool_dtype(name, input, integers)


def check_pool_dtype(name: str, input: Any, integers: bool) -> None:
    kind = input._a.dtype.kind
    if kind in "bc" or (kind in "iu" and not integers):
        raise NotImplementedError(f"{name}(): not implemented for {input.dtype}; convert to a floating-point dtype")


def _windows(
    name: str, nd: int, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Any, ...]:
    """The settings as tuples, and the output's spatial size. RuntimeError where they make no windows."""
    kernel = ints(name, "kernel_size", kernel, nd)
    stride = kernel if stride is None or (stride.__class__ in (list, tuple) and not stride) else stride
    stride, padding = ints(name, "stride", stride, nd), ints(name, "padding", padding, nd)
    dilation = ints(name, "dilation", dilation, nd)
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        if k < 1 or s < 1 or d < 1:
            raise RuntimeError(
                f"{name}(): kernel size, stride and dilation must be positive, got kernel_size={list(kernel)}, "
                f"stride={list(stride)}, dilation={list(dilation)}"
            )
        if p < 0 or p > k // 2:
            raise RuntimeError(
                f"{name}(): padding must be at least 0 and at most half of the kernel size, got padding="
                f"{list(padding)}, kernel_size={list(kernel)}"
            )
        out.append(window_count(n, k, s, p, d, ceil_mode))
    if min(out) < 1:
        raise RuntimeError(
            f"{name}(): the kernel {list(kernel)} is larger than the padded input: an input of {list(size)} gives an "
            f"output of {out}"
        )
    return kernel, stride, padding, dilation, tuple(out)


def window_count(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    span = n + 2 * p - d * (k - 1) - 1
    if span < 0 and not ceil_mode:
        return 0
    out = (span + (s - 1 if ceil_mode else 0)) // s + 1
    if ceil_mode and (out - 1) * s >= n + p:  # the last window has to start inside the input or its left padding
        out -= 1
    return out


# --- max pooling --------------------------------------------------------------------------------------------------


def _max_pool(
    name: str, nd: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    indices: bool,
) -> Any:  # fmt: skip
    check_pool_input(name, nd, input)
    settings = _windows(name, nd, input.shape[-nd:], kernel, stride, padding, dilation, ceil_mode)
    if indices:
        return (_max2_indices if nd == 2 else _max3_indices)(input, *settings)
    return (_max2 if nd == 2 else _max3)(input, *settings)


def _one(name: str, argument: str, value: Any) -> int:
    return ints(name, argument, value, 1)[0]


def _max_pool_one(
    name: str, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, indices: bool
) -> Any:
    check_pool_input(name, 1, input)
    kernel = (1, _one(name, "kernel_size", kernel))
    stride = kernel if stride is None or stride == [] or stride == () else (1, _one(name, "stride", stride))
    padding, dilation = (0, _one(name, "padding", padding)), (1, _one(name, "dilation", dilation))
    result = _max_pool(name, 2, unsqueeze(input, -2), kernel, stride, padding, dilation, ceil_mode, indices)
    if indices:
        return squeeze(result[0], -2), squeeze(result[1], -2)
    return squeeze(result, -2)


def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window of `kernel_size` along the last dimension of `input` (N, C, L) or (C, L).

    Windows are `stride` apart (by default the kernel size), their elements `dilation`. `padding` adds minus infinity on
    both sides; `ceil_mode` allows a last window that reaches out. With `return_indices` also the positions of the
    maxima (int64), the first among equals. RuntimeError for settings that make no window.

    >>> import flambeau as torch
    >>> torch.nn.functional.max_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _max_pool_one("max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window over the last two dimensions of `input` (N, C, H, W) or (C, H, W); as `max_pool1d`.

    Indices are positions in the flattened H x W plane.
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window over the last three dimensions of `input` (N, C, D, H, W) or (C, D, H, W)."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` and the positions of the maxima."""
    return _max_pool_one("max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool2d` and the positions of the maxima."""
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool3d` and the positions of the maxima."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


# --- average pooling ----------------------------------------------------------------------------------------------


def _avg_pool(
    name: str, nd: int, input: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, include_pad: bool,
    divisor: int | None, out: Any = None,
) -> Any:  # fmt: skip
    if nd == 2 and hasattr(input, "ndim") and input.ndim < 3:
        raise IndexError(f"{name}(): expected an input of 3 or 4 dimensions, got {describe(input)}")
    check_pool_input(name, nd, input)
    if divisor == 0:
        raise RuntimeError(f"{name}(): divisor_override must not be zero")
    kernel, stride, padding, _, size = _windows(name, nd, input.shape[-nd:], kernel, stride, padding, 1, ceil_mode)
    return (_avg2 if nd == 2 else _avg3)(input, kernel, stride, padding, size, bool(include_pad), divisor, out=out)


def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """The mean of each window of `kernel_size` along the last dimension of `input` (N, C, L) or (C, L).

    Windows are `stride` apart (by default the kernel size); `padding` adds zeros on both sides, counted unless
    `count_include_pad` is False. RuntimeError for settings that make no window.

    >>> import flambeau as torch
    >>> torch.nn.functional.avg_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    name = "avg_pool1d"
    check_pool_input(name, 1, input)
    kernel = (1, _one(name, "kernel_size", kernel_size))
    stride = kernel if stride is None or stride == [] or stride == () else (1, _one(name, "stride", stride))
    padding = (0, _one(name, "padding", padding))
    result = _avg_pool(name, 2, unsqueeze(input, -2), kernel, stride, padding, ceil_mode, count_include_pad, None)
    return squeeze(result, -2)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, *, out: Any = None,
) -> Any:  # fmt: skip
    """The mean of each window over the last two dimensions of `input` (N, C, H, W) or (C, H, W); as `avg_pool1d`.

    `divisor_override` divides the sums instead of the number of elements.
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out
    )


def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, *, out: Any = None,
) -> Any:  # fmt: skip
    """The mean of each window over the last three dimensions of `input` (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out
    )


# --- power-average pooling ----------------------------------------------------------------------------------------


def _root(total: Any, norm_type: float, count: int) -> Any:
    return (total.sign() * total.abs()).mul(count).pow(1.0 / norm_type)


def lp_pool1d(input: Any, norm_type: float, kernel_size: int, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The `norm_type`-norm of each window along the last dimension; windows as in `avg_pool1d`.

    >>> import flambeau as torch
    >>> torch.nn.functional.lp_pool1d(torch.tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    need_tensor("lp_pool1d", input, "input")
    total = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _root(total, norm_type, _one("lp_pool1d", "kernel_size", kernel_size))


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The `norm_type`-norm of each window over the last two dimensions; windows as in `avg_pool2d`."""
    need_tensor("lp_pool2d", input, "input")
    kh, kw = ints("lp_pool2d", "kernel_size", kernel_size, 2)
    return _root(avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode), norm_type, kh * kw)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The `norm_type`-norm of each window over the last three dimensions; windows as in `avg_pool3d`."""
    need_tensor("lp_pool3d", input, "input")
    kd, kh, kw = ints("lp_pool3d", "kernel_size", kernel_size, 3)
    return _root(avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode), norm_type, kd * kh * kw)
