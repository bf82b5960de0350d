"""Where a tensor goes beyond this library or its memory: NumPy, DLPack, copies, pickles; and the legacy constructor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import LEAF, NS, thread
from flambeau.devices import CPU
from flambeau.engines.arrays import FOREIGN, host
from flambeau.engines.shared import block_of
from flambeau.errors import CaptureError
from flambeau.ops.dispatch import wrap
from flambeau.tensor.sharing import reduce_shared, travels
from flambeau.tensor.size import Size


def formats() -> Any:
    """The layouts, which are made of tensors' room."""
    from flambeau.tensor import formats as found

    return found


def _of_sparse(name: str) -> Callable:
    def refuse(self: Any) -> Any:
        raise RuntimeError(
            f"{name}() is for tensors of a sparse layout that has it, but this one's layout is {self.layout}"
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = "RuntimeError: only sparse tensors of some layouts have this."
    return refuse


class Elsewhere:
    """The methods of `Tensor` by which others see it."""

    _a: np.ndarray
    _node: Any
    _grad: Any

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Any:
        """Itself: all elements are there."""
        return self if dtype is None else self.to(dtype)

    def to_sparse(
        self, sparse_dim: int | None = None, *, layout: Any = None, blocksize: Any = None, dense_dim: Any = None
    ) -> Any:
        """The elements that are not zero, as a sparse tensor of coordinates or of a compressed `layout`; see
        `torch.sparse_coo_tensor` and `torch.sparse_compressed_tensor`.
        """
        from flambeau.tensor.compressed import compress
        from flambeau.tensor.sparse import to_sparse

        if layout is not None and str(layout) != "torch.sparse_coo":
            return compress(self, layout, blocksize)
        return to_sparse(self, sparse_dim)  # type: ignore[arg-type]

    def to_sparse_csr(self, dense_dim: Any = None) -> Any:
        """The elements that are not zero, by compressed rows."""
        return self.to_sparse(layout=formats().sparse_csr)

    def to_sparse_csc(self, dense_dim: Any = None) -> Any:
        """The elements that are not zero, by compressed columns."""
        return self.to_sparse(layout=formats().sparse_csc)

    def to_sparse_bsr(self, blocksize: Any, dense_dim: Any = None) -> Any:
        """The blocks that are not zero, by compressed rows."""
        return self.to_sparse(layout=formats().sparse_bsr, blocksize=blocksize)

    def to_sparse_bsc(self, blocksize: Any, dense_dim: Any = None) -> Any:
        """The blocks that are not zero, by compressed columns."""
        return self.to_sparse(layout=formats().sparse_bsc, blocksize=blocksize)

    def sparse_mask(self, mask: Any) -> Any:
        """The elements at the places where the sparse tensor `mask` has some, as a sparse tensor like it."""
        from flambeau.tensor.sparse import masked_by

        return masked_by(self, mask)  # type: ignore[arg-type]

    def to_sparse_coo(self) -> Any:
        """The elements that are not zero, as a sparse tensor of coordinates."""
        return self.to_sparse()

    def sparse_dim(self) -> int:
        """0: all elements are there."""
        return 0

    def dense_dim(self) -> int:
        """The number of dimensions."""
        return self._a.ndim

    indices, values, coalesce, is_coalesced = map(_of_sparse, ("indices", "values", "coalesce", "is_coalesced"))
    crow_indices, col_indices = map(_of_sparse, ("crow_indices", "col_indices"))
    ccol_indices, row_indices = map(_of_sparse, ("ccol_indices", "row_indices"))
    _nnz, _indices, _values = map(_of_sparse, ("_nnz", "_indices", "_values"))

    def __deepcopy__(self, memo: dict) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                f"only leaf tensors can be copied deeply, this one was computed by {self.grad_fn.name()}; "
                "copy.deepcopy(t.detach()), or t.clone() to stay in the graph"
            )
        if id(self) in memo:
            return memo[id(self)]
        import copy

        plain = type(self) is NS["Tensor"] or type(self) is NS["Parameter"]
        other: Any = object.__new__(NS["Tensor"] if plain else type(self))
        other._a = _copied(self._a, memo)
        other._node = self._node
        memo[id(self)] = other
        if self._grad is not None:
            other._grad = copy.deepcopy(self._grad, memo)
        for name, value in self.__dict__.items():
            if name not in _OWN:
                other.__dict__[name] = copy.deepcopy(value, memo)
        return other

    def __reduce_ex__(self, protocol: Any) -> tuple:
        extra = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        if self._a.__class__ in FOREIGN:
            return _rebuild, (type(self), self._a, self._node is LEAF, extra)
        if travels():
            if not self.is_leaf:
                raise RuntimeError(
                    "only leaf tensors can be sent to another process: history stays behind; call .detach() first"
                )
            return reduce_shared(self, extra)
        array = self._a if self._a.base is None or block_of(self._a) is not None else self._a.copy(order="K")
        order = sorted(range(array.ndim), key=lambda d: -abs(array.strides[d]))
        flat = array.transpose(order)
        if array.flags.c_contiguous or not flat.flags.c_contiguous:
            return _rebuild, (type(self), array, self._node is not None, extra)
        # NumPy would pickle these in the order of their dimensions; PyTorch keeps the order in memory
        return _rebuild, (type(self), flat, self._node is not None, extra, order)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The same memory as a NumPy array. A tensor that requires grad must be detached first (or `force=True`)."""
        if self._node is not None and thread.grad and not force:
            raise RuntimeError("Can't call numpy() here: the tensor requires grad; use .detach().numpy()")
        if self.dtype is dtypes.bfloat16:
            raise TypeError("NumPy has no bfloat16; convert with .float() first")
        if self._a.__class__ in FOREIGN:
            if NS["CAPTURE"] is not None and self.device is CPU:  # type: ignore[attr-defined]
                NS["CAPTURE"].refuse(
                    CaptureError(
                        "a step compiled by XLA has no memory that NumPy could share (numpy()). Use operations of "
                        "torch, or compile with fallback=True to run such steps eagerly"
                    )
                )
            if not force:
                raise TypeError(
                    f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "  # type: ignore[attr-defined]
                    "host memory first"
                )
            return host(self._a)
        return self._a

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        return wrap(np.asarray(array).astype(np.uint8) if array.dtype == bool else np.asarray(array))

    @property
    def __array_interface__(self) -> dict:
        if self._node is not None:
            raise RuntimeError("Can't call numpy() here: the tensor requires grad; use .detach().numpy()")
        if self._a.__class__ in FOREIGN:
            raise AttributeError("__array_interface__ is for tensors on the CPU; use Tensor.cpu() first")
        return self._a.__array_interface__

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        if self._node is not None:
            raise BufferError("a tensor that requires grad can't be exported; use tensor.detach()")
        if self._a.__class__ in FOREIGN:
            return self._a.value.__dlpack__()
        return self._a.__dlpack__() if max_version is None else self._a.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0) if self._a.__class__ not in FOREIGN else tuple(self._a.value.__dlpack_device__())


_OWN = frozenset(
    (
        "_a",
        "_node",
        "_grad",
        "_base",
        "_shared",
        "_stamp",
        "_writes",
        "_cell",
        "_hooks",
        "_post_hooks",
        "_inference",
        "_held",
        "_accumulator_hooks",
        "_accumulator",
        "_no_grad_view",
        "_multi_view",
        "_conj",
        "_neg",
    )
)


def _copied(array: np.ndarray, memo: dict) -> np.ndarray:
    """A copy of an array; those that show one memory stay together, as their copies do."""
    if array.__class__ in FOREIGN:
        return _copied_there(array, memo)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if not owner.flags.c_contiguous:
        owner = owner.T
    if not owner.flags.c_contiguous:
        return np.array(array, order="K")
    key = ("memory", id(owner if owner.base is None else owner.base))
    kept = memo.get(key)
    if kept is None:
        kept = memo[key] = owner.copy()
    if array is owner:
        return kept
    start = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0] if array.size else 0
    return np.ndarray(array.shape, array.dtype, kept, start, array.strides)


def _copied_there(array: Any, memo: dict) -> Any:
    """The same for an array on a device."""
    root = array if array.base is None else array.base
    key = ("memory", id(root.store))
    kept = memo.get(key)
    if kept is None:
        kept = memo[key] = root.copy(order="K")
    if array is root or not root.flags.c_contiguous:
        return kept if array is root else array.copy(order="K")
    size = array.itemsize
    return kept.window(array.shape, array.offset_bytes // size, tuple(s // size for s in array.strides))


def _rebuild(cls: type, array: np.ndarray, leaf: bool, extra: dict, order: Any = None) -> Any:
    self: Any = object.__new__(cls)
    if array.__class__ in FOREIGN:
        self._a = array
    else:
        self._a = array.view(dtypes.of_numpy(array.dtype).numpy)  # unpickled arrays have a dtype object of their own
    if order is not None:
        self._a = self._a.transpose(np.argsort(order))
    if leaf:
        self._node = LEAF
    self.__dict__.update(extra)
    return self


def legacy_array(args: tuple, dtype: Any) -> np.ndarray:
    """What `Tensor(...)` holds: zeros of a shape, or the values of a sequence, in the class's dtype."""
    d = (dtype or dtypes.get_default_dtype()).numpy
    if not args:
        return np.zeros((0,), d)
    if len(args) == 1:
        (value,) = args
        if isinstance(value, NS["Tensor"]):
            if value._a.dtype != d:
                raise TypeError(f"expected a tensor of {dtypes.of_numpy(d)}, got {value.dtype}")
            return value._a
        if isinstance(value, Size):
            return np.zeros(value, d)
        if isinstance(value, np.ndarray):
            return np.array(value, dtype=d)
        if not isinstance(value, (int, np.integer)):
            if not isinstance(value, (list, tuple, range)):
                raise TypeError(f"new(): a sequence is needed, got {type(value).__name__}")
            from flambeau.tensor.creation import array_of

            return array_of(value, dtypes.of_numpy(d))
    sizes = []
    for n in args:
        if not hasattr(n, "__index__") or isinstance(n, bool):
            raise TypeError(f"new() takes sizes as ints, or one sequence; got {tuple(type(a).__name__ for a in args)}")
        sizes.append(n.__index__())
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"new(): a size can't be negative, got {sizes}")
    return np.zeros(sizes, d)
