"""`Tensor`: an array, and what autograd knows of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd import views
from flambeau.autograd.graph import Node, Pick, RemovableHandle, public_edge
from flambeau.autograd.runtime import LEAF, NS, thread
from flambeau.devices import CPU, device, require
from flambeau.ops import index as indexing
from flambeau.ops.dispatch import wrap
from flambeau.tensor.methods import Methods
from flambeau.tensor.size import Size
from flambeau.tensor.storage import Memory


class Tensor(Methods, Memory):
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
    _no_grad_view = False
    _multi_view = False
    _names: Any = None
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, device: Any = None) -> None:
        if device is not None:
            require(device)
        self._a = legacy_array(args, None)

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
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
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
    def device(self) -> device:
        """Where the tensor lives."""
        return CPU

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
        owner = self._a
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        start = owner.__array_interface__["data"][0]
        return (self._a.__array_interface__["data"][0] - start) // self._a.itemsize if self._a.size else 0

    def data_ptr(self) -> int:
        """The address of the first element; 0 for an empty tensor."""
        return self._a.__array_interface__["data"][0] if self._a.size else 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in C order without gaps."""
        if getattr(memory_format, "name", "") == "channels_last":
            return self._a.ndim == 4 and self._a.transpose(0, 2, 3, 1).flags.c_contiguous
        return self._a.flags.c_contiguous

    is_cuda = is_sparse = is_quantized = is_mkldnn = is_meta = is_nested = is_xpu = is_mps = is_xla = is_sparse_csr = (
        False
    )
    is_cpu = True

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
        """Whether the tensor is a lazy conjugate: never, conjugates are computed."""
        return False

    is_neg = is_conj

    def is_shared(self) -> bool:
        """Whether the memory is shared between processes."""
        return False

    def get_device(self) -> int:
        """The device's number; -1 on the CPU."""
        return -1

    def is_set_to(self, tensor: Any) -> bool:
        """Whether both show the same memory in the same way."""
        a, b = self._a, tensor._a
        return (
            a.shape == b.shape
            and a.strides == b.strides
            and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        )

    # autograd

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        if self._node is not None:
            return True
        base = self._base  # a view that has no history of its own says what its base says
        return base is not None and base._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if isinstance(self._node, Node):
            value = False  # refused, whatever the value: a result's flag follows from its operands'
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Sets whether this leaf gets gradients; floating-point and complex tensors only."""
        if requires_grad.__class__ is not bool:
            raise TypeError(f"requires_grad_(): expected a bool, not {type(requires_grad).__name__}")
        if isinstance(self._node, Node):
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                    "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return self
        if requires_grad and self._a.dtype.kind not in "fcV":
            raise RuntimeError(
                f"only Tensors of floating point and complex dtype can require gradients, got {self.dtype}"
            )
        if requires_grad and self._inference and not thread.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        self._node = LEAF if requires_grad else None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user and not by a recorded operation."""
        return self._node is None or self._node is LEAF

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made the tensor; None for a leaf."""
        node = self._node
        if node is None or node is LEAF:
            return None
        return (node.edges[0] if node.__class__ is Pick else node).shown()

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this is."""
        return self._node.index if self._node.__class__ is Pick else 0

    @property
    def grad(self) -> Any:
        """The accumulated gradient of a leaf (or of a tensor with `retain_grad`); None before backward."""
        grad = self._grad
        if grad is None and isinstance(self._node, Node) and not self.retains_grad:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
                "populated during autograd.backward(). Call .retain_grad() on it if you want it.",
                UserWarning,
                stacklevel=2,
            )
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._a.shape != self._a.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: got {list(value._a.shape)}, expected {list(self._a.shape)}"
                )
            if value._a.dtype != self._a.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: got {value.dtype}, expected {self.dtype}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def data(self) -> Any:
        """The same memory without history. Writing to it is not tracked."""
        other = _like_class(self)
        other._a = self._a
        return other

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._node is not None and value._a.dtype.kind not in "fcV":
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self._a = value._a

    @property
    def _version(self) -> int:
        if self._inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return views.version(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` keeps the gradient of this non-leaf."""
        node = self._node
        if not isinstance(node, Node) or node.retains is None:
            return False
        ref = node.retains.get(0)
        return ref is not None and ref() is self

    def retain_grad(self) -> None:
        """Keeps the gradient of this non-leaf in `grad` at backward."""
        import weakref

        if self._node is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if isinstance(self._node, Node) and not self.retains_grad:
            NS["HOOKED"] = True
            self._node.retains = {0: weakref.ref(self)}

    def detach(self) -> Any:
        """The same memory without history; writes in place are seen by both."""
        other = _like_class(self)
        other._a = self._a
        views.make_alias(other, self)
        return other

    def detach_(self) -> Any:
        """Takes this tensor out of the graph that made it."""
        if self._base is not None and self._node is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel, see its notes"
            )
        self._node = None
        return self

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Computes the gradients of this tensor with respect to the graph's leaves and adds them to their `grad`.

        `gradient` is needed unless this is a single number. `retain_graph` keeps the graph for a second time,
        `create_graph` records the backward pass, `inputs` limits the accumulation to these tensors.
        """
        from flambeau.autograd.api import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable) -> Any:
        """Calls `hook(grad)` when this tensor's gradient is computed; what it returns replaces the gradient."""
        node = self._node
        if node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if node is LEAF:
            if self._hooks is None:
                self._hooks = OrderedDict()
            return RemovableHandle.add(self._hooks, hook)
        if node.tensor_hooks is None:
            node.tensor_hooks = {0: OrderedDict()}
        return RemovableHandle.add(node.tensor_hooks[0], hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> Any:
        """Calls `hook(tensor)` after this leaf's gradient was accumulated."""
        if self._node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not LEAF:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if self._post_hooks is None:
            self._post_hooks = OrderedDict()
        return RemovableHandle.add(self._post_hooks, hook)

    @property
    def _backward_hooks(self) -> Any:
        return self._hooks

    @_backward_hooks.setter
    def _backward_hooks(self, hooks: Any) -> None:
        self._hooks = hooks

    def _is_view(self) -> bool:
        return self._base is not None

    @property
    def names(self) -> tuple:
        """Names of dimensions: none."""
        return (None,) * self._a.ndim

    # Python's protocols

    def __len__(self) -> int:
        if not self._a.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._a.shape[0]

    def __iter__(self) -> Any:
        if not self._a.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        if self._a.size != 1:
            if self._a.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self._a.reshape(-1)[0])

    def item(self) -> Any:
        """The value of a tensor of one element as a Python number."""
        if self._a.size != 1:
            raise RuntimeError(f"a Tensor with {self._a.size} elements cannot be converted to Scalar")
        value = self._a.item()
        return value if isinstance(value, (bool, int, float, complex)) else float(value)

    def __float__(self) -> float:
        return float(self._one("float"))

    def __int__(self) -> int:
        return int(self._one("int"))

    def _one(self, kind: str) -> Any:
        if self._a.size != 1:
            raise ValueError(f"{kind}() needs a tensor of one element, this one has {self._a.size}")
        return self.item()

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._a.dtype.kind not in "iub" or self._a.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._a.item())

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; of a zero-dim tensor the number."""
        array = self._a if self._a.dtype.kind in "fiubc" and self._a.dtype.num < 256 else self._a.astype(np.float32)
        return array.tolist()

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, int, float, complex, bool)):
            return bool((self == element).any().item())
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

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

    def __deepcopy__(self, memo: dict) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
                "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage"
            )
        if id(self) in memo:
            return memo[id(self)]
        import copy

        other = _like_class(self)
        other._a = _copy_dense(self._a)
        other._node = self._node
        memo[id(self)] = other
        if self._grad is not None:
            other._grad = copy.deepcopy(self._grad, memo)
        for name, value in self.__dict__.items():
            if name not in _OWN:
                other.__dict__[name] = copy.deepcopy(value, memo)
        return other

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled: call .detach() first")
        extra = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        return _rebuild, (type(self), self._a if self._a.base is None else self._a.copy(), self._node is LEAF, extra)

    # NumPy

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The same memory as a NumPy array. A tensor that requires grad must be detached first (or `force=True`)."""
        if self._node is not None and thread.grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.dtype is dtypes.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._a

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        return wrap(
            np.asarray(array).astype(np.uint8) if array.dtype == bool and context is None else np.asarray(array)
        )

    @property
    def __array_interface__(self) -> dict:
        if self._node is not None:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._a.__array_interface__

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        if self._node is not None:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self._a.__dlpack__() if max_version is None else self._a.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        from flambeau.tensor.subclass import default_torch_function

        return default_torch_function(cls, func, types, args, kwargs or {})


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
        "_accumulator_hooks",
        "_accumulator",
        "_no_grad_view",
        "_multi_view",
    )
)


def _like_class(tensor: Any) -> Any:
    return object.__new__(type(tensor) if type(tensor).__name__ != "Parameter" else Tensor)


def _copy_dense(array: np.ndarray) -> np.ndarray:
    return np.array(array, order="K")


def _rebuild(cls: type, array: np.ndarray, leaf: bool, extra: dict) -> Any:
    self: Any = object.__new__(cls)
    self._a = array.view(dtypes.of_numpy(array.dtype).numpy)  # unpickled arrays have a dtype object of their own
    if leaf:
        self._node = LEAF
    self.__dict__.update(extra)
    return self


def _steps(array: np.ndarray) -> tuple[int, ...]:
    """Strides in elements, as PyTorch counts them: NumPy leaves those of empty arrays undefined."""
    if array.size == 0:
        steps, step = [], 1
        for n in reversed(array.shape):
            steps.append(step)
            step *= max(n, 1)
        return tuple(reversed(steps))
    return tuple(s // array.itemsize for s in array.strides)


def legacy_array(args: tuple, dtype: Any) -> np.ndarray:
    """What `Tensor(...)` holds: zeros of a shape, or the values of a sequence, in the class's dtype."""
    d = (dtype or dtypes.get_default_dtype()).numpy
    if not args:
        return np.zeros((0,), d)
    if len(args) == 1:
        (value,) = args
        if isinstance(value, Tensor):
            if value._a.dtype != d:
                raise TypeError(f"expected {dtypes.of_numpy(d)} (got {value.dtype})")
            return value._a
        if isinstance(value, Size):
            return np.zeros(value, d)
        if isinstance(value, np.ndarray):
            return np.array(value, dtype=d)
        if not isinstance(value, (int, np.integer)):
            if not isinstance(value, (list, tuple, range)):
                raise TypeError(f"new(): data must be a sequence (got {type(value).__name__})")
            from flambeau.tensor.creation import array_of

            return array_of(value, dtypes.of_numpy(d))
    sizes = []
    for n in args:
        if not hasattr(n, "__index__") or isinstance(n, bool):
            raise TypeError(
                f"new() received an invalid combination of arguments - got {tuple(type(a).__name__ for a in args)}; pass sizes as ints, or one sequence"
            )
        sizes.append(n.__index__())
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {sizes}")
    return np.zeros(sizes, d)


NS["Tensor"] = Tensor
NS["Parameter"] = Tensor
__all__ = ["Tensor", "public_edge"]
