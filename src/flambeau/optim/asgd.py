"""Averaged stochastic gradient descent."""

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

__all__ = ["ASGD", "asgd_update"]


def asgd_update(k, param, grad, average, lambd, weight_decay, maximize, eta, mu):
    """One parameter's update, in place, by the step size `eta`; `mu` is the newest point's part of the average."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        grad = k.add(grad, param, weight_decay)
    k.mul_(param, 1.0 - lambd * eta)
    k.add_(param, grad, -eta)
    if mu == 1:
        k.copy_(average, param)
    else:
        k.add_(average, k.mul_(k.add(param, average, -1.0), mu))


class ASGD(RuleOptimizer):
    """Gradient descent with falling steps that also keeps the average of the points it passed, in `state[p]["ax"]`.

    The step is `lr / (1 + lambd * lr * t) ** alpha`; averaging starts at step `t0`. Polyak and Juditsky, "Acceleration
    of stochastic approximation by averaging" (1992). `weight_decay` adds `weight_decay * p` to the gradient.

    `foreach` and `capturable` are accepted and make no difference here. Raises ValueError for negative options.
    """

    counts = ("step", "eta", "mu")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_at_least_zero("weight_decay value", weight_decay)
        defaults = dict(
            lr=lr,
            lambd=lambd,
            alpha=alpha,
            t0=t0,
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
        eta = counter(number(group["lr"]))
        return {"step": counter(), "eta": eta, "mu": counter(1.0), "ax": zeros_for(param)}

    def prepare(self, group: dict[str, Any]) -> Any:
        return number(group["lambd"]), number(group["weight_decay"]), group["maximize"]

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        step, eta, mu = advance(state["step"]), state["eta"]._a, state["mu"]._a
        apply(asgd_update, group, (param, grad, state["ax"]), (*hyper, eta.item(), mu.item()))
        lr = number(group["lr"])
        eta[()] = lr / ((1.0 + group["lambd"] * lr * step) ** group["alpha"])
        mu[()] = 1.0 / max(1.0, step - group["t0"])
