"""The two gradients of convolutions as functions of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.nn.modules.utils import _ntuple
from flambeau.ops.conv import conv_input_op, conv_weight_op

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
]


def _pair(n: int) -> tuple[Callable, Callable]:
    parse = _ntuple(n)

    def for_input(
        input_size: Any,
        weight: Any,
        grad_output: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        settings = (parse(stride), parse(padding), parse(dilation), groups)
        return conv_input_op(grad_output, weight, None, tuple(input_size), *settings)

    def for_weight(
        input: Any,
        weight_size: Any,
        grad_output: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        settings = (parse(stride), parse(padding), parse(dilation), groups)
        return conv_weight_op(grad_output, input, tuple(weight_size), *settings)

    for_input.__name__ = f"conv{n}d_input"
    for_input.__doc__ = f"The gradient of `conv{n}d` for its input of `input_size`, given that of its output."
    for_weight.__name__ = f"conv{n}d_weight"
    for_weight.__doc__ = f"The gradient of `conv{n}d` for its weight of `weight_size`, given that of its output."
    return for_input, for_weight


conv1d_input, conv1d_weight = _pair(1)
conv2d_input, conv2d_weight = _pair(2)
conv3d_input, conv3d_weight = _pair(3)
