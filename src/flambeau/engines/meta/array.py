"""`MetaArray`: a NumPy array whose memory is never read or written.

Memory is asked of the system without being used, so it costs addresses only, and NumPy itself slices, transposes and
reshapes. Elementwise work makes arrays of the right shape; other work of NumPy's is done on whatever is there, for the
sake of its result's shape.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.devices import META

_LARGE = 1 << 20
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python names it from 3.13 on
# equal to NumPy's, but other objects: the straight path of ops, which asks by identity, so leaves these arrays alone
_OWN = {np.dtype(d): np.dtype(d, copy=True) for d in (np.float32, np.float64)}


def no_data() -> NotImplementedError:
    """For who wants values."""
    return NotImplementedError(
        "Cannot copy out of meta tensor; no data! A meta tensor has a shape and a dtype only: make an empty one on "
        "another device with torch.empty_like(tensor, device=...), or a module's with module.to_empty(device=...)"
    )


def _unreadable(name: str) -> Callable:
    def refuse(self: Any, *args: Any) -> Any:
        raise RuntimeError(f"Tensor.{name}() cannot be called on meta tensors: they have no values")

    return refuse


class MetaArray(np.ndarray):
    """An array without values."""

    __hash__ = None  # type: ignore[assignment]

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        found = super().dtype
        return _OWN.get(found, found)

    @property
    def device(self) -> Any:  # type: ignore[override]
        """`meta`."""
        return META

    @property
    def shadow(self) -> np.ndarray:
        """The same as an ordinary array, to reckon with addresses."""
        return self.view(np.ndarray)

    @property
    def store(self) -> Any:
        """What stands for the memory."""
        return self if self.base is None else self.base

    @property
    def offset_bytes(self) -> int:
        """Where the first element is in the memory."""
        start = self.memory().__array_interface__["data"][0]
        return self.__array_interface__["data"][0] - start if self.size else 0

    def visible(self) -> bool:
        """There is nothing to see."""
        return False

    def host(self) -> np.ndarray:
        """NotImplementedError: there are no values."""
        raise no_data()

    def memory(self) -> MetaArray:
        """The whole memory, flat."""
        owner: Any = self
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return np.ndarray(owner.size, owner.dtype, owner.reshape(-1)).view(MetaArray)

    def moved_here(self, array: np.ndarray) -> MetaArray:
        """An array like this one, without values."""
        return like(array, array.shape, array.dtype)

    def window(self, shape: tuple[int, ...], offset: int, steps: tuple[int, ...]) -> MetaArray:
        """A view of the memory: offset and steps in elements."""
        size = self.itemsize
        flat = self.view(np.ndarray)
        return np.ndarray(shape, flat.dtype, flat, offset * size, tuple(s * size for s in steps)).view(MetaArray)

    def copy(self, order: Any = "C") -> MetaArray:
        return like(self if order == "K" else None, self.shape, self.dtype)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> MetaArray:  # type: ignore[override]
        return like(self, self.shape, np.dtype(dtype))

    def fill(self, value: Any) -> None:
        pass

    def tolist(self) -> Any:
        raise no_data()

    item = __bool__ = __int__ = __float__ = __index__ = __complex__ = _unreadable("item")  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if isinstance(found, np.ndarray):
            return found
        return super().__getitem__((*index, ...) if isinstance(index, tuple) else (index, ...))

    def __setitem__(self, index: Any, value: Any) -> None:
        np.broadcast_shapes(self[index].shape, np.shape(value))  # what does not fit is refused

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method != "__call__" or ufunc.signature is not None:
            with np.errstate(all="ignore"):
                made = getattr(ufunc, method)(*map(_bare, inputs), **{k: _bare(v) for k, v in kwargs.items()})
            return out[0] if out else _valueless(made)
        arrays = [_bare(a) if isinstance(a, np.ndarray) else a for a in inputs]
        shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
        with np.errstate(all="ignore"):
            made = ufunc(*(np.ones((1,) * a.ndim, a.dtype) if isinstance(a, np.ndarray) else a for a in arrays))
        lead = next((a for a in arrays if np.shape(a) == shape), None)
        results = tuple(like(lead, shape, m.dtype) for m in (made if isinstance(made, tuple) else (made,)))
        results = tuple(r if given is None else given for r, given in zip(results, out or results, strict=True))
        return results if isinstance(made, tuple) else results[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _BY_VALUE:
            raise NotImplementedError(
                f"{function.__name__}() has a result whose shape depends on values, which meta tensors do not have"
            )
        if function is np.copyto:
            args[0][...] = args[1]
            return None
        with np.errstate(all="ignore"):
            return _valueless(function(*map(_bare, args), **{k: _bare(v) for k, v in kwargs.items()}))


_BY_VALUE = frozenset((np.nonzero, np.flatnonzero, np.argwhere, np.unique))


def _bare(value: Any) -> Any:
    """The value with ordinary arrays for those without values."""
    if isinstance(value, MetaArray):
        return value.view(np.ndarray)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_bare, value)) if type(value) in (list, tuple) else value
    return value


def _valueless(value: Any) -> Any:
    """The value with arrays without values for ordinary ones."""
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        return (
            array.view(MetaArray)
            if array.nbytes < _LARGE or array.base is not None
            else like(array, array.shape, array.dtype)
        )
    if isinstance(value, (list, tuple)):
        return type(value)(map(_valueless, value)) if type(value) in (list, tuple) else value
    return value


def like(lead: Any, shape: tuple[int, ...], dtype: np.dtype) -> MetaArray:
    """A new array whose dimensions lie in memory in the order in which those of `lead` do."""
    steps = None if lead is None or lead.flags.c_contiguous or 0 in lead.strides else lead.strides
    order = range(len(shape)) if steps is None else sorted(range(len(shape)), key=lambda d: (-steps[d], d))
    sizes = [shape[d] for d in order]
    count = math.prod(sizes)
    if count * dtype.itemsize < _LARGE:
        flat = np.zeros(count, dtype)
    else:
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_ANONYMOUS", 0) | _NORESERVE
        flat = np.frombuffer(mmap.mmap(-1, count * dtype.itemsize, flags=flags), dtype, count)
    turned = flat.reshape(sizes)
    return (turned if steps is None else turned.transpose(np.argsort(list(order)))).view(MetaArray)


def move(array: Any, where: Any) -> MetaArray:
    """An array of any engine without its values; NotImplementedError on the way back."""
    if where.type != "meta":
        raise no_data()
    return like(array, array.shape, array.dtype)
