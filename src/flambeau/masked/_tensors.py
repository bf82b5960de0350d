"""`MaskedTensor`: a tensor and a mask of the elements that count."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes, masked
from flambeau.autograd.runtime import NS
from flambeau.tensor.creation import as_tensor
from flambeau.tensor.sparse import Absent
from flambeau.tensor.tensor import Tensor

__all__ = ["MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"]


class MaskedTensor(Tensor):
    """A tensor of which only the elements that the mask shows count. `torch.masked.masked_tensor` makes one.

    Functions of one element work on all of them and keep the mask, functions of two need equal masks (ValueError),
    reductions leave out what is masked.
    """

    _d: Tensor
    _m: Tensor

    def __new__(cls, data: Any, mask: Any, requires_grad: bool = False) -> Any:
        return masked_tensor(data, mask, requires_grad)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        if name in _REDUCTIONS:
            return _reduced(name, *args, **(kwargs or {}))
        if name in ("where", "where_op"):
            return _where(*args)
        if name in _EACH:
            return _each(func, args, kwargs or {})
        raise TypeError(
            f"{name}() of a MaskedTensor is not there: use .get_data() and .get_mask(), or .to_tensor(value)"
        )

    def get_data(self) -> Tensor:
        """All elements."""
        return self._d.detach()

    def get_mask(self) -> Tensor:
        """True where an element counts."""
        return self._m

    def to_tensor(self, value: Any) -> Tensor:
        """An ordinary tensor with `value` for what is masked."""
        return self._d.detach().masked_fill(~self._m, value)

    requires_grad = property(lambda self: self._d.requires_grad)  # type: ignore[assignment]
    grad_fn = property(lambda self: self._d.grad_fn)  # type: ignore[assignment]
    is_leaf = property(lambda self: self._d.is_leaf)  # type: ignore[assignment]

    @property
    def grad(self) -> Any:  # type: ignore[override]
        """The gradient, masked alike."""
        return None if self._d.grad is None else _make(self._d.grad, self._m)

    def requires_grad_(self, requires_grad: bool = True) -> MaskedTensor:
        """Whether gradients reach the elements."""
        self._d.requires_grad_(requires_grad)
        return self

    def backward(self, *args: Any, **kwargs: Any) -> None:
        """`Tensor.backward` of the elements."""
        self._d.backward(*args, **kwargs)

    def to(self, *args: Any, **kwargs: Any) -> MaskedTensor:
        """In another dtype; see `Tensor.to`."""
        return _make(self._d.to(*args, **kwargs), self._m)

    def detach(self) -> MaskedTensor:
        """Without history."""
        return _make(self._d.detach(), self._m)

    data = property(detach)  # type: ignore[assignment]

    def clone(self, *args: Any, **kwargs: Any) -> MaskedTensor:
        """A copy."""
        return _make(self._d.clone(), self._m.clone())

    def contiguous(self, memory_format: Any = None) -> MaskedTensor:
        """With its elements in C order."""
        return _make(self._d.contiguous(), self._m)

    def view(self, *size: Any) -> MaskedTensor:
        """In another shape."""
        return _make(self._d.view(*size), self._m.view(*size))

    reshape = view

    def transpose(self, dim0: int, dim1: int) -> MaskedTensor:
        """With two dimensions exchanged."""
        return _make(self._d.transpose(dim0, dim1), self._m.transpose(dim0, dim1))

    def __getitem__(self, index: Any) -> MaskedTensor:
        return _make(self._d[index], self._m[index])

    def __deepcopy__(self, memo: dict) -> MaskedTensor:
        memo[id(self)] = copied = self.detach().clone()
        return copied.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _make, (self._d.detach(), self._m)

    def numpy(self, *, force: bool = False) -> Any:
        """TypeError: use `to_tensor` first."""
        raise TypeError("a MaskedTensor has no array: use .get_data() or .to_tensor(value) first")

    __array__ = numpy  # type: ignore[assignment]

    def item(self) -> Any:
        """The only element."""
        return self._d.item()

    def tolist(self) -> Any:
        """The elements as Python's numbers, None for what is masked."""
        return np.ma.MaskedArray(self._d._a, ~self._m._a).tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        if not self._d.ndim:
            shown = self._m.item()
            return f"MaskedTensor({_text(self._d.item()) if shown else '--'}, {shown})"
        return f"MaskedTensor(\n{_rows(self._d.tolist(), self._m.tolist(), 2)}\n)"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)


def _text(value: Any) -> str:
    return f"{value:8.4f}" if isinstance(value, float) else str(value)


def _rows(values: Any, shown: Any, indent: int) -> str:
    space = " " * indent
    if not values or not isinstance(values[0], list):
        texts = [_text(v) for v in values]
        width = max((len(t) if s else 8 for t, s in zip(texts, shown, strict=True)), default=8)
        return space + "[" + ", ".join(t if s else "--".rjust(width) for t, s in zip(texts, shown, strict=True)) + "]"
    inner = ",\n".join(_rows(v, s, indent + 2) for v, s in zip(values, shown, strict=True))
    return f"{space}[\n{inner}\n{space}]"


def _make(data: Tensor, mask: Tensor) -> MaskedTensor:
    out = object.__new__(MaskedTensor)
    out._d, out._m = data, mask
    out._a = Absent(data._a.dtype, tuple(data.shape))  # type: ignore[assignment]
    return out


def masked_tensor(data: Any, mask: Any, requires_grad: bool = False) -> MaskedTensor:
    """A copy of `data` of which the elements count where `mask`, a tensor of bools of the same shape, is True.

    TypeError for a mask that is not of bools, ValueError for one of another shape.

    >>> import flambeau as torch
    >>> torch.masked.masked_tensor(torch.tensor([1.0, 2.0]), torch.tensor([True, False])).sum()
    MaskedTensor(  1.0000, True)
    """
    made = as_masked_tensor(as_tensor(data).detach().clone(), mask)
    made._m = made._m.clone()
    return made.requires_grad_() if requires_grad else made


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """`masked_tensor` without a copy; gradients flow through it to `data`."""
    if not isinstance(mask, Tensor) or mask.dtype is not dtypes.bool_:
        raise TypeError(
            f"masked_tensor(): the mask must be a tensor of bools, got {getattr(mask, 'dtype', type(mask))}"
        )
    if mask.shape != data.shape:
        raise ValueError(f"masked_tensor(): data of {tuple(data.shape)} and a mask of {tuple(mask.shape)} do not fit")
    return _make(data, mask)


def is_masked_tensor(obj: Any) -> bool:
    """Whether it is a MaskedTensor."""
    return isinstance(obj, MaskedTensor)


# --- functions ---------------------------------------------------------------------------------------------------


def _each(func: Callable, args: tuple, kwargs: dict) -> MaskedTensor:
    masks = [a._m for a in args if isinstance(a, MaskedTensor)]
    if any(m is not masks[0] and not m.equal(masks[0]) for m in masks[1:]):
        raise ValueError(
            f"{func.__name__}(): the masks of the operands must be equal; choose one, and make both with "  # type: ignore[attr-defined]
            "masked_tensor(t.get_data(), mask)"
        )
    return _make(func(*(a._d if isinstance(a, MaskedTensor) else a for a in args), **kwargs), masks[0])


def _where(condition: Any, input: Any, other: Any) -> MaskedTensor:
    def parts(value: Any) -> tuple[Any, Any]:
        if isinstance(value, MaskedTensor):
            return value._d, value._m
        return value, NS["OPS"].ones_like(condition)

    (a, of_a), (b, of_b) = parts(input), parts(other)
    return _make(NS["OPS"].where(condition, a, b), NS["OPS"].where(condition, of_a, of_b))


def _reduced(name: str, input: MaskedTensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> MaskedTensor:
    kwargs.pop("out", None)
    function = getattr(masked, name)
    if dim is None:
        flat, mask = input._d.reshape(-1), input._m.reshape(-1)
        return _make(function(flat, 0, mask=mask, **kwargs), mask.any())
    if isinstance(dim, (tuple, list)):
        left = input._m
        for d in sorted((d % input.ndim for d in dim), reverse=True):
            left = left.any(d, keepdim)
    else:
        left = input._m.any(dim, keepdim)
    return _make(function(input._d, dim, keepdim=keepdim, mask=input._m, **kwargs), left)


_REDUCTIONS = frozenset("sum mean prod amax amin argmax argmin".split())
_EACH = frozenset(
    """abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp
    clamp_number cos cosh deg2rad digamma div divide eq erf erfc erfinv exp exp2 expm1 floor floor_divide fmax fmin fmod
    frac ge gt hypot isnan isinf le lgamma log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor
    logit lt maximum minimum mul multiply nan_to_num ne neg negative pow pow_scalar pow_tensor positive rad2deg
    reciprocal remainder round rsqrt rsub scaled_add scaled_sub sgn sigmoid sign signbit sin sinc sinh sqrt square sub
    tan tanh true_divide trunc""".split()
)


def _method(name: str) -> Callable:
    @functools.wraps(getattr(Tensor, name))
    def method(self: MaskedTensor, *args: Any, **kwargs: Any) -> MaskedTensor:
        return _reduced(name, self, *args, **kwargs)

    return method


for _name in _REDUCTIONS:
    setattr(MaskedTensor, _name, _method(_name))
