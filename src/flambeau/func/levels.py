"""Levels: what `vmap` and `jvp` put around tensors, and how an operation on such tensors runs.

Each transform that is running has a level, numbered from the outside. A `Layered` tensor belongs to one level and
holds tensors of lower ones: a batch (`Batched`), or a value and its tangent (`Dual`). An operation is handled by the
highest level among its operands: that level's rule takes its own wrapping off and calls operations on what is inside,
until plain tensors are left. Reverse mode has no wrapping: the tape records at every level, and a node belongs to the
level of the tensors that it was recorded on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from flambeau.autograd.runtime import LEAF, NS, thread, tick
from flambeau.autograd.views import make_view
from flambeau.ops import dispatch
from flambeau.ops.declare import PLAIN, TENSOR, TENSORS, Op
from flambeau.ops.generate import make_node_classes
from flambeau.tensor.tensor import Tensor


class Level:
    """A running transform: `kind` is `vmap`, `jvp` or `grad`."""

    def __init__(self, kind: str, size: int = 0, randomness: str = "error", one_tape: bool = False) -> None:
        self.kind = kind
        self.one_tape = one_tape  # plain tensors are recorded together with this level's, as in a dual_level
        self.size = size
        self.randomness = randomness
        self.number = 0
        self.alive = False

    def __enter__(self) -> Level:
        stack = running()
        self.number = stack[-1].number + 1 if stack else 1
        self.alive = True
        stack.append(self)
        with _lock:
            NS["LEVELS"] += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self.alive = False
        running().remove(self)
        with _lock:
            NS["LEVELS"] -= 1


class _Running(threading.local):
    def __init__(self) -> None:
        self.stack: list[Level] = []


_running = _Running()
_lock = threading.Lock()


def running() -> list[Level]:
    """The levels of this thread, from the outside."""
    return _running.stack


class hidden:
    """Inside, the topmost running level is not there: what happens there happens one level below."""

    def __enter__(self) -> None:
        self.stack = _running.stack
        _running.stack = self.stack[:-1]

    def __exit__(self, *exc: object) -> None:
        _running.stack = self.stack


class below:
    """Inside, `level` and all above it are not there."""

    def __init__(self, level: Level) -> None:
        self.level = level

    def __enter__(self) -> None:
        self.stack = _running.stack
        _running.stack = self.stack[: self.stack.index(self.level)]

    def __exit__(self, *exc: object) -> None:
        _running.stack = self.stack


class Layered(Tensor):
    """A tensor of a level. `_a` shows the shape and dtype that a program sees."""

    _level: Any = None

    def alias(self) -> Any:
        """The same value without history."""
        other = object.__new__(type(self))
        for name, value in self.__dict__.items():
            if name in self.carried:
                other.__dict__[name] = value
        return other

    carried: tuple[str, ...] = ("_a", "_level", "_stamp")

    def become(self, other: Any) -> None:
        """Takes over what `other` holds."""
        for name in self.carried:
            if name in other.__dict__:
                self.__dict__[name] = other.__dict__[name]

    def inside(self) -> Any:
        """What this tensor is at the level below."""
        raise TypeError("a Layered tensor is a Batched or a Dual one")

    def insides(self) -> list[Any]:
        """All tensors of lower levels that it holds."""
        return [self.inside()]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))

    __torch_function__.__func__.disabled = True  # type: ignore[attr-defined]


def alias(t: Any) -> Any:
    """The same value and memory without history, at whatever level."""
    if isinstance(t, Layered):
        return t.alias()
    other = object.__new__(NS["Tensor"])
    other._a = t._a
    other._stamp = t._stamp
    return other


def level_of(t: Any) -> int:
    """The number of a tensor's level; 0 for a plain one, and for one whose transform has ended."""
    level = t._level
    return level.number if level is not None and level.alive else 0


def belongs(t: Any, level: Level) -> bool:
    """Whether the history of `t`, if it has one, is that of `level`."""
    return t._level is level or (level.one_tape and t._node is not None)


def has_history(t: Any) -> bool:
    """Whether a tensor, or what is inside it, has a history."""
    if t._node is not None:
        return True
    return isinstance(t, Layered) and any(has_history(part) for part in t.insides())


def each_tensor(op: Op, values: Any) -> Iterator[Any]:
    """The tensors among an op's operands."""
    for value, kind in zip(values, op.kinds, strict=True):
        if kind == PLAIN or value is None:
            continue
        if kind == TENSORS:
            if isinstance(value, (list, tuple)):
                yield from (t for t in value if isinstance(t, Tensor))
        elif isinstance(value, Tensor):
            yield value


def highest(tensors: Any) -> Level | None:
    """The highest level that some tensor has."""
    found = None
    for t in tensors:
        level = t._level
        if level is not None and level.alive and (found is None or level.number > found.number):
            found = level
    return found


def layered(op: Op, args: tuple, out: Any) -> Any:
    """Runs `op` if some operand belongs to a level; None if none does."""
    top = highest(each_tensor(op, args))
    if top is None:
        return None
    if out is not None:
        raise RuntimeError(
            f"{op.name}(): out= can't be used inside vmap, grad, jvp and their kin: use the result instead"
        )
    values, dtype = prepared(op, args)
    if top.kind == "vmap":
        other = NS["DECOMPOSED"].get(op.name)
        if other is not None and any(_batched(t, top) for t in each_tensor(op, values)):
            return other(*values)
    outputs = run_level(op, values, dtype, top)
    if op.view:
        _views(op, values, outputs[: op.visible])
    if op.rules and thread.grad:
        record(op, values, outputs, dtype, top)
    visible = outputs[: op.visible]
    return visible[0] if op.visible == 1 else tuple(visible)


def _batched(t: Any, level: Level) -> bool:
    return t._level is level and t._batched


def prepared(op: Op, args: tuple) -> tuple[list[Any], Any]:
    """The operands as tensors of the dtype that they are promoted to, and that dtype."""
    make_node_classes(op, NS)
    if op.no_bool:
        dispatch._refuse_bool(op, args)
    values, dtype = dispatch._operands(op, args)
    if op.elementwise and dtype is not None:
        for i, (t, kind) in enumerate(zip(values, op.kinds, strict=True)):
            if kind == TENSOR and isinstance(t, Tensor) and t._level is not None and t._a.dtype != dtype.numpy:
                values[i] = NS["OPS"].to_numpy_dtype(t, dtype.numpy)
    return values, dtype


def run_level(op: Op, values: list[Any], dtype: Any, top: Level) -> list[Any]:
    """All outputs of `op`, hidden ones too, through the rule of level `top`."""
    return NS["LEVEL_RULES"][top.kind](op, values, dtype, top)


def every_output(op: Op, values: list[Any]) -> list[Any]:
    """All outputs of `op` on tensors of any level, hidden ones too."""
    if not op.hidden:
        positional, named = [], {}
        for name, value in zip(op.parameters, values, strict=True):
            if name in op.keywords:
                named[name] = value
            else:
                positional.append(value)
        result = op.function(*positional, **named)  # type: ignore[attr-defined]
        return list(result) if op.visible > 1 else [result]
    values, dtype = prepared(op, tuple(values))
    top = highest(each_tensor(op, values))
    if top is not None:
        outputs = run_level(op, values, dtype, top)
        if op.rules and thread.grad:
            record(op, values, outputs, dtype, top)
        return outputs
    tensors, results = dispatch.run_plain(op, values, dtype)
    return [*tensors, *(dispatch.wrap(r) for r in results[op.visible :])]


def _views(op: Op, values: list[Any], outputs: list[Any]) -> None:
    """Lets views know their base at this level, where the level below has made views."""
    source = values[op.kinds.index(TENSOR)]
    for t in outputs:
        if t._level is source._level and t._base is None and _root(t.inside()) is _root(source.inside()):
            make_view(t, source)


def _root(t: Any) -> Any:
    return t if t._base is None else t._base


def record(op: Op, values: list[Any], outputs: list[Any], dtype: Any, top: Level) -> None:
    """Records `op` at level `top`: operands of lower levels are constants there."""
    edges: list[Any] = []
    for name, value, kind in zip(op.parameters, values, op.kinds, strict=True):
        if kind in (TENSOR, TENSORS):
            for t in value if kind == TENSORS else (value,):
                own = t is not None and name in op.rule_of and belongs(t, top)
                edges.append(None if not own else t if t._node is LEAF else t._node)
    if all(edge is None for edge in edges):
        return
    visible = outputs[: op.visible]
    if not any(t._a.dtype.kind in "fcV" for t in visible):
        return
    for i, t in enumerate(visible):
        outputs[i] = lift(t, top)
    node = new_node(op, values, outputs, dtype, edges)
    keep_outputs(op, node, outputs)
    for i, t in enumerate(outputs[: op.visible]):
        if op.visible == 1:
            t._node = node
        elif i not in op.nondiff and t._a.dtype.kind in "fcV":
            t._node = NS["Pick"](node, i)


def new_node(op: Op, values: list[Any], outputs: list[Any], dtype: Any, edges: list[Any]) -> Any:
    """A node of `op` that keeps tensors, not arrays."""
    node = object.__new__(op.slow_class)
    node.edges = tuple(edges)
    node.seq = tick()
    visible = outputs[: op.visible]
    node.output_dtypes = tuple(t._a.dtype for t in visible)
    node.compute_dtype = dispatch.compute_type(op, dtype)
    flat = dispatch._flat_tensors(op, values)
    node.input_dtypes = tuple(None if t is None else t._a.dtype for t in flat)
    if op.elementwise:
        for i, t in enumerate(flat):
            if t is not None and t._a.shape != visible[0]._a.shape:
                setattr(node, f"b{i}", t._a.shape)
    by_name = dict(zip(op.parameters, values, strict=True))
    for name in op.saves():
        if name in by_name:
            setattr(node, "s_" + name, by_name[name])
            continue
        index = int(name[3:] or 0)
        setattr(node, "s_" + name, outputs[index])
    for name, value, kind in zip(op.parameters, values, op.kinds, strict=True):
        if kind == TENSORS:
            setattr(node, "sh_" + name, [t._a.shape for t in value])
        elif kind == TENSOR:
            setattr(node, "sh_" + name, None if value is None else value._a.shape)
            setattr(node, "dt_" + name, None if value is None else value._a.dtype)
    return node


def keep_outputs(op: Op, node: Any, outputs: list[Any]) -> None:
    """What a node on the tape keeps of its outputs: their values, and a cell that tells when they are written."""
    for name in op.saves():
        if name in op.parameters:
            continue
        index = int(name[3:] or 0)
        setattr(node, "s_" + name, alias(outputs[index]))
        if index < op.visible:
            cell = [0]
            outputs[index]._cell = cell
            setattr(node, "c_" + name, cell)


def top_wrapping() -> Level | None:
    """The topmost running level that wraps tensors."""
    for level in reversed(running()):
        if level.kind != "grad":
            return level
    return None


def lift(t: Any, level: Level) -> Any:
    """`t` at `level`, where it is a constant: the same for the whole batch, or without a tangent."""
    return t if t._level is level else NS["LIFT"](t, level)


def detached(t: Any) -> Any:
    """`t` without the history of its own level."""
    return alias(t) if t._node is not None else t


NS["LAYERED"] = layered
NS["ALIAS"] = alias
NS["LEVEL_RULES"] = {}
NS["DECOMPOSED"] = {}
