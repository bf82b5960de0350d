"""Running a program once on stand-ins, and writing down what it does."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from flambeau import pytree
from flambeau.fx import patching
from flambeau.fx.graph import Graph, _PyTreeCodeGen, _PyTreeInfo
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Argument as Argument
from flambeau.fx.node import Node
from flambeau.fx.proxy import ParameterProxy, Proxy, Scope, ScopeContextManager, TracerBase
from flambeau.nn.modules.container import Sequential
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor.tensor import Tensor

__all__ = ["PH", "PHBase", "ProxyableClassMeta", "Tracer", "is_fx_tracing", "symbolic_trace", "wrap"]

_OWN_LAYERS = ("torch.nn", "torch.ao.nn", "flambeau.nn")
_tracing = 0


def is_fx_tracing() -> bool:
    """Whether a symbolic trace is under way."""
    return _tracing > 0


class PHBase:
    """Marks an input that stays one, in `concrete_args`."""

    def __repr__(self) -> str:
        return "PH"


PH = PHBase()


class ProxyableClassMeta(type):
    """Metaclass of classes whose construction is written down when an argument is a proxy."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        found: list[Proxy] = []
        for value in pytree.tree_leaves((args, kwargs)):
            if isinstance(value, Proxy):
                found.append(value)
        if found:
            return found[0].tracer.create_proxy("call_function", cls, args, kwargs)
        return super().__call__(*args, **kwargs)


def _assert_is_none(value: Any, msg: str) -> None:
    if value is not None:
        raise AssertionError(msg)


class Tracer(TracerBase):
    """Traces modules and functions. Subclasses say by `is_leaf_module` which modules stay calls, and may change what
    happens to each of them by `call_module`, `getattr`, `create_arg` and `proxy`.

    Args:
        autowrap_modules: functions of these modules become nodes where an argument is a proxy.
        autowrap_functions: and so do these functions, wherever they are called by a global name.
        param_shapes_constant: shapes of parameters are taken as numbers instead of being traced.
    """

    def __init__(
        self,
        autowrap_modules: tuple[ModuleType, ...] = (math,),
        autowrap_functions: tuple[Callable, ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        super().__init__()
        self._autowrap_function_ids = {
            id(value) for module in autowrap_modules for name, value in vars(module).items()
            if not name.startswith("_") and callable(value)
        }  # fmt: skip
        self._autowrap_function_ids.update(map(id, autowrap_functions))
        self._autowrap_search = list(autowrap_modules)
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict[Module, str] | None = None
        self.root_module_name = ""
        self.scope = Scope("", None)
        self.module_stack: dict[str, tuple[str, Any]] = {}
        self.num_calls: dict[str, int] = {}
        self.node_name_to_scope = {}

    # -- what subclasses may change

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether calls of `m` stay calls. By default, of all that `torch.nn` has, but for containers."""
        return m.__module__.startswith(_OWN_LAYERS) and not isinstance(m, Sequential)

    def path_of_module(self, mod: Module) -> str:
        """The dotted name of a submodule of the root. NameError if it is none."""
        if self.submodule_paths:
            if mod not in self.submodule_paths:
                raise NameError("module is not installed as a submodule")
            return self.submodule_paths[mod]
        for name, module in self.root.named_modules():
            if module is mod:
                return name
        raise NameError("module is not installed as a submodule")

    def call_module(self, m: Module, forward: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """What a call of a submodule gives: a proxy of a call_module node, or `forward(*args, **kwargs)` traced."""
        path = self.path_of_module(m)
        with ScopeContextManager(self.scope, Scope(path, type(m))):
            calls = self.num_calls.get(path, 0)
            key = f"{path}@{calls}" if calls else path
            self.num_calls[path] = calls + 1
            self.module_stack[key] = (path, type(m))
            try:
                if self.is_leaf_module(m, path):
                    return self.create_proxy("call_module", path, args, kwargs)
                return forward(*args, **kwargs)
            finally:
                self.module_stack.pop(key, None)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What a module's attribute is while tracing: parameters (and buffers, if asked for) are stand-ins."""
        if isinstance(attr_val, Parameter):
            found = self._stand_in(attr_val, self.root.named_parameters(), parameter_proxy_cache)
            if found is not None:
                return found
        if self.proxy_buffer_attributes and isinstance(attr_val, Tensor):
            found = self._stand_in(attr_val, self.root.named_buffers(), parameter_proxy_cache)
            if found is not None:
                return found
        return attr_val

    def _stand_in(self, value: Any, named: Any, cache: dict[str, Any]) -> Any:
        for name, p in named:
            if p is value:
                if name not in cache:
                    factory = None
                    if self.param_shapes_constant:
                        factory = lambda node, name=name: ParameterProxy(self, node, name, value)  # noqa: E731
                    cache[name] = self.create_proxy("get_attr", name, (), {}, proxy_factory_fn=factory)
                return cache[name]
        return None

    def create_arg(self, a: Any) -> Any:
        """Arguments as nodes hold them: tensors become attributes of the root, under their own name or a new one."""
        if isinstance(a, Parameter):
            for name, p in self.root.named_parameters():
                if a is p:
                    return self.create_node("get_attr", name, (), {})
            return self._constant("_param_constant", a)
        if isinstance(a, Tensor):
            known = self.tensor_attrs.get(id(a))
            return self.create_node("get_attr", known, (), {}) if known else self._constant("_tensor_constant", a)
        if isinstance(a, Module):
            return self.create_node("get_attr", self.path_of_module(a), (), {})
        if type(a) in _proxyable:
            return self._constant(f"_{type(a).__name__}_constant_", a)
        return super().create_arg(a)

    def _constant(self, prefix: str, value: Any) -> Node:
        number = 0
        while hasattr(self.root, f"{prefix}{number}"):
            number += 1
        name = f"{prefix}{number}"
        self.tensor_attrs[id(value)] = name
        setattr(self.root, name, value)
        return self.create_node("get_attr", name, (), {})

    # -- tracing

    def create_args_for_root(
        self, root_fn: Callable, is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable, list[Any]]:
        """The function to run and its arguments: the root itself, and a placeholder for each parameter."""
        function = inspect.unwrap(root_fn)
        parameters = inspect.signature(function).parameters
        code = function.__code__
        count = code.co_argcount + code.co_kwonlyargcount
        names = list(code.co_varnames[:count])
        args: list[Any] = [self.root] if is_module else []
        if is_module and not names:
            raise RuntimeError("a traced forward must take self as its first parameter")
        own = names[1:] if is_module else names
        if isinstance(concrete_args, tuple):
            if len(concrete_args) != len(own):
                raise RuntimeError(f"concrete_args has {len(concrete_args)} values for {len(own)} parameters")
            concrete_args = dict(zip(own, concrete_args, strict=True))
        given = concrete_args or {}
        for name in own:
            args.append(self._argument(name, parameters.get(name), function, given))
        rest = code.co_varnames[count:]
        structured = any(not pytree.is_leaf(value) for value in given.values())
        if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            stars = ["*"] * bool(code.co_flags & inspect.CO_VARARGS)
            stars += ["**"] * bool(code.co_flags & inspect.CO_VARKEYWORDS)
            for star, name in zip(stars, rest, strict=False):
                args.append(self.create_proxy("placeholder", star + name, (), {}))
            function = _without_stars(function)
        elif code.co_kwonlyargcount:
            function = _without_stars(function)
        if structured:
            return self._flattened(function, args, own, is_module)
        return function, args

    def _argument(self, name: str, parameter: Any, function: Callable, given: dict[str, Any]) -> Any:
        empty = inspect.Parameter.empty
        default = () if parameter is None or parameter.default is empty else (parameter.default,)
        if name not in given:
            kind = None if parameter is None or parameter.annotation is empty else parameter.annotation
            kind = kind if not isinstance(kind, str) else function.__annotations__.get(name)
            return self.create_proxy("placeholder", name, default, {}, type_expr=_annotation(kind, function))
        count = 0

        def put(x: Any) -> Any:
            nonlocal count
            count += 1
            out = self.create_proxy("placeholder", f"{name}_{count}", default, {})
            if isinstance(x, PHBase):
                return out
            said = f"{name} has been specialized to have value {x} but got another value"
            if x is None:
                self.create_proxy("call_function", _assert_is_none, (out, said), {})
            elif isinstance(x, (bool, int, float, str)):
                import flambeau

                self.create_proxy("call_function", flambeau._assert, (out == x, said), {})
            return x

        return pytree.tree_map(put, given[name])

    def _flattened(self, function: Callable, args: list, own: list[str], is_module: bool) -> tuple[Callable, list]:
        """For arguments that are containers: a function of their leaves, and the code that takes them apart."""
        head = args[:1] if is_module else []
        leaves, spec = pytree.tree_flatten(tuple(args[1:] if is_module else args))
        self.graph._codegen = _PyTreeCodeGen(_PyTreeInfo(own, spec, None))

        def flat(*values: Any) -> Any:
            values = values[1:] if is_module else values
            result = function(*head, *pytree.tree_unflatten(values, spec))
            flattened, out_spec = pytree.tree_flatten(result)
            codegen: Any = self.graph._codegen
            codegen.pytree_info = codegen.pytree_info._replace(out_spec=out_spec)
            return flattened

        return flat, [*head, *leaves]

    def trace(self, root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> Graph:
        """The graph of a module's forward, or of a function."""
        global _tracing
        if isinstance(root, Module):
            self.root = root
            name = getattr(self, "traced_func_name", "forward")
            if not hasattr(type(root), name):
                raise AssertionError(f"{type(root).__name__} has no method {name} to trace")
            function = getattr(type(root), name)
            if type(root).__dict__.get(name) is None and name in root.__dict__:
                function = getattr(root, name).__func__
            self.root_module_name = root._get_name()
            self.submodule_paths = {mod: name for name, mod in root.named_modules()}
        else:
            self.root = Module()
            function = root
            self.submodule_paths = None
        self.graph = Graph(tracer_cls=getattr(self, "__class__", None))
        if hasattr(function, "__code__"):
            self.graph._co_fields = function.__code__
        self.tensor_attrs: dict[int, str] = {}
        self._collect_tensors(self.root, [])
        _tracing += 1
        try:
            fn, args = self.create_args_for_root(function, isinstance(root, Module), concrete_args)
            with patching.Patches(self, function) as patches:
                patches.wrap_functions(function.__globals__ if hasattr(function, "__globals__") else {})
                result = fn(*args)
            made = self.create_arg(result)
            annotations = getattr(function, "__annotations__", {})
            returns = _annotation(annotations.get("return"), function)
            self.create_node("output", "output", (made,), {}, type_expr=returns)
        finally:
            _tracing -= 1
            self.submodule_paths = None
        return self.graph

    def _collect_tensors(self, module: Module, path: list[str]) -> None:
        for name, value in [*vars(module).items(), *module._buffers.items()]:
            if isinstance(value, Tensor):
                self.tensor_attrs[id(value)] = ".".join([*path, name])
        for name, child in module.named_children():
            self._collect_tensors(child, [*path, name])

    def __deepcopy__(self, memo: dict) -> Tracer:
        made = Tracer.__new__(type(self))
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("root", "submodule_paths")})
        return made


_proxyable: dict[type, None] = {}


def _annotation(kind: Any, function: Callable) -> Any:
    """A type annotation; one that is a string is looked up where the function was written, or left out."""
    if not isinstance(kind, str):
        return None if kind is inspect.Parameter.empty else kind
    try:
        return eval(kind, getattr(function, "__globals__", {}))
    except Exception:  # noqa: BLE001 - a name that exists for type checkers only
        return None


def _without_stars(function: Callable) -> Callable:
    """The same function with all its parameters positional, *args and **kwargs among them."""
    code = function.__code__  # type: ignore[attr-defined]
    flags = code.co_flags
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(flags & inspect.CO_VARARGS) + bool(flags & inspect.CO_VARKEYWORDS)
    plain = code.replace(
        co_flags=flags & ~(inspect.CO_VARARGS | inspect.CO_VARKEYWORDS),
        co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0,
    )  # fmt: skip
    return FunctionType(
        plain, function.__globals__, function.__name__, function.__defaults__, function.__closure__  # type: ignore[attr-defined]
    )  # fmt: skip


def wrap(fn_or_name: str | Callable) -> Any:
    """Has calls of a global function become nodes, instead of being traced through: call it at the top level of the
    module in which the function is called, with its name (`wrap('len')`), or use it as a decorator.

    RuntimeError for anything that is neither a name nor a function.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    name = fn_or_name if isinstance(fn_or_name, str) else fn_or_name.__name__
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    if frame is None or frame.f_code.co_name != "<module>":
        raise NotImplementedError("wrap must be called at the top level of a module")
    patching.wrapped[(id(frame.f_globals), name)] = frame.f_globals
    return fn_or_name


def symbolic_trace(root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> GraphModule:
    """Traces a module or a function with a `Tracer`, and gives a module that runs the graph.

    Args:
        concrete_args: values for some parameters, which the trace takes for certain; `PH` marks what stays an input.

    Raises:
        TraceError: the program branches on a value, or loops over one.

    >>> import flambeau as torch
    >>> def f(x, double):
    ...     return x * 2 if double else x
    >>> traced = torch.fx.symbolic_trace(f, concrete_args={'double': True})
    >>> print(torch.fx.symbolic_trace(lambda x: x.relu() + 1).code.strip())
    def forward(self, x):
        relu = x.relu();  x = None
        add = relu + 1;  relu = None
        return add
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    name = type(root).__name__ if isinstance(root, Module) else getattr(root, "__name__", type(root).__name__)
    return GraphModule(tracer.root, graph, name)
