"""Stand-ins for values while a program is traced: every operation on one becomes a node."""

from __future__ import annotations

import dataclasses
import enum
import operator
import sys
import traceback
from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import Any

from flambeau.devices import device as device_class
from flambeau.dtypes import dtype as dtype_class
from flambeau.fx import naming
from flambeau.fx.codegen import MAGIC
from flambeau.fx.graph import Graph
from flambeau.fx.node import Node, map_aggregate
from flambeau.tensor.size import Size
from flambeau.tensor.tensor import Tensor

__all__ = ["Attribute", "GraphAppendingTracer", "ParameterProxy", "Proxy", "Scope", "ScopeContextManager",
           "TraceError", "TracerBase"]  # fmt: skip

base_types = (str, int, float, bool, complex, dtype_class, Tensor, device_class, slice, range, type(None), EllipsisType)

_ITERATED = (
    "Proxy object cannot be iterated. The number of its elements is not known while a program is traced: a loop over "
    "it, or handing it on as *args or **kwargs, must be written with a length that does not depend on the input, or "
    "stand in a function or module that the tracer takes as a leaf (torch.fx.wrap, Tracer.is_leaf_module)"
)


class TraceError(ValueError):
    """A program did what can't be traced: it looked at a value that is only known when the graph runs."""


class Scope:
    """The module whose forward is being traced, and its class."""

    def __init__(self, module_path: str, module_type: Any) -> None:
        self.module_path = module_path
        self.module_type = module_type


class ScopeContextManager:
    """Inside, `scope` shows what `current_scope` does."""

    def __init__(self, scope: Scope, current_scope: Scope) -> None:
        self._before = (scope.module_path, scope.module_type)
        self._scope = scope
        scope.module_path, scope.module_type = current_scope.module_path, current_scope.module_type

    def __enter__(self) -> Scope:
        return self._scope

    def __exit__(self, *error: object) -> None:
        self._scope.module_path, self._scope.module_type = self._before


class TracerBase:
    """What tracers have in common: making nodes and proxies, and turning arguments into what a node may hold."""

    graph: Graph
    record_stack_traces: bool = False
    check_mutable_operations: bool = False
    trace_asserts: bool = False
    proxy_buffer_attributes: bool = False
    traced_func_name: str = "forward"
    scope: Scope
    module_stack: Any
    node_name_to_scope: dict[str, tuple[str, Any]]

    def create_node(
        self, kind: str, target: Any, args: tuple, kwargs: dict, name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Adds a node to the graph. Tracers may extend it."""
        node = self.graph.create_node(kind, target, args, kwargs, name, type_expr)
        scope = getattr(self, "scope", None)
        if scope is not None:
            self.node_name_to_scope[node.name] = (scope.module_path, scope.module_type)
        stack = getattr(self, "module_stack", None)
        if stack:
            node.meta["nn_module_stack"] = dict(stack)
        return node

    def proxy(self, node: Node) -> Proxy:
        """The stand-in for a node."""
        return Proxy(node, self)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: tuple,
        kwargs: dict,
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Callable[[Node], Any] | None = None,
    ) -> Any:
        """Adds a node with these arguments, which may hold proxies, and gives its stand-in."""
        given, named = self.create_arg(args), self.create_arg(kwargs)
        node = self.create_node(kind, target, given, named, name, type_expr)
        made = proxy_factory_fn(node) if proxy_factory_fn else self.proxy(node)
        if self.record_stack_traces:
            frames = [f for f in traceback.extract_stack() if naming.ROOT + "/fx/" not in f.filename.replace("\\", "/")]
            made.node.stack_trace = "".join(traceback.format_list(frames)).strip()
        return made

    def create_arg(self, a: Any) -> Any:
        """An argument as nodes hold it. NotImplementedError for what no node can hold."""
        if isinstance(a, Proxy):
            return a.node
        if hasattr(a, "__fx_create_arg__"):
            return a.__fx_create_arg__(self)
        if isinstance(a, Size):
            return Size([self.create_arg(x) for x in a]) if not _proxies(a) else tuple(map(self.create_arg, a))
        if isinstance(a, tuple):
            if hasattr(a, "_fields"):
                return self.create_node("call_function", a.__class__, tuple(map(self.create_arg, a)), {})
            return type(a)([self.create_arg(x) for x in a]) if type(a) is not tuple else tuple(map(self.create_arg, a))
        if isinstance(a, list):
            return [self.create_arg(x) for x in a]
        if isinstance(a, dict):
            return self._dictionary(a)
        if isinstance(a, slice):
            return slice(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, range):
            return range(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, (*base_types, enum.Enum)) or a is ...:
            return a
        if dataclasses.is_dataclass(a) and not isinstance(a, type):
            kwargs = {f.name: self.create_arg(getattr(a, f.name)) for f in dataclasses.fields(a)}
            return self.create_node("call_function", a.__class__, (), kwargs)
        if isinstance(a, type) or (callable(a) and hasattr(a, "__name__") and not hasattr(a, "forward")):
            return a
        raise NotImplementedError(f"argument of type: {type(a)}: a node can't hold it")

    def _dictionary(self, a: dict) -> dict:
        def refuse(node: Any) -> Any:
            if isinstance(node, (Node, Proxy)):
                raise RuntimeError(f"keys of a dictionary can't be traced values: {node} is one of {list(a)}")
            return node

        made = {}
        for k, v in a.items():
            key = self.create_arg(k)
            map_aggregate(key, refuse)
            made[key] = self.create_arg(v)
        return made

    def to_bool(self, obj: Proxy) -> bool:
        """Called where a program branches on a proxy. TraceError unless a tracer knows better."""
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def iter(self, obj: Proxy) -> Iterator:
        """Called where a program iterates over a proxy. Unpacking into a known number of names works, in CPython."""
        frame = sys._getframe(2)
        code = frame.f_code.co_code
        wanted = _unpacked(code, frame.f_lasti)
        if wanted is None:
            raise TraceError(_ITERATED)
        return iter([operator.getitem(obj, i) for i in range(wanted)])  # type: ignore[index, call-overload]

    def keys(self, obj: Proxy) -> Any:
        """Called for `**proxy`."""
        return Attribute(obj, "keys")()


def _unpacked(code: bytes, at: int) -> int | None:
    """How many names the instruction at that place unpacks into; None for another instruction."""
    from opcode import opmap

    return code[at + 1] if code[at] == opmap["UNPACK_SEQUENCE"] else None


def _proxies(values: Any) -> bool:
    return any(isinstance(v, (Proxy, Node)) for v in values)


class GraphAppendingTracer(TracerBase):
    """Adds nodes to a graph that is there already: proxies without a tracer of their own have one of these."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.scope = Scope("", None)
        self.module_stack = {}
        self.node_name_to_scope = {}


class Proxy:
    """Stands in for the value of a node. Operators, methods, attributes and functions of tensors applied to it add
    nodes to its graph, and give proxies again.

    >>> import flambeau as torch
    >>> graph = torch.fx.Graph()
    >>> x = torch.fx.Proxy(graph.placeholder('x'))
    >>> y = torch.sigmoid(x + 1)
    >>> [n.name for n in graph.nodes]
    ['x', 'add', 'sigmoid']
    """

    tracer: TracerBase
    node: Node

    def __init__(self, node: Node, tracer: TracerBase | None = None) -> None:
        self.tracer = tracer if tracer is not None else GraphAppendingTracer(node.graph)
        self.node = node

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, k: str) -> Any:
        if k in ("node", "tracer"):  # asked for before __init__ has run, by copy and pickle
            raise AttributeError(k)
        return Attribute(self, k)

    def __getstate__(self) -> dict:
        return self.__dict__

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state

    def __deepcopy__(self, memo: dict) -> Any:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator:
        return self.tracer.iter(self)

    def __abs__(self) -> Any:
        return self.tracer.create_proxy("call_function", operator.abs, (self,), {})

    def __bool__(self) -> bool:
        if self.tracer.trace_asserts and _asserting(sys._getframe(1)):
            import flambeau

            self.tracer.create_proxy("call_function", flambeau._assert, (self, "assertion failed"), {})
            return True
        return self.tracer.to_bool(self)

    def keys(self) -> Any:
        """Called for `**proxy`."""
        return self.tracer.keys(self)

    def __len__(self) -> int:
        raise RuntimeError(
            "'len' is not supported in symbolic tracing by default. If you want this call to be recorded, please call "
            "torch.fx.wrap('len') at module scope"
        )

    @classmethod
    def __torch_function__(cls, orig_method: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tracer = find_tracer((args, kwargs))
        name = getattr(orig_method, "__name__", str(orig_method))
        if name in SPELT:
            args, kwargs = SPELT[name](args, kwargs)
        of_tensor = args and isinstance(args[0], Tensor) and hasattr(Tensor, name)  # an operator met a plain tensor
        if of_tensor or _is_method(orig_method):
            return tracer.create_proxy("call_method", name, args, kwargs)
        if tracer.check_mutable_operations and (name.endswith("_") or kwargs.get("out") is not None):
            raise RuntimeError(f"this tracer refuses operations that write in place: {name}{args}")
        return tracer.create_proxy("call_function", orig_method, args, kwargs, name=tracer.graph._target_to_str(name))


def _flat_einsum(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Operands one by one, where a program gave them as a list."""
    if len(args) == 2 and isinstance(args[1], (list, tuple)):
        args = (args[0], *args[1])
    return args, kwargs


#: Functions whose calls are written in one way, whichever way a program chose.
SPELT = {"einsum": _flat_einsum}


def _is_method(function: Callable) -> bool:
    """Whether a function is known as a method of Tensor and under no other name."""
    shown = naming.public_name(function)
    return shown is not None and shown.startswith("torch.Tensor.")


def _asserting(frame: Any) -> bool:
    """Whether a frame is about to raise AssertionError if a condition does not hold."""
    from opcode import opmap

    code, at = frame.f_code.co_code, frame.f_lasti
    later = code[at + 2 : at + 10 : 2]
    return opmap.get("LOAD_ASSERTION_ERROR") in later


def find_tracer(values: Any) -> TracerBase:
    """The tracer of the proxies in there, at any depth. RuntimeError if there are several, or none."""
    tracers: dict[int, TracerBase] = {}

    def look(a: Any) -> None:
        if isinstance(a, Proxy):
            tracers[id(a.tracer)] = a.tracer
        elif isinstance(a, (tuple, list)):
            for x in a:
                look(x)
        elif isinstance(a, dict):
            for x in a.values():
                look(x)
        elif isinstance(a, slice):
            look((a.start, a.stop, a.step))

    look(values)
    found = list(tracers.values())
    if not found:
        raise RuntimeError("no proxy among the arguments")
    if len(found) > 1 and not all(isinstance(t, GraphAppendingTracer) and t.graph is found[0].graph for t in found):
        raise RuntimeError(f"arguments were traced by different tracers: {found}")
    return found[0]


class Attribute(Proxy):
    """An attribute of a proxy: a node of its own only if it is used as a value, a method call otherwise."""

    def __init__(self, root: Proxy, attr: str) -> None:
        self.root = root
        self.attr = attr
        self.tracer = root.tracer
        self._node: Node | None = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        """The node, made when it is first asked for."""
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """Stands in for a parameter, and answers for its shape, size and number of dimensions as that one does."""

    def __init__(self, tracer: TracerBase, node: Node, name: str, param: Any) -> None:
        super().__init__(node, tracer)
        self.param = param
        self.name = name

    def __repr__(self) -> str:
        return f"ParameterProxy({self.name})"

    @property
    def shape(self) -> Any:
        """The parameter's shape."""
        return self.param.shape

    def size(self, *args: Any) -> Any:
        """The parameter's size."""
        return self.param.size(*args)

    def dim(self) -> int:
        """The parameter's number of dimensions."""
        return self.param.dim()

    @property
    def ndim(self) -> int:
        """The parameter's number of dimensions."""
        return self.param.ndim

    def numel(self) -> int:
        """The parameter's number of elements."""
        return self.param.numel()

    def nelement(self) -> int:
        """The parameter's number of elements."""
        return self.param.nelement()


_REFLECTED = "add sub mul floordiv truediv mod pow lshift rshift and_ or_ xor matmul".split()


def _give_operators() -> None:
    def plain(target: Callable) -> Callable:
        def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
            return self.tracer.create_proxy("call_function", target, (self, *args), kwargs)

        return method

    def reflected(target: Callable) -> Callable:
        def method(self: Proxy, other: Any) -> Any:
            return self.tracer.create_proxy("call_function", target, (other, self), {})

        return method

    for name in MAGIC:
        setattr(Proxy, f"__{name.strip('_')}__", plain(getattr(operator, name)))
    for name in _REFLECTED:
        setattr(Proxy, f"__r{name.strip('_')}__", reflected(getattr(operator, name)))
    Proxy.__hash__ = object.__hash__  # type: ignore[method-assign]


_give_operators()
