"""States of models and optimizers by the parameters' own names, whatever wraps the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flambeau.autograd.runtime import no_grad
from flambeau.distributed import groups
from flambeau.distributed.collectives import broadcast
from flambeau.distributed.objects import broadcast_object_list
from flambeau.distributed.tensor import layout
from flambeau.tensor.creation import zeros_like
from flambeau.tensor.tensor import Tensor

__all__ = ["StateDictOptions", "get_model_state_dict", "get_optimizer_state_dict", "get_state_dict",
           "set_model_state_dict", "set_optimizer_state_dict", "set_state_dict"]  # fmt: skip

_WRAPPERS = ("_fsdp_wrapped_module.", "_orig_mod.", "_checkpoint_wrapped_module.")


@dataclass
class StateDictOptions:
    """How states are given and taken.

    Args:
        full_state_dict: tensors whole, not over a mesh.
        cpu_offload: on the CPU; with `full_state_dict` the first process alone has them, the others an empty dict.
        ignore_frozen_params: without parameters that need no gradient.
        strict: loading refuses names that are missing or unknown.
        broadcast_from_rank0: when loading, the first process's whole tensors count; the others may pass {}.
        flatten_optimizer_state_dict: names with dots instead of nested dicts.
    """

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False


def _bare(model: Any) -> Any:
    """The model within wrappers around all of it."""
    while True:
        kind = type(model).__name__
        if kind in ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel"):
            model = model.module
        elif "_orig_mod" in model.__dict__ or hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def _named(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _given(value: Any, options: StateDictOptions) -> Any:
    """A state's tensors as the options have them."""
    if isinstance(value, dict):
        return {k: _given(v, options) for k, v in value.items()}
    if not isinstance(value, Tensor):
        return value
    value = value.detach()
    if options.full_state_dict:
        value = layout.whole(value)
    return value.cpu() if options.cpu_offload and layout.spread_of(value) is None else value


def _only_first(options: StateDictOptions) -> bool:
    return options.full_state_dict and options.cpu_offload and groups.is_initialized() and groups.get_rank() > 0


def get_model_state_dict(model: Any, *, submodules: set | None = None, options: StateDictOptions | None = None) -> dict:
    """The model's parameters and buffers, by the names that they have without wrappers."""
    options = options or StateDictOptions()
    inner = _bare(model)
    frozen = {_named(n) for n, p in inner.named_parameters() if not p.requires_grad}
    found = {}
    for name, value in inner.state_dict(keep_vars=False).items():
        name = _named(name)
        if options.ignore_frozen_params and name in frozen:
            continue
        found[name] = _given(value, options)
    if submodules:
        prefixes = tuple(_named(n) + "." for n, m in inner.named_modules() if m in submodules)
        found = {n: v for n, v in found.items() if n.startswith(prefixes)}
    return {} if _only_first(options) else found


def _optimizers(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Iterable) else [given]


def _begin(optimizer: Any) -> None:
    """Has an optimizer make its state, by a step that changes nothing."""
    if optimizer.state:
        return
    kept = [(group, group["lr"]) for group in optimizer.param_groups if "lr" in group]
    grads = [(p, p.grad) for group in optimizer.param_groups for p in group["params"]]
    before = [(p, p.detach().clone()) for p, _ in grads]
    for p, _ in grads:
        if p.requires_grad:
            p.grad = zeros_like(p)
    for group, lr in kept:
        group["lr"] = lr * 0.0 if isinstance(lr, float) else lr
    try:
        optimizer.step()
    finally:
        for group, lr in kept:
            group["lr"] = lr
        for (p, grad), (_, value) in zip(grads, before, strict=True):
            p.grad = grad
            with no_grad():
                p.copy_(value)


def get_optimizer_state_dict(model: Any, optimizers: Any, *, submodules: set | None = None,
                             options: StateDictOptions | None = None) -> dict:  # fmt: skip
    """The optimizers' state and settings, parameters by name: {"state": {name: ...}, "param_groups": [...]}.

    An optimizer that has no state yet makes it, so that there is something to load into.
    """
    options = options or StateDictOptions()
    names = {id(p): _named(n) for n, p in _bare(model).named_parameters()}
    state: dict[str, Any] = {}
    all_groups: list[dict] = []
    for optimizer in _optimizers(optimizers):
        _begin(optimizer)
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p in optimizer.state:
                    state[names[id(p)]] = _given(dict(optimizer.state[p]), options)
            rest = {k: v for k, v in group.items() if k != "params"}
            all_groups.append({**rest, "params": [names[id(p)] for p in group["params"]]})
    if _only_first(options):
        return {}
    if options.flatten_optimizer_state_dict:
        flat = {f"state.{n}.{k}": v for n, s in state.items() for k, v in s.items()}
        settings = {f"param_groups.{n}.{k}": v for g in all_groups for n in g["params"]
                    for k, v in g.items() if k != "params"}  # fmt: skip
        return {**flat, **settings}
    return {"state": state, "param_groups": all_groups}


def get_state_dict(model: Any, optimizers: Any, *, submodules: set | None = None,
                   options: StateDictOptions | None = None) -> tuple[dict, dict]:  # fmt: skip
    """`get_model_state_dict` and `get_optimizer_state_dict`."""
    return (
        get_model_state_dict(model, submodules=submodules, options=options),
        get_optimizer_state_dict(model, optimizers, submodules=submodules, options=options),
    )


def _from_first(state: Any) -> Any:
    """A nested state of the first process, in all."""
    if not groups.is_initialized() or groups.get_world_size() == 1:
        return state
    box = [_skeleton(state)]
    broadcast_object_list(box, 0)
    return _sent(box[0], state)


def _skeleton(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _skeleton(v) for k, v in value.items()}
    return _Shape(value) if isinstance(value, Tensor) else value


class _Shape:
    """A tensor that is to come."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype = tuple(tensor.shape), tensor.dtype


def _sent(shape: Any, value: Any) -> Any:
    if isinstance(shape, dict):
        return {k: _sent(v, value.get(k) if isinstance(value, dict) else None) for k, v in shape.items()}
    if not isinstance(shape, _Shape):
        return shape
    from flambeau.tensor.creation import zeros

    mine = groups.get_rank() == 0
    tensor = layout.whole(value).cpu() if mine else zeros(shape.shape, dtype=shape.dtype)
    broadcast(tensor, 0)
    return tensor


def set_model_state_dict(model: Any, model_state_dict: dict, *, options: StateDictOptions | None = None) -> Any:
    """Loads a state that `get_model_state_dict` gave; what `load_state_dict` returns."""
    options = options or StateDictOptions()
    if options.broadcast_from_rank0:
        model_state_dict = _from_first(model_state_dict)
    inner = _bare(model)
    names = {_named(n): n for n in inner.state_dict()}
    return inner.load_state_dict({names.get(n, n): v for n, v in model_state_dict.items()}, strict=options.strict)


def set_optimizer_state_dict(model: Any, optimizers: Any, optim_state_dict: dict, *,
                             options: StateDictOptions | None = None) -> None:  # fmt: skip
    """Loads a state that `get_optimizer_state_dict` gave, into parameters that may lie otherwise now."""
    options = options or StateDictOptions()
    if options.broadcast_from_rank0:
        optim_state_dict = _from_first(optim_state_dict)
    if optim_state_dict and "state" not in optim_state_dict:
        optim_state_dict = _nested(optim_state_dict)
    names = {id(p): _named(n) for n, p in _bare(model).named_parameters()}
    settings = {n: g for g in optim_state_dict.get("param_groups", ()) for n in g["params"]}
    for optimizer in _optimizers(optimizers):
        _begin(optimizer)
        for group in optimizer.param_groups:
            for p in group["params"]:
                _put(optimizer.state[p], optim_state_dict["state"].get(names[id(p)], {}))
            known = next((settings[names[id(p)]] for p in group["params"] if names[id(p)] in settings), None)
            if known is not None:
                group.update({k: v for k, v in known.items() if k != "params"})


def _put(state: dict, saved: dict) -> None:
    for key, value in saved.items():
        old = state.get(key)
        if isinstance(old, Tensor) and isinstance(value, Tensor):
            with no_grad():
                old.copy_(value)
        else:
            state[key] = value.clone() if isinstance(value, Tensor) else value


def _nested(flat: dict) -> dict:
    state: dict[str, dict] = {}
    settings: dict[str, dict] = {}
    for name, value in flat.items():
        kind, _, rest = name.partition(".")
        param, _, key = rest.rpartition(".")
        (state if kind == "state" else settings).setdefault(param, {})[key] = value
    return {"state": state, "param_groups": [{"params": [n], **s} for n, s in settings.items()]}


def set_state_dict(model: Any, optimizers: Any, *, model_state_dict: dict, optim_state_dict: dict,
                   options: StateDictOptions | None = None) -> Any:  # fmt: skip
    """`set_model_state_dict` and `set_optimizer_state_dict`."""
    result = set_model_state_dict(model, model_state_dict, options=options)
    set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return result
