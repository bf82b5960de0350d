"""Adafactor."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import no_grad
from flambeau.dtypes import finfo
from flambeau.optim.optimizer import ParamsT, RuleOptimizer, advance, check_at_least_zero, check_lr, counter, number
from flambeau.tensor.tensor import Tensor

__all__ = ["Adafactor"]


class Adafactor(RuleOptimizer):
    """Adam's scaling with the memory of a row and a column instead of a matrix.

    The running mean of squared gradients of a matrix is kept as its row means and column means, whose product stands
    for it; vectors keep their own. The decay of step t is `1 - t**beta2_decay`. A step is relative to the parameter's
    root mean square (at least `eps[1]`), at most `min(lr, 1 / sqrt(t))` of it, and clipped where its own exceeds `d`.
    `eps[0]` (by default the dtype's epsilon) keeps the means from 0; `weight_decay` shrinks the parameter by
    `lr * weight_decay` first. Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost"
    (2018).

    `foreach` is accepted and makes no difference here. Raises ValueError for options out of range, RuntimeError for
    complex parameters.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        if not beta2_decay <= 0.0:
            raise ValueError(f"Invalid beta2_decay: {beta2_decay}, expected a number <= 0")
        for i, value in enumerate(eps):
            if value is not None or i:
                check_at_least_zero(f"epsilon{i + 1}", value)
        if not d >= 1.0:
            raise ValueError(f"Invalid clipping threshold d: {d}, expected a number >= 1")
        check_at_least_zero("weight_decay", weight_decay)
        defaults = dict(
            lr=lr,
            beta2_decay=beta2_decay,
            eps=eps,
            d=d,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def later_options(self) -> dict[str, Any]:
        return {"foreach": None}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        shape = list(param.shape)
        if len(shape) < 2:
            return {"step": counter(), "variance": param.grad.new_zeros(shape)}
        return {
            "step": counter(),
            "row_var": param.grad.new_zeros([*shape[:-1], 1]),
            "col_var": param.grad.new_zeros([*shape[:-2], 1, shape[-1]]),
        }

    def prepare(self, group: dict[str, Any]) -> Any:
        names = ("lr", "beta2_decay", "d", "weight_decay")
        return (*(number(group[name]) for name in names), *group["eps"], group["maximize"])

    def numbers(self, group: dict[str, Any], param: Any, state: dict[str, Any], hyper: Any) -> tuple[float, ...]:
        lr, beta2_decay, _, weight_decay = hyper[:4]
        step = advance(state["step"])
        return min(lr, 1 / step**0.5), step**beta2_decay, 1 - lr * weight_decay

    @no_grad()
    def change(
        self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any, numbers: Any
    ) -> None:
        _, _, d, weight_decay, eps1, eps2, maximize = hyper
        rate, weight, keep = numbers
        if param.is_complex():
            raise RuntimeError("Adafactor takes real parameters, got a complex one")
        if eps1 is None:
            eps1 = finfo(param.dtype).eps
        if maximize:
            grad = -grad
        size = _rms(param)
        if weight_decay:
            param.mul_(keep)
        update = _second_moment(state, grad, weight, eps1).clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
        if isinstance(rate, float):
            param.add_(update, alpha=-max(eps2, size.item()) * rate / max(1.0, _rms(update).item() / d))
        else:  # nobody may look at the values
            scale = size.clamp(min=eps2) * rate / (_rms(update) / d).clamp(min=1.0)
            param.sub_(update.mul_(scale.to(update.dtype)))


def _rms(values: Any) -> Any:
    return values.norm(2).double() / values.numel() ** 0.5


def _second_moment(state: dict[str, Any], grad: Any, weight: float, eps: float) -> Any:
    """The running mean of squared gradients, brought up to date: a new tensor."""
    if grad.dim() < 2:
        return state["variance"].lerp_(grad * grad, weight).clone()
    rows, columns = state["row_var"], state["col_var"]
    for kept, dim in ((rows, -1), (columns, -2)):
        kept.lerp_(grad.norm(dim=dim, keepdim=True).square_().div_(grad.size(dim)), weight)
    return (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=eps))
