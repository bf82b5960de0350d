"""Helpers of distributions: parameters broadcast together, probabilities and logits, attributes computed when asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.distributions._core import (
    Size,
    Tensor,
    arange,
    broadcast_tensors,
    empty,
    enable_grad,
    finfo,
    get_default_dtype,
    softmax,
    tensor,
)

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

#: Euler's constant: the mean of the standard Gumbel distribution.
euler_constant = 0.5772156649015329

NUMBER = (bool, int, float)


def is_number(value: Any) -> bool:
    """Whether it is a Python number, which takes the dtype of the tensors beside it."""
    return isinstance(value, NUMBER)


def _is_tensor_like(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(type(value), "__torch_function__")


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Tensors and numbers broadcast to one shape; numbers take the dtype of the first tensor, or the default one.

    ValueError for anything else.

    >>> import flambeau as torch
    >>> from flambeau.distributions.utils import broadcast_all
    >>> broadcast_all(torch.zeros(2), 1)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    for value in values:
        if not (_is_tensor_like(value) or is_number(value)):
            raise ValueError(f"a parameter must be a Tensor or a number, got {type(value).__name__}: {value!r}")
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), get_default_dtype())
    return tuple(broadcast_tensors(*(v if _is_tensor_like(v) else tensor(v, dtype=dtype) for v in values)))


def _standard_normal(shape: Any, dtype: Any, device: Any) -> Any:
    return empty(shape, dtype=dtype, device=device).normal_()


def _sum_rightmost(value: Any, dim: int) -> Any:
    """The sum over the last `dim` dimensions."""
    if dim == 0:
        return value
    return value.reshape(value.shape[:-dim] + (-1,)).sum(-1)


def logits_to_probs(logits: Any, is_binary: bool = False) -> Any:
    """Probabilities of logits: their sigmoid if `is_binary`, else their softmax along the last dimension."""
    return logits.sigmoid() if is_binary else softmax(logits, dim=-1)


def clamp_probs(probs: Any) -> Any:
    """Probabilities kept a rounding error away from 0 and 1, so that their logarithms are finite."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Any, is_binary: bool = False) -> Any:
    """Logits of probabilities: log(p) - log(1 - p) if `is_binary`, else log(p). Those of 0 and 1 are kept finite."""
    inside = clamp_probs(probs)
    return inside.log() - (-inside).log1p() if is_binary else inside.log()


class lazy_property:
    """An attribute that is computed when first read, with its history recorded, and then kept."""

    def __init__(self, wrapped: Callable) -> None:
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, obj_type: Any = None) -> Any:
        if instance is None:
            return _lazy_property_and_property(self.wrapped)
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class _lazy_property_and_property(lazy_property, property):
    """What a class shows for a `lazy_property`: documentation tools read it as an ordinary property."""

    def __init__(self, wrapped: Callable) -> None:
        property.__init__(self, wrapped)


def _below(n: int, diag: int) -> Any:
    """Which places of an n x n matrix lie on diagonal `diag` or below."""
    places = arange(n)
    return places < places.view(-1, 1) + (diag + 1)


def tril_matrix_to_vec(mat: Any, diag: int = 0) -> Any:
    """The entries on diagonal `diag` and below of D x D matrices, row by row, as vectors.

    ValueError unless -D <= diag < D.
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag must lie in [{-n}, {n - 1}] for matrices of {n} rows, got {diag}")
    return mat[..., _below(n, diag)]


def vec_to_tril_matrix(vec: Any, diag: int = 0) -> Any:
    """Matrices whose entries on diagonal `diag` and below come from vectors, row by row; the others are 0.

    ValueError for a length that is no such count.
    """
    odd = 1 + 2 * diag
    n = (-odd + (odd**2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if round(n) - n > finfo(vec.dtype).eps:
        raise ValueError(f"{vec.shape[-1]} entries do not fill the part of a square matrix below diagonal {diag}")
    n = round(n)
    mat = vec.new_zeros(vec.shape[:-1] + Size((n, n)))
    mat[..., _below(n, diag)] = vec
    return mat
