"""Matrix products: native where they are large enough to be worth the call, else through BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native.products import product
from .blas import get_threads, single_blas

_NATIVE = 40_000  # multiply-adds from which the native product is quicker than BLAS
_TINY = 1 << 18  # multiply-adds up to which BLAS does not start threads anyway
_ALONE = 1 << 21  # and up to which one thread is as quick, and safe from waiting for a busy core


def dot(a: Any, b: Any) -> Any:
    """The product of two matrices."""
    if a.size * b.shape[1] > _NATIVE and a.shape[0] > 3:
        result = product(a, b)
        if result is not None:
            return result
    if _TINY < a.size * b.shape[1] <= _ALONE and get_threads() > 1:
        with single_blas():
            return a.dot(b)
    return a.dot(b)


def matmul(a: Any, b: Any) -> Any:
    """PyTorch's `matmul` on float arrays: vectors, matrices, batches with broadcasting."""
    if a.ndim == 2 and b.ndim <= 2:
        return dot(a, b) if b.ndim == 2 and a.shape[1] == b.shape[0] else a.dot(b)
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        # one product for the whole batch instead of one per matrix
        shape = a.shape
        if shape[-1] != b.shape[0]:
            raise ValueError(
                f"a {shape[-2]}x{shape[-1]} matrix can't be multiplied by a {b.shape[0]}x{b.shape[1]} one: the "
                "first's columns must be as many as the second's rows"
            )
        rows = 1
        for n in shape[:-1]:
            rows *= n
        return dot(a.reshape(rows, shape[-1]), b).reshape(*shape[:-1], b.shape[1])
    if a.ndim > 2 < b.ndim and 4 >= a.ndim and b.ndim <= 4 and a.size * b.shape[-1] > _NATIVE:
        result = product(a, b)
        if result is not None:
            return result
    return np.matmul(a, b)


def linear(a: Any, weight: Any, bias: Any = None) -> Any:
    """`a @ weight.T + bias`."""
    if weight.ndim == 2 and a.ndim > 1 and a.size * weight.shape[0] > _NATIVE:
        result = _linear(a, weight, bias)
        if result is not None:
            return result
    if a.ndim == 2 and weight.ndim == 2:
        result = dot(a, weight.T)
    else:
        result = matmul(a, weight.T)
    if bias is not None:
        result = np.add(result, bias, out=result) if result.__class__ is np.ndarray else result + bias
    return result


def _linear(a: Any, weight: Any, bias: Any) -> Any:
    """`linear` with the bias added where the product is still in registers; None where that can't be."""
    if bias is not None and not (bias.ndim == 1 and bias.flags.c_contiguous and bias.dtype is a.dtype):
        return None
    if a.ndim == 2:
        return product(a, weight.T, bias=bias) if a.shape[0] > 3 else None
    if a.shape[-1] != weight.shape[1]:
        return None
    flat = a.reshape(-1, a.shape[-1])
    result = product(flat, weight.T, bias=bias) if flat.shape[0] > 3 else None
    return None if result is None else result.reshape(*a.shape[:-1], weight.shape[0])


def linear_weight(g: Any, a: Any) -> Any:
    """The gradient of `linear`'s weight."""
    if a.ndim != 2:
        a = a.reshape(-1, a.shape[-1])
        g = g.reshape(a.shape[0], -1)
    return dot(g.T, a)


def outer(a: Any, b: Any) -> Any:
    """The outer product of two vectors."""
    return np.multiply(a[:, None], b)
