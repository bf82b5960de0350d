"""Adadelta."""

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

__all__ = ["Adadelta", "adadelta_update"]


def adadelta_update(k, param, grad, square_avg, acc_delta, lr, rho, eps, weight_decay, maximize):
    """One parameter's update, in place."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        grad = k.add(grad, param, weight_decay)
    k.decay_square_(square_avg, rho, grad, 1.0 - rho)
    std = k.sqrt_(k.add(square_avg, eps))
    delta = k.mul_(k.div_(k.sqrt_(k.add(acc_delta, eps)), std), grad)
    k.decay_square_(acc_delta, rho, delta, 1.0 - rho)
    k.add_(param, delta, -lr)


class Adadelta(RuleOptimizer):
    """Adadelta: steps as large as the recent ones, in the proportions of the gradient.

    With `v` and `u` the running means (by `rho`) of squared gradients and squared steps, a step is
    `d = sqrt(u + eps) / sqrt(v + eps) * g`, and `p -= lr * d`. Zeiler, "ADADELTA: an adaptive learning rate method"
    (2012). `weight_decay` adds `weight_decay * p` to the gradient.

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}, expected 0 <= rho <= 1")
        check_at_least_zero("epsilon value", eps)
        check_at_least_zero("weight_decay value", weight_decay)
        defaults = dict(
            lr=lr,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            capturable=capturable,
            foreach=foreach,
            differentiable=differentiable,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": counter(), "square_avg": zeros_for(param), "acc_delta": zeros_for(param)}

    def prepare(self, group: dict[str, Any]) -> Any:
        lr = group["lr"] if group["differentiable"] else number(group["lr"])
        return (lr, *[number(group[name]) for name in ("rho", "eps", "weight_decay")], group["maximize"])

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        advance(state["step"])
        apply(adadelta_update, group, (param, grad, state["square_avg"], state["acc_delta"]), hyper)
