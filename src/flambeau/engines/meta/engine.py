"""Ops on arrays without values: what shapes and dtypes their results have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.arrays import Engine
from flambeau.engines.kernels import CPU_KERNELS
from flambeau.engines.meta.array import MetaArray, _bare, _valueless, like, move


class MetaEngine(Engine):
    """Works out results' shapes: element by element from the operands' shapes, else by doing the work on zeros.

    Of products the summed dimensions are cut to a length of 1 first, which leaves the result's shape as it is.
    """

    kernels = CPU_KERNELS

    def run_op(self, op: Any, arrays: list[Any]) -> Any:
        if op.name in _BY_VALUE:
            raise NotImplementedError(
                f"{op.name.removesuffix('_op')}() has a result whose shape depends on values, which meta tensors do "
                "not have"
            )
        if op.name == "to_device":
            return move(*arrays[:2])
        if op.name in ("contiguous_op", "clone_op"):
            return like(arrays[0] if op.name == "clone_op" else None, arrays[0].shape, arrays[0].dtype)
        if op.name == "ordered_copy":
            turned = like(None, arrays[0].transpose(arrays[1]).shape, arrays[0].dtype)
            return turned.transpose(np.argsort(arrays[1]))
        if op.elementwise:
            return _by_element(op, arrays)
        bare = [_bare(a) for a in arrays]
        if op.name in _THIN:
            bare = _THIN[op.name](bare)
        small = _shrunk(op.name, bare)
        with np.errstate(all="ignore"):
            results = op.run(CPU_KERNELS, bare if small is None else small)
        return _valueless(results) if small is None else _grown(op.name, results, arrays)

    def run_rule(self, op: Any, rule: Any, values: list[Any]) -> Any:
        with np.errstate(all="ignore"):
            return _valueless(rule.function(CPU_KERNELS, *map(_bare, values)))

    def run_update(self, kinds: Any, update: Any, arrays: tuple, hyper: tuple) -> None:
        pass  # what it would write is not there


def _by_element(op: Any, arrays: list[Any]) -> Any:
    operands = [a for a in arrays if isinstance(a, np.ndarray)]
    shape = np.broadcast_shapes(*(a.shape for a in operands))
    ones = [np.ones((1,) * a.ndim, _bare(a).dtype) if isinstance(a, np.ndarray) else a for a in arrays]
    with np.errstate(all="ignore"):
        made = op.run(CPU_KERNELS, ones)
    lead = next((a for a in operands if a.shape == shape), None)
    if isinstance(made, tuple):
        return tuple(like(lead, shape, np.asarray(m).dtype) for m in made)
    return like(lead, shape, np.asarray(made).dtype)


def _shrunk(name: str, values: list[Any]) -> list[Any] | None:
    """Operands of an op on images with few images and channels, and of a normalisation with few places; else None."""
    x, *rest = values
    if name in _PER_PLANE and x.ndim > 2 and x.size:
        return [x[:1, :1], *rest]
    if name == "conv" and x.size and isinstance(rest[-1], int) and rest[0].shape[0]:
        w, bias, *how = rest
        return [x[:1, :1], w[:1, :1], None if bias is None else bias[:1], *how[:-1], 1]
    if name == "native_batch_norm" and x.ndim > 2:
        return [x[(slice(2), slice(None), *[slice(2)] * (x.ndim - 2))], *rest]
    return None


def _grown(name: str, results: Any, arrays: list[Any]) -> Any:
    """The results of shrunk operands, with the dimensions that were left out."""
    x = arrays[0]
    if name == "native_batch_norm":
        return (like(x, x.shape, x.dtype), *_valueless(tuple(results[1:])))
    lead = (x.shape[0], arrays[1].shape[0]) if name == "conv" else x.shape[:2]

    def whole(r: Any) -> Any:
        return like(x, (*lead, *r.shape[2:]), r.dtype) if r.ndim == x.ndim else _valueless(r)

    return tuple(map(whole, results)) if isinstance(results, tuple) else whole(results)


def _product(values: list[Any]) -> list[Any]:
    """Operands of a matrix product without their common length; those that do not fit are left to be refused."""
    a, b, *rest = values
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return values
    return [a[..., :1], b[..., :1, :], *rest]


def _linear(values: list[Any]) -> list[Any]:
    a, w, *rest = values
    if not a.ndim or w.ndim != 2 or a.shape[-1] != w.shape[1]:
        return values
    return [a[..., :1], w[:, :1], *rest]


def _conv(values: list[Any]) -> list[Any]:
    x, w, *rest = values
    groups = rest[-1]
    if not isinstance(groups, int) or x.shape[1] != w.shape[1] * groups:
        return values
    return [x[:, :groups], w[:, :1], *rest]


_THIN: dict[str, Callable[[list[Any]], list[Any]]] = {
    "mm": _product,
    "bmm": _product,
    "matmul": _product,
    "linear": _linear,
    "conv": _conv,
}
_PER_PLANE = frozenset(
    """max_pool2d_op max_pool2d_with_indices_op max_pool3d_op max_pool3d_with_indices_op avg_pool avg_pool2d_op
    avg_pool3d_op adaptive_avg_pool adaptive_avg_pool2d_op adaptive_avg_pool3d_op""".split()
)
_BY_VALUE = frozenset(("masked_select_op",))

__all__ = ["MetaArray", "MetaEngine"]
