"""Python code for a graph."""

from __future__ import annotations

import dataclasses
import enum
import math
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau.devices import device as device_class
from flambeau.dtypes import dtype as dtype_class
from flambeau.fx import naming
from flambeau.fx.node import Node, map_arg, type_name

if TYPE_CHECKING:
    from flambeau.fx.graph import Graph

__all__ = ["CodeGen", "PythonCode"]

MAGIC = {
    "eq": "{} == {}", "ne": "{} != {}", "lt": "{} < {}", "gt": "{} > {}", "le": "{} <= {}", "ge": "{} >= {}",
    "pos": "+{}", "neg": "-{}", "invert": "~{}", "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}",
    "matmul": "{} @ {}", "floordiv": "{} // {}", "truediv": "{} / {}", "mod": "{} % {}", "pow": "{} ** {}",
    "lshift": "{} << {}", "rshift": "{} >> {}", "and_": "{} & {}", "or_": "{} | {}", "xor": "{} ^ {}",
    "getitem": "{}[{}]",
}  # fmt: skip
IN_PLACE = {
    "iadd": "{} += {}", "iand": "{} &= {}", "ifloordiv": "{} //= {}", "ilshift": "{} <<= {}", "imod": "{} %= {}",
    "imul": "{} *= {}", "imatmul": "{} @= {}", "ior": "{} |= {}", "ipow": "{} **= {}", "irshift": "{} >>= {}",
    "isub": "{} -= {}", "itruediv": "{} /= {}", "ixor": "{} ^= {}", "setitem": "{}[{}] = {}",
}  # fmt: skip


@dataclasses.dataclass
class PythonCode:
    """The source of a graph, and the objects that its global names stand for."""

    src: str
    globals: dict[str, Any]
    _lineno_map: dict[int, int | None] | None = None


def format_target(base: str, target: str) -> str:
    """An attribute by its dotted path as an expression; parts that are no identifiers go through `getattr`."""
    result = base
    for part in target.split("."):
        result = f"{result}.{part}" if part.isidentifier() else f'getattr({result}, "{part}")'
    return result


class CodeGen:
    """Writes a graph as a function. Subclasses change how inputs are taken and results given."""

    def __init__(self) -> None:
        self._body_transformer: Callable[[list[str]], list[str]] | None = None
        self._func_name = "forward"

    def gen_fn_def(self, free_vars: list[str], maybe_return_annotation: str) -> str:
        """The line that defines the function; its first parameter is self."""
        if not free_vars or free_vars[0] != "self":
            free_vars.insert(0, "self")
        return f"def {self._func_name}({', '.join(free_vars)}){maybe_return_annotation}:"

    def generate_output(self, output_args: Any) -> str:
        """The line that gives the result."""
        return f"return {output_args!r}"

    def process_inputs(self, *args: Any) -> Any:
        """The values of the graph's inputs from the arguments of the function."""
        return args

    def process_outputs(self, outputs: Any) -> Any:
        """What the function returns for the graph's output."""
        return outputs

    def additional_globals(self) -> list[tuple[str, Any]]:
        """Names that the code needs besides those of the graph."""
        return []

    def _gen_python_code(self, nodes: Any, root_module: str, namespace: naming.Namespace) -> PythonCode:
        return _Writer(self, list(nodes), root_module, namespace).write()


class _Writer:
    """One pass over the nodes."""

    def __init__(self, codegen: CodeGen, nodes: list[Node], root: str, namespace: naming.Namespace) -> None:
        self.codegen, self.nodes, self.root, self.namespace = codegen, nodes, root, namespace
        self.globals: dict[str, Any] = {}
        self.body: list[str] = []
        self.parameters: list[str] = []
        self.returns = ""
        self.last_uses = self._find_last_uses()
        for name, value in codegen.additional_globals():
            self.add_global(name, value)

    def _find_last_uses(self) -> dict[Node, list[Node]]:
        """Which values nobody needs after a node."""
        seen: set[Node] = set()
        last: dict[Node, list[Node]] = {}
        for user in reversed(self.nodes):

            def note(node: Node, user: Node = user) -> Node:
                if node not in seen:
                    seen.add(node)
                    last.setdefault(user, []).append(node)
                return node

            map_arg(user.args, note)
            map_arg(user.kwargs, note)
        return last

    def add_global(self, hint: str, value: Any) -> str:
        """The name by which the code knows `value`; `hint` is its qualified name."""
        if naming.is_ours(value) and value is not device_class:
            self.globals.setdefault("torch", _torch())
            return hint if hint.startswith("torch.") else naming.qualified_name(value)
        name = self.namespace.create_name(hint.replace(".", "_"), value)
        self.globals[name] = value
        return name

    def type_of(self, kind: Any) -> str:
        """A type annotation, with the names it needs."""
        if kind is None or isinstance(kind, str) or kind is type(None):
            return type_name(kind)
        arguments = typing.get_args(kind)
        origin = typing.get_origin(kind)
        if origin is not None and arguments and isinstance(origin, type):
            shown = [self.type_of(a) if a is not ... else "..." for a in arguments]
            base = getattr(kind, "_name", None)
            home = self.add_global(f"typing_{base}", getattr(typing, base)) if base else self.type_of(origin)
            return f"{home}[{', '.join(shown)}]"
        if isinstance(kind, type):
            name = type_name(kind)
            if kind.__module__ == "builtins":
                return name
            return self.add_global(name, kind)
        return self.add_global("type_" + getattr(kind, "__name__", "annotation"), kind)

    def value(self, a: Any) -> str:
        """An argument as an expression."""
        if isinstance(a, Node):
            return repr(a)
        if isinstance(a, tuple):
            if hasattr(a, "_fields"):
                return f"{self.add_global(naming.qualified_name(type(a)), type(a))}({', '.join(map(self.value, a))})"
            inner = ", ".join(map(self.value, a))
            return f"({inner},)" if len(a) == 1 else f"({inner})"
        if isinstance(a, list):
            return f"[{', '.join(map(self.value, a))}]"
        if isinstance(a, dict):
            return "{" + ", ".join(f"{self.value(k)}: {self.value(v)}" for k, v in a.items()) + "}"
        if isinstance(a, slice):
            return f"slice({self.value(a.start)}, {self.value(a.stop)}, {self.value(a.step)})"
        if isinstance(a, enum.Enum):
            return f"{self.add_global(naming.qualified_name(type(a)), type(a))}.{a.name}"
        if isinstance(a, dtype_class):
            self.globals.setdefault("torch", _torch())
            return repr(a)
        if isinstance(a, device_class):
            return f"{self.add_global('device', device_class)}(type={a.type!r}" + (
                ")" if a.index is None else f", index={a.index})"
            )
        if isinstance(a, float) and not math.isfinite(a):
            self.globals.update(inf=math.inf, nan=math.nan)
            return repr(a)
        if a is type(None):
            return self.add_global("NoneType", a)
        if isinstance(a, type) or (callable(a) and hasattr(a, "__name__")):
            return self.add_global(naming.qualified_name(a), a)
        return repr(a)

    def arguments(self, args: tuple, kwargs: dict) -> str:
        """Arguments between the parentheses of a call."""
        return ", ".join([*map(self.value, args), *(f"{k} = {self.value(v)}" for k, v in kwargs.items())])

    def call(self, node: Node) -> str:
        """The expression that computes a call_function node."""
        target: Any = node.target
        name = getattr(target, "__name__", type(target).__name__)
        if getattr(target, "__module__", None) == "_operator" and not node.kwargs:
            if name in MAGIC:
                return MAGIC[name].format(*map(self.value, node.args))
        if target is getattr and isinstance(node.args[1], str) and node.args[1].isidentifier() and len(node.args) == 2:
            return format_target(self.value(node.args[0]), node.args[1])
        where = naming.name_in_call(target, node.kwargs)
        hint = where.removeprefix("builtins.")
        return f"{self.add_global(hint, target)}({self.arguments(node.args, node.kwargs)})"

    def emit(self, node: Node) -> None:
        """Adds the lines of one node."""
        annotation = f" : {self.type_of(node.type)}" if node.type is not None else ""
        if node.op == "placeholder":
            self._placeholder(node, annotation)
            return
        if node.op == "output":
            if node.type is not None:
                self.returns = f" -> {self.type_of(node.type)}"
            result = node.args[0]
            text = self.codegen.generate_output(_Verbatim.of(result, self.value))
            self.body.append(text)
            return
        left = f"{node!r}{annotation}"
        if node.op == "get_attr":
            self.body.append(f"{left} = {format_target(self.root, str(node.target))}")
        elif node.op == "call_module":
            inside = self.arguments(node.args, node.kwargs)
            self.body.append(f"{left} = {format_target(self.root, str(node.target))}({inside})")
        elif node.op == "call_method":
            inside = self.arguments(node.args[1:], node.kwargs)
            self.body.append(f"{left} = {format_target(self.value(node.args[0]), str(node.target))}({inside})")
        elif self._in_place(node):
            target: Any = node.target
            text = IN_PLACE[target.__name__].format(*map(self.value, node.args))
            self.body.append(text if target.__name__ == "setitem" else f"{text};  {left} = {self.value(node.args[0])}")
        else:
            self.body.append(f"{left} = {self.call(node)}")

    @staticmethod
    def _in_place(node: Node) -> bool:
        target: Any = node.target
        known = getattr(target, "__name__", "") in IN_PLACE and getattr(target, "__module__", "") == "_operator"
        return known and not node.kwargs and (target.__name__ != "setitem" or not node.users)

    def _placeholder(self, node: Node, annotation: str) -> None:
        default = f" = {self.value(node.args[0])}" if node.args else ""
        self.parameters.append(f"{node.target}{annotation}{default}")
        raw = str(node.target).replace("*", "")
        if raw != repr(node):
            self.body.append(f"{node!r} = {raw}")

    def write(self) -> PythonCode:
        """The whole source."""
        lines: dict[int, int] = {}
        for index, node in enumerate(self.nodes):
            at = len(self.body)
            self.emit(node)
            lines.update((line, index) for line in range(at, len(self.body)))
            if node.op in ("placeholder", "output"):
                continue
            gone = [*self.last_uses.get(node, [])]
            if not node.users and not (self._in_place(node) and node.target.__name__ == "setitem"):  # type: ignore[union-attr]
                gone.append(node)
            if gone:
                self.body[-1] += ";  " + " = ".join([*map(repr, gone), "None"])
        body = self.body or ["pass"]
        if self.codegen._body_transformer is not None:
            body = self.codegen._body_transformer([line + "\n" for line in body])
        head = self.codegen.gen_fn_def(self.parameters, self.returns)
        text = "\n".join(line for piece in body for line in piece.rstrip("\n").split("\n"))
        start = head.count("\n") + 5
        source = f"\n\n\n{head}\n" + "\n".join("    " + line for line in text.split("\n")) + "\n    "
        return PythonCode(source, self.globals, {line + start: node for line, node in lines.items()})


class _Verbatim:
    """Shows as a given text: what a code generator is handed for the result."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    @classmethod
    def of(cls, result: Any, show: Callable[[Any], str]) -> Any:
        if isinstance(result, (list, tuple)) and not hasattr(result, "_fields"):
            return type(result)(cls.of(r, show) for r in result)
        return cls(show(result))


def _torch() -> Any:
    import importlib

    return importlib.import_module(naming.ROOT)


def python_code(graph: Graph, root_module: str, namespace: naming.Namespace) -> PythonCode:
    """The graph's code with the names of `namespace`."""
    return graph._codegen._gen_python_code(graph.nodes, root_module, namespace)
