"""Sparse matrices with one dimension compressed: rows (CSR, and BSR of blocks) or columns (CSC, BSC).

The compressed indices say where each row's (column's) elements begin among the plain indices, which name their columns
(rows). As with coordinates (`sparse.py`) values are ordinary tensors, and all that is computed of them is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.tensor import sparse as coordinates
from flambeau.tensor.creation import as_tensor, zeros
from flambeau.tensor.formats import layout as layout_class
from flambeau.tensor.formats import sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr
from flambeau.tensor.printing import format_array, with_suffixes
from flambeau.tensor.sparse import SparseTensor
from flambeau.tensor.tensor import Tensor

__all__ = ["CompressedTensor", "compress", "sparse_compressed_tensor"]

BY_ROW = (sparse_csr, sparse_bsr)
BLOCKED = (sparse_bsr, sparse_bsc)


class CompressedTensor(Tensor):
    """A sparse matrix in a compressed layout. `torch.sparse_csr_tensor` and its kin make one."""

    _c: Tensor
    _p: Tensor
    _v: Tensor
    layout: Any = None  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        if name in _EACH and len(args) == 1:
            return with_values(args[0], func(args[0]._v, **(kwargs or {})))
        handler = _HANDLERS.get(name)
        if handler is None:
            raise coordinates.to_dense_first(name)
        return handler(*args, **(kwargs or {}))

    is_sparse_csr = property(lambda self: self.layout is sparse_csr)  # type: ignore[assignment]
    requires_grad = property(lambda self: self._v.requires_grad)  # type: ignore[assignment]
    grad_fn = property(lambda self: self._v.grad_fn)  # type: ignore[assignment]
    is_leaf = property(lambda self: self._v.is_leaf)  # type: ignore[assignment]
    grad = property(lambda self: None if self._v.grad is None else with_values(self, self._v.grad))  # type: ignore[assignment]

    def requires_grad_(self, requires_grad: bool = True) -> CompressedTensor:
        """Whether gradients reach the values."""
        self._v.requires_grad_(requires_grad)
        return self

    def _indices_of(self, name: str, wanted: bool, found: Tensor) -> Tensor:
        if not wanted:
            raise RuntimeError(f"{name}(): a tensor of layout {self.layout} has no such indices")
        return found

    def crow_indices(self) -> Tensor:
        """Where each row (of blocks) begins, and the end."""
        return self._indices_of("crow_indices", self.layout in BY_ROW, self._c)

    def col_indices(self) -> Tensor:
        """The column (of blocks) of each element."""
        return self._indices_of("col_indices", self.layout in BY_ROW, self._p)

    def ccol_indices(self) -> Tensor:
        """Where each column (of blocks) begins, and the end."""
        return self._indices_of("ccol_indices", self.layout not in BY_ROW, self._c)

    def row_indices(self) -> Tensor:
        """The row (of blocks) of each element."""
        return self._indices_of("row_indices", self.layout not in BY_ROW, self._p)

    def values(self) -> Tensor:
        """The elements, or blocks, that are there."""
        return self._v

    def _nnz(self) -> int:
        """How many elements, or blocks, are there."""
        return self._v.shape[0]

    def sparse_dim(self) -> int:
        """2: rows and columns."""
        return 2

    def dense_dim(self) -> int:
        """0: values are numbers."""
        return 0

    def coordinates(self) -> SparseTensor:
        """The same elements by coordinates, row by row for CSR."""
        lines = np.repeat(np.arange(len(self._c._a) - 1), np.diff(self._c._a))
        places = np.stack([lines, self._p._a] if self.layout in BY_ROW else [self._p._a, lines]).astype(np.int64)
        values = self._v
        if self.layout in BLOCKED:
            high, wide = values.shape[1:]
            inner = np.stack(np.meshgrid(np.arange(high), np.arange(wide), indexing="ij")).reshape(2, 1, -1)
            places = (places[:, :, None] * np.array([high, wide])[:, None, None] + inner).reshape(2, -1)
            values = values.reshape(-1)
        return coordinates.make(places, values, self.shape, self.layout is sparse_csr)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        """The ordinary tensor with the same elements."""
        return self.coordinates().to_dense(dtype)

    def to_sparse(
        self, sparse_dim: Any = None, *, layout: Any = sparse_coo, blocksize: Any = None, **kwargs: Any
    ) -> Any:
        """In another sparse layout, coordinates if none is given."""
        return self if layout is self.layout else compress(self, layout or sparse_coo, blocksize)

    def to(self, *args: Any, **kwargs: Any) -> CompressedTensor:
        """With values of another dtype; see `Tensor.to`."""
        values = self._v.to(*args, **kwargs)
        return self if values is self._v else with_values(self, values)

    def float(self, *args: Any) -> CompressedTensor:  # type: ignore[override]
        """With values of float32."""
        return self.to(dtypes.float32)

    def double(self, *args: Any) -> CompressedTensor:  # type: ignore[override]
        """With values of float64."""
        return self.to(dtypes.float64)

    def cpu(self, *args: Any, **kwargs: Any) -> CompressedTensor:
        """Itself: it is on the CPU."""
        return self

    def detach(self) -> CompressedTensor:
        """Without history."""
        return with_values(self, self._v.detach())

    data = property(detach)  # type: ignore[assignment]

    def clone(self, *args: Any, **kwargs: Any) -> CompressedTensor:
        """A copy."""
        return _make(self._c.clone(), self._p.clone(), self._v.clone(), self.shape, self.layout)

    def __deepcopy__(self, memo: dict) -> CompressedTensor:
        memo[id(self)] = copied = self.detach().clone()
        return copied.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _make, (self._c, self._p, self._v.detach(), tuple(self.shape), self.layout)

    def numpy(self, *, force: bool = False) -> Any:
        """TypeError: convert with `to_dense()` first."""
        raise TypeError("a sparse tensor has no array: convert it with .to_dense() first")

    __array__ = numpy  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple) and len(index) == 2 and all(isinstance(i, int) for i in index):
            return self.to_dense()[index]
        if not isinstance(index, int):
            raise coordinates.to_dense_first("indexing")
        return self.coordinates()[index]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        names = ("crow_indices", "col_indices") if self.layout in BY_ROW else ("ccol_indices", "row_indices")
        lines = []
        for label, t in zip((*names, "values"), (self._c, self._p, self._v), strict=True):
            body = format_array(t._a, 15 + len(label)) if t._a.size else "[]"
            size = f", size={tuple(t.shape)}" if not t._a.size else ""
            lines.append(f"{label}=tensor({body}{size})")
        suffixes = [f"size={tuple(self.shape)}", f"nnz={self._nnz()}"]
        if self.dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_):
            suffixes.append(f"dtype={self.dtype}")
        suffixes.append(f"layout={self.layout}")
        if self.grad_fn is not None:
            suffixes.append(f"grad_fn=<{type(self.grad_fn).__name__}>")
        elif self.requires_grad:
            suffixes.append("requires_grad=True")
        return with_suffixes("tensor(" + ",\n       ".join(lines), suffixes, 7)

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    T = property(lambda self: _transpose(self))  # type: ignore[assignment]
    mT = property(lambda self: _transpose(self))  # type: ignore[assignment]


def _make(compressed: Any, plain: Any, values: Tensor, shape: Any, layout: layout_class) -> CompressedTensor:
    out = object.__new__(CompressedTensor)
    out._c, out._p = (t if isinstance(t, Tensor) else as_tensor(np.ascontiguousarray(t)) for t in (compressed, plain))
    out._v, out.layout = values, layout
    out._a = coordinates.Absent(values._a.dtype, tuple(shape))  # type: ignore[assignment]
    return out


def with_values(matrix: CompressedTensor, values: Tensor) -> CompressedTensor:
    """A matrix with other values at the same places."""
    return _make(matrix._c, matrix._p, values, matrix.shape, matrix.layout)


def sparse_compressed_tensor(
    compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, check_invariants: bool | None = None,
) -> CompressedTensor:  # fmt: skip
    """A sparse matrix of a compressed layout: torch.sparse_csr, sparse_csc, sparse_bsr or sparse_bsc.

    Args:
        compressed_indices: where each row (column, for CSC and BSC) begins among the elements, and their number.
        plain_indices: the column (row) of each element.
        values: the elements (count,), or for BSR and BSC the blocks (count, height, width).
        size: the shape; by default as large as the indices need.

    Raises:
        RuntimeError: the indices do not belong together, or one lies outside of `size`.

    >>> import flambeau as torch
    >>> torch.sparse_csr_tensor([0, 1, 2], [1, 0], [3.0, 4.0]) @ torch.ones(2, 1)
    tensor([[3.],
            [4.]])
    """
    if not isinstance(layout, layout_class) or layout not in (*BY_ROW, sparse_csc, sparse_bsc):
        raise RuntimeError(f"sparse_compressed_tensor(): layout must be CSR, CSC, BSR or BSC, got {layout}")
    begins, plain = (as_tensor(t) for t in (compressed_indices, plain_indices))
    kept = as_tensor(values, dtype=dtype)
    kept = kept.detach().clone() if requires_grad else kept
    blocked = layout in BLOCKED
    if begins.ndim != 1 or plain.ndim != 1 or kept.ndim != (3 if blocked else 1):
        raise RuntimeError(
            f"{layout}: expected compressed and plain indices of one dimension and values of "
            f"{3 if blocked else 1}, got {tuple(begins.shape)}, {tuple(plain.shape)} and {tuple(kept.shape)}"
        )
    block = tuple(kept.shape[1:]) if blocked else (1, 1)
    lines, most = len(begins._a) - 1, int(plain._a.max(initial=-1)) + 1
    least = (lines * block[0], most * block[1]) if layout in BY_ROW else (most * block[0], lines * block[1])
    shape = least if size is None else tuple(size)
    _check(layout, begins._a, plain._a, kept, shape, block)
    out = _make(begins, plain, kept, shape, layout)
    return out.requires_grad_() if requires_grad else out


def _check(layout: Any, begins: np.ndarray, plain: np.ndarray, kept: Tensor, shape: tuple, block: tuple) -> None:
    if len(shape) != 2:
        raise RuntimeError(f"{layout}: the size must have 2 dimensions, got {shape}")
    whole = tuple(s // b for s, b in zip(shape, block, strict=True))
    lines, others = whole if layout in BY_ROW else whole[::-1]
    if any(s % b for s, b in zip(shape, block, strict=True)):
        raise RuntimeError(f"{layout}: a size of {shape} is not made of whole blocks of {block}")
    counts = np.diff(begins)
    if len(begins) != lines + 1 or begins[0] != 0 or begins[-1] != len(plain) or (counts < 0).any():
        raise RuntimeError(
            f"{layout}: the compressed indices must rise from 0 to {len(plain)}, the number of elements, in "
            f"{lines + 1} steps for a size of {shape}; got {begins.tolist()[:20]}"
        )
    if len(plain) != kept.shape[0]:
        raise RuntimeError(f"{layout}: {len(plain)} plain indices do not fit {kept.shape[0]} values")
    if plain.size and (plain.min() < 0 or plain.max() >= others):
        raise RuntimeError(f"{layout}: a plain index lies outside of {others}")


def compress(input: Any, layout: Any, blocksize: Any = None) -> Any:
    """A tensor of any layout in a sparse one. RuntimeError where it is no matrix, or not made of whole blocks."""
    if isinstance(input, CompressedTensor):
        if layout is input.layout and (blocksize is None or tuple(blocksize) == tuple(input._v.shape[1:])):
            return input
        input = input.coordinates()
    if layout in (None, sparse_coo):
        return coordinates.to_sparse(input) if not isinstance(input, SparseTensor) else input.coalesce()
    if input.ndim != 2:
        raise RuntimeError(f"to_sparse(): {layout} here is for matrices, got a tensor of {input.ndim} dimensions")
    if layout in BLOCKED:
        return _in_blocks(input, layout, blocksize)
    if blocksize is not None:
        raise RuntimeError(f"to_sparse(): {layout} has no blocks, but blocksize is {blocksize}")
    merged = (input if isinstance(input, SparseTensor) else coordinates.to_sparse(input)).coalesce()
    rows, columns = merged._i._a
    if layout in BY_ROW:
        return _make(_begins(rows, input.shape[0]), columns, merged._v, input.shape, layout)
    order = np.lexsort((rows, columns))
    return _make(_begins(columns, input.shape[1]), rows[order], merged._v[as_tensor(order)], input.shape, layout)


def _begins(lines: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=count))]).astype(np.int64)


def _in_blocks(input: Any, layout: Any, blocksize: Any) -> CompressedTensor:
    dense = input.to_dense() if isinstance(input, SparseTensor) else input
    if blocksize is None or len(blocksize) != 2 or any(s % b for s, b in zip(dense.shape, blocksize, strict=True)):
        raise RuntimeError(
            f"to_sparse(): {layout} needs a blocksize of two numbers that divide the size, got {blocksize} for "
            f"{tuple(dense.shape)}"
        )
    (high, wide), (rows, columns) = blocksize, dense.shape
    blocks = dense.reshape(rows // high, high, columns // wide, wide).permute(0, 2, 1, 3)
    there = (blocks._a != 0).any((2, 3))
    if layout in BY_ROW:
        i, j = np.nonzero(there)
        return _make(_begins(i, rows // high), j, blocks[as_tensor(i), as_tensor(j)], dense.shape, layout)
    j, i = np.nonzero(there.T)
    return _make(_begins(j, columns // wide), i, blocks[as_tensor(i), as_tensor(j)], dense.shape, layout)


# --- functions ---------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    return value.coordinates() if isinstance(value, CompressedTensor) else value


def mm(input: Any, mat2: Any, **kwargs: Any) -> Any:
    found = coordinates.mm(_plain(input), _plain(mat2))
    return compress(found, sparse_csr) if isinstance(found, SparseTensor) else found


def _addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return input * beta + mm(mat1, mat2) * alpha


def _transpose(input: Any, dim0: int = 0, dim1: int = 1) -> CompressedTensor:
    if dim0 % 2 == dim1 % 2:
        return input
    turned = {sparse_csr: sparse_csc, sparse_csc: sparse_csr, sparse_bsr: sparse_bsc, sparse_bsc: sparse_bsr}
    values = input._v.transpose(1, 2) if input.layout in BLOCKED else input._v
    return _make(input._c, input._p, values, tuple(input.shape)[::-1], turned[input.layout])


def _block(input: CompressedTensor) -> tuple[int, ...] | None:
    return tuple(input._v.shape[1:]) or None


def _add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    if isinstance(input, CompressedTensor) and isinstance(other, CompressedTensor):
        return compress(input.coordinates() + other.coordinates() * alpha, input.layout, _block(input))
    if isinstance(input, CompressedTensor):
        return input.to_dense() + other * alpha
    return input + other.to_dense() * alpha


def _scaled(function: Callable) -> Callable:
    def handler(input: Any, other: Any, **kwargs: Any) -> Any:
        if not isinstance(input, CompressedTensor):
            input, other = other, input
        if isinstance(other, (int, float, complex)) or (isinstance(other, Tensor) and other.ndim == 0):
            return with_values(input, function(input._v, other, **kwargs))
        dense = function(input.to_dense(), other.to_dense() if isinstance(other, CompressedTensor) else other, **kwargs)
        return compress(dense, input.layout, _block(input))

    return handler


def _sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if dim is None:
        return input._v.sum(dtype=dtype)
    return compress(input.to_dense().sum(dim, keepdim=keepdim, dtype=dtype), input.layout)


_EACH = frozenset(
    """abs neg negative sqrt square relu sin tan sinh tanh asin atan sign sgn floor ceil round trunc expm1 log1p
    erf""".split()
)
_HANDLERS: dict[str, Callable] = {
    "mm": mm, "matmul": mm, "mv": mm, "spmm": mm, "addmm": _addmm, "transpose": _transpose, "t": _transpose,
    "swapaxes": _transpose, "add": _add, "scaled_add": _add, "sub": lambda a, b, *, alpha=1: _add(a, b, alpha=-alpha),
    "scaled_sub": lambda a, b, *, alpha=1: _add(a, b, alpha=-alpha), "sum": _sum,
    "mul": _scaled(lambda a, b: a * b), "multiply": _scaled(lambda a, b: a * b),
    "div": _scaled(lambda a, b, **kw: a.div(b, **kw)), "true_divide": _scaled(lambda a, b: a / b),
    "zeros_like": lambda input, **kw: _make(
        np.zeros(len(input._c._a), np.int64), np.zeros(0, np.int64),
        zeros(0, *input._v.shape[1:], dtype=input.dtype), input.shape, input.layout),
}  # fmt: skip


def _maker(layout: Any, first: str, second: str) -> Callable:
    def make(compressed: Any, plain: Any, values: Any, size: Any = None, **kwargs: Any) -> CompressedTensor:
        return sparse_compressed_tensor(compressed, plain, values, size, layout=layout, **kwargs)

    def function(*args: Any, **kwargs: Any) -> CompressedTensor:
        given = [kwargs.pop(name) for name in (first, second) if name in kwargs]
        return make(*args[:1], *given, *args[1:], **kwargs) if given else make(*args, **kwargs)

    kind = str(layout).removeprefix("torch.sparse_")
    function.__name__ = function.__qualname__ = f"sparse_{kind}_tensor"
    function.__doc__ = (
        f"A sparse matrix in {kind.upper()} layout from its {first}, {second}, values and size; see "
        "`sparse_compressed_tensor`."
    )
    return function


sparse_csr_tensor = _maker(sparse_csr, "crow_indices", "col_indices")
sparse_csc_tensor = _maker(sparse_csc, "ccol_indices", "row_indices")
sparse_bsr_tensor = _maker(sparse_bsr, "crow_indices", "col_indices")
sparse_bsc_tensor = _maker(sparse_bsc, "ccol_indices", "row_indices")
