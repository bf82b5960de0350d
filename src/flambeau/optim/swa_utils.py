"""Averages of a model's weights over training.

Plain (SWA) and exponential (EMA), and the schedule that goes with them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from flambeau.autograd.runtime import NS, no_grad
from flambeau.dtypes import int64
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.ops.compare import where
from flambeau.optim._scheduler import LRScheduler, options, per_group
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor.creation import tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """`avg_fn` of an exponential average.

    `decay * average + (1 - decay) * newest`. ValueError unless decay is in [0, 1].
    """
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"invalid decay value {decay}, expected 0 <= decay <= 1")

    @no_grad()
    def ema_update(ema_param: Any, current_param: Any, num_averaged: Any) -> Any:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable:
    """`avg_fn` of the plain mean of all models so far."""

    @no_grad()
    def swa_update(averaged_param: Any, current_param: Any, num_averaged: Any) -> Any:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def _each(avg_fn: Callable) -> Callable:
    @no_grad()
    def update(averaged: Iterable[Any], current: Iterable[Any], num_averaged: Any) -> None:
        for a, c in zip(averaged, current, strict=True):
            a.copy_(avg_fn(a, c, num_averaged))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """`multi_avg_fn` of an exponential average: changes lists of tensors in place."""
    return _each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable:
    """`multi_avg_fn` of the plain mean: changes lists of tensors in place."""
    return _each(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of `model` that holds the average of its weights at each call of `update_parameters`.

    By default the plain mean (Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018); `avg_fn(average, newest, count)` returns another average of one tensor, `multi_avg_fn(averages, newest,
    count)` changes lists in place. `use_buffers` averages buffers too, otherwise they follow the model's.

    AssertionError if both functions are given.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(1, 1)
    >>> mean = torch.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     _ = torch.nn.init.constant_(model.weight, value)
    ...     mean.update_parameters(model)
    >>> mean.module.weight.item()
    2.0
    """

    n_averaged: Any

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("AveragedModel takes avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of `model` into the average."""

        def tensors(m: Module) -> list[Any]:
            found = itertools.chain(m.parameters(), m.buffers()) if self.use_buffers else m.parameters()
            return [t.detach() for t in found]

        averaged, current = tensors(self.module), tensors(model)
        update = self.multi_avg_fn or _each(self.avg_fn or get_swa_avg_fn())
        count = self.n_averaged.to(averaged[0].device) if averaged else self.n_averaged
        first = count == 0
        if NS["CAPTURE"] is not None:  # a compiled step asks at each call
            update(averaged, current, count)
            for a, c in zip(averaged, current, strict=True):
                a.copy_(where(first.to(a.device), c, a))
        elif first:
            for a, c in zip(averaged, current, strict=True):
                a.copy_(c)
        else:
            update(averaged, current, count)
        if not self.use_buffers:
            for a, c in zip(self.module.buffers(), model.buffers(), strict=True):
                a.detach().copy_(c.detach())
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of batch norms anew, as plain means over one pass through `loader`.

    For an averaged model, whose statistics belong to none of the models it averages. Batches are tensors, or lists that
    begin with one.
    """
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for batch in loader:
        if isinstance(batch, (list, tuple)):
            batch = batch[0]
        model(batch if device is None else batch.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Goes from the present rates to the constant `swa_lr` within `anneal_epochs`, in a cosine ("cos") or a line
    ("linear").

    ValueError for another `anneal_strategy`, negative `anneal_epochs`, or as many `swa_lr` as there are not groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs must be an int of at least 0, got {anneal_epochs}")
        for value, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = value
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """The part of the way that is behind after the part `t` of the epochs."""
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        self._called_by_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (self.anneal_func(max(0, min(1, s / max(1, self.anneal_epochs)))) for s in (step - 1, step))
        targets, lrs = options(self.optimizer, "swa_lr"), options(self.optimizer, "lr")
        starts = [
            target if before == 1 else (lr - before * target) / (1 - before)
            for lr, target in zip(lrs, targets, strict=True)
        ]
        return [target * now + start * (1 - now) for start, target in zip(starts, targets, strict=True)]
