"""What a step can see: its modules and optimizers, and the Python values and tensors that its code names.

The step's code, and whatever code of the program it leads to, says which names it uses; only what has one of these is
looked at. Code of libraries depends on nothing but what it is given.
"""

from __future__ import annotations

import enum
import functools
import random
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.autograd.runtime import LEAF, NS
from flambeau.nn.modules._hooks import CALLED
from flambeau.nn.modules.module import CALL_HOOKS, Module
from flambeau.optim._scheduler import LRScheduler
from flambeau.optim.optimizer import Optimizer, _global_post_hooks, _global_pre_hooks

__all__ = ["MISSING", "STEP_HOOKS", "Holder", "Reach", "is_simple"]

SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic, enum.Enum)
CONTAINERS = (list, dict, set, deque)
#: What an attribute that is not there is.
MISSING = type("Missing", (), {"__repr__": lambda self: "nothing"})()

_DEPTH = 120
_MANY = 1000
_PASSES = 8
#: Names in code that say that attributes may be found by names which are not in it.
_BY_NAME = frozenset(("getattr", "hasattr", "setattr", "vars", "__dict__", "globals", "locals"))
STEP_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
#: What every module has, but for whether it trains.
_INTERNAL = frozenset(vars(Module())) - {"training"}
_DRAWING = (random.Random, np.random.Generator, np.random.RandomState)
_INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("purelib", "platlib")})


def is_simple(x: Any) -> bool:
    """Whether a value is compared by what it is, not by who: numbers, strings, None, and tuples of these."""
    return isinstance(x, SIMPLE) or (isinstance(x, tuple) and all(map(is_simple, x)))


class Holder:
    """Where values are: the variables, attributes or items of something, as far as the step may name them."""

    __slots__ = ("counted", "inside", "kind", "names", "sized", "whole")

    def __init__(self, inside: Any, kind: str, whole: bool = False, sized: bool = False) -> None:
        #: a dictionary, a class, an object with slots, a closure's cell or a container
        self.inside = inside
        self.kind = kind
        self.names: dict[Any, None] = {}
        self.whole = whole  # all that is in it matters, also that nothing else is
        self.sized = sized  # a new name in it may matter
        self.counted = False  # a module's: `CHANGES` tells when to look again

    def get(self, name: Any) -> Any:
        """The value of that name now, or `MISSING`."""
        if self.kind == "dict":
            return self.inside.get(name, MISSING)
        if self.kind == "class":
            return vars(self.inside).get(name, MISSING)
        if self.kind == "cell":
            try:
                return self.inside.cell_contents
            except ValueError:
                return MISSING
        if self.kind == "slots":
            return getattr(self.inside, name, MISSING)
        return self.inside[name] if name < len(self.inside) else MISSING

    def place(self) -> Any:
        """Where its values are looked up."""
        return vars(self.inside) if self.kind == "class" else self.inside

    def put_back(self, before: dict[Any, Any]) -> None:
        """Makes the values what `entries` has said before."""
        inside = self.inside
        if self.whole:
            now = self.entries()
            if now.keys() == before.keys() and all(now[name] is before[name] for name in now):
                return
            inside.clear()
            if self.kind == "list":
                inside.extend(before.values())
            else:
                inside.update(before if self.kind == "dict" else before.values())
            return
        for name, value in before.items():
            if self.get(name) is not value:
                self.put(name, value)

    def put(self, name: Any, value: Any) -> None:
        """Gives that name this value, or (`MISSING`) none."""
        inside = self.inside
        if self.kind in ("dict", "list"):
            if value is MISSING:
                del inside[name]
            else:
                inside[name] = value
        elif self.kind == "cell":
            inside.cell_contents = value
        elif value is MISSING:
            delattr(inside, name)
        else:
            setattr(inside, name, value)

    def entries(self) -> dict[Any, Any]:
        """All values by name."""
        if self.kind == "set":
            return {("item", x): x for x in self.inside}
        if self.whole:
            return dict(self.inside) if self.kind == "dict" else dict(enumerate(self.inside))
        return {name: self.get(name) for name in self.names}


class Reach:
    """What the walk from a function, and from objects that it is given, has found."""

    def __init__(self, *roots: Any) -> None:
        self.names: set[str] = {"forward", "__call__"}
        self.strings: set[str] = set()
        self.by_name = False
        for _ in range(_PASSES):
            before = len(self.names), len(self.strings), self.by_name
            self._start()
            self._each(roots, 0)
            for hooks in (*CALLED, _global_pre_hooks, _global_post_hooks):
                self._each(hooks.values(), 0)
            if (len(self.names), len(self.strings), self.by_name) == before:
                break

    def _start(self) -> None:
        self.modules: dict[int, Module] = {}
        self.optimizers: dict[int, Optimizer] = {}
        self.schedulers: dict[int, LRScheduler] = {}
        self.tensors: dict[int, Any] = {}
        self.holders: dict[Any, Holder] = {}
        self.drawing: dict[int, Any] = {}
        self.arrays: dict[int, np.ndarray] = {}
        self.iterators: dict[int, Any] = {}
        self.codes: dict[types.CodeType, None] = {}
        self.seen: dict[int, Any] = {}
        self._classes: set[type] = set()

    def wants(self, name: str) -> bool:
        """Whether the step's code may ask for an attribute of this name."""
        return self.by_name or name in self.names

    def leaves(self) -> list[Any]:
        """The tensors that want a gradient."""
        return [t for t in self.tensors.values() if t._node is LEAF]

    def own(self, module: Module) -> Iterator[tuple[str, Any]]:
        """The attributes of a module that may matter."""
        library = is_library(type(module).__module__)
        for name, value in list(vars(module).items()):
            if name not in _INTERNAL and (not name.startswith("_") if library else self.wants(name)):
                yield name, value

    # --- the walk -------------------------------------------------------------------------------------------------

    def _visit(self, x: Any, depth: int) -> None:
        if isinstance(x, SIMPLE) or id(x) in self.seen or depth > _DEPTH:
            return
        self.seen[id(x)] = x
        depth += 1
        if isinstance(x, NS["Tensor"]):
            self.tensors[id(x)] = x
            for hooks in (x._hooks, x._post_hooks):
                self._each((hooks or {}).values(), depth)
        elif isinstance(x, Module):
            for module in x.modules():
                self._module(module, depth)
        elif isinstance(x, Optimizer):
            self._optimizer(x, depth)
        elif isinstance(x, LRScheduler):
            self._schedule(x, depth)
        elif isinstance(x, types.FunctionType):
            self._function(x, depth)
        elif isinstance(x, types.MethodType):
            self._visit(x.__self__, depth)
            self._visit(x.__func__, depth)
        elif isinstance(x, (tuple, frozenset)):
            self._each(x, depth)
        elif isinstance(x, CONTAINERS):
            self._container(x, depth)
        elif isinstance(x, _DRAWING):
            self.drawing[id(x)] = x
        elif isinstance(x, np.ndarray):
            if not x.dtype.hasobject:
                self.arrays[id(x)] = x
        elif hasattr(type(x), "__next__"):
            self.iterators[id(x)] = x
        elif isinstance(x, type):
            self._class(x, depth)
        elif isinstance(x, types.ModuleType):
            if not is_library(x.__name__):
                self._attributes(x, depth)
        else:
            self._object(x, depth)

    def _each(self, values: Any, depth: int) -> None:
        for v in list(values)[:_MANY]:
            self._visit(v, depth)

    def _note(self, key: Any, inside: Any, kind: str, name: Any, depth: int) -> None:
        """Something has a value by a name: looks at that too."""
        holder = self.holders.get(key)
        if holder is None:
            holder = self.holders[key] = Holder(inside, kind)
        holder.names[name] = None
        self._visit(holder.get(name), depth)

    def _container(self, x: Any, depth: int) -> None:
        kind = "dict" if isinstance(x, dict) else "set" if isinstance(x, set) else "list"
        holder = self.holders[id(x)] = Holder(x, kind, whole=True)
        if len(x) <= _MANY:
            if kind != "set":
                holder.names.update(dict.fromkeys(x if kind == "dict" else range(len(x))))
            self._each(x.values() if kind == "dict" else x, depth)

    def _attributes(self, x: Any, depth: int) -> None:
        own = vars(x)
        self.holders.setdefault(id(own), Holder(own, "dict", sized=True))  # an attribute may come to hide a class's
        for name, _ in list(own.items()):
            if self.wants(name):
                self._note(id(own), own, "dict", name, depth)

    def _object(self, x: Any, depth: int) -> None:
        self._visit(getattr(x, "__dict__", {}).get("__wrapped__"), depth)
        if isinstance(x, functools.partial):
            self._each((x.func, *x.args, *x.keywords.values()), depth)
        if (type(x).__module__ or "").partition(".")[0] in _OURS:
            return
        self._class(type(x), depth)
        if hasattr(x, "__dict__"):
            self._attributes(x, depth)
        for name in [n for c in type(x).__mro__ for n in _slots(c) if self.wants(n)]:
            self._note(("slots", id(x)), x, "slots", name, depth)

    def _module(self, module: Module, depth: int) -> None:
        self.modules[id(module)] = module
        self.seen[id(module)] = module
        self._class(type(module), depth)
        own = vars(module)
        for name, _ in list(self.own(module)):
            self._note(id(own), own, "dict", name, depth)
        for tensors in (module._parameters, module._buffers):
            for name, t in list(tensors.items()):
                if t is not None:
                    self._note(id(tensors), tensors, "dict", name, depth)
        for key in (id(own), id(module._parameters), id(module._buffers)):
            if key in self.holders:
                self.holders[key].counted = True
        for hooks in CALL_HOOKS:
            self._each(own[hooks].values(), depth)

    def _optimizer(self, optimizer: Optimizer, depth: int) -> None:
        self.optimizers[id(optimizer)] = optimizer
        self._class(type(optimizer), depth)
        if self.wants("param_groups"):
            for group in optimizer.param_groups:
                self._named(group, depth)
        if self.wants("state"):
            for state in optimizer.state.values():
                if isinstance(state, dict):
                    self._named(state, depth)
        for hooks in STEP_HOOKS:
            self._each(getattr(optimizer, hooks).values(), depth)
        if not is_library(type(optimizer).__module__):
            self._attributes(optimizer, depth)

    def _schedule(self, scheduler: LRScheduler, depth: int) -> None:
        """What a schedule works with is its own matter: captures note its steps."""
        self.schedulers[id(scheduler)] = scheduler
        self._visit(scheduler.optimizer, depth)

    def _named(self, options: dict, depth: int) -> None:
        """Options of a group of parameters, or a parameter's state: what the step's code says the name of."""
        for name in list(options):
            if name in self.strings and name != "params":
                self._note(id(options), options, "dict", name, depth)

    def _function(self, f: types.FunctionType, depth: int) -> None:
        ours = not is_library(f.__module__)
        if ours:
            self._code(f.__code__)
            for name in names_in(f.__code__):
                if name in f.__globals__:
                    self._note(id(f.__globals__), f.__globals__, "dict", name, depth)
            self._attributes(f, depth)
        self._each((*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()), depth)
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            if ours:
                self._note(id(cell), cell, "cell", name, depth)
            else:  # a library's wrapper around the program's functions
                value = Holder(cell, "cell").get(name)
                if isinstance(value, (types.FunctionType, types.MethodType, Module)):
                    self._visit(value, depth)

    def _code(self, code: types.CodeType) -> None:
        self.codes[code] = None
        found = set(names_in(code))
        self.names |= found
        self.strings.update(_strings_in(code))
        self.by_name = self.by_name or not _BY_NAME.isdisjoint(found)

    def _class(self, cls: type, depth: int) -> None:
        for c in cls.__mro__:
            if c in self._classes or issubclass(Module, c) or issubclass(Optimizer, c):
                continue
            self._classes.add(c)
            library = is_library(c.__module__)
            if not library:
                self.holders.setdefault(("class", id(c)), Holder(c, "class", sized=True))
            for name, value in list(vars(c).items()):
                function = _behind(value)
                if library:
                    if function is not None and issubclass(cls, (Module, Optimizer)):
                        self.names |= set(names_in(function.__code__))
                elif name != "__init__" and (self.wants(name) or (function is not None and name.startswith("__"))):
                    self._note(("class", id(c)), c, "class", name, depth)
                    self._visit(function, depth)


_OURS = ("flambeau", "torch", "numpy", "jax", "jaxlib", "builtins")


def is_library(module: str | None) -> bool:
    """Whether code of this module is nobody's program: what it reads does not change from step to step."""
    root = (module or "").partition(".")[0]
    if root in _OURS or (root in sys.stdlib_module_names and root != "__main__"):
        return True
    if root not in _installed:
        place = getattr(sys.modules.get(root), "__file__", None)
        _installed[root] = place is not None and place.startswith(_INSTALLED)
    return _installed[root]


_installed: dict[str, bool] = {}


def _behind(value: Any) -> types.FunctionType | None:
    """The function behind an entry of a class."""
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)
    return value if isinstance(value, types.FunctionType) else None


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def names_in(code: types.CodeType) -> list[str]:
    """The names of variables and attributes that some code, and code within it, refers to."""
    found = list(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found += names_in(const)
    return found


def _strings_in(code: types.CodeType) -> Iterator[str]:
    for const in code.co_consts:
        if isinstance(const, str):
            yield const
        elif isinstance(const, types.CodeType):
            yield from _strings_in(const)
