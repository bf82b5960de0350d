"""Hooks of modules: handles, registration for one module or for all, and what `Module.__call__` does when there are
any.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from flambeau.autograd.graph import RemovableHandle
from flambeau.nn._core import Tensor

_global_forward_pre_hooks: OrderedDict = OrderedDict()
_global_forward_hooks: OrderedDict = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict = OrderedDict()
_global_forward_hooks_always_called: OrderedDict = OrderedDict()
_global_backward_pre_hooks: OrderedDict = OrderedDict()
_global_backward_hooks: OrderedDict = OrderedDict()
_global_buffer_registration_hooks: OrderedDict = OrderedDict()
_global_module_registration_hooks: OrderedDict = OrderedDict()
_global_parameter_registration_hooks: OrderedDict = OrderedDict()
_global_is_full_backward_hook: bool | None = None
#: Those that calls of modules look at.
CALLED = (_global_forward_pre_hooks, _global_forward_hooks, _global_backward_pre_hooks, _global_backward_hooks)


def _add(registry: OrderedDict, hook: Callable, *, marks: tuple = (), prepend: bool = False) -> RemovableHandle:
    """Put `hook` into `registry` (in front if `prepend`) and its id into every registry of `marks`."""
    handle = RemovableHandle(registry, extra_dict=marks)
    registry[handle.id] = hook
    for mark in marks:
        mark[handle.id] = True
    if prepend:
        registry.move_to_end(handle.id, last=False)
    return handle


# Whether there may be global hooks: then every module takes the call path that looks for hooks.
_anywhere = False


def _everywhere() -> None:
    global _anywhere
    _anywhere = True


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, args)` before the forward of every module; a result that is not None replaces `args`."""
    _everywhere()
    return _add(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after the forward of every module; a result that is not None replaces `output`.

    `with_kwargs` gives the hook the keyword arguments too (after `args`); `always_call` runs it also when forward
    raises.
    """
    _everywhere()
    marks = (_global_forward_hooks_with_kwargs,) * with_kwargs + (_global_forward_hooks_always_called,) * always_call
    return _add(_global_forward_hooks, hook, marks=marks)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_output)` of every module before the gradients of its inputs are computed."""
    _everywhere()
    return _add(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` of every module once the gradients of its inputs are there."""
    return _global_backward(hook, True)


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """The older form of `register_module_full_backward_hook`: it sees the last recorded operation of a module only."""
    return _global_backward(hook, False)


def _global_backward(hook: Callable[..., Any], full: bool) -> RemovableHandle:
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is not None and _global_is_full_backward_hook != full:
        raise RuntimeError(_mixed_kinds("global"))
    _global_is_full_backward_hook = full
    _everywhere()
    return _add(_global_backward_hooks, hook)


def _mixed_kinds(where: str) -> str:
    return (
        f"full backward hooks and backward hooks of the older kind are mixed ({where}): expected one kind only; "
        "use register_full_backward_hook for all of them"
    )


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, buffer)` whenever a module registers a buffer; a result that is not None replaces it."""
    return _add(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, submodule)` whenever a module registers a child; a result that is not None replaces
    it.
    """
    return _add(_global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, param)` whenever a module registers a parameter; a result that is not None replaces
    it.
    """
    return _add(_global_parameter_registration_hooks, hook)


def _name(hook: Callable) -> str:
    return getattr(hook, "__name__", type(hook).__name__)


class HookedCall:
    """The part of `Module` that calls `forward` and the hooks around it, and registers hooks."""

    # Set by a module's first hook, and where its calls are compiled: a call looks at nothing else, but for `_anywhere`.
    _hooked = False
    _compiled_call_impl: Callable | None = None
    forward: Callable[..., Any]
    _backward_pre_hooks: OrderedDict
    _backward_hooks: OrderedDict
    _is_full_backward_hook: bool | None
    _forward_hooks: OrderedDict
    _forward_hooks_with_kwargs: OrderedDict
    _forward_hooks_always_called: OrderedDict
    _forward_pre_hooks: OrderedDict
    _forward_pre_hooks_with_kwargs: OrderedDict

    def __call__(self, *args, **kwargs):
        """Run the module: the pre-forward hooks, `forward`, the forward hooks."""
        if self._hooked or _anywhere:
            if self._compiled_call_impl is not None:
                return self._compiled_call_impl(*args, **kwargs)
            return _call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_impl(self, *args, **kwargs):
        if self._hooked or _anywhere:
            return _call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def _own_hook(self, registry: OrderedDict, hook: Callable, **how: Any) -> RemovableHandle:
        self.__dict__["_hooked"] = True
        return _add(registry, hook, **how)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before every forward.

        What it returns, if not None, replaces the positional arguments (a value that is no tuple counts as one
        argument).
        With `with_kwargs` it is called as `hook(module, args, kwargs)` and returns None or `(args, kwargs)`. `prepend`
        runs it before the hooks that are there already (global hooks always run first).
        """
        marks = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        return self._own_hook(self._forward_pre_hooks, hook, marks=marks, prepend=prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after every forward; what it returns, if not None, replaces the output.

        With `with_kwargs` it is called as `hook(module, args, kwargs, output)`. With `always_call` it runs also when
        forward or another hook raises (its own exceptions are then only warned about). `prepend` runs it first.
        """
        marks = (self._forward_hooks_with_kwargs,) * with_kwargs + (self._forward_hooks_always_called,) * always_call
        return self._own_hook(self._forward_hooks, hook, marks=marks, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are known; it may return their
        replacement.

        `grad_output` is a tuple with None for outputs that are not tensors or took no part. Not to be changed in place.
        """
        return self._own_hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the inputs are known.

        Both are tuples, `grad_input` only for the positional arguments, with None for what is no tensor or needs no
        gradient. A result that is not None replaces `grad_input`. RuntimeError if hooks of the older kind are there.
        """
        self._one_kind(True)
        return self._own_hook(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The older form of `register_full_backward_hook`: it sees the last recorded operation of forward only."""
        self._one_kind(False)
        return self._own_hook(self._backward_hooks, hook)

    def _one_kind(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook != full:
            raise RuntimeError(_mixed_kinds(type(self).__name__))
        self._is_full_backward_hook = full

    def _get_backward_hooks(self) -> tuple[list, list]:
        """Full and older backward hooks that apply to this module, global ones first."""
        full: list = []
        older: list = []
        (full if _global_is_full_backward_hook else older).extend(_global_backward_hooks.values())
        (full if self._is_full_backward_hook else older).extend(self._backward_hooks.values())
        return full, older

    def _get_backward_pre_hooks(self) -> list:
        return [*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]


def _call_with_hooks(module: Any, args: tuple, kwargs: dict) -> Any:
    full, older = module._get_backward_hooks()
    backward_pre = module._get_backward_pre_hooks()
    forward = (module._forward_hooks, module._forward_pre_hooks, _global_forward_hooks, _global_forward_pre_hooks)
    if not (full or older or backward_pre or any(forward)):
        global _anywhere
        _anywhere = False  # all handles were removed, global ones too
        module.__dict__["_hooked"] = module._compiled_call_impl is not None
        return module.forward(*args, **kwargs)
    called: set[int] = set()
    result = None
    try:
        args, kwargs = _run_pre_hooks(module, args, kwargs)
        backward = None
        if full or backward_pre:
            from flambeau.nn.modules._backward_hooks import BackwardHook

            backward = BackwardHook(module, full, backward_pre)
            args = backward.setup_input_hook(args)
        result = module.forward(*args, **kwargs)
        for id, hook, with_kwargs, _ in _forward_hooks_of(module):
            called.add(id)
            new = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
            if new is not None:
                result = new
        if backward is not None:
            if not isinstance(result, (Tensor, tuple)):
                warnings.warn(
                    f"backward hooks of {type(module).__name__} need an output that is a tensor or a tuple of tensors; "
                    f"forward returned {type(result).__name__}, so they will not see its gradient",
                    stacklevel=3,
                )
            result = backward.setup_output_hook(result)
        if older:
            _attach_older(module, older, result)
        return result
    except Exception:
        _run_always_called(module, called, args, kwargs, result)
        raise


def _forward_hooks_of(module: Any) -> list[tuple[int, Callable, bool, bool]]:
    """(id, hook, wants kwargs, always called), global hooks first."""
    glob = [
        (i, h, i in _global_forward_hooks_with_kwargs, i in _global_forward_hooks_always_called)
        for i, h in _global_forward_hooks.items()
    ]
    own = [
        (i, h, i in module._forward_hooks_with_kwargs, i in module._forward_hooks_always_called)
        for i, h in module._forward_hooks.items()
    ]
    return glob + own


def _run_pre_hooks(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    hooks = [*_global_forward_pre_hooks.items(), *module._forward_pre_hooks.items()]
    for id, hook in hooks:
        if id in module._forward_pre_hooks_with_kwargs:
            new = hook(module, args, kwargs)
            if new is None:
                continue
            if not (isinstance(new, tuple) and len(new) == 2):
                raise RuntimeError(
                    f"forward pre-hook {_name(hook)} (with_kwargs) returned {type(new).__name__}: expected None or the "
                    "pair (args, kwargs)"
                )
            args, kwargs = new
        else:
            new = hook(module, args)
            if new is not None:
                args = new if isinstance(new, tuple) else (new,)
    return args, kwargs


def _attach_older(module: Any, hooks: list, result: Any) -> None:
    var = result
    while not isinstance(var, Tensor):
        if isinstance(var, dict):
            var = next(v for v in var.values() if isinstance(v, Tensor))
        else:
            var = var[0]
    if var.grad_fn is not None:
        for hook in hooks:
            var.grad_fn.register_hook(partial(hook, module))


def _run_always_called(module: Any, called: set[int], args: tuple, kwargs: dict, result: Any) -> None:
    """After an exception: the forward hooks that asked to be called in any case and were not yet."""
    for id, hook, with_kwargs, always in _forward_hooks_of(module):
        if not always or id in called:
            continue
        try:
            hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        except Exception as error:
            message = f"forward hook {_name(hook)} (always_call) raised {error!r}, ignored: forward failed before"
            warnings.warn(message, stacklevel=3)
