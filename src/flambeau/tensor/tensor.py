"""`Tensor`: an array, and what autograd knows of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import public_edge
from flambeau.autograd.runtime import LEAF, NS
from flambeau.devices import CPU, require
from flambeau.engines.arrays import FOREIGN, VALUELESS, place_of
from flambeau.ops import index as indexing
from flambeau.ops import memory_formats
from flambeau.tensor.elsewhere import Elsewhere, legacy_array
from flambeau.tensor.history import History
from flambeau.tensor.methods import Methods
from flambeau.tensor.sharing import Sharing
from flambeau.tensor.size import Size
from flambeau.tensor.storage import Memory


class Tensor(Methods, History, Memory, Sharing, Elsewhere):
    """An array of one dtype with automatic differentiation.

    `Tensor(2, 3)` makes a float32 tensor of zeros of that shape, `Tensor([1, 2])` one of these values. `torch.tensor`
    and the factory functions are the usual ways.

    >>> import flambeau as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    # Everything but the array has a default here, so that making a tensor costs one allocation and one store.
    _a: np.ndarray
    _node: Any = None
    _grad: Any = None
    _base: Any = None
    _shared: Any = None
    _stamp = 0
    _writes = 0
    _cell: Any = None
    _hooks: Any = None
    _post_hooks: Any = None
    _accumulator_hooks: Any = None
    _inference = False
    _held = False
    _no_grad_view = False
    _multi_view = False
    _conj = False  # what `is_conj` and `is_neg` say; all values are computed at once here
    _neg = False
    _names: Any = None
    _level: Any = None  # the running transform that it belongs to (flambeau.func.levels)
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __new__(cls, *args: Any, device: Any = None) -> Any:
        if device is not None:
            require(device)
        self = object.__new__(cls)
        self._a = legacy_array(args, None)
        return self

    @staticmethod
    def _make_subclass(cls: type, data: Any, require_grad: bool = False, **kwargs: Any) -> Any:
        self: Any = object.__new__(cls)
        self._a = data._a
        if require_grad:
            self._node = LEAF
        return self

    @staticmethod
    def _make_wrapper_subclass(cls: type, size: Any, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        self: Any = object.__new__(cls)
        self._a = np.zeros(tuple(size), (dtype or dtypes.get_default_dtype()).numpy)
        return self

    # what it is

    @property
    def shape(self) -> Size:
        """The lengths of the dimensions."""
        return tuple.__new__(Size, self._a.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        if dim is None:
            return tuple.__new__(Size, self._a.shape)
        from flambeau.ops.dims import wrap_dim

        if not self._a.ndim:
            raise IndexError(f"dim {dim} is out of range: a tensor without dimensions has none")
        return self._a.shape[wrap_dim(dim, self._a.ndim)]

    @property
    def dtype(self) -> dtypes.dtype:
        """The type of the elements."""
        return dtypes.of_numpy(self._a.dtype)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._a.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._a.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._a.size

    nelement = numel

    @property
    def device(self) -> Any:
        """Where the tensor lives."""
        return self._a.device if self._a.__class__ in FOREIGN else CPU

    @property
    def layout(self) -> Any:
        """`torch.strided`."""
        from flambeau.tensor.formats import strided

        return strided

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._a.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._a.size * self._a.itemsize

    def element_size(self) -> int:
        """Bytes per element."""
        return self._a.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps in memory, in elements, per dimension or for one."""
        steps = _steps(self._a)
        if dim is None:
            return steps
        from flambeau.ops.dims import wrap_dim

        return steps[wrap_dim(dim, self._a.ndim)]

    def storage_offset(self) -> int:
        """Where the first element is in the memory of the base, in elements."""
        array = owner = place_of(self._a)
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        start = owner.__array_interface__["data"][0]
        return (array.__array_interface__["data"][0] - start) // array.itemsize if array.size else 0

    @property
    def _cdata(self) -> int:
        """A number that no other living tensor has."""
        return id(self)

    def data_ptr(self) -> int:
        """The address of the first element; 0 for a tensor without elements or values."""
        return place_of(self._a).__array_interface__["data"][0] if self._a.size and not self.is_meta else 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie without gaps in C order, or in that of `memory_format`."""
        if memory_format is not None and getattr(memory_format, "name", "") in memory_formats.NAMES:
            return memory_formats.dense(self._a, memory_formats.NAMES[memory_format.name])
        return self._a.flags.c_contiguous

    is_sparse = is_quantized = is_mkldnn = is_nested = is_xpu = is_mps = is_sparse_csr = False

    @property
    def is_cpu(self) -> bool:
        """Whether the tensor is on the CPU, as NumPy's arrays are."""
        return self._a.__class__ not in FOREIGN

    @property
    def is_cuda(self) -> bool:
        """Whether the tensor is on an NVIDIA GPU."""
        return self.device.type == "cuda"

    @property
    def is_meta(self) -> bool:
        """Whether the tensor has a shape and a dtype only, and no values."""
        return self._a.__class__ in VALUELESS

    @property
    def is_xla(self) -> bool:
        """Whether the tensor is on XLA's CPU or a TPU."""
        return self.device.type in ("xla", "tpu")

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point type."""
        return self._a.dtype.kind == "f" or self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is a complex type."""
        return self._a.dtype.kind == "c"

    def is_signed(self) -> bool:
        """Whether the dtype holds negative numbers."""
        return self.dtype.is_signed

    def is_inference(self) -> bool:
        """Whether it was made in `inference_mode`."""
        return self._inference

    def is_conj(self) -> bool:
        """Whether the tensor comes straight from `conj`, which PyTorch leaves to be computed later."""
        return self._conj

    def is_neg(self) -> bool:
        """Whether the tensor is the imaginary part of such a one, which PyTorch leaves to be negated later."""
        return self._neg

    def get_device(self) -> int:
        """The device's number; -1 on the CPU."""
        index = self.device.index
        return -1 if index is None else index

    def is_set_to(self, tensor: Any) -> bool:
        """Whether both show the same memory in the same way."""
        if self.device != tensor.device:
            return False
        a, b = place_of(self._a), place_of(tensor._a)
        return (
            a.shape == b.shape
            and a.strides == b.strides
            and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        )

    def _is_view(self) -> bool:
        return self._base is not None

    @property
    def names(self) -> tuple:
        """Names of dimensions: none."""
        return (None,) * self._a.ndim

    # Python's protocols

    def __len__(self) -> int:
        if not self._a.ndim:
            raise TypeError("len(): a 0-d tensor has no length")
        return self._a.shape[0]

    def __iter__(self) -> Any:
        if not self._a.ndim:
            raise TypeError("a 0-d tensor can't be iterated over; use .item() for its value")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        if self._a.size != 1:
            if self._a.size == 0:
                raise RuntimeError("a tensor without elements is neither true nor false; ask for .numel()")
            raise RuntimeError(
                f"a tensor of shape {list(self._a.shape)} is neither true nor false; use .any() or .all()"
            )
        return bool(self._a.reshape(-1)[0])

    def item(self) -> Any:
        """The value of a tensor of one element as a Python number."""
        if self._a.size != 1:
            raise RuntimeError(f"only a tensor of one element can become a number, this one has {self._a.size}")
        value = self._a.item()
        return value if isinstance(value, (bool, int, float, complex)) else float(value)

    def __float__(self) -> float:
        return float(self._one("float"))

    def __int__(self) -> int:
        return int(self._one("int"))

    def _one(self, kind: str) -> Any:
        if self._a.size != 1:
            raise ValueError(f"{kind}() needs a tensor of one element, this one has {self._a.size}")
        value = self.item()
        if isinstance(value, complex):
            if value.imag:
                raise RuntimeError(f"{kind}() can't show the complex number {value}: take .real or .abs() first")
            return value.real
        return value

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._a.dtype.kind not in "iub" or self._a.size != 1:
            raise TypeError(
                f"an index needs an integer tensor of one element, got {self.dtype} of shape {list(self._a.shape)}"
            )
        return int(self._a.item())

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; of a zero-dim tensor the number."""
        array = self._a if self._a.dtype.kind in "fiubc" and self._a.dtype.num < 256 else self._a.astype(np.float32)
        return array.tolist()

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, int, float, complex, bool)):
            return bool((self == element).any().item())
        raise RuntimeError(f"`in` asks for a Tensor or a number, got {type(element).__name__}")

    def __getitem__(self, index: Any) -> Any:
        return indexing.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        from flambeau.tensor.assign import setitem

        setitem(self, index, value)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from flambeau.tensor.printing import tensor_repr

        plain = type(self) in (NS["Tensor"], NS["Parameter"])
        return tensor_repr(self, plain=plain, default_dtype=dtypes.get_default_dtype(), tensor_contents=tensor_contents)

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        if self._a.ndim == 0 and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | set(self.__dict__))

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        from flambeau.tensor.subclass import default_torch_function

        return default_torch_function(cls, func, types, args, kwargs or {})


def _real(value: Any, what: str) -> Any:
    """The value, if it is no complex number with an imaginary part."""
    if isinstance(value, complex):
        if value.imag:
            raise RuntimeError(f"the complex number {value} can't be converted to {what}; take .real or abs() first")
        return value.real
    return value


def _steps(array: np.ndarray) -> tuple[int, ...]:
    """Strides in elements, as PyTorch counts them: NumPy leaves those of empty arrays undefined."""
    if array.size == 0:
        steps, step = [], 1
        for n in reversed(array.shape):
            steps.append(step)
            step *= max(n, 1)
        return tuple(reversed(steps))
    return tuple(s // array.itemsize for s in array.strides)


NS["Tensor"] = Tensor
NS["Parameter"] = Tensor
__all__ = ["Tensor", "legacy_array", "public_edge"]
