"""Adam for gradients that touch few rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.autograd.views import bump
from flambeau.optim.optimizer import ParamsT, RuleOptimizer, check_betas, number, zeros_for
from flambeau.tensor.tensor import Tensor

__all__ = ["SparseAdam"]


class SparseAdam(RuleOptimizer):
    """Adam that leaves alone what a step's gradient does not touch: parameter and running means.

    It is made for large embeddings, of which a batch uses few rows. Gradients are dense here, also those of
    `nn.Embedding(sparse=True)`: the rows (along the first dimension) that they touch are those that are not all 0.

    Raises ValueError for options out of range and complex parameters.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"a Tensor lr has one element, this one has shape {list(lr.shape)}")
        for what, value in (("learning rate", lr), ("epsilon value", eps)):
            if not value > 0.0:
                raise ValueError(f"Invalid {what}: {value}, expected a number > 0")
        check_betas(betas)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, maximize=maximize))
        for i, group in enumerate(self.param_groups):
            for j, p in enumerate(group["params"]):
                if p.is_complex():
                    raise ValueError(f"SparseAdam takes real parameters, but parameter {j} of group {i} is complex")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super(RuleOptimizer, self).__setstate__(state)  # the count of steps is a plain int here

    def new_state(self, param: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": zeros_for(param), "exp_avg_sq": zeros_for(param)}

    def prepare(self, group: dict[str, Any]) -> Any:
        return (number(group["lr"]), *map(number, group["betas"]), group["eps"], group.get("maximize", False))

    def update(self, group: dict[str, Any], param: Any, grad: Any, state: dict[str, Any], hyper: Any) -> None:
        lr, beta1, beta2, eps, maximize = hyper
        state["step"] += 1
        g = grad._a
        rows: Any = np.flatnonzero(g.reshape(g.shape[0], -1).any(axis=1)) if g.ndim else ...
        g = -g[rows] if maximize else g[rows]
        first, second = state["exp_avg"]._a, state["exp_avg_sq"]._a
        first[rows] = m = first[rows] + (g - first[rows]) * g.dtype.type(1 - beta1)
        second[rows] = v = second[rows] + (g * g - second[rows]) * g.dtype.type(1 - beta2)
        rate = lr * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        param._a[rows] += g.dtype.type(-rate) * (m / (np.sqrt(v) + g.dtype.type(eps)))
        bump(param)
