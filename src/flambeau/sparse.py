"""`torch.sparse`: functions of tensors in coordinate format."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.tensor import compressed as _compressed
from flambeau.tensor import formats as _formats
from flambeau.tensor import sparse as _coo
from flambeau.tensor.compressed import CompressedTensor
from flambeau.tensor.creation import as_tensor
from flambeau.tensor.formats import sparse_coo
from flambeau.tensor.sparse import SparseTensor
from flambeau.tensor.tensor import Tensor

__all__ = [
    "addmm",
    "check_sparse_tensor_invariants",
    "log_softmax",
    "mm",
    "sampled_addmm",
    "softmax",
    "spdiags",
    "sum",
]


def mm(mat1: Any, mat2: Any) -> Tensor:
    """The product of two matrices, of which at least one is sparse; sparse if both are."""
    if isinstance(mat1, CompressedTensor) or isinstance(mat2, CompressedTensor):
        return _compressed.mm(mat1, mat2)
    return _coo.mm(mat1, mat2)


def addmm(mat: Tensor, mat1: Any, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """`beta` times `mat` plus `alpha` times the product of a sparse and a dense matrix."""
    return mat * beta + mm(mat1, mat2) * alpha


def sum(input: SparseTensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum of all elements, or over dimensions as a sparse tensor."""
    if isinstance(input, CompressedTensor):
        return input.sum(dim, dtype=dtype) if dim is not None else input.sum(dtype=dtype)
    return _coo._sum(input, dim, dtype=dtype)


def softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """Softmax over the elements that are there, of a matrix."""
    return _coo._softmax(input if dtype is None else input.to(dtype), dim)


def log_softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """The logarithm of `softmax`."""
    return _coo._softmax(input if dtype is None else input.to(dtype), dim, log=True)


def sampled_addmm(input: Any, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Any:
    """`beta * input + alpha * (mat1 @ mat2)` at the places where `input`, a CSR matrix, has elements."""
    rows, columns = (as_tensor(places) for places in input.coordinates()._i._a)
    products = (mat1[rows] * mat2.mT[columns]).sum(-1)
    return _compressed.with_values(input, input.values() * beta + products * alpha)


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Any, layout: Any = None) -> SparseTensor:
    """A sparse matrix of `shape` with the rows of `diagonals` on its diagonals `offsets`: element j of a row lies in
    column j.

    RuntimeError where the shapes do not go together, or an offset comes twice. NotImplementedError for a layout other
    than coordinates.
    """
    if layout not in (None, sparse_coo):
        raise NotImplementedError(f"spdiags(): the layout here is torch.sparse_coo, got {layout}")
    rows = diagonals if diagonals.ndim == 2 else diagonals[None]
    at = np.atleast_1d(offsets.detach().numpy()).astype(np.int64)
    if len(shape) != 2 or rows.ndim != 2 or len(rows) != at.size or np.unique(at).size != at.size:
        raise RuntimeError(
            f"spdiags(): expected a matrix with a row for each of {at.size} different offsets and a shape of two "
            f"numbers, got {tuple(diagonals.shape)} and {tuple(shape)}"
        )
    places, taken = [], []
    for row, offset in enumerate(at.tolist()):
        first, last = max(0, offset), min(rows.shape[1], shape[1], shape[0] + offset)
        columns = np.arange(first, max(first, last))
        places.append(np.stack([columns - offset, columns]))
        taken.append(np.stack([np.full(columns.size, row), columns]))
    i, j = np.concatenate(taken, 1)
    values = rows[as_tensor(i), as_tensor(j)]
    return _coo.sparse_coo_tensor(as_tensor(np.concatenate(places, 1)), values, tuple(shape))


class _TypedMeta(type):
    """`isinstance(t, torch.sparse.FloatTensor)` asks for format and dtype; a call makes one as older programs do."""

    _dtype: Any

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, SparseTensor) and instance.dtype is cls._dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> SparseTensor:
        if len(args) < 2:  # only a size, or nothing: no element is there
            return _coo.sparse_coo_tensor(tuple(args[0]) if args else (0,), dtype=cls._dtype)
        return _coo.sparse_coo_tensor(*args, dtype=cls._dtype, **kwargs)


def _typed(name: str) -> Any:
    kind = getattr(_formats, name).dtype
    return _TypedMeta(name, (), {"_dtype": kind, "__module__": "torch.sparse", "__doc__": f"Sparse tensors of {kind}."})


FloatTensor, DoubleTensor, HalfTensor = _typed("FloatTensor"), _typed("DoubleTensor"), _typed("HalfTensor")
LongTensor, IntTensor, ShortTensor = _typed("LongTensor"), _typed("IntTensor"), _typed("ShortTensor")
CharTensor, ByteTensor, BFloat16Tensor = _typed("CharTensor"), _typed("ByteTensor"), _typed("BFloat16Tensor")


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
