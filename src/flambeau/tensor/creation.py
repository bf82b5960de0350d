"""Making tensors: from data, of zeros and ones, of ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.devices import default
from flambeau.engines.arrays import copied, place_of
from flambeau.errors import need_tensor, outdated
from flambeau.ops import complexes, memory_formats
from flambeau.ops.dims import given_size
from flambeau.ops.dispatch import give, made, wrap
from flambeau.ops.placing import bare
from flambeau.ops.public import asking
from flambeau.tensor.rooms import evenly, filled, in_format, is_meta, without_values
from flambeau.tensor.storage import UntypedStorage
from flambeau.tensor.tensor import Tensor


def _finish(array: np.ndarray, device: Any, requires_grad: bool) -> Any:
    t = made(array, device)
    if requires_grad:
        t.requires_grad_()
    return t


def _numpy_type(dtype: Any, fallback: dtypes.dtype | None = None) -> np.dtype:
    return dtypes.chosen(dtype, fallback).numpy


def array_of(data: Any, dtype: dtypes.dtype | None = None) -> np.ndarray:
    """A new array with the values of a number, a nested sequence, an array or a tensor."""
    if isinstance(data, Tensor):
        return copied(data._a) if dtype is None else data._a.astype(dtype.numpy)
    if isinstance(data, np.ndarray):
        wanted = (dtype or dtypes.of_numpy(data.dtype)).numpy
        return np.array(data, dtype=wanted).view(wanted)  # an unpickled array has a dtype object of its own
    if isinstance(data, np.generic):
        return np.array(data, dtype=dtypes.of_numpy(data.dtype).numpy if dtype is None else dtype.numpy)
    if isinstance(data, (bool, int, float, complex)):
        return _array_of_numbers(data, dtype)
    if isinstance(data, str) or not hasattr(data, "__len__"):
        if hasattr(data, "__array__"):
            return np.array(data.__array__(), dtype=None if dtype is None else dtype.numpy)
        raise _no_number(data, TypeError)
    try:
        return _array_of_numbers(_plain(data), dtype)
    except ValueError:
        if isinstance(data, (list, tuple)) and data and not isinstance(data[0], str) and str in map(type, data):
            raise _no_number("", TypeError) from None
        raise


def _no_number(data: Any, for_text: type[Exception]) -> Exception:
    kind = for_text if isinstance(data, str) else RuntimeError
    return kind(f"no tensor can be made of {type(data).__name__}: pass numbers, sequences of numbers or arrays")


def _plain(data: Any) -> Any:
    """Nested sequences as nested lists of numbers."""
    if isinstance(data, Tensor):
        if data._a.ndim == 0:
            return data._a[()]
        return data._a
    if isinstance(data, (list, tuple, range)) or (
        hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, np.ndarray, dict))
    ):
        return [item if item.__class__ in (float, int, bool) else _plain(item) for item in data]
    if not isinstance(data, (bool, int, float, complex, np.generic, np.ndarray)):
        if hasattr(data, "__array__"):
            return data.__array__()
        raise _no_number(data, ValueError)
    return data


def _array_of_numbers(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    try:
        array = np.array(data)
    except ValueError:
        raise ValueError(
            f"tensor(): the nested sequences differ in length, so they are no array: {str(data)[:80]}"
        ) from None
    except OverflowError:
        raise ValueError("an integer is too large for int64") from None
    if array.dtype.kind in "OUS":
        if array.dtype.kind == "O" and array.size and all(isinstance(x, (int, float)) for x in array.reshape(-1)):
            if dtype is not None and dtype.is_floating_point:
                return array.astype(np.float64).astype(dtype.numpy)
            raise ValueError("an integer is too large for int64")
        raise TypeError(
            f"tensor(): no tensor can be made of a {type(data).__name__} with elements like "
            f"{str(array.reshape(-1)[:1])}"
        )
    if dtype is None:
        dtype = _inferred(data, array)
    if dtype.kind in "ui" and array.size and array.dtype.kind in "iu":
        limits = np.iinfo(dtype.numpy)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise RuntimeError(f"tensor(): a value does not fit into {dtype}")
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError("tensor(): a complex number can't become a real one; take .real first")
    return array.astype(dtype.numpy)


def _inferred(data: Any, array: np.ndarray) -> dtypes.dtype:
    """The dtype of nested numbers: Python's have one per kind, NumPy's scalars and arrays their own."""
    if array.size == 0:
        return dtypes.get_default_dtype()
    found: dtypes.dtype | None = None
    for cls, example in _classes(data).items():
        if issubclass(cls, (np.generic, np.ndarray)):
            mine = dtypes.of_numpy(example.dtype)
        else:
            mine = dtypes.of_scalar(example)
        found = mine if found is None else dtypes.promote_types(found, mine)
    assert found is not None
    return found


def _classes(data: Any) -> dict[type, Any]:
    """The classes of the numbers in nested lists, each with a number of that class."""
    if not isinstance(data, list):
        return {type(data): data}
    kinds: dict[type, Any] = dict(zip(map(type, data), data, strict=True))
    if list not in kinds:
        return kinds
    found: dict[type, Any] = {}
    for row in data:
        found.update(_classes(row))
    return found


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Any:
    """A new tensor with a copy of `data`: a number, nested sequences of numbers, an array or a tensor.

    Python floats become the default dtype, ints int64, bools bool, complex numbers complex64.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "tensor(): copying a tensor: source.detach().clone() says so plainly, with .requires_grad_() where "
            "gradients are wanted",
            UserWarning,
            stacklevel=2,
        )
    d = None if dtype is None else dtypes.of_numpy(_numpy_type(dtype))
    return _finish(array_of(data, d), device, requires_grad)


def scalar_tensor(
    s: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """A zero-dim tensor of a number, in the default dtype unless another is given."""
    kind = dtype or dtypes.get_default_dtype()
    if s.__class__ is int:
        s = NS["CONSTANT"](s, kind.numpy)._a.item()
    return tensor(s, dtype=kind, device=device, requires_grad=requires_grad)


def from_numpy(ndarray: Any) -> Any:
    """A tensor that shares the memory of a NumPy array."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy(): a NumPy array is needed, got {type(ndarray).__name__}")
    dtypes.of_numpy(ndarray.dtype)
    if any(s < 0 for s in ndarray.strides) and ndarray.size:
        raise ValueError(
            "from_numpy(): an array with a negative stride can't be shared with a tensor; pass array.copy()"
        )
    if not ndarray.flags.writeable:
        import warnings

        warnings.warn(
            "from_numpy(): the array is read-only, but writes to the tensor would reach its memory; pass "
            "array.copy(), or make it writable",
            UserWarning,
            stacklevel=2,
        )
    array = ndarray.view(np.ndarray)
    canonical = dtypes.of_numpy(array.dtype).numpy
    array = array if array.dtype is canonical else array.view(canonical)
    capture = NS["CAPTURE"]
    return bare(array if capture is None else capture.shared(array))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """`data` as a tensor, sharing memory where it is a tensor or an array of the dtype asked for."""
    d = None if dtype is None else dtypes.of_numpy(_numpy_type(dtype))
    if isinstance(data, Tensor):
        return data.to(data.device if device is None else device, data.dtype if d is None else d)
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(default() if device is None else device, d or dtypes.of_numpy(data.dtype))
    return tensor(data, dtype=d, device=device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool | None = None
) -> Any:
    """`obj` as a tensor; `copy` forces or forbids a copy. A tensor stays in its graph unless `requires_grad=False`."""
    if isinstance(obj, UntypedStorage):
        obj = obj._memory.view(np.uint8)
    t = as_tensor(obj, dtype=dtype, device=device)
    shares = isinstance(obj, (Tensor, np.ndarray)) and np.shares_memory(
        t._a, obj._a if isinstance(obj, Tensor) else obj
    )
    if copy is False and not shares:
        raise ValueError("asarray(): copy=False, but this object can't share memory with a tensor of that dtype")
    if copy and shares:
        t = t.clone()
    if requires_grad is not None and requires_grad != t.requires_grad:
        t = t.detach().requires_grad_(requires_grad)
    return t


def from_dlpack(ext_tensor: Any, **kwargs: Any) -> Any:
    """A tensor that shares the memory of any object with `__dlpack__`."""
    return wrap(np.asarray(np.from_dlpack(ext_tensor))) if not isinstance(ext_tensor, Tensor) else ext_tensor.detach()


def from_file(
    filename: Any,
    shared: bool | None = None,
    size: int | None = 0,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
) -> Any:
    """The first `size` numbers of a file of raw numbers, mapped: what is written reaches the file only if `shared`,
    which also creates and lengthens it as needed.

    RuntimeError if the file is shorter, OSError if it can't be opened.
    """
    kind = _numpy_type(dtype)
    memory = UntypedStorage.from_file(filename, bool(shared), (size or 0) * kind.itemsize)._memory
    return _finish(memory.view(kind), device, False)


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Any:
    """A one-dimensional tensor that shares the memory of an object with the buffer protocol."""
    if len(memoryview(buffer)) == 0:
        raise ValueError("frombuffer(): the buffer is empty; pass one with at least one element")
    return _finish(np.frombuffer(buffer, dtype=dtype.numpy, count=count, offset=offset), None, requires_grad)


def _size_from(size: tuple, kwargs: dict, name: str) -> tuple[int, ...]:
    named = kwargs.pop("size", None)
    for key in ("layout", "pin_memory", "names"):
        kwargs.pop(key, None)
    if kwargs:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(kwargs))}'")
    return given_size(name, size, named)


def zeros(
    *size: Any, out: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Any:
    """Zeros of a shape given as ints or one tuple."""
    shape = _size_from(size, kwargs, "zeros")
    return give("zeros", filled(shape, 0, _numpy_type(dtype), device), out, device, requires_grad)


def ones(
    *size: Any, out: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Any:
    """Ones of a shape given as ints or one tuple."""
    shape = _size_from(size, kwargs, "ones")
    return give("ones", filled(shape, 1, _numpy_type(dtype), device), out, device, requires_grad)


def empty(
    *size: Any, out: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Any:
    """A tensor whose values are not asked for: zeros, since no memory is left uninitialised here."""
    memory_format = kwargs.pop("memory_format", None)
    shape = _size_from(size, kwargs, "empty")
    order = None if memory_format is None else memory_formats.order_of(memory_format, len(shape), "empty")
    d = _numpy_type(dtype)
    array = filled(shape, 0, d, device) if order is None else memory_formats.room(shape, d, order)
    return give("empty", array, out, device, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    out: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **kwargs: Any,
) -> Any:
    """A shape filled with one value; the dtype is the value's unless given."""
    shape = _size_from((size,), kwargs, "full")
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if not isinstance(fill_value, (bool, int, float, complex, np.generic)):
        raise TypeError(f"full(): fill_value must be a number, got {type(fill_value).__name__}")
    d = _numpy_type(dtype, dtypes.of_scalar(fill_value))
    return give("full", filled(shape, fill_value, d, device), out, device, requires_grad)


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Any:
    """Zeros of a shape with the given strides (in elements)."""
    d = _numpy_type(dtype)
    reach = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True) if n > 0)
    memory = np.zeros(reach, d)
    array = np.ndarray(tuple(size), d, memory, 0, tuple(s * d.itemsize for s in stride))
    return _finish(array, device, requires_grad)


def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **kwargs: Any,
) -> Any:
    """Zeros of a shape whose dimensions lie in memory in the order `physical_layout`, the outermost first."""
    size, order = tuple(size), tuple(physical_layout)
    if len(order) != len(size):
        raise RuntimeError(f"empty_permuted(): a place for each of {len(size)} dimensions is needed, got {list(order)}")
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(f"empty_permuted(): physical_layout must name each dimension once, got {list(order)}")
    memory = np.zeros([size[d] for d in order], _numpy_type(dtype))
    return _finish(memory.transpose(np.argsort(order)) if order else memory, device, requires_grad)


def _like(input: Any, dtype: Any, make: Any, device: Any, requires_grad: bool, memory_format: Any = None) -> Any:
    if not isinstance(input, Tensor):
        raise TypeError(f"input must be a Tensor, got {type(input).__name__}")
    device = input.device if device is None else device
    array = place_of(input._a) if input.is_meta else input._a
    if is_meta(device):
        make = without_values
    array = array if memory_format is None else in_format(array, memory_format)
    made_ = _finish(make(array, dtype=None if dtype is None else _numpy_type(dtype)), device, requires_grad)
    return made_ if input._level is None else NS["IN_BATCH"](input, made_)


@asking
def zeros_like(
    input: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Any:
    """Zeros in the shape and dtype of `input`."""
    return _like(input, dtype, np.zeros_like, device, requires_grad, memory_format)


@asking
def ones_like(
    input: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Any:
    """Ones in the shape and dtype of `input`."""
    return _like(input, dtype, np.ones_like, device, requires_grad, memory_format)


empty_like = zeros_like


@asking
def full_like(
    input: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor filled with one value in the shape and dtype of `input`."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()

    def full(a: Any, dtype: Any) -> Any:
        return np.full_like(a, fill_value, dtype=dtype)

    return _like(input, dtype, full, device, requires_grad, memory_format)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Numbers from `start` (0) up to but without `end`, `step` apart; int64 if all are ints.

    >>> import flambeau as torch
    >>> torch.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    if start is None and end is None:
        raise TypeError("arange() takes an end, or a start and an end; it got neither")
    if end is None:
        start, end = 0, start
    elif start is None:
        start = 0
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0:
        raise RuntimeError("arange(): step must not be 0")
    if any(isinstance(v, float) and not math.isfinite(v) for v in (start, end)):
        raise RuntimeError(f"arange(): start and end must be finite, got {start} and {end}")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange(): step leads away from end, got start={start}, end={end}, step={step}")
    if out is not None and dtype is None and out._a.dtype.kind in "iu":
        if not int(step):
            raise ValueError(f"arange(): among integers, of which out= is made, step must not be 0, got {step}")
        dtype = out.dtype
    whole = all(isinstance(v, int) for v in (start, end, step))
    d = _numpy_type(dtype, dtypes.int64 if whole else None)
    if d == np.int64 and not whole and int(step):  # the other integer types count their elements by the given numbers
        start, end, step, whole = int(start), int(end), int(step), True
    n = max(0, math.ceil((end - start) / step)) if not whole else max(0, -(-(end - start) // step))
    if d.kind in "iu":
        array = (int(start) + np.arange(n, dtype=np.int64) * int(step)).astype(d)
    else:
        array = (start + np.arange(n, dtype=np.float64) * step).astype(d)
    return give("arange", array, out, device, requires_grad)


def range_tensor(start: Any = 0, end: Any = None, step: Any = 1, **kwargs: Any) -> Any:
    """Like `arange` with `end` included; kept for old programs."""
    outdated("torch.range", "torch.arange, which leaves out the end")
    n = math.floor((end - start) / step) + 1
    return _finish(
        (start + np.arange(n, dtype=np.float64) * step).astype(_numpy_type(kwargs.get("dtype"))), None, False
    )


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """`steps` numbers at equal distance from `start` to `end`, both included."""
    if isinstance(steps, float):
        raise TypeError(f"steps is a count and must be an integer, got {steps}")
    if steps < 0:
        raise RuntimeError(f"steps must not be negative, got {steps}")
    start, end = _number(start), _number(end)
    d = _numpy_type(
        dtype,
        dtypes.get_default_dtype().to_complex() if isinstance(start, complex) or isinstance(end, complex) else None,
    )
    return give("linspace", evenly(start, end, int(steps), d), out, device, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """`steps` numbers `base ** x` for x at equal distance from `start` to `end`."""
    if isinstance(steps, float):
        raise TypeError(f"steps is a count and must be an integer, got {steps}")
    if steps < 0:
        raise RuntimeError(f"steps must not be negative, got {steps}")
    d = _numpy_type(dtype)
    first, last = float(_number(start)), float(_number(end))
    if d.kind in "iu":
        first, last = float(int(first)), float(int(last))
    values = np.power(float(base), evenly(first, last, int(steps), np.dtype(np.float64)))
    return give("logspace", values.astype(d), out, device, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """A matrix with ones on the diagonal."""
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"eye(): sizes must not be negative, got {n if n < 0 else m}")
    return give("eye", np.eye(n, m, dtype=_numpy_type(dtype)), out, device, requires_grad)


def _parts(name: str, **parts: Any) -> None:
    """Refuses what are not two floating-point tensors of one dtype."""
    for which, part in parts.items():
        need_tensor(name, part, which)
    kinds = [part.dtype for part in parts.values()]
    names = " and ".join(parts)
    if kinds[0] is not kinds[1]:
        raise RuntimeError(f"{name}(): {names} must have one dtype, got {kinds[0]} and {kinds[1]}")
    if not kinds[0].is_floating_point:
        raise RuntimeError(f"{name}(): {names} must be float16, float32 or float64, got {kinds[0]}")


def complex_tensor(real: Any, imag: Any, *, out: Any = None) -> Any:
    """A complex tensor from real and imaginary parts of one floating-point dtype."""
    _parts("complex", real=real, imag=imag)
    return complexes.complex_op(real, imag, out=out)


def polar(abs: Any, angle: Any, *, out: Any = None) -> Any:
    """A complex tensor from moduli and arguments."""
    _parts("polar", abs=abs, angle=angle)
    return complexes.polar_op(abs, angle, out=out)
