"""Quantiles, by sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import visible
from flambeau.ops import shape
from flambeau.ops.arithmetic import lerp, mul, sub
from flambeau.ops.compare import where
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import deliver
from flambeau.ops.index import gather
from flambeau.ops.sorting import sort

__all__ = ["nanquantile", "quantile"]


def quantile(
    input: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear", out: Any = None
) -> Any:
    """The `q`-quantiles (a number or a vector in [0, 1]) along `dim` or of all; NaN where there is a NaN.

    Between two elements it interpolates: 'linear', 'lower', 'higher', 'nearest' or 'midpoint'. A vector `q` adds a
    first dimension.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False, out)


def nanquantile(
    input: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear", out: Any = None
) -> Any:
    """`quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True, out)


def _quantile(
    name: str, input: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, skip_nan: bool, out: Any
) -> Any:
    if input._a.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}(): input must be float32 or float64, got {input.dtype}")
    if interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise RuntimeError(
            f"{name}(): interpolation must be 'linear', 'lower', 'higher', 'midpoint' or 'nearest', got "
            f"{interpolation!r}"
        )
    if not isinstance(q, NS["Tensor"]):
        q = NS["BESIDE"](input, np.asarray(q, input._a.dtype))
    qs = q._a
    if qs.ndim > 1:
        raise RuntimeError(f"{name}(): q must be a number or a vector, got {qs.ndim} dimensions")
    if qs.dtype != input._a.dtype:
        raise RuntimeError(f"{name}(): q must have input's dtype {input._a.dtype}, got {qs.dtype}")
    if visible(qs) and ((qs < 0) | (qs > 1)).any():
        raise RuntimeError(f"{name}(): every q must lie between 0 and 1")
    if input._a.size == 0:
        raise RuntimeError(f"{name}(): the tensor has no elements")
    ndim = input._a.ndim
    d = None if dim is None or ndim == 0 else wrap_dim(dim, ndim)
    flat = shape.reshape(input, (-1,)) if d is None else shape.movedim(input, d, -1)
    ordered = sort(flat, -1)[0]
    n = ordered._a.shape[-1]
    if ordered._level is not None:
        return deliver(name, out, _quantile_of_batch(ordered, q, d, ndim, skip_nan, keepdim, interpolation))
    nans = np.isnan(ordered._a).sum(-1, keepdims=True)
    wrap = NS["WRAP"]
    last = np.maximum((n - nans if skip_nan else np.full_like(nans, n)) - 1, 0).astype(qs.dtype)
    ranks = mul(shape.reshape(q, (-1,)), wrap(last))
    if not skip_nan and (NS["CAPTURE"] is not None or nans.any()):
        ranks = where(wrap(nans > 0), wrap(np.array(n - 1, qs.dtype)), ranks)
    values = _interpolate(ordered, ranks, interpolation)
    result = _arranged(values, qs, d, ndim, keepdim)
    if not keepdim:
        show_as(result, "SqueezeBackward4")
    return deliver(name, out, result)


def _arranged(values: Any, qs: Any, d: int | None, ndim: int, keepdim: bool) -> Any:
    """Quantiles with their dimension in front, or without it for a single one."""
    kept = shape.movedim(values, -1, 0)
    if keepdim:
        kept = shape.unsqueeze(kept, d + 1) if d is not None else shape.reshape(kept, (qs.size, *[1] * ndim))
    return kept if qs.ndim else shape.select(kept, 0, 0)


def _quantile_of_batch(
    ordered: Any, q: Any, d: int | None, ndim: int, skip_nan: bool, keepdim: bool, interpolation: str
) -> Any:
    """Quantiles where the places of NaN are not to be looked at: they come last, and choose among the results."""
    ops = NS["OPS"]
    qs = q._a
    n = ordered._a.shape[-1]
    results_ = []
    for length in range(1, n + 1) if skip_nan else (n,):
        ranks = mul(shape.reshape(q, (-1,)), NS["WRAP"](np.full((*ordered._a.shape[:-1], 1), length - 1, qs.dtype)))
        results_.append(_interpolate(ordered, ranks, interpolation))
    nans = ops.sum(ops.isnan(ordered), (-1,), True)
    nan = NS["WRAP"](np.array(np.nan, ordered._a.dtype))
    if not skip_nan:
        values = ops.where(ops.gt(nans, 0), nan, results_[0])
    else:
        values = nan
        for length, found in enumerate(results_, 1):
            values = ops.where(ops.eq(nans, n - length), found, values)
    return _arranged(values, qs, d, ndim, keepdim)


def _interpolate(ordered: Any, ranks: Any, interpolation: str) -> Any:
    wrap, at = NS["WRAP"], ranks._a
    if interpolation == "lower":
        at = np.floor(at)
    elif interpolation == "higher":
        at = np.ceil(at)
    elif interpolation == "nearest":
        at = np.rint(at)
    below = at.astype(np.int64)
    values = gather(ordered, -1, wrap(below))
    if interpolation in ("linear", "midpoint"):
        middle = interpolation == "midpoint"
        weight = wrap(np.full_like(at, 0.5)) if middle else sub(ranks, wrap(below.astype(at.dtype)))
        above = gather(ordered, -1, wrap(np.ceil(at).astype(np.int64)))
        values = lerp(values, above, weight)
    return values
