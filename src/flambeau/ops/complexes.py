"""Complex numbers made of their parts."""
# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import numpy as np

from flambeau.ops.core import op


@op(elementwise=True, holomorphic=False, exact_out=True)
def complex_op(k, real: Tensor, imag: Tensor):
    """A complex tensor from its parts; not `real + imag * 1j`, which makes NaN of infinite parts."""
    shape = np.broadcast_shapes(real.shape, imag.shape)
    result = np.empty_like(real, np.result_type(real.dtype, np.complex64), order="C", shape=shape)
    result.real, result.imag = real, imag
    return result


@complex_op.derivative("real")
def _(k, g):
    return k.real(g)


@complex_op.derivative("imag")
def _(k, g):
    return k.imag(g)


@op(elementwise=True, holomorphic=False, exact_out=True, grad_name="PolarBackward0")
def polar_op(k, abs: Tensor, angle: Tensor):
    """A complex tensor from moduli and arguments."""
    return complex_op.op.compute(k, k.mul(abs, k.cos(angle)), k.mul(abs, k.sin(angle)))


@polar_op.derivative("abs")
def _(k, g, out):
    return k.real(k.mul(k.conj(g), k.sgn(out)))


@polar_op.derivative("angle")
def _(k, g, out):
    return k.real(k.mul(k.conj(g), k.mul(out, 1j)))
