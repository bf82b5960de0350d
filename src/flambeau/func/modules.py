"""Modules as functions of their parameters, and several of them as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.func.levels import Layered
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module

__all__ = ["debug_unwrap", "replace_all_batch_norm_modules_", "stack_module_state"]


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of modules of one architecture, each stacked along a new first dimension.

    With `functional_call` and `vmap` the modules then run as one. The stacked parameters are leaves that require
    gradients where the modules' do. RuntimeError for no models, for models of different classes or modes.

    >>> import flambeau as torch
    >>> models = [torch.nn.Linear(2, 3) for _ in range(4)]
    >>> params, buffers = torch.func.stack_module_state(models)
    >>> call = lambda p, b, x: torch.func.functional_call(models[0], (p, b), (x,))
    >>> torch.vmap(call, (0, 0, None))(params, buffers, torch.ones(5, 2)).shape
    torch.Size([4, 5, 3])
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: at least one model is needed, got none")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError("stack_module_state: all models must be in the same training or eval mode")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: all models must be of one class")
    params = {}
    for key, first in models[0].named_parameters():
        column = [dict(m.named_parameters())[key] for m in models]
        if any(p.requires_grad != first.requires_grad for p in column):
            raise RuntimeError(f"stack_module_state: some of the models' '{key}' require gradients, some do not")
        stacked = NS["OPS"].stack_op([p.detach() for p in column], 0)
        params[key] = stacked.requires_grad_(first.requires_grad)
    buffers = {
        key: NS["OPS"].stack_op([dict(m.named_buffers())[key] for m in models], 0)
        for key, _ in models[0].named_buffers()
    }
    return params, buffers


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Makes every batch norm in `root` forget its running statistics, which `vmap` can't update, and returns `root`."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def debug_unwrap(tensor: Any, *, recurse: bool = True) -> Any:
    """What a tensor of a running transform holds, with `recurse` the plain tensor inside: for looking only."""
    while isinstance(tensor, Layered):
        tensor = tensor.inside()
        if not recurse:
            break
    return tensor
