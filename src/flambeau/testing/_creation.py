"""``make_tensor``: random tensors of any dtype, for tests."""

from __future__ import annotations

import math
from typing import Any

import flambeau

_FLOATING = (-9.0, 9.0)
_INTEGRAL = (-9, 10)


def _bounds(dtype: Any, low: float | None, high: float | None) -> tuple[float, float]:
    """The interval to draw from: what was asked for, cut to what the dtype holds."""
    default: tuple[float, float]
    limits: tuple[float, float]
    if dtype == flambeau.bool:
        default, limits = (0, 2), (0, 2)
    elif dtype.is_floating_point or dtype.is_complex:
        info = flambeau.finfo(dtype)
        default, limits = _FLOATING, (info.min, info.max)
    else:
        whole = flambeau.iinfo(dtype)
        default = (0, 10) if dtype == flambeau.uint8 else _INTEGRAL
        limits = (whole.min, whole.max + (dtype != flambeau.int64))
    low = default[0] if low is None else low
    high = default[1] if high is None else high
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"make_tensor: {name} is NaN; it must be a number")
    if low > high or (low == high and not (dtype.is_floating_point or dtype.is_complex)):
        raise ValueError(f"make_tensor: low must be below high, got low={low} and high={high}")
    return max(low, limits[0]), min(high, limits[1])


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor of ``shape`` with elements drawn evenly from ``[low, high)``.

    Without bounds they are ``[-9, 9)`` for floating point and complex (both parts), ``[-9, 10)`` for signed integers,
    ``[0, 10)`` for uint8 and ``[0, 2)`` for bool. ``noncontiguous`` gives a tensor of every other element of a larger
    one, ``exclude_zero`` replaces zeros by a small number.

    Raises:
        ValueError: bounds that hold nothing; both ``noncontiguous`` and ``memory_format``; gradients for integers.
    """
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    if noncontiguous and memory_format is not None:
        raise ValueError("make_tensor: noncontiguous and memory_format exclude each other")
    inexact = dtype.is_floating_point or dtype.is_complex
    if requires_grad and not inexact:
        raise ValueError(f"make_tensor: only floating point and complex tensors can require a gradient, not {dtype}")
    low, high = _bounds(dtype, low, high)
    size = (*shape[:-1], 2 * shape[-1]) if noncontiguous and shape and math.prod(shape) > 1 else shape
    if dtype.is_complex:
        part = flambeau.float64 if dtype == flambeau.complex128 else flambeau.float32
        parts = flambeau.empty(*size, 2, dtype=part).uniform_(low, high)
        result = flambeau.complex(parts[..., 0], parts[..., 1]).to(dtype)
    elif inexact:
        result = flambeau.empty(size, dtype=flambeau.float64).uniform_(low, high).to(dtype)
    else:
        result = flambeau.randint(math.floor(low), math.ceil(high), size).to(dtype)
    if size != shape:
        result = result[..., ::2]
    if exclude_zero:
        result[result == 0] = flambeau.finfo(dtype).tiny if inexact else 1
    if memory_format is not None:
        result = result.clone(memory_format=memory_format)
    return result.to(device).requires_grad_(requires_grad)
