"""Muon."""

from __future__ import annotations

import math
from typing import Any

from flambeau.autograd.runtime import no_grad
from flambeau.dtypes import bfloat16
from flambeau.ops.products import addmm
from flambeau.optim.optimizer import ParamsT, RuleOptimizer, check_at_least_zero, check_lr, number, zeros_for

__all__ = ["Muon"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ADJUSTMENTS = ("original", "match_rms_adamw")


class Muon(RuleOptimizer):
    """Momentum whose steps are orthogonalised, for matrices: every direction in the weight moves alike.

    The step is U V^T of the momentum's singular value decomposition U S V^T, nearly, by `ns_steps` Newton-Schulz
    iterations of the quintic polynomial with `ns_coefficients`, in bfloat16. `adjust_lr_fn` fits the rate to the
    matrix's shape A x B: `"original"` (the default) by sqrt(max(1, A / B)), `"match_rms_adamw"` by
    0.2 sqrt(max(A, B)), so that AdamW's rates can be used. `weight_decay` is decoupled. Other parameters (biases,
    embeddings, heads) belong to another optimizer. Jordan et al., "Muon: an optimizer for hidden layers in neural
    networks" (2024).

    Raises ValueError for options out of range and parameters that are no matrices, RuntimeError for complex ones.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = _COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        check_at_least_zero("momentum", momentum)
        check_at_least_zero("weight decay", weight_decay)
        if adjust_lr_fn is not None and adjust_lr_fn not in _ADJUSTMENTS:
            raise ValueError(f"Muon: adjust_lr_fn is None, 'original' or 'match_rms_adamw', got {adjust_lr_fn!r}")
        defaults = dict(
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon is for matrices, got a parameter of shape {tuple(p.shape)}")

    def later_options(self) -> dict[str, Any]:
        return {}

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": zeros_for(param)}

    def prepare(self, group: dict[str, Any]) -> Any:
        return tuple(number(group[name]) for name in ("lr", "weight_decay", "momentum"))

    def numbers(self, group: dict[str, Any], param: Any, state: dict[str, Any], hyper: Any) -> tuple[float, ...]:
        lr, weight_decay, momentum = hyper
        return 1 - lr * weight_decay, -lr * _adjustment(group["adjust_lr_fn"], *param.shape), momentum, 1 - momentum

    @no_grad()
    def change(
        self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any, numbers: Any
    ) -> None:
        keep, factor, momentum, rest = numbers
        if param.is_complex():
            raise RuntimeError("Muon takes real parameters, got a complex one")
        kept = state["momentum_buffer"].lerp_(grad, rest)
        step = grad.lerp(kept, momentum) if group["nesterov"] else kept
        step = orthogonalized(step, group["ns_coefficients"], group["ns_steps"], group["eps"])
        param.mul_(keep)
        if isinstance(factor, float):
            param.add_(step, alpha=factor)
        else:
            param.add_(step * factor)


def _adjustment(name: str | None, rows: int, columns: int) -> float:
    if name == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


def orthogonalized(matrix: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """The nearest matrix with equal singular values, roughly: those of the result lie around 1. In bfloat16.

    ValueError for 100 steps or more, for what is no matrix, and unless there are three coefficients.
    """
    if steps >= 100:
        raise ValueError(f"Muon: fewer than 100 Newton-Schulz iterations are enough, got {steps}")
    if matrix.ndim != 2:
        raise ValueError(f"Muon: the gradient must be a matrix, got shape {tuple(matrix.shape)}")
    if len(coefficients) != 3:
        raise ValueError(f"Muon: three coefficients are needed, got {len(coefficients)}")
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.to(bfloat16, copy=True)
    x = x.T if tall else x
    x.div_(x.norm().clamp(min=eps))
    for _ in range(steps):
        gram = x @ x.T
        x = addmm(x, addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
