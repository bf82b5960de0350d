"""`__array_function__`: NumPy's functions on arrays on a device, from `jax.numpy`, by views, or on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray, fresh
from flambeau.engines.xla.calls import call, device_in, lifted, on_host
from flambeau.engines.xla.layouts import placed, spread
from flambeau.engines.xla.protocol import PRECISE, array_ufunc, cast, deliver
from flambeau.engines.xla.runtime import jnp

_TABLE: dict[Any, Callable] = {}

#: Functions whose result's shape depends on values, or which XLA has no business doing: they run in NumPy.
ON_HOST = frozenset(
    "nonzero unique flatnonzero argwhere histogram bincount delete insert extract compress union1d isin "
    "count_nonzero append ediff1d array_equal allclose array_repr array_str array2string array_equiv "
    "save savez shares_memory may_share_memory".split()
)


def implements(*functions: Any) -> Callable:
    """Enters what follows for these functions of NumPy."""

    def enter(mine: Callable) -> Callable:
        for function in functions:
            _TABLE[function] = mine
        return mine

    return enter


def array_function(self: XArray, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
    """`__array_function__`: a function of NumPy with arrays on a device among its operands."""
    mine = _TABLE.get(func)
    if mine is not None:
        return mine(*args, **kwargs)
    name = func.__name__
    if name in ON_HOST or func.__module__ not in ("numpy", "numpy.linalg", "numpy.fft"):
        return on_host(name, func, args, kwargs)
    module = jnp if func.__module__ == "numpy" else getattr(jnp, func.__module__.split(".")[1])
    theirs = getattr(module, name, None)
    if theirs is None:
        return on_host(name, func, args, kwargs)
    out = kwargs.pop("out", None)
    result = call((func.__module__, name), _generic, (_Named(func.__module__, name), args, kwargs))
    return result if out is None else deliver(out, result)


class _Named(tuple):
    """A function of `jax.numpy` by name."""

    def __new__(cls, module: str, name: str) -> Any:
        return super().__new__(cls, (module, name))


def _generic(function: Any, args: Any, kwargs: dict) -> Any:
    module = jnp if function[0] == "numpy" else getattr(jnp, function[0].split(".")[1])
    device = device_in(args) or device_in(kwargs.values())
    return lifted(getattr(module, function[1])(*lowered_args(args), **lowered_args(kwargs)), device)


def lowered_args(value: Any) -> Any:
    """Arguments with JAX's values for arrays."""
    if value.__class__ is XArray:
        return value.value
    if value.__class__ in (tuple, list):
        return value.__class__(lowered_args(v) for v in value)
    if value.__class__ is dict:
        return {k: lowered_args(v) for k, v in value.items()}
    return value


# views


@implements(np.reshape)
def _reshape(a: Any, shape: Any = None, order: str = "C", **kwargs: Any) -> Any:
    return a.reshape(shape)


@implements(np.ravel)
def _ravel(a: Any, order: str = "C") -> Any:
    return a.reshape(-1)


@implements(np.transpose, np.permute_dims if hasattr(np, "permute_dims") else np.transpose)
def _transpose(a: Any, axes: Any = None) -> Any:
    return a.transpose() if axes is None else a.transpose(axes)


@implements(np.swapaxes)
def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return a.swapaxes(axis1, axis2)


@implements(np.squeeze)
def _squeeze(a: Any, axis: Any = None) -> Any:
    return a.squeeze(axis)


@implements(np.diagonal)
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return a.diagonal(offset, axis1, axis2)


def _by_shadow(function: Callable) -> Callable:
    """A view that NumPy makes of the shadow."""

    def view(a: XArray, *args: Any, **kwargs: Any) -> XArray:
        return a.seen_as(function(a.shadow, *args, **kwargs))

    return view


for _function in (np.moveaxis, np.expand_dims, np.broadcast_to, np.rollaxis, np.atleast_1d, np.atleast_2d):
    _TABLE[_function] = _by_shadow(_function)


@implements(np.flip)
def _flip(m: XArray, axis: Any = None) -> Any:
    return call("flip", lambda a, axis: fresh(jnp.flip(a.value, axis), a.device), (m, axis))


@implements(np.real)
def _real(val: XArray) -> Any:
    return val.real


@implements(np.imag)
def _imag(val: XArray) -> Any:
    return val.imag


@implements(np.broadcast_arrays)
def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(a) for a in args))
    return tuple(np.broadcast_to(a, shape) for a in args)


@implements(np.shape)
def _shape(a: XArray) -> Any:
    return a.shape


@implements(np.ndim)
def _ndim(a: XArray) -> int:
    return a.ndim


@implements(np.size)
def _size(a: XArray, axis: Any = None) -> int:
    return a.size if axis is None else a.shape[axis]


# making


@implements(np.zeros_like, np.empty_like)
def _zeros_like(prototype: Any = None, dtype: Any = None, order: str = "K", subok: bool = True, **kwargs: Any) -> Any:
    return _filled(prototype if prototype is not None else kwargs["a"], 0, dtype, kwargs.get("shape"))


@implements(np.ones_like)
def _ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kw: Any) -> Any:
    return _filled(a, 1, dtype, shape)


@implements(np.full_like)
def _full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kw: Any
) -> Any:
    return _filled(a, fill_value, dtype, shape)


def _filled(a: Any, value: Any, dtype: Any, shape: Any) -> Any:
    """An array full of `value` like `a`, with the order of its strides where it is dense."""
    from flambeau.engines.xla.protocol import fitted

    if a.__class__ is not XArray:  # only the value is on a device
        return np.full_like(a, np.asarray(value), dtype=dtype, shape=shape)
    d = np.dtype(a.dtype if dtype is None else dtype)
    if shape is None and a._shadow is not None and not a.flags.c_contiguous:
        pattern = np.empty_like(np.broadcast_to(a.shadow, a.shape), d)
        order = sorted(range(a.ndim), key=lambda i: (-pattern.strides[i], i))
        root = _filled(a, value, d, tuple(a.shape[i] for i in order))
        view = root.transpose(np.argsort(order))
        view.base = None
        return view
    made = fitted(value, tuple(a.shape if shape is None else shape), d, a.device)
    where = spread(a.store.read()) if shape is None and a._shadow is None else None
    if where is not None and a.store.shape == a.shape:
        made = placed(made, where)
    return XArray(made, a.device)


@implements(np.copy)
def _copy(a: XArray, order: str = "K", subok: bool = False) -> Any:
    return a.copy(order)


@implements(np.copyto)
def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    deliver(dst, src, where)


@implements(np.where)
def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None:
        return np.nonzero(condition)
    d = np.result_type(*(_weak(v) for v in (x, y)))
    arrays = tuple(v if v.__class__ is XArray else np.asarray(v, d) for v in (x, y))
    mask = condition if condition.__class__ is XArray else np.asarray(condition)
    return call("where", _choose, (mask, *arrays, d))


def _weak(value: Any) -> Any:
    if value.__class__ in (int, float, complex, bool):
        return value
    return np.dtype(value.dtype) if hasattr(value, "dtype") else np.asarray(value)


def _choose(mask: Any, a: Any, b: Any, d: Any) -> Any:
    m = mask.value
    return XArray(jnp.where(m if m.dtype == bool else m != 0, cast(a.value, d), cast(b.value, d)), mask.device)


# joining, products, the rest that differs from jax.numpy


@implements(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0, out: Any = None, **kwargs: Any) -> Any:
    d = np.result_type(*(np.dtype(a.dtype) for a in map(_arrayed, arrays)))
    parts = [_arrayed(a) for a in arrays]
    result = call("concatenate", lambda p, axis, d: _joined(jnp.concatenate, p, axis, d), (parts, axis, d))
    return result if out is None else deliver(out, result)


@implements(np.stack)
def _stack(arrays: Any, axis: int = 0, out: Any = None, **kwargs: Any) -> Any:
    parts = [_arrayed(a) for a in arrays]
    d = np.result_type(*(np.dtype(a.dtype) for a in parts))
    result = call("stack", lambda p, axis, d: _joined(jnp.stack, p, axis, d), (parts, axis, d))
    return result if out is None else deliver(out, result)


def _arrayed(a: Any) -> Any:
    return a if a.__class__ is XArray else np.asarray(a)


def _joined(join: Callable, parts: list[Any], axis: Any, d: Any) -> Any:
    return XArray(join([cast(p.value, d) for p in parts], axis), parts[0].device)


@implements(np.dot)
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    result = call("dot", _product, (_arrayed(a), _arrayed(b)))
    return result if out is None else deliver(out, result)


def _product(a: Any, b: Any) -> Any:
    return XArray(jnp.dot(a.value, b.value, precision=PRECISE), a.device)


@implements(np.einsum)
def _einsum(subscripts: str, *operands: Any, out: Any = None, **kwargs: Any) -> Any:
    result = call(
        "einsum",
        lambda s, ops: fresh(jnp.einsum(s, *[v.value for v in ops], precision=PRECISE), ops[0].device),
        (subscripts, [_arrayed(v) for v in operands]),
    )
    return result if out is None else deliver(out, result)


@implements(np.mean)
def _mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **kwargs: Any) -> Any:
    total = np.add.reduce(a, axis, dtype or (np.float64 if a.dtype.kind in "biu" else None), None, bool(keepdims))
    result = np.true_divide(total, a.size // max(total.size, 1))
    return result if out is None else deliver(out, result)


@implements(np.sum)
def _sum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **kwargs: Any) -> Any:
    return np.add.reduce(a, axis, dtype, out, bool(keepdims) if keepdims is not np._NoValue else False)


@implements(np.prod)
def _prod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **kwargs: Any) -> Any:
    return np.multiply.reduce(a, axis, dtype, out, bool(keepdims) if keepdims is not np._NoValue else False)


@implements(np.any)
def _any(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **kwargs: Any) -> Any:
    return np.logical_or.reduce(a, axis, None, out, bool(keepdims) if keepdims is not np._NoValue else False)


@implements(np.all)
def _all(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **kwargs: Any) -> Any:
    return np.logical_and.reduce(a, axis, None, out, bool(keepdims) if keepdims is not np._NoValue else False)


@implements(np.take)
def _take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    a = a if a.__class__ is XArray else indices.moved_here(np.asarray(a))
    if axis is None:
        result = a.reshape(-1)[_arrayed(indices)]
    else:
        result = a[(slice(None),) * (axis % a.ndim) + (_arrayed(indices),)]
    return result if out is None else deliver(out, result)


@implements(np.take_along_axis)
def _take_along_axis(arr: Any, indices: Any, axis: int = -1) -> Any:
    return call(
        "take_along_axis",
        lambda a, i, axis: fresh(jnp.take_along_axis(a.value, i.value, axis), a.device),
        (_arrayed(arr), _arrayed(indices), axis),
    )


@implements(np.put_along_axis)
def _put_along_axis(arr: XArray, indices: Any, values: Any, axis: int) -> None:
    new = call(
        "put_along_axis",
        lambda a, i, v, axis: fresh(
            jnp.put_along_axis(a.value, i.value, cast(v.value, a.dtype), axis, inplace=False), a.device
        ),
        (arr, _arrayed(indices), _arrayed(values), axis),
    )
    arr.put(new.value)


@implements(np.argsort)
def _argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, **kwargs: Any) -> Any:
    return call("argsort", lambda a, axis: fresh(jnp.argsort(a.value, axis, stable=True), a.device), (a, axis))


@implements(np.argpartition)
def _argpartition(a: Any, kth: Any, axis: int = -1, **kwargs: Any) -> Any:
    return np.argsort(a, axis)


@implements(np.sort)
def _sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, **kwargs: Any) -> Any:
    return call("sort", lambda a, axis: fresh(jnp.sort(a.value, axis), a.device), (a, axis))


@implements(np.searchsorted)
def _searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    return call(
        "searchsorted",
        lambda a, v, side: fresh(jnp.searchsorted(a.value, v.value, side=side).astype(np.int64), a.device),
        (_arrayed(a), _arrayed(v), side),
    )


@implements(np.iscomplexobj)
def _iscomplexobj(x: Any) -> bool:
    return x.dtype.kind == "c"


@implements(np.result_type)
def _result_type(*args: Any) -> Any:
    return np.result_type(*(np.dtype(a.dtype) if a.__class__ is XArray else a for a in args))


@implements(np.can_cast)
def _can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    return np.can_cast(from_.dtype, to, casting)


XArray.__array_ufunc__ = array_ufunc
XArray.__array_function__ = array_function
