"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from flambeau.optim.optimizer import (
    ParamsT,
    RuleOptimizer,
    apply,
    check_at_least_zero,
    check_fused,
    check_lr,
    number,
    tensor_of,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["SGD", "sgd_update"]


def sgd_update(k, param, grad, momentum_buffer, lr, weight_decay, momentum, dampening, nesterov, maximize, first):
    """One parameter's update, in place; on the first step the momentum buffer becomes the gradient itself."""
    if maximize:
        grad = k.neg(grad)
    if weight_decay:
        grad = k.add(grad, param, weight_decay)
    if momentum:
        if first:
            k.copy_(momentum_buffer, grad)
        else:
            k.add_(k.mul_(momentum_buffer, momentum), grad, 1.0 - dampening)
        grad = k.add(grad, momentum_buffer, momentum) if nesterov else momentum_buffer
    k.add_(param, grad, -lr)


class SGD(RuleOptimizer):
    """Stochastic gradient descent: `p -= lr * g`.

    With `momentum`, `g` is replaced by the buffer `b = momentum * b + (1 - dampening) * g` (by `g + momentum * b` if
    `nesterov`), which starts as the first gradient. `weight_decay` adds `weight_decay * p` to the gradient; `maximize`
    climbs instead of descending. Momentum after Sutskever et al., "On the importance of initialization and momentum in
    deep learning" (2013), with the learning rate applied to the buffer, not within it.

    `foreach` and `fused` are accepted and make no difference here. `differentiable=True` records the step on the tape.
    Raises ValueError for negative options, or `nesterov` without momentum or with dampening.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> opt = torch.optim.SGD([w], lr=0.5)
    >>> w.sum().backward(); opt.step(); w.detach()
    tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_at_least_zero("momentum value", momentum)
        check_at_least_zero("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum needs momentum > 0 and dampening = 0")
        check_fused(fused, foreach, differentiable)
        defaults = dict(
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": None}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any] | None:
        return {} if group["momentum"] else None

    def prepare(self, group: dict[str, Any]) -> Any:
        lr, decay = group["lr"], group["weight_decay"]
        if not group["differentiable"]:
            lr, decay = number(lr), number(decay)
        return lr, decay, number(group["momentum"]), number(group["dampening"]), group["nesterov"], group["maximize"]

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        if not hyper[2]:
            apply(sgd_update, group, (param, grad, None), (*hyper, False))
            return
        buffer = state.get("momentum_buffer")
        first = buffer is None
        if first:
            buffer = grad.clone() if group["differentiable"] else tensor_of(grad._a.copy("K"))
            state["momentum_buffer"] = buffer
        apply(sgd_update, group, (param, grad, buffer), (*hyper, first))
