"""Normalisation over batches, layers, groups and neighbouring channels."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import NS, no_grad
from flambeau.autograd.views import bump
from flambeau.errors import describe
from flambeau.ops.core import composite, op
from flambeau.ops.dispatch import deliver
from flambeau.ops.pad import pad


def _floating(name: str, a: Any) -> None:
    if a.dtype.kind != "f":
        raise NotImplementedError(f"{name}(): expected a floating-point tensor, got {describe(a)}")


def _mixed(input: Any, *others: Any) -> bool:
    """Whether a half-precision input meets parameters in float32, which PyTorch computes in float32."""
    d = input._a.dtype
    return d in dtypes.UPCAST and any(t is not None and t._a.dtype == np.float32 for t in others)


# --- layer_norm ---------------------------------------------------------------------------------------------------


@op(name="layer_norm", outputs=3, hidden=2, grad_name="NativeLayerNormBackward0")
def layer_norm_op(k, input: Tensor, normalized_shape, weight: Tensor = None, bias: Tensor = None, eps=1e-5):
    """The last dimensions with mean 0 and variance 1, times `weight`, plus `bias`."""
    if input.dtype.kind != "f":
        _floating("layer_norm", input)
    _check_shape("layer_norm", input, normalized_shape, weight, bias)
    return k.layer_norm(input, normalized_shape, weight, bias, eps)


@layer_norm_op.derivative("input", "weight", "bias")
def _(k, g, input, out1, out2, weight, bias, needs, normalized_shape, eps):
    return k.layer_norm_backward(g, input, out1, out2, weight, bias, needs, normalized_shape, eps)


@composite
def layer_norm_backward(k, g, a, mean, rstd, weight, bias, needs, normalized_shape, eps):
    """Gradients of `layer_norm`; the statistics are computed again, as functions of the input."""
    ndim = len(a.shape)
    inner = tuple(range(ndim - len(normalized_shape), ndim))
    outer = tuple(range(ndim - len(normalized_shape)))
    centred = k.sub(a, k.mean(a, inner, True))
    r = k.rsqrt(k.add(k.mean(k.mul(centred, centred), inner, True), eps))
    return _affine_backward(k, g, k.mul(centred, r), r, weight, bias, needs, inner, outer, weight)


def _affine_backward(k, g, xhat, r, weight, bias, needs, inner, outer, shaped):
    """Gradients where `xhat = (a - mean) * r` over `inner`; parameters span all but `outer`, `shaped` is the weight."""
    gx = gw = gb = None
    if needs[0]:
        inside = g if weight is None else k.mul(g, shaped)
        pull = k.add(k.mean(inside, inner, True), k.mul(xhat, k.mean(k.mul(inside, xhat), inner, True)))
        gx = k.mul(k.sub(inside, pull), r)
    if weight is not None and needs[1]:
        gw = k.mul(g, xhat)
        gw = k.reshape(k.sum(gw, outer) if outer else gw, weight.shape)
    if bias is not None and needs[2]:
        gb = k.reshape(k.sum(g, outer) if outer else g, bias.shape)
    return gx, gw, gb


def _check_shape(name: str, input: Any, normalized_shape: tuple[int, ...], *params: Any) -> None:
    n = len(normalized_shape)
    if n == 0:
        raise RuntimeError(f"{name}(): normalized_shape must name at least one dimension, got []")
    if input.shape[-n:] != normalized_shape:
        want = ", ".join(map(str, normalized_shape))
        raise RuntimeError(
            f"{name}(): with normalized_shape=[{want}] the input must end in these lengths, got {list(input.shape)}"
        )
    for what, p in zip(("weight", "bias"), params, strict=False):
        if p is not None and p.shape != normalized_shape:
            raise RuntimeError(f"{name}(): expected {what} of shape {list(normalized_shape)}, got {list(p.shape)}")


def _shape_of(name: str, normalized_shape: Any) -> tuple[int, ...]:
    if normalized_shape.__class__ is tuple:
        return normalized_shape
    if isinstance(normalized_shape, (list, tuple)):
        return tuple(normalized_shape)
    kind = type(normalized_shape).__name__
    raise TypeError(f"{name}(): normalized_shape must be a tuple of ints, got {kind}")


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """The last dimensions, `normalized_shape`, with mean 0 and variance 1 (biased), then scaled and shifted.

    `eps` is added to the variance; `weight` and `bias` have that shape.
    RuntimeError if shapes don't fit. Ba et al. 2016, arXiv:1607.06450.
    """
    shape = _shape_of("layer_norm", normalized_shape)
    if (weight is not None or bias is not None) and _mixed(input, weight, bias):
        return layer_norm_op(input.float(), shape, weight, bias, eps).to(input.dtype)
    return layer_norm_op(input, shape, weight, bias, eps)


def native_layer_norm(input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """`layer_norm`, with the means and reciprocal standard deviations that it used."""
    shape = _shape_of("native_layer_norm", normalized_shape)
    out = layer_norm(input, shape, weight, bias, eps)
    dims = tuple(range(input.ndim - len(shape), input.ndim))
    plain = input.detach()
    var = plain.var(dim=dims, unbiased=False, keepdim=True)
    return out, plain.mean(dim=dims, keepdim=True), (var + eps).rsqrt()


# --- rms_norm -----------------------------------------------------------------------------------------------------


@op(name="rms_norm", outputs=2, hidden=1, grad_name="MulBackward0")
def rms_norm_op(k, input: Tensor, normalized_shape, weight: Tensor = None, eps=1e-6):
    """The last dimensions over their root mean square, times `weight`."""
    _floating("rms_norm", input)
    _check_shape("rms_norm", input, normalized_shape, weight)
    return k.rms_norm(input, normalized_shape, weight, eps)


@rms_norm_op.derivative("input", "weight")
def _(k, g, input, out1, weight, needs, normalized_shape, eps):
    return k.rms_norm_backward(g, input, out1, weight, needs, normalized_shape, eps)


@composite
def rms_norm_backward(k, g, a, rstd, weight, needs, normalized_shape, eps):
    """Gradients of `rms_norm`; the statistics are computed again, as functions of the input."""
    ndim = len(a.shape)
    inner = tuple(range(ndim - len(normalized_shape), ndim))
    outer = tuple(range(ndim - len(normalized_shape)))
    r = k.rsqrt(k.add(k.mean(k.mul(a, a), inner, True), eps))
    xhat = k.mul(a, r)
    gx = gw = None
    if needs[0]:
        inside = g if weight is None else k.mul(g, weight)
        gx = k.mul(k.sub(inside, k.mul(xhat, k.mean(k.mul(inside, xhat), inner, True))), r)
    if weight is not None and needs[1]:
        gw = k.mul(g, xhat)
        gw = k.reshape(k.sum(gw, outer) if outer else gw, weight.shape)
    return gx, gw


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """The last dimensions, `normalized_shape`, over their root mean square, times `weight` of that shape.

    `eps` (by default the spacing at 1 of the dtype that it is computed in) is added to the mean square.
    Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    shape = _shape_of("rms_norm", normalized_shape)
    if eps is None:
        kind = dtypes.float32 if input.dtype.itemsize < 4 else input.dtype  # half precision is computed in single
        eps = float(dtypes.finfo(kind).eps) if input.dtype.is_floating_point else 0.0
    if input._a.dtype.kind == "c":
        dims = tuple(range(input.ndim - len(shape), input.ndim))
        scaled = input * ((input * input).mean(dims, True) + eps).rsqrt()
        return scaled if weight is None else scaled * weight
    if weight is not None and weight._a.dtype != input._a.dtype:
        _check_shape("rms_norm", input._a, shape, weight._a)
        return (rms_norm_op(input, shape, None, eps) * weight).to(input.dtype)
    return rms_norm_op(input, shape, weight, eps)


# --- group_norm ---------------------------------------------------------------------------------------------------


@op(name="group_norm", outputs=3, hidden=2, grad_name="NativeGroupNormBackward0")
def group_norm_op(k, input: Tensor, num_groups, weight: Tensor = None, bias: Tensor = None, eps=1e-5):
    """Groups of channels with mean 0 and variance 1, each channel times its `weight` plus its `bias`."""
    _floating("group_norm", input)
    return k.group_norm(input, num_groups, weight, bias, eps)


@group_norm_op.derivative("input", "weight", "bias")
def _(k, g, input, out1, out2, weight, bias, needs, num_groups, eps):
    return k.group_norm_backward(g, input, out1, out2, weight, bias, needs, num_groups, eps)


@composite
def group_norm_backward(k, g, a, mean, rstd, weight, bias, needs, num_groups, eps):
    """Gradients of `group_norm`; the statistics are computed again, as functions of the input."""
    n, c = a.shape[0], a.shape[1]
    split = (n, num_groups, c // num_groups, _product(a.shape[2:]))
    x, grad = k.reshape(a, split), k.reshape(g, split)
    shaped = None if weight is None else k.reshape(weight, (1, num_groups, c // num_groups, 1))
    centred = k.sub(x, k.mean(x, (2, 3), True))
    r = k.rsqrt(k.add(k.mean(k.mul(centred, centred), (2, 3), True), eps))
    xhat = k.mul(centred, r)
    gx, gw, gb = _affine_backward(k, grad, xhat, r, weight, bias, needs, (2, 3), (0, 3), shaped)
    return None if gx is None else k.reshape(gx, a.shape), gw, gb


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """`num_groups` groups of channels (dimension 1), each with mean 0 and variance 1, then scaled and shifted.

    RuntimeError if the channels don't divide into the groups. Wu and He 2018, arXiv:1803.08494.
    """
    a = input._a
    if a.ndim < 2:
        raise RuntimeError(f"group_norm(): expected at least 2 dimensions (N, C, *), got {describe(input)}")
    channels = a.shape[1]
    if num_groups > 0 and channels % num_groups or num_groups < 0:
        raise RuntimeError(
            f"group_norm(): the channels must divide into num_groups={num_groups} groups, got {describe(input)}"
        )
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and p._a.shape != (channels,):
            raise RuntimeError(
                f"group_norm(): expected {what} with one value for each of {channels} channels, got {describe(p)}"
            )
    per_group = a.shape[0] * (channels // num_groups)
    _several(name="group_norm", count=per_group * _product(a.shape[2:]), shape=a.shape)
    if _mixed(input, weight, bias):
        return group_norm_op(input.float(), num_groups, weight, bias, eps).to(input.dtype)
    return group_norm_op(input, num_groups, weight, bias, eps)


def _product(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def _several(name: str, count: int, shape: tuple[int, ...]) -> None:
    """One value has no spread: PyTorch refuses to normalise it in training."""
    if count == 1:
        raise ValueError(
            f"{name}(): training takes statistics of more than 1 value per channel, but the input has shape "
            f"{list(shape)}"
        )


# --- batch_norm ---------------------------------------------------------------------------------------------------


@op(name="native_batch_norm", outputs=3, nondiff=(1, 2), grad_name="NativeBatchNormBackward0")
def batch_norm_op(
    k,
    input: Tensor,
    weight: Tensor = None,
    bias: Tensor = None,
    running_mean: Index = None,
    running_var: Index = None,
    training=True,
    eps=1e-5,
):
    """Channels with mean 0 and variance 1 (their own in training, else the running ones), times `weight`, plus `bias`.

    Returns the means and biased variances used, too.
    """
    _floating("batch_norm", input)
    if training:
        mean, var = k.batch_norm_stats(input)
    else:
        mean, var = (v.astype(input.dtype) for v in (running_mean, running_var) if v is not None)
    scale = k.rsqrt(k.add(var, eps))
    if weight is not None:
        scale = k.mul(weight, scale)
    shift = k.neg(k.mul(mean, scale))
    if bias is not None:
        shift = k.add(bias, shift)
    return k.batch_norm_apply(input, scale, shift), mean, var


@batch_norm_op.derivative("input", "weight", "bias")
def _(k, g0, input, weight, bias, out1, out2, training, eps, needs):
    return k.batch_norm_backward(g0, input, weight, bias, out1, out2, training, eps, needs)


@composite
def batch_norm_backward(k, g, a, weight, bias, mean, var, training, eps, needs):
    """Gradients of `batch_norm`; in training the statistics are computed again, as functions of the input."""
    dims = (0, *range(2, len(a.shape)))
    view = (1, a.shape[1]) + (1,) * (len(a.shape) - 2)
    shaped = None if weight is None else k.reshape(weight, view)
    if training:
        centred = k.sub(a, k.mean(a, dims, True))
        r = k.rsqrt(k.add(k.mean(k.mul(centred, centred), dims, True), eps))
        return _affine_backward(k, g, k.mul(centred, r), r, weight, bias, needs, dims, dims, shaped)
    r = k.reshape(k.rsqrt(k.add(var, eps)), view)
    xhat = k.mul(k.sub(a, k.reshape(mean, view)), r)
    gx = None
    if needs[0]:
        gx = k.mul(g if weight is None else k.mul(g, shaped), r)
    gw = k.sum(k.mul(g, xhat), dims) if weight is not None and needs[1] else None
    return gx, gw, k.sum(g, dims) if bias is not None and needs[2] else None


def _check_batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool, eps: float
) -> None:
    a = input._a
    if a.ndim < 2 and (a.size or not a.ndim):
        raise IndexError(f"batch_norm(): expected at least 2 dimensions (N, C, *), got {describe(input)}")
    if a.dtype.kind in "biu":
        _floating("batch_norm", a)
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm(): running_mean and running_var come together or not at all")
    if eps < 0 or (training and not eps):
        raise ValueError(f"batch_norm(): eps must be positive (0 only outside training), got {eps}")
    params = (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias))
    for what, p in params:
        if p is not None and a.ndim > 1 and p._a.size != a.shape[1]:
            raise RuntimeError(
                f"batch_norm(): {what} needs {a.shape[1]} elements, one per channel of {describe(input)}, got "
                f"{p._a.size}"
            )
    for what, p in params:
        if p is not None and p._a.dtype != a.dtype and not _mixed(input, p):
            raise RuntimeError(
                f"batch_norm(): expected {what} of input's dtype, got input {describe(input)}, {what} {describe(p)}"
            )


def _track(running: Any, batch: Any, momentum: Any, unbiased: float = 1.0) -> None:
    """Moves a running statistic towards that of the batch, times `unbiased`; a momentum may be an array."""
    if NS["WRITES"] is not None:  # a program is recorded: it sees operations only
        with no_grad():
            running.mul_(1 - momentum)
            running.add_(batch.detach() * unbiased * momentum)
        return
    a, batch = running._a, batch._a * unbiased if unbiased != 1.0 else batch._a
    old, new = 1 - momentum, momentum
    if isinstance(momentum, np.ndarray):
        old, new = old.astype(a.dtype), new.astype(a.dtype)
    np.multiply(a, old, out=a, casting="unsafe")
    np.add(a, new * batch, out=a, casting="unsafe")
    bump(running)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel (dimension 1) with mean 0 and variance 1, then times its `weight` plus its `bias`.

    In training the statistics are the batch's own, and the running ones move towards them by `momentum` (the variance
    unbiased); otherwise the running ones are used. ValueError in training with one value per channel, RuntimeError if
    sizes or dtypes don't fit. Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    shape = input._a.shape
    if training:
        _several("batch_norm", shape[0] * _product(shape[2:]) if len(shape) > 1 else 0, shape)
    _check_batch_norm(input, running_mean, running_var, weight, bias, training, eps)
    if len(shape) < 2:
        return input.clone()  # of nothing
    if not training and running_mean is None:
        raise RuntimeError("batch_norm(): running_mean must be given in evaluation mode (training=False)")
    wide = input.float() if _mixed(input, weight, bias) else input
    fixed = (None, None) if training else (running_mean, running_var)
    out, mean, var = batch_norm_op(wide, weight, bias, *fixed, training, eps)
    if training and running_mean is not None and input._a.size:
        count = input._a.size // shape[1]
        _track(running_mean, mean, momentum)
        _track(running_var, var, momentum, count / (count - 1))
    return out if wide is input else out.to(input.dtype)


def native_batch_norm(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    *,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """`batch_norm`, with the means and reciprocal standard deviations that it used (empty outside training)."""
    result = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        empty = NS["BESIDE"](input, np.empty(0, input._a.dtype))
        return deliver("native_batch_norm", out, (result, empty, empty))
    dims = (0, *range(2, input.ndim))
    plain = input.detach()
    deviation = (plain.var(dim=dims, unbiased=False) + eps).rsqrt()
    return deliver("native_batch_norm", out, (result, plain.mean(dim=dims), deviation))


def native_group_norm(
    input: Any, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Any, Any, Any]:
    """`group_norm` of N samples of C channels of HxW elements, with the means and reciprocal standard deviations."""
    result = group_norm(input, group, weight, bias, eps)
    lines = input.reshape((N, group, (C // group if group else 0) * HxW))
    return result, lines.mean(2), (lines.var(2, unbiased=False) + eps).rsqrt()


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel of each sample with mean 0 and variance 1 over the rest, then scaled and shifted by channel.

    Running statistics, if given, take the mean of the samples' own; they are used if `use_input_stats` is False.
    Ulyanov et al. 2016, arXiv:1607.08022.
    """
    shape = input._a.shape
    if use_input_stats and _product(shape[2:]) == 1:
        raise ValueError(
            f"instance_norm(): statistics need more than 1 spatial element, but the input has shape {list(shape)}"
        )
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("instance_norm(): running_mean and running_var must be given when use_input_stats is False")
    n, c = shape[0], shape[1]
    mean, var, w, b = (None if t is None else t.repeat(n) for t in (running_mean, running_var, weight, bias))
    folded = input.reshape((1, n * c, *shape[2:]))
    out = batch_norm(folded, mean, var, w, b, use_input_stats, momentum, eps or _LEAST)
    for running, repeated in ((running_mean, mean), (running_var, var)):
        if running is not None and repeated is not None and use_input_stats:
            with no_grad():
                running.copy_(repeated.detach().view(n, c).mean(0))
    return out.view(shape)


#: Stands for an `eps` of 0: `batch_norm` refuses that, `instance_norm` does not.
_LEAST = 5e-324

# --- across channels ----------------------------------------------------------------------------------------------


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """`x / (k + alpha * mean(x ** 2)) ** beta`, the mean over `size` neighbouring channels (dimension 1).

    ValueError for fewer than 3 dimensions. Krizhevsky et al. 2012.
    """
    if input.ndim < 3:
        raise ValueError(f"local_response_norm(): expected at least 3 dimensions (N, C, *), got {describe(input)}")
    if input.numel() == 0:
        return input
    ops = NS["OPS"]
    channels = input.shape[1]
    padded = pad(input * input, [0, 0] * (input.ndim - 2) + [size // 2, (size - 1) // 2])
    total = ops.slice(padded, 1, 0, channels)
    for i in range(1, size):
        total = total + ops.slice(padded, 1, i, i + channels)
    average = total / size if input.is_floating_point() else total // size
    return input / (average * alpha + k) ** beta
