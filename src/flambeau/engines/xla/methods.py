"""The methods of NumPy's arrays for arrays on a device: views by NumPy's own reckoning, the rest by its functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.xla.runtime import Tracer


def _shape_of(args: tuple) -> Any:
    return args[0] if len(args) == 1 and not isinstance(args[0], (int, np.integer)) else args


def _index_arrays(index: Any) -> bool:
    """Whether an index picks by arrays, masks or lists."""
    items = index if index.__class__ is tuple else (index,)
    return any(not (i is None or i is Ellipsis or i.__class__ is slice or _is_int(i)) for i in items)


def _is_int(item: Any) -> bool:
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


class Views:
    """Other arrays on the same memory."""

    __slots__ = ()
    shadow: Any
    shape: Any
    ndim: int
    size: int
    dtype: Any

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """In another shape: a view where the strides allow it."""
        target = _shape_of(shape)
        target = (target,) if _is_int(target) else tuple(int(n) for n in target)
        if self._shadow is None and -1 not in target:
            n = 1
            for m in target:
                n *= m
            if n == self.size:
                return self._another(target)
        if self.size == 0 or self._shadow is None:
            return self._another(self.shadow.reshape(target).shape)
        try:
            return self.seen_as(_without_copy(self.shadow, target))
        except (ValueError, AttributeError):
            shape = np.broadcast_to(np.empty((), bool), self.shape).reshape(target).shape  # with NumPy's error
            return self.copy().reshape(shape)

    def transpose(self, *axes: Any) -> Any:
        """The dimensions in another order."""
        order = _shape_of(axes) if axes else None
        return self.seen_as(self.shadow.transpose(order))

    @property
    def T(self) -> Any:
        return self.seen_as(self.shadow.T)

    @property
    def mT(self) -> Any:
        return self.swapaxes(-1, -2)

    def swapaxes(self, a: int, b: int) -> Any:
        """Two dimensions exchanged."""
        return self.seen_as(self.shadow.swapaxes(a, b))

    def squeeze(self, axis: Any = None) -> Any:
        """Without dimensions of length 1."""
        return self.seen_as(self.shadow.squeeze(axis))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """The diagonals, as the last dimension."""
        view = self.seen_as(self.shadow.diagonal(offset, axis1, axis2))
        if self.flags.writeable:
            view.flags.writeable = True
        return view

    def ravel(self, order: str = "C") -> Any:
        """Flat."""
        return self.reshape(-1)

    def view(self, dtype: Any = None) -> Any:
        """The same memory, read as another dtype if one is given."""
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self[...]
        if isinstance(dtype, type) and issubclass(dtype, np.ndarray):
            return self[...]
        shape = self.shadow.view(dtype).shape
        return self.part("bits", shape, dtype)

    @property
    def real(self) -> Any:
        return self.part("real", self.shape, f"f{self.dtype.itemsize // 2}") if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value: Any) -> None:
        self.real.assign(value)

    @property
    def imag(self) -> Any:
        if self.dtype.kind == "c":
            return self.part("imag", self.shape, f"f{self.dtype.itemsize // 2}")
        return np.zeros_like(self)

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag.assign(value)

    def __getitem__(self, index: Any) -> Any:
        index = _plain_index(index)
        if not _index_arrays(index):
            index = index if index.__class__ is tuple else (index,)
            return self.seen_as(self.shadow[index if Ellipsis in index else (*index, ...)])
        from flambeau.engines.xla.picking import pick

        return pick(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        index = _plain_index(index)
        if not _index_arrays(index):
            index = index if index.__class__ is tuple else (index,)
            self.seen_as(self.shadow[index if Ellipsis in index else (*index, ...)]).assign(value)
            return
        from flambeau.engines.xla.picking import place

        place(self, index, value)


def _plain_index(index: Any) -> Any:
    """Zero-dim integer arrays as ints, which NumPy takes for them; lists as arrays."""
    if index.__class__ is list:
        return np.asarray(index)
    if index.__class__ is tuple and any(i.__class__ is list for i in index):
        return tuple(np.asarray(i) if i.__class__ is list else i for i in index)
    return index


def _without_copy(shadow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """NumPy's `reshape` where it is a view; an error where it would copy."""
    try:
        return np.reshape(shadow, shape, copy=False)
    except TypeError:  # NumPy 2.0
        view = shadow.view()
        view.shape = shape
        return view


class Methods(Views):
    """All methods."""

    __slots__ = ()
    value: Any

    # writing

    def assign(self, new: Any) -> None:
        """Writes `new`, broadcast and converted, into all elements."""
        from flambeau.engines.xla.protocol import fitted

        self.put(fitted(new, self.shape, self.dtype))

    def fill(self, value: Any) -> None:
        """Sets every element to a number."""
        self.assign(value)

    def setflags(self, write: bool | None = None, **kwargs: Any) -> None:
        """Whether the array may be written."""
        if write is not None:
            self.flags.writeable = write

    # copies

    def copy(self, order: str = "C") -> Any:
        """The same elements in a memory of their own; order 'K' keeps the order of a dense array's strides."""
        from flambeau.engines.xla.array import XArray

        if order in ("K", "A") and self._shadow is not None and not self.flags.c_contiguous:
            steps = self.strides
            dims = sorted(range(self.ndim), key=lambda d: (-steps[d], d))
            turned = self.transpose(dims)
            if turned.flags.c_contiguous:
                copied = XArray(turned.value, self.device).transpose(np.argsort(dims))
                copied.base = None
                return copied
        return XArray(self.value, self.device)

    def astype(self, dtype: Any, order: str = "K", casting: str = "unsafe", copy: bool = True, **kwargs: Any) -> Any:
        """Converted to a dtype."""
        from flambeau.engines.xla.protocol import converted

        if np.dtype(dtype) == self.dtype:
            return self.copy(order="K") if copy else self
        return converted(self, np.dtype(dtype))

    def flatten(self, order: str = "C") -> Any:
        """A flat copy."""
        return self.copy().reshape(-1)

    __copy__ = copy

    def __deepcopy__(self, memo: dict) -> Any:
        return self.copy(order="K")

    def __reduce__(self) -> Any:
        from flambeau.engines.xla import rebuilt

        return rebuilt, (self.host(), str(self.device))

    # the host

    def _read(self, what: str) -> np.ndarray:
        from flambeau.engines.xla.array import noted

        if isinstance(self.value, Tracer):
            np.asarray(self.value)  # raises JAX's error of a value that is asked for too early
        noted(what)
        return self.host()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._read("array")
        return array.astype(dtype) if dtype is not None else array.copy() if copy else array

    def item(self, *index: Any) -> Any:
        """One element as a Python number."""
        return self._read("item").item(*index)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._read("tolist").tolist()

    def tobytes(self) -> bytes:
        """The bytes in C order."""
        return self._read("tobytes").tobytes()

    def __bool__(self) -> bool:
        return bool(self._read("bool"))

    def __int__(self) -> int:
        return int(self._read("int"))

    def __float__(self) -> float:
        return float(self._read("float"))

    def __complex__(self) -> complex:
        return complex(self._read("complex"))

    def __index__(self) -> int:
        return self._read("index").__index__()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        if isinstance(self.value, Tracer):
            return f"XArray({self.value})"
        return f"XArray({self.host()!r}, device={self.device})"

    # NumPy's functions

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.add.reduce(self, axis, dtype, out, keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.multiply.reduce(self, axis, dtype, out, keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.maximum.reduce(self, axis, None, out, keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.minimum.reduce(self, axis, None, out, keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.logical_or.reduce(self, axis, None, out, keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.logical_and.reduce(self, axis, None, out, keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None) -> Any:
        return np.cumsum(self, axis, dtype)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return np.mean(self, axis, dtype, out, keepdims)

    def argmax(self, axis: Any = None) -> Any:
        return np.argmax(self, axis)

    def argmin(self, axis: Any = None) -> Any:
        return np.argmin(self, axis)

    def argsort(self, axis: Any = -1, kind: Any = None) -> Any:
        return np.argsort(self, axis, kind=kind)

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        self.assign(np.sort(self, axis, kind=kind))

    def dot(self, other: Any, out: Any = None) -> Any:
        return np.dot(self, other, out)

    def conj(self) -> Any:
        return np.conjugate(self)

    conjugate = conj

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
        return np.take(self, indices, axis)

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        return np.repeat(self, repeats, axis)

    def clip(self, min: Any = None, max: Any = None) -> Any:
        return np.clip(self, min, max)

    def round(self, decimals: int = 0) -> Any:
        return np.round(self, decimals)

    def nonzero(self) -> Any:
        return np.nonzero(self)
