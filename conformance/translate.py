"""PyTorch's values and functions as flambeau's.

The databases call some operators through Python functions of their own. Those are built anew from their code, with
flambeau in the place of every name that means PyTorch, so that both libraries run the same program.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.testing._internal.opinfo.core import OpInfo

import flambeau


class Missing(Exception):
    """flambeau has no such function."""


class OutOfScope(Exception):
    """The value has no counterpart by design: a sparse layout, a device of CUDA."""


def resolve(lib: Any, path: str) -> Any:
    """What stands under a dotted name in a library; AttributeError where there is nothing."""
    for part in path.split("."):
        lib = getattr(lib, part)
    return lib


PLACES = (
    "nn.functional linalg fft special masked signal.windows functional nn.init nn.utils autograd autograd.functional "
    "nn.utils.rnn testing func Tensor"
)


@functools.cache
def _names() -> dict[int, str]:
    """The public name of each of PyTorch's functions, by identity."""
    found: dict[int, str] = {}
    for place in ["", *PLACES.split()]:
        owner = resolve(torch, place) if place else torch
        for name in dir(owner):
            if name.startswith("_") and not name.startswith("__"):
                continue
            value = getattr(owner, name, None)
            if callable(value) and not isinstance(value, type):
                found.setdefault(id(value), f"{place}.{name}".lstrip("."))
    return found


def dtype(value: torch.dtype) -> Any:
    """The dtype of the same name."""
    found = getattr(flambeau, str(value).removeprefix("torch."), None)
    if found is None:
        raise OutOfScope(str(value))
    return found


_BITS = {torch.bfloat16: (torch.int16, ml_dtypes.bfloat16)}


def to_array(t: torch.Tensor) -> np.ndarray:
    """The elements of a tensor of PyTorch, in its strides."""
    t = torch.zeros(t.shape, dtype=t.dtype) if t._is_zerotensor() else t.detach().resolve_conj().resolve_neg()
    if t.dtype in _BITS:
        bits, kind = _BITS[t.dtype]
        return t.view(bits).numpy().view(kind)
    try:
        return t.numpy()
    except TypeError as error:
        raise OutOfScope(str(error)) from None


def _as_it_lies(t: torch.Tensor) -> Any:
    """A copy of the whole memory behind a tensor, and the tensor in it."""
    size = t.untyped_storage().nbytes() // t.element_size()
    whole = t.detach().as_strided((size,), (1,), 0)
    return flambeau.from_numpy(to_array(whole).copy()).as_strided(tuple(t.shape), tuple(t.stride()), t.storage_offset())


def tensor(t: torch.Tensor) -> Any:
    """The same numbers in the same strides, as a leaf that needs a gradient if PyTorch's does."""
    if t.layout != torch.strided or t.is_nested or t.device.type != "cpu":
        raise OutOfScope(f"{t.layout} on {t.device}")
    if t.ndim > 64:
        raise OutOfScope("NumPy's arrays have at most 64 dimensions")
    dtype(t.dtype)
    dense = t.is_contiguous() and not t.storage_offset()
    if dense or t.is_conj() or t.is_neg() or t._is_zerotensor() or not t.numel():
        found = flambeau.from_numpy(to_array(t).copy(order="K"))
    else:
        found = _as_it_lies(t).detach()
    return found.requires_grad_() if t.requires_grad else found


def value(x: Any) -> Any:
    """A tensor, dtype, function or structure of them as flambeau's."""
    if isinstance(x, torch.Tensor):
        made = tensor(x)
        return flambeau.nn.Parameter(made, requires_grad=x.requires_grad) if isinstance(x, torch.nn.Parameter) else made
    if isinstance(x, torch.dtype):
        return dtype(x)
    if isinstance(x, torch.device):
        return flambeau.device(str(x))
    if isinstance(x, torch.Size):
        return flambeau.Size(x)
    if isinstance(x, torch.layout) and x is not torch.strided:
        raise OutOfScope(str(x))
    if isinstance(x, (torch.layout, torch.memory_format)):
        return getattr(flambeau, str(x).removeprefix("torch."))
    if isinstance(x, slice):
        return slice(value(x.start), value(x.stop), value(x.step))
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(value(v) for v in x))
    if isinstance(x, (list, tuple)):
        return type(x)(value(v) for v in x)
    if isinstance(x, dict):
        return {k: value(v) for k, v in x.items()}
    if isinstance(x, torch.nn.Module):
        return getattr(flambeau.nn, type(x).__name__)()
    if callable(x) and not isinstance(x, (type, OpInfo)):
        return function(x)
    return x


def fresh(x: Any) -> Any:
    """A copy for PyTorch: tensors are new leaves with the same strides."""
    if isinstance(x, torch.Tensor):
        return _fresh_tensor(x)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(fresh(v) for v in x))
    if isinstance(x, (list, tuple)) and not isinstance(x, torch.Size):
        return type(x)(fresh(v) for v in x)
    if isinstance(x, dict):
        return {k: fresh(v) for k, v in x.items()}
    return x


def _fresh_tensor(t: torch.Tensor) -> torch.Tensor:
    if t.layout != torch.strided or t.is_nested or t.device.type != "cpu":
        raise OutOfScope(f"{t.layout} on {t.device}")
    plain = t.detach()
    if isinstance(t, torch.nn.Parameter) or t.is_contiguous() and not t.storage_offset() or t._is_zerotensor():
        made = plain.clone()
    elif t.is_conj() or t.is_neg():
        made = plain.resolve_conj().resolve_neg().clone()
    else:
        size = t.untyped_storage().nbytes() // t.element_size()
        made = plain.as_strided((size,), (1,), 0).clone().as_strided(t.shape, t.stride(), t.storage_offset())
    if isinstance(t, torch.nn.Parameter):
        return torch.nn.Parameter(made, requires_grad=t.requires_grad)
    return made.requires_grad_() if t.requires_grad else made


_built: dict[int, tuple[Any, Any]] = {}


def function(f: Any) -> Callable:
    """flambeau's function for one of PyTorch's, or the database's own function with flambeau for PyTorch."""
    if id(f) in _built:
        return _built[id(f)][1]
    made = _function(f)
    _built[id(f)] = (f, made)
    return made


def _function(f: Any) -> Callable:
    name = _names().get(id(f))
    if name is not None:
        return _public(name)
    if isinstance(f, functools.partial):
        return functools.partial(function(f.func), *value(f.args), **value(f.keywords))
    if isinstance(f, torch.nn.Module):
        return getattr(flambeau.nn, type(f).__name__)()
    owner = getattr(f, "__objclass__", None)
    if owner is not None and issubclass(torch.Tensor, owner):
        return _public("Tensor." + f.__name__)
    if getattr(f, "__name__", "") in _OWN:
        return _OWN[f.__name__]
    if isinstance(f, types.FunctionType):
        if str(f.__module__).startswith(("torch.testing.", "contextlib")) or f.__closure__:
            return rebuilt(f)
        if str(f.__module__).startswith("torch"):
            place = f.__module__.removeprefix("torch").lstrip(".").removeprefix("_tensor")
            return _public(f"{place}.{f.__qualname__}".lstrip("."))
    if str(getattr(f, "__module__", "")).startswith("torch"):
        raise Missing(str(getattr(f, "__name__", f)))
    return f


@contextlib.contextmanager
def _same_state_after() -> Iterator[None]:
    """The generator's state is the same afterwards as before."""
    state = flambeau.get_rng_state()
    try:
        yield
    finally:
        flambeau.set_rng_state(state)


def _shown_only(op: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a masked operator where its mask shows something, zeros elsewhere."""
    output = op(input, *args, **kwargs)
    mask = kwargs.get("mask")
    if mask is None:
        return output
    shown = flambeau.broadcast_to(mask, input.shape) != 0
    if tuple(output.shape) != tuple(input.shape):
        places = args[1:] if op.__name__ == "norm" else args
        dim = kwargs.get("dim", places[0] if places else None)
        dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
        shown = shown.any(tuple(dims), bool(kwargs.get("keepdim"))) if len(dims) else shown
    return flambeau.where(shown, output, flambeau.zeros_like(output))


def _shown_only_of_two(op: Any, input: Any, other: Any, **kwargs: Any) -> Any:
    """The result of a masked operator of two where both masks show something, zeros elsewhere."""
    output = op(input, other, **kwargs)
    for mask in (kwargs.get("input_mask"), kwargs.get("other_mask")):
        if mask is not None:
            shown = flambeau.broadcast_to(mask, output.shape) != 0
            output = flambeau.where(shown, output, flambeau.zeros_like(output))
    return output


#: Helpers of the databases that reach into PyTorch's private parts.
_OWN: dict[str, Callable] = {
    "freeze_rng_state": _same_state_after,
    "gradcheck_wrapper_masked_operation": _shown_only,
    "gradcheck_wrapper_masked_pointwise_operation": _shown_only_of_two,
}


def _public(name: str) -> Callable:
    try:
        return resolve(flambeau, name)
    except AttributeError:
        raise Missing(name) from None


def rebuilt(f: types.FunctionType) -> Callable:
    """The function, with everything in it that means PyTorch meaning flambeau."""
    names = set(_used(f.__code__))
    scope: dict[str, Any] = {"__builtins__": f.__globals__.get("__builtins__", __builtins__), "__name__": f.__name__}
    cells = tuple(types.CellType() for _ in f.__closure__ or ())
    made = types.FunctionType(f.__code__, scope, f.__name__, None, cells)
    _built[id(f)] = (f, made)  # it may call itself
    scope.update({n: _thing(f.__globals__[n]) for n in names if n in f.__globals__})
    for cell, theirs in zip(cells, f.__closure__ or (), strict=True):
        cell.cell_contents = _thing(theirs.cell_contents)
    made.__defaults__ = _thing(f.__defaults__)
    made.__kwdefaults__ = _thing(f.__kwdefaults__)
    return made


def _used(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _used(part)


def _thing(x: Any) -> Any:
    """Anything that a function refers to, lazily where flambeau lacks it: it may never be called."""
    try:
        if isinstance(x, types.ModuleType):
            return resolve(flambeau, x.__name__[6:]) if x.__name__.startswith("torch.") else _module(x)
        if inspect.isclass(x):
            inside = str(x.__module__).startswith("torch") and not str(x.__module__).startswith("torch.testing")
            return getattr(flambeau, x.__name__, x) if inside else x
        return value(x)
    except (Missing, OutOfScope, AttributeError) as error:
        return functools.partial(_absent, str(error))


def _module(x: types.ModuleType) -> Any:
    return flambeau if x is torch else x


def _absent(what: str, *args: Any, **kwargs: Any) -> Any:
    raise Missing(what)
