"""Batches: tensors that a program under `vmap` sees without their batch dimension.

A `Batched` tensor holds a tensor of the level below whose first dimension is the batch; `_batched` is false where it
holds a constant, the same for all examples. `_a` is the first example, with a type that refuses to give its values
away, so that nothing can take one example for all of them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.func.levels import Layered, Level, every_output
from flambeau.ops.declare import PLAIN, TENSORS, Op


def unreadable(what: str) -> RuntimeError:
    """The error of a program that looks at the values of a batch."""
    return RuntimeError(
        f"vmap: {what} looks at a tensor's values, which differ from example to example: what a function under vmap "
        "does must not depend on them. Use torch.where for choices and tensor operations for everything else; an "
        "operation that can't be batched has to stay outside vmap"
    )


#: NumPy functions that look at the shape and dtype of their operand only.
_BLIND = {np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.shape, np.ndim, np.size, np.iscomplexobj}


class Unreadable(np.ndarray):
    """An array that shows its shape and dtype, and refuses everything that reads its values."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        raise unreadable(f"numpy.{ufunc.__name__}")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _BLIND:
            blank = [np.empty(a.shape, a.dtype) if isinstance(a, Unreadable) else a for a in args]
            return func(*blank, **kwargs)
        raise unreadable(f"numpy.{getattr(func, '__name__', func)}")


def _refusing(name: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise unreadable(f"{name}()")

    refuse.__name__ = name
    return refuse


for _name in (
    "item tolist astype copy tobytes tofile dump take choose put sort argsort argmax argmin nonzero fill round "
    "__bool__ __int__ __float__ __index__ __complex__ __iter__ __getitem__ __setitem__ __contains__"
).split():
    setattr(Unreadable, _name, _refusing(_name))


def _example(array: np.ndarray) -> np.ndarray:
    """The first example of a batch, unreadable and locked."""
    plain = array.view(np.ndarray) if isinstance(array, Unreadable) else array
    first = plain[0, ...] if plain.shape[0] else np.empty(plain.shape[1:], plain.dtype)
    shown = first.view(Unreadable)
    shown.flags.writeable = False
    return shown


class Batched(Layered):
    """A batch of tensors, shown as one of them."""

    _inner: Any
    _batched = True
    carried = ("_a", "_level", "_stamp", "_inner", "_batched")

    def inside(self) -> Any:
        """The whole batch, its dimension first; of a constant the tensor."""
        return self._inner


def batched(level: Level, inner: Any, is_batched: bool = True) -> Batched:
    """A tensor of the level below as a batch, or as a constant."""
    t = object.__new__(Batched)
    t._level = level
    t._inner = inner
    t._batched = is_batched
    t._a = _example(inner._a) if is_batched else inner._a
    return t


def open_up(t: Any, level: Level) -> tuple[Any, bool]:
    """What `t` is below `level`, and whether it has a batch dimension there."""
    return (t._inner, t._batched) if t._level is level else (t, False)


class Operands:
    """The operands of one operation at a level of vmap: what is inside, and which of them are batched."""

    def __init__(self, op: Op, values: list[Any], level: Level) -> None:
        self.op = op
        self.level = level
        self.n = level.size
        self.shown = dict(zip(op.parameters, values, strict=True))
        self.inner: dict[str, Any] = {}
        self.batched: dict[str, Any] = {}
        for name, value, kind in zip(op.parameters, values, op.kinds, strict=True):
            if kind == PLAIN or value is None:
                self.inner[name], self.batched[name] = value, False
            elif kind == TENSORS:
                pairs = [open_up(t, level) for t in value]
                self.inner[name] = [t for t, _ in pairs]
                self.batched[name] = [b for _, b in pairs]
            else:
                self.inner[name], self.batched[name] = open_up(value, level)

    def rank(self, name: str) -> int:
        """The number of dimensions that a program sees."""
        return self.shown[name]._a.ndim

    def whole(self, name: str) -> Any:
        """The operand with the batch dimension in front, made by expanding a constant."""
        return whole(self.inner[name], self.batched[name], self.n)

    def call(self, **changed: Any) -> list[Any]:
        """All outputs of the operation below, on the inner operands with some of them changed."""
        return every_output(self.op, [changed.get(name, self.inner[name]) for name in self.op.parameters])

    def any(self) -> bool:
        """Whether some operand is batched."""
        return any(any(b) if isinstance(b, list) else b for b in self.batched.values())


def whole(inner: Any, is_batched: bool, n: int) -> Any:
    """A tensor with the batch dimension in front, made by expanding a constant."""
    return inner if is_batched else NS["OPS"].expand_op(inner, (n, *inner._a.shape))


#: Batching rules by op: functions of `Operands` that return all outputs, each with the batch dimension in front.
RULES: dict[str, Any] = {}


def rule(names: str) -> Any:
    """Declares a batching rule for the ops of these names."""

    def declare(function: Any) -> Any:
        for name in names.split():
            RULES[name] = function
        return function

    return declare


def apply(op: Op, values: list[Any], dtype: Any, level: Level) -> list[Any]:
    """All outputs of `op` at a level of vmap."""
    operands = Operands(op, values, level)
    if not operands.any():
        return [batched(level, t, False) for t in operands.call()]
    found = RULES.get(op.name)
    if found is None and op.elementwise:
        found = RULES["elementwise"]
    if found is None:
        warnings.warn(
            f"vmap: {op.name} has no batching rule, so it runs once per example, which costs time; see whether another "
            "operation does",
            UserWarning,
            stacklevel=5,
        )
        found = one_by_one
    outputs = found(operands)
    if outputs is None:  # a rule that does not cover these operands
        outputs = one_by_one(operands)
    return [batched(level, t) for t in outputs]


def one_by_one(operands: Operands) -> list[Any]:
    """Runs the operation once per example and stacks the results: right for every operation."""
    ops, n = NS["OPS"], operands.n
    rows = []
    for i in range(max(n, 1)):
        picked = {}
        for name, value in operands.inner.items():
            flags = operands.batched[name]
            if isinstance(flags, list):
                picked[name] = [_at(t, i, n) if b else t for t, b in zip(value, flags, strict=True)]
            elif flags:
                picked[name] = _at(value, i, n)
        rows.append(operands.call(**picked))
    stacked = [ops.stack_op(list(column), 0) for column in zip(*rows, strict=True)]
    return stacked if n else [ops.slice(t, 0, 0, 0) for t in stacked]


def _at(t: Any, i: int, n: int) -> Any:
    """Example `i`; of an empty batch one of zeros, for the shapes that come of it."""
    if n:
        return NS["OPS"].select(t, 0, i)
    return NS["WRAP"](np.zeros(t._a.shape[1:], t._a.dtype))


def lift_batch(t: Any, level: Level) -> Any:
    """`t` as a constant of a level of vmap."""
    return batched(level, t, False)


def _lift(t: Any, level: Level) -> Any:
    if level.kind == "vmap":
        return batched(level, t, False)
    from flambeau.func.dual import lift_dual

    return lift_dual(t, level)


NS["LIFT"] = _lift
NS["LEVEL_RULES"]["vmap"] = apply
