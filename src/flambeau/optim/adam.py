"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from flambeau.optim.optimizer import (
    ParamsT,
    RuleOptimizer,
    advance,
    apply,
    check_at_least_zero,
    check_betas,
    check_fused,
    check_lr,
    counter,
    number,
    zeros_for,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["Adam", "AdamW", "adam_update"]


def adam_update(
    k, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, lr, beta1, beta2, eps, weight_decay, decoupled, maximize, step
):
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
    mean_sq = exp_avg_sq if max_exp_avg_sq is None else k.maximum_(max_exp_avg_sq, exp_avg_sq)
    denominator = k.add_(k.div_(k.sqrt(mean_sq), (1.0 - beta2**step) ** 0.5), eps)
    k.addcdiv_(param, exp_avg, denominator, -(lr / (1.0 - beta1**step)))


class Adam(RuleOptimizer):
    """Adam: steps of about `lr`, scaled by running means of each gradient and its square.

    `m = beta1 * m + (1 - beta1) * g`, `v = beta2 * v + (1 - beta2) * g**2`, and with the bias of the young means taken
    out (`m / (1 - beta1**t)`, `v / (1 - beta2**t)`), `p -= lr * m / (sqrt(v) + eps)`. Kingma and Ba, "Adam: a method
    for stochastic optimization" (2015). `amsgrad` divides by the largest `v` so far (Reddi et al., 2018).
    `weight_decay` adds `weight_decay * p` to the gradient or, with `decoupled_weight_decay`, shrinks `p` directly as
    `AdamW` does.

    `foreach`, `fused` and `capturable` are accepted and make no difference here. `differentiable=True` records the
    step. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> opt = torch.optim.Adam([w], lr=0.5)
    >>> w.sum().backward(); opt.step(); w.detach()
    tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_lr(lr, foreach, capturable)
        check_at_least_zero("epsilon value", eps)
        check_betas(betas)
        check_at_least_zero("weight_decay value", weight_decay)
        _check_tensor_betas(betas, foreach, capturable)
        check_fused(fused, foreach, differentiable)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {**super().later_options(), "amsgrad": False, "decoupled_weight_decay": False}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": counter(), "exp_avg": zeros_for(param), "exp_avg_sq": zeros_for(param)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_for(param)
        return state

    def prepare(self, group: dict[str, Any]) -> Any:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        if not group["differentiable"]:
            lr, beta1, beta2 = number(lr), number(beta1), number(beta2)
        return (
            lr,
            beta1,
            beta2,
            number(group["eps"]),
            number(group["weight_decay"]),
            group["decoupled_weight_decay"],
            group["maximize"],
        )

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        largest = state["max_exp_avg_sq"] if group["amsgrad"] else None
        step = advance(state["step"])
        apply(adam_update, group, (param, grad, state["exp_avg"], state["exp_avg_sq"], largest), (*hyper, step))


class AdamW(Adam):
    """Adam with decoupled weight decay: each step first shrinks the parameter, `p *= 1 - lr * weight_decay`.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019). Options as in `Adam`.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> opt = torch.optim.AdamW([w], lr=0.1)
    >>> w.sum().backward(); opt.step(); w.detach()
    tensor([0.8990, 0.8990])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def _check_tensor_betas(betas: Any, foreach: bool | None, capturable: bool) -> None:
    tensors = [beta for beta in betas if isinstance(beta, Tensor)]
    if len(tensors) not in (0, len(betas)):
        raise ValueError("betas must be of one kind, two floats or two Tensors")
    for i, beta in enumerate(tensors):
        if foreach and not capturable:
            raise ValueError(f"betas[{i}] as a Tensor needs capturable=True when foreach=True")
        if beta.numel() != 1:
            raise ValueError(f"betas[{i}] as a Tensor has one element, this one has shape {list(beta.shape)}")
