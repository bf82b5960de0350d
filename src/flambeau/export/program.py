"""A program: what a function did to tensors, as a list of calls of flambeau's operations on numbered values.

Inputs, parameters, buffers and constants are values too. A call may write into a value (`WRITE`), and views are views:
when a program runs, it makes the same tensors in the same order, so that writes are seen where they were seen. Sizes
that follow from those of the inputs are `Extent`s; a program without any is one for fixed shapes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.errors import describe
from flambeau.export.extents import Extent, Real
from flambeau.ops import shape
from flambeau.ops.core import REGISTRY
from flambeau.ops.declare import Op
from flambeau.ops.pool import window_count
from flambeau.ops.whole import WHOLE
from flambeau.pytree import tree_unflatten
from flambeau.tensor.tensor import Tensor

#: Copies one value into another, in place.
WRITE = "write"
#: The same memory without history.
DETACH = "detach"


class Ref:
    """A value of the program, where a call has it as an operand."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"%{self.number}"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.number == self.number

    def __hash__(self) -> int:
        return hash((type(self), self.number))


class ArrayRef(Ref):
    """A value whose bare array a call has within a plain argument, such as an index."""


class Call(NamedTuple):
    """One operation: its name, its arguments as the op has them, the numbers of its results, and whose line it is."""

    op: str
    args: tuple[Any, ...]
    results: tuple[int, ...]
    where: str = ""


class Value(NamedTuple):
    """What is known of a value: shape (with `Extent`s where it follows the inputs) and NumPy's dtype."""

    shape: tuple[Any, ...]
    dtype: np.dtype


class Fitting(NamedTuple):
    """The output size of a pooling whose input's size may vary: as many windows as fit in."""

    ceil: bool

    def of(self, shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
        """The size for an input of this shape."""
        lengths = shape[len(shape) - len(kernel) :]
        settings = zip(lengths, kernel, stride, padding, dilation, strict=True)
        return tuple(window_count(n, k, s, p, d, self.ceil) for n, k, s, p, d in settings)


class Made(NamedTuple):
    """A constant whose size follows the inputs: `full` of one number, `arange`, `eye` or `repeated` rows."""

    kind: str
    shape: tuple[Any, ...]
    dtype: np.dtype
    numbers: tuple[Any, ...]

    def array(self, sizes: dict[str, int]) -> np.ndarray:
        """The constant for these sizes."""
        lengths = tuple(at(n, sizes) for n in self.shape)
        if self.kind == "full":
            return np.full(lengths, self.numbers[0], self.dtype)
        if self.kind == "arange":
            start, step = (at(n, sizes) for n in self.numbers)
            return (start + step * np.arange(lengths[0])).astype(self.dtype)
        return np.eye(*lengths, dtype=self.dtype)


def at(value: Any, sizes: dict[str, int]) -> Any:
    """An argument with its extents worked out for these sizes."""
    cls = value.__class__
    if cls is Extent or cls is Real:
        return value.at(sizes)
    if cls is tuple or cls is list:
        return cls(at(v, sizes) for v in value)
    if cls is slice:
        return slice(at(value.start, sizes), at(value.stop, sizes), at(value.step, sizes))
    return value


def refs_in(value: Any) -> list[Ref]:
    """All references within an argument."""
    if isinstance(value, Ref):
        return [value]
    if value.__class__ is tuple or value.__class__ is list:
        return [r for v in value for r in refs_in(v)]
    if value.__class__ is slice:
        return refs_in((value.start, value.stop, value.step))
    return []


def replaced(value: Any, change: Callable[[Ref], Any]) -> Any:
    """An argument with every reference changed."""
    if isinstance(value, Ref):
        return change(value)
    if value.__class__ is tuple or value.__class__ is list:
        return value.__class__(replaced(v, change) for v in value)
    if value.__class__ is slice:
        return slice(*(replaced(v, change) for v in (value.start, value.stop, value.step)))
    return value


class Program:
    """A recorded program.

    Attributes:
        inputs: the numbers of its inputs, in the order of the flattened arguments' tensors.
        state: parameters and buffers: a number for each name.
        constants: for each number a tensor, or what to make (`Made`).
        calls: what is done, in order.
        values: what is known of each value.
        outputs: the returned structure's leaves: references, or plain values.
        arguments, returned: the structures (`TreeSpec`s) of (args, kwargs) and of what is returned.
        fixed: leaves of the arguments that are no tensors, by position.
        aliases: for each value that shows another's memory, that other one.
        example: the sizes by name that it was recorded with.
        dims: for each input its dimensions that may vary: the name of the size, by dimension.
    """

    def __init__(self) -> None:
        self.inputs: list[int] = []
        self.state: dict[str, int] = {}
        self.constants: dict[int, Any] = {}
        self.calls: list[Call] = []
        self.values: list[Value] = []
        self.outputs: list[Any] = []
        self.arguments: Any = None
        self.returned: Any = None
        self.fixed: dict[int, Any] = {}
        self.aliases: dict[int, int] = {}
        self.example: dict[str, int] = {}
        self.dims: list[dict[int, str]] = []
        self._plan: Any = None

    def sizes_of(self, tensors: Sequence[Any]) -> dict[str, int]:
        """The sizes by name that these inputs have. RuntimeError for an input that does not fit the program."""
        sizes: dict[str, int] = {}
        for i, (number, t) in enumerate(zip(self.inputs, tensors, strict=True)):
            value, dims = self.values[number], self.dims[i] if self.dims else {}
            if t._a.ndim != len(value.shape) or t._a.dtype != value.dtype:
                raise RuntimeError(f"input {i} of the program is {self._wanted(i)}, but got {describe(t)}")
            for d, (n, have) in enumerate(zip(value.shape, t._a.shape, strict=True)):
                name = dims.get(d)
                if have != (sizes.setdefault(name, have) if name is not None else n):
                    raise RuntimeError(
                        f"input {i} of the program is {self._wanted(i)}, but got {describe(t)}: dimension {d} must "
                        f"be {n if name is None else f'{name} = {sizes[name]}, as in an earlier dimension'}"
                    )
        return sizes

    def _wanted(self, i: int) -> str:
        value, dims = self.values[self.inputs[i]], self.dims[i] if self.dims else {}
        return f"{value.dtype} of shape [{', '.join(dims.get(d, str(n)) for d, n in enumerate(value.shape))}]"

    @property
    def plan(self) -> list[Any]:
        """For each call its function, and the values that nothing needs after it."""
        if self._plan is None:
            last: dict[int, int] = {}
            for i, call in enumerate(self.calls):
                for number in (*[r.number for r in refs_in(call.args)], *call.results):
                    last[number] = i
            kept = {r.number for r in refs_in(self.outputs)}
            frees: dict[int, list[int]] = {}
            for number, i in last.items():
                if number not in kept:
                    frees.setdefault(i, []).append(number)
            self._plan = [(_function_of(c.op), c, tuple(frees.get(i, ()))) for i, c in enumerate(self.calls)]
        return self._plan

    def run(self, tensors: Sequence[Any], state: Callable[[str], Any], make: Callable[[np.ndarray], Any]) -> list[Any]:
        """Runs the calls on these inputs and returns the outputs' leaves.

        `state` gives parameters and buffers by name, `make` a tensor of a constant's array.
        """
        sizes = self.sizes_of(tensors)
        env: dict[int, Any] = dict(zip(self.inputs, tensors, strict=True))
        for name, number in self.state.items():
            env[number] = state(name)
        for number, constant in self.constants.items():
            env[number] = make(constant.array(sizes)) if isinstance(constant, Made) else constant

        def value(ref: Ref) -> Any:
            found = env[ref.number]
            return found._a if ref.__class__ is ArrayRef else found

        for function, call, frees in self.plan:
            args = replaced(call.args, value)
            result = function(at(args, sizes) if sizes else args)
            if call.op != WRITE:
                for number, t in zip(call.results, result if result.__class__ is tuple else (result,), strict=True):
                    env[number] = t
            for number in frees:
                del env[number]
        return [at(replaced(leaf, value), sizes) for leaf in self.outputs]

    def restored(self, leaves: list[Any]) -> Any:
        """The outputs in the structure that the function returned."""
        return tree_unflatten(leaves, self.returned)

    def __str__(self) -> str:
        names = {number: name for name, number in self.state.items()}
        names.update((number, f"input{i}") for i, number in enumerate(self.inputs))
        names.update((number, f"constant{i}") for i, number in enumerate(self.constants))

        def shown(value: Any) -> str:
            if isinstance(value, Ref):
                return "%" + names.get(value.number, str(value.number))
            if value.__class__ in (tuple, list):
                return "[" + ", ".join(map(shown, value)) + "]"
            return repr(value)

        lines = [f"graph({', '.join('%' + names[n] for n in self.inputs)}):"]
        for call in self.calls:
            results = ", ".join(f"%{n}" for n in call.results)
            given = ", ".join(map(shown, call.args))
            lines.append(f"    {results + ' = ' if results else ''}{call.op}({given})")
        lines.append(f"    return {shown(tuple(self.outputs))}")
        return "\n".join(lines)


def _function_of(name: str) -> Callable[[tuple], Any]:
    """The function of a call's arguments."""
    if name == WRITE:
        return lambda args: args[0].copy_(args[1])
    if name == DETACH:
        return lambda args: args[0].detach()
    if name in WHOLE:
        whole = WHOLE[name]
        return lambda args: tensors_in(whole(*args[0], **dict(args[1])))
    if name == "view_op":
        return _viewed
    op = REGISTRY[name]
    function: Any = op.function  # type: ignore[attr-defined]
    if is_pooling(op):
        return functools.partial(_pooled, op, function)
    if not op.keywords:
        return lambda args: function(*args)
    count = len(op.parameters) - len(op.keywords)
    keywords = op.keywords
    return lambda args: function(*args[:count], **dict(zip(keywords, args[count:], strict=True)))


def _viewed(args: tuple) -> Any:
    """A view in another shape; where memory lies otherwise than when the program was recorded, a copy."""
    try:
        return shape.view_op(*args)
    except RuntimeError:
        return shape.reshape(*args)


def is_pooling(op: Op) -> bool:
    """Whether an op takes the number of windows as an argument, which follows from the input's size."""
    return {"kernel", "stride", "padding", "size"} <= set(op.parameters) and op.parameters[0] == "input"


def window_settings(op: Op, args: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """Kernel, stride, padding and dilation of a pooling."""
    given = dict(zip(op.parameters, args, strict=True))
    kernel = given["kernel"]
    return kernel, given["stride"], given["padding"], given.get("dilation", (1,) * len(kernel))


def _pooled(op: Op, function: Callable, args: tuple) -> Any:
    i = op.parameters.index("size")
    if args[i].__class__ is Fitting:
        args = (*args[:i], args[i].of(args[0].shape, *window_settings(op, args)), *args[i + 1 :])
    return function(*args)


def tensors_in(result: Any) -> tuple[Any, ...]:
    """The tensors that a function returned."""
    return tuple(t for t in result if is_tensor(t)) if result.__class__ in (tuple, list) else (result,)


def is_tensor(value: Any) -> bool:
    """Whether a leaf of arguments or results is a tensor."""
    return isinstance(value, Tensor)
