"""Sparse tensors in coordinate format: indices and values of the elements that are there.

A sparse tensor is a `Tensor` whose class handles the functions in `_HANDLERS`; any other asks for `to_dense()`. Values
are ordinary tensors and all that is computed of them is recorded, so gradients reach the values and dense operands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops import elementwise, joining, scatter
from flambeau.tensor.creation import as_tensor, zeros
from flambeau.tensor.formats import sparse_coo
from flambeau.tensor.printing import format_array
from flambeau.tensor.size import Size
from flambeau.tensor.tensor import Tensor

__all__ = ["SparseTensor", "sparse_coo_tensor", "spmm", "to_sparse"]


def to_dense_first(name: str) -> NotImplementedError:
    return NotImplementedError(f"{name}() of a sparse tensor: convert it with .to_dense() first")


class Absent:
    """Stands where other tensors have their array: it tells shape and dtype and refuses all else."""

    __array_ufunc__ = None

    def __init__(self, dtype: Any, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape, self.ndim, self.size = dtype, shape, len(shape), int(np.prod(shape))

    def __getattr__(self, name: str) -> Any:
        raise to_dense_first("this function")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise to_dense_first("this function")

    __getitem__ = __setitem__ = __array__


class SparseTensor(Tensor):
    """A tensor of which only some elements are there; the others are zero. `torch.sparse_coo_tensor` makes one."""

    _i: Tensor
    _v: Tensor
    _merged: bool
    is_sparse = True
    layout = sparse_coo  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        handler = _HANDLERS.get(name)
        if handler is None:
            raise to_dense_first(name)
        return handler(*args, **(kwargs or {}))

    requires_grad = property(lambda self: self._v.requires_grad)  # type: ignore[assignment]
    grad_fn = property(lambda self: self._v.grad_fn)  # type: ignore[assignment]
    is_leaf = property(lambda self: self._v.is_leaf)  # type: ignore[assignment]

    def requires_grad_(self, requires_grad: bool = True) -> SparseTensor:
        """Whether gradients reach the values."""
        self._v.requires_grad_(requires_grad)
        return self

    def _indices(self) -> Tensor:
        """The indices as they are, (sparse dimensions, count)."""
        return self._i

    def _values(self) -> Tensor:
        """The values as they are."""
        return self._v

    def _nnz(self) -> int:
        """How many elements are kept."""
        return self._v.shape[0]

    def is_coalesced(self) -> bool:
        """Whether each element is kept once, in order."""
        return self._merged

    def sparse_dim(self) -> int:
        """How many dimensions the indices name."""
        return self._i.shape[0]

    def dense_dim(self) -> int:
        """How many dimensions each value has."""
        return self._v.ndim - 1

    def indices(self) -> Tensor:
        """The indices (sparse dimensions, count). RuntimeError unless it is coalesced."""
        return self._kept("indices")._i

    def values(self) -> Tensor:
        """The values. RuntimeError unless it is coalesced."""
        return self._kept("values")._v

    def _kept(self, name: str) -> SparseTensor:
        if not self._merged:
            raise RuntimeError(f"{name}() of a sparse tensor that is not coalesced: call .coalesce() first")
        return self

    def _flat(self) -> np.ndarray:
        """Each element's place among all."""
        shape = self.shape[: self.sparse_dim()]
        if not shape or not self._nnz():
            return np.zeros(self._nnz(), np.int64)
        return np.ravel_multi_index(tuple(self._i._a), shape)

    def coalesce(self) -> SparseTensor:
        """Elements that are kept more than once added up, all in order."""
        if self._merged:
            return self
        places, where = np.unique(self._flat(), return_inverse=True)
        values = zeros(len(places), *self._v.shape[1:], dtype=self.dtype)
        values = scatter.index_add(values, 0, as_tensor(where.reshape(-1)), self._v)
        shape = self.shape[: self.sparse_dim()]
        return make(np.stack(np.unravel_index(places, shape)), values, self.shape, True)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        """The ordinary tensor with the same elements."""
        n = self.sparse_dim()
        flat = zeros(int(np.prod(self.shape[:n])), *self.shape[n:], dtype=self.dtype)
        dense = scatter.index_add(flat, 0, as_tensor(self._flat()), self._v).reshape(self.shape)
        return dense if dtype is None else dense.to(dtype)

    def to_sparse(self, *args: Any, layout: Any = None, blocksize: Any = None, **kwargs: Any) -> Any:
        """Itself, or in a compressed layout."""
        if layout in (None, sparse_coo):
            return self
        from flambeau.tensor.compressed import compress

        return compress(self, layout, blocksize)

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """With values of another dtype; see `Tensor.to`."""
        values = self._v.to(*args, **kwargs)
        return self if values is self._v else make(self._i, values, self.shape, self._merged)

    def float(self, *args: Any) -> SparseTensor:  # type: ignore[override]
        """With values of float32."""
        return self.to(dtypes.float32)

    def double(self, *args: Any) -> SparseTensor:  # type: ignore[override]
        """With values of float64."""
        return self.to(dtypes.float64)

    def cpu(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """Itself: it is on the CPU."""
        return self

    def detach(self) -> SparseTensor:
        """Without history."""
        return make(self._i, self._v.detach(), self.shape, self._merged)

    data = property(detach)  # type: ignore[assignment]

    def contiguous(self, memory_format: Any = None) -> SparseTensor:
        """Itself."""
        return self

    def equal(self, other: Any) -> bool:
        """Whether the other is sparse too and has the same elements."""
        if not isinstance(other, SparseTensor) or self.shape != other.shape:
            return False
        one, two = self.coalesce(), other.coalesce()
        return one._i.equal(two._i) and one._v.equal(two._v)

    def clone(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """A copy."""
        return make(self._i.clone(), self._v.clone(), self.shape, self._merged)

    def __getitem__(self, index: Any) -> Tensor:
        if not isinstance(index, int):
            raise to_dense_first("indexing")
        n = index + self.shape[0] if index < 0 else index
        if not 0 <= n < self.shape[0]:
            raise IndexError(f"index {index} is out of range for a dimension of {self.shape[0]}")
        here = self._i._a[0] == n
        part = self._v[as_tensor(here)]
        return make(self._i._a[1:, here], part, self.shape[1:], self._merged) if self.sparse_dim() > 1 else part.sum(0)

    def __deepcopy__(self, memo: dict) -> SparseTensor:
        memo[id(self)] = copied = self.detach().clone()
        return copied.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return make, (self._i, self._v.detach(), tuple(self.shape), self._merged)

    def numpy(self, *, force: bool = False) -> Any:
        """TypeError: convert with `to_dense()` first."""
        raise TypeError("a sparse tensor has no array: convert it with .to_dense() first")

    def tolist(self) -> Any:
        """RuntimeError: convert with `to_dense()` first."""
        raise RuntimeError("a sparse tensor has no list of elements: convert it with .to_dense() first")

    __array__ = numpy  # type: ignore[assignment]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        def shown(label: str, t: Tensor) -> str:
            size = "" if t._a.size else f", size={tuple(t.shape)}"
            return f"{label}=tensor({format_array(t._a, 15 + len(label))}{size})"

        tail = f"size={tuple(self.shape)}, nnz={self._nnz()}"
        if self.dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_):
            tail += f", dtype={self.dtype}"
        tail += ", layout=torch.sparse_coo"
        tail += ", requires_grad=True" if self.requires_grad and self.is_leaf else ""
        return "tensor(" + ",\n       ".join([shown("indices", self._i), shown("values", self._v), tail]) + ")"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    T = property(lambda self: _transpose(self))  # type: ignore[assignment]
    mT = property(lambda self: _transpose(self, -2, -1))  # type: ignore[assignment]


def make(indices: Any, values: Tensor, shape: Any, merged: bool = False) -> SparseTensor:
    out = object.__new__(SparseTensor)
    out._i = indices if isinstance(indices, Tensor) else as_tensor(np.ascontiguousarray(indices, np.int64))
    out._v, out._merged = values, merged
    out._a = Absent(values._a.dtype, tuple(shape))  # type: ignore[assignment]
    return out


def sparse_coo_tensor(
    indices: Any, values: Any = None, size: Any = None, *, dtype: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:  # fmt: skip
    """A sparse tensor of elements `values` (count, ...) at `indices` (dimensions, count); equal indices add up.

    Args:
        size: the shape; by default as large as the indices need.

    Raises:
        RuntimeError: indices and values do not belong together, or an index lies outside of `size`.

    >>> import flambeau as torch
    >>> s = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    >>> s @ torch.ones(3, 1)
    tensor([[3.],
            [4.]])
    """
    if values is None:  # sparse_coo_tensor(size): nothing is there
        size = tuple(indices)
        indices, values = np.zeros((len(size), 0), np.int64), zeros(0, dtype=dtype)
    places = np.asarray(indices._a if isinstance(indices, Tensor) else indices).astype(np.int64)
    kept = as_tensor(values, dtype=dtype)
    kept = kept.detach().clone() if requires_grad else kept
    if places.ndim != 2 or kept.ndim < 1 or places.shape[1] != kept.shape[0]:
        raise RuntimeError(
            f"sparse_coo_tensor(): indices are (dimensions, count) and values (count, ...); got {places.shape} and "
            f"{tuple(kept.shape)}"
        )
    if size is None:
        size = (*(places.max(1, initial=-1) + 1).tolist(), *kept.shape[1:])
    size = Size(size)
    if len(size) != len(places) + kept.ndim - 1 or tuple(size[len(places) :]) != tuple(kept.shape[1:]):
        raise RuntimeError(f"sparse_coo_tensor(): a size of {len(size)} dimensions does not fit {len(places)} indices")
    if places.size and (places.min() < 0 or (places.max(1) >= np.array(size[: len(places)])).any()):
        raise RuntimeError(f"sparse_coo_tensor(): an index lies outside of the size {tuple(size)}")
    out = make(places, kept, size, bool(is_coalesced) or places.shape[1] < 2)
    return out.requires_grad_() if requires_grad else out


def spmm(input: Any, mat2: Any) -> Any:
    """`torch.mm`, under its name for sparse matrices."""
    return mm(input, mat2) if SparseTensor in (type(input), type(mat2)) else input.mm(mat2)


def to_sparse(input: Tensor, sparse_dim: int | None = None, **kwargs: Any) -> SparseTensor:
    """The elements of a tensor that are not zero, as a sparse tensor: with `sparse_dim`, the places along that many
    dimensions where any element is not.

    RuntimeError unless `sparse_dim` is a number of the tensor's dimensions.
    """
    n = input.ndim if sparse_dim is None else sparse_dim
    if not (0 < n <= input.ndim or n == input.ndim == 0):
        raise RuntimeError(f"to_sparse(): sparse_dim must be from 1 to {input.ndim}, got {sparse_dim}")
    there = input._a != 0
    places = np.stack(np.nonzero(there.any(axis=tuple(range(n, input.ndim)))))
    values = input[tuple(as_tensor(p) for p in places)]
    return make(places, values, input.shape, True)


def masked_by(input: Tensor, mask: Any) -> Any:
    """The elements of a dense tensor at the places of a sparse one, in its layout."""
    found = mask.coordinates() if not isinstance(mask, SparseTensor) else mask
    picked = input[tuple(as_tensor(p) for p in found._i._a)]
    made = make(found._i, picked, mask.shape, found._merged)
    return made if found is mask else made.to_sparse(layout=mask.layout, blocksize=mask._v.shape[1:] or None)


# --- functions ---------------------------------------------------------------------------------------------------


def _matrix(a: Any, name: str) -> SparseTensor:
    if a.ndim != 2 or a.sparse_dim() != 2:
        raise RuntimeError(f"{name}(): a sparse matrix of 2 dimensions is needed, got {tuple(a.shape)}")
    return a


def mm(input: Any, mat2: Any, *rest: Any, **kwargs: Any) -> Any:
    """A product of matrices, or of a matrix and a vector, of which at least one is sparse."""
    if not isinstance(input, SparseTensor):
        return mm(_transpose(mat2), input.mT if input.ndim > 1 else input).mT if input.ndim > 1 else mm(
            _transpose(mat2), input)  # fmt: skip
    matrix = _matrix(input, "mm")
    if isinstance(mat2, SparseTensor):
        return to_sparse(mm(matrix, mat2.to_dense()))
    if mat2.ndim not in (1, 2) or mat2.shape[0] != matrix.shape[1]:
        raise RuntimeError(f"mm(): matrices of {tuple(matrix.shape)} and {tuple(mat2.shape)} have no product")
    if matrix.dtype != mat2.dtype:
        raise RuntimeError(f"mm(): a sparse matrix of {matrix.dtype} and a dense one of {mat2.dtype} have no product")
    rows, columns = (as_tensor(places) for places in matrix._i._a)
    picked = scatter.index_select(mat2, 0, columns)
    parts = picked * (matrix._v if mat2.ndim == 1 else matrix._v.unsqueeze(1))
    return scatter.index_add(zeros(matrix.shape[0], *mat2.shape[1:], dtype=mat2.dtype), 0, rows, parts)


def _addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return input * beta + mm(mat1, mat2) * alpha


def _transpose(input: Any, dim0: int = 0, dim1: int = 1) -> SparseTensor:
    order = list(range(input.ndim))
    a, b = dim0 % input.ndim, dim1 % input.ndim
    order[a], order[b] = order[b], order[a]
    if input.dense_dim():
        raise to_dense_first("transpose with dense dimensions")
    return make(input._i._a[order], input._v, [input.shape[d] for d in order])


def _joined(a: SparseTensor, b: SparseTensor, values: Tensor) -> SparseTensor:
    if a.shape != b.shape:
        raise RuntimeError(f"sparse tensors of the shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be added")
    if np.array_equal(a._i._a, b._i._a):
        return make(a._i, a._v + values, a.shape, a._merged)
    return make(np.concatenate([a._i._a, b._i._a], 1), joining.cat([a._v, values]), a.shape).coalesce()


def _add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    if not isinstance(other, SparseTensor):
        raise RuntimeError("add(sparse, dense) gives no sparse tensor: write dense + sparse")
    if isinstance(input, SparseTensor):
        return _joined(input, other, other._v * alpha)
    kind = dtypes.promote_types(input.dtype, other.dtype)
    return input.to(kind) + other.to_dense().to(kind) * alpha


def _sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return _add(input, other, alpha=-alpha)


def _scaled(function: Callable) -> Callable:
    """A product or quotient with a number, or with a dense tensor of the same shape at the places that are there."""

    def handler(input: Any, other: Any, **kwargs: Any) -> Any:
        if not isinstance(input, SparseTensor):
            input, other = other, input  # only a product comes so
        if isinstance(other, SparseTensor):
            return to_sparse(function(input.to_dense(), other.to_dense(), **kwargs))
        if isinstance(other, Tensor) and other.ndim:
            if other.shape != input.shape:
                raise RuntimeError(f"a sparse tensor of {tuple(input.shape)} and {tuple(other.shape)} do not fit")
            other = other[tuple(as_tensor(p) for p in input._i._a)]
        return make(input._i, function(input._v, other, **kwargs), input.shape, input._merged)

    return handler


def _each(function: Callable) -> Callable:
    """A function that keeps zero, of each value."""

    def handler(input: Any, *args: Any, **kwargs: Any) -> Any:
        merged = input.coalesce()
        return make(merged._i, function(merged._v, *args, **kwargs), input.shape, True)

    return handler


def _sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **kwargs: Any) -> Any:
    """The sum of all elements, or over dimensions as a sparse tensor."""
    if dim is None:
        return input._v.sum(dtype=dtype)
    gone = {d % input.ndim for d in ([dim] if isinstance(dim, int) else dim)}
    left = [d for d in range(input.ndim) if d not in gone]
    if not left or input.dense_dim() or keepdim:
        return input.to_dense().sum(dim, keepdim=keepdim, dtype=dtype)
    return make(input._i._a[left], input._v, [input.shape[d] for d in left]).coalesce()


def _select_rows(input: Any, dim: int, index: Any) -> SparseTensor:
    merged, d = input.coalesce(), dim % input.ndim
    wanted = index._a.reshape(-1)
    hits = [(np.flatnonzero(merged._i._a[d] == w), n) for n, w in enumerate(wanted)]
    found = np.concatenate([h for h, _ in hits]) if hits else np.zeros(0, np.int64)
    places = merged._i._a[:, found].copy()
    places[d] = np.concatenate([np.full(len(h), n) for h, n in hits]) if hits else places[d]
    return make(places, merged._v[as_tensor(found)], [len(wanted) if k == d else s for k, s in enumerate(input.shape)])


def _cat(tensors: Any, dim: int = 0, **kwargs: Any) -> SparseTensor:
    d, moved, start = dim % tensors[0].ndim, [], 0
    for t in tensors:
        places = t._i._a.copy()
        places[d] += start
        start += t.shape[d]
        moved.append(places)
    shape = [start if k == d else s for k, s in enumerate(tensors[0].shape)]
    return make(np.concatenate(moved, 1), joining.cat([t._v for t in tensors]), shape)


def _softmax(input: Any, dim: int, dtype: Any = None, log: bool = False) -> SparseTensor:
    """Softmax over the elements that are there, along the last dimension of a matrix or the first."""
    merged = _matrix(input, "softmax").coalesce()
    lines = merged._i._a[1 - dim % 2]
    highest = np.full(input.shape[1 - dim % 2], -np.inf, merged._v._a.dtype)
    np.maximum.at(highest, lines, merged._v._a)
    shifted = merged._v - as_tensor(highest[lines])
    at = as_tensor(lines)
    total = scatter.index_add(zeros(len(highest), dtype=merged.dtype), 0, at, elementwise.exp(shifted))
    total = scatter.index_select(total, 0, at)
    values = shifted - elementwise.log(total) if log else elementwise.exp(shifted) / total
    return make(merged._i, values, input.shape, True)


_HANDLERS: dict[str, Callable] = {
    "mm": mm, "matmul": mm, "mv": mm, "spmm": mm, "addmm": _addmm, "sum": _sum, "cat": _cat,
    "add": _add, "scaled_add": _add, "sub": _sub, "scaled_sub": _sub, "index_select": _select_rows,
    "transpose": _transpose, "swapaxes": _transpose, "t": _transpose, "softmax": _softmax,
    "log_softmax": functools.partial(_softmax, log=True),
    "mul": _scaled(lambda a, b: a * b), "multiply": _scaled(lambda a, b: a * b),
    "div": _scaled(lambda a, b, **kw: a.div(b, **kw)), "divide": _scaled(lambda a, b, **kw: a.div(b, **kw)),
    "true_divide": _scaled(lambda a, b: a / b), "pow_scalar": _each(lambda v, exponent: v**exponent),
    "neg": lambda input: make(input._i, -input._v, input.shape, input._merged), "negative": lambda input: -input,
}  # fmt: skip
for _name in "abs sqrt square relu sin tan sinh tanh asin atan sign floor ceil round trunc expm1 log1p erf".split():
    _HANDLERS[_name] = _each(functools.partial(lambda v, *a, name, **kw: getattr(v, name)(*a, **kw), name=_name))
