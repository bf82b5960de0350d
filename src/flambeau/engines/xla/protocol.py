"""NumPy's protocols: what its ufuncs and functions do with arrays on a device.

The types of a ufunc's operands and result are NumPy's own choice; the computation is the function of the same name in
`jax.numpy`. Python's numbers travel as arguments of the compiled program, so that a learning rate may change freely.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.calls import call, on_host
from flambeau.engines.xla.picking import place
from flambeau.engines.xla.runtime import Tracer, jax, jnp, lax, put, tracing, wide

#: Matrix products in full precision, also where the device has a quicker one.
PRECISE = lax.Precision.HIGHEST

_UFUNCS: dict[str, Callable] = {
    "matmul": functools.partial(jnp.matmul, precision=PRECISE),
    "vecdot": lambda a, b: jnp.sum(jnp.conj(a) * b, -1),
    "conjugate": jnp.conj,
    "logaddexp": jnp.logaddexp,
    "nextafter": jnp.nextafter,
    "rint": jnp.round,
}


def _ufunc(name: str) -> Callable:
    return _UFUNCS.get(name) or getattr(jnp, name)


@functools.lru_cache(maxsize=8192)
def _loop(ufunc: np.ufunc, kinds: tuple, dtype: Any) -> tuple[np.dtype, ...]:
    """The types of operands and results, as NumPy chooses them."""
    wanted = (*kinds, *[None] * ufunc.nout)
    if dtype is None:
        return ufunc.resolve_dtypes(wanted)
    return ufunc.resolve_dtypes(wanted, signature=(None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout)


def _kind(value: Any) -> Any:
    cls = value.__class__
    if cls is XArray and value.weak:
        return float
    if cls in (int, float, complex):
        return cls
    return np.dtype(value.dtype) if hasattr(value, "dtype") else np.asarray(value).dtype


def _apply(name: str, types: tuple, count: int, weak: bool, *inputs: Any) -> Any:
    device = next(v.device for v in inputs if v.__class__ is XArray)
    values = [cast(v.value if v.__class__ is XArray else jnp.asarray(v), t) for v, t in zip(inputs, types)]
    results = _ufunc(name)(*values)
    if count == 1:
        result = XArray(cast(results, types[-1]), device)
        result.weak = weak
        return result
    return tuple(XArray(cast(r, t), device) for r, t in zip(results, types[-count:]))


def cast(value: Any, dtype: Any) -> Any:
    """A JAX value in another type; of complex numbers the real parts."""
    have, want = np.dtype(value.dtype), np.dtype(dtype)
    if have == want:
        return value
    if have.kind == "c" and want.kind != "c":
        value = jnp.real(value) if want.kind != "b" else value != 0
    return value.astype(want)


def array_ufunc(self: XArray, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """`__array_ufunc__`: a call or a method of a ufunc with arrays on a device among its operands."""
    if any(not isinstance(v, (XArray, np.ndarray, np.generic, int, float, complex, list, tuple)) for v in inputs):
        if method != "at":
            return NotImplemented
    if method != "__call__":
        return _METHODS[method](ufunc, inputs, out, kwargs)
    where = kwargs.pop("where", True)
    types = _loop(ufunc, tuple(_kind(v) for v in inputs), kwargs.get("dtype"))
    arrays = [v if v.__class__ is XArray else np.asarray(v, t) for v, t in zip(inputs, types)]
    if not any(v.__class__ is XArray for v in arrays):  # only the result is on a device
        result = ufunc(*inputs, **kwargs)
    else:
        weak = all(v.__class__ in (int, float) or (v.__class__ is XArray and v.weak) for v in inputs)
        result = call(("ufunc", ufunc.__name__), _apply, (ufunc.__name__, types, ufunc.nout, weak, *arrays))
    if out is None:
        return result
    results = result if isinstance(result, tuple) else (result,)
    for target, value in zip(out, results):
        if target is not None:
            deliver(target, value, where)
    return out[0] if len(out) == 1 else out


def deliver(target: Any, value: Any, where: Any = True) -> Any:
    """Writes a result into its `out=`."""
    if target.__class__ is not XArray:
        np.copyto(target, np.asarray(value), casting="unsafe", where=np.asarray(where))
    elif where is True:
        target.assign(value)
    else:
        target.assign(np.where(where, value, target))
    return target


# methods of ufuncs

_REDUCE: dict[str, Callable] = {
    "add": jnp.sum,
    "multiply": jnp.prod,
    "maximum": jnp.max,
    "minimum": jnp.min,
    "logical_and": jnp.all,
    "logical_or": jnp.any,
    "bitwise_and": jnp.bitwise_and.reduce,
    "bitwise_or": jnp.bitwise_or.reduce,
}
_SCAN: dict[str, Callable] = {
    "add": jnp.cumsum,
    "multiply": jnp.cumprod,
    "maximum": lambda a, axis: lax.cummax(a, axis % a.ndim),
    "minimum": lambda a, axis: lax.cummin(a, axis % a.ndim),
    "logaddexp": lambda a, axis: lax.cumlogsumexp(a, axis % a.ndim),
}
_AT = {"add": "add", "multiply": "multiply", "maximum": "max", "minimum": "min"}


def _sum_type(name: str, dtype: np.dtype) -> np.dtype:
    """The type that NumPy sums and multiplies in: integers become at least as wide as its default one."""
    if name in ("add", "multiply") and dtype.kind in "biu" and dtype.itemsize < 8:
        return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    return dtype


def _reduced(name: str, a: XArray, axis: Any, keepdims: bool, dtype: Any) -> XArray:
    value = cast(a.value, dtype or _sum_type(name, a.dtype))
    return XArray(_REDUCE[name](value, axis=axis, keepdims=keepdims), a.device)


def _reduce(ufunc: np.ufunc, inputs: tuple, out: Any, kwargs: dict) -> Any:
    axis, keepdims, dtype = kwargs.get("axis", 0), bool(kwargs.get("keepdims", False)), kwargs.get("dtype")
    (a,) = inputs
    if a.__class__ is not XArray:
        result: Any = ufunc.reduce(a, axis=axis, keepdims=keepdims, dtype=dtype)
    elif ufunc.__name__ not in _REDUCE or kwargs.get("initial") is not None:
        result = on_host(f"{ufunc.__name__}.reduce", ufunc.reduce, inputs, kwargs)
    else:
        if a.ndim == 0 and axis is not None and axis not in ((), 0, -1):
            raise np.exceptions.AxisError(axis, 0)
        axis = None if a.ndim == 0 else axis
        dtype = None if dtype is None else np.dtype(dtype)
        result = call(("reduce", ufunc.__name__), _reduced, (ufunc.__name__, a, axis, keepdims, dtype))
    return result if out is None else deliver(out[0] if isinstance(out, tuple) else out, result)


def _scanned(name: str, a: XArray, axis: int, dtype: Any) -> XArray:
    value = cast(a.value, dtype or _sum_type(name, a.dtype))
    if not value.size:
        return XArray(value, a.device)
    if name in ("maximum", "minimum", "logaddexp") and value.dtype == bool:
        return XArray(_SCAN[name](value.astype(np.uint8), axis=axis) != 0, a.device)
    return XArray(_SCAN[name](value, axis=axis), a.device)


def _accumulate(ufunc: np.ufunc, inputs: tuple, out: Any, kwargs: dict) -> Any:
    dtype = kwargs.get("dtype")
    args = (ufunc.__name__, inputs[0], kwargs.get("axis", 0), None if dtype is None else np.dtype(dtype))
    result = call(("accumulate", ufunc.__name__), _scanned, args)
    return result if out is None else deliver(out[0], result)


def _at(ufunc: np.ufunc, inputs: tuple, out: Any, kwargs: dict) -> None:
    target, index, value = inputs
    if target.__class__ is not XArray:
        ufunc.at(target, np.asarray(index), np.asarray(value))
        return
    place(target, index, value, _AT[ufunc.__name__])


def _outer(ufunc: np.ufunc, inputs: tuple, out: Any, kwargs: dict) -> Any:
    a, b = inputs
    a = a if a.__class__ is XArray else np.asarray(a)
    b = b if b.__class__ is XArray else np.asarray(b)
    return ufunc(a.reshape(*a.shape, *[1] * b.ndim), b)


def _reduceat(ufunc: np.ufunc, inputs: tuple, out: Any, kwargs: dict) -> Any:
    return on_host(f"{ufunc.__name__}.reduceat", ufunc.reduceat, inputs, kwargs)


_METHODS = {"reduce": _reduce, "accumulate": _accumulate, "at": _at, "outer": _outer, "reduceat": _reduceat}


# conversions


def _converted(a: XArray, dtype: np.dtype) -> XArray:
    return XArray(cast(a.value, dtype), a.device)


def converted(a: XArray, dtype: np.dtype) -> XArray:
    """`a` in another dtype, in the order of its strides."""
    if a._shadow is not None and not a.flags.c_contiguous:
        kept = a.copy(order="K")
        if kept._shadow is not None:  # dense: the copy's memory, converted, seen in the same order
            whole = call("astype", _converted, (XArray(kept.store.read(), a.device), dtype))
            view = whole.seen_as(np.ndarray(kept.shape, whole.store.dtype, whole.store.shadow, 0, _scaled(kept, dtype)))
            view.base = None
            return view
    return call("astype", _converted, (a, dtype))


def _scaled(a: XArray, dtype: np.dtype) -> tuple[int, ...]:
    return tuple(s // a.itemsize * dtype.itemsize for s in a.strides)


@functools.lru_cache(maxsize=4096)
def _fitting(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    return jax.jit(lambda value: jnp.broadcast_to(cast(_trimmed(value, len(shape)), dtype), shape))


def _trimmed(value: Any, ndim: int) -> Any:
    while value.ndim > ndim and value.shape[0] == 1:
        value = value[0]
    return value


def fitted(new: Any, shape: tuple[int, ...], dtype: np.dtype, device: Any = None) -> Any:
    """JAX's value of `new`, broadcast to a shape and converted to a dtype."""
    if new.__class__ is XArray:
        value = new.value
        if value.shape == shape and value.dtype == dtype:
            return value
    elif isinstance(new, (jax.Array, Tracer)):
        value = new
    else:
        value = np.asarray(new)
        if value.dtype.kind not in "fiubcV":
            raise TypeError(f"an array of {dtype} can't hold {value.dtype}")
        if value.dtype != dtype and value.ndim == 0 and not (value.dtype.kind == "c" and dtype.kind != "c"):
            value = value.astype(dtype)
    with wide(True):
        if tracing.depth or isinstance(value, Tracer):
            value = jnp.asarray(value)
            return jnp.broadcast_to(cast(_trimmed(value, len(shape)), dtype), shape)
        if device is not None and isinstance(value, np.ndarray):
            value = put(value, device)
        try:
            return _fitting(shape, np.dtype(dtype))(value)
        except ValueError as error:
            raise ValueError(f"could not broadcast input array from shape {value.shape} into shape {shape}") from error
