"""An optimizer that works on other tensors than its own for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.tensor.tensor import Tensor

__all__ = ["swap_in_optimizer_params_and_state"]


def _need(condition: Any, text: str) -> None:
    if not condition:
        raise RuntimeError(f"swap_in_optimizer_params_and_state: {text}")


def _checked(optimizer: Any, tensors: list[Any], given: Any) -> list[tuple[dict, dict, list[Any]]]:
    """(its group, the group given, the tensors for it) for each group."""
    _need(optimizer.state, "the optimizer has no state yet: take a step first")
    _need(isinstance(given, dict), f"the state must be a state dict, got {type(given).__name__}")
    state: Any = given.get("state")
    groups: Any = given.get("param_groups")
    _need(isinstance(state, dict), "the state dict's 'state' must be a dict")
    _need(not any(isinstance(k, Tensor) for k in state), "states are found by the numbers of parameters")
    _need(all(isinstance(v, dict) for k, v in state.items() if isinstance(k, int)), "a parameter's state is a dict")
    mine = optimizer.param_groups
    _need(isinstance(groups, list) and len(groups) == len(mine), f"{len(mine)} parameter groups are needed")
    found: list[tuple[dict, dict, list[Any]]] = []
    seen: set[int] = set()
    start = 0
    for i, (own, other) in enumerate(zip(mine, groups, strict=True)):
        numbers: Any = other.get("params") if isinstance(other, dict) else None
        fits = isinstance(numbers, list) and all(isinstance(n, int) for n in numbers)
        _need(fits, f"group {i} must be a dict whose 'params' are the numbers of parameters")
        _need(len(numbers) == len(own["params"]), f"group {i} needs {len(own['params'])} parameters")
        _need(set(other) == set(own), f"group {i} must have the options {sorted(own)}, got {sorted(other)}")
        _need(start + len(numbers) <= len(tensors), "there are fewer tensors than the groups have parameters")
        found.append((own, other, tensors[start : start + len(numbers)]))
        start += len(numbers)
        seen.update(numbers)
    extra = [k for k in state if k not in seen]
    _need(not extra, f"there are states of parameters that no group has: {extra}")
    return found


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Any, swapin_parameters: dict[str, Any], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Inside, `optimizer` steps the tensors of `swapin_parameters`, in the order of its own parameters, with the state
    and options of a `state_dict()`; afterwards it is as before.

    Writes in place reach the tensors given, other changes are lost. RuntimeError where the state does not fit.

    >>> import flambeau as torch
    >>> w, v = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.Adam([w], lr=0.5)
    >>> w.grad = v.grad = torch.ones(1)
    >>> optimizer.step()
    >>> with torch.optim.swap_in_optimizer_params_and_state(optimizer, {"w": v}, optimizer.state_dict()):
    ...     optimizer.step()
    >>> w.detach(), v.detach()
    (tensor([0.5000]), tensor([-0.5000]))
    """
    places = _checked(optimizer, list(swapin_parameters.values()), swapin_optim_state)
    state, groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    try:
        inside: Any = defaultdict(dict)
        for own, other, tensors in places:
            own.update(other)
            own["params"] = tensors
            for tensor, number in zip(tensors, other["params"], strict=True):
                inside[tensor] = dict(swapin_optim_state["state"].get(number, {}))
        optimizer.state = inside
        yield
    finally:
        for own, before in zip(optimizer.param_groups, groups, strict=True):
            own.clear()
            own.update(before)
        optimizer.state = state
