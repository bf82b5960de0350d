"""What counts as equal: the same structure, dtypes and shapes, and values to the precision of the dtype."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import flambeau

from .translate import to_array

#: Relative tolerance by dtype; what is near 0 is held against the largest number of its tensor.
TOLERANCE = {
    "float64": 1e-7, "complex128": 1e-7, "float32": 2e-5, "complex64": 2e-5, "float16": 2e-3, "bfloat16": 1.6e-2,
}  # fmt: skip
#: Dtypes whose rounding depends on the order of the sums.
LOW = ("float32", "complex64", "float16", "bfloat16")


class Differs(AssertionError):
    """flambeau's result is not PyTorch's."""


def flat(x: Any) -> list[Any]:
    """The values in nested sequences and dicts, in order."""
    if isinstance(x, (list, tuple)) and not isinstance(x, (torch.Size, flambeau.Size)):
        return [leaf for part in x for leaf in flat(part)]
    if isinstance(x, dict):
        return [leaf for part in x.values() for leaf in flat(part)]
    return [x]


def tensors(x: Any) -> list[Any]:
    """The tensors in nested sequences and dicts."""
    return [t for t in flat(x) if isinstance(t, (torch.Tensor, flambeau.Tensor))]


def array(t: Any) -> np.ndarray:
    """A tensor of either library as an array of the widest type of its kind."""
    a = to_array(t) if isinstance(t, torch.Tensor) else t.detach()._a
    kind = {"c": np.complex128, "b": np.bool_, "i": np.int64, "u": np.uint64}.get(a.dtype.kind, np.float64)
    return np.asarray(a).astype(kind)


def same(theirs: Any, ours: Any, what: str, slack: float = 1.0) -> None:
    """Raises `Differs` unless all values of two results agree."""
    a, b = flat(theirs), flat(ours)
    if len(a) != len(b):
        raise Differs(f"{what}: {len(b)} results, PyTorch has {len(a)}")
    for x, y in zip(a, b, strict=True):
        if isinstance(x, torch.Tensor):
            if not isinstance(y, flambeau.Tensor):
                raise Differs(f"{what}: {type(y).__name__} for a tensor")
            same_tensor(x, y, what, slack)
        else:
            _same_object(x, y, what)


def _same_object(x: Any, y: Any, what: str) -> None:
    if isinstance(x, float) and x != x:
        good = isinstance(y, float) and y != y
    elif isinstance(x, numbers.Number) and not isinstance(x, (bool, int)):
        good = type(x) is type(y) and abs(x - y) <= 1e-6 * max(1.0, abs(x))
    elif isinstance(x, (bool, int, str)) or x is None:
        good = type(x) is type(y) and x == y
    else:
        good = str(x).removeprefix("torch.") == str(y).removeprefix("torch.").removeprefix("flambeau.")
    if not good:
        raise Differs(f"{what}: {y!r}, PyTorch's {x!r}")


def same_form(theirs: Any, ours: Any, what: str) -> None:
    """Raises `Differs` unless two tensors have the same shape and dtype."""
    if tuple(ours.shape) != tuple(theirs.shape):
        raise Differs(f"{what}: shape {tuple(ours.shape)}, PyTorch's {tuple(theirs.shape)}")
    if _name(ours.dtype) != _name(theirs.dtype):
        raise Differs(f"{what}: {_name(ours.dtype)}, PyTorch's {_name(theirs.dtype)}")


def same_tensor(theirs: Any, ours: Any, what: str, slack: float = 1.0) -> None:
    """Raises `Differs` unless two tensors agree in shape, dtype and values."""
    same_form(theirs, ours, what)
    tolerance = TOLERANCE.get(_name(theirs.dtype))
    e, a = array(theirs), array(ours)
    if tolerance is None:
        good = e == a
    else:
        scale = np.abs(e[np.isfinite(e)]).max(initial=0.0)
        rtol, atol = tolerance * slack, 0.1 * tolerance * slack * max(1.0, float(scale))
        if e.dtype.kind == "c":
            good = np.isclose(a, e, rtol, atol, equal_nan=True) | (
                np.isclose(a.real, e.real, rtol, atol, True) & np.isclose(a.imag, e.imag, rtol, atol, True)
            )
        else:
            good = np.isclose(a, e, rtol, atol, equal_nan=True)
    _refuse(good, e, a, what)


def _refuse(good: Any, e: np.ndarray, a: np.ndarray, what: str) -> None:
    if not good.all():
        place = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(~good)))
        x, y = np.atleast_1d(e)[place], np.atleast_1d(a)[place]
        raise Differs(f"{what}: {y!r} at {list(place)}, PyTorch's {x!r} ({int((~good).sum())} of {good.size} differ)")


def same_each(theirs: Any, ours: Any, what: str, slack: float = 10.0) -> None:
    """Raises `Differs` unless every element agrees relative to itself, or to 1 where it is small."""
    same_form(theirs, ours, what)
    e, a = array(theirs), array(ours)
    tolerance = TOLERANCE.get(_name(theirs.dtype), 0.0) * slack
    with np.errstate(all="ignore"):
        good = np.isclose(a, e, tolerance, 0.1 * tolerance, equal_nan=True)
        if e.dtype.kind == "c":
            parts = zip((a.real, a.imag), (e.real, e.imag), strict=True)
            good |= np.logical_and(*(np.isclose(x, y, tolerance, 0.1 * tolerance, equal_nan=True) for x, y in parts))
    _refuse(good, e, a, what)


def as_exact(theirs: Any, ours: Any, exact: Callable[[], Any]) -> bool:
    """Whether results of low precision, though not PyTorch's, are as near to the exact ones as PyTorch's are."""
    a, b = flat(theirs), flat(ours)
    if len(a) != len(b) or not all(isinstance(t, torch.Tensor) and _name(t.dtype) in LOW for t in a):
        return False
    try:
        for x, y in zip(a, b, strict=True):
            same_form(x, y, "")
        true = flat(exact())
    except Exception:
        return False
    return all(
        relative_error(y, t) <= relative_error(x, t) + TOLERANCE[_name(x.dtype)]
        for x, y, t in zip(a, b, true, strict=True)
    )


def relative_error(t: Any, exact: Any) -> float:
    """The largest error, relative to the largest number; infinite where one is finite and the other is not."""
    a, e = array(t), array(exact)
    finite = np.isfinite(e)
    if not np.array_equal(np.isfinite(a), finite):
        return np.inf
    scale = np.abs(e[finite]).max(initial=0.0) or 1.0
    return float(np.abs(a[finite] - e[finite]).max(initial=0.0) / scale)


def same_gradients(
    theirs: Sequence[Any],
    ours: Sequence[Any],
    what: str,
    slack: float = 10.0,
    compare: Callable[..., None] = same_tensor,
) -> None:
    """As `compare` for each pair; a gradient that is None counts as zero."""
    for i, (x, y) in enumerate(zip(theirs, ours, strict=True)):
        if x is None or y is None:
            left = y if x is None else x
            if left is not None and array(left).any():
                raise Differs(f"{what} {i}: {'None' if y is None else 'not zero'}, PyTorch's is not")
        else:
            compare(x, y, f"{what} {i}", slack)


def same_error(theirs: BaseException, ours: BaseException | None, what: str = "error") -> None:
    """Raises `Differs` unless flambeau raised the class of exception that PyTorch did."""
    if ours is None:
        raise Differs(f"{what}: no {type(theirs).__name__}: {_short(theirs)}")
    a, b = type(theirs).__name__.lstrip("_"), type(ours).__name__.lstrip("_")
    if a != b:
        raise Differs(f"{what}: {b} ({_short(ours)}), PyTorch's {a}: {_short(theirs)}")


def _name(dtype: Any) -> str:
    return str(dtype).rsplit(".", 1)[-1]


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:100]
