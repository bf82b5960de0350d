"""`torch.jit.trace`, `save` and `load`: recorded programs behind PyTorch's names."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from flambeau.export import files
from flambeau.export.modules import Places, plant, run_program
from flambeau.export.program import Program, is_tensor
from flambeau.export.recording import inputs_in, is_recording, record, state_of
from flambeau.export.sizes import Different, general_program, merged, recorded_at, same_calls, unchanged
from flambeau.jit.modules import RecursiveScriptModule, ScriptModule, TopLevelTracedModule
from flambeau.nn.modules.module import Module
from flambeau.pytree import tree_flatten

__all__ = ["ScriptFunction", "TracerWarning", "is_tracing", "load", "save", "trace", "trace_module"]


class TracerWarning(Warning):
    """What was traced hangs on values: for other inputs the trace may be wrong."""


class Trace:
    """The programs of one function: as it ran, and for other sizes once a call has them."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict[str, Any], owner: Any, check: bool) -> None:
        self.function: Callable | None = function
        self.owner = owner
        self.args, self.kwargs = args, kwargs
        self.modes = [(m, m.training) for m in owner.modules()] if isinstance(owner, Module) else []
        with unchanged(owner):
            self.program = record(function, args, kwargs, owner)[0]
        self.general: Program | None = None
        self.dims: list[dict[int, str]] = [{} for _ in self.program.inputs]
        if check:
            self._check()

    def _check(self) -> None:
        """Warns where other values would have given another program."""
        try:
            other = recorded_at(self.function, self.args, self.kwargs, self.dims, {}, self.owner)  # type: ignore[arg-type]
            merged([self.program, other], [{}, {}], self.dims)
        except Different as error:
            warnings.warn(f"trace(): {error}. The trace keeps what it saw", TracerWarning, stacklevel=4)
        except Exception:
            return  # the function does not take such values

    def run(self, args: tuple, kwargs: dict[str, Any], state: Callable[[str], Any]) -> Any:
        """What the program gives. RuntimeError for arguments that it can't take."""
        program = self.program if self.general is None else self.general
        if self.function is not None and not self._fits(program, args, kwargs):
            program = self._widened(args, kwargs)
        return run_program(program, args, kwargs, state)

    def _fits(self, program: Program, args: tuple, kwargs: dict[str, Any]) -> bool:
        try:
            program.sizes_of(inputs_in(program, args, kwargs))
        except RuntimeError:
            return False
        return True

    def _widened(self, args: tuple, kwargs: dict[str, Any]) -> Program:
        """A program for the example's sizes and those of a call: what changed together is one size."""
        tensors = inputs_in(self.program, args, kwargs)
        names: dict[tuple, str] = {}
        dims: list[dict[int, str]] = []
        for number, t, known in zip(self.program.inputs, tensors, self.dims, strict=True):
            shape = self.program.values[number].shape
            changed = dict(known)
            for d, (old, new) in enumerate(zip(shape, t.shape, strict=False)):
                if old != new or d in known:
                    changed[d] = names.setdefault((old, new, known.get(d) if old == new else None), f"s{len(names)}")
            dims.append(changed)
        if all(len(t.shape) == len(self.program.values[n].shape) for n, t in zip(self.program.inputs, tensors)):
            try:
                self.general = self._general(dims)
            except Exception as error:
                had = [list(self.program.values[n].shape) for n in self.program.inputs]
                raise RuntimeError(
                    f"the trace was made for inputs of {had} and can't be taken to {[list(t.shape) for t in tensors]}: "
                    f"{error}"
                ) from error
            self.dims = dims
            return self.general
        return self.program

    def _general(self, dims: list[dict[int, str]]) -> Program:
        now = [(m, m.training) for m, _ in self.modes]
        try:
            for m, mode in self.modes:  # as when it was traced
                m.training = mode
            return general_program(self.function, self.args, self.kwargs, dims, None, self.owner)  # type: ignore[arg-type]
        finally:
            for m, mode in now:
                m.training = mode

    def widest(self) -> Program:
        """The program for as many sizes as can be found out by trying."""
        if self.function is None:
            return self.program if self.general is None else self.general
        leaves = [leaf for leaf in tree_flatten((self.args, self.kwargs))[0] if is_tensor(leaf)]
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for i, t in enumerate(leaves):
            for d, n in enumerate(t.shape):
                groups.setdefault((d, n), []).append((i, d))
        found = [dict(d) for d in self.dims]
        for places in groups.values():
            wider = [dict(d) for d in found]
            for i, d in places:
                wider[i].setdefault(d, f"s{places[0][0]}_{places[0][1]}")
            if wider != found and self._same_at(wider):
                found = wider
        while any(found):
            try:
                return self._general(found)
            except Exception:
                last = [n for named in found for n in named.values()][-1]
                found = [{d: n for d, n in named.items() if n != last} for named in found]
        return self.program

    def _same_at(self, dims: list[dict[int, str]]) -> bool:
        """Whether the function does the same with each named size one or two away from the example's."""
        tensors = [leaf for leaf in tree_flatten((self.args, self.kwargs))[0] if is_tensor(leaf)]
        sizes = {n: tensors[i].shape[d] for i, named in enumerate(dims) for d, n in named.items()}
        other = {n: size - 1 if size > 3 else size + 1 for n, size in sizes.items()}
        try:
            program = recorded_at(self.function, self.args, self.kwargs, dims, other, self.owner)  # type: ignore[arg-type]
            same_calls(self.program, program)
        except Exception:
            return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "program": self.program if self.general is None else self.general, "function": None,
                "owner": None, "modes": [], "args": (), "kwargs": {}}  # fmt: skip

    def __deepcopy__(self, memo: dict) -> Trace:
        other = object.__new__(Trace)
        other.__dict__.update(self.__getstate__())
        return other


class ScriptFunction:
    """A traced function: it runs its program."""

    def __init__(self, traced: Trace, name: str) -> None:
        self._trace = traced
        self.__name__ = self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._trace.run(args, kwargs, _no_state)

    @property
    def graph(self) -> Program:
        """The program; `print` shows it."""
        return self._trace.program

    @property
    def code(self) -> str:
        """The program as text."""
        return str(self.graph)

    def save(self, f: Any, _extra_files: Any = None, **kwargs: Any) -> None:
        """`torch.jit.save` of this function."""
        save(self, f, _extra_files)


def _no_state(name: str) -> Any:
    raise RuntimeError(f"a function has no parameter {name!r}")


class TracedModule(TopLevelTracedModule):
    """A traced module: parameters and buffers are the original's, a call runs the program."""

    def __init__(self, original: Module, traces: dict[str, Trace]) -> None:
        super().__init__(original)
        self.__dict__["_traces"] = traces

    def _run(self, method: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        places = self.__dict__.get("_places")
        if places is None:
            places = self.__dict__["_places"] = Places(self._original)
        return self._traces[method].run(args, kwargs, places)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program."""
        if "forward" not in self._traces:
            raise NotImplementedError(f"only the methods {sorted(self._traces)} of this module were traced")
        return self._run("forward", args, kwargs)

    @property
    def graph(self) -> Program:
        """The program of `forward`."""
        return self._traces["forward"].program

    inlined_graph = graph

    @property
    def code(self) -> str:
        """The program as text."""
        return str(self.graph)

    def __getattr__(self, name: str) -> Any:
        if name != "_traces" and name in self.__dict__.get("_traces", ()):
            return _Method(self, name)
        return super().__getattr__(name)


class _Method:
    """A traced method of a module."""

    def __init__(self, module: Any, name: str) -> None:
        self._module = module
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._module._run(self.name, args, kwargs)


class LoadedModule(ScriptModule):
    """What `torch.jit.load` gives: parameters and buffers under their names, and programs for the traced methods."""

    def __init__(self, programs: dict[str, Program], contents: dict[str, Any]) -> None:
        super().__init__()
        self.__dict__["_programs"] = programs
        names = contents["names"]
        plant(self, contents["state"], LoadedModule._part)
        for path, name in names.items():
            module: Any = self
            for step in filter(None, path.split(".")):
                if step not in module._modules:
                    module.add_module(step, LoadedModule._part())
                module = module._modules[step]
            module.__dict__["original_name"] = name
            module.training = contents["training"].get(path, True)

    @staticmethod
    def _part() -> Any:
        part = object.__new__(LoadedModule)
        ScriptModule.__init__(part)
        part.__dict__["_programs"] = {}
        return part

    def _run(self, method: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        places = self.__dict__.get("_places")
        if places is None:
            places = self.__dict__["_places"] = Places(self)
        return run_program(self._programs[method], args, kwargs, places)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program."""
        if "forward" not in self._programs:
            raise NotImplementedError(
                "this part of a loaded module has no program of its own: only the whole was traced"
            )
        return self._run("forward", args, kwargs)

    @property
    def graph(self) -> Program:
        """The program of `forward`."""
        return self._programs["forward"]

    @property
    def code(self) -> str:
        """The program as text."""
        return str(self.graph)

    def save(self, f: Any, **kwargs: Any) -> None:
        """`torch.jit.save` of this module."""
        save(self, f)

    def extra_repr(self) -> str:
        """The name of the original's class."""
        return f"original_name={self.__dict__.get('original_name', 'Module')}"

    def __getattr__(self, name: str) -> Any:
        if name != "_programs" and name in self.__dict__.get("_programs", ()):
            return _Method(self, name)
        return super().__getattr__(name)


def is_tracing() -> bool:
    """Whether a trace is being made right now."""
    return is_recording()


def _example(inputs: Any) -> tuple:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def trace(
    func: Any = None,
    example_inputs: Any = None,
    optimize: Any = None,
    check_trace: bool = True,
    check_inputs: Any = None,
    check_tolerance: float = 1e-5,
    strict: bool = True,
    _force_outplace: bool = False,
    _module_class: Any = None,
    _compilation_unit: Any = None,
    example_kwarg_inputs: Mapping[str, Any] | None = None,
    _store_inputs: bool = True,
) -> Any:
    """A function or module as the program of one call: what Python decided, and read from tensors, stays so.

    A call with inputs of other sizes runs the function a few times in those sizes, which must do the same things, and
    from then on one program serves all of them. Parameters and buffers of a module remain its own.

    Args:
        func: a function or Module; what is traced already is returned.
        example_inputs: a tuple of arguments, or the only one.
        example_kwarg_inputs: arguments by name.
        check_trace: run it once more with other values, and warn (`TracerWarning`) if that does something else.
        optimize, check_inputs, check_tolerance, strict: accepted.

    RuntimeError without a function or without an example.

    >>> import flambeau as torch
    >>> traced = torch.jit.trace(lambda x: x * 2 if x.sum() > 0 else x, torch.ones(2), check_trace=False)
    >>> traced(-torch.ones(2))
    tensor([-2., -2.])
    """
    if func is None:
        raise RuntimeError("trace: expected a function or a Module, got None")
    if isinstance(func, (TracedModule, LoadedModule, ScriptFunction)):
        return func
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("trace: an example is needed: example_inputs, a tuple of arguments")
    args = () if example_inputs is None else _example(example_inputs)
    kwargs = dict(example_kwarg_inputs or {})
    if isinstance(func, Module):
        original = func._original if isinstance(func, RecursiveScriptModule) else func
        return TracedModule(original, {"forward": Trace(original, args, kwargs, original, check_trace)})
    owner = getattr(func, "__self__", None)
    if isinstance(owner, Module):  # a bound method
        return _Method(
            TracedModule(owner, {func.__name__: Trace(func, args, kwargs, owner, check_trace)}), func.__name__
        )
    return ScriptFunction(Trace(func, args, kwargs, None, check_trace), getattr(func, "__name__", "function"))


def trace_module(mod: Module, inputs: dict[str, Any], optimize: Any = None, check_trace: bool = True, **_: Any) -> Any:
    """A module with the programs of several methods: `inputs` has an example's arguments for each of them.

    AttributeError if it lacks one of the methods.
    """
    traces = {}
    for name, example in inputs.items():
        function = mod if name == "forward" else getattr(mod, name)
        getattr(mod, name)
        traces[name] = Trace(function, _example(example), {}, mod, check_trace)
    return TracedModule(mod, traces)


def save(m: Any, f: Any, _extra_files: Mapping[str, Any] | None = None) -> None:
    """Writes a traced module or function to a file: its programs and tensors, no code. `load` needs no class.

    A scripted module is written as the program of its first call, so there must have been one.
    RuntimeError for anything else.
    """
    if isinstance(m, _Method):
        m = m._module
    programs, state, names, training = _saved(m)
    extra = {k: v.decode("latin1") if isinstance(v, bytes) else v for k, v in (_extra_files or {}).items()}
    contents = {"state": state, "names": names, "training": training, "extra": extra}
    files.write(f, "jit", programs, contents)


def _saved(m: Any) -> tuple[dict[str, Program], dict[str, Any], dict[str, str], dict[str, bool]]:
    """Programs, state, names of classes, training modes."""
    if isinstance(m, ScriptFunction):
        return {"forward": m._trace.widest()}, {}, {"": m.name}, {}
    if isinstance(m, LoadedModule):
        programs = m._programs
        names = {p: part.__dict__.get("original_name", "Module") for p, part in m.named_modules()}
        return programs, state_of(m), names, {p: part.training for p, part in m.named_modules()}
    if not isinstance(m, RecursiveScriptModule):
        raise RuntimeError(
            f"save(): expected what torch.jit.trace or torch.jit.script gives, got {type(m).__name__}; a module's "
            "weights are saved by torch.save(model.state_dict(), path)"
        )
    original = m._original
    if isinstance(m, TracedModule):
        programs = {name: t.widest() for name, t in m._traces.items()}
    else:
        example = m.__dict__.get("_example")
        if example is None:
            raise RuntimeError(
                "save(): a scripted module is saved as the program of a call, and it was not called yet: call it once "
                "with an example, or use torch.jit.trace(model, example)"
            )
        programs = {"forward": Trace(original, example[0], example[1], original, False).widest()}
    names = {p: type(part).__name__ for p, part in original.named_modules()}
    return programs, state_of(original), names, {p: part.training for p, part in original.named_modules()}


def load(
    f: Any, map_location: Any = None, _extra_files: dict[str, Any] | None = None, _restore_shapes: Any = False
) -> Any:
    """What `save` has written, as a `ScriptModule`; `_extra_files` is filled by its keys.

    TorchScript files that PyTorch wrote hold programs in a language of PyTorch's: RuntimeError.
    """
    if _is_torchscript(f):
        raise RuntimeError(
            "load(): this is a TorchScript archive of PyTorch's, whose programs flambeau can't read. Load it in "
            "PyTorch, save its state_dict() with torch.save, and load that into the module here"
        )
    programs, contents = files.read(f, "jit", map_location)
    for name in _extra_files or {}:
        if name in contents["extra"]:
            _extra_files[name] = contents["extra"][name]  # type: ignore[index]
    return LoadedModule(programs, contents)


def _is_torchscript(f: Any) -> bool:
    """Whether a path or file is one of PyTorch's archives with code in it."""
    seek = getattr(f, "seek", None)
    start = f.tell() if seek is not None else 0
    try:
        if seek is None and not os.path.isfile(f):
            return False
        with zipfile.ZipFile(f) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, TypeError):
        return False
    finally:
        if seek is not None:
            seek(start)
    return any("/code/" in n or n.endswith("/constants.pkl") for n in names)
