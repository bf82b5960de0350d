"""Activation functions, in the form of `nn.functional`.

The ops take tensors and numbers; the public functions around them add `inplace` where PyTorch's have it.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS, thread
from flambeau.engines.numpy import draws
from flambeau.errors import describe
from flambeau.ops.actbase import floating, ordered, write_into
from flambeau.ops.core import composite, op
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import one_call
from flambeau.ops.piecewise import hardshrink as hardshrink
from flambeau.ops.piecewise import hardsigmoid as hardsigmoid
from flambeau.ops.piecewise import hardswish as hardswish
from flambeau.ops.piecewise import softshrink as softshrink
from flambeau.ops.piecewise import softsign as softsign
from flambeau.ops.piecewise import tanhshrink as tanhshrink
from flambeau.random import default_generator

_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


# --- rectifiers ---------------------------------------------------------------------------------------------------


@op(name="relu", elementwise=True)
def relu_op(k, input: Tensor):
    """`max(0, x)` of each element. Its derivative at 0 is 0."""
    if input.dtype.kind != "f":
        ordered("relu", input)
    return k.relu(input)


@relu_op.derivative("input")
def _(k, g, out):
    return k.relu_backward(g, out)


@composite
def relu_backward(k, g, out):
    """The gradient where the result is not zero."""
    return k.where(k.le(out, 0), k.zeros_like(g), g)


def relu(input: Any, inplace: bool = False) -> Any:
    """`max(0, x)` of each element, a tensor of any shape. Its derivative at 0 is 0. Not for bool and complex tensors.

    >>> import flambeau as torch
    >>> torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return write_into(relu_op, input) if inplace else relu_op(input)


def relu_(input: Any) -> Any:
    """`relu`, written into `input`."""
    return write_into(relu_op, input)


@op(name="threshold", elementwise=True)
def threshold_op(k, input: Tensor, threshold, value):
    """Elements above `threshold` as they are, others replaced by `value`."""
    if input.dtype.kind in "bc":
        floating("threshold", input)
    return k.threshold(input, threshold, value)


@threshold_op.derivative("input")
def _(k, g, input, threshold):
    return k.threshold_backward(g, input, threshold)


@composite
def threshold_backward(k, g, a, threshold):
    """The gradient where the input was above the threshold."""
    return k.where(k.le(a, threshold), k.zeros_like(g), g)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """Elements above `threshold` as they are, all others replaced by `value`."""
    return write_into(threshold_op, input, threshold, value) if inplace else threshold_op(input, threshold, value)


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """`threshold`, written into `input`."""
    return write_into(threshold_op, input, threshold, value)


@op(name="hardtanh", elementwise=True)
def hardtanh_op(k, input: Tensor, min_val=-1.0, max_val=1.0):
    """Elements limited to `[min_val, max_val]`."""
    if input.dtype.kind != "f":
        ordered("hardtanh", input)
        min_val, max_val = int(min_val), int(max_val)
    return k.hardtanh(input, min_val, max_val)


@hardtanh_op.derivative("input")
def _(k, g, input, min_val, max_val):
    return k.hardtanh_backward(g, input, min_val, max_val)


@composite
def hardtanh_backward(k, g, a, min_val, max_val):
    """The gradient where the input was strictly between the limits."""
    return k.where(k.logical_and(k.gt(a, min_val), k.lt(a, max_val)), g, k.zeros_like(g))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """Elements limited to `[min_val, max_val]`. ValueError if the limits are the wrong way round."""
    if min_val > max_val:
        raise ValueError(f"hardtanh(): min_val must not exceed max_val, got {min_val} and {max_val}")
    return write_into(hardtanh_op, input, min_val, max_val) if inplace else hardtanh_op(input, min_val, max_val)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """`hardtanh`, written into `input`."""
    return hardtanh(input, min_val, max_val, True)


def relu6(input: Any, inplace: bool = False) -> Any:
    """`min(max(0, x), 6)` of each element."""
    return hardtanh(input, 0.0, 6.0, inplace)


@op(name="leaky_relu", elementwise=True)
def leaky_relu_op(k, input: Tensor, negative_slope=0.01):
    """Each element if positive, else times `negative_slope`."""
    floating("leaky_relu", input)
    return k.leaky_relu(input, negative_slope)


@leaky_relu_op.derivative("input")
def _(k, g, input, negative_slope):
    return k.leaky_relu_backward(g, input, negative_slope)


@composite
def leaky_relu_backward(k, g, a, negative_slope):
    """The gradient, times the slope where the input was not positive."""
    return k.where(k.gt(a, 0), g, k.mul(g, negative_slope))


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """Each element if positive, else times `negative_slope`."""
    return write_into(leaky_relu_op, input, negative_slope) if inplace else leaky_relu_op(input, negative_slope)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """`leaky_relu`, written into `input`."""
    return write_into(leaky_relu_op, input, negative_slope)


@op(elementwise=True, grad_name="PreluKernelBackward0")
def prelu_kernel(k, input: Tensor, weight: Tensor):
    """Each element if positive, else times the `weight` broadcast to it."""
    return k.where(k.gt(input, 0), input, k.mul(input, weight))


@prelu_kernel.derivative("input")
def _(k, g, input, weight):
    return k.where(k.gt(input, 0), g, k.mul(g, weight))


@prelu_kernel.derivative("weight")
def _(k, g, input):
    slope = k.mul(g, input)
    return k.where(k.gt(input, 0), k.zeros_like(slope), slope)


def prelu(input: Any, weight: Any) -> Any:
    """Each element if positive, else times `weight`: one number, or one per channel (dimension 1 of `input`).

    RuntimeError if the number of weights fits neither, or their dtype differs. He et al. 2015, arXiv:1502.01852.
    """
    have, want = weight._a, input._a
    if have.dtype != want.dtype:
        raise RuntimeError(
            f"prelu(): expected weight of input's dtype, got input {describe(input)}, weight {describe(weight)}"
        )
    floating("prelu", want, "fV")
    if have.ndim > 1:
        raise RuntimeError(f"prelu(): expected weight with at most one dimension, got {describe(weight)}")
    if have.size != 1:
        channels = want.shape[1] if want.ndim > 1 else 1
        if want.ndim == 0 or have.size != channels:
            raise RuntimeError(
                f"prelu(): expected 1 or {channels} weights for input {describe(input)}, got {have.size}"
            )
    if have.ndim and want.ndim != 1:
        weight = weight.reshape((-1,) + (1,) * (want.ndim - 2)) if want.ndim > 1 else weight.reshape(())
    return prelu_kernel(input, weight)


@op
def rrelu_with_noise(k, input: Tensor, noise: Index):
    """`input * noise`, where `noise` is 1 for positive elements and a slope for the others."""
    return k.mul(input, noise)


@rrelu_with_noise.derivative("input")
def _(k, g, noise):
    return k.mul(g, noise)


def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Any:
    """Leaky ReLU whose slopes are drawn from `[lower, upper)` in training, else the middle of that range."""
    a = input._a
    floating("rrelu", a, "fV")
    if lower > upper:
        raise RuntimeError(f"rrelu(): the lower bound must not exceed the upper one, got lower={lower}, upper={upper}")
    if input._level is not None or (NS["WRITES"] is not None and not training):
        return _rrelu_at_level(input, lower, upper, training, inplace)
    noise = _slopes(a, lower, upper) if training else np.where(a > 0, 1.0, (lower + upper) / 2)
    held = NS["BESIDE"](input, noise.astype(a.dtype))
    return write_into(rrelu_with_noise, input, held) if inplace else rrelu_with_noise(input, held)


@one_call
def _slopes(a: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """1 where `a` is positive, a number drawn from `[lower, upper)` elsewhere: as many draws as there are of these."""
    noise = np.ones(a.shape, np.float64)
    count = int(np.count_nonzero(a <= 0))
    if count:
        noise[a <= 0] = lower + (upper - lower) * draws.doubles(default_generator, count)
    return noise


def _rrelu_at_level(input: Any, lower: float, upper: float, training: bool, inplace: bool) -> Any:
    """`rrelu` of a batch or a dual: a slope is drawn for every element, and used where it is not positive."""
    from flambeau.ops.random_ops import rand_like

    ops = NS["OPS"]
    one = NS["WRAP"](np.ones((), input._a.dtype))
    slope = rand_like(input) * (upper - lower) + lower if training else one * ((lower + upper) / 2)
    noise = ops.where(ops.gt(input, 0), one, slope)
    return write_into(rrelu_with_noise, input, noise) if inplace else rrelu_with_noise(input, noise)


def rrelu_(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Any:
    """`rrelu`, written into `input`."""
    return rrelu(input, lower, upper, training, True)


@op(name="elu", elementwise=True)
def elu_op(k, input: Tensor, alpha=1.0, scale=1.0, input_scale=1.0):
    """`scale * x` if positive, else `scale * alpha * (exp(input_scale * x) - 1)`."""
    floating("elu", input)
    return k.elu(input, alpha, scale, input_scale)


@elu_op.derivative("input")
def _(k, g, input, alpha, scale, input_scale):
    return k.elu_backward(g, input, alpha, scale, input_scale)


@composite
def elu_backward(k, g, a, alpha, scale, input_scale):
    """The gradient times the slope."""
    low = k.mul(k.exp(k.mul(k.minimum(a, k.zeros_like(a)), input_scale)), alpha * scale * input_scale)
    return k.mul(g, k.where(k.gt(a, 0), k.full_like(a, scale), low))


@op(name="celu", elementwise=True)
def celu_op(k, input: Tensor, alpha=1.0):
    """`x` if positive, else `alpha * (exp(x / alpha) - 1)`."""
    floating("celu", input)
    return k.elu(input, alpha, 1.0, 1.0 / alpha)


@celu_op.derivative("input")
def _(k, g, input, alpha):
    return k.elu_backward(g, input, alpha, 1.0, 1.0 / alpha)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """`x` if positive, else `alpha * (exp(x) - 1)`. Clevert et al. 2015, arXiv:1511.07289."""
    return write_into(elu_op, input, alpha) if inplace else elu_op(input, alpha)


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """`elu`, written into `input`."""
    return write_into(elu_op, input, alpha)


def selu(input: Any, inplace: bool = False) -> Any:
    """ELU scaled so that mean 0 and variance 1 last from layer to layer. Klambauer et al. 2017, arXiv:1706.02515."""
    args = (_SELU_ALPHA, _SELU_SCALE, 1.0)
    return write_into(elu_op, input, *args) if inplace else elu_op(input, *args)


def selu_(input: Any) -> Any:
    """`selu`, written into `input`."""
    return selu(input, True)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """`x` if positive, else `alpha * (exp(x / alpha) - 1)`. Barron 2017, arXiv:1704.07483."""
    if alpha == 0:
        raise RuntimeError("celu(): alpha must not be 0, the input is divided by it")
    return write_into(celu_op, input, alpha) if inplace else celu_op(input, alpha)


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """`celu`, written into `input`."""
    return celu(input, alpha, True)


# --- smooth gates -------------------------------------------------------------------------------------------------


@op(outputs=2, hidden=1)
def gelu(k, input: Tensor, approximate="none"):
    """`x` times the normal distribution function at `x`; with `approximate='tanh'` a cheaper formula close to it.

    Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    if approximate != "none" and approximate != "tanh":
        raise RuntimeError(f"gelu(): approximate must be 'none' or 'tanh', got {approximate!r}")
    floating("gelu", input)
    return k.gelu(input, approximate, thread.grad)


@gelu.derivative("input")
def _(k, g, input, out1, approximate):
    return k.gelu_backward(g, input, out1, approximate)


@composite
def gelu_backward(k, g, a, slope, approximate):
    """The gradient of GELU. `slope`, kept by forward, is for kernels: recorded, it must be a function of `a`."""
    if approximate == "tanh":
        square = k.mul(a, a)
        t = k.tanh(k.mul(a, k.add(k.mul(square, _SQRT_2_OVER_PI * _CUBIC), _SQRT_2_OVER_PI)))
        inner = k.add(k.mul(square, 3 * _SQRT_2_OVER_PI * _CUBIC), _SQRT_2_OVER_PI)
        slope = k.mul(k.mul(k.mul(a, 0.5), k.sub(1, k.mul(t, t))), inner)
        return k.mul(g, k.add(slope, k.mul(k.add(t, 1), 0.5)))
    density = k.mul(k.exp(k.mul(k.mul(a, a), -0.5)), 1 / math.sqrt(2 * math.pi))
    cdf = k.mul(k.add(k.erf(k.mul(a, math.sqrt(0.5))), 1), 0.5)
    return k.mul(g, k.add(k.mul(a, density), cdf))


@op(name="silu", outputs=2, hidden=1)
def silu_op(k, input: Tensor):
    """`x * sigmoid(x)`."""
    floating("silu", input, "fc")
    return k.silu(input, thread.grad)


@silu_op.derivative("input")
def _(k, g, input, out1):
    return k.silu_backward(g, input, out1)


@composite
def silu_backward(k, g, a, slope):
    """The gradient of SiLU. `slope`, kept by forward, is for kernels: recorded, it must be a function of `a`."""
    s = k.sigmoid(a)
    return k.mul(k.mul(g, s), k.add(k.mul(a, k.sub(1, s)), 1))


def silu(input: Any, inplace: bool = False) -> Any:
    """`x * sigmoid(x)` of each element, also called swish. Elfwing et al. 2017, arXiv:1702.03118."""
    return write_into(silu_op, input) if inplace else silu_op(input)


@op(name="mish", elementwise=True)
def mish_op(k, input: Tensor):
    """`x * tanh(softplus(x))`."""
    floating("mish", input)
    return k.mish(input)


@mish_op.derivative("input")
def _(k, g, input):
    return k.mish_backward(g, input)


@composite
def mish_backward(k, g, a):
    """The gradient of Mish."""
    w = k.tanh(k.softplus(a, 1.0, 20.0))
    slope = k.mul(k.mul(a, k.sigmoid(a)), k.sub(1, k.mul(w, w)))
    return k.mul(g, k.add(w, slope))


def mish(input: Any, inplace: bool = False) -> Any:
    """`x * tanh(softplus(x))` of each element. Misra 2019, arXiv:1908.08681."""
    return write_into(mish_op, input) if inplace else mish_op(input)


@op(elementwise=True)
def softplus(k, input: Tensor, beta=1.0, threshold=20.0):
    """`log(1 + exp(beta * x)) / beta` of each element, and `x` itself where `beta * x` is above `threshold`."""
    floating("softplus", input)
    return k.softplus(input, beta, threshold)


@softplus.derivative("input")
def _(k, g, input, beta, threshold):
    return k.softplus_backward(g, input, beta, threshold)


@composite
def softplus_backward(k, g, a, beta, threshold):
    """The gradient of softplus."""
    scaled = k.mul(a, beta)
    return k.where(k.gt(scaled, threshold), g, k.mul(g, k.sigmoid(scaled)))


@op(elementwise=True)
def log_sigmoid(k, input: Tensor):
    """`log(sigmoid(x))` of each element, without overflow."""
    floating("logsigmoid", input)
    return k.log_sigmoid(input)


@log_sigmoid.derivative("input")
def _(k, g, input):
    return k.log_sigmoid_backward(g, input)


@composite
def log_sigmoid_backward(k, g, a):
    """The gradient of `log_sigmoid`."""
    return k.mul(g, k.sigmoid(k.neg(a)))


logsigmoid = log_sigmoid


@op
def glu(k, input: Tensor, dim=-1):
    """The first half of `dim` times the sigmoid of the second. Dauphin et al. 2016, arXiv:1612.08083.

    RuntimeError if `dim` has an odd length.
    """
    if input.ndim == 0:
        raise RuntimeError("glu(): expected at least one dimension to halve, got a tensor without dimensions")
    floating("glu", input)
    dim = wrap_dim(dim, input.ndim)
    half = _half("glu", input.shape, dim)
    return k.mul(k.slice(input, dim, 0, half), k.sigmoid(k.slice(input, dim, half, 2 * half)))


def _half(name: str, shape: tuple[int, ...], dim: int) -> int:
    n = shape[dim]
    if n % 2:
        raise RuntimeError(f"{name}(): expected an even length to halve, but dimension {dim} has length {n}")
    return n // 2


@glu.derivative("input")
def _(k, g, input, dim):
    dim = wrap_dim(dim, len(input.shape))
    half = _half("glu", input.shape, dim)
    a, s = k.slice(input, dim, 0, half), k.sigmoid(k.slice(input, dim, half, 2 * half))
    first = k.mul(g, s)
    return k.cat([first, k.mul(k.mul(first, a), k.sub(1, s))], dim)


def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """A draw from the Gumbel-softmax distribution of `logits`, at temperature `tau`, along `dim`.

    With `hard` the value is one-hot, while the gradient is that of the soft sample. Jang et al. 2016, arXiv:1611.01144.
    """
    if eps != 1e-10:
        warnings.warn("softsign(): eps is outdated and does nothing", UserWarning, stacklevel=2)
    noise = logits.detach().clone().exponential_().log().neg()
    soft = NS["OPS"].softmax((logits + noise) / tau, wrap_dim(dim, logits.ndim))
    if not hard:
        return soft
    index = soft.detach().argmax(dim=dim, keepdim=True)
    one_hot = NS["OPS"].zeros_like(soft.detach()).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
