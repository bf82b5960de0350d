"""Convolutions and transposed convolutions over one, two and three dimensions."""

from __future__ import annotations

import math
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._core import empty
from flambeau.nn.modules._lazyconv import _LazyConvXdMixin
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _pair, _reverse_repeat_tuple, _single, _triple
from flambeau.nn.parameter import Parameter, UninitializedParameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: their settings, weight and bias."""

    __constants__ = [
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    ]
    weight: Any
    bias: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: Any,
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        _check(type(self).__name__, in_channels, out_channels, stride, padding, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # The padding as F.pad wants it, for the modes in which the convolution itself can't pad.
        if isinstance(padding, str):
            self._reversed_padding_repeated_twice = [0] * (2 * len(kernel_size))
            if padding == "same":
                for d, k, i in zip(dilation, kernel_size, range(len(kernel_size) - 1, -1, -1), strict=False):
                    total = d * (k - 1)
                    self._reversed_padding_repeated_twice[2 * i : 2 * i + 2] = [total // 2, total - total // 2]
        else:
            self._reversed_padding_repeated_twice = list(_reverse_repeat_tuple(padding, 2))
        channels = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty((*channels, *kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew from U(-b, b) with b = 1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        n = len(self.kernel_size)
        if self.padding != (0,) * n:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * n:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * n:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")


def _check(
    name: str,
    in_channels: int,
    out_channels: int,
    stride: tuple[int, ...],
    padding: Any,
    groups: int,
    padding_mode: str,
) -> None:
    """ValueError for settings with which no convolution can be made."""
    if groups <= 0:
        raise ValueError(f"{name}: groups must be positive, got {groups}")
    for kind, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups != 0:
            raise ValueError(f"{name}: {kind} must be divisible by groups, got {channels} and groups={groups}")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{name}: padding must be 'same', 'valid' or numbers, got {padding!r}")
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError(f"{name}: padding='same' needs stride 1, got stride={stride}")
    if padding_mode not in _PADDING_MODES:
        raise ValueError(f"{name}: padding_mode must be one of {_PADDING_MODES}, got {padding_mode!r}")


def _padding(padding: Any, ntuple: Any) -> Any:
    return padding if isinstance(padding, str) else ntuple(padding)


class Conv1d(_ConvNd):
    """Cross-correlates a signal (N, C_in, L) or (C_in, L) with `out_channels` kernels of C_in / groups channels.

    `padding` is a number or 'same' or 'valid'; `padding_mode` says what it is filled with. The output has length
    floor((L + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1.
    ValueError for channels that `groups` does not divide or settings that do not exist.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        one = _single
        super().__init__(
            in_channels, out_channels, one(kernel_size), one(stride), _padding(padding, one), one(dilation),
            False, one(0), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode != "zeros":
            padded = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return F.conv1d(padded, weight, bias, self.stride, _single(0), self.dilation, self.groups)
        return F.conv1d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)


class Conv2d(_ConvNd):
    """Cross-correlates an image (N, C_in, H, W) or (C_in, H, W) with `out_channels` kernels of C_in / groups channels.

    Sizes are a number or a pair; `padding` also 'same' or 'valid'; `padding_mode` says what it is filled with ('zeros',
    'reflect', 'replicate', 'circular'). Weight: (out_channels, in_channels / groups, *kernel_size).
    ValueError for channels that `groups` does not divide or settings that do not exist.

    >>> import flambeau as torch
    >>> torch.nn.Conv2d(3, 8, 3, padding=1)(torch.zeros(1, 3, 5, 5)).shape
    torch.Size([1, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        two = _pair
        super().__init__(
            in_channels, out_channels, two(kernel_size), two(stride), _padding(padding, two), two(dilation),
            False, two(0), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode != "zeros":
            padded = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return F.conv2d(padded, weight, bias, self.stride, _pair(0), self.dilation, self.groups)
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)


class Conv3d(_ConvNd):
    """Cross-correlates a volume (N, C_in, D, H, W) or (C_in, D, H, W) with `out_channels` kernels; see `Conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        three = _triple
        super().__init__(
            in_channels, out_channels, three(kernel_size), three(stride), _padding(padding, three), three(dilation),
            False, three(0), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode != "zeros":
            padded = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return F.conv3d(padded, weight, bias, self.stride, _triple(0), self.dilation, self.groups)
        return F.conv3d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)


class _ConvTransposeNd(_ConvNd):
    """What all transposed convolutions share; a layer names the function that it calls."""

    _convolve: Any

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding,
        groups, bias, padding_mode, device=None, dtype=None,
    ) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}: the only padding_mode is 'zeros', got {padding_mode!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(
        self, input, output_size, stride, padding, kernel_size, num_spatial_dims, dilation=None
    ) -> list:
        """The output_padding with which the result has `output_size`. ValueError if no padding below the stride
        does.
        """
        if output_size is None:
            return list(_single(self.output_padding))
        n = num_spatial_dims
        batched = input.dim() == n + 2
        output_size = list(output_size)
        if len(output_size) == input.dim():
            output_size = output_size[input.dim() - n :]
        if len(output_size) != n:
            raise ValueError(
                f"{type(self).__name__}: output_size needs {n} or {n + (2 if batched else 1)} sizes for an input of "
                f"{input.dim()} dimensions, got {len(output_size)}"
            )
        result = []
        for d in range(n):
            reach = dilation[d] if dilation is not None else 1
            least = (
                (input.size(d + input.dim() - n) - 1) * stride[d] - 2 * padding[d] + reach * (kernel_size[d] - 1) + 1
            )
            if not least <= output_size[d] <= least + stride[d] - 1:
                raise ValueError(
                    f"{type(self).__name__}: for an input of size {tuple(input.shape[-n:])} dimension {d} of "
                    f"output_size lies between {least} and {least + stride[d] - 1}, got {output_size[d]}"
                )
            result.append(output_size[d] - least)
        return result

    def forward(self, input, output_size=None):
        extra = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, len(self.kernel_size), self.dilation
        )
        return self._convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of `Conv1d` with respect to its input, as a layer: (N, C_in, L) to a longer (N, C_out, L_out).

    L_out = (L - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1; `forward` takes an
    `output_size` that chooses the output_padding. Weight: (in_channels, out_channels / groups, kernel_size).
    """

    _convolve = staticmethod(F.conv_transpose1d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        one = _single
        super().__init__(
            in_channels, out_channels, one(kernel_size), one(stride), one(padding), one(dilation),
            True, one(output_padding), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of `Conv2d` with respect to its input, as a layer; see `ConvTranspose1d`."""

    _convolve = staticmethod(F.conv_transpose2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        two = _pair
        super().__init__(
            in_channels, out_channels, two(kernel_size), two(stride), two(padding), two(dilation),
            True, two(output_padding), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of `Conv3d` with respect to its input, as a layer; see `ConvTranspose1d`."""

    _convolve = staticmethod(F.conv_transpose3d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        three = _triple
        super().__init__(
            in_channels, out_channels, three(kernel_size), three(stride), three(padding), three(dilation),
            True, three(output_padding), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip


def _lazy(plain: type, ndim: int, transposed: bool) -> type:
    """The lazy variant of a convolution: the same without `in_channels`, which the first input tells."""
    import inspect

    signature = inspect.signature(plain.__init__)
    signature = signature.replace(parameters=[p for n, p in signature.parameters.items() if n != "in_channels"])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        given.pop("self")
        out_channels, bias = given.pop("out_channels"), given.pop("bias", True)
        how: dict[str, Any] = {k: given.get(k) for k in ("device", "dtype")}
        _LazyConvXdMixin.__init__(self, 0, 0, bias=False, **given)
        self.weight = UninitializedParameter(**how)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(**how)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    name = "Lazy" + plain.__name__
    body = {
        "__init__": __init__,
        "__module__": __name__,
        "__doc__": f"A `{plain.__name__}` that takes `in_channels` from its first input and is a plain one from "
        f"then on.",
        "cls_to_become": plain,
        "_num_spatial_dims": ndim,
    }
    return type(name, (_LazyConvXdMixin, plain), body)


LazyConv1d = _lazy(Conv1d, 1, False)
LazyConv2d = _lazy(Conv2d, 2, False)
LazyConv3d = _lazy(Conv3d, 3, False)
LazyConvTranspose1d = _lazy(ConvTranspose1d, 1, True)
LazyConvTranspose2d = _lazy(ConvTranspose2d, 2, True)
LazyConvTranspose3d = _lazy(ConvTranspose3d, 3, True)
