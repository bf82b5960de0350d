"""Rprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.optim.optimizer import (
    ParamsT,
    RuleOptimizer,
    advance,
    apply,
    check_lr,
    counter,
    number,
    tensor_of,
    zeros_for,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["Rprop", "rprop_update"]


def rprop_update(k, param, grad, previous, step_size, shrink, grow, smallest, largest, maximize):
    """One parameter's update, in place."""
    if maximize:
        grad = k.neg(grad)
    agreement = k.mul(grad, previous)
    factor = k.where(agreement > 0, grow, k.where(agreement < 0, shrink, 1.0))
    k.clamp_(k.mul_(step_size, k.dtype_like(factor, param)), smallest, largest)
    grad = k.dtype_like(k.where(agreement < 0, 0.0, grad), param)
    k.add_(param, k.neg(k.mul(k.sign(grad), step_size)))
    k.copy_(previous, grad)


class Rprop(RuleOptimizer):
    """Resilient backpropagation: each element has its own step size, of the gradient only the sign is used.

    A step size grows by `etas[1]` while the sign stays and shrinks by `etas[0]` when it turns, within `step_sizes`;
    after a turn the element rests for one step. For full batches. Riedmiller and Braun (1993).

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}, expected 0 < etas[0] < 1 < etas[1]")
        defaults = dict(
            lr=lr,
            etas=etas,
            step_sizes=step_sizes,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        lr = number(group["lr"])
        value = complex(lr, lr) if param._a.dtype.kind == "c" else lr
        return {"step": counter(), "prev": zeros_for(param), "step_size": tensor_of(np.full_like(param._a, value))}

    def prepare(self, group: dict[str, Any]) -> Any:
        shrink, grow = map(number, group["etas"])
        smallest, largest = map(number, group["step_sizes"])
        return shrink, grow, smallest, largest, group["maximize"]

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        advance(state["step"])
        apply(rprop_update, group, (param, grad, state["prev"], state["step_size"]), hyper)
