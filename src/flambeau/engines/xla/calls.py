"""How a function of arrays runs: traced once per signature, compiled by XLA, and from then on one call.

What is no array in a call (dimensions, modes, numbers, shapes) is part of its signature. A function that asks for a
value while it is traced can't be compiled as a whole: it runs step by step instead, each step compiled, and is listed
in `STEPWISE`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray, noted
from flambeau.engines.xla.layouts import agreeing
from flambeau.engines.xla.runtime import UNTRACEABLE, Tracer, jax, jnp, put, tracing, wide

#: Functions that run step by step since they look at values, and how often they did.
STEPWISE: dict[Any, int] = {}
_compiled: dict[Any, Any] = {}
_MOST = 16384


class Fixed:
    """A result that is no array, carried through JAX's trees as part of their structure."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value) if self.value.__hash__ is not None else 0


jax.tree_util.register_pytree_node(Fixed, lambda f: ((), f), lambda f, _: f)


class _Leaf:
    def __repr__(self) -> str:
        return "array"


_LEAF = _Leaf()


def flatten(value: Any, leaves: list[Any]) -> Any:
    """The signature of an argument; its arrays are added to `leaves`."""
    cls = value.__class__
    if cls is XArray:
        leaves.append(value.value)
        return _LEAF
    if cls is np.ndarray:
        leaves.append(value)
        return _LEAF
    if cls is tuple or cls is list:
        return (cls, *[flatten(v, leaves) for v in value])
    if cls is int or cls is str or value is None or cls is bool:
        return (cls, value)
    if cls is float:
        return (cls, value, str(value)) if not value or value != value else (cls, value)
    if cls is slice:
        return (cls, *[flatten(v, leaves) for v in (value.start, value.stop, value.step)])
    if isinstance(value, np.generic):
        leaves.append(np.asarray(value))
        return _LEAF
    if cls is dict:
        return (cls, *[(k, flatten(v, leaves)) for k, v in value.items()])
    hash(value)
    return (_Leaf, value)


def rebuild(signature: Any, values: Any, array: Callable[[Any], Any]) -> Any:
    """The argument again, its arrays made by `array` of what the iterator `values` gives."""
    if signature is _LEAF:
        return array(next(values))
    cls = signature[0]
    if cls is tuple or cls is list:
        return cls(rebuild(s, values, array) for s in signature[1:])
    if cls is slice:
        return slice(*[rebuild(s, values, array) for s in signature[1:]])
    if cls is dict:
        return {k: rebuild(s, values, array) for k, s in signature[1:]}
    return signature[1]


def lowered(result: Any) -> Any:
    """A result as a tree of JAX values."""
    cls = result.__class__
    if cls is XArray:
        return result.value
    if isinstance(result, (tuple, list)):
        return (list if cls is list else tuple)(lowered(r) for r in result)
    if isinstance(result, (np.ndarray, np.generic)):
        return jnp.asarray(result)
    if result is None or isinstance(result, (jax.Array, Tracer)):
        return result
    return Fixed(result)


def lifted(result: Any, device: Any) -> Any:
    """A tree of JAX values as arrays."""
    cls = result.__class__
    if isinstance(result, (tuple, list)):
        return (list if cls is list else tuple)(lifted(r, device) for r in result)
    if cls is Fixed:
        return result.value
    if result is None:
        return None
    return XArray(result, device) if isinstance(result, (jax.Array, Tracer)) else result


def forget() -> None:
    """Drops all compiled programs; they are compiled again when they are needed."""
    _compiled.clear()


def device_in(args: Any) -> Any:
    """The device of the first array among the arguments."""
    for value in args:
        cls = value.__class__
        if cls is XArray:
            return value.store.device
        if cls is tuple or cls is list:
            found = device_in(value)
            if found is not None:
                return found
    return None


def direct(function: Callable, args: tuple, kwargs: dict) -> Any:
    """Runs a function of arrays as it is, with 64-bit types."""
    before = tracing.device
    if before is None or not tracing.depth or tracing.whole:
        tracing.device = device_in(args) or device_in(kwargs.values()) or before
    try:
        with wide(True):
            return function(*args, **kwargs)
    finally:
        tracing.device = before


def call(name: Any, function: Callable, args: tuple, kwargs: dict | None = None, strict: bool = False) -> Any:
    """`function(*args, **kwargs)`, compiled as a whole where it can be; inside another program as part of it.

    What can't be compiled runs step by step; with `strict` it raises one of `UNTRACEABLE`.
    """
    kwargs = kwargs or {}
    if tracing.depth:
        return direct(function, _entered(args), _entered(kwargs))
    if name in STEPWISE:
        return _by_steps(name, function, args, kwargs)
    leaves: list[Any] = []
    try:
        signature = flatten((args, kwargs), leaves)
        key = (name, signature)
        program = _compiled.get(key)
    except TypeError:  # something without a hash
        return direct(function, args, kwargs)
    device = device_in(args) or device_in(kwargs.values())
    if program is None:
        if len(_compiled) > _MOST:
            _compiled.clear()
        program = _compiled[key] = jax.jit(functools.partial(_traced, function, signature, device))
    try:
        with wide(True):
            results = agreeing(program, leaves)
    except UNTRACEABLE:
        if strict:
            _compiled.pop(key, None)
            raise
        _compiled.pop(key, None)
        return _by_steps(name, function, args, kwargs)
    return lifted(results, device)


def _by_steps(name: Any, function: Callable, args: tuple, kwargs: dict) -> Any:
    STEPWISE[name] = STEPWISE.get(name, 0) + 1
    device = device_in(args) or device_in(kwargs.values())
    return moved(direct(function, args, kwargs), device)


def _entered(value: Any) -> Any:
    """Arguments of a call inside of a program: NumPy's arrays become its constants."""
    cls = value.__class__
    if cls is np.ndarray:
        with wide(True):
            return XArray(jnp.asarray(value), tracing.device)
    if cls is tuple or cls is list:
        return cls(_entered(v) for v in value)
    if cls is dict:
        return {k: _entered(v) for k, v in value.items()}
    return value


def _traced(function: Callable, signature: Any, device: Any, *values: Any) -> Any:
    before = tracing.device
    tracing.depth += 1
    tracing.device = device
    try:
        args, kwargs = rebuild(signature, iter(values), lambda value: XArray(value, device))
        return lowered(function(*args, **kwargs))
    finally:
        tracing.depth -= 1
        tracing.device = before


def on_host(name: str, function: Callable, args: tuple, kwargs: dict | None = None) -> Any:
    """`function` on NumPy arrays read from the device, its results moved back there.

    Within a program's own step XLA calls it when the program runs, unless the shape of its results depends on values.
    """
    noted(name)
    if tracing.whole and name not in SHAPED_BY_VALUE:
        return called_back(function, args, kwargs or {})
    device = device_in(args) or device_in((kwargs or {}).values())
    results = function(*_read(args), **(_read(kwargs or {})))
    return moved(results, device)


#: Functions of the host whose results have shapes that depend on values.
SHAPED_BY_VALUE = frozenset(
    "nonzero unique flatnonzero argwhere delete insert extract compress union1d append bincount masked_select_op "
    "unique_runs array_repr array_str array2string shares_memory may_share_memory save savez".split()
)


def called_back(function: Callable, args: tuple, kwargs: dict) -> Any:
    """A function of the host as a part of a program: XLA hands it the values when it comes to it."""
    leaves: list[Any] = []
    signature = flatten((args, kwargs), leaves)
    device = device_in(args) or device_in(kwargs.values()) or tracing.device

    def run(*values: Any) -> Any:
        again, named = rebuild(signature, iter(values), np.array)
        return function(*again, **named)

    shown = run(*[_stand_in(v.shape, np.dtype(v.dtype)) for v in leaves])
    found: list[Any] = []
    form = flatten(shown, found)
    shapes = [jax.ShapeDtypeStruct(np.shape(v), np.asarray(v).dtype) for v in found]

    def flat(*values: Any) -> list[Any]:
        results: list[Any] = []
        flatten(run(*values), results)
        return [np.asarray(v, s.dtype).reshape(s.shape) for v, s in zip(results, shapes)]

    values = jax.pure_callback(flat, shapes, *leaves, vmap_method="sequential")
    return rebuild(form, iter(values), lambda value: XArray(value, device))


def _stand_in(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Harmless values: identity matrices, halves, zeros."""
    array = np.full(shape, 0.5 if dtype.kind not in "iub" else 0, dtype)
    if array.ndim > 1 and shape[-1] == shape[-2] and dtype.kind in "fc":
        array[...] = np.eye(shape[-1])
    return array


def _read(value: Any) -> Any:
    cls = value.__class__
    if cls is XArray:
        array = value.host()
        return array if array.flags.writeable else array.copy()
    if cls is tuple or cls is list:
        return cls(_read(v) for v in value)
    if cls is dict:
        return {k: _read(v) for k, v in value.items()}
    return value


def moved(value: Any, device: Any) -> Any:
    """A result whose NumPy arrays are moved to the device."""
    if isinstance(value, (np.ndarray, np.generic)):
        return XArray(put(np.ascontiguousarray(value).reshape(np.shape(value)), device, True), device)
    if isinstance(value, tuple):
        made = [moved(v, device) for v in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    if isinstance(value, list):
        return [moved(v, device) for v in value]
    return value
