"""Draws whose parameters get a gradient by implicit reparameterisation: gamma and Dirichlet numbers.

Under `torch` they have the names with an underscore that PyTorch gives them; `distributions` is made of them.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

from flambeau.engines.numpy import gammas
from flambeau.errors import describe, need_tensor
from flambeau.ops.core import op
from flambeau.ops.fillers import generator_of

__all__ = ["_dirichlet_grad", "_sample_dirichlet", "_standard_gamma", "_standard_gamma_grad"]


@op(name="_standard_gamma_grad", upcast=False)
def _standard_gamma_grad(k, input: Tensor, output: Tensor):
    """How gamma numbers `output` of rate 1 move with their shape parameters `input`: d output / d input."""
    return k.standard_gamma_grad(input, output)


@_standard_gamma_grad.derivative("input", "output")
def _(k, g, needs):
    raise NotImplementedError("_standard_gamma_grad(): there is no formula for its own derivative; detach its input")


@op(name="_standard_gamma", any_dtype=True, upcast=False)
def _gamma(k, input: Tensor, generator):
    """A gamma number of rate 1 per shape parameter."""
    return gammas.sample_gamma(generator, input.reshape(-1)).reshape(input.shape)


@_gamma.derivative("input")
def _(k, g, input, out):
    return k.mul(g, k._standard_gamma_grad(input, out))


def _standard_gamma(input: Any, generator: Any = None) -> Any:
    """A gamma number of rate 1 for each shape parameter in `input`, in the same dtype, differentiable in it."""
    need_tensor("_standard_gamma", input)
    _floating("_standard_gamma", input)
    return _gamma(input, generator_of(generator))


def _floating(name: str, input: Any) -> None:
    if not input.is_floating_point() or input.dtype.itemsize < 4:
        raise NotImplementedError(f"{name}() is not implemented for {input.dtype}; use float32 or float64")


@op(name="_dirichlet_grad", upcast=False)
def _dirichlet_grad(k, x: Tensor, alpha: Tensor, total: Tensor):
    """How components `x` of Dirichlet samples move with their concentrations `alpha`, per 1 - x.

    `total` is the sum of the concentrations.
    """
    return k.dirichlet_grad(x, alpha, total)


@_dirichlet_grad.derivative("x", "alpha", "total")
def _(k, g, needs):
    raise NotImplementedError("_dirichlet_grad(): there is no formula for its own derivative; detach its input")


@op(name="_sample_dirichlet", any_dtype=True, upcast=False)
def _dirichlet(k, input: Tensor, generator):
    """A Dirichlet sample per row of concentrations."""
    return gammas.sample_dirichlet(generator, input)


@_dirichlet.derivative("input")
def _(k, g, input, out, input_shape):
    total = k.expand(k.sum(input, -1, True), input_shape)
    common = k.sum(k.mul(out, g), -1, True)
    return k.mul(k._dirichlet_grad(out, input, total), k.sub(g, common))


def _sample_dirichlet(input: Any, generator: Any = None) -> Any:
    """A Dirichlet sample for each row of concentrations in `input`, along the last dimension; differentiable in them.

    RuntimeError for a tensor without dimensions.
    """
    need_tensor("_sample_dirichlet", input)
    _floating("_sample_dirichlet", input)
    if input.dim() < 1:
        raise RuntimeError(f"_sample_dirichlet(): concentrations need a dimension, got {describe(input)}")
    return _dirichlet(input, generator_of(generator))
