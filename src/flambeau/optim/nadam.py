"""NAdam."""

from __future__ import annotations

from typing import Any

import numpy as np

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

__all__ = ["NAdam", "nadam_update"]


def nadam_update(
    k, param, grad, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, weight_decay, decoupled, maximize, step, mus
):
    """One parameter's update, in place; `mus` are this step's momentum, the next one's, and the product so far."""
    mu, mu_next, product = mus
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        if decoupled:
            k.mul_(param, 1.0 - lr * weight_decay)
        else:
            grad = k.add(grad, param, weight_decay)
    k.lerp_(exp_avg, grad, 1.0 - beta1)
    k.decay_square_(exp_avg_sq, beta2, grad, 1.0 - beta2)
    denominator = k.add_(k.sqrt_(k.div(exp_avg_sq, 1.0 - beta2**step)), eps)
    k.add_(param, k.div_(k.mul(grad, -lr * (1.0 - mu) / (1.0 - product)), denominator))
    k.add_(param, k.div_(k.mul(exp_avg, -lr * mu_next / (1.0 - product * mu_next)), denominator))


class NAdam(RuleOptimizer):
    """Adam with Nesterov's momentum, which grows from step to step by `momentum_decay`.

    Dozat, "Incorporating Nesterov momentum into Adam" (2016). `weight_decay` adds `weight_decay * p` to the gradient
    or, with `decoupled_weight_decay`, shrinks `p` directly.

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for options out of range.
    """

    counts = ("step", "mu_product")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check_at_least_zero("momentum_decay value", momentum_decay)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {
            "foreach": None,
            "maximize": False,
            "differentiable": False,
            "capturable": False,
            "decoupled_weight_decay": False,
        }

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": counter(),
            "mu_product": counter(1.0),
            "exp_avg": zeros_for(param),
            "exp_avg_sq": zeros_for(param),
        }

    def prepare(self, group: dict[str, Any]) -> Any:
        lr = group["lr"] if group["differentiable"] else number(group["lr"])
        beta1, beta2 = map(number, group["betas"])
        decay, decoupled = number(group["weight_decay"]), group["decoupled_weight_decay"]
        return lr, beta1, beta2, number(group["eps"]), decay, decoupled, group["maximize"]

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        step, beta1, decay = advance(state["step"]), hyper[1], group["momentum_decay"]
        mu, mu_next = (beta1 * (1.0 - 0.5 * (0.96 ** (t * decay))) for t in (step, step + 1))
        product = state["mu_product"]._a
        np.multiply(product, mu, out=product)
        mus = mu, mu_next, product.item()
        apply(nadam_update, group, (param, grad, state["exp_avg"], state["exp_avg_sq"]), (*hyper, step, mus))
