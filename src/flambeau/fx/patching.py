"""What is put in the place of functions, modules' calls and attributes while a program is traced.

Functions of the public namespaces get a look at their arguments first: so a node records the call as the program wrote
it, and functions that make tensors (`torch.zeros(x.shape[0])`), which ask no operand, are recorded as well.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import inspect
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from flambeau.fx import naming
from flambeau.fx.proxy import SPELT, Proxy, find_tracer
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor

#: Global functions that `wrap` was called for: the namespace and the name.
wrapped: dict[tuple[int, str], dict[str, Any]] = {}

_SPACES = ("", "nn.functional", "linalg", "special", "fft")

#: Functions of `nn.functional` that are compiled in PyTorch: their calls are recorded as written. Calls of all others
#: name the arguments that have a default.
_AS_WRITTEN = frozenset(
    """conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc avg_pool1d avg_pool2d avg_pool3d
    linear bilinear gelu softplus softshrink logsigmoid hardshrink prelu pairwise_distance cosine_similarity pdist
    pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle one_hot scaled_dot_product_attention
    adaptive_avg_pool1d relu_ elu_ selu_ celu_ leaky_relu_ rrelu_ hardtanh_ threshold_""".split()
)


def holds_proxy(values: Any) -> bool:
    """Whether there is a stand-in among the values, at any depth."""
    for value in values:
        cls = value.__class__
        if cls in (tuple, list):
            if holds_proxy(value):
                return True
        elif cls is slice:
            if holds_proxy((value.start, value.stop, value.step)):
                return True
        elif cls is dict:
            if holds_proxy(value.values()):
                return True
        elif isinstance(value, Proxy):
            return True
    return False


def recording(function: Callable, kind: str, target: Any, spell: Callable | None = None) -> Callable:
    """`function`, which becomes a node where an argument is a stand-in."""

    @functools.wraps(function)
    def look(*args: Any, **kwargs: Any) -> Any:
        if not holds_proxy(args) and not (kwargs and holds_proxy(kwargs.values())):
            return function(*args, **kwargs)
        given, named = spell(args, kwargs) if spell is not None else (args, kwargs)
        tracer = find_tracer((args, kwargs))
        name = tracer.graph._target_to_str(target)
        return tracer.create_proxy(kind, target, given, named, name=name)

    return look


def _named(function: Callable) -> Callable:
    """Spells a call with the names of all parameters that have a default."""
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return lambda args, kwargs: (args, kwargs)
    names = [p.name for p in parameters if p.name != "out" or p.default is not None]
    defaults = {p.name: p.default for p in parameters if p.name in names}

    def spell(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        given = dict(zip(names, args, strict=False)) | kwargs
        required = [n for n in names if defaults[n] is inspect.Parameter.empty]
        if len(args) > len(names) or any(n not in given for n in required):
            return args, kwargs
        rest = {n: given.get(n, defaults[n]) for n in names if n not in required}
        extra = {k: v for k, v in kwargs.items() if k not in names}
        return tuple(given[n] for n in required), rest | extra

    return spell


@functools.cache
def _replacements() -> tuple[list[tuple[dict, dict[str, Any], dict[str, Any]]], dict[str, Any]]:
    """For each public namespace its recording functions and the real ones, and the recording methods of Tensor."""
    root = importlib.import_module(naming.ROOT)
    spaces = []
    for place in _SPACES:
        module = functools.reduce(getattr, filter(None, place.split(".")), root)
        ours, real = {}, {}
        for name, value in vars(module).items():
            if name.startswith("_") and name != "_assert" or not isinstance(value, (FunctionType, BuiltinFunctionType)):
                continue
            if name in ("compile", "is_tensor", "install_as_torch", "manual_seed", "save", "load", "is_storage"):
                continue
            python = place == "nn.functional" and name not in _AS_WRITTEN
            spell = _named(value) if python else SPELT.get(name)
            ours[name] = recording(value, "call_function", value, spell)
            real[name] = value
        spaces.append((vars(module), ours, real))
    methods = {}
    for cls in reversed(Tensor.__mro__):
        for name, value in vars(cls).items():
            if isinstance(value, FunctionType) and not name.startswith("_"):
                methods[name] = recording(value, "call_method", name)
    return spaces, methods


class Patches:
    """A context in which calls and attributes of modules go to a tracer, and functions record themselves."""

    depth = 0

    def __init__(self, tracer: Any, function: Callable) -> None:
        self.tracer = tracer
        self.undo: list[Callable[[], None]] = []
        self.parameters: dict[str, Any] = {}
        self.done: set[int] = set()

    def __enter__(self) -> Patches:
        self._modules()
        if Patches.depth == 0:
            self._functions()
        Patches.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        Patches.depth -= 1
        for step in reversed(self.undo):
            step()

    def _set(self, cls: type, name: str, value: Any) -> None:
        missing = object()
        before = vars(cls).get(name, missing)
        setattr(cls, name, value)
        self.undo.append(lambda: delattr(cls, name) if before is missing else setattr(cls, name, before))

    def _modules(self) -> None:
        call, lookup, tracer = Module.__call__, Module.__getattr__, self.tracer  # type: ignore[attr-defined]

        @functools.wraps(call)
        def traced_call(mod: Module, *args: Any, **kwargs: Any) -> Any:
            def forward(*args: Any, **kwargs: Any) -> Any:
                return call(mod, *args, **kwargs)

            self.wrap_functions(getattr(getattr(mod, "forward", mod), "__globals__", {}))
            return tracer.call_module(mod, forward, args, kwargs)

        def traced_getattr(mod: Module, attr: str) -> Any:
            value = lookup(mod, attr)
            return tracer.getattr(attr, value, self.parameters) if isinstance(value, Tensor) else value

        self._set(Module, "__call__", traced_call)
        self._set(Module, "__getattr__", traced_getattr)

    def _functions(self) -> None:
        spaces, methods = _replacements()
        for names, ours, real in spaces:
            names.update(ours)
            self.undo.append(functools.partial(names.update, real))
        for name, method in methods.items():
            self._set(Tensor, name, method)

    def wrap_functions(self, names: dict[str, Any]) -> None:
        """Has functions of a namespace that `wrap` marked, and those of the tracer's own list, record themselves."""
        if id(names) in self.done or not names:
            return
        self.done.add(id(names))
        own = self.tracer._autowrap_function_ids
        marked = [name for (key, name) in wrapped if key == id(names)]
        for name in [*marked, *(n for n, v in list(names.items()) if id(v) in own and n not in marked)]:
            value = names.get(name, getattr(builtins, name, None))
            if callable(value):
                self._put(names, name, recording(value, "call_function", value))
        for module in self.tracer._autowrap_search:
            if id(vars(module)) not in self.done:
                self.done.add(id(vars(module)))
                for name, value in list(vars(module).items()):
                    if id(value) in own and not name.startswith("_"):
                        self._put(vars(module), name, recording(value, "call_function", value))

    def _put(self, names: dict[str, Any], name: str, value: Any) -> None:
        if name in names:
            before = names[name]
            self.undo.append(lambda: names.__setitem__(name, before))
        else:
            self.undo.append(lambda: names.pop(name, None))
        names[name] = value
