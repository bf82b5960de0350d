"""RAdam."""

from __future__ import annotations

import math
from typing import Any

from flambeau.optim.optimizer import (
    ParamsT,
    RuleOptimizer,
    advance,
    apply,
    check_at_least_zero,
    check_betas,
    check_lr,
    counter,
    number,
    zeros_for,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["RAdam", "radam_update"]


def radam_update(k, param, grad, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, weight_decay, decoupled, maximize, step):
    """One parameter's update, in place; `step` counts from 1."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        if decoupled:
            k.mul_(param, 1.0 - lr * weight_decay)
        else:
            grad = k.add(grad, param, weight_decay)
    k.lerp_(exp_avg, grad, 1.0 - beta1)
    k.decay_square_(exp_avg_sq, beta2, grad, 1.0 - beta2)
    unbias = 1.0 - beta2**step
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * step * (beta2**step) / unbias
    change = k.mul_(k.div(exp_avg, 1.0 - beta1**step), lr)
    if length > 5.0:
        rest = (longest - 4.0) * (longest - 2.0) * length
        rectified = math.sqrt((length - 4.0) * (length - 2.0) * longest / rest)
        root = k.add_(k.sqrt(exp_avg_sq), eps)
        change = k.mul_(k.div_(k.mul_(change, unbias**0.5), root), rectified)
    k.add_(param, k.neg(change))


class RAdam(RuleOptimizer):
    """Adam that trusts the mean square only once it rests on enough steps, and descends with momentum until then.

    Liu et al., "On the variance of the adaptive learning rate and beyond" (2020). `weight_decay` adds `weight_decay *
    p` to the gradient or, with `decoupled_weight_decay`, shrinks `p` directly.

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero("epsilon value", eps)
        check_betas(betas)
        check_at_least_zero("weight_decay value", weight_decay)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            decoupled_weight_decay=decoupled_weight_decay,
            differentiable=differentiable,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {
            "foreach": None,
            "maximize": False,
            "differentiable": False,
            "decoupled_weight_decay": False,
            "capturable": False,
        }

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": counter(), "exp_avg": zeros_for(param), "exp_avg_sq": zeros_for(param)}

    def prepare(self, group: dict[str, Any]) -> Any:
        lr = group["lr"] if group["differentiable"] else number(group["lr"])
        beta1, beta2 = map(number, group["betas"])
        decay, decoupled = number(group["weight_decay"]), group["decoupled_weight_decay"]
        return lr, beta1, beta2, number(group["eps"]), decay, decoupled, group["maximize"]

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        step = advance(state["step"])
        apply(radam_update, group, (param, grad, state["exp_avg"], state["exp_avg_sq"]), (*hyper, step))
