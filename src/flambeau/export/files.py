"""Programs in files: the calls as JSON, the tensors as `save` writes them. There is no code in such a file."""

from __future__ import annotations

import json
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.devices import device
from flambeau.errors import CheckpointError
from flambeau.export.extents import FORMS, Extent, Real
from flambeau.export.program import DETACH, WRITE, ArrayRef, Call, Fitting, Made, Program, Ref, Value, is_tensor
from flambeau.ops.core import REGISTRY
from flambeau.ops.whole import WHOLE
from flambeau.pytree import TreeSpec
from flambeau.serialization import load, save

#: What tells such a file from others.
FORMAT = "flambeau.program"
VERSION = 1
_CONTAINERS = {"tuple": tuple, "list": list, "dict": dict, "OrderedDict": OrderedDict}
_NUMPY = {str(d.numpy): d.numpy for d in vars(dtypes).values() if isinstance(d, dtypes.dtype)}
_TORCH = {str(d): d for d in vars(dtypes).values() if isinstance(d, dtypes.dtype)}


def encoded(value: Any) -> Any:
    """An argument as JSON has it. TypeError for what a file can't hold."""
    cls = value.__class__
    if value is None or cls in (bool, int, float, str):
        return value
    if cls is ArrayRef:
        return {"array": value.number}
    if cls is Ref:
        return {"ref": value.number}
    if cls is tuple or cls is list:
        return {cls.__name__: [encoded(v) for v in value]}
    if cls is slice:
        return {"slice": [encoded(v) for v in (value.start, value.stop, value.step)]}
    if cls is complex:
        return {"complex": [value.real, value.imag]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if cls is Extent:
        return {"extent": [[list(m), str(c)] for m, c in value.terms.items()]}
    if cls is Fitting:
        return {"windows": value.ceil}
    if cls is Real:
        return {"real": [encoded(value.extent), value.form]}
    if isinstance(value, np.dtype):
        return {"numpy": str(value)}
    if isinstance(value, dtypes.dtype):
        return {"dtype": str(value)}
    if isinstance(value, device):
        return {"device": str(value)}
    raise TypeError(f"a program with an argument of type {cls.__name__} can't be written to a file: {value!r}")


def decoded(value: Any) -> Any:
    """What `encoded` was given. CheckpointError for anything else."""
    if value.__class__ is not dict:
        return value
    try:
        ((kind, inner),) = value.items()
        return _DECODERS[kind](inner)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"the program holds an argument that is not understood: {value!r}") from error


_DECODERS: dict[str, Any] = {
    "array": lambda n: ArrayRef(int(n)),
    "ref": lambda n: Ref(int(n)),
    "tuple": lambda items: tuple(decoded(v) for v in items),
    "list": lambda items: [decoded(v) for v in items],
    "slice": lambda items: slice(*(decoded(v) for v in items)),
    "complex": lambda parts: complex(*parts),
    "ellipsis": lambda _: Ellipsis,
    "extent": lambda terms: Extent({tuple(m): Fraction(c) for m, c in terms}),
    "windows": lambda ceil: Fitting(bool(ceil)),
    "real": lambda parts: Real(decoded(parts[0]), next(f for f in FORMS if f == parts[1])),
    "numpy": lambda name: _NUMPY[name],
    "dtype": lambda name: _TORCH[name],
    "device": lambda name: device(name),
}


def _tree(spec: TreeSpec) -> Any:
    if spec.type is None:
        return None
    name = spec.type.__name__
    if issubclass(spec.type, tuple):
        name = "tuple"  # a named tuple comes back as a plain one: its class is the program's
    if name not in _CONTAINERS:
        raise TypeError(f"a program with a {name} among its arguments or results can't be written to a file")
    keys = list(spec.context) if name in ("dict", "OrderedDict") else None
    if keys is not None and not all(isinstance(k, (str, int)) for k in keys):
        raise TypeError(f"a program with a {name} whose keys are no text can't be written to a file: {keys}")
    return [name, keys, [_tree(c) for c in spec.children_specs]]


def _spec(tree: Any) -> TreeSpec:
    if tree is None:
        return TreeSpec(None, None, [])
    name, keys, children = tree
    return TreeSpec(_CONTAINERS[name], keys, [_spec(c) for c in children])


def _sealed(constant: Any) -> Any:
    return encoded_made(constant) if isinstance(constant, Made) else None


def encoded_made(made: Made) -> Any:
    """A constant that is made for the sizes, as JSON."""
    return [made.kind, encoded(made.shape), str(made.dtype), encoded(made.numbers)]


def packed(program: Program) -> tuple[str, dict[str, Any]]:
    """The program as JSON, and the tensors that are its constants."""
    tensors = {str(n): c.detach() for n, c in program.constants.items() if is_tensor(c)}
    text = json.dumps({
        "inputs": program.inputs,
        "state": program.state,
        "constants": {str(n): _sealed(c) for n, c in program.constants.items()},
        "calls": [[c.op, encoded(c.args), list(c.results), c.where] for c in program.calls],
        "values": [[encoded(v.shape), str(v.dtype)] for v in program.values],
        "outputs": encoded(program.outputs),
        "arguments": _tree(program.arguments),
        "returned": _tree(program.returned),
        "fixed": [[i, encoded(v)] for i, v in program.fixed.items()],
        "example": program.example,
        "aliases": [[a, b] for a, b in program.aliases.items()],
        "dims": [[[d, name] for d, name in dims.items()] for dims in program.dims],
    })  # fmt: skip
    return text, tensors


def unpacked(text: str, tensors: dict[str, Any]) -> Program:
    """The program again. CheckpointError if the text is none, or calls operations that are not there."""
    program = Program()
    try:
        found = json.loads(text)
        program.inputs = [int(n) for n in found["inputs"]]
        program.state = {str(k): int(n) for k, n in found["state"].items()}
        for key, made in found["constants"].items():
            program.constants[int(key)] = tensors[key] if made is None else _made(made)
        program.calls = [
            Call(str(op), decoded(args), tuple(int(r) for r in results), str(where))
            for op, args, results, where in found["calls"]
        ]
        program.values = [Value(decoded(shape), _NUMPY[dtype]) for shape, dtype in found["values"]]
        program.outputs = decoded(found["outputs"])
        program.arguments, program.returned = _spec(found["arguments"]), _spec(found["returned"])
        program.fixed = {int(i): decoded(v) for i, v in found["fixed"]}
        program.aliases = {int(a): int(b) for a, b in found["aliases"]}
        program.example = {str(name): int(n) for name, n in found["example"].items()}
        program.dims = [{int(d): str(name) for d, name in dims} for dims in found["dims"]]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the file's program is damaged, or of another version: {error!r}") from error
    for call in program.calls:
        if call.op not in REGISTRY and call.op not in WHOLE and call.op not in (WRITE, DETACH):
            raise CheckpointError(f"the program calls {call.op!r}, which this version of flambeau does not have")
    return program


def _made(parts: list[Any]) -> Made:
    kind, shape, dtype, numbers = parts
    if kind not in ("full", "arange", "eye"):
        raise ValueError(f"a constant of kind {kind!r}")
    return Made(kind, decoded(shape), _NUMPY[dtype], decoded(numbers))


def write(f: Any, kind: str, programs: dict[str, Program], contents: dict[str, Any]) -> None:
    """Writes programs by name, with further contents: tensors, numbers, text and containers of them."""
    made = {name: packed(p) for name, p in programs.items()}
    save(
        {
            "format": FORMAT,
            "version": VERSION,
            "kind": kind,
            "programs": {name: text for name, (text, _) in made.items()},
            "constants": {name: tensors for name, (_, tensors) in made.items()},
            **contents,
        },
        f,
    )


def read(f: Any, kind: str, map_location: Any = None) -> tuple[dict[str, Program], dict[str, Any]]:
    """What `write` has written. CheckpointError for any other file."""
    contents = load(f, map_location=map_location, weights_only=True)
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise CheckpointError("the file holds no recorded program; torch.load reads tensors and state dicts")
    if contents.get("kind") != kind:
        raise CheckpointError(f"the file holds a program of the kind {contents.get('kind')!r}, not {kind!r}")
    if contents.get("version") != VERSION:
        raise CheckpointError(
            f"the program was written in version {contents.get('version')} of the format, this flambeau reads {VERSION}"
        )
    programs = {name: unpacked(text, contents["constants"][name]) for name, text in contents["programs"].items()}
    return programs, contents
