"""`torch.onnx.export`: a program without writes, written as an ONNX model."""

from __future__ import annotations

import contextlib
import enum
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.engines.arrays import host
from flambeau.export.exported import Dim, ExportedProgram
from flambeau.export.exported import export as export_program
from flambeau.export.extents import Extent
from flambeau.export.functional import NotFunctional, functional
from flambeau.export.program import Made, Program, Ref, is_tensor, refs_in, replaced
from flambeau.export.sizes import Different
from flambeau.nn.modules.module import Module
from flambeau.onnx import elementwise, layers, recurrent, reductions, shapes  # noqa: F401 - they fill the table
from flambeau.onnx.errors import OnnxExporterError
from flambeau.onnx.graph import EMITTERS, OPSETS, Graph, Operand, onnx_package
from flambeau.ops.whole import WHOLE
from flambeau.pytree import tree_flatten
from flambeau.version import __flambeau_version__

__all__ = ["ONNXProgram", "TrainingMode", "export", "is_in_onnx_export"]

DEFAULT_OPSET = 18
_LARGE = 1_500_000_000  # a protobuf holds two gigabytes
_IR_VERSION = 9
_exporting = False


class TrainingMode(enum.IntEnum):
    """In which mode the module is exported."""

    EVAL = 0
    PRESERVE = 1
    TRAINING = 2


def is_in_onnx_export() -> bool:
    """Whether a model is being exported right now."""
    return _exporting


class ONNXProgram:
    """An exported model.

    Attributes:
        model_proto: the `onnx.ModelProto`.
        exported_program: the program that it was made of.
    """

    def __init__(self, model_proto: Any, exported_program: ExportedProgram) -> None:
        self.model_proto = model_proto
        self.exported_program = exported_program
        self._session: Any = None

    @property
    def model(self) -> Any:
        """The `onnx.ModelProto`."""
        return self.model_proto

    def save(self, destination: Any, *, external_data: bool | None = None, **_: Any) -> None:
        """Writes the model to a path or a file. Weights of more than 1.5 GB, or with `external_data=True`, go into a
        file beside it.
        """
        onnx = onnx_package()
        if hasattr(destination, "write"):
            destination.write(self.model_proto.SerializeToString())
            return
        path = os.fspath(destination)
        apart = self.model_proto.ByteSize() > _LARGE if external_data is None else external_data
        if apart:
            copy = onnx.ModelProto()
            copy.CopyFrom(self.model_proto)  # saving takes the weights out of it
            onnx.save_model(copy, path, save_as_external_data=True, location=os.path.basename(path) + ".data")
        else:
            onnx.save_model(self.model_proto, path)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Runs the model in onnxruntime and returns its outputs. OnnxExporterError where that is not installed."""
        from flambeau.tensor.creation import from_numpy

        if self._session is None:
            try:
                runtime = importlib.import_module("onnxruntime")
            except ModuleNotFoundError as error:
                raise OnnxExporterError(
                    "running an ONNX program needs onnxruntime: pip install 'flambeau[onnx]'"
                ) from error
            self._session = runtime.InferenceSession(
                self.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
            )
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if is_tensor(leaf)]
        names = [i.name for i in self.model_proto.graph.input]
        feed = {n: np.asarray(host(t._a)) for n, t in zip(names, tensors, strict=True)}
        wanted = {i.name for i in self._session.get_inputs()}
        found = self._session.run(None, {n: a for n, a in feed.items() if n in wanted})
        return tuple(from_numpy(np.array(a)) for a in found)


def export(
    model: Any,
    args: Any = (),
    f: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    export_params: bool = True,
    verbose: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamo: bool = True,
    dynamic_axes: Any = None,
    dynamic_shapes: Any = None,
    external_data: bool | None = None,
    training: TrainingMode = TrainingMode.EVAL,
    keep_initializers_as_inputs: bool = False,
    do_constant_folding: bool = True,
    verify: bool = False,
    **ignored: Any,
) -> ONNXProgram | None:
    """Writes a module as an ONNX model.

    The module runs with the example's arguments, as `torch.export.export` has it, in evaluation mode unless `training`
    says otherwise, and every operation becomes nodes. Parameters and buffers are initializers under their names.

    Args:
        model: a Module, a traced one, a function, or what `torch.export.export` gave.
        args: the example's arguments, a tuple or the only one; a dictionary at its end holds arguments by name.
        f: a path, or a file; without one the `ONNXProgram` is only returned.
        kwargs: arguments by name.
        export_params: False leaves out the values of parameters and buffers: they become inputs.
        input_names, output_names: names for the tensors among arguments and results, in order.
        opset_version: 17 to 23, by default 18.
        dynamic_axes: sizes that may vary, by the names of inputs: `{"x": {0: "batch"}}` or `{"x": [0]}`.
        dynamic_shapes: the same, as `torch.export.export` takes it.
        dynamo: with False nothing is returned, as in PyTorch; the way is the same.
        external_data: whether weights go into a file beside; by default from 1.5 GB on.
        training: `TrainingMode.EVAL`, `PRESERVE` or `TRAINING`.
        keep_initializers_as_inputs: lists initializers among the inputs too.
        verify: run the model in onnxruntime and compare; OnnxExporterError where it differs.
        verbose, do_constant_folding: accepted, as are PyTorch's other options.

    Raises:
        UnsupportedOperatorError: for an operation that has no nodes; the message names the line.
        OnnxExporterError: without the package onnx (`pip install 'flambeau[onnx]'`), or for a model that no program
            can follow. Both are RuntimeErrors.
        ValueError: for an opset that is not there.
    """
    onnx_package()
    opset = DEFAULT_OPSET if opset_version is None else opset_version
    if opset not in OPSETS:
        raise ValueError(f"opset_version must be from {OPSETS[0]} to {OPSETS[-1]}, got {opset_version}")
    passed, named = _arguments(args, kwargs)
    global _exporting
    with _in_mode(model, training):
        _exporting = True
        try:
            exported = _exported(model, passed, named, input_names, dynamic_axes, dynamic_shapes)
            writer = _Writer(exported, opset, input_names, output_names, export_params, keep_initializers_as_inputs)
            program = ONNXProgram(writer.model(), exported)
            if verify:
                _verify(program, model, passed, named)
        except (Different, NotFunctional) as error:
            raise OnnxExporterError(str(error)) from error
        finally:
            _exporting = False
    if f is not None:
        program.save(f, external_data=external_data)
    return program if dynamo else None


def _arguments(args: Any, kwargs: Mapping[str, Any] | None) -> tuple[tuple, dict[str, Any]]:
    passed = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    named = dict(kwargs or {})
    if passed and isinstance(passed[-1], dict) and not kwargs:
        named, passed = dict(passed[-1]), passed[:-1]
    return passed, named


@contextlib.contextmanager
def _in_mode(model: Any, training: TrainingMode) -> Iterator[None]:
    """The module in the mode that is asked for, and afterwards as it was."""
    if not isinstance(model, Module) or training == TrainingMode.PRESERVE:
        yield
        return
    before = [(m, m.training) for m in model.modules()]
    model.train(training == TrainingMode.TRAINING)
    try:
        yield
    finally:
        for m, mode in before:
            m.training = mode


def _exported(model: Any, args: tuple, kwargs: dict[str, Any], names: Any, axes: Any, said: Any) -> ExportedProgram:
    if isinstance(model, ExportedProgram):
        return model
    if axes is not None and said is None:
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if is_tensor(leaf)]
        said = _from_axes(axes, list(names or ()), len(tensors), model, args, kwargs)
    return export_program(model, args, kwargs, dynamic_shapes=said)


def _from_axes(axes: Any, names: list[str], count: int, model: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`dynamic_axes` as shapes per tensor. Sizes without a name are one where the example has them equal."""
    from flambeau.export.exported import _bound, _PerTensor

    if not names:
        bound = _bound(model.forward if isinstance(model, Module) else model, args, kwargs)
        names = [name for name, value in bound.items() for leaf in tree_flatten(value)[0] if is_tensor(leaf)]
    found = []
    for name in names[:count]:
        said = axes.get(name, {})
        if isinstance(said, Mapping):
            found.append({int(d): _identifier(n) for d, n in said.items()})
        else:
            found.append({int(d): Dim.DYNAMIC for d in said})
    return _PerTensor([*found, *[None] * (count - len(found))])


def _identifier(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name) or Dim.DYNAMIC


def _verify(program: ONNXProgram, model: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    wanted = [t for t in tree_flatten(model(*args, **kwargs))[0] if is_tensor(t)]
    for i, (a, b) in enumerate(zip(program(*args, **kwargs), wanted, strict=True)):
        x, y = np.asarray(host(a._a), np.float64), np.asarray(host(b._a), np.float64)
        if not np.allclose(x, y, 1e-3, 1e-4, equal_nan=True):
            apart = float(np.nanmax(np.abs(x - y)))
            raise OnnxExporterError(f"output {i} of the ONNX model differs from the module's by up to {apart}")


class _Writer:
    """Writes one program as a model."""

    def __init__(
        self, exported: ExportedProgram, opset: int, inputs: Any, outputs: Any, with_values: bool, as_inputs: bool
    ) -> None:
        self.exported = exported
        self.program: Program = functional(exported.program)
        self.g = Graph(opset)
        self.input_names, self.output_names = list(inputs or ()), list(outputs or ())
        self.with_values, self.as_inputs = with_values, as_inputs
        self.names: dict[int, str] = {}

    def model(self) -> Any:
        """The `onnx.ModelProto`."""
        helper = self.g.onnx.helper
        inputs = self._inputs()
        self._state_and_constants()
        for call in self.program.calls:
            self._emit(call)
        outputs = self._outputs()
        initializers = [self._initializer(name, array) for name, array in self.g.initializers.items()]
        if not self.with_values:
            state = set(self.program.state)
            inputs += [self._info(n, self.program.values[k]) for n, k in self.program.state.items()]
            initializers = [i for i in initializers if i.name not in state]
        elif self.as_inputs:
            inputs += [self._info(n, self.program.values[k]) for n, k in self.program.state.items()]
        graph = helper.make_graph(self.g.nodes, "main_graph", inputs, outputs, initializers)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.g.opset)], ir_version=_IR_VERSION,
            producer_name="flambeau", producer_version=__flambeau_version__,
        )  # fmt: skip

    def _initializer(self, name: str, array: np.ndarray) -> Any:
        return self.g.onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)

    def _inputs(self) -> list[Any]:
        infos = []
        for i, number in enumerate(self.program.inputs):
            name = self.input_names[i] if i < len(self.input_names) else f"input_{i}"
            self.names[number] = name
            self.g.taken.add(name)
            for d, size in (self.program.dims[i] if self.program.dims else {}).items():
                self.g.sizes.setdefault(size, (name, d))
            infos.append(self._info(name, self.program.values[number]))
        return infos

    def _state_and_constants(self) -> None:
        for name, number in self.program.state.items():
            self.names[number] = name
            self.g.taken.add(name)
            self.g.initializers[name] = np.asarray(host(self.exported._state[name]._a))
        for number, constant in self.program.constants.items():
            self.names[number] = (
                self._made(constant) if isinstance(constant, Made) else self.g.tensor(np.asarray(host(constant._a)))
            )

    def _made(self, made: Made) -> str:
        """A constant whose size follows the inputs'."""
        g = self.g
        if made.kind == "full":
            return g.node("Expand", g.number(made.numbers[0], made.dtype), g.ints(made.shape))
        if made.kind == "arange":
            start, step = made.numbers
            count = g.node("Reshape", g.ints([made.shape[0]]), g.ints([]))
            every = g.node("Range", g.number(0, np.int64), count, g.number(1, np.int64))
            wide = g.cast(every, np.int64, made.dtype)
            scaled = wide if step == 1 else g.node("Mul", wide, g.number(step, made.dtype))
            return scaled if start == 0 else g.node("Add", scaled, g.number(start, made.dtype))
        zeros = g.node("Expand", g.number(0, made.dtype), g.ints(made.shape))
        return g.node("EyeLike", zeros)

    def _emit(self, call: Any) -> None:
        emitter = EMITTERS.get(call.op)
        self.g.where = call.where
        if emitter is None:
            if call.op in WHOLE:
                raise self.g.unsupported(f"{call.op.removeprefix('whole.')}, which draws numbers at random,")
            raise self.g.unsupported(f"the operation {call.op}")
        args = replaced(call.args, lambda r: self._operand(r.number))
        self.g.results = tuple(self._operand(n, "") for n in call.results)
        try:
            found = emitter(self.g, *args)
        except (TypeError, ValueError) as error:
            raise self.g.unsupported(f"{call.op} with these arguments ({error})") from error
        for number, name in zip(call.results, found if isinstance(found, (tuple, list)) else (found,)):
            if name is not None:
                self.names[number] = name.name if isinstance(name, Operand) else name

    def _operand(self, number: int, name: str | None = None) -> Operand:
        value = self.program.values[number]
        if name is None and number not in self.names:
            raise self.g.unsupported("a result that ONNX's node does not give")
        return Operand(self.names[number] if name is None else name, value.shape, value.dtype)

    def _outputs(self) -> list[Any]:
        infos = []
        found = [r for r in self.program.outputs if isinstance(r, Ref)]
        for i, ref in enumerate(refs_in(found)):
            wanted = self.output_names[i] if i < len(self.output_names) else f"output_{i}"
            source = self._operand(ref.number).name
            self.g.nodes.append(self.g.onnx.helper.make_node("Identity", [source], [wanted]))
            infos.append(self._info(wanted, self.program.values[ref.number]))
        return infos

    def _info(self, name: str, value: Any) -> Any:
        shape = [
            n if n.__class__ is int and n >= 0 else str(n) if isinstance(n, Extent) else None for n in value.shape
        ]  # fmt: skip
        return self.g.onnx.helper.make_tensor_value_info(name, self.g.kind(value.dtype), shape)
