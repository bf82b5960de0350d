"""A graph of ONNX nodes under construction, and what the tables of operations are written in."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.export.extents import FORMS, Extent, Real
from flambeau.onnx.errors import OnnxExporterError, UnsupportedOperatorError

#: For each operation the function that adds its nodes: `emit(graph, *arguments)` returns the names of its results.
EMITTERS: dict[str, Callable] = {}
#: The versions of ONNX's operators that the tables are written for.
OPSETS = range(17, 24)
_LARGEST = 2**62


def emits(*names: str) -> Callable[[Callable], Callable]:
    """Enters a function in the table for these operations."""

    def enter(function: Callable) -> Callable:
        for name in names:
            EMITTERS[name] = function
        return function

    return enter


def onnx_package() -> Any:
    """The package `onnx`. OnnxExporterError where it is not installed."""
    try:
        package = importlib.import_module("onnx")
        importlib.import_module("onnx.helper")
        importlib.import_module("onnx.numpy_helper")
        return package
    except ModuleNotFoundError as error:
        raise OnnxExporterError(
            "torch.onnx.export needs the package onnx, which is not installed: pip install 'flambeau[onnx]'"
        ) from error


class Operand:
    """A value of the graph: its name, shape (with `Extent`s; -1 where nothing is known) and NumPy's dtype."""

    __slots__ = ("dtype", "name", "shape")

    def __init__(self, name: str, shape: tuple[Any, ...], dtype: np.dtype) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def fixed(self) -> bool:
        """Whether all sizes are numbers."""
        return all(is_fixed(n) for n in self.shape)


def is_fixed(n: Any) -> bool:
    """Whether a size is a number."""
    return n.__class__ is int and n >= 0


class Graph:
    """Nodes, initializers and names. `node` adds one; everything else is made of it."""

    def __init__(self, opset: int) -> None:
        self.onnx = onnx_package()
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.taken: set[str] = set()
        self.sizes: dict[str, tuple[str, int]] = {}  # for each named size an input and its dimension
        self._known: dict[Any, str] = {}
        self._count = 0
        self.results: tuple[Operand, ...] = ()  # of the operation under way
        self.where = ""

    # names and nodes

    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        self._count += 1
        while f"{stem}_{self._count}" in self.taken:
            self._count += 1
        return f"{stem}_{self._count}"

    def node(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node and returns the name of its output, or a list of them. Inputs are names, operands or None."""
        names = [i.name if isinstance(i, Operand) else i or "" for i in inputs]
        while names and not names[-1]:
            names.pop()
        made = [self.fresh(kind.lower()) for _ in range(outputs)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(self.onnx.helper.make_node(kind, names, made, **given))
        return made[0] if outputs == 1 else made

    # constants

    def tensor(self, array: Any) -> str:
        """The name of a constant."""
        array = np.asarray(array)
        key = (array.dtype.str, str(array.dtype), array.shape, array.tobytes()) if array.size <= 64 else None
        if key is not None and key in self._known:
            return self._known[key]
        name = self.fresh("constant")
        self.initializers[name] = array
        if key is not None:
            self._known[key] = name
        return name

    def number(self, value: Any, dtype: Any) -> str:
        """A number without dimensions in a dtype; one that follows the sizes is computed."""
        if isinstance(value, (Extent, Real)):
            return self.cast(self._computed(value), np.float64 if isinstance(value, Real) else np.int64, dtype)
        return self.tensor(np.array(value, dtype=dtype))

    def ints(self, values: Sequence[Any]) -> str:
        """A vector of int64; sizes that follow the inputs' are computed."""
        values = list(values)
        if all(v.__class__ is int for v in values):
            return self.tensor(np.array(values, np.int64))
        parts = [
            self.tensor(np.array([v], np.int64)) if v.__class__ is int
            else self.node("Reshape", self._computed(v), self.tensor(np.array([1], np.int64)))
            for v in values
        ]  # fmt: skip
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def _computed(self, value: Any) -> str:
        """A size, without dimensions: int64 for an extent, float64 for a real number."""
        if isinstance(value, Real):
            return self._real(value)
        if not isinstance(value, Extent):
            raise self.unsupported(f"a size that is not known for every size of the inputs ({value!r})")
        total = None
        for monomial, coefficient in value.terms.items():
            part = None
            for name in monomial:
                part = self._size(name) if part is None else self.node("Mul", part, self._size(name))
            if part is None:
                part = self.tensor(np.array(coefficient.numerator, np.int64))
            elif coefficient.numerator != 1:
                part = self.node("Mul", part, self.tensor(np.array(coefficient.numerator, np.int64)))
            if coefficient.denominator != 1:
                part = self.node("Div", part, self.tensor(np.array(coefficient.denominator, np.int64)))
            total = part if total is None else self.node("Add", total, part)
        return total if total is not None else self.tensor(np.array(0, np.int64))

    def _real(self, value: Real) -> str:
        n = self.cast(self._computed(value.extent), np.int64, np.float64)
        one = self.tensor(np.array(1.0))
        if "sqrt" in value.form:
            n = self.node("Sqrt", n)
        if "1 /" in value.form:
            n = self.node("Div", one, n)
        assert value.form in FORMS
        return self.node("Add", one, n) if value.form.startswith("1 +") else n

    def _size(self, name: str) -> str:
        key = ("size", name)
        if key not in self._known:
            owner, dim = self.sizes[name]
            shape = self.node("Shape", owner)
            self._known[key] = self.node("Gather", shape, self.tensor(np.array(dim, np.int64)), axis=0)
        return self._known[key]

    def shape_of(self, x: Any) -> str:
        """The shape of a value as a vector of int64."""
        if isinstance(x, Operand) and x.fixed:
            return self.ints(x.shape)
        return self.node("Shape", x)

    # types

    def kind(self, dtype: Any) -> int:
        """ONNX's number for a dtype."""
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def cast(self, x: Any, have: Any, want: Any) -> Any:
        """`x` in another dtype."""
        return x if np.dtype(have) == np.dtype(want) else self.node("Cast", x, to=self.kind(want))

    def as_type(self, x: Operand, dtype: Any) -> Any:
        """An operand in a dtype."""
        return self.cast(x, x.dtype, dtype)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the operation's (first) result."""
        return self.results[0].dtype

    def operand(self, x: Any, dtype: Any) -> Any:
        """An operand or number in a dtype."""
        return self.as_type(x, dtype) if isinstance(x, Operand) else self.number(x, dtype)

    def promoted(self, *values: Any) -> tuple[np.dtype, list[Any]]:
        """Operands and numbers in the dtype that they have together."""
        full: list[Any] = []
        zero_dim: list[Any] = []
        scalars: list[Any] = []
        for v in values:
            if isinstance(v, Operand):
                (full if v.rank else zero_dim).append(dtypes.of_numpy(v.dtype))
            elif v is not None:
                plain = 1.0 if isinstance(v, Real) else 1 if isinstance(v, Extent) else v
                scalars.append(dtypes.of_scalar(plain))
        together = dtypes.result_dtype(full, zero_dim, scalars).numpy
        return together, [None if v is None else self.operand(v, together) for v in values]

    # what is not there

    def unsupported(self, what: str) -> UnsupportedOperatorError:
        """The error for what has no nodes."""
        return UnsupportedOperatorError(f"{what} can't be written as ONNX{f' (at {self.where})' if self.where else ''}")

    # shapes

    def reshape(self, x: Any, shape: Sequence[Any]) -> str:
        """`x` in a shape; one size that nothing tells is left to ONNX."""
        sizes = [n if isinstance(n, (int, Extent)) else -1 for n in shape]
        if sum(n.__class__ is int and n == -1 for n in sizes) > 1:
            raise self.unsupported(f"a reshape to {list(shape)}, of which several sizes are unknown")
        if sum(n.__class__ is not int for n in sizes) == 1 and -1 not in sizes and 0 not in sizes:
            sizes = [n if n.__class__ is int else -1 for n in sizes]
        return self.node("Reshape", x, self.ints(sizes), allowzero=1 if 0 in sizes else None)

    def unsqueeze(self, x: Any, *axes: int) -> str:
        """`x` with dimensions of length 1 at these places of the result."""
        return self.node("Unsqueeze", x, self.ints(axes))

    def squeeze(self, x: Any, *axes: int) -> str:
        """`x` without these dimensions."""
        return self.node("Squeeze", x, self.ints(axes))

    def slice(self, x: Any, axis: int, start: Any, stop: Any, step: int = 1) -> str:
        """A part of one dimension."""
        return self.node(
            "Slice", x, self.ints([start or 0]), self.ints([_LARGEST if stop is None else stop]), self.ints([axis]),
            self.ints([step or 1]),
        )  # fmt: skip

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """`x` with its dimensions in another order."""
        order = list(order)
        return x if order == sorted(order) else self.node("Transpose", x, perm=order)

    def reduce(self, kind: str, x: Any, axes: Sequence[int] | None, keep: bool) -> str:
        """A reduction over some axes, or all (None)."""
        if axes is not None and not axes:
            return self.node("Identity", x)
        if kind != "Sum" and self.opset < 18:
            return self.node("Reduce" + kind, x, axes=None if axes is None else list(axes), keepdims=int(keep))
        named = None if axes is None else self.ints(axes)
        return self.node("Reduce" + kind, x, named, keepdims=int(keep))
