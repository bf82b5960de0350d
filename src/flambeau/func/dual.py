"""Forward mode: tensors with a tangent, and how an operation carries tangents on.

No operation has a forward derivative of its own. Its rule for reverse mode is a linear function of the gradient it
gets; run on a gradient of zeros that is recorded, and then transposed by a backward pass over that recording, it gives
the derivative forward. Where an operation is itself linear in an operand, the operation applied to the tangent is the
same and quicker: `LINEAR` names those.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.api import grad
from flambeau.autograd.runtime import LEAF, NS, enable_grad, thread
from flambeau.func.levels import Layered, Level, each_tensor, every_output, has_history, lift, new_node
from flambeau.ops.declare import PLAIN, TENSORS, Op


class Dual(Layered):
    """A value and its tangent at one level; no tangent means zero."""

    _primal: Any
    _tangent: Any = None
    carried = ("_a", "_level", "_stamp", "_primal", "_tangent")

    def inside(self) -> Any:
        """The value."""
        return self._primal

    def insides(self) -> list[Any]:
        """The value, and the tangent if there is one."""
        return [self._primal] if self._tangent is None else [self._primal, self._tangent]


def dual(level: Level, primal: Any, tangent: Any) -> Dual:
    """A value and a tangent as one tensor."""
    t = object.__new__(Dual)
    t._a = primal._a
    t._level = level
    t._primal = primal
    t._tangent = tangent
    return t


def parts(t: Any, level: Level) -> tuple[Any, Any]:
    """The value and the tangent that `t` has at `level`."""
    return (t._primal, t._tangent) if t._level is level else (t, None)


def zeros_of(t: Any) -> Any:
    """Zeros like `t`, at its level."""
    zeros = NS["WRAP"](np.zeros(t._a.shape, t._a.dtype))
    return zeros if t._level is None or not t._level.alive else lift(zeros, t._level)


_LINEAR_IN_INPUT = (
    "sum mean cumsum neg flip roll contiguous_op clone_op to_numpy_dtype sum_to_shape basic_index index "
    "index_select gather repeat tril triu trace conj_physical div real imag reshape permute transpose t expand_op "
    "squeeze_op unsqueeze select slice diagonal unfold index_slice index_select_at index_unsqueeze index_alias "
    "view_as_real view_as_complex view_op drop pixel_shuffle pixel_unshuffle channel_shuffle fft_c2c fft_r2c"
)
#: Operations that are linear in each of these operands while the others stay: the tangent of the result is the sum of
#: the operation applied to each tangent in its operand's place. Other operands have to be absent or without a tangent.
LINEAR: dict[str, tuple[str, ...]] = dict.fromkeys(_LINEAR_IN_INPUT.split(), ("input",))
LINEAR |= {
    "mul": ("input", "other"),
    "mm": ("input", "mat2"),
    "bmm": ("input", "mat2"),
    "matmul": ("input", "other"),
    "linear": ("input", "weight"),
    "conv": ("input", "weight"),
    "cat_op": ("tensors",),
    "stack_op": ("tensors",),
}
_OFFSETS = {"linear": "bias", "conv": "bias"}
_SUMS = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}


def apply(op: Op, values: list[Any], dtype: Any, level: Level) -> list[Any]:
    """All outputs of `op` at a level of forward mode."""
    primals: list[Any] = []
    tangents: list[Any] = []
    for value, kind in zip(values, op.kinds, strict=True):
        if kind == PLAIN or value is None:
            primals.append(value)
            tangents.append(None)
        elif kind == TENSORS:
            pairs = [parts(t, level) for t in value]
            primals.append([p for p, _ in pairs])
            tangents.append([t for _, t in pairs] if any(t is not None for _, t in pairs) else None)
        else:
            p, t = parts(value, level)
            primals.append(p)
            tangents.append(t)
    outputs = every_output(op, primals)
    if not op.rules or all(t is None for t in tangents):
        return [dual(level, p, None) for p in outputs] if op.view else outputs
    moved = _tangents(op, primals, tangents, outputs, dtype)
    return [
        dual(level, p, t) if t is not None or i < op.visible else p
        for i, (p, t) in enumerate(zip(outputs, moved + [None] * op.hidden, strict=True))
    ]


def _tangents(op: Op, primals: list[Any], tangents: list[Any], outputs: list[Any], dtype: Any) -> list[Any]:
    """The tangents of the outputs that are shown."""
    if op.name in _SUMS:
        return [_sum_tangent(op.name, primals, tangents, outputs[0])]
    found = _linear(op, primals, tangents)
    if found is not None:
        return [found]
    return _transposed(op, primals, tangents, outputs, dtype)


def _sum_tangent(name: str, primals: list[Any], tangents: list[Any], out: Any) -> Any:
    ops = NS["OPS"]
    terms = []
    for tangent, sign in zip(tangents, _SUMS[name], strict=False):
        if tangent is None:
            continue
        if tangent._a.dtype != out._a.dtype:
            tangent = ops.to_numpy_dtype(tangent, out._a.dtype)
        tangent = ops.neg(tangent) if sign < 0 else tangent
        terms.append(tangent if tangent._a.shape == out._a.shape else ops.expand_op(tangent, out._a.shape))
    return terms[0] if len(terms) == 1 else ops.add(*terms)


def _linear(op: Op, primals: list[Any], tangents: list[Any]) -> Any:
    """The tangent by applying `op` to tangents, or None where it is not linear in all that have one."""
    names = LINEAR.get(op.name)
    if names is None:
        return None
    moving = [i for i, t in enumerate(tangents) if t is not None]
    if any(op.parameters[i] not in names for i in moving):
        return None
    total = None
    for i in moving:
        operands = list(primals)
        operands[i] = tangents[i]
        if op.kinds[i] == TENSORS:
            operands[i] = [zeros_of(p) if t is None else t for p, t in zip(primals[i], tangents[i], strict=True)]
        offset = _OFFSETS.get(op.name)
        if offset is not None:
            operands[op.parameters.index(offset)] = None
        if op.name == "view_op":  # a tangent need not lie in memory as its value does
            term = NS["OPS"].reshape(*operands)
        else:
            (term,) = every_output(op, operands)
        total = term if total is None else NS["OPS"].add(total, term)
    return total


def _transposed(op: Op, primals: list[Any], tangents: list[Any], outputs: list[Any], dtype: Any) -> list[Any]:
    """The tangents by transposing the op's rule for reverse mode."""
    flat: list[Any] = []
    edges: list[Any] = []
    for name, value, tangent, kind in zip(op.parameters, primals, tangents, op.kinds, strict=True):
        if kind == TENSORS:
            mine = tangent if tangent is not None else [None] * len(value)
        elif name in op.tensors:
            mine = [tangent]
        else:
            continue
        for t in mine:
            moves = t is not None and name in op.rule_of
            flat.append(t if moves else None)
            edges.append(LEAF if moves else None)
    visible = outputs[: op.visible]
    seeds: list[Any] = [None] * len(visible)
    recording = thread.grad
    with enable_grad():
        node = new_node(op, primals, outputs, dtype, edges)
        node.apart = True
        for i, out in enumerate(visible):
            if i not in op.nondiff and out._a.dtype.kind in "fcV":
                seeds[i] = zeros_of(out)
                seeds[i]._node = LEAF
        if not any(edges) or not any(s is not None for s in seeds):
            return [None] * len(visible)
        back = node.run_recorded(seeds[0] if op.visible == 1 else list(seeds))
    pairs = [(b, t) for b, t in zip(back, flat, strict=True) if b is not None and t is not None and b._node is not None]
    if not pairs:
        return [None] * len(visible)
    history = recording and any(map(has_history, (*each_tensor(op, primals), *(t for _, t in pairs))))
    wanted = [s for s in seeds if s is not None]
    found = iter(grad([b for b, _ in pairs], wanted, [t for _, t in pairs], create_graph=history, allow_unused=True))
    return [None if s is None else next(found) for s in seeds]


def lift_dual(t: Any, level: Level) -> Any:
    """`t` as a constant of a level of forward mode."""
    return dual(level, t, None)


NS["LEVEL_RULES"]["jvp"] = apply
