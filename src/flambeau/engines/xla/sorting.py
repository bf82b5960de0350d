"""Ordering, where NumPy's way is one that looks at values or at rows one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.calls import call, on_host
from flambeau.engines.xla.runtime import jax, jnp
from flambeau.engines.xla.shared import instance

__all__ = ["median", "nonzero", "searchsorted", "topk", "unique", "unique_runs"]


def topk(a: Any, count: int, dim: int, largest: bool) -> tuple[Any, Any]:
    """The `count` largest (or smallest) elements along `dim`, best first, and their places."""
    order = instance("sorting").argsort(a, dim, largest)
    order = order.take(np.arange(count), dim)
    return np.take_along_axis(a, order, dim), order


def median(a: Any, dim: int, skip_nan: bool) -> tuple[Any, Any]:
    """The lower median along `dim` and its place; NaN where there is one, or counted out."""
    n = a.shape[dim]
    order = np.argsort(a, dim, kind="stable")
    rank: Any = np.full(a.shape[:dim] + a.shape[dim + 1 :], (n - 1) // 2)
    if a.dtype.kind == "f":
        count = np.add.reduce(np.isnan(a), dim)
        rank = np.maximum((n - count - 1) // 2, 0)
        if not skip_nan:
            rank = np.where(count > 0, n - count, rank)
    take = instance("sorting").take_place
    place = take(order, dim, rank)
    return take(a, dim, place), place


def searchsorted(a: Any, values: Any, right: bool) -> Any:
    """Where each value would be inserted into the ascending lines of `a`; NaN goes last."""
    return call("searchsorted_lines", _search, (a, values, right))


def _search(a: Any, values: Any, right: bool) -> Any:
    side = "right" if right else "left"
    lines, wanted = a.value, values.value
    if lines.ndim > 1 and wanted.size:
        count = wanted.size // wanted.shape[-1]
        find = jax.vmap(lambda line, w: jnp.searchsorted(line, w, side=side))
        found = find(lines.reshape(count, lines.shape[-1]), wanted.reshape(count, -1)).reshape(wanted.shape)
    elif lines.ndim > 1:
        found = jnp.zeros(wanted.shape, np.int64)
    else:
        found = jnp.searchsorted(lines, wanted, side=side)
    return XArray(found.astype(np.int64), a.device)


def _counted(name: str) -> Any:
    """A kernel whose result's shape depends on values: NumPy's, on the host."""

    def kernel(*args: Any) -> Any:
        from flambeau.engines.numpy import sorting

        return on_host(name, getattr(sorting, name), args)

    kernel.__name__ = name
    kernel.__doc__ = f"NumPy's `{name}`, on the host."
    return kernel


nonzero, unique, unique_runs = _counted("nonzero"), _counted("unique"), _counted("unique_runs")
