"""The methods of `Tensor` that are ops: each the op's own function, or one line over it."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.devices import CPU, require
from flambeau.devices import device as device_class
from flambeau.errors import need_tensor
from flambeau.ops import (
    activation,
    arithmetic,
    compare,
    copies,
    elementwise,
    fillers,
    joining,
    memory_formats,
    powers,
    products,
    random_ops,
    reduce,
    shape,
)
from flambeau.ops import softmax as softmaxes
from flambeau.ops.core import operator_of
from flambeau.ops.dims import size_of
from flambeau.tensor import inplace
from flambeau.tensor.breadth import Matrices, NewShapes, Ordering, Places, Signals, Special
from flambeau.tensor.inplace import in_place


class Operators:
    """Python's operators."""

    __add__ = __radd__ = operator_of(arithmetic.add)
    __sub__ = operator_of(arithmetic.sub)
    __rsub__ = operator_of(arithmetic.rsub)
    __mul__ = __rmul__ = operator_of(arithmetic.mul)
    __truediv__ = __div__ = operator_of(arithmetic.div)
    __floordiv__ = operator_of(arithmetic.floor_divide)
    __mod__ = operator_of(arithmetic.remainder)
    __matmul__ = operator_of(products.matmul)
    __neg__ = elementwise.neg
    __pos__ = elementwise.positive
    __abs__ = elementwise.abs
    __eq__ = operator_of(compare.eq)  # type: ignore[assignment]
    __ne__ = operator_of(compare.ne)  # type: ignore[assignment]
    __lt__ = operator_of(compare.lt)
    __le__ = operator_of(compare.le)
    __gt__ = operator_of(compare.gt)
    __ge__ = operator_of(compare.ge)
    __and__ = __rand__ = operator_of(compare.bitwise_and)
    __or__ = __ror__ = operator_of(compare.bitwise_or)
    __xor__ = __rxor__ = operator_of(compare.bitwise_xor)
    __lshift__ = operator_of(compare.bitwise_left_shift)
    __rshift__ = operator_of(compare.bitwise_right_shift)

    def __invert__(self) -> Any:
        if self._a.dtype.kind not in "biu":  # type: ignore[attr-defined]
            raise TypeError(f"~ is for integers and bools, this tensor is {self.dtype}")  # type: ignore[attr-defined]
        return compare.bitwise_not(self)

    def __pow__(self, exponent: Any) -> Any:
        if isinstance(exponent, np.ndarray):
            return NotImplemented
        return powers.pow(self, exponent)

    def __rpow__(self, base: Any) -> Any:
        if isinstance(base, np.ndarray):
            return NotImplemented
        return powers.pow(base, self)

    def __rtruediv__(self, other: Any) -> Any:
        inverse = self.reciprocal()  # type: ignore[attr-defined]
        return inverse * other if isinstance(other, np.ndarray) else arithmetic.mul(inverse, other)

    __rdiv__ = __rtruediv__

    def __rfloordiv__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return arithmetic.floor_divide(other, self)

    def __rmod__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return arithmetic.remainder(other, self)

    def __rmatmul__(self, other: Any) -> Any:
        return products.matmul(other, self)

    __iadd__ = in_place(arithmetic.add, np.add)
    __isub__ = in_place(arithmetic.sub, np.subtract)
    __imul__ = in_place(arithmetic.mul, np.multiply)
    __itruediv__ = __idiv__ = in_place(arithmetic.div, np.true_divide)
    __ifloordiv__ = in_place(arithmetic.floor_divide)
    __imod__ = in_place(arithmetic.remainder)
    __ipow__ = in_place(powers.pow)
    __iand__ = in_place(compare.bitwise_and)
    __ior__ = in_place(compare.bitwise_or)
    __ixor__ = in_place(compare.bitwise_xor)
    __ilshift__ = in_place(compare.bitwise_left_shift)
    __irshift__ = in_place(compare.bitwise_right_shift)


_warned: list[str] = []


class Shapes:
    """Views and rearrangements."""

    permute_op = shape.permute
    transpose = swapdims = shape.transpose
    swapaxes = shape.swapaxes
    t = shape.t
    unsqueeze = shape.unsqueeze
    select = shape.select
    narrow = shape.narrow
    diagonal = shape.diagonal
    contiguous = shape.contiguous
    clone = shape.clone
    expand = shape.expand
    movedim = moveaxis = shape.movedim
    flatten = shape.flatten
    unflatten = shape.unflatten
    as_strided = shape.as_strided
    roll = shape.roll
    unbind = joining.unbind
    split = joining.split
    split_with_sizes = copies.split_with_sizes
    chunk = joining.chunk
    tensor_split = joining.tensor_split
    unfold = joining.unfold
    repeat_interleave = joining.repeat_interleave
    tile = joining.tile
    rot90 = joining.rot90
    hsplit, vsplit, dsplit = joining.hsplit, joining.vsplit, joining.dsplit

    def view(self, *size: Any, **kwargs: Any) -> Any:
        """The same memory in another shape, or read as another dtype."""
        if kwargs:
            size = tuple(kwargs.values())
        if len(size) == 1 and isinstance(size[0], dtypes.dtype):
            return joining.view_dtype(self, dtypes.dtype_of(size[0]))
        return shape.view_op(self, size_of(size))

    def reshape(self, *size: Any, **kwargs: Any) -> Any:
        """The elements in another shape; a view where the strides allow it."""
        return shape.reshaped(self, size_of(size or tuple(kwargs.values())))

    def view_as(self, other: Any) -> Any:
        """A view in the shape of `other`."""
        return shape.view_op(self, other._a.shape)

    def reshape_as(self, other: Any) -> Any:
        """`reshape` to the shape of `other`."""
        return shape.reshaped(self, other._a.shape)

    def expand_as(self, other: Any) -> Any:
        """`expand` to the shape of `other`."""
        return shape.expand_op(self, other._a.shape)

    def permute(self, *order: Any, dims: Any = ()) -> Any:
        """The dimensions in another order."""
        return shape.permute(self, size_of(order or (dims,)))

    def squeeze(self, dim: Any = None, *, axis: Any = None) -> Any:
        """Without the dimensions of length 1, all or those named (`axis` is NumPy's name for them)."""
        return shape.squeeze_op(self, dim if axis is None else axis)

    def flip(self, *along: Any, dims: Any = ()) -> Any:
        """The order reversed along `dims`."""
        return shape.flip(self, size_of(along or (dims,)))

    def repeat(self, *sizes: Any, repeats: Any = ()) -> Any:
        """Copies laid side by side along each dimension."""
        return joining.repeat(self, size_of(sizes or (repeats,)))

    def fliplr(self) -> Any:
        """The order reversed along dimension 1."""
        return joining.fliplr(self)

    def flipud(self) -> Any:
        """The order reversed along dimension 0."""
        return joining.flipud(self)

    @property
    def T(self) -> Any:
        """The dimensions in reverse order."""
        if self._a.ndim not in (0, 2) and not _warned:  # type: ignore[attr-defined]
            import warnings

            _warned.append("T")
            warnings.warn(
                ".T of a tensor of other than 2 dimensions is outdated; .mT transposes each matrix of a batch, "
                "permute() takes any order",
                UserWarning,
                stacklevel=2,
            )
        return shape.permute(self, tuple(range(self._a.ndim - 1, -1, -1)))  # type: ignore[attr-defined]

    @property
    def mT(self) -> Any:
        """The last two dimensions swapped."""
        if self._a.ndim < 2:  # type: ignore[attr-defined]
            raise RuntimeError(".mT: a matrix or a batch of matrices is needed, got 1 dimension")
        return shape.transpose(self, -2, -1)

    @property
    def H(self) -> Any:
        """The conjugate transpose of a matrix."""
        if self._a.ndim not in (0, 2):  # type: ignore[attr-defined]
            raise RuntimeError(f".H: a matrix is needed, got {self._a.ndim} dimensions")  # type: ignore[attr-defined]
        return self.mH if self._a.ndim else self.conj()  # type: ignore[attr-defined]

    @property
    def mH(self) -> Any:
        """The conjugate transpose of matrices."""
        conjugate = self.conj()  # type: ignore[attr-defined]
        result = shape.transpose(conjugate, -2, -1)
        result._conj = conjugate._conj
        return result

    def adjoint(self) -> Any:
        """The conjugate transpose of matrices."""
        return self.mH


class Reductions:
    """Sums and their kin."""

    def sum(self, *dim: Any, **kwargs: Any) -> Any:
        """The sum over `dim`, or of all elements."""
        return reduce.sum(self, *_dims(dim), **_named(kwargs))

    def mean(self, *dim: Any, **kwargs: Any) -> Any:
        """The mean over `dim`, or of all elements."""
        return reduce.mean(self, *_dims(dim), **_named(kwargs))

    def amax(self, *dim: Any, **kwargs: Any) -> Any:
        """The largest element over `dim`."""
        return reduce.amax(self, *_dims(dim), **_named(kwargs))

    def amin(self, *dim: Any, **kwargs: Any) -> Any:
        """The smallest element over `dim`."""
        return reduce.amin(self, *_dims(dim), **_named(kwargs))

    nansum = reduce.nansum
    nanmean = reduce.nanmean
    prod = reduce.prod
    var, std = reduce.var, reduce.std
    cumsum, cumprod = reduce.cumsum, reduce.cumprod
    any, all = reduce.any, reduce.all
    count_nonzero = reduce.count_nonzero
    diff = joining.diff


def _dims(dim: tuple) -> tuple:
    """`sum(0, 1)` means `sum((0, 1))`, `sum(0, True)` means keepdim."""
    if len(dim) > 1 and not isinstance(dim[1], bool):
        return (tuple(dim),)
    return dim


def _named(kwargs: dict) -> dict:
    if "axis" in kwargs:
        kwargs["dim"] = kwargs.pop("axis")
    if "keepdims" in kwargs:
        kwargs["keepdim"] = kwargs.pop("keepdims")
    return kwargs


class Conversions:
    """Other dtypes and devices."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """In another dtype or on another device; the tensor itself where it is so already and `copy` is false."""
        d, where, copy = _to_arguments(args, kwargs)
        if kwargs.get("memory_format") is not None:
            kept = {"dtype": d, "device": where, "copy": copy}
            return memory_formats.converted(self.to(**kept), kwargs["memory_format"])
        there = where is None or where == self.device  # type: ignore[attr-defined]
        if d is None or d is self.dtype:  # type: ignore[attr-defined]
            if there and not copy:
                return self
            here = self.device  # type: ignore[attr-defined]
            return shape.to_device(self, here if where is None else where, here)
        converted = shape.to_numpy_dtype(self, dtypes.dtype_of(d).numpy)
        return converted if there else shape.to_device(converted, where, self.device)  # type: ignore[attr-defined]

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the legacy tensor type, or the tensor converted to it."""
        from flambeau.tensor.formats import dtype_of_type, type_name

        if dtype is None:
            return type_name(self)
        return self.to(dtype_of_type(dtype))

    def type_as(self, other: Any) -> Any:
        """In the dtype of `other`."""
        need_tensor("type_as", other, "other")
        return self.to(other.dtype)

    def float(self, memory_format: Any = None) -> Any:
        """In float32."""
        return self.to(dtypes.float32, memory_format=memory_format)

    def double(self, memory_format: Any = None) -> Any:
        """In float64."""
        return self.to(dtypes.float64, memory_format=memory_format)

    def half(self, memory_format: Any = None) -> Any:
        """In float16."""
        return self.to(dtypes.float16, memory_format=memory_format)

    def bfloat16(self, memory_format: Any = None) -> Any:
        """In bfloat16."""
        return self.to(dtypes.bfloat16, memory_format=memory_format)

    def long(self, memory_format: Any = None) -> Any:
        """In int64."""
        return self.to(dtypes.int64, memory_format=memory_format)

    def int(self, memory_format: Any = None) -> Any:
        """In int32."""
        return self.to(dtypes.int32, memory_format=memory_format)

    def short(self, memory_format: Any = None) -> Any:
        """In int16."""
        return self.to(dtypes.int16, memory_format=memory_format)

    def char(self, memory_format: Any = None) -> Any:
        """In int8."""
        return self.to(dtypes.int8, memory_format=memory_format)

    def byte(self, memory_format: Any = None) -> Any:
        """In uint8."""
        return self.to(dtypes.uint8, memory_format=memory_format)

    def bool(self, memory_format: Any = None) -> Any:
        """In bool."""
        return self.to(dtypes.bool_, memory_format=memory_format)

    def cfloat(self, memory_format: Any = None) -> Any:
        """In complex64."""
        return self.to(dtypes.complex64, memory_format=memory_format)

    def cdouble(self, memory_format: Any = None) -> Any:
        """In complex128."""
        return self.to(dtypes.complex128, memory_format=memory_format)

    def cpu(self, memory_format: Any = None) -> Any:
        """On the CPU."""
        return self.to(CPU, memory_format=memory_format)

    def cuda(self, device: Any = None, non_blocking: builtins.bool = False, memory_format: Any = None) -> Any:
        """On a GPU; a RuntimeError where there is none."""
        return self.to("cuda" if device is None else device_class(device), memory_format=memory_format)

    def pin_memory(self, device: Any = None) -> Any:
        """The tensor: without an accelerator there is nothing to pin for."""
        return self

    def is_pinned(self, device: Any = None) -> Any:
        """Whether the memory is pinned: never."""
        return False

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
        """`torch.tensor(data)` in this tensor's dtype."""
        from flambeau.tensor import creation

        where = self.device if device is None else device  # type: ignore[attr-defined]
        return creation.tensor(data, dtype=dtype or self.dtype, device=where, requires_grad=requires_grad)  # type: ignore[attr-defined]

    def new_zeros(self, *size: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Zeros of a shape in this tensor's dtype."""
        return self._new("zeros", size, dtype, kwargs)

    def new_ones(self, *size: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Ones of a shape in this tensor's dtype."""
        return self._new("ones", size, dtype, kwargs)

    def new_empty(self, *size: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Zeros of a shape in this tensor's dtype: no memory is left uninitialised."""
        return self._new("empty", size, dtype, kwargs)

    def new_empty_strided(self, size: Any, stride: Any, *, dtype: Any = None, **kwargs: Any) -> Any:
        """Zeros of a shape with the given strides, in this tensor's dtype."""
        from flambeau.tensor import creation

        return creation.empty_strided(size, stride, dtype=dtype or self.dtype, **kwargs)  # type: ignore[attr-defined]

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None, **kwargs: Any) -> Any:
        """A shape filled with a value in this tensor's dtype."""
        from flambeau.tensor import creation

        kwargs["device"] = self.device if kwargs.get("device") is None else kwargs["device"]  # type: ignore[attr-defined]
        made = creation.full(size, fill_value, dtype=dtype or self.dtype, **kwargs)  # type: ignore[attr-defined]
        return made if self._level is None else NS["IN_BATCH"](self, made)  # type: ignore[attr-defined]

    def new(self, *args: Any, **kwargs: Any) -> Any:
        """`Tensor(...)` in this tensor's dtype."""
        from flambeau.tensor.elsewhere import legacy_array

        where = self.device if kwargs.get("device") is None else require(kwargs["device"])  # type: ignore[attr-defined]
        return NS["WRAP"](legacy_array(args, self.dtype)).to(where)  # type: ignore[attr-defined]

    def _new(self, name: str, size: tuple, dtype: Any, kwargs: dict) -> Any:
        from flambeau.tensor import creation

        if "size" in kwargs:
            size = (kwargs.pop("size"),)
        kwargs["device"] = self.device if kwargs.get("device") is None else kwargs["device"]  # type: ignore[attr-defined]
        made = getattr(creation, name)(*size, dtype=dtype or self.dtype, **kwargs)  # type: ignore[attr-defined]
        return made if self._level is None else NS["IN_BATCH"](self, made)  # type: ignore[attr-defined]


def _to_arguments(args: tuple, kwargs: dict) -> tuple[Any, Any, Any]:
    d = kwargs.get("dtype")
    where = None
    copy = kwargs.get("copy", False)
    if kwargs.get("device") is not None:
        where = require(kwargs["device"])
    if kwargs.get("other") is not None:
        args = (kwargs["other"], *args)
    rest = []
    if len(args) > 4:
        raise TypeError(f"to() takes at most a device, a dtype, non_blocking and copy, got {len(args)} arguments")
    for a in args:
        if isinstance(a, dtypes.dtype):
            d = a
        elif isinstance(a, NS["Tensor"]):
            d, where = a.dtype, a.device
        elif isinstance(a, (str, device_class)) or (isinstance(a, int) and not isinstance(a, bool)):
            where = require(a if not isinstance(a, int) else device_class("cuda", a))
        else:
            rest.append(a)
    unknown = set(kwargs) - {"dtype", "device", "other", "non_blocking", "copy", "memory_format"}
    odd = any(not isinstance(a, bool) and a is not None for a in rest)
    if unknown or odd or (d is not None and not isinstance(d, dtypes.dtype)):
        raise TypeError(
            f"to() takes a dtype, a device or another tensor, got {tuple(type(a).__name__ for a in args)} and "
            f"{sorted(kwargs)}"
        )
    if len(rest) > 1:
        copy = rest[1]
    return d, where, copy


class Writes:
    """In-place forms that have no other home."""

    copy_ = inplace.copy_
    fill_ = inplace.fill_
    zero_ = inplace.zero_
    bernoulli_, random_ = fillers.bernoulli_, fillers.random_
    uniform_, normal_, log_normal_ = fillers.uniform_, fillers.normal_, fillers.log_normal_
    exponential_, geometric_, cauchy_ = fillers.exponential_, fillers.geometric_, fillers.cauchy_
    bernoulli, multinomial = random_ops.bernoulli, random_ops.multinomial


class Functions:
    """Functions of elements and products that need no special form."""

    abs = absolute = elementwise.abs
    neg = negative = elementwise.neg
    sqrt, rsqrt, reciprocal, square = elementwise.sqrt, elementwise.rsqrt, elementwise.reciprocal, elementwise.square
    exp, exp2, expm1 = elementwise.exp, elementwise.exp2, elementwise.expm1
    log, log2, log10, log1p = elementwise.log, elementwise.log2, elementwise.log10, elementwise.log1p
    sin, cos, tan = elementwise.sin, elementwise.cos, elementwise.tan
    asin = arcsin = elementwise.asin
    acos = arccos = elementwise.acos
    atan = arctan = elementwise.atan
    sinh, cosh, tanh = elementwise.sinh, elementwise.cosh, elementwise.tanh
    asinh = arcsinh = elementwise.asinh
    acosh = arccosh = elementwise.acosh
    atanh = arctanh = elementwise.atanh
    sigmoid = elementwise.sigmoid
    sign, sgn = elementwise.sign, elementwise.sgn
    floor, ceil, round, frac = elementwise.floor, elementwise.ceil, elementwise.round, elementwise.frac
    trunc = fix = elementwise.trunc
    positive = elementwise.positive
    angle, conj_physical = elementwise.angle, elementwise.conj_physical
    nan_to_num = elementwise.nan_to_num
    deg2rad, rad2deg = elementwise.deg2rad, elementwise.rad2deg
    add = arithmetic.scaled_add
    sub = subtract = arithmetic.scaled_sub
    mul = multiply = arithmetic.mul
    div = divide = arithmetic.divide
    true_divide = arithmetic.div
    floor_divide, remainder, fmod = arithmetic.floor_divide, arithmetic.remainder, arithmetic.fmod
    pow, float_power = powers.pow, powers.float_power
    atan2 = arctan2 = arithmetic.atan2
    maximum, minimum, fmax, fmin = arithmetic.maximum, arithmetic.minimum, arithmetic.fmax, arithmetic.fmin
    hypot, copysign = arithmetic.hypot, arithmetic.copysign
    logaddexp, logaddexp2, xlogy = arithmetic.logaddexp, arithmetic.logaddexp2, arithmetic.xlogy
    lerp, addcmul, addcdiv = arithmetic.lerp, arithmetic.addcmul, arithmetic.addcdiv
    clamp = clip = compare.clamp
    clamp_min, clamp_max = compare.clamp_min, compare.clamp_max
    eq, ne, lt, le, gt, ge = compare.eq, compare.ne, compare.lt, compare.le, compare.gt, compare.ge
    not_equal, less, less_equal = compare.ne, compare.lt, compare.le
    greater, greater_equal = compare.gt, compare.ge
    logical_and, logical_or = compare.logical_and, compare.logical_or
    logical_xor, logical_not = compare.logical_xor, compare.logical_not
    bitwise_and, bitwise_or, bitwise_xor = compare.bitwise_and, compare.bitwise_or, compare.bitwise_xor
    bitwise_not = compare.bitwise_not
    bitwise_left_shift, bitwise_right_shift = compare.bitwise_left_shift, compare.bitwise_right_shift
    isnan, isinf, isfinite = compare.isnan, compare.isinf, compare.isfinite
    isposinf, isneginf, isreal, signbit = compare.isposinf, compare.isneginf, compare.isreal, compare.signbit
    isclose, allclose, equal = compare.isclose, compare.allclose, compare.equal
    masked_fill, where = compare.masked_fill, compare.where_method
    erf = elementwise.erf
    relu, relu_, prelu, hardshrink = activation.relu, activation.relu_, activation.prelu, activation.hardshrink
    softmax, log_softmax, logsumexp = softmaxes.softmax, softmaxes.log_softmax, softmaxes.logsumexp
    matmul, mm, bmm, dot, vdot, mv = (
        products.matmul,
        products.mm,
        products.bmm,
        products.dot,
        products.vdot,
        products.mv,
    )
    inner = products.inner
    outer = ger = products.outer
    addmm, addmv, addr = products.addmm, products.addmv, products.addr
    baddbmm, addbmm = products.baddbmm, products.addbmm

    def conj(self) -> Any:
        """The complex conjugate; a real tensor itself."""
        return elementwise.conj(self)

    def resolve_conj(self) -> Any:
        """The tensor, of which `is_conj` is no longer true: its conjugate was computed at once."""
        return self.clone() if self._conj else self  # type: ignore[attr-defined]

    def resolve_neg(self) -> Any:
        """The tensor, of which `is_neg` is no longer true."""
        return self.clone() if self._neg else self  # type: ignore[attr-defined]

    @property
    def real(self) -> Any:
        """The real parts; of a real tensor itself."""
        return elementwise.real(self) if self._a.dtype.kind == "c" else self  # type: ignore[attr-defined]

    @property
    def imag(self) -> Any:
        """The imaginary parts of a complex tensor."""
        part = elementwise.imag(self)
        part._neg = self._conj  # type: ignore[attr-defined]
        return part


class Methods(
    Operators,
    Shapes,
    Reductions,
    Ordering,
    Places,
    NewShapes,
    Matrices,
    Signals,
    Special,
    Conversions,
    Functions,
    Writes,
):
    """All of them."""


for _name in (
    "abs neg sqrt rsqrt reciprocal square exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh "
    "tanh "
    "asinh acosh atanh sigmoid erf sign sgn floor ceil round frac trunc nan_to_num deg2rad rad2deg add sub mul div "
    "floor_divide remainder fmod pow atan2 hypot copysign xlogy lerp addcmul addcdiv clamp clip clamp_min "
    "clamp_max eq ne lt le gt ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor "
    "bitwise_not bitwise_left_shift bitwise_right_shift masked_fill addmm addmv addr baddbmm addbmm cumsum cumprod "
    "absolute negative true_divide multiply subtract divide arcsin arccos arctan arcsinh arccosh arctanh fix "
    "conj_physical"
).split():
    _ufunc = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide}.get(_name)
    setattr(Methods, _name + "_", in_place(getattr(Methods, _name), _ufunc))
for _name in "not_equal less less_equal greater greater_equal arctan2".split():
    setattr(Methods, _name + "_", in_place(getattr(Methods, _name)))
