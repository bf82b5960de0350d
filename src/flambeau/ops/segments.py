"""Reductions of consecutive parts of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import host
from flambeau.errors import need_tensor
from flambeau.ops.scatter import scatter_reduce

__all__ = ["segment_reduce"]

_START = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


def segment_reduce(
    data: Any, reduce: str, *, lengths: Any = None, indices: Any = None, offsets: Any = None, axis: int = 0,
    unsafe: bool = False, initial: Any = None,
) -> Any:  # fmt: skip
    """The sums, means, products or extremes of parts of `data` along its first dimension, a row per part.

    Parts have the given `lengths`, or begin at `offsets` (the last of which is where the last part ends). `initial`
    goes into each part. RuntimeError for lengths that do not add up to the number of rows.

    >>> import flambeau as torch
    >>> torch.segment_reduce(torch.tensor([1.0, 2.0, 3.0]), "sum", lengths=torch.tensor([2, 1]))
    tensor([3., 3.])
    """
    need_tensor("segment_reduce", data, "data")
    if reduce not in _START:
        raise RuntimeError(f"segment_reduce(): reduce must be one of {', '.join(_START)}, got {reduce!r}")
    if axis != 0 or indices is not None:
        raise NotImplementedError("segment_reduce(): parts are taken along axis 0, by lengths or offsets")
    if (lengths is None) == (offsets is None):
        raise RuntimeError("segment_reduce(): give either lengths or offsets")
    counts = np.diff(host(offsets._a)) if offsets is not None else host(need_tensor("segment_reduce", lengths)._a)
    if counts.ndim != 1 or counts.sum() != data.shape[0] or (counts < 0).any():
        raise RuntimeError(
            f"segment_reduce(): the lengths {counts.tolist()} must not be negative and add up to {data.shape[0]} rows"
        )
    shape = (len(counts), *data.shape[1:])
    start = np.full(shape, _START[reduce] if initial is None else initial, data._a.dtype)
    where = np.repeat(np.arange(len(counts)), counts).reshape(-1, *[1] * (data.ndim - 1))
    ops, wrap = NS["OPS"], NS["BESIDE"]
    places = wrap(data, np.broadcast_to(where, data.shape).copy())
    how = {"sum": "sum", "mean": "sum", "prod": "prod", "max": "amax", "min": "amin"}[reduce]
    result = scatter_reduce(wrap(data, start), 0, places, data, how)
    if reduce == "mean":
        sizes = counts.astype(data._a.dtype).reshape(-1, *[1] * (data.ndim - 1))
        with np.errstate(all="ignore"):
            empty = (counts == 0).reshape(sizes.shape)
            divisor = np.where(empty, 1 if initial is not None else 0, sizes).astype(data._a.dtype)
        result = ops.div(result, wrap(data, divisor))
    return result
