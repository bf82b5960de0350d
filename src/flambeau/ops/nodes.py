"""Node classes of ops: one per op with generated backward, and its general twin for what the straight path leaves
out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd import graph
from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import ENGINES, FOREIGN, as_array, is_array
from flambeau.ops.declare import PLAIN, TENSORS, Op, Rule


class OpNode(Node):
    """A recorded op. What its rules name is kept in `s_<name>`, the operands' shapes and dtypes in `sh_`, `dt_`."""

    op: Op
    kept: tuple[str, ...] = ()
    compute_dtype: np.dtype | None = None
    packed: dict[str, Any] | None = None
    #: Never on the tape: it only lends its rules, whose outputs have their own history.
    apart = False

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        if self.freed:
            raise graph.freed(self)
        return self._results(g, True)

    def _results(self, g: Any, recorded: bool) -> tuple[Any, ...]:
        """Gradients of all edges through the op's rules, whatever their form."""
        op = self.op
        names = op.tensors
        results: dict[str, Any] = {}
        if op.kinds.count(TENSORS):
            return self._sequence_results(g, recorded)
        needed = {n: self.edges[i] is not None for i, n in enumerate(names)}
        for rule in op.rules:
            mine = [n for n in names if op.rule_of.get(n) is rule]
            if not any(needed[n] for n in mine):
                continue
            value = self._call(rule, g, recorded, tuple(needed[n] for n in mine))
            values = value if len(mine) > 1 else (value,)
            results.update(zip(mine, values, strict=True))
        return tuple(self._finish(results.get(n), i, recorded) if needed[n] else None for i, n in enumerate(names))

    def _sequence_results(self, g: Any, recorded: bool) -> tuple[Any, ...]:
        rule = self.op.rules[0]
        values = self._call(rule, g, recorded, tuple(edge is not None for edge in self.edges))
        return tuple(
            self._finish(value, i, recorded) if self.edges[i] is not None else None for i, value in enumerate(values)
        )

    def _call(self, rule: Rule, g: Any, recorded: bool, needs: tuple[bool, ...]) -> Any:
        values = [self._value(name, g, recorded, needs) for name in rule.takes]
        if recorded:
            return rule.function(NS["OPS"], *values)
        for array in (g if g.__class__ is list else (g,)) if FOREIGN else ():
            if array.__class__ in FOREIGN:
                return ENGINES[array.__class__].run_rule(self.op, rule, values)
        if NS["CAPTURE"] is not None:
            return NS["CAPTURE"].rule(rule, tuple(values))
        return rule.function(NS["K"], *values)

    def _value(self, name: str, g: Any, recorded: bool, needs: tuple[bool, ...]) -> Any:
        op = self.op
        if name == "g":
            return g
        if name == "needs":
            return needs
        if name[0] == "g" and name[1:].isdigit():
            return g[int(name[1:])]
        if name in op.parameters:
            kind = op.kinds[op.parameters.index(name)]
            value = self._unpack("s_" + name)
            if kind == PLAIN or value is None:
                return value
            if kind == TENSORS:
                return [self._tensor(v, name, recorded, kind) for v in value]
            return self._tensor(value, name, recorded, kind)
        if name.endswith("_shape"):
            return getattr(self, "sh_" + name[:-6])
        if name.endswith("_dtype"):
            return getattr(self, "dt_" + name[:-6])
        return self._output(name, recorded)

    def _unpack(self, attribute: str) -> Any:
        if self.packed is not None and attribute in self.packed:
            unpack, value, history = self.packed[attribute]
            found = unpack(value)
            if not isinstance(found, NS["Tensor"]) and not is_array(found):
                raise TypeError(
                    f"{self.name()}: the unpack hook of saved_tensors_hooks has to return a Tensor, got "
                    f"{type(found).__name__}"
                )
            return found if history is None else graph.with_history(found, history)
        return getattr(self, attribute)

    def __getattr__(self, name: str) -> Any:
        """`_saved_self`, `_saved_result` and the like: what the node keeps for backward."""
        if not name.startswith("_saved_"):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        mine = {"self": "input", "result": "out"}.get(name[7:], name[7:])
        if mine not in self.op.saves() and mine not in self.op.parameters:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        if self.freed:
            raise graph.freed(self)
        value = self._unpack("s_" + mine) if "s_" + mine in self.__dict__ or self.packed else None
        if is_array(value):
            value = self._output(mine, True)
        return value

    def __dir__(self) -> list[str]:
        names = {"input": "self", "out": "result"}
        return [*super().__dir__(), *("_saved_" + names.get(name, name) for name in self.op.saves())]

    def _tensor(self, tensor: Any, name: str, recorded: bool, kind: str) -> Any:
        if tensor._stamp > self.seq and self.packed is None:
            raise graph.modified(self, name, tensor)
        return tensor if recorded else self._widen(tensor._a, kind)

    def _widen(self, array: np.ndarray, kind: str) -> np.ndarray:
        if self.compute_dtype is not None and kind != "index" and array.dtype != self.compute_dtype:
            return array.astype(self.compute_dtype)
        return array

    def _output(self, name: str, recorded: bool) -> Any:
        index = int(name[3:] or 0)
        array = self._unpack("s_" + name)
        if array is None:  # a hidden result that this engine has no use for
            return None
        cell = getattr(self, "c_" + name, None)
        if cell is not None and cell[0] > self.seq:
            raise graph.modified(self, "its result", array)
        if not recorded:
            return array if self.compute_dtype is None or array.dtype.kind not in "fV" else self._widen(array, "tensor")
        if self.apart:
            return array
        tensor = NS["ALIAS"](array) if isinstance(array, NS["Tensor"]) else NS["WRAP"](array)
        if index < self.op.visible and index not in self.op.nondiff:
            if self.op.visible == 1:
                tensor._node = self
            else:
                pick = graph.Pick(self, index)
                tensor._node = pick
        return tensor

    def _finish(self, value: Any, i: int, recorded: bool) -> Any:
        """A rule's result for edge `i`, un-broadcast."""
        if value is None:
            return None
        shape = getattr(self, f"b{i}", None)
        if shape is not None:
            kernels = NS["OPS"] if recorded else NS["KERNELS_OF"](value)
            value = kernels.sum_to_shape(value, shape)
        return value


class GeneralNode(OpNode):
    """The twin of an op's node for promoted, low-precision and complex operands: casts around the rules."""

    input_dtypes: tuple[np.dtype | None, ...] = ()
    output_dtypes: tuple[np.dtype, ...] = ()

    def run(self, g: Any) -> tuple[Any, ...]:
        if self.freed:
            raise graph.freed(self)
        if self.op.outputs - self.op.hidden > 1:
            g = [None if x is None else self._in(x) for x in g]
        else:
            g = self._in(g)
        return self._results(g, False)

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        if self.freed:
            raise graph.freed(self)
        if self._conjugates():
            conj = NS["OPS"].conj
            g = [None if x is None else conj(x) for x in g] if isinstance(g, list) else conj(g)
        return self._results(g, True)

    def _conjugates(self) -> bool:
        return self.op.holomorphic and any(d.kind == "c" for d in self.output_dtypes)

    def _in(self, g: Any) -> Any:
        if self.compute_dtype is not None and g.dtype in dtypes.UPCAST:
            g = g.astype(self.compute_dtype)
        return np.conjugate(g) if self._conjugates() else g

    def _finish(self, value: Any, i: int, recorded: bool) -> Any:
        if value is None:
            return None
        value = super()._finish(value, i, recorded)
        want = self.input_dtypes[i]
        ops = NS["OPS"]
        if self._conjugates():
            value = ops.conj(value) if recorded else np.conjugate(value)
        have = value._a.dtype if recorded else value.dtype
        if want is not None and have != want:
            if have.kind == "c" and want.kind != "c":
                value = ops.real(value) if recorded else np.real(value)
            value = ops.to_numpy_dtype(value, want) if recorded else as_array(value).astype(want)
        return value
