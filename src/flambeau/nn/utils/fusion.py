"""Batch normalisation folded into the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import Any

from flambeau.nn.parameter import Parameter
from flambeau.tensor.creation import ones_like, zeros_like

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _check(layer: Any, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("fusion is for inference: call eval() on both modules first")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("the batch normalisation keeps no running statistics, so it can't be folded")


def _folded(
    weight: Any, bias: Any, scale_shape: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> Any:
    """Weight and bias of the layer that does both."""
    kind = weight.dtype
    bias_kind = kind if bias is None else bias.dtype
    bias = zeros_like(bn_rm) if bias is None else bias
    bn_w = ones_like(bn_rm) if bn_w is None else bn_w
    bn_b = zeros_like(bn_rm) if bn_b is None else bn_b
    scale = bn_w * (bn_rv + bn_eps).rsqrt()
    fused = (weight * scale.reshape(scale_shape)).to(kind), ((bias - bn_rm) * scale + bn_b).to(bias_kind)
    return tuple(Parameter(t.detach(), old.requires_grad) for t, old in zip(fused, (weight, bias), strict=True))


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> Any:
    """Weight and bias of one convolution that is a convolution and the batch normalisation after it.

    `transpose`: it is a transposed convolution, whose outputs are the weight's second dimension.
    """
    shape = [-1 if d == int(transpose) else 1 for d in range(conv_w.dim())]
    return _folded(conv_w, conv_b, shape, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of `conv` that does what `conv` and then `bn` do. AssertionError unless both are in eval mode.

    >>> import flambeau as torch
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3).eval(), torch.nn.BatchNorm2d(2).eval()
    >>> x = torch.ones(1, 1, 4, 4)
    >>> torch.allclose(torch.nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-6)
    True
    """
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> Any:
    """Weight and bias of one linear layer that is a linear layer and the batch normalisation after it."""
    return _folded(linear_w, linear_b, (-1, 1), bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of `linear` that does what `linear` and then `bn` do.

    AssertionError unless both are in eval mode and `bn` has as many features as `linear` has outputs, or one.
    """
    _check(linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(f"{linear.out_features} outputs don't fit {bn.num_features} normalised features")
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
