"""RMSprop."""

from __future__ import annotations

from typing import Any

from flambeau.optim.optimizer import (
    ParamsT,
    RuleOptimizer,
    advance,
    apply,
    check_at_least_zero,
    check_lr,
    counter,
    number,
    zeros_for,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["RMSprop", "rmsprop_update"]


def rmsprop_update(
    k, param, grad, square_avg, grad_avg, momentum_buffer, lr, alpha, eps, weight_decay, momentum, maximize
):
    """One parameter's update, in place; `grad_avg` and `momentum_buffer` are None where not asked for."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        grad = k.add(grad, param, weight_decay)
    k.decay_square_(square_avg, alpha, grad, 1.0 - alpha)
    if grad_avg is None:
        root = k.sqrt(square_avg)
    else:
        k.lerp_(grad_avg, grad, 1.0 - alpha)
        root = k.sqrt_(k.addcmul(square_avg, grad_avg, grad_avg, -1.0))
    root = k.add_(root, eps)
    if momentum_buffer is None:
        k.addcdiv_(param, grad, root, -lr)
    else:
        k.addcdiv_(k.mul_(momentum_buffer, momentum), grad, root, 1.0)
        k.add_(param, momentum_buffer, -lr)


class RMSprop(RuleOptimizer):
    """RMSprop: gradients divided by the root of the running mean of their squares.

    `v = alpha * v + (1 - alpha) * g**2`, then `p -= lr * g / (sqrt(v) + eps)`. Hinton, lecture 6 of "Neural networks
    for machine learning" (2012). `centered` subtracts the squared running mean of the gradient from `v` (Graves,
    2013); `momentum` accumulates the quotient in a buffer first. `weight_decay` adds `weight_decay * p` to the
    gradient.

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero("epsilon value", eps)
        check_at_least_zero("momentum value", momentum)
        check_at_least_zero("weight_decay value", weight_decay)
        check_at_least_zero("alpha value", alpha)
        defaults = dict(
            lr=lr,
            momentum=momentum,
            alpha=alpha,
            eps=eps,
            centered=centered,
            weight_decay=weight_decay,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {
            "momentum": 0,
            "centered": False,
            "foreach": None,
            "maximize": False,
            "differentiable": False,
            "capturable": False,
        }

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": counter(), "square_avg": zeros_for(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_for(param)
        if group["centered"]:
            state["grad_avg"] = zeros_for(param)
        return state

    def prepare(self, group: dict[str, Any]) -> Any:
        lr = group["lr"] if group["differentiable"] else number(group["lr"])
        names = ("alpha", "eps", "weight_decay", "momentum")
        return (lr, *[number(group[name]) for name in names], group["maximize"])

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        advance(state["step"])
        mean = state["grad_avg"] if group["centered"] else None
        buffer = state["momentum_buffer"] if group["momentum"] > 0 else None
        apply(rmsprop_update, group, (param, grad, state["square_avg"], mean, buffer), hyper)
