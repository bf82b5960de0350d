"""A module made of a graph: its `forward` is Python code written from the nodes."""

from __future__ import annotations

import copy
import itertools
import linecache
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from flambeau.fx import naming
from flambeau.fx.graph import Graph, PythonCode, _PyTreeCodeGen
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor

__all__ = ["GraphModule", "reduce_graph_module"]

_numbers = itertools.count()


def _compiled(code: PythonCode) -> Callable:
    """The function that the code defines; tracebacks show its lines."""
    filename = f"<eval_with_key>.{next(_numbers)}"
    linecache.cache[filename] = (len(code.src), None, code.src.splitlines(True), filename)
    names = dict(code.globals)
    names.setdefault("torch", _torch())
    exec(compile(code.src, filename, "exec"), names)
    made = (v for v in reversed(list(names.values())) if isinstance(v, FunctionType))
    return next(v for v in made if v.__code__.co_filename == filename)


def _torch() -> Any:
    import importlib

    return importlib.import_module(naming.ROOT)


def _copy_attr(source: Module, target: Module, path: str) -> None:
    """Makes the attribute of that dotted name of one module one of the other."""
    *prefix, last = path.split(".")
    for part in prefix:
        below = getattr(source, part)
        mine = getattr(target, part, None)
        if below is mine:
            return
        if mine is None:
            mine = Module()
            mine.training = getattr(below, "training", True)
            setattr(target, part, mine)
        source, target = below, mine
    value = getattr(source, last)
    if isinstance(value, Tensor) and not isinstance(value, _parameter()) and last in getattr(source, "_buffers", {}):
        target.register_buffer(last, value, persistent=last not in source._non_persistent_buffers_set)
    else:
        _set(target, last, value)


def _set(module: Module, name: str, value: Any) -> None:
    if isinstance(value, Tensor) and not isinstance(value, _parameter()):
        module.register_buffer(name, value)
    else:
        setattr(module, name, value)


def _parameter() -> type:
    from flambeau.nn.parameter import Parameter

    return Parameter


def _assign_attr(value: Any, target: Module, path: str) -> None:
    *prefix, last = path.split(".")
    for part in prefix:
        below = getattr(target, part, None)
        if below is None:
            below = Module()
            setattr(target, part, below)
        target = below
    _set(target, last, value)


class GraphModule(Module):
    """A module whose forward is generated from `graph`.

    Args:
        root: where the attributes and submodules that the graph names are taken from: a module, or a dictionary by
            dotted names.
        graph: the program. After changing it, call `recompile()`.
        class_name: what the module's class is called in what it prints.

    Raises:
        RuntimeError: the graph names something that `root` does not have.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        for base in cls.__mro__:
            if base.__name__ == "GraphModuleImpl":
                break
        else:
            cls = type("GraphModuleImpl", (cls,), {"__module__": cls.__module__})
        return super().__new__(cls)

    def __init__(self, root: Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule") -> None:
        super().__init__()
        type(self).__name__ = class_name
        wanted = [str(node.target) for node in graph.nodes if node.op in ("get_attr", "call_module")]
        if isinstance(root, Module):
            if hasattr(root, "training"):
                self.training = root.training
            for path in wanted:
                _copy_attr(root, self, path)
        elif isinstance(root, dict):
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module") and node.target not in root:
                    raise RuntimeError(
                        f"node {node.name} names '{node.target}', which is not among the attributes given: "
                        f"{sorted(root)}"
                    )
            for path in sorted(dict.fromkeys(wanted), key=lambda t: t.count(".")):
                _assign_attr(root[path], self, path)
        else:
            raise RuntimeError(f"root must be a module or a dictionary, got {type(root).__name__}: {root}")
        self.__dict__["_graph"] = None
        self.__dict__["_tracer_cls"] = None
        self.__dict__["_tracer_extras"] = graph._tracer_extras
        if graph._tracer_cls is not None and "<locals>" not in graph._tracer_cls.__qualname__:
            self.__dict__["_tracer_cls"] = graph._tracer_cls
        self.__dict__["meta"] = {}
        self.__dict__["_create_node_hooks"] = []
        self.graph = graph

    @property
    def graph(self) -> Graph:
        """The program. Assigning another one compiles it."""
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        if not isinstance(g, Graph):
            raise AssertionError(f"graph must be a Graph, got {type(g).__name__}")
        if g.owning_module is not None and g.owning_module is not self:
            g = copy.deepcopy(g)
        self.__dict__["_graph"] = g
        g.owning_module = self
        self.recompile()

    def recompile(self) -> PythonCode:
        """Writes and compiles the code anew; to be called after the graph was changed."""
        codegen = self._graph._codegen
        if isinstance(codegen, _PyTreeCodeGen):
            self.__dict__["_in_spec"] = codegen.pytree_info.in_spec
            self.__dict__["_out_spec"] = codegen.pytree_info.out_spec
        python = self._graph.python_code("self")
        self.__dict__["_code"] = _with_wraps(python)
        self.__dict__["_lineno_map"] = python._lineno_map
        cls: Any = type(self)
        cls.forward = _compiled(python)
        return python

    @property
    def code(self) -> str:
        """The source of forward."""
        if "_code" not in self.__dict__:
            raise RuntimeError("this module has no code yet: call recompile() first")
        return self._code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except Exception as error:
            _show_place(error)
            raise

    # -- submodules

    def add_submodule(self, target: str, m: Module) -> bool:
        """Adds a module under a dotted name, with empty modules above it where needed; False if something that is no
        module stands in the way.
        """
        *prefix, last = target.split(".")
        owner: Module = self
        for part in prefix:
            below = getattr(owner, part, None)
            if below is None:
                below = Module()
                setattr(owner, part, below)
            if not isinstance(below, Module):
                return False
            owner = below
        owner.add_module(last, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Removes the module of that dotted name; False if there is none."""
        *prefix, last = target.split(".")
        owner: Any = self
        for part in prefix:
            owner = getattr(owner, part, None)
            if not isinstance(owner, Module):
                return False
        if not isinstance(getattr(owner, last, None), Module):
            return False
        delattr(owner, last)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Removes the modules that no node names."""
        used: set[str] = set()
        for node in self.graph.nodes:
            if node.op not in ("call_module", "get_attr"):
                continue
            path = str(node.target).split(".")
            used.update(".".join(path[:i]) for i in range(1, len(path) + 1))
            if node.op == "call_module":
                try:
                    inner = self.get_submodule(str(node.target))
                except AttributeError:
                    continue
                used.update(f"{node.target}.{name}" for name, _ in inner.named_modules() if name)
        for name in [name for name, _ in self.named_modules() if name and name not in used]:
            self.delete_submodule(name)

    # -- copies and files

    def __deepcopy__(self, memo: dict) -> GraphModule:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        state = {
            k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k not in ("_graph", "_create_node_hooks")
        }
        root = Module()
        root.__dict__.update(state)
        extra = {k: v for k, v in state.items() if k not in ("_code", "_lineno_map")}
        GraphModule.__init__(made, root, copy.deepcopy(self.graph), type(self).__name__)
        made.__dict__.update({k: v for k, v in extra.items() if k not in ("_modules",)})
        for name, module in extra["_modules"].items():
            made._modules.setdefault(name, module)
        return made

    def __copy__(self) -> GraphModule:
        made = GraphModule(self, self.graph, type(self).__name__)
        made.__dict__["meta"] = self.__dict__.get("meta", {})
        return made

    def __reduce__(self) -> tuple:
        state = self.__dict__.copy()
        for name in ("_graph", "_create_node_hooks"):
            state.pop(name, None)
        python = self.graph.python_code("self")
        imports = "\n".join(_import_lines(python.globals))
        state["_code"] = python.src
        state["_graphmodule_cls_name"] = type(self).__name__
        return reduce_graph_module, (state, imports)

    def to_folder(self, folder: str | os.PathLike, module_name: str = "FxModule") -> None:
        """Writes the module into a folder that can be imported: its code, and its state in files beside it."""
        from flambeau.serialization import save

        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        python = self.graph.python_code("self")
        lines = [*_import_lines(python.globals), "import torch", "from torch.nn import *", "from pathlib import Path"]
        lines += ["",
                 "", f"class {module_name}(torch.nn.Module):", "    def __init__(self):", "        super().__init__()",
                 "        here = Path(__file__).parent"]  # fmt: skip
        for name, child in self._modules.items():
            save(child, home / f"{name}.pt")
            lines.append(f"        self.add_module({name!r}, torch.load(here / '{name}.pt', weights_only=False))")
        for name, buffer in self._buffers.items():
            save(buffer, home / f"{name}.pt")
            lines.append(f"        self.register_buffer({name!r}, torch.load(here / '{name}.pt'))")
        for name, parameter in self._parameters.items():
            save(None if parameter is None else parameter.data, home / f"{name}.pt")
            lines.append(f"        self.{name} = torch.nn.Parameter(torch.load(here / '{name}.pt'))")
        lines += ["", *("    " + line if line else "" for line in python.src.strip().splitlines()), ""]
        (home / "module.py").write_text("\n".join(lines), encoding="utf-8")
        (home / "__init__.py").write_text("from .module import *\n", encoding="utf-8")

    # -- showing

    def print_readable(self, print_output: bool = True, **options: Any) -> str:
        """Prints the code as a class, those of graph modules inside it below; and returns the text."""
        text = self._readable(type(self).__name__)
        if print_output:
            print(text)
        return text

    def _readable(self, name: str) -> str:
        inner = [child._readable(key) for key, child in self.named_children() if isinstance(child, GraphModule)]
        code = "\n".join("    " + line if line.strip() else "" for line in self.code.strip("\n").splitlines())
        below = "".join("\n" + "\n".join("    " + line if line else "" for line in t.splitlines()) for t in inner)
        return f"class {name}(torch.nn.Module):\n{code.rstrip()}\n{below}"

    def __str__(self) -> str:
        shown = super().__repr__()
        return "\n".join([shown, self._code, "# To see more debug info, please use `graph_module.print_readable()`"])

    def _replicate_for_data_parallel(self) -> GraphModule:
        made = self.__copy__()
        made.__dict__["_is_replica"] = True
        return made


def _with_wraps(python: PythonCode) -> str:
    """The code with a line for each function of the program's own that was traced as a whole."""
    from flambeau.fx.patching import wrapped

    names = {name for _, name in wrapped}
    marked = [name for name, value in python.globals.items() if getattr(value, "__name__", None) in names]
    if not marked:
        return python.src
    return "".join(f'\ntorch.fx._symbolic_trace.wrap("{name}")' for name in marked) + "\n" + python.src[2:]


def _import_lines(names: dict[str, Any]) -> list[str]:
    """Imports by which the globals of generated code are found again in another process."""
    lines = []
    for name, value in sorted(names.items()):
        if name == "torch":
            lines.append("import torch")
        elif name in ("inf", "nan"):
            lines.append(f"from math import {name}")
        elif name == "NoneType":
            lines.append("NoneType = type(None)")
        elif name == "device":
            lines.append("from torch import device")
        elif name == "fx_pytree":
            lines.append("from torch.fx import pytrees as fx_pytree")
        elif name == "pytree":
            lines.append("from torch.utils import _pytree as pytree")
        else:
            home, _, own = naming.qualified_name(value).rpartition(".")
            lines.append(f"from {home} import {own} as {name}")
    return lines


def _show_place(error: Exception) -> None:
    """Says which line of the generated code failed."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename.startswith("<eval_with_key>") and not getattr(error, "_fx_placed", False):
            error.add_note(f"in the code of a GraphModule, line {frame.lineno}: {(frame.line or '').strip()}")
            error._fx_placed = True  # type: ignore[attr-defined]
            return


def reduce_graph_module(body: dict[str, Any], import_block: str) -> GraphModule:
    """A pickled GraphModule again: its code is run on stand-ins, which gives the graph."""
    import flambeau
    from flambeau.fx._symbolic_trace import Tracer

    names: dict[str, Any] = {"torch": flambeau}
    source = body.pop("_code", None) or body.pop("code")
    name = body.pop("_graphmodule_cls_name", "GraphModule")
    for line in import_block.splitlines():
        _import_into(line, names)
    exec(source, names)
    forward = names["forward"]
    shell = type("CodeOnlyModule", (Module,), {"forward": forward})()
    shell.__dict__.update(body)

    class KeepModules(body.get("_tracer_cls") or Tracer):  # type: ignore[misc]
        """Every module stays a call, as the code has it."""

        def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
            return True

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = KeepModules().trace(shell)
    graph._tracer_cls = body.get("_tracer_cls")
    made = GraphModule(shell, graph, name)
    for key, value in body.items():
        if key not in made.__dict__:
            made.__dict__[key] = value
    return made


def _import_into(line: str, names: dict[str, Any]) -> None:
    """Runs a line of an import block; modules of torch are flambeau's, served as torch or not."""
    import importlib

    parts = line.split()
    if not parts or line == "import torch":
        return
    if parts[0] == "from":
        home = parts[1]
        if home == "torch" or home.startswith("torch."):
            home = naming.ROOT + home[len("torch") :]
        names[parts[-1]] = getattr(importlib.import_module(home), parts[3])
    else:
        exec(line, names)
