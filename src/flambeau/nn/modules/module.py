"""`Module`: the base of everything that holds parameters and has a `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from flambeau.autograd.runtime import CHANGES, NS
from flambeau.nn._core import Tensor, bfloat16, device, dtype, no_grad
from flambeau.nn.modules import _hooks
from flambeau.nn.modules._hooks import (
    HookedCall,
    RemovableHandle,
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_buffer_registration_hooks,
    _global_forward_hooks,
    _global_forward_pre_hooks,
    _global_module_registration_hooks,
    _global_parameter_registration_hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn.modules._registry import Registry
from flambeau.nn.modules._state import Stateful, _IncompatibleKeys
from flambeau.nn.modules._tree import Tree
from flambeau.nn.parameter import Buffer, Parameter

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

T_destination = TypeVar("T_destination", bound=dict[str, Any])

_HOOK_REGISTRIES = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
REGISTRIES = ("_parameters", "_buffers", "_modules")
CALL_HOOKS = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks")


def _addindent(s_: str, numSpaces: int) -> str:
    """Indent every line but the first."""
    return s_.replace("\n", "\n" + " " * numSpaces)


def _forward_unimplemented(self, *input: Any) -> None:
    """What the module computes; every subclass defines it. NotImplementedError otherwise."""
    raise NotImplementedError(f"Module [{type(self).__name__}] has no forward: define forward(self, ...) in its class")


class Module(HookedCall, Stateful, Tree):
    """Base class of all layers and models.

    A subclass calls `super().__init__()`, assigns its parameters, buffers and submodules as attributes, and defines
    `forward`. Calling the module runs `forward` with the hooks around it. `super().__init__()` takes no arguments,
    unless the class sets `call_super_init = True` to pass them on to the next class.

    >>> import flambeau as torch
    >>> class Scale(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = torch.nn.Parameter(torch.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    dump_patches: bool = False
    _version: int = 1
    training: bool
    call_super_init: bool = False
    T_destination = T_destination
    forward: Callable[..., Any] = _forward_unimplemented

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            got = f"{len(args)} positional" if args else f"'{next(iter(kwargs))}'"
            raise TypeError(
                f"{type(self).__name__}.__init__() passes {got} argument(s) to Module.__init__(), which takes none "
                "(set call_super_init = True on the class to hand them on to the next base)"
            )
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = Registry()
        state["_buffers"] = Registry()
        state["_non_persistent_buffers_set"] = set()
        for name in _HOOK_REGISTRIES:
            state[name] = OrderedDict()
        state["_is_full_backward_hook"] = None
        state["_hooked"] = False
        state["_modules"] = Registry()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # -- registration

    def _new_name(self, kind: str, name: Any, registry: dict) -> None:
        """Refuse a name under which nothing can be registered."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a {kind} must be a str, got {type(name).__name__}")
        if "." in name:
            raise KeyError(f"the name of a {kind} can't contain '.', got '{name}'")
        if name == "":
            raise KeyError(f"the name of a {kind} can't be empty")
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"attribute '{name}' already exists in {type(self).__name__}: no {kind} can take its name")

    def _ready(self, registry: str) -> dict:
        """The registry of that name; AttributeError when `Module.__init__` has not run yet."""
        try:
            return self.__dict__[registry]
        except KeyError:
            kind = registry.strip("_")
            raise AttributeError(
                f"{type(self).__name__}: {kind} can't be set before Module.__init__() ran; call "
                "super().__init__() first"
            ) from None

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained (running statistics, masks).

        It moves with `to`, and is in `state_dict()` unless `persistent=False`. `None` reserves the name. TypeError,
        KeyError for a bad name or one that is taken, TypeError for something that is no Tensor.
        """
        buffers = self._ready("_buffers")
        self._new_name("buffer", name, buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"buffer '{name}': expected a Tensor or None, got {type(tensor).__name__}")
        for hook in _hooks._global_buffer_registration_hooks.values():
            new = hook(self, name, tensor)
            tensor = tensor if new is None else new
        buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; `None` reserves the name (a layer without bias, say).

        TypeError, KeyError for a bad name or one that is taken, TypeError for something that is no Parameter,
        ValueError for a tensor with a history.
        """
        parameters = self._ready("_parameters")
        self._new_name("parameter", name, parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"parameter '{name}': expected a torch.nn.Parameter or None, got {type(param).__name__}: wrap "
                    f"it in Parameter(...)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"parameter '{name}' was computed (grad_fn={param.grad_fn}): parameters are leaves; to make one a "
                    "function of another tensor, compute it in forward"
                )
            for hook in _hooks._global_parameter_registration_hooks.values():
                new = hook(self, name, param)
                param = param if new is None else new
        parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`. TypeError, KeyError for a bad name or one that is taken."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"child '{name}': expected a Module or None, got {type(module).__name__}")
        modules = self._ready("_modules")
        self._new_name("module", name, modules)
        for hook in _hooks._global_module_registration_hooks.values():
            new = hook(self, name, module)
            module = module if new is None else new
        modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    # -- attributes

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        if "_modules" in state:  # written out, since programs ask this all the time
            registry = state["_parameters"]
            if name in registry:
                return registry[name]
            registry = state["_modules"]
            if name in registry:
                return registry[name]
            registry = state["_buffers"]
            if name in registry:
                return registry[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, (Tensor, Module)):  # the common case, and a quick test
            self._set_other(name, value)
        elif isinstance(value, Parameter):
            self._ready("_parameters")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif name in self.__dict__.get("_parameters", ()):
            self._set_other(name, value)
        elif isinstance(value, Module):
            self._ready("_modules")
            self._forget(name, "_modules")
            self._set_module(name, value)
        elif isinstance(value, Buffer) and name not in self.__dict__.get("_modules", ()):
            self._ready("_buffers")
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        else:
            self._set_other(name, value)

    def _set_other(self, name: str, value: Any) -> None:
        """Assign something that does not register itself, perhaps to a name that is registered."""
        state = self.__dict__
        if name in state.get("_parameters", ()):
            if value is not None:
                self._refuse("parameter", "torch.nn.Parameter", name, value)
            self.register_parameter(name, None)
        elif name in state.get("_modules", ()):
            if value is not None:
                self._refuse("child module", "torch.nn.Module", name, value)
            self._set_module(name, None)
        elif name in state.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                self._refuse("buffer", "torch.nn.Buffer, torch.Tensor", name, value)
            for hook in _hooks._global_buffer_registration_hooks.values():
                new = hook(self, name, value)
                value = value if new is None else new
            state["_buffers"][name] = value
        else:
            CHANGES[0] += 1
            object.__setattr__(self, name, value)

    def _set_module(self, name: str, value: Module | None) -> None:
        for hook in _hooks._global_module_registration_hooks.values():
            new = hook(self, name, value)
            value = value if new is None else new
        self._modules[name] = value

    def _refuse(self, kind: str, expected: str, name: str, value: Any) -> None:
        raise TypeError(f"cannot assign a {type(value).__name__} as {kind} '{name}' ({expected} or None expected)")

    def _forget(self, name: str, keep: str) -> None:
        """Remove `name` wherever it is registered, except from the registry `keep`."""
        state = self.__dict__
        state.pop(name, None)
        for registry in REGISTRIES:
            if registry != keep and registry in state:
                state[registry].pop(name, None)
        if keep != "_buffers":
            state["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            CHANGES[0] += 1
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[:1].isdigit())

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state: dict) -> None:
        CHANGES[0] += 1
        self.__dict__.update(state)
        own = self.__dict__
        for name in REGISTRIES:
            if own.get(name).__class__ is dict:
                own[name] = Registry(own[name])
        for name in _HOOK_REGISTRIES:  # pickles of older versions lack some
            if name not in own:
                own[name] = OrderedDict()
        own.setdefault("_non_persistent_buffers_set", set())
        own.setdefault("_is_full_backward_hook", None)
        own["_hooked"] = any(own[name] for name in CALL_HOOKS)

    # -- moving and converting

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Replace the data of every parameter, gradient and buffer by `fn` of it; the Parameter objects stay."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                data = fn(param)
                grad = None if param.grad is None else fn(param.grad)
                if grad is not None:
                    grad = grad.requires_grad_(param.grad.requires_grad)
                    param.grad = None
                param.data = data
                if grad is not None:
                    param.grad = grad
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Module], Any]) -> Module:
        """Call `fn` on every descendant, children first, and on this module last (to initialise weights, for
        instance).
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Move or convert parameters, gradients and buffers in place: `to(device)`, `to(dtype)`, `to(device, dtype)`,
        `to(tensor)`, with `non_blocking` and `memory_format` accepted.

        Only floating point and complex tensors change their dtype. TypeError if `dtype` is neither.

        >>> import flambeau as torch
        >>> torch.nn.Linear(2, 2).to(torch.float64).weight.dtype
        torch.float64
        """
        to_device, to_dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if to_dtype is not None and not (to_dtype.is_floating_point or to_dtype.is_complex):
            raise TypeError(f"Module.to: expected a floating point or complex dtype, got {to_dtype}")
        more = {} if memory_format is None else {"memory_format": memory_format}

        def convert(t: Tensor) -> Tensor:
            floating = t.is_floating_point() or t.is_complex()
            if memory_format is not None and t.dim() not in (4, 5):
                return t.to(to_device, to_dtype if floating else None, non_blocking)
            return t.to(to_device, to_dtype if floating else None, non_blocking, **more)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Move to `device` without keeping the values."""
        from flambeau.nn._core import empty_like

        return self._apply(lambda t: empty_like(t, device=device), recurse=recurse)

    def type(self, dst_type: Any) -> Module:
        """Convert all parameters and buffers to `dst_type`."""
        return self._apply(lambda t: t.type(dst_type))

    def _floating_to(self, to_dtype: str) -> Module:
        return self._apply(lambda t: getattr(t, to_dtype)() if t.is_floating_point() else t)

    def float(self) -> Module:
        """Convert floating point parameters and buffers to float32."""
        return self._floating_to("float")

    def double(self) -> Module:
        """Convert floating point parameters and buffers to float64."""
        return self._floating_to("double")

    def half(self) -> Module:
        """Convert floating point parameters and buffers to float16."""
        return self._floating_to("half")

    def bfloat16(self) -> Module:
        """Convert floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.to(dtype=bfloat16) if t.is_floating_point() else t)

    def cpu(self) -> Module:
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Module:
        """Move parameters and buffers to a CUDA device; an error that says so if there is none."""
        return self.to("cuda" if device is None else _indexed("cuda", device))

    def ipu(self, device: Any = None) -> Module:
        """Move parameters and buffers to an IPU; an error that says so if there is none."""
        return self.to("ipu" if device is None else _indexed("ipu", device))

    def xpu(self, device: Any = None) -> Module:
        """Move parameters and buffers to an XPU; an error that says so if there is none."""
        return self.to("xpu" if device is None else _indexed("xpu", device))

    def mtia(self, device: Any = None) -> Module:
        """Move parameters and buffers to an MTIA device; an error that says so if there is none."""
        return self.to("mtia" if device is None else _indexed("mtia", device))

    def share_memory(self) -> Module:
        """Move parameters and buffers to shared memory (see `Tensor.share_memory_`)."""
        return self._apply(lambda t: t.share_memory_())

    # -- training

    def train(self, mode: bool = True) -> Module:
        """Set training mode (`mode=False`: evaluation) here and in all descendants. ValueError if `mode` is no bool."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be a bool, got {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and in all descendants: dropout off, running statistics used."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Set `requires_grad` of every parameter (False freezes the module)."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or (`set_to_none=False`) fill them with zeros."""
        for p in self.parameters():
            if p.grad is None:
                continue
            if set_to_none:
                p.grad = None
                continue
            if p.grad.grad_fn is not None:
                p.grad.detach_()
            else:
                p.grad.requires_grad_(False)
            p.grad.zero_()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the module's calls, in place; the arguments are those of `torch.compile`."""
        self._compiled_call_impl = NS["COMPILE"](self._call_impl, *args, **kwargs)
        self.__dict__["_hooked"] = True

    # -- text

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """What `repr` shows of this module besides its children; override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_addindent(repr(module), 2)}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({extra})"
        body = "".join(f"  {line}\n" for line in lines + children)
        return f"{self._get_name()}(\n{body})" if body else f"{self._get_name()}()"

    def _replicate_for_data_parallel(self) -> Module:
        """A shallow copy with registries of its own and no parameters of its own."""
        replica = self.__new__(type(self))
        replica.__dict__ = self.__dict__.copy()
        replica._parameters = {}
        replica._buffers = replica._buffers.copy()
        replica._modules = replica._modules.copy()
        replica._is_replica = True
        return replica


def _indexed(kind: str, where: Any) -> Any:
    return f"{kind}:{where}" if isinstance(where, int) else where


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format) of a call of `to` in any of its forms."""
    memory_format = kwargs.pop("memory_format", None)
    copy = kwargs.pop("copy", False)
    names: tuple[str, ...] = ("device", "dtype", "non_blocking")
    if args and isinstance(args[0], dtype):
        names = ("dtype", "non_blocking")
    elif args and isinstance(args[0], Tensor):
        names = ("tensor", "non_blocking")
    if copy or len(args) > len(names):
        raise TypeError(
            f"Module.to: expected ({', '.join(names)}), got {len(args)} positional arguments{', copy' * copy}"
        )
    given = dict(zip(names, args, strict=False))
    for key, value in kwargs.items():
        if key not in ("device", "dtype", "non_blocking", "tensor") or key in given:
            raise TypeError(f"Module.to: unexpected or repeated argument '{key}'")
        given[key] = value
    if not given and memory_format is None:
        raise TypeError("Module.to: expected a device, a dtype or a tensor, got nothing")
    if "tensor" in given:
        like = given["tensor"]
        return like.device, like.dtype, bool(given.get("non_blocking", False)), memory_format
    to_device, to_dtype = given.get("device"), given.get("dtype")
    if to_dtype is not None and not isinstance(to_dtype, dtype):
        raise TypeError(f"Module.to: expected a torch.dtype, got {type(to_dtype).__name__}")
    if to_device is not None and not isinstance(to_device, device):
        to_device = device(to_device)
    return to_device, to_dtype, bool(given.get("non_blocking", False)), memory_format


# torch keeps these here too
_EXPORTED = (
    RemovableHandle,
    _IncompatibleKeys,
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_buffer_registration_hooks,
    _global_forward_hooks,
    _global_forward_pre_hooks,
    _global_module_registration_hooks,
    _global_parameter_registration_hooks,
)
