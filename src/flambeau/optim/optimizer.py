"""`Optimizer`.

Parameter groups, per-parameter state, saving and loading, hooks. `RuleOptimizer`: one update rule for every parameter.
"""

from __future__ import annotations

import copy
import functools
import threading
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from flambeau.autograd.graph import RemovableHandle
from flambeau.autograd.runtime import NS, enable_grad, set_grad_enabled
from flambeau.autograd.views import bump
from flambeau.dtypes import float64, get_default_dtype
from flambeau.ops.dispatch import wrap as tensor_of
from flambeau.optim._legacy import (  # noqa: F401 - optimizers of others import these from here
    _capturable_doc,
    _default_to_fused_or_foreach,
    _differentiable_doc,
    _disable_dynamo_if_unsupported,
    _dispatch_sqrt,
    _foreach_doc,
    _fused_doc,
    _get_capturable_supported_devices,
    _get_scalar_dtype,
    _get_value,
    _group_tensors_by_device_and_dtype,
    _maximize_doc,
    _params_doc,
    _stack_if_compiling,
    _to_scalar,
    _use_grad_for_differentiable,
    _view_as_real,
)
from flambeau.optim.arithmetic import Recorded, run
from flambeau.optim.fused import Batch
from flambeau.optim.standing import Standing
from flambeau.tensor.tensor import Tensor

__all__ = [
    "Optimizer",
    "ParamsT",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]

ParamsT: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

_global_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable] = OrderedDict()


class _Required:
    """The default of an option that every parameter group must give itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Have `hook(optimizer, args, kwargs)` called before every step of every optimizer; returns a removable handle.

    The hook may return new `(args, kwargs)` for the step.
    """
    return RemovableHandle.add(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Have `hook(optimizer, args, kwargs)` called after every step of every optimizer; returns a removable handle."""
    return RemovableHandle.add(_global_post_hooks, hook)


def _hooked(step: Callable) -> Callable:
    """`step` with the optimizer's hooks, and the global ones, around it."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if not (
            self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks or _global_pre_hooks or _global_post_hooks
        ):
            return step(self, *args, **kwargs)
        args = (self, *args)
        for hook in chain(_global_pre_hooks.values(), self._optimizer_step_pre_hooks.values()):
            result = hook(self, args, kwargs)
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    f"a hook before step() returns None or the pair (args, kwargs), this one gave {result!r}"
                )
            args, kwargs = result
        out = step(*args, **kwargs)
        for hook in chain(self._optimizer_step_post_hooks.values(), _global_post_hooks.values()):
            hook(self, args, kwargs)
        return out

    wrapper.hooked = True  # type: ignore[attr-defined]
    return wrapper


class Optimizer:
    """Base class of all optimizers.

    `params` is an iterable of tensors, of `(name, tensor)` pairs, or of dicts that each define a parameter group: its
    `"params"` and options that override `defaults`. Their order must be the same in every run: sets have none.

    A subclass defines `step(closure=None)`, reads options from `self.param_groups` and keeps what it needs to
    remember about a parameter in `self.state[param]`:

    >>> import flambeau as torch
    >>> class Descent(torch.optim.Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, dict(lr=lr))
    ...     @torch.no_grad()
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p -= group["lr"] * p.grad
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> opt = Descent([w])
    >>> w.sum().backward(); opt.step(); w.detach()
    tensor([0.9000, 0.9000])
    """

    # some wrappers of optimizers never call this class's __init__: their steps run without hooks
    _optimizer_step_pre_hooks: Any = MappingProxyType({})
    _optimizer_step_post_hooks: Any = MappingProxyType({})
    _optimizer_state_dict_pre_hooks: OrderedDict[int, Callable]
    _optimizer_state_dict_post_hooks: OrderedDict[int, Callable]
    _optimizer_load_state_dict_pre_hooks: OrderedDict[int, Callable]
    _optimizer_load_state_dict_post_hooks: OrderedDict[int, Callable]

    @staticmethod
    def _group_tensors_by_device_and_dtype(tensorlistlist: Any, with_indices: bool = False) -> dict:
        """Lists that belong together, parted by device and dtype, as optimizers of others sort them."""
        return _group_tensors_by_device_and_dtype(tensorlistlist, with_indices)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if callable(step) and not getattr(step, "hooked", False):
            cls.step = _hooked(step)  # type: ignore[method-assign]

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "an optimizer takes an iterable of tensors or of dicts, got a single Tensor: put it in a list, [tensor]"
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("an optimizer needs at least one parameter, the parameter list is empty")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]  # type: ignore[list-item]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def _make_hooks(self) -> None:
        for name in _HOOKS:
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())

    def _patch_step_function(self) -> None:
        """What wrappers of optimizers call that leave out `__init__`: hooks are there, and `step` calls them."""
        self._make_hooks()

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hooks()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # --- hooks ---------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Have `hook(optimizer, args, kwargs)` called before each step; it may return new `(args, kwargs)`."""
        return RemovableHandle.add(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Have `hook(optimizer, args, kwargs)` called after each step."""
        return RemovableHandle.add(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer)` called before `state_dict` gathers anything."""
        return RemovableHandle.add(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer, state_dict)` called on what `state_dict` is about to return; it may return another."""
        return RemovableHandle.add(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer, state_dict)` called on what is to be loaded; it may return another dict."""
        return RemovableHandle.add(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer)` called after a state dict was loaded."""
        return RemovableHandle.add(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # --- parameter groups ----------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with options of its own, for instance layers that are thawed later in training.

        Raises TypeError for anything but a dict of tensors, ValueError for tensors that are not leaves, that another
        group has already, or that have no name where the others have one. A refused group changes nothing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"a parameter group is a dict with the key 'params', got {type(param_group).__name__}")
        params, names = self._checked_params(param_group["params"])
        group = {**param_group, "params": params}
        if names is not None:
            group["param_names"] = names
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(f"a parameter group lacks {name!r}, which has no default")
            group.setdefault(name, default)
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "a parameter group holds the same parameter more than once; this will become an error", stacklevel=3
            )
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        if any(id(p) in taken for p in params):
            raise ValueError("a parameter can be in one parameter group only, some of these are in another already")
        if self.param_groups and ("param_names" in self.param_groups[0]) != (names is not None):
            raise ValueError("either all parameter groups have names or none has, the new one differs from the others")
        param_group.update(group)
        self.param_groups.append(param_group)

    def _checked_params(self, params: Any) -> tuple[list[Any], list[str] | None]:
        """The tensors of a group and, if they came as pairs, their names."""
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise TypeError("parameters come in a list: the order of a set changes from run to run")
        params = list(params)
        named = [isinstance(p, tuple) for p in params]
        if any(named) and not all(named):
            raise ValueError("either all parameters of a group have names or none has, here some are missing")
        names = None
        if params and all(named):
            names = [name for name, _ in params]
            params = [p for _, p in params]
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"an optimizer can only optimize Tensors, one of the parameters is {type(p).__name__}")
            if not self.defaults.get("differentiable") and not (p.is_leaf or p.retains_grad):
                raise ValueError("an optimizer can only optimize leaf tensors, this one was computed from others")
        return params, names

    # --- steps ---------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters: set to None, or to zeros with `set_to_none=False`."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    if grad.grad_fn is not None:
                        grad.detach_()
                    else:
                        grad.requires_grad_(False)
                    grad.zero_()

    def step(self, closure: Callable | None = None) -> Any:
        """Update every parameter once.

        `closure`, if given, computes the loss and its gradients anew and returns the loss.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    # --- saving and loading --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The optimizer as plain data: `{"state": {number: {...}}, "param_groups": [{..., "params": [number, ...]}]}`.

        Parameters appear as numbers, in the order of the groups. Tensors are the optimizer's own, not copies.
        """
        for pre in self._optimizer_state_dict_pre_hooks.values():
            pre(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for post in self._optimizer_state_dict_post_hooks.values():
            changed = post(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state from what `state_dict()` of an optimizer with the same groups returned.

        State tensors are copied to the dtype and device of their parameter (`step` counts keep their own).
        Raises ValueError, before anything changes, if the groups differ in number or size.
        """
        state_dict = dict(state_dict)
        for pre in self._optimizer_load_state_dict_pre_hooks.values():
            changed = pre(self, state_dict)
            if changed is not None:
                state_dict = changed
        ours, theirs = self.param_groups, copy.deepcopy(state_dict["param_groups"])
        if len(ours) != len(theirs):
            raise ValueError(f"this optimizer has {len(ours)} parameter groups, the state to load has {len(theirs)}")
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if len(mine["params"]) != len(other["params"]):
                raise ValueError(
                    f"parameter group {i} has {len(mine['params'])} parameters, in the state to load it has "
                    f"{len(other['params'])}"
                )
        numbers = chain.from_iterable(g["params"] for g in theirs)
        owner = dict(zip(numbers, chain.from_iterable(g["params"] for g in ours), strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in owner:
                param = owner[key]
                state[param] = _fitted(param, value)
            else:
                state[key] = value
        for mine, other in zip(ours, theirs, strict=True):
            other["params"] = mine["params"]
            if "param_names" in mine and "param_names" not in other:
                other["param_names"] = mine["param_names"]
        self.__setstate__({"state": state, "param_groups": theirs})
        for post in self._optimizer_load_state_dict_post_hooks.values():
            post(self)


_HOOKS = tuple(name for name in Optimizer.__annotations__ if name.endswith("_hooks"))


def _fitted(param: Any, value: Any, key: Any = None) -> Any:
    """Loaded state of one parameter: tensors copied to the parameter's dtype and device, containers alike."""
    if isinstance(value, Tensor):
        if key == "step":
            return value.detach().clone()
        if param.is_floating_point():
            return value.detach().to(dtype=param.dtype, device=param.device, copy=True)
        return value.detach().to(device=param.device, copy=True)
    if isinstance(value, dict):
        return {k: _fitted(param, v, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_fitted(param, v) for v in value)  # type: ignore[call-arg]
    return value


# --- optimizers with one rule for every parameter -------------------------------------------------------------------


class RuleOptimizer(Optimizer):
    """An optimizer whose step is the same small rule for every parameter.

    A subclass gives `new_state(param, group)`, a parameter's first state, and `prepare(group)`, which reads the group's
    options once and returns the hyperparameters; `update(param, state, hyper)` then changes one parameter.
    """

    _standing: Standing | None = None
    #: state of one number that the host computes with, wherever parameters are
    counts: tuple[str, ...] = ("step",)

    def step(self, closure: Callable | None = None) -> Any:
        """Update every parameter that has a gradient.

        `closure`, if given, is called first, with gradients on: it clears the gradients, computes the loss, calls
        `backward()` and returns the loss, which is what `step` then returns (else None).
        """
        if self.defaults.get("differentiable"):
            with set_grad_enabled(True):
                loss = closure() if closure is not None else None
                self._update_all()
            return loss
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._update_all()
        return loss

    def _update_all(self) -> None:
        capture = NS.get("CAPTURE")
        if capture is not None and not self.defaults.get("differentiable"):
            capture.optimizer(self, lambda: self._update_together(Batch()))
            return
        standing, self._standing = self._standing or Standing(), None  # nobody else has it meanwhile
        self._update_together(standing if standing.worthwhile else Batch())
        self._standing = standing

    def _update_together(self, batch: Batch) -> None:
        # updates are collected, as far as native kernels can do them, and done together at the end
        before = _open.batch
        _open.batch = batch
        try:
            self._update_each()
        finally:
            _open.batch = before
            batch.finish()

    def _update_each(self) -> None:
        states = self.state
        for group in self.param_groups:
            hyper = self.prepare(group)
            for p in group["params"]:
                grad = p._grad
                if grad is None:
                    continue
                state: Any = states.get(p)
                if not state:
                    state = self.new_state(p, group)
                    if state is not None:
                        states[p] = state
                self.update(group, p, grad, state, hyper)

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any] | None:
        """What the optimizer remembers about a parameter before its first update; None if it needs no memory."""
        return None

    def prepare(self, group: dict[str, Any]) -> Any:
        """The group's hyperparameters, as `update` wants them."""
        raise NotImplementedError(
            f"{type(self).__name__} must define prepare(group), which `update` gets the result of"
        )

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        """Change one parameter and its state.

        A rule made of operations on tensors says `numbers(group, param, state, hyper)`, all numbers of this update that
        change from step to step, and `change`, which does it: so a compiled step can take the numbers as inputs.
        """
        numbers = self.numbers(group, param, state, hyper)
        feed = getattr(_open.batch, "feed", None)
        given = numbers if feed is None else feed(group, param, numbers)
        self.change(group, param, grad, state, hyper, given)

    def numbers(self, group: dict[str, Any], param: Any, state: dict[str, Any], hyper: Any) -> tuple[float, ...]:
        """The numbers of the next update of a parameter; counts it."""
        raise NotImplementedError(f"{type(self).__name__} must define update(group, param, grad, state, hyper)")

    def change(
        self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any, numbers: Any
    ) -> None:
        """The update with these numbers: floats, or tensors of one number."""
        raise NotImplementedError(f"{type(self).__name__} must define update(group, param, grad, state, hyper)")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in self.later_options().items():
                group.setdefault(name, default)
            for p in group["params"]:
                kept = self.state.get(p)
                if kept and "step" in kept and not isinstance(kept["step"], Tensor):
                    kept["step"] = counter(float(kept["step"]))
                for name in self.counts:
                    if kept and isinstance(kept.get(name), Tensor):
                        kept[name] = kept[name].cpu()

    def later_options(self) -> dict[str, Any]:
        """Options that old saved states lack, with the values they stand for."""
        return {"foreach": None, "maximize": False, "differentiable": False, "capturable": False, "fused": None}


def counter(value: float = 0.0) -> Any:
    """A step count as PyTorch keeps it: a 0-dim floating-point tensor."""
    return tensor_of(np.array(value, np.float64 if get_default_dtype() == float64 else np.float32))


def advance(step: Any) -> float:
    """Add one to a step count and return it as a Python float."""
    array = step._a
    value = array.item() + 1.0
    array[()] = value
    return value


def zeros_for(param: Any) -> Any:
    """A tensor of zeros, shaped and typed like `param`, outside the graph."""
    return tensor_of(np.zeros_like(param._a))


def apply(update: Callable, group: dict[str, Any], tensors: tuple, hyper: tuple) -> None:
    """Run an update rule on a parameter, its gradient and state (tensors or None), in place.

    On their arrays, or recorded.
    """
    if group["differentiable"]:
        update(Recorded, *tensors, *hyper)
        return
    arrays = tuple([None if t is None else t._a for t in tensors])
    batch = _open.batch
    if batch is None or not batch.add(update, arrays, hyper):
        run(update, arrays, hyper)
    bump(tensors[0])


class _Open(threading.local):
    """The batch that this thread's updates go into."""

    batch: Batch | None = None


_open = _Open()


def number(value: Any) -> Any:
    """A hyperparameter as a Python float; it may be given as a one-element tensor."""
    return value if type(value) is float else value.item() if isinstance(value, Tensor) else float(value)


# --- checks that optimizers share -----------------------------------------------------------------------------------


def check_lr(lr: Any, foreach: bool | None = None, capturable: bool = True) -> None:
    """Raises ValueError unless `lr` is a number of at least 0, or a tensor with one element where that is allowed."""
    if isinstance(lr, Tensor):
        if foreach and not capturable:
            raise ValueError("a Tensor lr needs capturable=True when foreach=True")
        if lr.numel() != 1:
            raise ValueError(f"a Tensor lr has one element, this one has shape {list(lr.shape)}")
    check_at_least_zero("learning rate", lr)


def check_at_least_zero(what: str, value: Any) -> None:
    """Raises ValueError for a negative hyperparameter or NaN."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {what}: {value}, expected a number >= 0")


def check_betas(betas: Any) -> None:
    """Raises ValueError unless both betas are in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}, expected 0 <= beta < 1")


def check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Raises RuntimeError for settings that exclude each other."""
    if fused and differentiable:
        raise RuntimeError("fused=True and differentiable=True exclude each other")
    if fused and foreach:
        raise RuntimeError("fused=True and foreach=True exclude each other")
