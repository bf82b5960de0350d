"""Saving and loading the state of modules: `state_dict`, `load_state_dict` and their hooks."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from flambeau.nn._core import Tensor, no_grad
from flambeau.nn.modules._hooks import RemovableHandle, _add
from flambeau.nn.parameter import Parameter, is_lazy

_EXTRA_STATE_KEY_SUFFIX = "_extra_state"
_UNDO = "undo_log"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns: the keys it missed and those it had no use for."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class _StateHook:
    """A load pre-hook that gets the module as its first argument; the module is held weakly."""

    def __init__(self, hook: Callable, module: Any = None) -> None:
        self.hook = hook
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.module is None:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError(f"hook {self.hook!r} is called for a module that is gone")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict:
        return {"hook": self.hook, "module": None if self.module is None else self.module()}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["hook"], state["module"])  # type: ignore[misc]


class Stateful:
    """The part of `Module` that saves and loads state."""

    _version: int
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_hooks: OrderedDict
    _state_dict_pre_hooks: OrderedDict
    _load_state_dict_pre_hooks: OrderedDict
    _load_state_dict_post_hooks: OrderedDict

    def get_extra_state(self) -> Any:
        """What else belongs into `state_dict()`; override it together with `set_extra_state`."""
        raise RuntimeError(
            f"{type(self).__name__} has state in its dict under '{_EXTRA_STATE_KEY_SUFFIX}' but no get_extra_state: "
            f"define it"
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned; called by `load_state_dict`."""
        raise RuntimeError(
            f"state for '{_EXTRA_STATE_KEY_SUFFIX}' came, but {type(self).__name__} has no set_extra_state: define it"
        )

    # -- saving

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """The older form of `register_state_dict_post_hook`: what it returns, if not None, replaces the dictionary."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "this hook was registered by register_state_dict_post_hook before: pass a new function (or a lambda "
                "around it)"
            )
        return _add(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` at the end of `state_dict()`; it may change the
        dictionary in place and returns None."""
        hook._from_public_api = True  # type: ignore[attr-defined]
        return _add(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict()` collects anything."""
        return _add(self._state_dict_pre_hooks, hook)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Write this module's own parameters, persistent buffers and extra state (not its children's) to
        `destination`.
        """
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buf in self._buffers.items():
            if buf is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buf if keep_vars else buf.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + _EXTRA_STATE_KEY_SUFFIX] = self.get_extra_state()

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """All parameters and persistent buffers of this module and its descendants by dotted name, as an OrderedDict.

        The tensors share memory with the module's and carry no gradient history (`keep_vars=True`: the objects
        themselves). `destination` is filled instead of a new dictionary, `prefix` goes before every name.

        >>> import flambeau as torch
        >>> list(torch.nn.Linear(2, 3).state_dict())
        ['weight', 'bias']
        """
        if args:
            warnings.warn("state_dict: pass destination, prefix and keep_vars by name", FutureWarning, stacklevel=2)
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            result = hook(self, destination, prefix, local_metadata)
            if getattr(hook, "_from_public_api", False):
                if result is not None:
                    raise RuntimeError(
                        f"state_dict post-hook {hook!r} returned {type(result).__name__}: expected None (change the "
                        "dictionary in place)"
                    )
            elif result is not None:
                destination = result
        return destination

    # -- loading

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        """Like `register_load_state_dict_pre_hook`, but the hook gets the module only on request."""
        return _add(self._load_state_dict_pre_hooks, _StateHook(hook, self if with_module else None))

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`
        before this module's own state is loaded; it may change the dictionary and the lists in place."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after loading; it may edit both lists of keys in place and returns
        None.
        """
        return _add(self._load_state_dict_post_hooks, hook)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Load this module's own state (not its children's) from the keys of `state_dict` that start with `prefix`.

        What goes wrong is appended to the three lists. Override it to accept older layouts: `local_metadata["version"]`
        tells the `_version` that was saved.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = self._own_state()
        for name, param in own.items():
            key = prefix + name
            if key in state_dict:
                problem = self._load_one(name, param, state_dict[key], key, local_metadata)
                if problem:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        extra = prefix + _EXTRA_STATE_KEY_SUFFIX
        if type(self).set_extra_state is not Stateful.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            unexpected_keys.extend(k for k in state_dict if k != extra and self._has_no_use_for(k, prefix, own))

    def _own_state(self) -> dict[str, Any]:
        own = {n: p for n, p in self._parameters.items() if p is not None}
        skip = self._non_persistent_buffers_set
        own.update((n, b) for n, b in self._buffers.items() if b is not None and n not in skip)
        return own

    def _has_no_use_for(self, key: str, prefix: str, own: dict[str, Any]) -> bool:
        if not key.startswith(prefix):
            return False
        head, dot, _ = key[len(prefix) :].partition(".")
        return head not in (self._modules if dot else own)

    def _load_one(self, name: str, param: Any, value: Any, key: str, local_metadata: dict) -> str:
        """Copy (or assign) one tensor; returns what is wrong with it, or ''."""
        if not isinstance(value, Tensor):
            return f'parameter "{key}": expected a Tensor in the state_dict, got {type(value).__name__}'
        lazy = is_lazy(param)
        if is_lazy(value):
            return "" if lazy else f'parameter "{key}": the state_dict has one that is not initialized yet'
        if not lazy and param.dim() == 0 and value.dim() == 1 and len(value) == 1:
            value = value[0]  # scalars were saved with shape (1,) long ago
        if not lazy and tuple(value.shape) != tuple(param.shape):
            return (
                f"size mismatch for {key}: the state_dict has shape {tuple(value.shape)}, the module expects "
                f"{tuple(param.shape)}"
            )
        undo = local_metadata.get(_UNDO)
        try:
            with no_grad():
                if local_metadata.get("assign_to_params_buffers", False):
                    self._assign(name, param, value, undo)
                else:
                    if undo is not None and not lazy:
                        undo.append(_copy_back(param))
                    if param.is_meta and not value.is_meta:
                        _warn_of_meta(key)
                    param.copy_(value)
        except Exception as error:
            return (
                f'parameter "{key}" of shape {tuple(param.shape)} and {param.dtype} could not take a value of shape '
                f"{tuple(value.shape)} and {value.dtype}: {type(error).__name__}: {error}"
            )
        return ""

    def _assign(self, name: str, param: Any, value: Any, undo: list | None) -> None:
        if isinstance(param, Parameter):
            if not isinstance(value, Parameter):
                value = Parameter(value, requires_grad=param.requires_grad)
            else:
                value.requires_grad_(param.requires_grad)
        if undo is not None:
            undo.append(lambda: setattr(self, name, param))
        setattr(self, name, value)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Copy the tensors of `state_dict` into this module and its descendants.

        Values are copied in place (`assign=True`: the tensors themselves become the parameters, with the module's
        `requires_grad`). With `strict`, missing and unexpected keys are errors; shapes that differ always are. A call
        that fails leaves the module as it was.

        Returns the named tuple `(missing_keys, unexpected_keys)`. TypeError if `state_dict` is no mapping, RuntimeError
        that lists every missing, unexpected and mismatched key.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            state_dict._metadata = metadata  # type: ignore[attr-defined]
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        # A copy of what gets overwritten is only kept when the load looks likely to fail.
        undo: list[Callable] | None = None if _looks_right(self, state_dict) else []

        def load(module: Any, local: Any, prefix: str) -> None:
            local_metadata = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
            if assign:
                local_metadata["assign_to_params_buffers"] = True
            if undo is not None:
                local_metadata[_UNDO] = undo
            module._load_from_state_dict(local, prefix, local_metadata, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    child_prefix = f"{prefix}{name}."
                    load(child, {k: v for k, v in local.items() if k.startswith(child_prefix)}, child_prefix)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, _IncompatibleKeys(missing, unexpected)) is not None:
                    raise RuntimeError(
                        f"load_state_dict post-hook {hook!r} returned a value: edit the lists in place, return None"
                    )

        load(self, state_dict, "")
        if strict:
            for kind, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    listed = ", ".join(f'"{k}"' for k in keys)
                    errors.insert(0, f"{kind} key(s) in state_dict: {listed}. ")
        if errors:
            for step in reversed(undo or ()):
                step()
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return _IncompatibleKeys(missing, unexpected)


def _warn_of_meta(key: str) -> None:
    warnings.warn(
        f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current module, "
        "which is a no-op: pass assign=True to make the tensors of the state_dict the module's own",
        stacklevel=6,
    )


def _copy_back(param: Any) -> Callable:
    old = param.detach().clone()

    def back() -> None:
        with no_grad():
            param.copy_(old)

    return back


def _looks_right(module: Any, state_dict: Mapping[str, Any]) -> bool:
    """Whether names and shapes agree throughout, judged without running any hook or override."""
    expected = 0
    for prefix, m in module.named_modules(remove_duplicate=False):
        prefix = prefix + "." if prefix else ""
        for name, t in m._own_state().items():
            value = state_dict.get(prefix + name)
            if (
                not isinstance(value, Tensor)
                or is_lazy(value)
                or (not is_lazy(t) and tuple(value.shape) != tuple(t.shape))
            ):
                return False
            expected += 1
        expected += type(m).set_extra_state is not Stateful.set_extra_state
    return expected == len(state_dict)
