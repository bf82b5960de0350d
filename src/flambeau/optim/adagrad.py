"""Adagrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.optim.optimizer import (
    ParamsT,
    RuleOptimizer,
    advance,
    apply,
    check_at_least_zero,
    check_fused,
    check_lr,
    counter,
    number,
    tensor_of,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["Adagrad", "adagrad_update"]


def adagrad_update(k, param, grad, state_sum, lr, lr_decay, weight_decay, eps, maximize, step):
    """One parameter's update, in place; `step` counts from 1."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        grad = k.add(grad, param, weight_decay)
    k.addcmul_(state_sum, grad, grad, 1.0)
    k.addcdiv_(param, grad, k.add_(k.sqrt(state_sum), eps), -(lr / (1.0 + (step - 1.0) * lr_decay)))


class Adagrad(RuleOptimizer):
    """Adagrad: gradients divided by the root of the sum of all their squares so far.

    `s += g**2`, then `p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)`; `s` starts at
    `initial_accumulator_value`. Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization" (2011). `weight_decay` adds `weight_decay * p` to the gradient.

    `foreach` and `fused` are accepted and make no difference here. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_at_least_zero("lr_decay value", lr_decay)
        check_at_least_zero("weight_decay value", weight_decay)
        check_at_least_zero("initial_accumulator_value value", initial_accumulator_value)
        check_at_least_zero("epsilon value", eps)
        check_fused(fused, foreach, differentiable)
        defaults = dict(
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
        )
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = self.new_state(p, group)

    def later_options(self) -> dict[str, Any]:
        return {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        value = group["initial_accumulator_value"]
        value = complex(value, value) if param._a.dtype.kind == "c" else value
        return {"step": counter(), "sum": tensor_of(np.full_like(param._a, value))}

    def share_memory(self) -> None:
        """Accepted for programs that share state between processes: the state lives in this process' memory."""

    def prepare(self, group: dict[str, Any]) -> Any:
        lr = group["lr"] if group["differentiable"] else number(group["lr"])
        return (lr, *[number(group[name]) for name in ("lr_decay", "weight_decay", "eps")], group["maximize"])

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        step = advance(state["step"])
        apply(adagrad_update, group, (param, grad, state["sum"]), (*hyper, step))
