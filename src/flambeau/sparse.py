"""`torch.sparse`: functions of tensors in coordinate format."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import sparse as _coo
from flambeau.tensor.sparse import SparseTensor
from flambeau.tensor.tensor import Tensor

__all__ = ["addmm", "check_sparse_tensor_invariants", "log_softmax", "mm", "softmax", "sum"]


def mm(mat1: Any, mat2: Any) -> Tensor:
    """The product of two matrices, of which at least one is sparse; sparse if both are."""
    return _coo._mm(mat1, mat2)


def addmm(mat: Tensor, mat1: Any, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """`beta` times `mat` plus `alpha` times the product of a sparse and a dense matrix."""
    return _coo._addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def sum(input: SparseTensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum of all elements, or over dimensions as a sparse tensor."""
    return _coo._sum(input, dim, dtype=dtype)


def softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """Softmax over the elements that are there, of a matrix."""
    return _coo._softmax(input if dtype is None else input.to(dtype), dim)


def log_softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """The logarithm of `softmax`."""
    return _coo._softmax(input if dtype is None else input.to(dtype), dim, log=True)


class check_sparse_tensor_invariants:
    """Whether indices are checked when a sparse tensor is made: they always are. A context that changes nothing."""

    def __init__(self, enable: bool = True) -> None:
        self.enabled = enable

    @staticmethod
    def is_enabled() -> bool:
        """True."""
        return True

    @staticmethod
    def enable() -> None:
        """Nothing to do."""

    @staticmethod
    def disable() -> None:
        """Accepted; indices are checked all the same."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None
