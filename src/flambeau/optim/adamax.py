"""Adamax."""

from __future__ import annotations

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

__all__ = ["Adamax", "adamax_update"]


def adamax_update(k, param, grad, exp_avg, exp_inf, lr, beta1, beta2, eps, weight_decay, maximize, step):
    """One parameter's update, in place; `step` counts from 1."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        grad = k.add(grad, param, weight_decay)
    k.lerp_(exp_avg, grad, 1.0 - beta1)
    k.maximum_(k.mul_(exp_inf, beta2), k.add_(k.abs(grad), eps))
    k.add_(param, k.div_(k.mul(exp_avg, -(lr / (1.0 - beta1**step))), exp_inf))


class Adamax(RuleOptimizer):
    """Adam with the largest recent gradient in place of the mean square: `u = max(beta2 * u, |g| + eps)`,
    `p -= lr / (1 - beta1**t) * m / u`. Kingma and Ba, "Adam" (2015), section 7.

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
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
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": counter(), "exp_avg": zeros_for(param), "exp_inf": zeros_for(param)}

    def prepare(self, group: dict[str, Any]) -> Any:
        lr = group["lr"] if group["differentiable"] else number(group["lr"])
        beta1, beta2 = group["betas"]
        return lr, number(beta1), number(beta2), number(group["eps"]), number(group["weight_decay"]), group["maximize"]

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        step = advance(state["step"])
        apply(adamax_update, group, (param, grad, state["exp_avg"], state["exp_inf"]), (*hyper, step))
