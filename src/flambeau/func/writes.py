"""Writes in place to batches and duals.

A write goes to what is inside: the batch's memory, or the value with the tangent beside it. A tensor that is plain
becomes a dual when a value with a tangent is written into it, together with its base and all views of it; a batch can't
be written into a tensor that has no batch dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import LEAF, NS, thread
from flambeau.autograd.views import Region, check_recordable, live_views, make_view, written
from flambeau.func.batched import Batched
from flambeau.func.dual import Dual, zeros_of
from flambeau.func.levels import Layered, Level, alias, belongs, highest, level_of, lift
from flambeau.pytree import tree_leaves
from flambeau.tensor.inplace import CopyBackwards, in_place_source
from flambeau.tensor.tensor import Tensor


def _involved(*values: Any) -> list[Any]:
    return [t for t in tree_leaves(values) if isinstance(t, Tensor)]


def write(function: Callable, name: str, self: Any, args: tuple, kwargs: dict, overlap: bool) -> Any:
    """`function(self, ...)` written into `self`; NotImplemented where no operand belongs to a level."""
    top = highest(_involved(self, args, kwargs))
    if top is None:
        return NotImplemented
    adopt(self, top, name)
    check_recordable(self, name)
    source = _old_value(self)
    result = function(source, *args, **kwargs)
    if result._node is not None:
        in_place_source(result._node, source)
    store(self, result, name)
    return self


def _old_value(t: Any) -> Any:
    """The value before a write, with its history; copied where something inside may keep it."""
    old = alias(t)
    if thread.grad and isinstance(t, Layered):
        if isinstance(t, Dual):
            old._primal = _copy_of(t._primal)
        else:
            old._inner = _copy_of(t._inner)
    old._node = t._node
    return old


def _copy_of(t: Any) -> Any:
    return NS["OPS"].clone_op(t)


def adopt(self: Any, top: Level, name: str) -> None:
    """Makes a tensor of a lower level one of level `top`, where that is possible."""
    if self._level is top or level_of(self) >= top.number:
        return
    if top.kind == "vmap":
        return  # told by `store`, which sees whether the batch gets into the result
    _become_dual(self if self._base is None else self._base, top)


def _become_dual(root: Any, level: Level) -> None:
    """Turns a tensor and its views into duals at `level`; the objects stay, their values move inside."""
    views = live_views(root)
    inner = _moved_inside(root, level)
    for view in views:
        make_view(_moved_inside(view, level), inner)


def _moved_inside(t: Any, level: Level) -> Any:
    inner = object.__new__(type(t) if isinstance(t, Layered) else NS["Tensor"])
    inner.__dict__.update({k: v for k, v in t.__dict__.items() if k not in ("_shared", "_base", "_grad", "_hooks")})
    kept = {k: v for k, v in t.__dict__.items() if k in ("_a", "_shared", "_base", "_stamp", "_writes")}
    t.__class__ = Dual
    t.__dict__.clear()
    t.__dict__.update(kept)
    t._level, t._primal, t._tangent = level, inner, None
    return inner


def store(self: Any, result: Any, name: str) -> None:
    """Writes `result` into `self`, below and at its own level."""
    have, want = result._a, self._a
    if have.shape != want.shape:
        raise RuntimeError(
            f"{name}: the result has the shape {list(have.shape)}, which can't be written into {list(want.shape)}"
        )
    top = highest([self, result])
    if top is not None and self._level is not top:
        _refuse(self, result, name)
        adopt(self, top, name)
    if have.dtype != want.dtype:
        NS["CHECK_CAST"](name, have, want)
        result = NS["OPS"].to_numpy_dtype(result, want.dtype)
    if isinstance(self, Dual):
        _store_dual(self, result)
    elif isinstance(self, Batched):
        _store_batch(self, result, name)
    else:
        NS["STORE"](self, result, name)
        return
    node = result._node if result._level is self._level else None
    if node is not None and result._cell is not None:
        root = self._base if self._base is not None else self
        written(self, node)
        result._cell[0] = 0
        root._cell = self._cell = result._cell
        return
    written(self, node)


def _no_place(name: str) -> RuntimeError:
    return RuntimeError(
        f"vmap: {name}: the value has a batch dimension, the tensor to write has none, so there is no place for all "
        "examples. Use the out-of-place form, or make the tensor from one in the batch: x.new_zeros(...) instead of "
        "torch.zeros(...)"
    )


def _refuse(self: Any, result: Any, name: str) -> None:
    """Refuses a batch that would be written into a tensor without one."""
    level = result._level
    while level is not None and isinstance(result, Layered):
        if isinstance(result, Batched) and result._batched and level_of(self) < result._level.number:
            raise _no_place(name)
        result = result.inside()
        level = result._level


def _store_batch(self: Any, result: Any, name: str) -> None:
    level = self._level
    inner, is_batched = (result._inner, result._batched) if result._level is level else (result, False)
    if is_batched and not self._batched:
        raise _no_place(name)
    self._inner.copy_(inner)


def _store_dual(self: Any, result: Any) -> None:
    level = self._level
    primal, tangent = (result._primal, result._tangent) if result._level is level else (result, None)
    self._primal.copy_(primal)
    base = self._base
    if base is None:
        self._tangent = tangent
        root = self
    else:
        ops, region = NS["OPS"], Region(base._a, self._a)
        old = base._tangent if base._tangent is not None else zeros_of(base._primal)
        new = tangent if tangent is not None else zeros_of(primal)
        outside = ops.sub(old, ops.region_put(ops.region_take(old, region), region))
        base._tangent = ops.add(outside, ops.region_put(new, region))
        root = base
    for view in live_views(root):
        if root._tangent is None:
            view._tangent = None
        else:
            view._tangent = NS["OPS"].region_take(root._tangent, Region(root._a, view._a))


def copy_(self: Any, src: Any, name: str = "copy_") -> Any:
    """`copy_` where either side belongs to a level; NotImplemented where none does."""
    top = highest([self, src])
    if top is None:
        return NotImplemented
    ops = NS["OPS"]
    _refuse(self, src, name)
    adopt(self, top, name)
    check_recordable(self, name)
    value = src
    if value._a.dtype != self._a.dtype:
        value = ops.real(value) if value._a.dtype.kind == "c" and self._a.dtype.kind != "c" else value
        value = ops.to_numpy_dtype(value, self._a.dtype)
    if value._a.shape != self._a.shape:
        value = ops.expand_op(value, self._a.shape)
    level = self._level
    own = value._node if level is not None and belongs(value, level) else None
    node: Node | None = None
    if thread.grad and (own is not None or self._node is not None):
        node = CopyBackwards(self._node, value if own is LEAF else own)
    result = alias(lift(value, level)) if level is not None and level.alive else value
    result._node = node
    store(self, result, name)
    return self


def fill(self: Any, value: Any) -> Any:
    """`fill_` of a batch or a dual."""
    return copy_(self, NS["WRAP"](np.asarray(value, dtype=self._a.dtype)), "fill_")


NS["LAYERED_WRITE"] = write
NS["LAYERED_STORE"] = store
NS["LAYERED_COPY"] = copy_
NS["LAYERED_FILL"] = fill
