"""Tensors that modules own: `Parameter`, `Buffer`, and their kin whose shape is not known yet."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.nn._core import Tensor, empty, no_grad
from flambeau.tensor.sharing import share, travels

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]


class _ParameterMeta(type(Tensor)):  # type: ignore[misc]
    """Tensors of another class can be parameters too: those carry the mark `_is_param`."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that a `Module` counts among its parameters when it is assigned as an attribute.

    It shares memory with `data` (an empty tensor if None) and is a leaf; `requires_grad` is True unless told otherwise,
    also inside `no_grad`.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True, **kept: Any) -> Any:
        _refuse_unknown(kept)
        if data is None:
            data = empty(0)
        if type(data) is Tensor or type(data) is Parameter:
            if requires_grad and not (data.is_floating_point() or data.is_complex()):
                raise RuntimeError(f"Parameter: {data.dtype} can't require gradients: pass requires_grad=False")
            return Tensor._make_subclass(cls, data, requires_grad)
        if not isinstance(data, Tensor):
            raise AttributeError(f"Parameter: expected a Tensor for data, got {type(data).__name__}")
        param = data.detach().requires_grad_(requires_grad)
        if type(param) is not type(data):
            raise RuntimeError(
                f"Parameter: detach() of a {type(data).__name__} gave a {type(param).__name__}: a tensor subclass has "
                "to keep its class to become a parameter"
            )
        param._is_param = True
        return param

    def __init__(self, data: Any = None, requires_grad: bool = True, **kept: Any) -> None:
        """The work is done when the object is made."""

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = result
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + super().__repr__()

    __str__ = __repr__  # type: ignore[assignment]

    def __reduce_ex__(self, proto: Any) -> tuple:
        state = {k: v for k, v in getattr(self, "__dict__", {}).items() if not k.startswith("_")}
        if travels():
            share(self)
        return _rebuild_parameter, (self.data, self.requires_grad, OrderedDict(), state)


def _refuse_unknown(kept: dict[str, Any]) -> None:
    """Programs rebuild a parameter as `type(p)(data, **p.__dict__)`, which is empty in PyTorch. Here it holds what a
    tensor is made of, and that goes unused; anything else is refused.
    """
    for name in kept:
        if name != "_a" and not hasattr(Tensor, name):
            raise TypeError(f"Parameter.__new__() got an unexpected keyword argument '{name}'")


NS["Parameter"] = Parameter  # operations take parameters on their straight path


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any, state: dict | None = None) -> Parameter:
    """Unpickles a `Parameter`."""
    param = Parameter(data, requires_grad)
    for name, value in (state or {}).items():
        setattr(param, name, value)
    return param


class UninitializedTensorMixin:
    """What a tensor can do whose shape is only known when the first input comes: little, and `materialize`."""

    cls_to_become: type
    _was_materialized: bool
    _refused = (
        "is not initialized yet: its shape follows from the first input. Run one batch through the module (or call "
        "initialize_parameters) first"
    )

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Turn into an ordinary parameter or buffer of that shape, its values not set yet; the object stays the
        same.
        """
        dtype = self.data.dtype if dtype is None else dtype
        device = self.data.device if device is None else device
        with no_grad():
            self.data = empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        """RuntimeError: there is no shape yet."""
        raise RuntimeError(f"the shape of this {type(self).__name__} is not known: it {self._refused}")

    def size(self, dim: Any = None) -> Any:
        """RuntimeError: there is no shape yet."""
        return self.shape

    def share_memory_(self) -> Any:
        """RuntimeError: there is no memory yet."""
        raise RuntimeError(f"{type(self).__name__} has no memory to share: it {self._refused}")

    def copy_(self, src: Any, non_blocking: bool = False) -> Any:
        """ValueError: there is nothing to copy to yet."""
        raise ValueError(f"copy_: this {type(self).__name__} {self._refused}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter without a shape; `materialize(shape)` makes it an ordinary `Parameter`. Lazy modules use it."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        """The work is done when the object is made."""

    def __deepcopy__(self, memo: dict) -> UninitializedParameter:
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        memo[id(self)] = result
        return result

    def __reduce_ex__(self, proto: Any) -> tuple:
        return UninitializedParameter, (self.requires_grad, None, self.data.dtype)


class _BufferMeta(type(Tensor)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Buffer and isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that a `Module` registers as a buffer when it is assigned as an attribute.

    It shares memory with `data` (an empty tensor if None). With `persistent=False` it stays out of `state_dict()`. The
    result is an ordinary tensor that carries a mark.
    """

    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = empty(0)
        buffer = data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer without a shape; `materialize(shape)` makes it an ordinary tensor. Lazy modules use it."""

    cls_to_become = Tensor

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        buffer = Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        """The work is done when the object is made."""

    def __deepcopy__(self, memo: dict) -> UninitializedBuffer:
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.requires_grad, self.data.device, self.data.dtype, self.persistent)
        memo[id(self)] = result
        return result

    def __reduce_ex__(self, proto: Any) -> tuple:
        return UninitializedBuffer, (self.requires_grad, None, self.data.dtype, self.persistent)


def is_lazy(param: Any) -> bool:
    """Whether `param` waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)
