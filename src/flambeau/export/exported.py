"""`torch.export`: a module as a program of flambeau's operations, for the sizes that it is asked for."""

from __future__ import annotations

import inspect
import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flambeau.export import files
from flambeau.export.modules import ProgramModule
from flambeau.export.program import Program, Ref, is_tensor
from flambeau.export.recording import state_of
from flambeau.export.sizes import general_program
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.pytree import tree_flatten

__all__ = ["Dim", "ExportedProgram", "ShapesCollection", "dims", "export", "load", "save"]


class _Hint:
    """What is said of a dimension that has no name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Dim.{self.name}"


class Dim:
    """The name of a size that may vary, and its limits: `Dim("batch", min=1, max=64)`.

    Dimensions with the same name must be equal in every call. `Dim.DYNAMIC` is a size without a name: dimensions that
    are equal in the example are taken for one. `Dim.AUTO` is the same where the module allows it, and `Dim.STATIC` is
    fixed. TypeError for arithmetic on names: a size that follows from another needs a name of its own.
    """

    AUTO = _Hint("AUTO")
    DYNAMIC = _Hint("DYNAMIC")
    STATIC = _Hint("STATIC")

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        low = 0 if min is None else min
        high = math.inf if max is None else max
        if not name.isidentifier():
            raise ValueError(f"Dim(): a name must be an identifier, got {name!r}")
        if low > high:
            raise ValueError(f"Dim(): the smallest size {low} is above the largest {high}")
        self.__name__ = name
        self.min, self.max = low, high

    def _no_arithmetic(self, *_: Any) -> Any:
        raise TypeError(f"Dim {self.__name__!r}: sizes that follow from others can't be declared; give it its own name")

    __add__ = __radd__ = __sub__ = __mul__ = __rmul__ = __floordiv__ = _no_arithmetic

    def __repr__(self) -> str:
        return f"Dim('{self.__name__}', min={self.min}, max={self.max})"


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """A `Dim` for each name."""
    return tuple(Dim(name, min=min, max=max) for name in names)


class ShapesCollection:
    """Dynamic shapes said tensor by tensor: `shapes[x] = {0: Dim("batch")}`, then `shapes.dynamic_shapes(...)`."""

    def __init__(self) -> None:
        self._said: dict[int, Any] = {}

    def __setitem__(self, tensor: Any, shape: Any) -> None:
        self._said[id(tensor)] = shape

    def __getitem__(self, tensor: Any) -> Any:
        return self._said.setdefault(id(tensor), {})

    def __len__(self) -> int:
        return len(self._said)

    def dynamic_shapes(self, m: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> list[Any]:
        """What was said, for each tensor in the order of the arguments; `export` takes it."""
        leaves = tree_flatten((tuple(args), dict(kwargs or {})))[0]
        return _PerTensor(self._said.get(id(leaf)) for leaf in leaves if is_tensor(leaf))


class _PerTensor(list):
    """Shapes in the order of the tensors."""


def said_dims(
    function: Callable, args: tuple, kwargs: dict[str, Any], shapes: Any
) -> tuple[list[dict[int, str]], dict[str, tuple[int, float]], list[str]]:
    """For each tensor its named dimensions; the limits of the names; the names that may turn out fixed (AUTO)."""
    tensors = [leaf for leaf in tree_flatten((tuple(args), dict(kwargs)))[0] if is_tensor(leaf)]
    if isinstance(shapes, ShapesCollection):
        shapes = shapes.dynamic_shapes(function, args, kwargs)
    said = shapes if isinstance(shapes, _PerTensor) else _per_tensor(function, args, kwargs, shapes)
    found: list[dict[int, str]] = []
    limits: dict[str, tuple[int, float]] = {}
    unnamed: dict[tuple[int, str], str] = {}
    auto: list[str] = []
    for t, shape in zip(tensors, said, strict=True):
        named: dict[int, str] = {}
        items = shape.items() if isinstance(shape, Mapping) else enumerate(shape or ())
        for d, dim in items:
            if dim is None or dim is Dim.STATIC or isinstance(dim, int):
                continue
            if not -t.ndim <= d < t.ndim:
                raise ValueError(f"dynamic_shapes names dimension {d} of a tensor with {t.ndim}: {list(t.shape)}")
            d %= t.ndim
            if isinstance(dim, _Hint):
                name = unnamed.setdefault((t.shape[d], dim.name), f"s{len(unnamed)}")
                if dim is Dim.AUTO and name not in auto:
                    auto.append(name)
            elif isinstance(dim, (Dim, str)):
                name = dim if isinstance(dim, str) else dim.__name__
                if isinstance(dim, Dim):
                    limits[name] = (int(dim.min), dim.max)
            else:
                raise TypeError(f"dynamic_shapes: a dimension is None, an int, a Dim or a name, got {dim!r}")
            named[d] = name
        found.append(named)
    return found, limits, auto


def _per_tensor(function: Callable, args: tuple, kwargs: dict[str, Any], shapes: Any) -> list[Any]:
    """What `dynamic_shapes` says of each tensor: by the names of the parameters, or in their order."""
    count = len(tree_flatten((tuple(args), dict(kwargs)))[0])
    if shapes is None:
        return [None] * sum(is_tensor(leaf) for leaf in tree_flatten((tuple(args), dict(kwargs)))[0])
    forward = function.forward if isinstance(function, Module) else function
    if isinstance(shapes, Mapping):
        bound = _bound(forward, args, kwargs)
        unknown = [name for name in shapes if name not in bound]
        if unknown:
            raise ValueError(f"dynamic_shapes names {unknown}, the arguments are {list(bound)}")
        pairs = [(value, shapes.get(name)) for name, value in bound.items()]
    else:
        values = [*args, *kwargs.values()]
        if len(shapes) != len(values):
            raise ValueError(f"dynamic_shapes has {len(shapes)} entries for {len(values)} arguments")
        pairs = list(zip(values, shapes, strict=True))
    result: list[Any] = []
    for value, shape in pairs:
        _collect(value, shape, result)
    assert len(result) <= count
    return result


def _bound(forward: Callable, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(forward).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {**{f"arg{i}": a for i, a in enumerate(args)}, **kwargs}
    for name, parameter in getattr(inspect.signature(forward), "parameters", {}).items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and name in bound:
            bound = {**{k: v for k, v in bound.items() if k != name}, **bound[name]}
    return dict(bound)


def _collect(value: Any, shape: Any, result: list[Any]) -> None:
    if is_tensor(value):
        result.append(shape)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            _collect(part, None if shape is None else shape.get(key), result)
    elif isinstance(value, (tuple, list)):
        parts: Sequence[Any] = [None] * len(value) if shape is None else shape
        if len(parts) != len(value):
            raise ValueError(f"dynamic_shapes has {len(parts)} entries for a container of {len(value)}")
        for part, inner in zip(value, parts, strict=True):
            _collect(part, inner, result)


class ExportedProgram:
    """A module's program with its parameters and buffers; what `export` returns.

    Attributes:
        program: the `Program`: calls of flambeau's operations. `print(exported)` shows it.
        state_dict: parameters and buffers by name.
        example_inputs: the arguments that it was recorded with, (args, kwargs); None after `load`.
        range_constraints: the limits of each size that may vary.
    """

    def __init__(
        self, program: Program, state: Mapping[str, Any], limits: dict[str, tuple[int, float]], example: Any = None
    ) -> None:
        self.program = program
        self._state = dict(state)
        self.range_constraints = dict(limits)
        self.example_inputs = example
        self.verifiers: list[Any] = []

    @property
    def graph(self) -> Program:
        """The program."""
        return self.program

    @property
    def graph_module(self) -> ProgramModule:
        """`module()`."""
        return self.module()

    @property
    def state_dict(self) -> dict[str, Any]:
        """Parameters and buffers by name."""
        return OrderedDict(self._state)

    @property
    def constants(self) -> dict[str, Any]:
        """Tensors that are neither parameter nor buffer, by the text that shows them in the program."""
        tensors = ((f"constant{i}", c) for i, c in enumerate(self.program.constants.values()))
        return {name: c for name, c in tensors if is_tensor(c)}

    @property
    def graph_signature(self) -> dict[str, list[str]]:
        """Which values of the program are parameters, buffers, inputs of the user and outputs."""
        parameters = [n for n, t in self._state.items() if isinstance(t, Parameter)]
        return {
            "parameters": parameters,
            "buffers": [n for n in self._state if n not in parameters],
            "user_inputs": [f"input{i}" for i in range(len(self.program.inputs))],
            "user_outputs": [repr(v) for v in self.program.outputs if isinstance(v, Ref)],
        }

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Names and parameters."""
        return ((n, t) for n, t in self._state.items() if isinstance(t, Parameter))

    def parameters(self) -> Iterator[Any]:
        """The parameters."""
        return (t for _, t in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Any]]:
        """Names and buffers."""
        return ((n, t) for n, t in self._state.items() if not isinstance(t, Parameter))

    def buffers(self) -> Iterator[Any]:
        """The buffers."""
        return (t for _, t in self.named_buffers())

    def module(self, check_guards: bool = True) -> ProgramModule:
        """A module that runs the program, with these parameters and buffers under their names."""
        return ProgramModule(self.program, self._state)

    def run_decompositions(self, decomp_table: Any = None) -> ExportedProgram:
        """Itself: flambeau's operations are the lowest that it has."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("an ExportedProgram can't be called: call exported.module()(...)")

    def __str__(self) -> str:
        sizes = "".join(f"\n    {name}: {low} to {high}" for name, (low, high) in self.range_constraints.items())
        return f"ExportedProgram:\n{self.program}{f'{chr(10)}sizes:{sizes}' if sizes else ''}"

    __repr__ = __str__


def export(
    mod: Any,
    args: tuple,
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    strict: bool = False,
    preserve_module_call_signature: tuple[str, ...] = (),
    prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:
    """The program of a module for arguments like these.

    The module runs for real, with these arguments and then with other values (in other sizes, where `dynamic_shapes`
    names some), and every run must do the same: what hangs on values in Python, or is drawn at random, is an error
    that names the line. Parameters and buffers are shared with the module.

    Args:
        mod: a Module (a function will do).
        args, kwargs: an example's arguments: tensors, containers of them; anything else is fixed.
        dynamic_shapes: for each argument, by its name or in order, the dimensions whose size may vary:
            `{"x": {0: Dim("batch")}}`. A name that stands twice is one size.
        strict, preserve_module_call_signature, prefer_deferred_runtime_asserts_over_guards: accepted.

    Raises:
        TypeError: if `args` is no tuple.
        RuntimeError: if the runs differ.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(3, 2)
    >>> batch = torch.export.Dim("batch")
    >>> exported = torch.export.export(model, (torch.ones(4, 3),), dynamic_shapes=({0: batch},))
    >>> exported.module()(torch.ones(7, 3)).shape
    torch.Size([7, 2])
    """
    if not isinstance(args, tuple):
        raise TypeError(f"export(): args must be a tuple of the example's arguments, got {type(args).__name__}")
    kwargs = dict(kwargs or {})
    named, limits, auto = said_dims(mod, args, kwargs, dynamic_shapes)
    while True:
        try:
            program = general_program(mod, args, kwargs, named, limits)
            break
        except Exception as error:
            if not auto:
                raise
            name = auto.pop()
            warnings.warn(f"export(): the size {name} is kept fixed, since it can't vary: {error}", stacklevel=2)
            named = [{d: n for d, n in dims.items() if n != name} for dims in named]
    names = {n for found in named for n in found.values()}
    ranges = {n: limits.get(n, (0, math.inf)) for n in sorted(names)}
    return ExportedProgram(program, state_of(mod), ranges, (args, kwargs))


def save(ep: ExportedProgram, f: Any, *, extra_files: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Writes an exported program, its parameters and buffers to a file. There is no code in it.

    TypeError for anything but an ExportedProgram.
    """
    if not isinstance(ep, ExportedProgram):
        raise TypeError(f"save(): expected an ExportedProgram (see export), got {type(ep).__name__}")
    limits = {n: [low, None if high == math.inf else high] for n, (low, high) in ep.range_constraints.items()}
    contents = {"state": dict(ep._state), "limits": limits, "extra": dict(extra_files or {})}
    files.write(f, "export", {"forward": ep.program}, contents)


def load(f: Any, *, extra_files: dict[str, Any] | None = None, **kwargs: Any) -> ExportedProgram:
    """What `save` has written; needs nothing of the module's code. `extra_files` is filled by its keys.

    CheckpointError (a RuntimeError) for any other file, PyTorch's `.pt2` among them.
    """
    programs, contents = files.read(f, "export")
    for name in extra_files or {}:
        if name in contents["extra"]:
            extra_files[name] = contents["extra"][name]  # type: ignore[index]
    limits = {n: (low, math.inf if high is None else high) for n, (low, high) in contents["limits"].items()}
    return ExportedProgram(programs["forward"], contents["state"], limits)
