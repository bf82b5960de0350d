"""Storages: a tensor's memory as a flat sequence, for programs that ask for it."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.views import bump, make_view
from flambeau.devices import CPU
from flambeau.engines.arrays import FOREIGN, place_of
from flambeau.engines.shared import block_of
from flambeau.errors import need_tensor


def memory_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory which `array` shows, flat."""
    if array.__class__ in FOREIGN:
        return array.memory()
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if not owner.flags.c_contiguous:
        return owner.transpose(np.argsort([-step for step in owner.strides], kind="stable")).reshape(-1)
    flat = owner.reshape(-1)
    if flat.dtype != array.dtype and flat.nbytes % array.itemsize == 0:
        return flat.view(array.dtype)  # memory that came as bytes, or is looked at as another dtype
    return flat


class UntypedStorage:
    """The bytes of a tensor's memory; made of an int, that many new ones."""

    def __init__(self, array: Any = 0, *, device: Any = None) -> None:
        if isinstance(array, int):
            array = np.zeros(array, np.uint8)
        self._memory = memory_of(array)

    @staticmethod
    def from_file(filename: Any, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The first `nbytes` of a file, mapped. What is written reaches the file only if `shared`, which also creates
        and lengthens it as needed.

        RuntimeError if the file is shorter, OSError if it can't be opened.
        """
        if nbytes <= 0:
            return UntypedStorage(0)
        flags = os.O_RDWR | os.O_CREAT if shared else os.O_RDONLY
        fd = os.open(filename, flags, 0o666)
        try:
            there = os.fstat(fd).st_size
            if there < nbytes and not shared:
                raise RuntimeError(f"expected at least {nbytes} bytes in {filename!s}, but the file has {there}")
            if there < nbytes:
                os.ftruncate(fd, nbytes)
            mapped = mmap.mmap(fd, nbytes, access=mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY)
        finally:
            os.close(fd)
        return UntypedStorage(np.frombuffer(mapped, np.uint8))

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._memory)

    def __repr__(self) -> str:
        lines = [f" {x}\n" for x in self.tolist()]
        return f"{''.join(lines)}[torch.storage.UntypedStorage(device={self.device}) of size {self.nbytes()}]"

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return place_of(self._memory).__array_interface__["data"][0] if self._memory.size else 0

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._memory.nbytes

    size = __len__ = nbytes

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes()  # the memory is its own, as far as `sys.getsizeof` asks

    @property
    def device(self) -> Any:
        """Where the memory is."""
        return self._memory.device if self._memory.__class__ in FOREIGN else CPU

    def tolist(self) -> list[int]:
        """The bytes as ints."""
        return self._memory.view(np.uint8).tolist()

    def __getitem__(self, i: Any) -> Any:
        found = self._memory.view(np.uint8)[i]
        if isinstance(i, slice):  # part of the memory, as a storage of its own
            return UntypedStorage(np.frombuffer(found.data, np.uint8) if found.size else 0)
        return int(found)

    def is_shared(self) -> bool:
        """Whether the memory is shared between processes."""
        return self._memory.__class__ not in FOREIGN and block_of(self._memory) is not None

    is_cuda = is_hpu = is_sparse = is_sparse_csr = False

    def element_size(self) -> int:
        """Bytes per element: 1."""
        return 1

    def type(self, dtype: Any = None, non_blocking: bool = False) -> str:
        """The name of the class, as `torch.storage.UntypedStorage`."""
        return f"torch.storage.{type(self).__name__}"

    def clone(self) -> Any:
        """A copy of the memory."""
        return _of_memory(type(self), self._memory.copy())

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Any:
        """Writes what `source` holds into this memory, with its numbers converted between typed storages.

        RuntimeError unless both have the same number of elements.
        """
        if len(source) != len(self):
            raise RuntimeError(f"copy_(): {len(self)} elements can't be written from {len(source)}")
        if isinstance(self, TypedStorage) and isinstance(source, TypedStorage):
            self._memory[...] = source._memory
        else:
            self._memory.view(np.uint8)[...] = source._memory.view(np.uint8)
        return self

    def fill_(self, value: Any) -> Any:
        """Every element becomes `value`."""
        self._memory.view(np.uint8)[...] = value
        return self

    def cpu(self) -> Any:
        """Itself where it is on the CPU, else a copy there."""
        return self if self._memory.__class__ not in FOREIGN else _of_memory(type(self), np.asarray(self._memory))

    def get_device(self) -> int:
        """The number of the device; -1 for the CPU."""
        return -1 if self.device.type == "cpu" else self.device.index or 0

    def is_pinned(self, device: Any = "cuda") -> bool:
        """False: no memory is pinned."""
        return False

    def pin_memory(self, device: Any = "cuda") -> Any:
        """Itself."""
        return self

    def __setitem__(self, i: Any, value: Any) -> None:
        self._memory.view(np.uint8)[i] = value

    def resize_(self, size: int) -> None:
        """Refused: memory belongs to NumPy arrays, which keep their size."""
        if size != self.nbytes():
            raise RuntimeError("this storage can't be resized; use Tensor.resize_()")


class TypedStorage(UntypedStorage):
    """A tensor's memory as numbers of its dtype."""

    def __init__(self, *args: Any, wrap_storage: Any = None, dtype: Any = None, device: Any = None) -> None:
        wanted = dtype or dtypes.get_default_dtype()
        if len(args) > 1:
            raise RuntimeError(f"{type(self).__name__} is made of a size or of a sequence, got {len(args)} arguments")
        if wrap_storage is not None:
            array = wrap_storage._memory.view(np.uint8).view(wanted.numpy)
        elif args and isinstance(args[0], np.ndarray):
            array = args[0]
        elif not args or isinstance(args[0], int):
            array = np.zeros(args[0] if args else 0, wanted.numpy)
        elif args[0].__class__ in FOREIGN:
            array = args[0]
        else:
            array = np.array(list(args[0]), wanted.numpy)
        super().__init__(array)
        self.dtype = dtypes.of_numpy(array.dtype)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> str:
        """The name of the class for this dtype, as `torch.FloatStorage`."""
        return f"torch.{storage_word(self.dtype)}Storage"

    def pickle_storage_type(self) -> str:
        """The name of the class for this dtype, as `FloatStorage`."""
        return f"{storage_word(self.dtype)}Storage"

    def fill_(self, value: Any) -> Any:
        """Every number becomes `value`."""
        self._memory[...] = value
        return self

    def size(self) -> int:
        """The number of elements."""
        return self._memory.size

    __len__ = size

    def element_size(self) -> int:
        """Bytes per element."""
        return self._memory.itemsize

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        return self._memory.tolist()

    def __repr__(self) -> str:
        lines = [f" {x}\n" for x in self._memory.reshape(-1).tolist()]
        place = f"dtype={self.dtype}, device={self.device}"
        return f"{''.join(lines)}[torch.storage.TypedStorage({place}) of size {self.size()}]"

    def __getitem__(self, i: Any) -> Any:
        value = self._memory[i]
        return value.item() if isinstance(value, np.generic) or value.ndim == 0 else value.tolist()

    def __setitem__(self, i: Any, value: Any) -> None:
        self._memory[i] = value

    def __iter__(self) -> Any:
        return iter(self._memory.tolist())


def _of_memory(kind: type, memory: Any) -> Any:
    made = object.__new__(TypedStorage if issubclass(kind, TypedStorage) else UntypedStorage)
    made._memory = memory
    if isinstance(made, TypedStorage):
        made.dtype = dtypes.of_numpy(memory.dtype)
    return made


_WORDS = {
    "Double": dtypes.float64, "Float": dtypes.float32, "Half": dtypes.float16, "BFloat16": dtypes.bfloat16,
    "Long": dtypes.int64, "Int": dtypes.int32, "Short": dtypes.int16, "Char": dtypes.int8, "Byte": dtypes.uint8,
    "Bool": dtypes.bool_, "ComplexDouble": dtypes.complex128, "ComplexFloat": dtypes.complex64,
}  # fmt: skip


def storage_word(d: dtypes.dtype) -> str:
    """What the class of storages of dtype `d` begins with, as `Float`."""
    return next((word for word, kind in _WORDS.items() if kind is d), d.name)


class _OfDtype(type):
    """`isinstance(s, torch.FloatStorage)` asks for the dtype."""

    _kind: dtypes.dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, TypedStorage) and instance.dtype is cls._kind

    def __call__(cls, *args: Any, **kwargs: Any) -> TypedStorage:
        return TypedStorage(*args, **{"dtype": cls._kind, **kwargs})

    @property
    def dtype(cls) -> dtypes.dtype:
        """The dtype of what this makes."""
        return cls._kind


def _class_of(word: str, d: dtypes.dtype) -> Any:
    def from_file(filename: Any, shared: bool = False, size: int = 0) -> TypedStorage:
        memory = UntypedStorage.from_file(filename, shared, size * d.numpy.itemsize)._memory
        return TypedStorage(memory.view(d.numpy))

    body = {"_kind": d, "__module__": "torch", "__doc__": f"Storages of {d}.", "from_file": staticmethod(from_file)}
    return _OfDtype(f"{word}Storage", (), body)


#: `torch.FloatStorage` and its kin, by name.
STORAGES: dict[str, Any] = {f"{word}Storage": _class_of(word, d) for word, d in _WORDS.items()}


def _convert(d: dtypes.dtype, word: str) -> Any:
    def convert(self: Any) -> TypedStorage:
        return self if self.dtype is d else TypedStorage(self._memory.astype(d.numpy))

    convert.__name__ = word
    convert.__doc__ = f"The numbers as {d}; itself if they are."
    return convert


for _word, _d in _WORDS.items():
    _name = {"ComplexDouble": "complex_double", "ComplexFloat": "complex_float"}.get(_word, _word.lower())
    setattr(TypedStorage, _name, _convert(_d, _name))


class Memory:
    """Methods that speak of a tensor's memory."""

    _a: np.ndarray

    def storage(self) -> TypedStorage:
        """The memory as numbers of the dtype."""
        return TypedStorage(self._a)

    def untyped_storage(self) -> UntypedStorage:
        """The memory as bytes."""
        return UntypedStorage(self._a)

    def storage_type(self) -> type:
        """The class of the storage."""
        return TypedStorage

    def resize_(self, *sizes: Any, memory_format: Any = None) -> Any:
        """Another shape in place; what is new is zero. RuntimeError where the tensor requires grad."""
        from flambeau.ops.dims import size_of

        if self._node is not None:  # type: ignore[attr-defined]
            raise RuntimeError("resize_(): a tensor that requires grad can't be resized; detach() it first")
        shape = size_of(sizes)
        n = int(np.prod(shape, dtype=np.int64))
        memory = memory_of(self._a)[self.storage_offset() :]  # type: ignore[attr-defined]
        if n <= memory.size:
            self._a = memory[:n].reshape(shape)
        else:
            grown = np.zeros(n, self._a.dtype)
            grown[: memory.size] = memory
            self._a = grown.reshape(shape)
        bump(self)
        return self

    def resize_as_(self, other: Any, memory_format: Any = None) -> Any:
        """`resize_` to the shape of `other`."""
        return self.resize_(other._a.shape)

    def set_(self, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Any:
        """Makes this tensor show the memory of `source`, a tensor or storage."""
        if source is None:
            self._a = np.zeros((0,), self._a.dtype)
        elif isinstance(source, UntypedStorage):
            memory = source._memory.view(self._a.dtype)
            shape = (memory.size - storage_offset,) if size is None else tuple(size)
            if stride is None:
                self._a = memory[storage_offset : storage_offset + int(np.prod(shape, dtype=np.int64))].reshape(shape)
            else:
                steps = tuple(s * memory.itemsize for s in stride)
                self._a = np.ndarray(shape, memory.dtype, memory, storage_offset * memory.itemsize, steps)
        else:
            need_tensor("set_", source, "source")
            if source._a.dtype != self._a.dtype:
                raise RuntimeError(f"set_(): expected a source of dtype {self._a.dtype}, got {source._a.dtype}")
            self._a = source._a if size is None else source.as_strided(size, stride, storage_offset)._a
        bump(self)
        return self

    def apply_(self, callable: Any) -> Any:
        """Replaces each element by `callable(element)`; slow, for the CPU only."""
        if self._node is not None:  # type: ignore[attr-defined]
            raise RuntimeError(
                "apply_(): a Python function is not recorded, but the tensor requires grad; call it on .detach()"
            )
        for place in np.ndindex(self._a.shape):
            self._a[place] = callable(self._a[place].item())
        bump(self)
        return self

    def map_(self, tensor: Any, callable: Any) -> Any:
        """Replaces each element by `callable(element, other)`, the other from `tensor`, broadcast."""
        if self._node is not None or tensor._node is not None:  # type: ignore[attr-defined]
            raise RuntimeError(
                "map_(): a Python function is not recorded, but the tensor requires grad; call it on .detach()"
            )
        other = np.broadcast_to(tensor._a, self._a.shape)
        for place in np.ndindex(self._a.shape):
            self._a[place] = callable(self._a[place].item(), other[place].item())
        bump(self)
        return self

    def as_subclass(self, cls: type) -> Any:
        """The same memory as an instance of a subclass of Tensor."""
        other: Any = object.__new__(cls)
        other._a = self._a  # type: ignore[attr-defined]
        other._node = self._node  # type: ignore[attr-defined]
        make_view(other, self)
        return other

    def is_same_size(self, other: Any) -> bool:
        """Whether both have one shape."""
        return self._a.shape == other._a.shape

    def is_nonzero(self) -> bool:
        """Whether the single element is not zero."""
        return bool(self)

    def record_stream(self, stream: Any) -> None:
        """Nothing to record on the CPU."""

    def to_dense(self, dtype: Any = None, *, masked_grad: Any = True) -> Any:
        """The tensor: it is dense."""
        return self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]

    def dim_order(self, ambiguity_check: Any = False) -> tuple[int, ...]:
        """The dimensions from the outermost in memory to the innermost.

        With `ambiguity_check` (True, or a list of memory formats of which one should fit) RuntimeError where other
        orders would do as well.
        """
        if ambiguity_check is True and (1 in self._a.shape or len(set(self._a.strides)) < self._a.ndim):
            raise RuntimeError(f"dim_order(): a tensor of shape {list(self._a.shape)} lies in several orders at once")
        if isinstance(ambiguity_check, (list, tuple)):
            fitting = [f for f in ambiguity_check if self.is_contiguous(memory_format=f)]  # type: ignore[attr-defined]
            if len(fitting) != 1:
                raise RuntimeError(f"dim_order(): one of {list(ambiguity_check)} should fit, but these do: {fitting}")
        return tuple(int(i) for i in np.argsort([-s for s in self._a.strides], kind="stable"))

    def sum_to_size(self, *size: Any) -> Any:
        """The sum over what broadcasting from `size` would add."""
        from flambeau.ops.dims import size_of
        from flambeau.ops.shape import sum_to_shape

        shape = size_of(size)
        try:
            np.broadcast_to(np.empty(shape, bool), self._a.shape)
        except ValueError:
            raise RuntimeError(f"size {list(shape)} can't be broadcast to {list(self._a.shape)}") from None
        wide = self.to(dtypes.int64) if self._a.dtype.kind in "biu" and (not shape or shape != self._a.shape) else self
        return sum_to_shape(wide, shape)
