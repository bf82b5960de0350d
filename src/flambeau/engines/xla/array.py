"""`XArray`: what a tensor holds on a device. A window, in NumPy's terms, on a memory whose value XLA has.

XLA's values never change. A memory (`Store`) holds one and replaces it when somebody writes; every array on it reads
its own part again when the memory has become newer. So views alias and writes are seen by all, as in NumPy, and rooms
above know no difference: shape, strides and flags are those of a NumPy array without contents (`shadow`), which NumPy
itself slices and transposes.
"""

from __future__ import annotations

import functools
import math
import mmap
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from flambeau.engines.arrays import FOREIGN
from flambeau.engines.xla import windows
from flambeau.engines.xla.layouts import gathered, kept, spread
from flambeau.engines.xla.methods import Methods
from flambeau.engines.xla.runtime import NeedsHost, Tracer, jax, jnp, lifting, put, tracing, where_is, wide

# Types that compare equal to NumPy's, but are other objects: the ops' straight path, which asks for NumPy's own by
# identity, so leaves device arrays to the general one without asking for them.
_OWN = {np.dtype(d): np.dtype(d, copy=True) for d in (np.float32, np.float64)}
_LARGE = 1 << 20

#: How often values were read on the host, by what asked for them.
HOST_READS: dict[str, int] = {}


def noted(what: str) -> None:
    """Counts a read on the host."""
    HOST_READS[what] = HOST_READS.get(what, 0) + 1


class Store:
    """Memory on a device: the value in C order, and how often it was replaced."""

    __slots__ = ("__weakref__", "_shadow", "device", "dtype", "home", "shape", "value", "version")
    home: Any  # the pack that it is in, if any (`packs.py`)

    def __init__(self, value: Any, device: Any) -> None:
        self.value = value
        self.device = device
        self.shape: tuple[int, ...] = value.shape
        self.dtype = np.dtype(value.dtype)
        self.version = 0
        self._shadow: np.ndarray | None = None
        if lifting.trace is not None:
            lifting.trace.born(self)

    def read(self) -> Any:
        """The value."""
        return self.value if lifting.trace is None else lifting.trace.read(self)

    def write(self, value: Any) -> None:
        """Replaces the value, which stays where it lies."""
        old = self.value
        if lifting.trace is not None:
            lifting.trace.before_write(self)
            self.value = value
        else:
            self.value = value if old is None else kept(value, old)
        self.version += 1

    @property
    def shadow(self) -> np.ndarray:
        """A NumPy array of this shape whose memory is never touched: addresses to reckon with."""
        if self._shadow is None:
            count = int(np.prod(self.shape, dtype=np.int64))
            if count * self.dtype.itemsize < _LARGE:
                self._shadow = np.empty(self.shape, self.dtype)
            else:
                flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_ANONYMOUS", 0) | getattr(mmap, "MAP_NORESERVE", 0)
                memory = mmap.mmap(-1, count * self.dtype.itemsize, flags=flags)
                # an array made by a ufunc's side would own its memory; this one must look as if it did
                self._shadow = np.frombuffer(memory, self.dtype, count).reshape(self.shape)
        return self._shadow


class PartStore(Store):
    """Memory that is another array's, read as something else: real or imaginary parts, or the same bits."""

    __slots__ = ("how", "parent")

    def __init__(self, parent: XArray, how: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.parent = parent
        self.how = how
        self.device = parent.device
        self.shape = shape
        self.dtype = dtype
        self._shadow = None

    @property
    def version(self) -> int:
        return self.parent.store.version

    def read(self) -> Any:
        """The part of the parent's value."""
        value = self.parent.value
        with wide(True):
            if self.how == "real":
                return jnp.real(value)
            return jnp.imag(value) if self.how == "imag" else recast(value, self.dtype, self.shape)

    def write(self, value: Any) -> None:
        """Puts the part into the parent's value."""
        old = self.parent.value
        with wide(True):
            if self.how == "real":
                new = jax.lax.complex(value, jnp.imag(old))
            elif self.how == "imag":
                new = jax.lax.complex(jnp.real(old), value)
            else:
                new = recast(value, self.parent.dtype, self.parent.shape)
        self.parent.put(new)


def recast(value: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    """The bits of `value` read as `dtype`."""
    have, want = np.dtype(value.dtype), np.dtype(dtype)
    if have.kind == "c" or want.kind == "c":
        if have.kind == "c" and want.kind == "c":
            return value.reshape(shape)
        if have.kind == "c":
            pairs = jnp.stack((jnp.real(value), jnp.imag(value)), -1)
            return recast(pairs, want, shape) if pairs.dtype != want else pairs.reshape(shape)
        half = np.dtype(f"f{want.itemsize // 2}")
        pairs = recast(value, half, (*shape, 2)) if have != half else value.reshape(*shape, 2)
        return jax.lax.complex(pairs[..., 0], pairs[..., 1])
    if want.itemsize > have.itemsize:
        value = value.reshape(*shape, want.itemsize // have.itemsize)
    if have.kind == "b":
        value = value.astype(np.uint8)
    return (value != 0).reshape(shape) if want.kind == "b" else jax.lax.bitcast_convert_type(value, want).reshape(shape)


class _Flags:
    """The flags of the shadow, which for a whole memory need no shadow."""

    __slots__ = ("_array",)

    def __init__(self, array: XArray) -> None:
        self._array = array

    @property
    def c_contiguous(self) -> bool:
        return self._array._shadow is None or self._array._shadow.flags.c_contiguous

    @property
    def f_contiguous(self) -> bool:
        return self._array.shadow.flags.f_contiguous

    @property
    def writeable(self) -> bool:
        return self._array._shadow is None or self._array._shadow.flags.writeable

    @writeable.setter
    def writeable(self, on: bool) -> None:
        if on != self.writeable:
            shadow = self._array.shadow
            try:
                shadow.flags.writeable = on
            except ValueError:  # broadcasting has locked it for good
                self._array._shadow = np.ndarray(
                    shadow.shape, shadow.dtype, self._array.store.shadow, self._array.offset_bytes, shadow.strides
                )

    @property
    def owndata(self) -> bool:
        return self._array.base is None


class XArray(Methods, NDArrayOperatorsMixin):
    """An array on a device with the interface of NumPy's, as far as the rooms above use it."""

    __slots__ = ("__weakref__", "_plan", "_seen", "_shadow", "_value", "base", "dtype", "shape", "store", "weak")

    __array_priority__ = 500
    __hash__ = object.__hash__

    def __init__(self, value: Any, device: Any) -> None:
        self.store = Store(value, device)
        self.shape: tuple[int, ...] = self.store.shape
        self.dtype: np.dtype = _OWN.get(self.store.dtype, self.store.dtype)
        self.base: XArray | None = None
        self._shadow: np.ndarray | None = None
        self._plan: Any = None
        self._value: Any = None
        self._seen = -1
        self.weak = False  # a Python number under way in a program: it adapts to the types it meets

    # what it is

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for m in self.shape:
            n *= m
        return n

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def device(self) -> Any:
        """Where it is; of an array under trace the device of what is traced."""
        return self.store.device

    @property
    def shadow(self) -> np.ndarray:
        """The NumPy array without contents that has these strides."""
        return self.store.shadow.reshape(self.shape) if self._shadow is None else self._shadow

    @property
    def strides(self) -> tuple[int, ...]:
        if self._shadow is not None:
            return self._shadow.strides
        return _dense_strides(self.shape, self.dtype.itemsize)

    @property
    def flags(self) -> _Flags:
        return _Flags(self)

    @property
    def offset_bytes(self) -> int:
        """Where the first element is in the memory."""
        if self._shadow is None or not self.size:
            return 0
        return _address(self._shadow) - _address(self.store.shadow)

    # its value

    @property
    def value(self) -> Any:
        """XLA's value of these elements."""
        store = self.store
        if self._shadow is None:
            value = store.read()
            return value if value.shape == self.shape else _reshaped(value, self.shape)
        if lifting.trace is not None:
            store.read()  # a memory that becomes an input is newer than what was read of it before
        if self._seen != store.version or self._value is None:
            whole = store.read()
            value = windows.derived(self.plan, whole)
            if isinstance(value, Tracer) and not isinstance(whole, Tracer):
                return value  # read inside another program, which must not be left in memory outside of it
            self._value, self._seen = value, store.version
        return self._value

    @property
    def plan(self) -> Any:
        """How these elements are read from the memory and written into it."""
        if self._plan is None:
            size = self.dtype.itemsize
            steps = tuple(s // size for s in self.strides)
            self._plan = windows.plan_of(self.store.shape, self.shape, steps, self.offset_bytes // size)
        return self._plan

    def put(self, value: Any, add: bool = False) -> None:
        """Writes a value of this very shape and dtype."""
        store = self.store
        if self._shadow is None and not add:
            store.write(value if value.shape == store.shape else _reshaped(value, store.shape))
        else:
            store.write(windows.replaced(self.plan, store.read(), value, add))

    def host(self) -> np.ndarray:
        """The elements in NumPy, read-only where the memory is XLA's own."""
        value = self.value
        if spread(value) is not None and not value.is_fully_addressable:
            value = gathered(value)
        array = np.asarray(value)
        return array if array.dtype.isbuiltin != 1 else array.view(np.dtype(array.dtype.type))

    def visible(self) -> bool:
        """Whether a check may read the values. An op that wants to, on XLA's own CPU, runs step by step for it."""
        if isinstance(self.store.read(), Tracer):
            if self.device.type == "xla" and not tracing.whole:
                raise NeedsHost("a check of values")
            return False
        return self.device.type == "xla"

    def moved_here(self, array: np.ndarray) -> XArray:
        """A NumPy array that nobody else has, on this device."""
        if tracing.depth:
            return XArray(jnp.asarray(array), self.device)
        return XArray(put(array, self.device, True), self.device)

    # views

    def seen_as(self, shadow: np.ndarray) -> XArray:
        """A view of the same memory, where `shadow` lies."""
        view = self._another(shadow.shape)
        flags = shadow.flags
        if not (flags.c_contiguous and flags.writeable and shadow.size == math.prod(self.store.shape)):
            view._shadow = shadow
        return view

    def _another(self, shape: tuple[int, ...]) -> XArray:
        view = object.__new__(XArray)
        view.store = self.store
        view.shape = shape
        view.dtype = self.dtype
        view.base = self if self.base is None else self.base
        view._shadow = view._plan = view._value = None
        view._seen = -1
        view.weak = self.weak
        return view

    def part(self, how: str, shape: tuple[int, ...], dtype: Any) -> XArray:
        """The same memory read as something else."""
        store = PartStore(self, how, shape, np.dtype(dtype))
        view = self._another(shape)
        view.store = store
        view.dtype = _OWN.get(store.dtype, store.dtype)
        return view

    def memory(self) -> XArray:
        """The whole memory, flat."""
        return self.seen_as(self.store.shadow.reshape(-1))

    def window(self, shape: tuple[int, ...], offset: int, steps: tuple[int, ...]) -> XArray:
        """A view of the memory, which this array shows whole, with any offset and steps."""
        size = self.dtype.itemsize
        places = np.ndarray(shape, self.store.dtype, self.shadow, offset * size, tuple(s * size for s in steps))
        return self.seen_as(places)


@functools.lru_cache(maxsize=4096)
def _dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The strides of memory in C order."""
    return tuple(n * itemsize for n in _c_steps(shape))


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _reshaped(value: Any, shape: tuple[int, ...]) -> Any:
    plan = windows.plan_of(value.shape, shape, _c_steps(shape), 0)
    return value.reshape(shape) if isinstance(value, Tracer) else windows.derived(plan, value)


def _c_steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(reversed(steps))


FOREIGN.add(XArray)


def lower(value: Any) -> Any:
    """JAX's value of an XArray; all else as it is."""
    return value.value if value.__class__ is XArray else value


def made_like(pattern: XArray, value: Any) -> XArray:
    """A new array of a JAX value whose shape, dtype and device are known to be those of another array."""
    store, known = object.__new__(Store), pattern.store
    store.value, store.device, store.shape, store.dtype = value, known.device, known.shape, known.dtype
    store.version, store._shadow = 0, None
    array = object.__new__(XArray)
    array.store, array.shape, array.dtype = store, pattern.shape, pattern.dtype
    array.base = array._shadow = array._plan = array._value = None
    array._seen, array.weak = -1, False
    return array


def fresh(value: Any, device: Any = None) -> XArray:
    """A new array of a JAX value."""
    return XArray(value, device if device is not None or isinstance(value, Tracer) else where_is(value))
